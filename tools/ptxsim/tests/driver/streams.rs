//! Streams, events, host functions and the order that they give.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[test]
fn streams_run_when_forced_and_only_what_is_needed() {
    let _context = Context::new();
    let (data, done) = (alloc(1), event(0));
    let (first, second) = (stream(NON_BLOCKING), stream(NON_BLOCKING));
    // Without a dependency, the second stream does not see what the first was to write.
    let mut got = 7u32;
    let got_at = &raw mut got as *mut c_void;
    ok!(cuMemsetD32_v2(data, 1, 1), cuCtxSynchronize());
    ok!(cuMemsetD32Async(data, 2, 1, first), cuEventRecord(done, first));
    ok!(cuMemcpyDtoHAsync_v2(got_at, data, 4, second));
    assert_eq!(got, 1);
    ok!(cuStreamWaitEvent(second, done, 0), cuMemcpyDtoHAsync_v2(got_at, data, 4, second));
    assert_eq!(got, 2);
    ok!(cuEventQuery(done));
    // Recorded again, it is not complete any more.
    ok!(cuMemsetD32Async(data, 2, 1, first), cuEventRecord(done, first));
    assert_eq!(status!(cuEventQuery(done)), 600);
    ok!(cuEventSynchronize(done), cuEventQuery(done));
    // A poll makes progress and ends.
    ok!(cuMemsetD32Async(data, 3, 1, first), cuMemsetD32Async(data, 4, 1, first));
    assert_eq!(status!(cuStreamQuery(first)), 600);
    ok!(cuStreamQuery(first), cuStreamQuery(first));
    assert_eq!(read(data, 1), [4]);
}

#[test]
fn the_legacy_stream_orders_blocking_streams_only() {
    let _context = Context::new();
    let data = alloc(2);
    let (blocking, free) = (stream(0), stream(NON_BLOCKING));
    ok!(cuMemsetD32_v2(data, 1, 2), cuCtxSynchronize());
    ok!(cuMemsetD32Async(data, 2, 1, blocking), cuMemsetD32Async(data + 4, 2, 1, free));
    assert_eq!(read(data, 2), [2, 1]); // a synchronous copy is in the legacy stream
    ok!(cuMemsetD32_v2(data, 3, 2), cuMemsetD32Async(data, 4, 1, blocking));
    ok!(cuStreamSynchronize(blocking));
    ok!(cuCtxSynchronize());
    assert_eq!(read(data, 2), [4, 2]);
    // Work of a destroyed stream still counts.
    ok!(cuMemsetD32Async(data, 5, 1, blocking), cuStreamDestroy_v2(blocking));
    assert_eq!(read(data, 1), [5]);
}

#[test]
fn events_tell_the_time_of_what_ran_between_them() {
    let _context = Context::new();
    extern "C" fn sleep(_: *mut c_void) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (start, end, silent, stream) = (event(0), event(0), event(2), stream(NON_BLOCKING));
    let mut ms = 0.0;
    assert_eq!(status!(cuEventElapsedTime(&mut ms, start, end)), 400);
    ok!(cuEventRecord(start, stream), cuLaunchHostFunc(stream, sleep, null_mut()));
    ok!(cuEventRecord(end, stream), cuEventRecord(silent, stream));
    assert_eq!(status!(cuEventElapsedTime(&mut ms, start, end)), 600);
    ok!(cuEventSynchronize(end), cuEventElapsedTime(&mut ms, start, end));
    assert!((20.0..2000.0).contains(&ms), "{ms}");
    ok!(cuStreamSynchronize(stream));
    assert_eq!(status!(cuEventElapsedTime(&mut ms, start, silent)), 400);
}

#[test]
fn host_functions_run_in_order_and_may_not_call_the_driver() {
    let _context = Context::new();
    static CALLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn call(data: *mut c_void) {
        CALLED.store(data as usize as u32, Ordering::Relaxed);
        assert_eq!(status!(cuCtxSynchronize()), 800);
    }
    let stream = stream(0);
    ok!(cuLaunchHostFunc(stream, call, 41 as *mut c_void), cuLaunchHostFunc(stream, call, 42 as *mut c_void));
    assert_eq!(CALLED.load(Ordering::Relaxed), 0);
    ok!(cuStreamSynchronize(stream));
    assert_eq!(CALLED.load(Ordering::Relaxed), 42);
}

#[test]
fn a_seed_shows_missing_dependencies_either_way() {
    if is_own_process() {
        let _context = Context::new();
        let data = alloc(1);
        let (first, second) = (stream(NON_BLOCKING), stream(NON_BLOCKING));
        ok!(cuMemsetD32_v2(data, 1, 1), cuCtxSynchronize());
        let mut got = 0u32;
        // Nothing orders the two.
        ok!(cuMemsetD32Async(data, 2, 1, first));
        ok!(cuMemcpyDtoHAsync_v2(&raw mut got as *mut c_void, data, 4, second));
        // What a stream orders stays in order, around graphs too.
        let (mut graph, mut exec) = (0, 0);
        ok!(cuStreamBeginCapture_v2(first, 1));
        assert_eq!(launch(function(module()), first, data, 1), 0);
        ok!(cuStreamEndCapture(first, &mut graph), cuGraphInstantiateWithFlags(&mut exec, graph, 0));
        ok!(cuMemsetD32Async(data, 5, 1, first), cuGraphLaunch(exec, first), cuGraphLaunch(exec, first));
        let mut ordered = 0u32;
        ok!(cuMemcpyDtoHAsync_v2(&raw mut ordered as *mut c_void, data, 4, first));
        assert_eq!(ordered, 7);
        println!("got {got}.");
        return;
    }
    let seen: std::collections::BTreeSet<_> = (0..12)
        .map(|seed| {
            let seed = seed.to_string();
            let text = in_a_process(
                "streams::a_seed_shows_missing_dependencies_either_way",
                &[("PTXSIM_SEED", &seed)],
            );
            text.split("got ").nth(1).and_then(|t| t.split('.').next()).unwrap().to_owned()
        })
        .collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn each_thread_has_a_default_stream() {
    const PER_THREAD: Handle = 2;
    let context = Context::new();
    let (handle, data) = (context.0, alloc(1));
    ok!(cuMemsetD32_v2(data, 1, 1), cuMemsetD32Async(data, 2, 1, PER_THREAD));
    let other = std::thread::spawn(move || {
        ok!(cuCtxSetCurrent(handle));
        let mut got = 0u32;
        ok!(cuMemcpyDtoHAsync_v2(&raw mut got as *mut c_void, data, 4, PER_THREAD));
        got
    });
    // The other thread's stream waits for the legacy one, not for this thread's.
    assert_eq!(other.join().unwrap(), 1);
    assert_eq!(read(data, 1), [2]);
}
