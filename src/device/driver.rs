//! The NVIDIA driver, looked up when asked for and never needed to build or to start.

use std::ffi::c_int;
use std::path::Path;
use std::sync::OnceLock;

use cudarc::driver::{result, sys};
use libloading::Library;

use super::status::describe;
use crate::{Error, Result};

/// Names the library to load as the driver, in place of the system's.
const OVERRIDE: &str = "HDC_CUDA_DRIVER";

/// A driver that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Newest CUDA version it runs: `(13, 0)`.
    pub cuda: (i32, i32),
    /// The GPUs it finds.
    pub gpus: Vec<Gpu>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// What the driver calls it.
    pub name: String,
    /// Compute capability: `(9, 0)` is Hopper.
    pub capability: (i32, i32),
    /// Bytes of its memory.
    pub memory: usize,
}

/// The driver and its GPUs; `None` if there is no driver.
///
/// # Errors
/// [`Error::Device`] if `HDC_CUDA_DRIVER` names no usable driver, or the driver fails.
pub fn driver() -> Result<Option<Driver>> {
    if let Some(path) = std::env::var_os(OVERRIDE).filter(|v| !v.is_empty()) {
        use_driver(Path::new(&path))?;
    }
    // SAFETY: loads the system's driver library by its name; its initialisers are NVIDIA's, or those of the
    // library that the user named and `load` checked.
    if !unsafe { sys::is_culib_present() } {
        return Ok(None);
    }
    query().map(Some).map_err(|e| {
        Error::device(
            format!("the NVIDIA driver is installed but fails: {e}"),
            "see whether nvidia-smi works; a driver newer than the running kernel module wants a reboot",
        )
    })
}

/// Makes the library at `path` the driver of this process, as `HDC_CUDA_DRIVER` does. The first one that is named stays.
///
/// # Errors
/// [`Error::Device`] if it cannot be loaded or is no driver.
pub fn use_driver(path: &Path) -> Result<()> {
    static LOADED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(|| load(path)).clone().map_err(|what| {
        Error::device(what, format!("correct {OVERRIDE}, or unset it to use the system's driver"))
    })
}

/// Loads the library that stands in for the driver, for good, so that cudarc's look-up by name finds it.
fn load(path: &Path) -> std::result::Result<(), String> {
    let name = path.display();
    // SAFETY: runs the library's initialisers; the user named it as the driver of this process.
    let library =
        unsafe { Library::new(path) }.map_err(|e| format!("{OVERRIDE}: cannot load {name}: {e}"))?;
    let init =
        symbol(&library).ok_or_else(|| format!("{OVERRIDE}: {name} is not a CUDA driver (no cuInit)"))?;
    // SAFETY: a library of this name is either the one above, already loaded, or the system's driver.
    let found = unsafe { Library::new("libcuda.so") }.ok();
    if found.as_ref().and_then(symbol) != Some(init) {
        return Err(format!(
            "{OVERRIDE}: {name} does not have the soname libcuda.so, so it would not be used"
        ));
    }
    std::mem::forget(library); // never unloaded: cudarc keeps pointers into it
    Ok(())
}

/// Address of `cuInit`.
fn symbol(library: &Library) -> Option<usize> {
    // SAFETY: the symbol is only compared as an address, never called or read.
    unsafe { library.get::<*const ()>(b"cuInit\0") }.ok().map(|s| (*s).addr())
}

/// Asks a driver that is there.
fn query() -> std::result::Result<Driver, String> {
    let failed = |e: result::DriverError| describe(e.0);
    let mut version: c_int = 0;
    // SAFETY: writes one integer; may be called before cuInit.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(failed)?;
    let cuda = (version / 1000, version % 1000 / 10);
    match result::init() {
        Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Ok(Driver { cuda, gpus: Vec::new() }),
        other => other.map_err(failed)?,
    }
    let count = result::device::get_count().map_err(failed)?;
    let gpus = (0..count).map(gpu).collect::<Result<_, _>>().map_err(failed)?;
    Ok(Driver { cuda, gpus })
}

fn gpu(ordinal: c_int) -> std::result::Result<Gpu, result::DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let device = result::device::get(ordinal)?;
    // SAFETY: `device` is one that the driver just returned.
    let attribute = |a| unsafe { result::device::get_attribute(device, a) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    // SAFETY: likewise.
    let memory = unsafe { result::device::total_mem(device) }?;
    Ok(Gpu { name: result::device::get_name(device)?, capability: (major, minor), memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_driver_that_is_not_there_or_not_a_driver_is_refused_by_name() {
        let e = load(Path::new("nowhere/libcuda.so")).unwrap_err();
        assert!(e.contains("cannot load nowhere/libcuda.so"), "{e}");
        if cfg!(target_os = "linux") {
            let e = load(Path::new("libm.so.6")).unwrap_err();
            assert!(e.contains("libm.so.6 is not a CUDA driver"), "{e}");
        }
    }

    #[test]
    fn asking_for_the_driver_answers_on_any_machine() {
        match driver() {
            Ok(Some(driver)) => assert!(driver.cuda.0 > 0, "{driver:?}"),
            Ok(None) => {}
            Err(e) => assert!(e.to_string().contains("help"), "{e}"),
        }
    }
}
