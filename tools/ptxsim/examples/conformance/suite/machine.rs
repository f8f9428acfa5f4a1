//! The device that runs the cases: a GPU by its driver, or a simulator that stands in for the driver.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::time::{Duration, Instant};

use cudarc::driver::{result, sys};
use libloading::Library;

use super::case::Case;
use super::map::{Map, Mode};

/// A kernel that runs longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a case has no output.
#[derive(Debug)]
pub enum Failure {
    /// This case failed; others may run.
    Case(String),
    /// A simulator says that it does not know an instruction, or a kind of tensor map.
    Refused(String),
    /// Nothing more can run in this process.
    Machine(String),
}

/// A device with its primary context current.
pub struct Machine {
    device: sys::CUdevice,
    /// What the driver calls it.
    pub name: String,
    /// Newest CUDA version of the driver, as 12080 is 12.8.
    pub driver: c_int,
    /// Compute capability.
    pub capability: (c_int, c_int),
}

/// Loads a library that stands in for the driver, for good, so that cudarc finds it by its soname.
///
/// # Errors
/// Why it cannot be loaded.
pub fn load_driver(path: &Path) -> Result<(), String> {
    // SAFETY: runs the library's initialisers; the user named it as the driver of this process.
    let library =
        unsafe { Library::new(path) }.map_err(|e| format!("cannot load {}: {e}", path.display()))?;
    std::mem::forget(library);
    Ok(())
}

impl Machine {
    /// The first device.
    ///
    /// # Errors
    /// That there is no driver or device, or how it fails.
    pub fn open() -> Result<Machine, String> {
        // SAFETY: loads the driver's library by its name.
        if !unsafe { sys::is_culib_present() } {
            return Err("there is no CUDA driver".to_owned());
        }
        result::init().map_err(explain)?;
        let device = result::device::get(0).map_err(explain)?;
        let mut driver = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&mut driver) }.result().map_err(explain)?;
        // SAFETY: `device` is one that the driver just returned.
        let attribute = |a| unsafe { result::device::get_attribute(device, a) }.map_err(explain);
        use sys::CUdevice_attribute as Attribute;
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let name = result::device::get_name(device).map_err(explain)?;
        let machine = Machine { device, name, driver, capability };
        machine.enter()?;
        Ok(machine)
    }

    /// Whether it is no GPU.
    pub fn is_simulator(&self) -> bool {
        self.name.contains("ptxsim")
    }

    /// What an expectation says about where it comes from.
    pub fn source(&self) -> String {
        if self.is_simulator() {
            return "ptxsim".to_owned();
        }
        format!("{}, driver {}.{}", self.name, self.driver / 1000, self.driver % 1000 / 10)
    }

    /// Makes the device's context current to this thread.
    ///
    /// # Errors
    /// The driver's.
    pub fn enter(&self) -> Result<(), String> {
        // SAFETY: the device is the driver's; its primary context stays retained until `drop` or a reset.
        let context = unsafe { result::primary_ctx::retain(self.device) }.map_err(explain)?;
        // SAFETY: the context was just retained.
        unsafe { result::ctx::set_current(context) }.map_err(explain)
    }

    /// Throws the context away, with an error that it may carry, and makes a new one.
    fn reset(&self) -> Result<(), String> {
        // SAFETY: no handle of the old context is used again: each case owns and ends with its own.
        unsafe { sys::cuDevicePrimaryCtxReset_v2(self.device) }.result().map_err(explain)?;
        self.enter()
    }

    /// Runs a case and gives the output buffer.
    ///
    /// # Errors
    /// The driver's refusal, a fault of the kernel, or that it hangs.
    pub fn run(&self, case: &Case) -> Result<Vec<u8>, Failure> {
        let mut buffers = Vec::new();
        let outcome = self.run_with(case, &mut buffers);
        if outcome.is_ok() {
            for buffer in buffers {
                // SAFETY: allocated by `run_with`, used by nothing any more as the kernel has ended.
                let _ = unsafe { result::free_sync(buffer) };
            }
        } else if !matches!(outcome, Err(Failure::Machine(_))) {
            self.reset().map_err(Failure::Machine)?;
        }
        outcome
    }

    fn run_with(&self, case: &Case, buffers: &mut Vec<u64>) -> Result<Vec<u8>, Failure> {
        let failed = |what: &'static str| move |e| Failure::Case(format!("{what}: {}", explain(e)));
        let refused = if self.is_simulator() { Failure::Refused } else { Failure::Case };
        let module = load_module(&case.ptx).map_err(refused)?;
        let name = c"kernel".to_owned();
        // SAFETY: the module was just loaded.
        let function = unsafe { result::module::get_function(module, name) }.map_err(failed("kernel"))?;
        if case.dynamic_shared > 48 << 10 {
            let limit = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is the one just found.
            unsafe { result::function::set_function_attribute(function, limit, case.dynamic_shared as i32) }
                .map_err(failed("dynamic shared memory"))?;
        }
        for bytes in case.inputs.iter().chain([&case.output]) {
            // SAFETY: the allocation is at least as long as what is written.
            let buffer = unsafe { result::malloc_sync(bytes.len().max(16)) }.map_err(failed("allocation"))?;
            buffers.push(buffer);
            // SAFETY: as above; the host slice lives over the call.
            unsafe { result::memcpy_htod_sync(buffer, bytes) }.map_err(failed("copy to the device"))?;
        }
        let output = *buffers.last().ok_or_else(|| Failure::Case("no output".to_owned()))?;
        let encode = |map: &Map| {
            let address = map.input.map_or(Some(output), |k| buffers.get(k).copied());
            encode(map, address.unwrap_or(0))
        };
        let maps = case.maps.iter().map(encode).collect::<Result<Vec<_>, _>>();
        let mut maps = maps.map_err(|e| refused(format!("tensor map: {}", explain(e))))?;
        let mut pointers = buffers.clone();
        let mut params: Vec<*mut c_void> =
            pointers.iter_mut().map(|p| std::ptr::from_mut(p).cast()).collect();
        params.extend(maps.iter_mut().map(|m| std::ptr::from_mut(m).cast::<c_void>()));
        let (grid, block) = (case.grid.into(), case.block.into());
        let stream = result::stream::null();
        // SAFETY: the parameters are those that the case's module declares, in order, and live over the call.
        unsafe { result::launch_kernel(function, grid, block, case.dynamic_shared, stream, &mut params) }
            .map_err(failed("launch"))?;
        finish(stream)?;
        let mut out = vec![0; case.output.len()];
        // SAFETY: the buffer has as many bytes as the host slice.
        unsafe { result::memcpy_dtoh_sync(&mut out, output) }.map_err(failed("copy from the device"))?;
        // SAFETY: the module's kernel has ended.
        unsafe { result::module::unload(module) }.map_err(failed("unload"))?;
        Ok(out)
    }
}

/// Waits for the stream, but not for ever.
fn finish(stream: sys::CUstream) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        // SAFETY: the null stream is always valid.
        match unsafe { sys::cuStreamQuery(stream) } {
            sys::CUresult::CUDA_SUCCESS => return Ok(()),
            sys::CUresult::CUDA_ERROR_NOT_READY if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_micros(20));
            }
            sys::CUresult::CUDA_ERROR_NOT_READY => {
                return Err(Failure::Machine("the kernel does not end".to_owned()));
            }
            error => return Err(Failure::Case(format!("kernel: {}", explain(result::DriverError(error))))),
        }
    }
}

/// Loads PTX; the error carries the assembler's words.
fn load_module(ptx: &str) -> Result<sys::CUmodule, String> {
    use sys::CUjit_option_enum as Option;
    let text = CString::new(ptx).map_err(|e| e.to_string())?;
    let mut log = vec![0 as c_char; 4096];
    let mut options = [Option::CU_JIT_ERROR_LOG_BUFFER, Option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(log.len())];
    let mut module = std::ptr::null_mut();
    // SAFETY: the text is NUL-terminated, and the log's buffer has the size that is given.
    let status = unsafe {
        sys::cuModuleLoadDataEx(
            &mut module,
            text.as_ptr().cast(),
            options.len() as c_uint,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    status.result().map(|()| module).map_err(|e| {
        let bytes: Vec<u8> = log.iter().map(|c| *c as u8).collect();
        let words = CStr::from_bytes_until_nul(&bytes).map(CStr::to_string_lossy).unwrap_or_default();
        format!("module: {} {}", explain(e), words.trim())
    })
}

/// The driver's encoding of a tensor map over memory at `address`.
fn encode(map: &Map, address: u64) -> Result<sys::CUtensorMap, result::DriverError> {
    let mut encoded = sys::CUtensorMap { opaque: [0; 16] };
    let rank = map.extents.len() as u32;
    let base = std::ptr::without_provenance_mut(address as usize);
    // SAFETY: both enumerations are declared in the driver's order, without gaps.
    let (element, swizzle) = unsafe {
        (
            std::mem::transmute::<u32, sys::CUtensorMapDataType>(map.element as u32),
            std::mem::transmute::<u32, sys::CUtensorMapSwizzle>(map.swizzle as u32),
        )
    };
    let interleave = sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE;
    let promotion = sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_NONE;
    let fill = if map.fill_nan {
        sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
    } else {
        sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE
    };
    let (extents, strides, steps) = (map.extents.as_ptr(), map.strides.as_ptr(), map.steps.as_ptr());
    // SAFETY: each array has as many entries as the rank asks for (`Map`'s fields), and lives over the call.
    let status = unsafe {
        match &map.mode {
            Mode::Tiled(tile) => sys::cuTensorMapEncodeTiled(
                &mut encoded,
                element,
                rank,
                base,
                extents,
                strides,
                tile.as_ptr(),
                steps,
                interleave,
                swizzle,
                promotion,
                fill,
            ),
            Mode::Im2col { lower, upper, channels, pixels } => sys::cuTensorMapEncodeIm2col(
                &mut encoded,
                element,
                rank,
                base,
                extents,
                strides,
                lower.as_ptr(),
                upper.as_ptr(),
                *channels,
                *pixels,
                steps,
                interleave,
                swizzle,
                promotion,
                fill,
            ),
        }
    };
    status.result().map(|()| encoded)
}

/// The driver's name of an error.
fn explain(error: result::DriverError) -> String {
    error.error_name().map_or_else(|_| format!("{:?}", error.0), |name| name.to_string_lossy().into_owned())
}
