//! Memory of a device, and host memory that it can copy from while the host does something else.

use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::{result, sys};

use super::status::During;
use super::{Address, Device, Stream};
use crate::Result;

/// Bytes on a device, allocated at once and freed when dropped.
#[derive(Debug)]
pub struct Memory {
    device: Arc<Device>,
    address: Address,
    bytes: usize,
}

impl Memory {
    /// `bytes` bytes of anything, 256-byte aligned; `what` names them in an error.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the device has not as many free.
    pub fn new(device: &Arc<Device>, what: &str, bytes: usize) -> Result<Self> {
        device.bind()?;
        let free = || result::mem_get_info().map_or(0, |(free, _)| free) as f64 / 1e9;
        // SAFETY: the driver is initialised and the context current. An empty allocation is not allowed.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(|e| {
            (e, format!("{what}: {:.2} GB on the GPU, {:.2} GB are free", bytes as f64 / 1e9, free()))
        });
        let address = match address {
            Ok(address) => address,
            Err((e, what)) => return Err(e).during(&what),
        };
        Ok(Self { device: device.clone(), address: Address::new(address), bytes })
    }

    /// A copy of `values`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn holding<T: Pod>(device: &Arc<Device>, what: &str, values: &[T]) -> Result<Self> {
        let new = Self::new(device, what, size_of_val(values))?;
        new.upload(0, values)?;
        Ok(new)
    }

    /// Its device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Where it starts.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies `values` to `offset`, and waits.
    ///
    /// # Errors
    /// What earlier work failed with.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn upload<T: Pod>(&self, offset: usize, values: &[T]) -> Result<()> {
        self.check(offset, size_of_val(values));
        self.device.bind()?;
        // SAFETY: the range is inside this allocation (checked).
        unsafe { result::memcpy_htod_sync(self.address.offset(offset).value(), values) }
            .during("copying to the GPU")
    }

    /// Copies from `offset` into `values`, and waits for all work before it.
    ///
    /// # Errors
    /// What earlier work failed with.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn download<T: Pod>(&self, offset: usize, values: &mut [T]) -> Result<()> {
        self.check(offset, size_of_val(values));
        self.device.bind()?;
        result::ctx::synchronize().during("waiting for the GPU")?; // our streams do not order with this copy
        // SAFETY: the range is inside this allocation (checked).
        unsafe { result::memcpy_dtoh_sync(values, self.address.offset(offset).value()) }
            .during("copying from the GPU")
    }

    /// Appends to `stream` a copy of the first `bytes` bytes of `from`, to `offset`. They must stay as they are until
    /// it has run.
    ///
    /// # Errors
    /// What earlier work failed with.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn upload_async(&self, stream: &Stream, offset: usize, from: &Pinned, bytes: usize) -> Result<()> {
        self.check(offset, bytes);
        self.device.bind()?;
        // SAFETY: the range is inside this allocation (checked), and `from` is page-locked.
        unsafe {
            result::memcpy_htod_async(
                self.address.offset(offset).value(),
                &from.as_slice::<u8>()[..bytes],
                stream.handle(),
            )
        }
        .during("copying to the GPU")
    }

    /// Appends to `stream` a copy of the first `bytes` bytes from `offset` to the start of `to`. They are there once
    /// it has run.
    ///
    /// # Errors
    /// What earlier work failed with.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn download_async(
        &self,
        stream: &Stream,
        offset: usize,
        to: &mut Pinned,
        bytes: usize,
    ) -> Result<()> {
        self.check(offset, bytes);
        self.device.bind()?;
        let from = self.address.offset(offset).value();
        // SAFETY: the range is inside this allocation (checked), and `to` is page-locked.
        unsafe { result::memcpy_dtoh_async(&mut to.as_mut_slice::<u8>()[..bytes], from, stream.handle()) }
            .during("copying from the GPU")
    }

    fn check(&self, offset: usize, bytes: usize) {
        let end = offset.checked_add(bytes);
        assert!(end.is_some_and(|end| end <= self.bytes), "{bytes} bytes at {offset} of {}", self.bytes);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: allocated in `new`; cuMemFree waits for work that uses it. An error can only repeat an earlier one.
            let _ = unsafe { result::free_sync(self.address.value()) };
        }
    }
}

/// Page-locked host memory: the device copies from and to it without the host's help.
#[derive(Debug)]
pub struct Pinned {
    device: Arc<Device>,
    start: *mut u8,
    bytes: usize,
}

// SAFETY: owned memory, as of a `Vec`.
unsafe impl Send for Pinned {}
// SAFETY: shared references only read.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// `bytes` bytes of zeros.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the system does not lock as many.
    pub fn new(device: &Arc<Device>, bytes: usize) -> Result<Self> {
        device.bind()?;
        // SAFETY: the context is current. An empty allocation is not allowed.
        let start = unsafe { result::malloc_host(bytes.max(1), sys::CU_MEMHOSTALLOC_PORTABLE) }
            .during(&format!("locking {bytes} bytes of memory for the GPU"))?
            .cast::<u8>();
        // SAFETY: the driver gave as many bytes, which nobody else has.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Self { device: device.clone(), start, bytes })
    }

    /// All of it.
    ///
    /// # Panics
    /// If it is no whole number of `T`.
    pub fn as_slice<T: Pod>(&self) -> &[T] {
        // SAFETY: `bytes` initialised bytes that live as long as `self`.
        bytemuck::cast_slice(unsafe { std::slice::from_raw_parts(self.start, self.bytes) })
    }

    /// All of it.
    ///
    /// # Panics
    /// If it is no whole number of `T`.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed exclusively.
        bytemuck::cast_slice_mut(unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: allocated in `new`. An error can only repeat an earlier one.
            let _ = unsafe { result::free_host(self.start.cast()) };
        }
    }
}
