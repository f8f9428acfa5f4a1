//! The driver's statuses as errors of ours.

use std::ffi::CStr;

use cudarc::driver::{result, sys};

use crate::{Error, Result};

/// The driver's own words for a status.
pub(super) fn describe(status: sys::CUresult) -> String {
    let mut text = std::ptr::null();
    // SAFETY: writes one pointer: to a constant string of the driver's, or null if it does not know the status.
    let known = unsafe { sys::cuGetErrorString(status, &mut text) }.result().is_ok() && !text.is_null();
    if !known {
        return format!("{status:?}");
    }
    // SAFETY: not null, and NUL-terminated as the driver's documentation says.
    let text = unsafe { CStr::from_ptr(text) };
    format!("{} ({status:?})", text.to_string_lossy())
}

/// Names what was being done when the driver refused.
pub(super) trait During<T> {
    /// The value, or an error of the device.
    fn during(self, what: &str) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, result::DriverError> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|e| Error::device(format!("{what}: {}", describe(e.0)), hint(e.0)))
    }
}

fn hint(status: sys::CUresult) -> &'static str {
    use sys::CUresult::*;
    match status {
        CUDA_ERROR_OUT_OF_MEMORY => {
            "use a smaller train.chunk (`hdc plan --device cuda` shows what fits), or free the GPU's memory"
        }
        CUDA_ERROR_UNSUPPORTED_PTX_VERSION | CUDA_ERROR_INVALID_PTX => {
            "install NVIDIA driver release 580 or later"
        }
        CUDA_ERROR_NO_BINARY_FOR_GPU => "use a GPU of compute capability 8.0 (Ampere) or later",
        CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ASSERT
        | CUDA_ERROR_LAUNCH_FAILED => {
            "a kernel failed: a bug in this program or a faulty GPU; run the same command again to resume from \
             the last checkpoint, and `hdc selftest` to see which kernel"
        }
        CUDA_ERROR_ECC_UNCORRECTABLE => "the GPU's memory is faulty; resume on another GPU",
        _ => "see whether nvidia-smi works, then run the same command again to resume",
    }
}
