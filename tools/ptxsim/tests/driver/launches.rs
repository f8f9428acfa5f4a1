//! Modules and launches.

use super::*;

#[test]
fn a_kernel_runs_with_parameters_as_they_were_at_the_call() {
    let _context = Context::new();
    let (module, data) = (module(), alloc(100));
    let function = function(module);
    write(data, &[10; 100]);
    let (mut address, mut count) = (data, 50u32);
    let params = [&raw const address as *const c_void, &raw const count as *const c_void];
    ok!(cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, 0, params.as_ptr(), null()));
    (address, count) = (0, 1000); // too late
    let _ = (address, count);
    let words = read(data, 100);
    assert_eq!((words[0], words[49], words[50]), (11, 11, 10));

    // The same from a buffer.
    let mut buffer = [0u8; 16];
    buffer[..8].copy_from_slice(&data.to_le_bytes());
    buffer[8..12].copy_from_slice(&100u32.to_le_bytes());
    for (size, expected) in [(12usize, 0), (16, 0), (8, 1)] {
        let extra = [1, buffer.as_ptr() as usize, 2, &raw const size as usize, 0];
        let got = status!(cuLaunchKernel(function, 2, 1, 1, 64, 1, 1, 0, 0, null(), extra.as_ptr()));
        assert_eq!(got, expected, "{size} bytes");
    }
    assert_eq!(read(data, 100)[99], 12);
    let mut counter = (0, 0);
    ok!(cuModuleGetGlobal_v2(&mut counter.0, &mut counter.1, module, c"counter".as_ptr()));
    assert_eq!(counter.1, 4);
    assert_eq!(status!(cuModuleGetGlobal_v2(&mut counter.0, &mut counter.1, module, c"none".as_ptr())), 500);
    let mut none = 0;
    assert_eq!(status!(cuModuleGetFunction(&mut none, module, c"none".as_ptr())), 500);
}

#[test]
fn launches_that_cannot_be_are_refused() {
    let _context = Context::new();
    let (function, data) = (function(module()), alloc(4));
    let count = 1u32;
    let good = [&raw const data as *const c_void, &raw const count as *const c_void];
    let shape = |g: [u32; 3], b: [u32; 3], shared: u32, params: &[*const c_void]| {
        let at = if params.is_empty() { null() } else { params.as_ptr() };
        status!(cuLaunchKernel(function, g[0], g[1], g[2], b[0], b[1], b[2], shared, 0, at, null()))
    };
    let one = [1, 1, 1];
    assert_eq!(shape(one, one, 0, &good), 0);
    for (grid, block) in [
        ([0, 1, 1], one),
        (one, [1, 0, 1]),
        (one, [1025, 1, 1]),
        (one, [32, 33, 1]),
        (one, [1, 1, 65]),
        ([1, 65_536, 1], one),
        ([u32::MAX, 1, 1], one),
    ] {
        assert_eq!(shape(grid, block, 0, &good), 1, "{grid:?} {block:?}");
    }
    assert_eq!(shape(one, one, (48 << 10) + 1, &good), 1);
    ok!(cuFuncSetAttribute(function, 8, 200 << 10));
    assert_eq!(shape(one, one, 200 << 10, &good), 0);
    assert_eq!(status!(cuFuncSetAttribute(function, 8, 228 << 10)), 1);
    let mut dynamic = 0;
    ok!(cuFuncGetAttribute(&mut dynamic, 8, function));
    assert_eq!(dynamic, 200 << 10);
    // A parameter that is missing or points nowhere.
    assert_eq!(shape(one, one, 0, &[]), 1);
    assert_eq!(shape(one, one, 0, &[good[0], null()]), 1);
    assert_eq!(shape(one, one, 0, &[good[0], 0xdead_0000_0000usize as *const c_void]), 1);
    // Clusters and cooperative launches.
    let attribute = |id, value: u32| Attribute { id, pad: 0, value: [value; 16] };
    for (id, value, expected) in [(4, 1, 0), (4, 2, 801), (6, 1, 0), (2, 1, 0), (99, 0, 801)] {
        let attribute = attribute(id, value);
        let config = Config { grid: one, block: one, shared: 0, stream: 0, attributes: &attribute, count: 1 };
        let got = status!(cuLaunchKernelEx(&config, function, good.as_ptr(), null()));
        assert_eq!(got, expected, "attribute {id} = {value}");
    }
    let cooperative =
        |grid| status!(cuLaunchCooperativeKernel(function, grid, 1, 1, 1024, 1, 1, 0, 0, good.as_ptr()));
    assert_eq!(cooperative(132), 0);
    assert_eq!(cooperative(132 * 2 + 1), 720);
}

#[test]
fn an_error_of_a_kernel_stays_in_its_context() {
    let other = Context::new();
    let spared = alloc(1);
    let bad = Context::new();
    let (function, data, done) = (function(module()), alloc(64), event(0));
    write(data, &[0; 64]);
    assert_eq!(launch(function, 0, data, 65), 0); // asynchronous: not noticed yet
    ok!(cuEventRecord(done, 0));
    assert_eq!(status!(cuCtxSynchronize()), 700);
    let mut address = 0;
    assert_eq!(status!(cuMemAlloc_v2(&mut address, 4)), 700);
    assert_eq!(status!(cuEventQuery(done)), 700);
    assert_eq!(status!(cuStreamSynchronize(0)), 700);
    assert_eq!(launch(function, 0, data, 1), 700);
    drop(bad);
    ok!(cuCtxSetCurrent(other.0));
    write(spared, &[1]);
}

#[test]
fn freed_memory_is_noticed_by_a_kernel() {
    let _context = Context::new();
    let (function, data) = (function(module()), alloc(64));
    ok!(cuMemFree_v2(data));
    assert_eq!(launch(function, 0, data, 1), 0);
    assert_eq!(status!(cuCtxSynchronize()), 700);
}

#[test]
fn modules_that_cannot_be_loaded_say_why() {
    let _context = Context::new();
    let (status, log) = load(&PTX.replace("add.s32", "bogus.s32"));
    assert_eq!(status, 218);
    assert!(log.contains("bogus") && log.contains("line"), "{log}");
    assert_eq!(load(&PTX.replace(".version 8.0", ".version 9.9")).0, 222);
    assert_eq!(load(&PTX.replace(".target sm_80", ".target sm_100")).0, 209);
    assert_eq!(load("\x7fELF").0, 209);
    assert_eq!(load("hello").0, 218);
    assert_eq!(load(PTX), (0, String::new()));
    let mut module = 0;
    assert_eq!(status!(cuModuleLoadData(&mut module, null())), 1);
}
