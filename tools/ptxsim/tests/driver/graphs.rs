//! Capture and graphs.

use super::*;

#[test]
fn a_captured_graph_replays() {
    let _context = Context::new();
    let (module, data) = (module(), alloc(64));
    let function = function(module);
    let (main, side) = (stream(NON_BLOCKING), stream(NON_BLOCKING));
    let (fork, join) = (event(2), event(2));
    write(data, &[0; 64]);
    ok!(cuStreamBeginCapture_v2(main, 1));
    assert_eq!(launch(function, main, data, 64), 0);
    ok!(cuEventRecord(fork, main), cuStreamWaitEvent(side, fork, 0));
    assert_eq!(launch(function, side, data, 32), 0);
    assert_eq!(launch(function, main, data + 128, 32), 0);
    ok!(cuEventRecord(join, side), cuStreamWaitEvent(main, join, 0));
    assert_eq!(launch(function, main, data, 1), 0);
    let mut capturing = 0;
    ok!(cuStreamIsCapturing(side, &mut capturing));
    assert_eq!(capturing, 1);
    let (mut graph, mut exec) = (0, 0);
    ok!(cuStreamEndCapture(main, &mut graph));
    ok!(cuStreamIsCapturing(side, &mut capturing));
    assert_eq!((capturing, read(data, 64)), (0, vec![0; 64]));

    let (mut nodes, mut count, mut kind) = ([0; 8], 8, -1);
    ok!(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count), cuGraphNodeGetType(nodes[0], &mut kind));
    assert_eq!((count, kind), (4, 0));
    ok!(cuGraphGetEdges(graph, null_mut(), null_mut(), &mut count));
    assert_eq!(count, 4);
    let mut params = KernelNode::default();
    ok!(cuGraphKernelNodeGetParams_v2(nodes[3], &mut params));
    assert_eq!((params.function, params.grid), (function, [1, 1, 1]));
    // SAFETY: pointers to the node's two parameters, as the API gives them.
    let captured = unsafe { **(params.params as *const *const u64) };
    assert_eq!(captured, data);

    ok!(cuGraphInstantiateWithFlags(&mut exec, graph, 0), cuGraphDestroy(graph));
    for _ in 0..100 {
        ok!(cuGraphLaunch(exec, main));
    }
    ok!(cuStreamSynchronize(main));
    let words = read(data, 64);
    assert_eq!((words[0], words[1], words[63]), (300, 200, 200));
    ok!(cuModuleUnload(module));
    assert_eq!(status!(cuGraphLaunch(exec, main)), 400);
    ok!(cuGraphExecDestroy(exec));
}

#[test]
fn captures_that_go_wrong_are_invalidated() {
    let _context = Context::new();
    let (data, outside) = (alloc(4), event(0));
    let (main, side) = (stream(NON_BLOCKING), stream(NON_BLOCKING));
    let fork = event(0);
    let mut graph = 0;
    assert_eq!(status!(cuStreamBeginCapture_v2(0, 0)), 900);
    assert_eq!(status!(cuStreamEndCapture(main, &mut graph)), 401);
    // Unjoined.
    ok!(cuStreamBeginCapture_v2(main, 1), cuEventRecord(fork, main), cuStreamWaitEvent(side, fork, 0));
    ok!(cuMemsetD32Async(data, 1, 1, side));
    assert_eq!(status!(cuStreamEndCapture(side, &mut graph)), 903);
    assert_eq!(status!(cuStreamEndCapture(main, &mut graph)), 901);
    ok!(cuStreamBeginCapture_v2(main, 1), cuEventRecord(fork, main), cuStreamWaitEvent(side, fork, 0));
    ok!(cuMemsetD32Async(data, 1, 1, side));
    assert_eq!(status!(cuStreamEndCapture(main, &mut graph)), 904);
    // Waiting.
    ok!(cuStreamBeginCapture_v2(main, 1));
    assert_eq!(status!(cuStreamSynchronize(main)), 900);
    assert_eq!(status!(cuMemsetD32Async(data, 1, 1, main)), 901);
    assert_eq!(status!(cuStreamEndCapture(main, &mut graph)), 901);
    // Allocating, unless relaxed.
    let mut address = 0;
    ok!(cuStreamBeginCapture_v2(main, 1));
    assert_eq!(status!(cuMemAlloc_v2(&mut address, 4)), 900);
    assert_eq!(status!(cuStreamEndCapture(main, &mut graph)), 901);
    ok!(
        cuStreamBeginCapture_v2(main, 2),
        cuMemAlloc_v2(&mut address, 4),
        cuStreamEndCapture(main, &mut graph)
    );
    // Depending on what is outside.
    ok!(cuMemsetD32Async(data, 1, 1, side), cuEventRecord(outside, side), cuStreamBeginCapture_v2(main, 1));
    assert_eq!(status!(cuStreamWaitEvent(main, outside, 0)), 905);
    assert_eq!(status!(cuStreamEndCapture(main, &mut graph)), 901);
    // The legacy stream beside a blocking one.
    let blocking = stream(0);
    ok!(cuStreamBeginCapture_v2(blocking, 1));
    assert_eq!(status!(cuMemsetD32Async(data, 1, 1, 0)), 906);
    assert_eq!(status!(cuStreamEndCapture(blocking, &mut graph)), 901);
    // Querying an event that is part of a capture.
    ok!(cuStreamBeginCapture_v2(main, 1), cuEventRecord(fork, main));
    assert_eq!(status!(cuEventQuery(fork)), 907);
    assert_eq!(status!(cuStreamEndCapture(main, &mut graph)), 901);
}
