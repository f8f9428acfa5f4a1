//! Copies (driver API, "Memory Management").

use std::ffi::c_void;
use std::sync::Arc;

use super::allocation::status;
use super::api::{api, refuse};
use super::argument::{In, is_readable};
use super::state::{Handle, Locked, State, finish};
use super::status::{Result, Status};
use super::trace;
use super::work::{Copy, Place, Side, Work};

/// `CUmemorytype`.
const HOST: u32 = 1;
const DEVICE: u32 = 2;
const UNIFIED: u32 = 4;

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, std::marker::Copy, Debug)]
pub struct Copy2D {
    from: End2D,
    to: End2D,
    width: usize,
    height: usize,
}

/// One end of a [`Copy2D`].
#[repr(C)]
#[derive(Clone, std::marker::Copy, Debug)]
pub struct End2D {
    x: usize,
    y: usize,
    kind: u32,
    host: usize,
    device: u64,
    array: usize,
    pitch: usize,
}

/// `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, std::marker::Copy, Debug)]
pub struct Copy3D {
    from: End3D,
    to: End3D,
    width: usize,
    height: usize,
    depth: usize,
}

/// One end of a [`Copy3D`].
#[repr(C)]
#[derive(Clone, std::marker::Copy, Debug)]
pub struct End3D {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    kind: u32,
    host: usize,
    device: u64,
    array: usize,
    reserved: usize,
    pitch: usize,
    height: usize,
}

impl From<End2D> for End3D {
    fn from(end: End2D) -> End3D {
        let End2D { x, y, kind, host, device, array, pitch } = end;
        End3D { x, y, z: 0, level: 0, kind, host, device, array, reserved: 0, pitch, height: 0 }
    }
}

impl From<Copy2D> for Copy3D {
    fn from(copy: Copy2D) -> Copy3D {
        let Copy2D { from, to, width, height } = copy;
        Copy3D { from: from.into(), to: to.into(), width, height, depth: 1 }
    }
}

impl State {
    /// Memory that a device pointer means.
    fn device_place(&self, address: u64, len: usize) -> Result<Place> {
        self.memory().region(address, len).map_err(status)?;
        Ok(Place::Device(address))
    }

    /// Memory that a host pointer means: page-locked, and so the device's too, or pageable.
    fn host_place(&self, address: usize, len: usize) -> Result<Place> {
        let region = self.memory().region(address as u64, len);
        if let Ok(region) = &region
            && !region.kind.on_device()
        {
            return Ok(Place::Device(address as u64));
        }
        if self.memory().is_device_address(address as u64) {
            let what = format_args!("{address:#x} is a device address where a host address belongs");
            return Err(refuse(Status::INVALID_VALUE, what));
        }
        if !is_readable(address, len) {
            let what = format_args!("there are no {len} bytes of host memory at {address:#x}");
            return Err(refuse(Status::INVALID_VALUE, what));
        }
        Ok(Place::Host(address))
    }

    /// Memory that a pointer of unknown kind means.
    fn unified_place(&self, address: u64, len: usize) -> Result<Place> {
        if self.memory().is_device_address(address) {
            self.device_place(address, len)
        } else {
            self.host_place(address as usize, len)
        }
    }

    fn side(&self, end: &End3D, width: usize, height: usize, depth: usize) -> Result<Side> {
        let base = match end.kind {
            HOST => end.host as u64,
            DEVICE | UNIFIED => end.device,
            _ => return Err(refuse(Status::NOT_SUPPORTED, "copies of arrays are not simulated")),
        };
        let pitched = height > 1 || depth > 1 || end.y > 0 || end.z > 0;
        let pitch = if end.pitch == 0 && !pitched { width } else { end.pitch };
        if pitched && end.x.saturating_add(width) > pitch {
            let what = format_args!("rows of {width} bytes at {} are longer than the pitch {pitch}", end.x);
            return Err(refuse(Status::INVALID_VALUE, what));
        }
        let overflow = || Status::INVALID_VALUE;
        let plane = pitch.checked_mul(end.height).ok_or_else(overflow)?;
        if depth > 1 && end.height < height {
            return Err(refuse(Status::INVALID_VALUE, "planes have fewer rows than are to be copied"));
        }
        let offset = end
            .z
            .checked_mul(plane)
            .and_then(|o| o.checked_add(end.y.checked_mul(pitch)?)?.checked_add(end.x))
            .ok_or_else(overflow)?;
        let start = base.checked_add(offset as u64).ok_or_else(overflow)?;
        let mut side = Side { place: Place::Device(start), pitch, plane };
        let extent = side.extent(width, height, depth).ok_or_else(overflow)?;
        side.place = match end.kind {
            HOST => self.host_place(start as usize, extent)?,
            DEVICE => self.device_place(start, extent)?,
            _ => self.unified_place(start, extent)?,
        };
        Ok(side)
    }

    /// A copy that a structure describes; `None` if there is nothing to copy.
    pub(super) fn shaped_copy(&self, copy: &Copy3D) -> Result<Option<Copy>> {
        let Copy3D { width, height, depth, .. } = *copy;
        trace::bytes(width.saturating_mul(height).saturating_mul(depth));
        if width == 0 || height == 0 || depth == 0 {
            return Ok(None);
        }
        let to = self.side(&copy.to, width, height, depth)?;
        let from = self.side(&copy.from, width, height, depth)?;
        Ok(Some(Copy { to, from, width, height, depth }))
    }
}

/// The bytes of pageable memory that a copy reads, as they are now.
fn snapshot(copy: &Copy, from: usize) -> Side {
    let mut bytes = Vec::with_capacity(copy.width * copy.height * copy.depth);
    for z in 0..copy.depth {
        for y in 0..copy.height {
            let row = (from + z * copy.from.plane + y * copy.from.pitch) as *const u8;
            // SAFETY: the caller of the copy vouches for its source, whose first and last byte were found readable.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(row, copy.width) });
        }
    }
    Side::dense(Place::Bytes(bytes.into()), copy.width, copy.height)
}

/// Queues a copy, on the legacy default stream if there is no other; waits for it where the API does.
fn queue(mut s: Locked, context: Handle, stream: Option<Handle>, mut copy: Copy) -> Result<()> {
    if stream.is_none() {
        s.forbid_unsafe()?;
    }
    let target = s.resolve(context, stream.unwrap_or(Handle::NONE))?;
    let capturing = s.membership(target)?.is_some();
    let to_host = matches!(copy.to.place, Place::Host(_));
    let from_host = match copy.from.place {
        Place::Host(address) => Some(address),
        _ => None,
    };
    if let Some(from) = from_host
        && !to_host
        && stream.is_some()
        && !capturing
    {
        copy.from = snapshot(&copy, from);
    }
    // A synchronous copy within the device is not waited for, nor is one in a capture.
    let on_device = [&copy.to, &copy.from].iter().all(|side| match side.place {
        Place::Device(address) => s.memory().is_device_address(address),
        _ => false,
    });
    let wait = !capturing && (to_host || (stream.is_none() && !on_device));
    let op = s.submit(context, target, Work::Copy(Arc::new(copy)))?;
    if wait {
        finish(s, context, op)?;
    }
    Ok(())
}

/// Which kind of memory a pointer means.
#[derive(Clone, std::marker::Copy)]
enum Means {
    Host,
    Device,
    Either,
}

fn linear(
    s: Locked,
    context: Handle,
    stream: Option<Handle>,
    to: (Means, u64),
    from: (Means, u64),
    len: usize,
) -> Result<()> {
    trace::bytes(len);
    if len == 0 {
        return Ok(());
    }
    let place = |(means, address): (Means, u64)| match means {
        Means::Host => s.host_place(address as usize, len),
        Means::Device => s.device_place(address, len),
        Means::Either => s.unified_place(address, len),
    };
    let [to, from] = [place(to)?, place(from)?].map(|place| Side::dense(place, len, 1));
    queue(s, context, stream, Copy { to, from, width: len, height: 1, depth: 1 })
}

fn shaped(s: Locked, context: Handle, stream: Option<Handle>, copy: &Copy3D) -> Result<()> {
    match s.shaped_copy(copy)? {
        Some(copy) => queue(s, context, stream, copy),
        None => Ok(()),
    }
}

fn host(pointer: *const c_void) -> (Means, u64) {
    (Means::Host, pointer.addr() as u64)
}

api! {
    /// Copies between any memory.
    fn cuMemcpy(s, c; to: u64, from: u64, len: usize) {
        linear(s, c, None, (Means::Either, to), (Means::Either, from), len)
    }

    /// Queues a copy between any memory.
    fn cuMemcpyAsync(s, c; to: u64, from: u64, len: usize, stream: Handle) {
        linear(s, c, Some(stream), (Means::Either, to), (Means::Either, from), len)
    }

    /// Copies host to device.
    fn cuMemcpyHtoD_v2(s, c; to: u64, from: *const c_void, len: usize) {
        linear(s, c, None, (Means::Device, to), host(from), len)
    }

    /// Queues a copy host to device.
    fn cuMemcpyHtoDAsync_v2(s, c; to: u64, from: *const c_void, len: usize, stream: Handle) {
        linear(s, c, Some(stream), (Means::Device, to), host(from), len)
    }

    /// Copies device to host.
    fn cuMemcpyDtoH_v2(s, c; to: *mut c_void, from: u64, len: usize) {
        linear(s, c, None, host(to), (Means::Device, from), len)
    }

    /// Queues a copy device to host.
    fn cuMemcpyDtoHAsync_v2(s, c; to: *mut c_void, from: u64, len: usize, stream: Handle) {
        linear(s, c, Some(stream), host(to), (Means::Device, from), len)
    }

    /// Copies within the device.
    fn cuMemcpyDtoD_v2(s, c; to: u64, from: u64, len: usize) {
        linear(s, c, None, (Means::Device, to), (Means::Device, from), len)
    }

    /// Queues a copy within the device.
    fn cuMemcpyDtoDAsync_v2(s, c; to: u64, from: u64, len: usize, stream: Handle) {
        linear(s, c, Some(stream), (Means::Device, to), (Means::Device, from), len)
    }

    /// Copies between contexts, which share the device's memory.
    fn cuMemcpyPeer(s, c; to: u64, to_context: Handle, from: u64, from_context: Handle, len: usize) {
        s.check(to_context)?;
        s.check(from_context)?;
        linear(s, c, None, (Means::Device, to), (Means::Device, from), len)
    }

    /// Queues a copy between contexts, which share the device's memory.
    fn cuMemcpyPeerAsync(
        s, c;
        to: u64,
        to_context: Handle,
        from: u64,
        from_context: Handle,
        len: usize,
        stream: Handle,
    ) {
        s.check(to_context)?;
        s.check(from_context)?;
        linear(s, c, Some(stream), (Means::Device, to), (Means::Device, from), len)
    }

    /// Copies rows.
    fn cuMemcpy2D_v2(s, c; copy: In<Copy2D>) {
        shaped(s, c, None, &copy.get()?.into())
    }

    /// Copies rows.
    fn cuMemcpy2DUnaligned_v2(s, c; copy: In<Copy2D>) {
        shaped(s, c, None, &copy.get()?.into())
    }

    /// Queues a copy of rows.
    fn cuMemcpy2DAsync_v2(s, c; copy: In<Copy2D>, stream: Handle) {
        shaped(s, c, Some(stream), &copy.get()?.into())
    }

    /// Copies planes of rows.
    fn cuMemcpy3D_v2(s, c; copy: In<Copy3D>) {
        shaped(s, c, None, &copy.get()?)
    }

    /// Queues a copy of planes of rows.
    fn cuMemcpy3DAsync_v2(s, c; copy: In<Copy3D>, stream: Handle) {
        shaped(s, c, Some(stream), &copy.get()?)
    }
}
