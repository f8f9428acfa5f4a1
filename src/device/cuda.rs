//! A CUDA device that has been opened: its context, its kernels, and the running of planned commands.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, OnceLock};

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUfunction_attribute as FunctionAttribute};
use cudarc::driver::{result, sys};

use super::launch::{Command, Launch};
use super::status::During;
use super::{Kernel, Stream, driver, kernels, no_cuda};
use crate::{Error, Result};

/// Oldest compute capability that the portable kernels run on.
const OLDEST: (i32, i32) = (8, 0);
/// Shared memory, static and dynamic, that a kernel gets without asking for more.
const DEFAULT_SHARED: u32 = 48 * 1024;

/// What a device offers, as far as plans and reports ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// What the driver calls it.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of shared memory that a block may have.
    pub shared: usize,
}

/// An opened device. All of its memory, streams and events keep it open.
#[derive(Debug)]
pub struct Device {
    properties: Properties,
    ordinal: sys::CUdevice,
    context: sys::CUcontext,
    functions: Mutex<HashMap<&'static str, Function>>,
    modules: Mutex<HashMap<&'static str, sys::CUmodule>>,
}

// SAFETY: contexts, modules and functions of the driver API may be used from any thread; every call binds the
// context to its thread first.
unsafe impl Send for Device {}
// SAFETY: as above; the maps are behind locks.
unsafe impl Sync for Device {}

#[derive(Clone, Copy, Debug)]
struct Function {
    handle: sys::CUfunction,
    /// Dynamic shared memory that it may have.
    shared: u32,
}

impl Device {
    /// Opens GPU number `ordinal`.
    ///
    /// # Errors
    /// [`Error::Device`]: no driver, no such GPU, one that is too old, a driver that is too old for the kernels,
    /// or a program that was built without kernels.
    pub fn open(ordinal: usize) -> Result<Arc<Self>> {
        let driver = driver()?.ok_or_else(no_cuda)?;
        let Some(gpu) = driver.gpus.get(ordinal) else { return Err(no_cuda()) };
        if gpu.capability < OLDEST {
            let (major, minor) = gpu.capability;
            return Err(Error::device(
                format!("{} has compute capability {major}.{minor}, the kernels need 8.0", gpu.name),
                "use a GPU of the Ampere generation or later, or --device cpu",
            ));
        }
        let wanted = kernels().iter().filter_map(Kernel::cuda).max().ok_or_else(no_cuda)?;
        if driver.cuda < wanted {
            return Err(Error::device(
                format!(
                    "the NVIDIA driver runs CUDA {}.{}, the kernels need {}.{}",
                    driver.cuda.0, driver.cuda.1, wanted.0, wanted.1
                ),
                "install NVIDIA driver release 580 or later, or use --device cpu",
            ));
        }
        let handle = result::device::get(ordinal as i32).during("opening the GPU")?;
        // SAFETY: `handle` is one that the driver just returned.
        let attribute = |a| unsafe { result::device::get_attribute(handle, a) }.during("asking the GPU");
        let properties = Properties {
            name: gpu.name.clone(),
            capability: gpu.capability,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
            memory: gpu.memory,
            shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize,
        };
        // SAFETY: likewise; released in `drop`.
        let context = unsafe { result::primary_ctx::retain(handle) }.during("opening the GPU")?;
        let device = Self {
            properties,
            ordinal: handle,
            context,
            functions: Mutex::default(),
            modules: Mutex::default(),
        };
        device.bind()?;
        Ok(Arc::new(device))
    }

    /// What it offers.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Free and total bytes of its memory, now.
    ///
    /// # Errors
    /// A driver that fails.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.bind()?;
        result::mem_get_info().during("asking for the GPU's free memory")
    }

    /// Makes this device the calling thread's.
    pub(super) fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained until `drop`.
        unsafe { result::ctx::set_current(self.context) }.during("using the GPU")
    }

    /// Waits for all work.
    ///
    /// # Errors
    /// What any of it failed with.
    pub fn synchronise(&self) -> Result<()> {
        self.bind()?;
        result::ctx::synchronize().during("waiting for the GPU")
    }

    /// Loads the kernels of `commands`, so that enqueuing them loads nothing.
    ///
    /// # Errors
    /// A kernel that the driver refuses.
    pub fn prepare(&self, commands: &[Command]) -> Result<()> {
        self.bind()?;
        for command in commands {
            if let Command::Kernel(launch) = command {
                self.function(launch)?;
            }
        }
        Ok(())
    }

    /// Appends commands to a stream; returns before they have run.
    ///
    /// # Errors
    /// A launch that the driver refuses, or what earlier work failed with.
    pub fn enqueue(&self, stream: &Stream, commands: &[Command]) -> Result<()> {
        self.bind()?;
        let stream = stream.handle();
        for command in commands {
            match command {
                Command::Kernel(launch) => self.launch(stream, launch)?,
                Command::Copy { from, to, bytes } => {
                    // SAFETY: the plan gives buffers of the arena that hold `bytes` bytes each.
                    unsafe { result::memcpy_dtod_async(to.value(), from.value(), *bytes, stream) }
                        .during("copying on the GPU")?;
                }
                Command::Zero { at, bytes } => {
                    // SAFETY: likewise.
                    unsafe { result::memset_d8_async(at.value(), 0, *bytes, stream) }
                        .during("clearing memory of the GPU")?;
                }
            }
        }
        Ok(())
    }

    fn launch(&self, stream: sys::CUstream, launch: &Launch) -> Result<()> {
        let function = self.function(launch)?;
        let [x, y, z] = launch.grid;
        let args = launch.args().as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: the kernel takes one struct, as long as `args` (checked when it was loaded), which the driver
        // copies before it returns; its pointers are into buffers that the plan made as long as the struct says.
        unsafe {
            result::launch_kernel(
                function.handle,
                (x, y, z),
                (launch.threads, 1, 1),
                launch.shared,
                stream,
                &mut [args],
            )
        }
        .during(launch.kernel)
    }

    /// The function of a launch, loaded at its first use.
    fn function(&self, launch: &Launch) -> Result<Function> {
        let mut functions = self.functions.lock().expect("no holder panics");
        if let Some(function) = functions.get(launch.kernel).filter(|f| f.shared >= launch.shared) {
            return Ok(*function);
        }
        let entry = entries().get(launch.kernel).ok_or_else(|| {
            Error::device(
                format!("no kernel {} was built in", launch.kernel),
                "run tools/setup and build again",
            )
        })?;
        assert_eq!(
            entry.args,
            size_of_val(launch.args()),
            "{}: the host's struct has another size",
            launch.kernel
        );
        let module = self.module(entry.kernel)?;
        let name = CString::new(launch.kernel).expect("a name without NUL");
        // SAFETY: the module stays loaded as long as the context lives.
        let handle = unsafe { result::module::get_function(module, name) }.during(launch.kernel)?;
        // Static shared memory counts as well.
        // SAFETY: `handle` is a function of a loaded module.
        let fixed = unsafe {
            result::function::get_function_attribute(
                handle,
                FunctionAttribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
            )
        }
        .during(launch.kernel)? as u32;
        let default = DEFAULT_SHARED.saturating_sub(fixed);
        if launch.shared > default {
            let attribute = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: as above.
            unsafe { result::function::set_function_attribute(handle, attribute, launch.shared as i32) }
                .during(launch.kernel)?;
        }
        let function = Function { handle, shared: launch.shared.max(default) };
        functions.insert(launch.kernel, function);
        Ok(function)
    }

    fn module(&self, kernel: &'static Kernel) -> Result<sys::CUmodule> {
        let mut modules = self.modules.lock().expect("no holder panics");
        if let Some(module) = modules.get(kernel.name) {
            return Ok(*module);
        }
        let text = CString::new(kernel.ptx).expect("PTX is text");
        // SAFETY: the image is NUL-terminated PTX, which the driver copies.
        let module = unsafe { result::module::load_data(text.as_ptr().cast()) }
            .during(&format!("loading the kernels of {}", kernel.name))?;
        modules.insert(kernel.name, module);
        Ok(module)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`; nothing of this device is left, as everything holds an `Arc` of it. An
        // error here can only repeat one that was reported before.
        let _ = unsafe { result::primary_ctx::release(self.ordinal) };
    }
}

/// Where an entry is, and the size of its parameter.
struct Entry {
    kernel: &'static Kernel,
    args: usize,
}

/// All entries of all kernel files, by name.
fn entries() -> &'static HashMap<&'static str, Entry> {
    static ENTRIES: OnceLock<HashMap<&'static str, Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let all = kernels()
            .iter()
            .flat_map(|kernel| kernel.entries().map(move |(name, args)| (name, Entry { kernel, args })));
        all.collect()
    })
}
