//! The driver API as a C program calls it: through its exported symbols.

use std::ffi::{CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use ptxsim as _; // links the functions below

type Handle = usize;

unsafe extern "C" {
    fn cuInit(flags: u32) -> u32;
    fn cuDriverGetVersion(version: *mut i32) -> u32;
    fn cuGetErrorName(error: u32, name: *mut *const c_char) -> u32;
    fn cuGetProcAddress_v2(n: *const c_char, f: *mut usize, version: i32, flags: u64, r: *mut i32) -> u32;
    fn cuDeviceGetName(name: *mut c_char, len: i32, device: i32) -> u32;
    fn cuDeviceGetAttribute(value: *mut i32, attribute: i32, device: i32) -> u32;
    fn cuCtxCreate_v2(context: *mut Handle, flags: u32, device: i32) -> u32;
    fn cuCtxDestroy_v2(context: Handle) -> u32;
    fn cuCtxGetCurrent(context: *mut Handle) -> u32;
    fn cuCtxSetCurrent(context: Handle) -> u32;
    fn cuCtxSynchronize() -> u32;
    fn cuModuleLoadData(module: *mut Handle, image: *const c_char) -> u32;
    fn cuModuleLoadDataEx(m: *mut Handle, i: *const c_char, n: u32, o: *const i32, v: *mut usize) -> u32;
    fn cuModuleUnload(module: Handle) -> u32;
    fn cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char) -> u32;
    fn cuModuleGetGlobal_v2(a: *mut u64, size: *mut usize, module: Handle, name: *const c_char) -> u32;
    fn cuFuncSetAttribute(function: Handle, attribute: i32, value: i32) -> u32;
    fn cuFuncGetAttribute(value: *mut i32, attribute: i32, function: Handle) -> u32;
    fn cuMemAlloc_v2(address: *mut u64, len: usize) -> u32;
    fn cuMemFree_v2(address: u64) -> u32;
    fn cuMemAllocAsync(address: *mut u64, len: usize, stream: Handle) -> u32;
    fn cuMemFreeAsync(address: u64, stream: Handle) -> u32;
    fn cuMemAllocHost_v2(pointer: *mut *mut c_void, len: usize) -> u32;
    fn cuMemFreeHost(pointer: *mut c_void) -> u32;
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, len: usize) -> u32;
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, len: usize) -> u32;
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, len: usize, stream: Handle) -> u32;
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, len: usize, stream: Handle) -> u32;
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, stream: Handle) -> u32;
    fn cuMemcpy2D_v2(copy: *const Copy2D) -> u32;
    fn cuMemsetD32_v2(at: u64, value: u32, count: usize) -> u32;
    fn cuMemsetD32Async(at: u64, value: u32, count: usize, stream: Handle) -> u32;
    fn cuMemGetAddressRange_v2(base: *mut u64, size: *mut usize, address: u64) -> u32;
    fn cuPointerGetAttribute(value: *mut c_void, attribute: i32, address: u64) -> u32;
    fn cuStreamCreate(stream: *mut Handle, flags: u32) -> u32;
    fn cuStreamDestroy_v2(stream: Handle) -> u32;
    fn cuStreamSynchronize(stream: Handle) -> u32;
    fn cuStreamQuery(stream: Handle) -> u32;
    fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: u32) -> u32;
    fn cuStreamBeginCapture_v2(stream: Handle, mode: i32) -> u32;
    fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) -> u32;
    fn cuStreamIsCapturing(stream: Handle, status: *mut i32) -> u32;
    fn cuEventCreate(event: *mut Handle, flags: u32) -> u32;
    fn cuEventRecord(event: Handle, stream: Handle) -> u32;
    fn cuEventQuery(event: Handle) -> u32;
    fn cuEventSynchronize(event: Handle) -> u32;
    fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) -> u32;
    fn cuEventDestroy_v2(event: Handle) -> u32;
    fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) -> u32;
    fn cuGraphGetEdges(graph: Handle, from: *mut Handle, to: *mut Handle, count: *mut usize) -> u32;
    fn cuGraphNodeGetType(node: Handle, kind: *mut i32) -> u32;
    fn cuGraphKernelNodeGetParams_v2(node: Handle, params: *mut KernelNode) -> u32;
    fn cuGraphInstantiateWithFlags(exec: *mut Handle, graph: Handle, flags: u64) -> u32;
    fn cuGraphLaunch(exec: Handle, stream: Handle) -> u32;
    fn cuGraphExecDestroy(exec: Handle) -> u32;
    fn cuGraphDestroy(graph: Handle) -> u32;
    fn cuLaunchHostFunc(stream: Handle, function: extern "C" fn(*mut c_void), data: *mut c_void) -> u32;
    fn cuLaunchKernelEx(config: *const Config, f: Handle, p: *const *const c_void, e: *const usize) -> u32;
    fn cuLaunchCooperativeKernel(
        f: Handle,
        gx: u32,
        gy: u32,
        gz: u32,
        bx: u32,
        by: u32,
        bz: u32,
        shared: u32,
        stream: Handle,
        params: *const *const c_void,
    ) -> u32;
    fn cuLaunchKernel(
        f: Handle,
        gx: u32,
        gy: u32,
        gz: u32,
        bx: u32,
        by: u32,
        bz: u32,
        shared: u32,
        stream: Handle,
        params: *const *const c_void,
        extra: *const usize,
    ) -> u32;
    fn cuTensorMapEncodeTiled(
        map: *mut Map,
        kind: u32,
        rank: u32,
        address: u64,
        dims: *const u64,
        strides: *const u64,
        box_dims: *const u32,
        steps: *const u32,
        interleave: u32,
        swizzle: u32,
        l2: u32,
        fill: u32,
    ) -> u32;
    fn cuArrayDestroy(array: Handle) -> u32;
}

#[repr(C, align(64))]
struct Map([u8; 128]);

#[repr(C)]
#[derive(Default)]
struct Copy2D {
    from_x: usize,
    from_y: usize,
    from_kind: u32,
    from_host: usize,
    from_device: u64,
    from_array: usize,
    from_pitch: usize,
    to_x: usize,
    to_y: usize,
    to_kind: u32,
    to_host: usize,
    to_device: u64,
    to_array: usize,
    to_pitch: usize,
    width: usize,
    height: usize,
}

#[repr(C)]
#[derive(Default)]
struct KernelNode {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    params: usize,
    extra: usize,
    kernel: Handle,
    context: Handle,
}

#[repr(C)]
struct Attribute {
    id: u32,
    pad: u32,
    value: [u32; 16],
}

#[repr(C)]
struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    attributes: *const Attribute,
    count: u32,
}

/// Calls functions of the API; each must succeed.
macro_rules! ok {
    ($($call:expr),+ $(,)?) => {$(
        // SAFETY: the arguments are what the function's contract asks for: live locals of the right size.
        assert_eq!(unsafe { $call }, 0, stringify!($call));
    )+};
}

/// The status of a call.
macro_rules! status {
    ($call:expr) => {
        // SAFETY: as in `ok!`; handles and addresses that are wrong on purpose are checked by the driver.
        unsafe { $call }
    };
}

mod contexts;
mod devices;
mod faults;
mod graphs;
mod launches;
mod memory;
mod random;
mod streams;
mod trace;

const PTX: &str = include_str!("../add_one.ptx");
const NON_BLOCKING: u32 = 1;

/// A context of the test's own, so that an error in it is no other test's.
struct Context(Handle);

impl Context {
    fn new() -> Context {
        static INIT: OnceLock<()> = OnceLock::new();
        INIT.get_or_init(|| {
            // SAFETY: nothing reads the environment at this time: all tests wait here first.
            unsafe {
                std::env::set_var("PTXSIM_MEMORY", "64M");
                if !is_own_process() {
                    VARIABLES.iter().for_each(|name| std::env::remove_var(name));
                }
            }
            ok!(cuInit(0));
        });
        let mut context = 0;
        ok!(cuCtxCreate_v2(&mut context, 0, 0));
        Context(context)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            ok!(cuCtxDestroy_v2(self.0));
        }
    }
}

fn module() -> Handle {
    let (mut module, ptx) = (0, CString::new(PTX).unwrap());
    ok!(cuModuleLoadData(&mut module, ptx.as_ptr()));
    module
}

/// Loads PTX; the status and the log.
fn load(ptx: &str) -> (u32, String) {
    let (mut module, ptx) = (0, CString::new(ptx).unwrap());
    let mut log = [0u8; 256];
    let options = [5, 6]; // error log, its size
    let mut values = [log.as_mut_ptr() as usize, log.len()];
    let got =
        status!(cuModuleLoadDataEx(&mut module, ptx.as_ptr(), 2, options.as_ptr(), values.as_mut_ptr()));
    let text = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
    assert_eq!(values[1], text.len());
    (got, text)
}

fn function(module: Handle) -> Handle {
    let mut function = 0;
    ok!(cuModuleGetFunction(&mut function, module, c"add_one".as_ptr()));
    function
}

fn alloc(words: usize) -> u64 {
    let mut address = 0;
    ok!(cuMemAlloc_v2(&mut address, words * 4));
    address
}

fn stream(flags: u32) -> Handle {
    let mut stream = 0;
    ok!(cuStreamCreate(&mut stream, flags));
    stream
}

fn event(flags: u32) -> Handle {
    let mut event = 0;
    ok!(cuEventCreate(&mut event, flags));
    event
}

fn read(address: u64, words: usize) -> Vec<u32> {
    let mut words = vec![0u32; words];
    ok!(cuMemcpyDtoH_v2(words.as_mut_ptr().cast(), address, words.len() * 4));
    words
}

fn write(address: u64, words: &[u32]) {
    ok!(cuMemcpyHtoD_v2(address, words.as_ptr().cast(), words.len() * 4));
}

fn launch(function: Handle, stream: Handle, address: u64, count: u32) -> u32 {
    let params = [&raw const address as *const c_void, &raw const count as *const c_void];
    let blocks = count.div_ceil(64).max(1);
    status!(cuLaunchKernel(function, blocks, 1, 1, 64, 1, 1, 0, stream, params.as_ptr(), null()))
}

/// What changes the answers of the driver, and must not come from the environment of the tests.
const VARIABLES: [&str; 5] = ["PTXSIM_DEVICE", "PTXSIM_CUDA", "PTXSIM_FAULT", "PTXSIM_SEED", "PTXSIM_TRACE"];

/// Runs a test of this file again in a process of its own, with these variables; what it wrote.
fn in_a_process(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    for name in VARIABLES {
        command.env_remove(name);
    }
    let output = command
        .args([test, "--exact", "--nocapture"])
        .env("PTXSIM_TEST_PROCESS", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

fn is_own_process() -> bool {
    std::env::var_os("PTXSIM_TEST_PROCESS").is_some()
}
