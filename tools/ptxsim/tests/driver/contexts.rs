//! Devices, contexts and handles.

use super::*;

#[test]
fn devices_answer_and_errors_have_names() {
    let _context = Context::new();
    let mut name = [0 as c_char; 64];
    ok!(cuDeviceGetName(name.as_mut_ptr(), 64, 0));
    let name: String = name.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
    assert!(name.contains("not a GPU"), "{name}");
    let mut major = 0;
    ok!(cuDeviceGetAttribute(&mut major, 75, 0));
    assert_eq!(major, 9);
    assert_eq!(status!(cuDeviceGetAttribute(&mut major, 75, 1)), 101);
    assert_eq!(status!(cuDeviceGetAttribute(&mut major, 9999, 0)), 1);
    assert_eq!(status!(cuDeviceGetAttribute(null_mut(), 75, 0)), 1);
    let mut text = null();
    ok!(cuGetErrorName(700, &mut text));
    // SAFETY: the driver's constant string.
    assert_eq!(unsafe { std::ffi::CStr::from_ptr(text) }, c"CUDA_ERROR_ILLEGAL_ADDRESS");
    assert_eq!(status!(cuGetErrorName(12345, &mut text)), 1);
    let (mut found, mut result) = (0, -1);
    ok!(cuGetProcAddress_v2(c"cuMemAlloc".as_ptr(), &mut found, 13000, 0, &mut result));
    assert_eq!((found, result), (cuMemAlloc_v2 as *const () as usize, 0));
    assert_eq!(status!(cuArrayDestroy(3)), 801);
}

#[test]
fn unknown_and_destroyed_handles_are_refused() {
    let _context = Context::new();
    for wrong in [3, 8, 0xdead_beef, usize::MAX] {
        assert_eq!(status!(cuStreamSynchronize(wrong)), 400);
        assert_eq!(status!(cuEventRecord(wrong, 0)), 400);
        assert_eq!(status!(cuModuleUnload(wrong)), 400);
        assert_eq!(status!(cuGraphLaunch(wrong, 0)), 400);
        assert_eq!(status!(cuCtxSetCurrent(wrong)), 201);
        assert_eq!(launch(wrong, 0, 0, 1), 400);
    }
    let (stream, event, module) = (stream(0), event(0), module());
    let function = function(module);
    ok!(cuStreamDestroy_v2(stream), cuEventDestroy_v2(event), cuModuleUnload(module));
    assert_eq!(status!(cuStreamDestroy_v2(stream)), 400);
    assert_eq!(status!(cuEventQuery(event)), 400);
    assert_eq!(launch(function, 0, 0, 1), 400);
    assert_eq!(status!(cuStreamDestroy_v2(0)), 400);
}

#[test]
fn contexts_are_the_threads_own() {
    let context = Context::new();
    let handle = context.0;
    let other = std::thread::spawn(move || {
        let mut current = 1;
        ok!(cuCtxGetCurrent(&mut current));
        let mut address = 0;
        let before = status!(cuMemAlloc_v2(&mut address, 4));
        ok!(cuCtxSetCurrent(handle), cuMemAlloc_v2(&mut address, 4), cuMemFree_v2(address));
        (current, before)
    });
    assert_eq!(other.join().unwrap(), (0, 201));
}

#[test]
fn a_destroyed_context_takes_its_memory_along() {
    let keeper = Context::new();
    let doomed = Context::new();
    let (data, module, stream) = (alloc(16), module(), stream(0));
    let mut counter = (0, 0);
    ok!(cuModuleGetGlobal_v2(&mut counter.0, &mut counter.1, module, c"counter".as_ptr()));
    let range = |address| status!(cuMemGetAddressRange_v2(null_mut(), null_mut(), address));
    assert_eq!((range(data), range(counter.0)), (0, 0));
    drop(doomed);
    ok!(cuCtxSetCurrent(keeper.0));
    assert_eq!((range(data), range(counter.0)), (1, 1));
    assert_eq!(status!(cuStreamSynchronize(stream)), 400);
}

#[test]
fn threads_share_a_context() {
    let context = Context::new();
    let handle = context.0;
    let function = function(module());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                ok!(cuCtxSetCurrent(handle));
                let (own, shared, done) = (stream(NON_BLOCKING), stream(0), event(2));
                let data = alloc(256);
                ok!(cuMemsetD32Async(data, 0, 256, own));
                for _ in 0..50 {
                    assert_eq!(launch(function, own, data, 256), 0);
                    ok!(cuEventRecord(done, own), cuStreamWaitEvent(shared, done, 0));
                    assert_eq!(launch(function, shared, data, 256), 0);
                    ok!(cuEventRecord(done, shared), cuStreamWaitEvent(own, done, 0));
                    ok!(cuEventSynchronize(done));
                }
                ok!(cuStreamSynchronize(own));
                assert_eq!(read(data, 256), vec![100; 256]);
                ok!(cuMemFree_v2(data), cuStreamDestroy_v2(own), cuStreamDestroy_v2(shared));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_senseless_environment_is_named() {
    let name = "contexts::a_senseless_environment_is_named";
    if is_own_process() {
        println!("status {}.", status!(cuInit(0)));
        return;
    }
    for (variable, value) in [
        ("PTXSIM_DEVICE", "sm_1"),
        ("PTXSIM_DEVICE", "sm_70"),
        ("PTXSIM_MEMORY", "much"),
        ("PTXSIM_SEED", "x"),
        ("PTXSIM_CUDA", "12"),
        ("PTXSIM_CUDA", "13.1"),
        ("PTXSIM_FAULT", "add_one"),
        ("PTXSIM_FAULT", "add_one:0"),
    ] {
        let text = in_a_process(name, &[(variable, value)]);
        let said: Vec<&str> = text.lines().filter(|line| line.starts_with("ptxsim: ")).collect();
        let [line] = said[..] else { panic!("{text}") };
        let why = format!("ptxsim: cuInit: {variable} is {value}");
        assert!(text.contains("status 999.") && line.starts_with(&why), "{text}");
    }
    let text = in_a_process(name, &[("PTXSIM_DEVICE", "sm_80"), ("PTXSIM_MEMORY", "1G")]);
    assert!(text.contains("status 0."), "{text}");
}
