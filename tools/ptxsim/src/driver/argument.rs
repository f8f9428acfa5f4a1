//! What comes from the caller: pointers that may be null, and memory that may not be there.
//!
//! [`In`], [`Out`] and [`Text`] are pointers in the signature of an API function. They are made nowhere else, so what
//! they point to is what the driver API asks of its caller: null, or valid for the access that the type names.

use std::ffi::{CStr, c_char, c_void};

use super::status::{Result, Status};

/// Where the caller wants a `T`.
#[repr(transparent)]
#[derive(Debug)]
pub struct Out<T>(*mut T);

// Written out, as deriving would ask for `T: Copy`.
impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T> Out<T> {
    /// Whether the caller wants nothing.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Its address.
    pub fn address(self) -> usize {
        self.0.addr()
    }

    /// Writes `value`.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` if the pointer is null.
    pub fn put(self, value: T) -> Result<()> {
        if self.0.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: not null, so the caller vouches for room for a `T` (module documentation).
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Writes `value` if the pointer is not null.
    pub fn put_if_wanted(self, value: T) {
        if !self.is_null() {
            let _ = self.put(value);
        }
    }

    /// A pointer that the caller passed as a number.
    pub(super) fn at_address(address: usize) -> Out<T> {
        Out(address as *mut T)
    }

    /// The place of the element at `index`; null if this is.
    pub fn at(self, index: usize) -> Out<T> {
        if self.is_null() { self } else { Out(self.0.wrapping_add(index)) }
    }

    /// Writes as many of `values` as there is room for.
    pub fn put_list(self, values: impl IntoIterator<Item = T>, room: usize) {
        if self.is_null() {
            return;
        }
        for (i, value) in values.into_iter().take(room).enumerate() {
            let _ = self.at(i).put(value);
        }
    }
}

impl<T: Copy> Out<T> {
    /// What is there, for arguments that go in and out.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` if the pointer is null.
    pub fn get(self) -> Result<T> {
        In(self.0.cast_const()).get()
    }
}

impl Out<c_void> {
    /// The same place for a `T`, where another argument says that it is one.
    pub fn cast<T>(self) -> Out<T> {
        Out(self.0.cast())
    }
}

impl Out<c_char> {
    /// Writes as much of `text` as fits into `room` bytes, NUL-terminated.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` if the pointer is null or there is no room.
    pub fn put_text(self, text: &str, room: usize) -> Result<()> {
        let last = room.checked_sub(1).ok_or(Status::INVALID_VALUE)?;
        let bytes = text.bytes().take(last).chain([0]);
        if self.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        self.put_list(bytes.map(|b| b as c_char), room);
        Ok(())
    }
}

/// A `T` of the caller's.
#[repr(transparent)]
#[derive(Debug)]
pub struct In<T>(*const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for In<T> {}

impl<T: Copy> In<T> {
    /// Whether there is none.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// A pointer to give to the caller, or one that the caller passed as a number.
    pub(super) fn at_address(address: usize) -> In<T> {
        In(address as *const T)
    }

    /// Its address.
    pub fn address(self) -> usize {
        self.0.addr()
    }

    /// Its value.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` if the pointer is null.
    pub fn get(self) -> Result<T> {
        if self.0.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: not null, so the caller vouches for a `T` there (module documentation).
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The `len` values from there on.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` if the pointer is null, unless `len` is 0.
    pub fn list(self, len: usize) -> Result<Vec<T>> {
        (0..len)
            .map(
                |i| {
                    if self.is_null() { Err(Status::INVALID_VALUE) } else { In(self.0.wrapping_add(i)).get() }
                },
            )
            .collect()
    }
}

/// A NUL-terminated string of the caller's.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Text(*const c_char);

impl Text {
    /// Its bytes.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` if the pointer is null.
    pub fn bytes(self) -> Result<Vec<u8>> {
        if self.0.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: not null, so the caller vouches for a NUL-terminated string (module documentation).
        Ok(unsafe { CStr::from_ptr(self.0) }.to_bytes().to_vec())
    }

    /// The string; what is not UTF-8 in it is replaced.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` if the pointer is null.
    pub fn get(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    /// The first four bytes, or zeros if there are none: enough to tell a binary from text.
    pub fn magic(self) -> [u8; 4] {
        let mut magic = [0; 4];
        if peek(self.0.addr(), &mut magic) { magic } else { [0; 4] }
    }
}

/// Copies host memory at `address` that may not be there; false if it is not.
pub(super) fn peek(address: usize, into: &mut [u8]) -> bool {
    if into.is_empty() {
        return true;
    }
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: into.len() };
    // SAFETY: `local` is a buffer of ours; the kernel checks `remote` and answers EFAULT if it is not readable.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    if copied >= 0 {
        return copied as usize == into.len();
    }
    let refused = std::io::Error::last_os_error().raw_os_error();
    if address == 0 || !matches!(refused, Some(libc::EPERM | libc::ENOSYS)) {
        return false;
    }
    // SAFETY: this host does not let us check (a sandbox without the call), so the caller's word has to do, as it
    // does for the real driver.
    unsafe { std::ptr::copy(address as *const u8, into.as_mut_ptr(), into.len()) };
    true
}

/// Whether the first and the last of `len` bytes at `address` are there.
pub(super) fn is_readable(address: usize, len: usize) -> bool {
    len == 0 || (peek(address, &mut [0]) && peek(address.wrapping_add(len - 1), &mut [0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_noticed() {
        let value = 0x1234_5678u32;
        let mut bytes = [0; 4];
        assert!(peek(&raw const value as usize, &mut bytes));
        assert_eq!(u32::from_ne_bytes(bytes), value);
        for address in [0, 8, 0xdead_0000_0000, usize::MAX - 3] {
            assert!(!peek(address, &mut bytes), "{address:#x}");
        }
        assert!(is_readable(0, 0) && !is_readable(0, 1));
    }
}
