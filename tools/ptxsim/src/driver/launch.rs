//! Launches (driver API, "Execution Control").

use std::ffi::c_void;
use std::sync::Arc;

use crate::launch::Config;
use crate::module::Kernel;

use super::api::{api, refuse};
use super::argument::{In, peek};
use super::occupancy;
use super::state::{Handle, Locked, State};
use super::status::{Result, Status};
use super::trace;
use super::work::{self, Work};

/// A list of pointers to parameters, or the `extra` list.
pub type Pointers = In<*mut c_void>;

/// What a launch call asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) function: Handle,
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) dynamic_shared: u32,
    pub(super) params: Pointers,
    pub(super) extra: Pointers,
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LaunchConfig {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    stream: Handle,
    attributes: In<LaunchAttribute>,
    attribute_count: u32,
}

/// `CUlaunchAttribute`: an identifier and 64 bytes whose meaning it tells.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct LaunchAttribute {
    id: u32,
    pad: u32,
    value: [u32; 16],
}

impl State {
    /// Checks a launch and takes its parameters over.
    pub(super) fn prepare(&mut self, context: Handle, request: &Request) -> Result<Arc<work::Launch>> {
        let function = self.function(request.function)?;
        if function.context != context {
            return Err(refuse(Status::INVALID_HANDLE, "the function is of another context"));
        }
        let kernel = function.kernel.clone();
        trace::kernel(&kernel.name);
        self.check_shape(request, &kernel)?;
        let params = parameters(&kernel, request.params, request.extra)?;
        let config =
            Config { grid: request.grid, block: request.block, dynamic_shared: request.dynamic_shared };
        Ok(Arc::new(work::Launch::new(request.function, kernel, config, params)))
    }

    fn check_shape(&mut self, request: &Request, kernel: &Kernel) -> Result<()> {
        let limits = self.machine.device.limits();
        let name = &kernel.name;
        let wrong = |status: Status, what: String| Err(refuse(status, format_args!("kernel {name}: {what}")));
        for (what, extent, most) in
            [("grid", request.grid, limits.grid), ("block", request.block, limits.block)]
        {
            if extent.contains(&0) {
                return wrong(Status::INVALID_VALUE, format!("the {what} {extent:?} is empty"));
            }
            if extent.iter().zip(most).any(|(e, m)| *e > m) {
                return wrong(
                    Status::INVALID_VALUE,
                    format!("the {what} is {extent:?}; the limit is {most:?}"),
                );
            }
        }
        let threads = request.block.iter().map(|e| u64::from(*e)).product::<u64>();
        if threads > u64::from(limits.block_threads) {
            let most = limits.block_threads;
            return wrong(Status::INVALID_VALUE, format!("{threads} threads a block; the limit is {most}"));
        }
        let most = kernel.attributes.max_threads;
        if threads > u64::from(most) {
            let what = format!("{threads} threads a block; it is compiled for at most {most}");
            return wrong(Status::LAUNCH_OUT_OF_RESOURCES, what);
        }
        let most = self.functions.get(&request.function).map_or(0, |f| self.dynamic_shared_limit(f));
        let asked = request.dynamic_shared;
        if asked > most {
            let optin = limits.block_shared_optin.saturating_sub(kernel.attributes.static_shared);
            return wrong(
                Status::INVALID_VALUE,
                format!(
                    "{asked} bytes of dynamic shared memory; the limit is {most} (up to {optin} after opting in \
                     with CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)"
                ),
            );
        }
        Ok(())
    }

    /// Fails unless all blocks fit the device at once, as they must to wait for each other.
    fn check_cooperative(&self, launch: &work::Launch) -> Result<()> {
        let limits = self.machine.device.limits();
        let threads = launch.config.block.iter().product();
        let dynamic = launch.config.dynamic_shared as usize;
        let fit = occupancy::blocks(&limits, &launch.kernel.attributes, threads, dynamic);
        let most = u64::from(fit) * u64::from(limits.multiprocessors);
        let blocks = launch.config.grid.iter().map(|e| u64::from(*e)).product::<u64>();
        if blocks > most {
            let name = &launch.kernel.name;
            return Err(refuse(
                Status::COOPERATIVE_LAUNCH_TOO_LARGE,
                format_args!("kernel {name}: {blocks} blocks; {most} fit the device at once"),
            ));
        }
        Ok(())
    }
}

/// The parameters of a kernel as it sees them, from a list of pointers or from a buffer.
fn parameters(kernel: &Kernel, pointers: Pointers, extra: Pointers) -> Result<Vec<u8>> {
    let name = &kernel.name;
    let size = kernel.params.iter().map(|p| p.offset.saturating_add(p.size)).max().unwrap_or(0);
    let mut bytes = vec![0; size];
    match (pointers.is_null(), extra.is_null()) {
        (false, false) => return Err(refuse(Status::INVALID_VALUE, "both kernelParams and extra are given")),
        (true, false) => buffer(kernel, extra, &mut bytes)?,
        (true, true) if kernel.params.is_empty() => {}
        (true, true) => {
            let count = kernel.params.len();
            return Err(refuse(
                Status::INVALID_VALUE,
                format_args!("kernel {name} has {count} parameters, and none are given"),
            ));
        }
        (false, true) => {
            for (i, param) in kernel.params.iter().enumerate() {
                let mut pointer = [0; size_of::<usize>()];
                let into =
                    param.offset.checked_add(param.size).and_then(|end| bytes.get_mut(param.offset..end));
                let read = peek(pointers.address().wrapping_add(i * pointer.len()), &mut pointer)
                    && into.is_some_and(|into| peek(usize::from_ne_bytes(pointer), into));
                if !read {
                    let (at, size) = (usize::from_ne_bytes(pointer), param.size);
                    return Err(refuse(
                        Status::INVALID_VALUE,
                        format_args!(
                            "parameter {i} of kernel {name}: there are no {size} readable bytes at {at:#x} (the \
                             kernel has {} parameters)",
                            kernel.params.len()
                        ),
                    ));
                }
            }
        }
    }
    Ok(bytes)
}

/// Parameters from the `extra` list: pairs of `CU_LAUNCH_PARAM_BUFFER_POINTER` (1) and `..._SIZE` (2, a pointer to the
/// size), up to `CU_LAUNCH_PARAM_END` (0).
fn buffer(kernel: &Kernel, extra: Pointers, bytes: &mut [u8]) -> Result<()> {
    let name = &kernel.name;
    let unreadable = || refuse(Status::INVALID_VALUE, "the extra list is not readable");
    let word = |address: usize| {
        let mut word = [0; size_of::<usize>()];
        if peek(address, &mut word) { Ok(usize::from_ne_bytes(word)) } else { Err(unreadable()) }
    };
    let (mut start, mut size) = (0, None);
    let mut at = extra.address();
    loop {
        match word(at)? {
            0 => break,
            1 => start = word(at.wrapping_add(8))?,
            2 => size = Some(word(word(at.wrapping_add(8))?)?),
            other => {
                return Err(refuse(
                    Status::INVALID_VALUE,
                    format_args!("{other} in the extra list means nothing"),
                ));
            }
        }
        at = at.wrapping_add(16);
    }
    // A C struct of the parameters may end in padding, to a multiple of 16 bytes at most.
    let needed = bytes.len();
    match size {
        Some(given) if (needed..needed + 16).contains(&given) => {}
        _ => {
            return Err(refuse(
                Status::INVALID_VALUE,
                format_args!(
                    "the parameters of kernel {name} take {needed} bytes, not {}",
                    size.unwrap_or(0)
                ),
            ));
        }
    }
    if peek(start, bytes) { Ok(()) } else { Err(unreadable()) }
}

fn launch(
    mut s: Locked,
    context: Handle,
    stream: Handle,
    request: &Request,
    cooperative: bool,
) -> Result<()> {
    let stream = s.resolve(context, stream)?;
    let launch = s.prepare(context, request)?;
    if cooperative {
        s.check_cooperative(&launch)?;
    }
    s.submit(context, stream, Work::Launch(launch)).map(drop)
}

/// Whether the attributes ask for a cooperative launch; refuses those that cannot be simulated.
fn is_cooperative(attributes: &[LaunchAttribute]) -> Result<bool> {
    let mut cooperative = false;
    for LaunchAttribute { id, value, .. } in attributes {
        match id {
            // Hints, and orders that running one launch after another keeps: access policy, synchronisation policy,
            // cluster scheduling, programmatic serialisation, priority, memory domains, carve-out, NVLink.
            0 | 1 | 3 | 5 | 6 | 8 | 9 | 10 | 14 | 16 => {}
            2 => cooperative = value.first().is_some_and(|v| *v != 0),
            4 | 11 => {
                let cluster = [value[0], value[1], value[2]];
                if cluster.iter().any(|e| *e > 1) {
                    return Err(refuse(
                        Status::NOT_SUPPORTED,
                        format_args!(
                            "a cluster of {cluster:?} blocks; only clusters of one block are simulated"
                        ),
                    ));
                }
            }
            other => {
                return Err(refuse(
                    Status::NOT_SUPPORTED,
                    format_args!("launch attribute {other} is not simulated"),
                ));
            }
        }
    }
    Ok(cooperative)
}

api! {
    /// Queues a launch.
    fn cuLaunchKernel(
        s, c;
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        dynamic_shared: u32,
        stream: Handle,
        params: Pointers,
        extra: Pointers,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        launch(s, c, stream, &Request { function, grid, block, dynamic_shared, params, extra }, false)
    }

    /// Queues a launch with attributes.
    fn cuLaunchKernelEx(s, c; config: In<LaunchConfig>, function: Handle, params: Pointers, extra: Pointers) {
        let LaunchConfig { grid, block, dynamic_shared, stream, attributes, attribute_count } = config.get()?;
        let cooperative = is_cooperative(&attributes.list(attribute_count as usize)?)?;
        launch(s, c, stream, &Request { function, grid, block, dynamic_shared, params, extra }, cooperative)
    }

    /// Queues a launch whose blocks may wait for each other. Refused if they could not all be resident on the
    /// device that is simulated.
    fn cuLaunchCooperativeKernel(
        s, c;
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        dynamic_shared: u32,
        stream: Handle,
        params: Pointers,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let extra = Pointers::at_address(0);
        launch(s, c, stream, &Request { function, grid, block, dynamic_shared, params, extra }, true)
    }
}
