//! Page-locked host memory (driver API, "Memory Management"). Its host address is its device address.

use std::ffi::c_void;

use crate::memory::Kind;

use super::allocation::{allocate, status};
use super::api::{api, refuse};
use super::argument::{Out, is_readable};
use super::state::{Handle, Locked, Owner, finish};
use super::status::{Result, Status};
use super::trace;

fn allocate_host(
    mut s: Locked,
    context: Handle,
    out: Out<*mut c_void>,
    len: usize,
    flags: u32,
) -> Result<()> {
    // Portable (1), mapped (2), write-combined (4): all memory is all of these, or cannot tell.
    if flags & !7 != 0 || out.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    s.forbid_unsafe()?;
    let address = allocate(s, context, len, Kind::Pinned, None, flags)?;
    out.put(address as *mut c_void)
}

api! {
    /// Allocates page-locked host memory.
    fn cuMemAllocHost_v2(s, c; pointer: Out<*mut c_void>, len: usize) {
        allocate_host(s, c, pointer, len, 2)
    }

    /// Allocates page-locked host memory.
    fn cuMemHostAlloc(s, c; pointer: Out<*mut c_void>, len: usize, flags: u32) {
        allocate_host(s, c, pointer, len, flags)
    }

    /// Frees page-locked host memory, once all work of the context has run.
    fn cuMemFreeHost(s, c; pointer: *mut c_void) {
        s.forbid_unsafe()?;
        let pending = s.pending_in(c);
        let mut s = finish(s, c, pending)?;
        let address = pointer.addr() as u64;
        s.memory().free_host(address).map_err(status)?;
        s.owners.remove(&address);
        Ok(())
    }

    /// Page-locks host memory of the caller's. Memory of devices (`CU_MEMHOSTREGISTER_IOMEMORY`) is not simulated.
    fn cuMemHostRegister_v2(s, c; pointer: *mut c_void, len: usize, flags: u32) {
        trace::bytes(len);
        if flags & !0b1011 != 0 {
            return Err(refuse(Status::NOT_SUPPORTED, format_args!("flags {flags:#x}")));
        }
        if !is_readable(pointer.addr(), len) {
            return Err(refuse(Status::INVALID_VALUE, format_args!("there are no {len} bytes at {pointer:p}")));
        }
        // SAFETY: the memory is the caller's, which by the API's contract stays until it is unregistered.
        unsafe { s.memory().register(pointer.cast(), len) }.map_err(status)?;
        s.owners.insert(pointer.addr() as u64, Owner { context: c, pool: None, flags, freeing: false });
        Ok(())
    }

    /// Ends page-locking, once all work of the context has run.
    fn cuMemHostUnregister(s, c; pointer: *mut c_void) {
        let pending = s.pending_in(c);
        let mut s = finish(s, c, pending)?;
        let address = pointer.addr() as u64;
        s.memory().unregister(address).map_err(|e| refuse(Status::HOST_MEMORY_NOT_REGISTERED, e))?;
        s.owners.remove(&address);
        Ok(())
    }

    /// The device address of page-locked memory: the same.
    fn cuMemHostGetDevicePointer_v2(s, c; address: Out<u64>, pointer: *mut c_void, flags: u32) {
        let _ = c;
        let at = pointer.addr() as u64;
        let region = s.memory().region(at, 1).map_err(status)?;
        if flags != 0 || !matches!(region.kind, Kind::Pinned | Kind::Registered) {
            return Err(Status::INVALID_VALUE);
        }
        address.put(at)
    }

    /// Flags that page-locked memory was allocated with.
    fn cuMemHostGetFlags(s, c; flags: Out<u32>, pointer: *mut c_void) {
        let _ = c;
        let region = s.memory().region(pointer.addr() as u64, 1).map_err(status)?;
        let owner = s.owners.get(&region.base).filter(|_| region.kind == Kind::Pinned);
        flags.put(owner.ok_or(Status::INVALID_VALUE)?.flags)
    }
}
