//! Stopped on purpose, and a folder that another process works in.

use super::*;
use command::command;

const STEPS: u64 = 60;

fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_signal_saves_and_stops_and_the_same_command_goes_on() {
    let (dir, whole) = with_whole_run(STEPS);
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let run = dir.path().join(name);
        let child = start(&mut command(dir.path(), &line(name, STEPS, "")));
        wait_for(&run, 4);
        signal(&child, name);
        let ended = finish(child);
        let reached = records(&run).len() as u64;
        assert!((4..STEPS).contains(&reached), "stopped on the way, after step {reached}");
        assert!(checkpoint(&run, reached).exists(), "the last step was saved");
        ended.refused(code, &["stopping after this step", "after saving", "run the same command again"]);
        hdc(dir.path(), &line(name, STEPS, "")).ok();
        assert_equal(&run, &whole);
    }
}

#[test]
fn a_folder_that_another_process_works_in_is_left_alone() {
    let (dir, whole) = with_whole_run(STEPS);
    let run = dir.path().join("run");
    let child = start(&mut command(dir.path(), &line("run", STEPS, "")));
    wait_for(&run, 4);
    signal(&child, "STOP"); // so that it does not end meanwhile
    for resume in ["auto", "never", "run/checkpoints/step-3.safetensors"] {
        let second = hdc(dir.path(), &line("run", STEPS, &format!("--resume {resume}")));
        let by = format!("in use by process {}", child.id());
        second.refused(1, &["run", &by, "help: wait for it, stop it, or give another --out"]);
    }
    assert!((4..STEPS).contains(&(records(&run).len() as u64)), "the first process was still at work");
    signal(&child, "CONT");
    finish(child).ok();
    assert_equal(&run, &whole);
}
