//! Launches through the driver API, in processes of their own: the environment is read once.

use std::ffi::{CStr, c_char, c_void};
use std::process::Command;
use std::ptr::null_mut;

unsafe extern "C" {
    fn cuInit(flags: u32) -> u32;
    fn cuCtxCreate_v2(context: *mut usize, flags: u32, device: i32) -> u32;
    fn cuCtxSynchronize() -> u32;
    fn cuModuleLoadData(module: *mut usize, image: *const c_void) -> u32;
    fn cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) -> u32;
    fn cuMemAlloc_v2(address: *mut u64, len: usize) -> u32;
    fn cuMemsetD32_v2(address: u64, value: u32, count: usize) -> u32;
    fn cuLaunchKernel(
        f: usize,
        gx: u32,
        gy: u32,
        gz: u32,
        bx: u32,
        by: u32,
        bz: u32,
        shared: u32,
        stream: usize,
        params: *mut *const c_void,
        extra: *mut *const c_void,
    ) -> u32;
}

/// Launches a kernel that takes a pointer to 32 zeros, as one block in a new context; says how that ended.
pub fn launch(ptx: &CStr, kernel: &CStr, threads: u32) -> u32 {
    let (mut context, mut module, mut function, mut y) = (0, 0, 0, 0u64);
    // SAFETY: live locals of the right types, strings that end with zero, and a function that takes one pointer.
    unsafe {
        let init = cuInit(0);
        if init != 0 {
            return init;
        }
        assert_eq!(cuCtxCreate_v2(&mut context, 0, 0), 0);
        assert_eq!(cuModuleLoadData(&mut module, ptx.as_ptr().cast()), 0);
        assert_eq!(cuModuleGetFunction(&mut function, module, kernel.as_ptr()), 0);
        assert_eq!(cuMemAlloc_v2(&mut y, 128), 0);
        assert_eq!(cuMemsetD32_v2(y, 0, 32), 0);
        let mut params = [&raw const y as *const c_void];
        assert_eq!(
            cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, 0, params.as_mut_ptr(), null_mut()),
            0
        );
        cuCtxSynchronize()
    }
}

/// Runs a test of this program again, alone in a process with these variables; what it wrote. `None` in that process.
pub fn again(test: &str, variables: &[(&str, &str)]) -> Option<String> {
    const CHILD: &str = "PTXSIM_TEST_PROCESS";
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    for variable in ["CHECK", "SEED", "WATCHDOG", "REPORT", "DEVICE", "MEMORY", "DRIVER", "FAULT", "TRACE"] {
        command.env_remove(format!("PTXSIM_{variable}"));
    }
    command.args([test, "--exact", "--nocapture"]).env(CHILD, "1").envs(variables.iter().copied());
    let output = command.output().expect("this program runs");
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    Some(text)
}
