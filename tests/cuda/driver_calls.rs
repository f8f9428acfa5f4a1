//! What a training step asks of the driver: counted at its API.

use std::fs;

use crate::command::synth;
use crate::{command_on_device, tiny};

#[test]
fn a_step_allocates_nothing_and_waits_for_nothing_but_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    let Some(mut command) = command_on_device(root, &tiny("run", "--steps 6 --set checkpoint.every=100"))
    else {
        return;
    };
    let trace = root.join("trace");
    let output = command.env("PTXSIM_TRACE", &trace).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&trace).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let launches: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].starts_with("cuGraphLaunch")).collect();
    assert_eq!(launches.len(), 6, "a step is one graph");
    // From the launch of the second step to that of the last: whole steps, each with the staging of the next batch.
    let steps = &lines[launches[1]..launches[5]];
    let name = |line: &str| line.split(' ').next().unwrap().to_owned();
    let allowed = [
        "cuCtxSetCurrent",
        "cuGraphLaunch",
        "cuEventRecord",
        "cuStreamWaitEvent",
        "cuMemcpyHtoDAsync_v2",
        "cuMemcpyDtoHAsync_v2",
        "cuEventSynchronize",
    ];
    for line in steps {
        assert!(allowed.contains(&&name(line)[..]), "a step calls {line}");
    }
    let count = |wanted: &str| steps.iter().filter(|line| name(line) == wanted).count();
    // One copy of a batch to the device and one of the figures back; the host waits for the end of the step, and for a copy
    // of two steps ago before it uses its memory again.
    assert_eq!((count("cuMemcpyHtoDAsync_v2"), count("cuMemcpyDtoHAsync_v2")), (4, 4), "{steps:#?}");
    assert_eq!(count("cuEventSynchronize"), 8, "{steps:#?}");
    let waits = steps.iter().filter(|line| line.ends_with(" waits")).map(|line| name(line));
    assert!(waits.clone().all(|n| n == "cuEventSynchronize"), "{:?}", waits.collect::<Vec<_>>());
}
