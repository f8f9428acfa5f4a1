//! Kernels as functions: attributes and names (driver API, "Execution Control").

use std::ffi::{CString, c_char};
use std::sync::Arc;

use crate::module::Kernel;

use super::api::{api, refuse};
use super::argument::{In, Out};
use super::state::{Handle, State};
use super::status::{Result, Status};

/// A kernel that was asked for.
pub(super) struct Function {
    pub(super) module: Handle,
    pub(super) context: Handle,
    pub(super) kernel: Arc<Kernel>,
    /// Bytes of dynamic shared memory that it opted in to, if it did.
    opted_in: Option<u32>,
    /// Preferred percentage of shared memory; -1 is the driver's choice.
    carveout: i32,
    /// The name, for the caller to keep.
    name: CString,
}

impl Function {
    pub(super) fn new(module: Handle, context: Handle, kernel: Arc<Kernel>) -> Function {
        let name = CString::new(kernel.name.as_str()).unwrap_or_default();
        Function { module, context, kernel, opted_in: None, carveout: -1, name }
    }
}

impl State {
    /// The function behind a handle.
    pub(super) fn function(&mut self, function: Handle) -> Result<&mut Function> {
        self.functions.get_mut(&function).ok_or_else(|| {
            refuse(Status::INVALID_HANDLE, "there is no such function (was its module unloaded?)")
        })
    }

    /// Most bytes of dynamic shared memory that a launch of the function may ask for.
    pub(super) fn dynamic_shared_limit(&self, function: &Function) -> u32 {
        let limits = self.machine.device.limits();
        let default = limits.block_shared.saturating_sub(function.kernel.attributes.static_shared);
        function.opted_in.unwrap_or(default)
    }

    fn attribute(&self, function: Handle, attribute: i32) -> Result<i32> {
        let function = self.functions.get(&function).ok_or(Status::INVALID_HANDLE)?;
        let kernel = &function.kernel.attributes;
        let of = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        Ok(match attribute {
            0 => of(kernel.max_threads),
            1 => of(kernel.static_shared),
            2 => of(kernel.const_bytes),
            3 => of(kernel.local_bytes),
            4 => of(kernel.registers),
            5 => of(kernel.ptx_version),
            6 => of(kernel.binary_version),
            7 => 0, // compiled to cache in L1
            8 => of(self.dynamic_shared_limit(function)),
            9 => function.carveout,
            10..=15 => 0, // clusters
            _ => return Err(Status::INVALID_VALUE),
        })
    }

    fn set_attribute(&mut self, function: Handle, attribute: i32, value: i32) -> Result<()> {
        let limits = self.machine.device.limits();
        let found = self.function(function)?;
        match attribute {
            8 => {
                let statics = found.kernel.attributes.static_shared;
                let most = limits.block_shared_optin.saturating_sub(statics);
                let asked = u32::try_from(value).ok().filter(|v| *v <= most).ok_or_else(|| {
                    refuse(
                        Status::INVALID_VALUE,
                        format_args!(
                            "{value} bytes of dynamic shared memory for kernel {}; with {statics} static ones, \
                             the device allows {most}",
                            found.kernel.name
                        ),
                    )
                })?;
                found.opted_in = Some(asked);
                Ok(())
            }
            9 if (-1..=100).contains(&value) => {
                found.carveout = value;
                Ok(())
            }
            10..=15 if value == 0 => Ok(()),
            10..=15 => {
                Err(refuse(Status::NOT_SUPPORTED, "clusters of more than one block are not simulated"))
            }
            _ => Err(Status::INVALID_VALUE),
        }
    }
}

api! {
    /// An attribute of a function (`CUfunction_attribute`).
    fn cuFuncGetAttribute(s, c; value: Out<i32>, attribute: i32, function: Handle) {
        let _ = c;
        value.put(s.attribute(function, attribute)?)
    }

    /// Sets an attribute of a function: dynamic shared memory or the carve-out.
    fn cuFuncSetAttribute(s, c; function: Handle, attribute: i32, value: i32) {
        let _ = c;
        s.set_attribute(function, attribute, value)
    }

    /// Prefers cache or shared memory, which has no effect.
    fn cuFuncSetCacheConfig(s, c; function: Handle, config: i32) {
        let _ = c;
        s.function(function)?;
        if (0..=3).contains(&config) { Ok(()) } else { Err(Status::INVALID_VALUE) }
    }

    /// Prefers a width of shared memory banks, which has no effect.
    fn cuFuncSetSharedMemConfig(s, c; function: Handle, config: i32) {
        let _ = c;
        s.function(function)?;
        if (0..=2).contains(&config) { Ok(()) } else { Err(Status::INVALID_VALUE) }
    }

    /// The module of a function.
    fn cuFuncGetModule(s, c; module: Out<Handle>, function: Handle) {
        let _ = c;
        module.put(s.function(function)?.module)
    }

    /// The name of a function, valid until its module is unloaded.
    fn cuFuncGetName(s, c; name: Out<In<c_char>>, function: Handle) {
        let _ = c;
        name.put(In::at_address(s.function(function)?.name.as_ptr().addr()))
    }

    /// Offset and size of a parameter.
    fn cuFuncGetParamInfo(s, c; function: Handle, index: usize, offset: Out<usize>, size: Out<usize>) {
        let _ = c;
        let param = s.function(function)?.kernel.params.get(index).ok_or(Status::INVALID_VALUE)?;
        offset.put(param.offset)?;
        size.put_if_wanted(param.size);
        Ok(())
    }

    /// An attribute of a kernel.
    fn cuKernelGetAttribute(s, c; value: Out<i32>, attribute: i32, kernel: Handle, device: i32) {
        let _ = c;
        s.check_device(device)?;
        value.put(s.attribute(kernel, attribute)?)
    }

    /// Sets an attribute of a kernel.
    fn cuKernelSetAttribute(s, c; attribute: i32, value: i32, kernel: Handle, device: i32) {
        let _ = c;
        s.check_device(device)?;
        s.set_attribute(kernel, attribute, value)
    }
}
