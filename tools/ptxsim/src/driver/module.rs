//! Modules (driver API, "Module Management").

use std::collections::HashMap;
use std::ffi::c_char;

use crate::module::{LoadError, Module};

use super::api::{api, refuse};
use super::argument::{In, Out, Text};
use super::function::Function;
use super::state::{Handle, Locked, State, force};
use super::status::{Result, Status};
use super::trace;

/// A module and the context that it is loaded in.
pub(super) struct LoadedModule {
    pub(super) context: Handle,
    module: Module,
    functions: HashMap<String, Handle>,
}

/// The caller's buffer for a log of the compiler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    buffer: Out<c_char>,
    room: usize,
    /// Where the caller wants to know how much of it was filled.
    filled: Out<usize>,
}

impl Log {
    /// The error log among JIT options (`CU_JIT_ERROR_LOG_BUFFER`, `CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES`), if any. It
    /// and the info log are emptied; all other options tell a compiler how to compile, and there is none.
    pub(super) fn among(options: In<i32>, values: Out<usize>, count: u32) -> Result<Option<Log>> {
        let names = options.list(count as usize)?;
        let place = |option: i32| Some(values.at(names.iter().position(|o| *o == option)?));
        let [info, error] = [(3, 4), (5, 6)].map(|(buffer, size)| {
            let (buffer, filled) = (place(buffer)?.get().ok()?, place(size)?);
            // The size is a 32-bit number, widened to a pointer.
            let room = filled.get().ok()? & 0xffff_ffff;
            let log = Log { buffer: Out::at_address(buffer), room, filled };
            log.write("");
            Some(log)
        });
        let _ = info;
        Ok(error)
    }

    fn write(&self, text: &str) {
        if self.buffer.put_text(text, self.room).is_ok() {
            self.filled.put_if_wanted(text.len().min(self.room - 1));
        }
    }
}

/// The PTX text of an image.
pub(super) fn text(image: Text) -> Result<String> {
    match image.magic() {
        [0x7f, b'E', b'L', b'F'] | [0x50, 0xed, 0x55, 0xba] | [0xb1, 0x43, 0x62, 0x46] => Err(refuse(
            Status::NO_BINARY_FOR_GPU,
            "the image is machine code (a cubin or fat binary); only PTX can be simulated",
        )),
        _ => image.get(),
    }
}

/// Loads PTX; its refusal goes to standard error and to the log.
pub(super) fn load(
    s: &mut State,
    context: Handle,
    out: Out<Handle>,
    ptx: &str,
    log: Option<Log>,
) -> Result<()> {
    if out.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    let machine = s.machine.clone();
    let module = Module::load(ptx, &machine.device, &machine.memory).map_err(|e| {
        if let Some(log) = log {
            log.write(&format!("ptxsim: {e}"));
        }
        let status = match e {
            LoadError::Syntax(..) | LoadError::Unsupported(..) | LoadError::Variable(..) => {
                Status::INVALID_PTX
            }
            LoadError::Version { .. } => Status::UNSUPPORTED_PTX_VERSION,
            LoadError::Target(..) => Status::NO_BINARY_FOR_GPU,
            LoadError::Memory(..) => Status::OUT_OF_MEMORY,
        };
        refuse(status, e)
    })?;
    let handle = s.new_handle();
    s.modules.insert(handle, LoadedModule { context, module, functions: HashMap::new() });
    out.put(handle)
}

impl State {
    fn module(&self, module: Handle) -> Result<&LoadedModule> {
        self.modules
            .get(&module)
            .ok_or_else(|| refuse(Status::INVALID_HANDLE, "there is no such module (was it unloaded?)"))
    }

    /// Fails unless the module is loaded.
    pub(super) fn known_module(&self, module: Handle) -> Result<()> {
        self.module(module).map(drop)
    }

    /// Forgets a module and its functions, and frees its variables.
    pub(super) fn unload(&mut self, handle: Handle) {
        if let Some(found) = self.modules.remove(&handle) {
            found.module.unload(&self.machine.memory);
            self.functions.retain(|_, f| f.module != handle);
        }
    }

    /// The function of a module, always the same handle.
    pub(super) fn function_of(&mut self, module: Handle, name: &str) -> Result<Handle> {
        let found = self.module(module)?;
        if let Some(handle) = found.functions.get(name) {
            return Ok(*handle);
        }
        let kernel = found
            .module
            .kernel(name)
            .ok_or_else(|| refuse(Status::NOT_FOUND, format_args!("the module has no kernel {name}")))?;
        let function = Function::new(module, found.context, kernel);
        let handle = self.new_handle();
        self.functions.insert(handle, function);
        if let Some(found) = self.modules.get_mut(&module) {
            found.functions.insert(name.to_owned(), handle);
        }
        Ok(handle)
    }
}

/// Unloads a module once what is queued in its context has run.
pub(super) fn unload(s: Locked, module: Handle) -> Result<()> {
    let context = s.module(module)?.context;
    let pending = s.pending_in(context);
    trace::waits();
    let mut s = force(s, pending);
    s.unload(module);
    s.check(context)
}

/// Address and size of a module's variable.
pub(super) fn variable(
    s: &State,
    address: Out<u64>,
    size: Out<usize>,
    module: Handle,
    name: Text,
) -> Result<()> {
    let name = name.get()?;
    let (at, len) = s
        .module(module)?
        .module
        .variable(&name)
        .ok_or_else(|| refuse(Status::NOT_FOUND, format_args!("the module has no variable {name}")))?;
    address.put_if_wanted(at);
    size.put_if_wanted(len);
    Ok(())
}

/// The text of a file.
pub(super) fn file(path: Text) -> Result<String> {
    let path = path.get()?;
    let bytes = std::fs::read(&path)
        .map_err(|e| refuse(Status::FILE_NOT_FOUND, format_args!("cannot read {path}: {e}")))?;
    String::from_utf8(bytes).map_err(|_| {
        refuse(Status::NO_BINARY_FOR_GPU, format_args!("{path} is not PTX; only PTX can be simulated"))
    })
}

api! {
    /// Loads a module from a file of PTX.
    fn cuModuleLoad(s, c; module: Out<Handle>, path: Text) {
        let ptx = file(path)?;
        load(&mut s, c, module, &ptx, None)
    }

    /// Loads a module from PTX text, NUL-terminated.
    fn cuModuleLoadData(s, c; module: Out<Handle>, image: Text) {
        let ptx = text(image)?;
        load(&mut s, c, module, &ptx, None)
    }

    /// Loads a module from PTX text with options for the compiler.
    fn cuModuleLoadDataEx(
        s, c;
        module: Out<Handle>,
        image: Text,
        count: u32,
        options: In<i32>,
        values: Out<usize>,
    ) {
        let log = Log::among(options, values, count)?;
        let ptx = text(image)?;
        load(&mut s, c, module, &ptx, log)
    }

    /// Fat binaries hold machine code.
    fn cuModuleLoadFatBinary(s, c; module: Out<Handle>, image: Text) {
        let ptx = text(image)?;
        load(&mut s, c, module, &ptx, None)
    }

    /// Unloads a module.
    fn cuModuleUnload(s; module: Handle) {
        unload(s, module)
    }

    /// A kernel of a module.
    fn cuModuleGetFunction(s, c; function: Out<Handle>, module: Handle, name: Text) {
        let _ = c;
        function.put(s.function_of(module, &name.get()?)?)
    }

    /// Address and size in bytes of a variable of a module.
    fn cuModuleGetGlobal_v2(s, c; address: Out<u64>, size: Out<usize>, module: Handle, name: Text) {
        let _ = c;
        variable(&s, address, size, module, name)
    }

    /// Modules are loaded at once (`CU_MODULE_EAGER_LOADING`).
    fn cuModuleGetLoadingMode(mode: Out<i32>) {
        mode.put(1)
    }
}
