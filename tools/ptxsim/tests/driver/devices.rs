//! The devices and drivers that can be chosen, each in a process of its own.

use super::*;

fn attribute(attribute: i32) -> i32 {
    let mut value = 0;
    ok!(cuDeviceGetAttribute(&mut value, attribute, 0));
    value
}

fn targets(expected: &[(&str, u32)]) {
    for (target, status) in expected {
        let (got, log) = load(&PTX.replace(".target sm_80", &format!(".target {target}")));
        assert_eq!(got, *status, "{target}: {log}");
        let why = format!("PTX for {target} does not run on sm_");
        assert_eq!(log.contains(&why), *status != 0, "{target}: {log}");
    }
}

#[test]
fn turing_runs_what_is_made_for_it_and_nothing_newer() {
    if !is_own_process() {
        let variables = [("PTXSIM_DEVICE", "sm_75")];
        in_a_process("devices::turing_runs_what_is_made_for_it_and_nothing_newer", &variables);
        return;
    }
    let _context = Context::new();
    let mut name = [0 as c_char; 64];
    ok!(cuDeviceGetName(name.as_mut_ptr(), 64, 0));
    let name: String = name.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
    assert!(name.contains("sm_75") && name.contains("not a GPU"), "{name}");
    // Compute capability, multiprocessors, their threads, their shared memory, and what a block can have of it.
    assert_eq!([75, 76, 16, 39, 81, 97].map(attribute), [7, 5, 72, 1024, 64 << 10, 64 << 10]);
    targets(&[("sm_70", 0), ("sm_75", 0), ("sm_80", 209), ("sm_90", 209), ("sm_90a", 209)]);

    let (mut module, ptx) = (0, CString::new(PTX.replace("sm_80", "sm_75")).unwrap());
    ok!(cuModuleLoadData(&mut module, ptx.as_ptr()));
    let (function, data, count) = (function(module), alloc(64), 64u32);
    write(data, &[1; 64]);
    let params = [&raw const data as *const c_void, &raw const count as *const c_void];
    let launch =
        |shared| status!(cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, shared, 0, params.as_ptr(), null()));
    assert_eq!(status!(cuFuncSetAttribute(function, 8, (64 << 10) + 1)), 1);
    assert_eq!(launch(64 << 10), 1);
    ok!(cuFuncSetAttribute(function, 8, 64 << 10));
    assert_eq!(launch(64 << 10), 0);
    assert_eq!(read(data, 64), [2; 64]);
    // 72 multiprocessors of 1024 threads.
    let cooperative =
        |grid| status!(cuLaunchCooperativeKernel(function, grid, 1, 1, 1024, 1, 1, 0, 0, params.as_ptr()));
    assert_eq!([72, 73].map(cooperative), [0, 720]);
    let mut version = 0;
    ok!(cuFuncGetAttribute(&mut version, 6, function));
    assert_eq!(version, 75);
}

#[test]
fn ampere_runs_nothing_of_hopper() {
    if !is_own_process() {
        in_a_process("devices::ampere_runs_nothing_of_hopper", &[("PTXSIM_DEVICE", "sm_80")]);
        return;
    }
    let _context = Context::new();
    assert_eq!([75, 76].map(attribute), [8, 0]);
    targets(&[("sm_75", 0), ("sm_80", 0), ("sm_86", 209), ("sm_90", 209), ("sm_90a", 209)]);
}

#[test]
fn a_driver_takes_the_ptx_of_its_time() {
    const NAME: &str = "devices::a_driver_takes_the_ptx_of_its_time";
    let drivers = [
        ("", 13_000, "9.0", "9.1"),
        ("11.8", 11_080, "7.8", "8.0"),
        ("12.0", 12_000, "8.0", "8.1"),
        ("12.6", 12_060, "8.5", "8.6"),
        ("12.8", 12_080, "8.7", "8.8"),
        ("12.9", 12_090, "8.8", "9.0"),
    ];
    if !is_own_process() {
        for (driver, ..) in drivers {
            in_a_process(NAME, &[("PTXSIM_CUDA", driver)]);
        }
        return;
    }
    let driver = std::env::var("PTXSIM_CUDA").unwrap();
    let (_, version, newest, newer) = drivers.into_iter().find(|(name, ..)| *name == driver).unwrap();
    let told = || {
        let mut version = 0;
        ok!(cuDriverGetVersion(&mut version));
        version
    };
    assert_eq!(told(), version, "without cuInit");
    let _context = Context::new();
    assert_eq!(told(), version);
    let of = |version: &str| load(&PTX.replace(".version 8.0", &format!(".version {version}")));
    assert_eq!(of(newest), (0, String::new()));
    let (status, log) = of(newer);
    assert_eq!(status, 222);
    let release = if driver.is_empty() { "13.0" } else { &driver };
    let why = format!(
        "ptxsim: PTX version {newer} is newer than {newest}, the newest of this driver's CUDA {release}"
    );
    assert_eq!(log, why);
}

#[test]
fn a_driver_of_no_release_is_named() {
    if is_own_process() {
        let mut version = 7;
        println!("status {}.", status!(cuDriverGetVersion(&mut version)));
        assert_eq!(version, 7);
        return;
    }
    let text = in_a_process("devices::a_driver_of_no_release_is_named", &[("PTXSIM_CUDA", "12.80")]);
    let why = "ptxsim: cuDriverGetVersion: PTXSIM_CUDA is 12.80; it can be ";
    assert!(text.contains("status 999.") && text.contains(why), "{text}");
}
