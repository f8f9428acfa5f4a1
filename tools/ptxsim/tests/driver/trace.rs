//! The trace of calls that `PTXSIM_TRACE` asks for, each in a process of its own.

use super::*;

/// Runs a test in a process of its own; its trace.
fn traced(test: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    in_a_process(test, &[("PTXSIM_TRACE", path.to_str().unwrap())]);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn each_call_is_a_line() {
    if !is_own_process() {
        let text = traced("trace::each_call_is_a_line");
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "cuMemAlloc_v2 status=3",
            "cuInit",
            "cuCtxCreate_v2",
            "cuModuleLoadData",
            "cuModuleGetFunction",
            "cuStreamCreate",
            "cuMemAlloc_v2 bytes=256",
            "cuMemAlloc_v2 bytes=1073741824 status=2",
            "cuMemAllocHost_v2 bytes=256",
            "cuMemAllocAsync bytes=20",
            "cuMemFreeAsync",
            "cuMemsetD32_v2 bytes=256",
            "cuMemcpyHtoD_v2 bytes=256 waits",
            "cuStreamBeginCapture_v2",
            "cuLaunchKernel kernel=add_one",
            "cuMemcpyDtoHAsync_v2 bytes=128",
            "cuStreamEndCapture",
            "cuGraphInstantiateWithFlags",
            // From here on as a step of a training.
            "cuGraphLaunch",
            "cuLaunchKernel kernel=add_one",
            "cuMemcpyHtoDAsync_v2 bytes=8",
            "cuMemcpyDtoHAsync_v2 bytes=16",
            "cuMemcpyDtoDAsync_v2 bytes=12",
            "cuStreamQuery status=600",
            // This one waits in spite of its name: its target is pageable.
            "cuMemcpyDtoHAsync_v2 bytes=4 waits",
            "cuMemcpy2D_v2 bytes=24 waits",
            "cuStreamSynchronize waits",
            "cuStreamSynchronize status=400",
            "cuLaunchKernel kernel=add_one status=1",
            "cuArrayDestroy status=801",
            "cuMemFree_v2 waits",
            "cuLaunchKernel kernel=add_one",
            "cuCtxSynchronize waits status=700",
            "cuMemAlloc_v2 status=700",
        ];
        assert_eq!(lines, expected);
        assert!(text.ends_with('\n'));
        return;
    }
    let (mut data, mut none, mut asynchronous) = (0, 0, 0);
    assert_eq!(status!(cuMemAlloc_v2(&mut none, 4)), 3);
    std::mem::forget(Context::new());
    let (function, main) = (function(module()), stream(NON_BLOCKING));
    ok!(cuMemAlloc_v2(&mut data, 256));
    assert_eq!(status!(cuMemAlloc_v2(&mut none, 1 << 30)), 2);
    let mut pinned = null_mut();
    ok!(cuMemAllocHost_v2(&mut pinned, 256));
    ok!(cuMemAllocAsync(&mut asynchronous, 20, main), cuMemFreeAsync(asynchronous, main));
    ok!(cuMemsetD32_v2(data, 1, 64));
    write(data, &[1; 64]);
    let (mut graph, mut exec) = (0, 0);
    ok!(cuStreamBeginCapture_v2(main, 1));
    assert_eq!(launch(function, main, data, 64), 0);
    ok!(cuMemcpyDtoHAsync_v2(pinned, data, 128, main), cuStreamEndCapture(main, &mut graph));
    ok!(cuGraphInstantiateWithFlags(&mut exec, graph, 0), cuGraphLaunch(exec, main));
    assert_eq!(launch(function, main, data, 64), 0);
    let mut words = [5u32; 4];
    ok!(
        cuMemcpyHtoDAsync_v2(data, words.as_ptr().cast(), 8, main),
        cuMemcpyDtoHAsync_v2(pinned, data, 16, main),
        cuMemcpyDtoDAsync_v2(data + 128, data, 12, main),
    );
    assert_eq!(status!(cuStreamQuery(main)), 600);
    ok!(cuMemcpyDtoHAsync_v2(words.as_mut_ptr().cast(), data + 132, 4, main));
    assert_eq!(words[0], 5);
    let mut rows = [0u32; 6];
    let copy = Copy2D {
        from_kind: 2,
        from_device: data,
        from_pitch: 16,
        to_kind: 1,
        to_host: rows.as_mut_ptr() as usize,
        to_pitch: 8,
        width: 8,
        height: 3,
        ..Copy2D::default()
    };
    ok!(cuMemcpy2D_v2(&copy), cuStreamSynchronize(main));
    assert_eq!(status!(cuStreamSynchronize(99)), 400);
    let nothing = null();
    assert_eq!(status!(cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, main, nothing, null())), 1);
    assert_eq!(status!(cuArrayDestroy(3)), 801);
    ok!(cuMemFree_v2(data));
    assert_eq!(launch(function, main, data, 64), 0);
    assert_eq!(status!(cuCtxSynchronize()), 700);
    assert_eq!(status!(cuMemAlloc_v2(&mut none, 4)), 700);
}

#[test]
fn lines_are_whole_and_written_at_once() {
    const THREADS: usize = 8;
    const CALLS: usize = 500;
    if !is_own_process() {
        let text = traced("trace::lines_are_whole_and_written_at_once");
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let mut expected = vec!["cuCtxCreate_v2", "cuInit", "cuModuleGetFunction", "cuModuleLoadData"];
        expected.extend(["cuMemAlloc_v2 bytes=256", "cuCtxDestroy_v2 waits"]);
        expected.extend(["cuCtxSetCurrent"; THREADS]);
        expected.extend(["cuCtxSynchronize waits"; THREADS]);
        expected.extend(["cuLaunchKernel kernel=add_one"; THREADS * CALLS]);
        expected.extend(["cuMemsetD32Async bytes=4"; THREADS * CALLS]);
        expected.sort_unstable();
        assert_eq!(lines, expected);
        return;
    }
    let read = || std::fs::read_to_string(std::env::var("PTXSIM_TRACE").unwrap()).unwrap();
    let context = Context::new();
    assert!(read().ends_with("cuCtxCreate_v2\n"));
    let (handle, function, data) = (context.0, function(module()), alloc(64));
    assert!(read().ends_with("cuMemAlloc_v2 bytes=256\n"));
    let threads = [(); THREADS].map(|()| {
        std::thread::spawn(move || {
            ok!(cuCtxSetCurrent(handle));
            for _ in 0..CALLS {
                ok!(cuMemsetD32Async(data, 1, 1, 0));
                assert_eq!(launch(function, 0, data, 1), 0);
            }
            ok!(cuCtxSynchronize());
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_trace_that_cannot_be_written_is_said_and_does_no_harm() {
    if is_own_process() {
        let _context = Context::new();
        write(alloc(1), &[1]);
        println!("well.");
        return;
    }
    let name = "trace::a_trace_that_cannot_be_written_is_said_and_does_no_harm";
    let text = in_a_process(name, &[("PTXSIM_TRACE", "/nowhere/trace")]);
    let said: Vec<&str> = text.lines().filter(|line| line.starts_with("ptxsim: ")).collect();
    assert_eq!(said.len(), 1, "{text}");
    assert!(said[0].contains("cannot write /nowhere/trace") && said[0].contains("PTXSIM_TRACE"), "{text}");
    assert!(text.contains("well."), "{text}");
}
