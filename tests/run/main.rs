//! Whole runs of the real program with a real network: interrupted in every way, and what is left of them.

#[path = "../command/mod.rs"]
mod command;
mod exact_resume;
mod failing;
mod finetuning;
mod stopping;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command::{Ended, TINY, hdc, synth};
use hdc::train::Record;

/// The command that trains the tiny network in `run`.
fn line(run: &str, steps: u64, more: &str) -> String {
    format!("pretrain --data set --out {run} {TINY} --steps {steps} --set checkpoint.every=3 {more}")
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) -> Ended {
    child.wait_with_output().unwrap().into()
}

/// A folder with the data set, and in it a run that was never stopped, which the others must equal.
fn with_whole_run(steps: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 12);
    hdc(dir.path(), &line("whole", steps, "")).ok();
    let whole = dir.path().join("whole");
    (dir, whole)
}

/// Waits for the record of `step`.
fn wait_for(run: &Path, step: u64) {
    let begin = Instant::now();
    while records(run).len() < step as usize {
        assert!(begin.elapsed() < Duration::from_secs(60), "step {step} of {}", run.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The complete records, without what depends on the time: equal losses in every bit tell equal batches.
fn records(run: &Path) -> Vec<Record> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let complete = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    complete
        .map(|r| Record { clips_per_s: 0.0, step_s: 0.0, data_wait_s: 0.0, elapsed_s: 0.0, ..r })
        .collect()
}

fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step}.safetensors"))
}

/// The bytes of all weights and momenta of a checkpoint. The rest of the file holds settings such as the chunk.
fn tensors(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

/// Names in a run's folder, checkpoints included; event files, one a start, count once.
fn names(run: &Path) -> Vec<String> {
    let mut names: Vec<_> = command::files(run)
        .keys()
        .map(|p| p.strip_prefix(run).unwrap().display().to_string())
        .map(|n| if n.starts_with("events.out.") { "events".into() } else { n })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[track_caller]
fn assert_equal(run: &Path, whole: &Path) {
    assert_eq!(names(run), names(whole));
    let steps = records(whole).len() as u64;
    assert_eq!(records(run), records(whole));
    assert!(
        tensors(&checkpoint(run, steps)) == tensors(&checkpoint(whole, steps)),
        "weights and momenta of {} differ",
        run.display()
    );
}
