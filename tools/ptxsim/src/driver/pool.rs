//! Memory pools (driver API, "Stream Ordered Memory Allocator"). They count and keep their attributes; memory goes
//! back to the device as soon as it is freed.

use std::ffi::c_void;

use super::api::{api, refuse};
use super::argument::{In, Out};
use super::state::{Handle, State};
use super::status::{Result, Status};

/// A pool.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Bytes allocated from it, and the most there were.
    pub(super) used: u64,
    pub(super) high: u64,
    /// Bytes to keep rather than give back, which has no effect.
    threshold: u64,
    /// The three `REUSE_*` attributes, which have no effect.
    reuse: [Option<i32>; 3],
}

/// `CUmemPoolProps`, as far as it matters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PoolProps {
    kind: i32,
    handle_types: i32,
    location: Location,
}

/// `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Location {
    kind: i32,
    id: i32,
}

/// `CU_MEM_LOCATION_TYPE_DEVICE`, `CU_MEM_ALLOCATION_TYPE_PINNED`, `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`.
const DEVICE: i32 = 1;
const PINNED: i32 = 1;
const READ_WRITE: i32 = 3;

impl State {
    /// The pool behind a handle.
    pub(super) fn pool(&mut self, pool: Handle) -> Result<&mut Pool> {
        self.pools.get_mut(&pool).ok_or_else(|| refuse(Status::INVALID_VALUE, "there is no such memory pool"))
    }
}

api! {
    /// Makes a pool of device memory.
    fn cuMemPoolCreate(s; pool: Out<Handle>, props: In<PoolProps>) {
        let props = props.get()?;
        if pool.is_null() || props.kind != PINNED || props.location.id != 0 {
            return Err(Status::INVALID_VALUE);
        }
        if props.location.kind != DEVICE || props.handle_types != 0 {
            return Err(refuse(Status::NOT_SUPPORTED, "only pools of device memory that is not shared"));
        }
        let handle = s.new_handle();
        s.pools.insert(handle, Pool::default());
        pool.put(handle)
    }

    /// Destroys a pool; what was allocated from it stays.
    fn cuMemPoolDestroy(s; pool: Handle) {
        s.pool(pool)?;
        if pool == s.default_pool {
            return Err(Status::INVALID_VALUE);
        }
        s.pools.remove(&pool);
        if s.current_pool == pool {
            s.current_pool = s.default_pool;
        }
        Ok(())
    }

    /// Gives memory back, which pools have done already.
    fn cuMemPoolTrimTo(s; pool: Handle, keep: usize) {
        let _ = keep;
        s.pool(pool).map(drop)
    }

    /// An attribute of a pool: a 32-bit flag or a 64-bit number.
    fn cuMemPoolGetAttribute(s; pool: Handle, attribute: i32, value: Out<c_void>) {
        let pool = s.pool(pool)?;
        match attribute {
            1..=3 => value.cast::<i32>().put(pool.reuse[attribute as usize - 1].unwrap_or(1)),
            4 => value.cast::<u64>().put(pool.threshold),
            5 | 7 => value.cast::<u64>().put(pool.used),
            6 | 8 => value.cast::<u64>().put(pool.high),
            _ => Err(Status::INVALID_VALUE),
        }
    }

    /// Sets an attribute of a pool; the high-water marks can only be reset to 0.
    fn cuMemPoolSetAttribute(s; pool: Handle, attribute: i32, value: Out<c_void>) {
        let pool = s.pool(pool)?;
        match attribute {
            1..=3 => pool.reuse[attribute as usize - 1] = Some(value.cast::<i32>().get()?),
            4 => pool.threshold = value.cast::<u64>().get()?,
            6 | 8 if value.cast::<u64>().get()? == 0 => pool.high = pool.used,
            _ => return Err(Status::INVALID_VALUE),
        }
        Ok(())
    }

    /// The device may always read and write a pool's memory.
    fn cuMemPoolGetAccess(s; flags: Out<i32>, pool: Handle, location: In<Location>) {
        s.pool(pool)?;
        let location = location.get()?;
        flags.put(if location.kind == DEVICE && location.id == 0 { READ_WRITE } else { 0 })
    }
}
