//! Device memory: allocating, freeing, asking (driver API, "Memory Management", "Stream Ordered Memory Allocator").

use crate::memory::{Error, Kind};

use super::api::{api, refuse, say};
use super::argument::Out;
use super::state::{Handle, Locked, Owner, State, finish, force};
use super::status::{Result, Status};
use super::trace;
use super::work::Work;

/// Rows of pitched memory start at multiples of this many bytes.
const PITCH: usize = 512;

/// The status for a failure of the memory.
pub(super) fn status(error: Error) -> Status {
    let status = match error {
        Error::OutOfMemory { .. } | Error::Host(_) => Status::OUT_OF_MEMORY,
        Error::Registered { .. } => Status::HOST_MEMORY_ALREADY_REGISTERED,
        Error::Empty | Error::NotAllocated { .. } | Error::OutOfBounds { .. } => Status::INVALID_VALUE,
    };
    refuse(status, error)
}

impl State {
    /// Frees an allocation and forgets whose it was.
    pub(super) fn release(&mut self, address: u64) {
        let Some(owner) = self.owners.remove(&address) else { return };
        let memory = &self.machine.memory;
        if let Ok(region) = memory.region(address, 1) {
            if let Some(pool) = owner.pool.and_then(|p| self.pools.get_mut(&p)) {
                pool.used = pool.used.saturating_sub(region.len as u64);
            }
            let freed = if region.kind == Kind::Pinned {
                memory.free_host(address)
            } else if region.kind == Kind::Registered {
                memory.unregister(address)
            } else {
                memory.free(address)
            };
            if let Err(e) = freed {
                say(e);
            }
        }
    }
}

/// Allocates. If the device is full, stream-ordered frees that are queued run first.
pub(super) fn allocate(
    mut s: Locked,
    context: Handle,
    len: usize,
    kind: Kind,
    pool: Option<Handle>,
    flags: u32,
) -> Result<u64> {
    trace::bytes(len);
    let address = match s.memory().allocate(len, kind) {
        Err(Error::OutOfMemory { .. }) => {
            let frees = s.schedule.matching(|task| matches!(task.work, Work::Free(_)));
            if !frees.is_empty() {
                trace::waits();
            }
            s = force(s, frees);
            s.check(context)?;
            s.memory().allocate(len, kind)
        }
        other => other,
    }
    .map_err(status)?;
    s.owners.insert(address, Owner { context, pool, flags, freeing: false });
    if let Some(pool) = pool.and_then(|p| s.pools.get_mut(&p)) {
        pool.used += len as u64;
        pool.high = pool.high.max(pool.used);
    }
    Ok(address)
}

/// Allocates in the order of a stream. The address is new, so it can be handed out at once.
pub(super) fn allocate_in_stream(
    mut s: Locked,
    context: Handle,
    out: Out<u64>,
    len: usize,
    pool: Handle,
    stream: Handle,
) -> Result<()> {
    trace::bytes(len);
    let stream = s.resolve(context, stream)?;
    s.pool(pool)?;
    if out.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    if let Some(member) = s.membership(stream)? {
        s.invalidate(member.capture);
        return Err(refuse(Status::NOT_SUPPORTED, "allocations in captured graphs are not simulated"));
    }
    out.put(allocate(s, context, len, Kind::Device, Some(pool), 0)?)
}

fn free(mut s: Locked, context: Handle, address: u64) -> Result<()> {
    if address == 0 {
        return Ok(());
    }
    s.forbid_unsafe()?;
    let owner = s.owners.get(&address).map_or(context, |o| o.context);
    let pending = [s.pending_in(context), s.pending_in(owner)].concat();
    let mut s = finish(s, context, pending)?;
    let region = s.memory().region(address, 1).map_err(status)?;
    let fits = region.base == address && matches!(region.kind, Kind::Device | Kind::Managed);
    if !fits || s.owners.get(&address).is_none_or(|o| o.freeing) {
        let what = s.memory().describe(address);
        return Err(refuse(Status::INVALID_VALUE, format_args!("{address:#x} is not an allocation: {what}")));
    }
    s.release(address);
    Ok(())
}

fn free_in_stream(mut s: Locked, context: Handle, address: u64, stream: Handle) -> Result<()> {
    let stream = s.resolve(context, stream)?;
    if address == 0 {
        return Ok(());
    }
    let region = s.memory().region(address, 1).map_err(status)?;
    let fits = region.base == address && matches!(region.kind, Kind::Device | Kind::Managed);
    if !fits || s.owners.get(&address).is_none_or(|o| o.freeing) {
        return Err(refuse(
            Status::INVALID_VALUE,
            format_args!("{address:#x} is not an allocation, or is being freed already"),
        ));
    }
    s.submit(context, stream, Work::Free(address))?;
    if let Some(owner) = s.owners.get_mut(&address) {
        owner.freeing = true;
    }
    Ok(())
}

api! {
    /// Allocates device memory.
    fn cuMemAlloc_v2(s, c; address: Out<u64>, len: usize) {
        if address.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        s.forbid_unsafe()?;
        address.put(allocate(s, c, len, Kind::Device, None, 0)?)
    }

    /// Allocates rows of device memory, each aligned.
    fn cuMemAllocPitch_v2(
        s, c;
        address: Out<u64>,
        pitch: Out<usize>,
        width: usize,
        height: usize,
        element: u32,
    ) {
        if address.is_null() || pitch.is_null() || !matches!(element, 4 | 8 | 16) {
            return Err(Status::INVALID_VALUE);
        }
        s.forbid_unsafe()?;
        let row = width.checked_next_multiple_of(PITCH).ok_or(Status::INVALID_VALUE)?;
        let len = row.checked_mul(height).ok_or(Status::OUT_OF_MEMORY)?;
        address.put(allocate(s, c, len, Kind::Device, None, 0)?)?;
        pitch.put(row)
    }

    /// Frees device or managed memory, once all work of the context has run.
    fn cuMemFree_v2(s, c; address: u64) {
        free(s, c, address)
    }

    /// Allocates managed memory, which host and device reach at one address.
    fn cuMemAllocManaged(s, c; address: Out<u64>, len: usize, flags: u32) {
        if address.is_null() || !matches!(flags, 1 | 2) {
            return Err(Status::INVALID_VALUE);
        }
        s.forbid_unsafe()?;
        address.put(allocate(s, c, len, Kind::Managed, None, flags)?)
    }

    /// Allocates from the current pool in the order of a stream.
    fn cuMemAllocAsync(s, c; address: Out<u64>, len: usize, stream: Handle) {
        let pool = s.current_pool;
        allocate_in_stream(s, c, address, len, pool, stream)
    }

    /// Allocates from a pool in the order of a stream.
    fn cuMemAllocFromPoolAsync(s, c; address: Out<u64>, len: usize, pool: Handle, stream: Handle) {
        allocate_in_stream(s, c, address, len, pool, stream)
    }

    /// Frees in the order of a stream.
    fn cuMemFreeAsync(s, c; address: u64, stream: Handle) {
        free_in_stream(s, c, address, stream)
    }

    /// Free and total bytes of the device.
    fn cuMemGetInfo_v2(s, c; free: Out<usize>, total: Out<usize>) {
        let _ = c;
        free.put(s.memory().free_bytes())?;
        total.put(s.memory().capacity())
    }

    /// The allocation that an address is in.
    fn cuMemGetAddressRange_v2(s, c; base: Out<u64>, size: Out<usize>, address: u64) {
        let _ = c;
        let region = s.memory().region(address, 1).map_err(status)?;
        base.put_if_wanted(region.base);
        size.put_if_wanted(region.len);
        Ok(())
    }
}
