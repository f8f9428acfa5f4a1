//! Launches that `PTXSIM_FAULT` fails, each in a process of its own.

use super::*;

/// What a process wrote of faults.
fn injected(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("PTXSIM_FAULT")).collect()
}

#[test]
fn the_nth_launch_fails_and_its_context_with_it() {
    if !is_own_process() {
        let variables = [("PTXSIM_FAULT", "add_one:3")];
        let text = in_a_process("faults::the_nth_launch_fails_and_its_context_with_it", &variables);
        let said = "ptxsim: cuCtxSynchronize: launch 3 of add_one fails with an illegal address, injected by \
                    PTXSIM_FAULT";
        assert_eq!(injected(&text), [said], "{text}");
        return;
    }
    let bad = Context::new();
    let (function, data) = (function(module()), alloc(64));
    write(data, &[0; 64]);
    assert_eq!(launch(function, 0, data, 64), 0);
    ok!(cuCtxSynchronize());
    // What is refused is not counted.
    assert_eq!(launch(function, 99, data, 64), 400);
    assert_eq!(launch(function, 0, data, 64), 0);
    assert_eq!(read(data, 64), [2; 64]);
    let (stream, done) = (stream(NON_BLOCKING), event(0));
    assert_eq!(launch(function, stream, data, 64), 0); // asynchronous: not noticed yet
    ok!(cuEventRecord(done, stream));
    assert_eq!(launch(function, stream, data, 64), 0); // queued behind it, and dropped
    assert_eq!(status!(cuCtxSynchronize()), 700);
    let mut address = 0;
    assert_eq!(status!(cuMemAlloc_v2(&mut address, 4)), 700);
    assert_eq!(status!(cuStreamSynchronize(stream)), 700);
    assert_eq!(status!(cuEventQuery(done)), 700);
    assert_eq!(launch(function, stream, data, 64), 700);
    // Another context is well, and the count goes on: the fault was the only one.
    let good = Context::new();
    assert_eq!(read(data, 64), [2; 64]);
    let other = self::function(module());
    for _ in 0..4 {
        assert_eq!(launch(other, 0, data, 64), 0);
    }
    assert_eq!(read(data, 64), [6; 64]);
    drop(good);
    ok!(cuCtxSetCurrent(bad.0));
    assert_eq!(status!(cuCtxSynchronize()), 700);
}

#[test]
fn launches_of_a_graph_count_each_time() {
    if !is_own_process() {
        for (fault, launches) in [("add_one:4", 2), ("add_one:5", 3)] {
            let variables = [("PTXSIM_FAULT", fault)];
            let text = in_a_process("faults::launches_of_a_graph_count_each_time", &variables);
            assert_eq!(injected(&text).len(), 1, "{text}");
            assert!(text.contains(&format!("graph launch {launches} failed.")), "{fault}: {text}");
        }
        return;
    }
    let _context = Context::new();
    let (function, data, main) = (function(module()), alloc(64), stream(NON_BLOCKING));
    write(data, &[0; 64]);
    let (mut graph, mut exec) = (0, 0);
    ok!(cuStreamBeginCapture_v2(main, 1));
    for _ in 0..2 {
        assert_eq!(launch(function, main, data, 64), 0);
    }
    ok!(cuStreamEndCapture(main, &mut graph), cuGraphInstantiateWithFlags(&mut exec, graph, 0));
    for n in 1..=3 {
        ok!(cuGraphLaunch(exec, main));
        match status!(cuStreamSynchronize(main)) {
            0 => assert_eq!(read(data, 64), [2 * n; 64]),
            700 => {
                println!("graph launch {n} failed.");
                assert_eq!(status!(cuGraphLaunch(exec, main)), 700);
                return;
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn other_kernels_run_as_ever() {
    if !is_own_process() {
        for fault in ["add:1", "add_one_more:1", "add_one:3"] {
            let text = in_a_process("faults::other_kernels_run_as_ever", &[("PTXSIM_FAULT", fault)]);
            assert!(injected(&text).is_empty(), "{fault}: {text}");
        }
        return;
    }
    let _context = Context::new();
    let (function, data) = (function(module()), alloc(64));
    write(data, &[0; 64]);
    for _ in 0..2 {
        assert_eq!(launch(function, 0, data, 64), 0);
    }
    assert_eq!(read(data, 64), [2; 64]);
}
