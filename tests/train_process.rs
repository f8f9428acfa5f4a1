//! What only another process can show: SIGKILL at any moment, signals, and a full disk.

mod fake_step;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use fake_step::*;
use hdc::tensor::random::Stream;
use hdc::train::{Checkpoint, Record, Resume, Run};

const STEPS: &str = "train.steps=150";

/// The other process: this test, run by name. `FAKE_RUN` is the folder, `FAKE_SLEEP` milliseconds a step.
#[test]
#[ignore = "the other tests of this file run it as a process of its own"]
fn child() {
    let run = std::env::var("FAKE_RUN").expect("run by the other tests");
    let sleep = std::env::var("FAKE_SLEEP").unwrap().parse().unwrap();
    let config = config(&[STEPS]);
    let ended = prepare(Path::new(&run), &Resume::Auto, &config, |folder, start, mut step, batches| {
        step.sleep = Duration::from_millis(sleep);
        Run { folder, start, config: &config, data: data(), step, batches, note: None }.train()
    });
    if let Err(e) = ended {
        eprintln!("error: {e}");
        std::process::exit(e.exit_code().into());
    }
}

/// `kilobytes`: no file may grow larger.
fn start(run: &Path, sleep: u64, kilobytes: Option<u64>) -> Child {
    let limit = kilobytes.map_or(String::new(), |k| format!("trap '' XFSZ; ulimit -f {};", 2 * k));
    Command::new("sh")
        .args(["-c", &format!("{limit} exec \"$0\" child --exact --ignored --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env("FAKE_RUN", run)
        .env("FAKE_SLEEP", sleep.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: Child) -> (ExitStatus, String) {
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status, String::from_utf8(stderr).unwrap())
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !there() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn records(run: &Path) -> Vec<(u64, u64, f64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let complete = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    complete.map(|r| (r.step, r.epoch, r.loss)).collect()
}

fn checkpoint(run: &Path) -> Vec<u8> {
    fs::read(run.join("checkpoints/step-150.safetensors")).unwrap()
}

#[test]
fn runs_killed_at_random_moments_end_as_one_that_never_was() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    train(&whole, &Resume::Auto, &config(&[STEPS])).unwrap();
    let mut moments = Stream::new("kills", 1);
    let (mut kills, mut runs) = (0, 0);
    while kills < 20 {
        runs += 1;
        let run = dir.path().join(format!("killed-{runs}"));
        loop {
            let mut child = start(&run, 1, None);
            std::thread::sleep(Duration::from_millis(moments.next_below(200)));
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{}", finish(child).1);
                break;
            }
            child.kill().unwrap();
            kills += 1;
            finish(child);
        }
        assert_eq!(checkpoint(&run), checkpoint(&whole), "run {runs}: equal in every byte");
        assert_eq!(records(&run), records(&whole), "run {runs}");
    }
}

#[test]
fn the_first_signal_saves_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let before = records(&run).len();
        let child = start(&run, 10, None);
        wait_for("a few steps", || records(&run).len() > before + 2);
        signal(&child, name);
        let (status, text) = finish(child);
        assert_eq!(status.code(), Some(code), "{text}");
        assert!(text.contains("stopping after this step") && text.contains("after saving"), "{text}");
        let reached = records(&run).len() as u64;
        assert_eq!(Checkpoint::open(&run).unwrap().1.state.step, reached, "no step is lost");
    }
    let whole = dir.path().join("whole");
    train(&whole, &Resume::Auto, &config(&[STEPS])).unwrap();
    let (status, text) = finish(start(&run, 0, None));
    assert!(status.success(), "{text}");
    assert_eq!(checkpoint(&run), checkpoint(&whole));
}

#[test]
fn the_second_signal_stops_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let child = start(&run, 60_000, None);
    wait_for("the first step", || run.join("metrics.jsonl").exists());
    std::thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "INT");
    let (status, text) = finish(child);
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_full_disk_is_one_clear_error_and_costs_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, run) = (dir.path().join("whole"), dir.path().join("run"));
    train(&whole, &Resume::Auto, &config(&[STEPS])).unwrap();
    train(&run, &Resume::Auto, &config(&["train.steps=7"])).unwrap();
    let kept = run.join("checkpoints/step-7.safetensors");
    let before = fs::read(&kept).unwrap();

    // A checkpoint of the stand-in has 40 kB. A limit on the size of files acts like a disk that fills up.
    let (status, text) = finish(start(&run, 0, Some(32)));
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write") && text.contains("step-14.safetensors"), "{text}");
    assert!(text.contains("help: free some space"), "{text}");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    let names: Vec<_> =
        fs::read_dir(run.join("checkpoints")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["step-7.safetensors"], "no half-written file");
    assert_eq!(fs::read(&kept).unwrap(), before);

    let (status, text) = finish(start(&run, 0, None));
    assert!(status.success(), "{text}");
    assert_eq!((checkpoint(&run), records(&run)), (checkpoint(&whole), records(&whole)));
}
