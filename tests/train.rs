//! The training loop with a stand-in step: exact resume, what a folder keeps and sets aside, and the guard.

mod fake_step;

use std::fs;
use std::path::{Path, PathBuf};

use fake_step::*;
use hdc::data::Batch;
use hdc::train::{Batches, Checkpoint, Config, DataIdentity, Record, Resume, Run, RunFolder, TrainState};
use hdc::{Error, Result};

fn state(run: &Path) -> TrainState {
    Checkpoint::open(run).unwrap().1.state
}

fn records(run: &Path) -> Vec<Record> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What must not depend on interruptions.
fn losses(run: &Path) -> Vec<(u64, u64, f64)> {
    records(run).iter().map(|r| (r.step, r.epoch, r.loss)).collect()
}

fn steps(run: &Path) -> Vec<u64> {
    let files = hdc::train::checkpoint::list(&run.join("checkpoints")).unwrap();
    files.into_iter().map(|(step, _)| step).collect()
}

fn file(run: &Path, step: u64) -> PathBuf {
    run.join("checkpoints").join(format!("step-{step}.safetensors"))
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

/// A run of 30 steps that was never stopped.
fn whole(dir: &Path) -> PathBuf {
    let run = dir.join("whole");
    train(&run, &Resume::Auto, &config(&[])).unwrap();
    run
}

#[test]
fn a_run_leaves_everything_that_its_folder_promises() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let summary = train(&run, &Resume::Auto, &config(&[])).unwrap();
    assert_eq!((summary.steps, summary.resumed_at, summary.peak_bytes), (30, 0, 1234));
    assert_eq!(summary.checkpoint, file(&run, 30));
    assert_eq!(steps(&run), [28, 30], "the two newest are kept");
    assert_eq!(losses(&run).iter().map(|r| r.0).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    assert_eq!(Config::load(&run.join("config.toml")).unwrap(), config(&[]));
    let svg = fs::read_to_string(run.join("loss.svg")).unwrap();
    assert!(svg.contains("chance: ln B"));
    let log = fs::read_to_string(run.join("log.txt")).unwrap();
    assert!(log.contains("starting, 30 steps") && log.contains("finished after step 30"), "{log}");
    let events = fs::read_dir(&run)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("events.out.tfevents."));
    assert_eq!(events.count(), 1);
    assert!(records(&run).is_sorted_by(|a, b| a.elapsed_s < b.elapsed_s));
}

#[test]
fn parts_make_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    let run = dir.path().join("parts");
    for end in ["train.steps=1", "train.steps=9", "train.steps=14", "train.steps=14", "train.steps=30"] {
        train(&run, &Resume::Auto, &config(&[end])).unwrap();
    }
    assert_eq!(state(&run), state(&whole));
    assert_eq!(losses(&run), losses(&whole));
    assert_eq!(fs::read(file(&run, 30)).unwrap(), fs::read(file(&whole, 30)).unwrap(), "equal in every byte");
    assert!(records(&run).is_sorted_by(|a, b| a.elapsed_s < b.elapsed_s));
}

#[test]
fn a_damaged_newest_checkpoint_costs_only_the_steps_after_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    let run = dir.path().join("run");
    train(&run, &Resume::Auto, &config(&["train.steps=21"])).unwrap();
    let mut bytes = fs::read(file(&run, 21)).unwrap();
    bytes.truncate(1000);
    fs::write(file(&run, 21), bytes).unwrap();
    // Keeping one must keep the good one, not the damaged one that is newer.
    let summary = train(&run, &Resume::Auto, &config(&["checkpoint.keep=1", "train.steps=16"])).unwrap();
    assert_eq!(summary.resumed_at, 14);
    assert_eq!(steps(&run), [16]);
    assert!(run.join("previous-1/step-21.safetensors").exists());
    train(&run, &Resume::Auto, &config(&[])).unwrap();
    assert_eq!((state(&run), losses(&run)), (state(&whole), losses(&whole)));
}

#[test]
fn other_settings_are_refused_with_all_differences() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &Resume::Auto, &config(&["train.steps=5"])).unwrap();
    let before = fs::read(file(&run, 5)).unwrap();
    let text =
        message(train(&run, &Resume::Auto, &config(&["loss.tau=0.2", "optim.lr=0.3", "clip.crop=64"])));
    for part in ["loss.tau: 0.07 in the run, 0.2 now", "optim.lr: 0.1", "clip.crop: 112", "--resume never"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let folder = RunFolder::open(&run).unwrap();
    let other =
        |keys: &[&str]| message(folder.start(&Resume::Auto, &config(&[]), DataIdentity::of(keys.to_vec())));
    assert!(other(&KEYS[1..]).contains("9 videos in the run, 8 now"));
    let mut renamed = KEYS;
    renamed[3] = "z";
    assert!(other(&renamed).contains("other names"));
    drop(folder);
    let harmless =
        ["data.workers=3", "checkpoint.every=2", "log.every=1", "log.plots=false", "train.chunk=2"];
    train(&run, &Resume::Auto, &config(&harmless)).unwrap();
    assert_ne!(before, fs::read(file(&run, 30)).unwrap());
}

#[test]
fn another_network_is_refused_before_anything_changes() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = config(&["train.steps=5"]);
    train(&run, &Resume::Auto, &config).unwrap();
    let result = prepare(&run, &Resume::Auto, &config, |folder, start, _, batches| {
        let step = FakeStep::new(0, 10);
        Run { folder, start, config: &config, data: data(), step, batches, note: None }.train()
    });
    let text = message(result);
    assert!(text.contains("w is [5000], not [10]") && text.contains("step-5.safetensors"), "{text}");
    assert_eq!(steps(&run), [5]);
}

#[test]
fn starting_over_sets_the_old_run_aside() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &Resume::Auto, &config(&["train.steps=9"])).unwrap();
    for n in 1..=2 {
        let summary = train(&run, &Resume::Never, &config(&["train.steps=3", "train.seed=5"])).unwrap();
        assert_eq!((summary.resumed_at, summary.steps), (0, 3));
        assert!(run.join(format!("previous-{n}/checkpoints")).is_dir());
        assert_eq!((steps(&run), losses(&run).len()), (vec![3], 3));
    }
    assert_eq!(state(&run.join("previous-1")).step, 9);
}

#[test]
fn a_checkpoint_of_the_folder_rewinds_it() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    let run = dir.path().join("run");
    let all = config(&["checkpoint.keep=100"]);
    train(&run, &Resume::Auto, &all).unwrap();
    let summary =
        train(&run, &Resume::From(file(&run, 14)), &config(&["checkpoint.keep=100", "train.steps=15"]))
            .unwrap();
    assert_eq!((summary.resumed_at, summary.steps), (14, 15));
    assert_eq!((steps(&run), losses(&run).len()), (vec![7, 14, 15], 15));
    assert!(run.join("previous-1/step-30.safetensors").exists());
    train(&run, &Resume::Auto, &all).unwrap();
    assert_eq!((state(&run), losses(&run)), (state(&whole), losses(&whole)));
}

#[test]
fn a_checkpoint_from_elsewhere_begins_a_new_run() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    let run = dir.path().join("run");
    let summary = train(&run, &Resume::From(file(&whole, 28)), &config(&[])).unwrap();
    assert_eq!((summary.resumed_at, steps(&run)), (28, vec![30]));
    assert_eq!(state(&run), state(&whole));
    // Nothing left to do, but the folder still gets its own copy.
    let copy = dir.path().join("copy");
    let summary = train(&copy, &Resume::From(file(&whole, 30)), &config(&[])).unwrap();
    assert!(summary.last.is_none() && summary.checkpoint.exists());
    let missing = train(&dir.path().join("new"), &Resume::From("none.safetensors".into()), &config(&[]));
    assert!(message(missing).contains("none.safetensors"));
}

#[test]
fn the_guard_keeps_the_last_good_checkpoint_and_names_the_samples() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = config(&[]);
    let result = prepare(&run, &Resume::Auto, &config, |folder, start, mut step, batches| {
        step.non_finite_at = Some(17);
        Run { folder, start, config: &config, data: data(), step, batches, note: None }.train()
    });
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    let mut batch = Batch::default();
    FakeBatches { next: 17, seed: 0, fail_at: None }.next_into(&mut batch).unwrap();
    let videos = batch.videos.join(", ");
    let text = error.to_string();
    for part in ["step 18", "the loss is NaN", &videos, "help: lower optim.lr"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!((steps(&run), losses(&run).len()), (vec![7, 14], 17));
    assert!(fs::read_to_string(run.join("log.txt")).unwrap().contains(&videos));
}

#[test]
fn damaged_data_stop_the_run_after_saving() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    let run = dir.path().join("run");
    let config = config(&[]);
    let result = prepare(&run, &Resume::Auto, &config, |folder, start, step, mut batches| {
        batches.fail_at = Some(10);
        Run { folder, start, config: &config, data: data(), step, batches, note: None }.train()
    });
    assert!(message(result).contains("shard-3.tar"));
    assert_eq!(steps(&run), [7, 10]);
    train(&run, &Resume::Auto, &config).unwrap();
    assert_eq!((state(&run), losses(&run)), (state(&whole), losses(&whole)));
}

#[test]
fn a_rehearsal_tries_everything_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let rehearse = |resume: &Resume, non_finite_at| {
        let config = config(&[]);
        prepare(&run, resume, &config, |folder, start, mut step, batches| {
            step.non_finite_at = non_finite_at;
            Run { folder, start, config: &config, data: data(), step, batches, note: None }.rehearse()
        })
    };
    let found = rehearse(&Resume::Auto, None).unwrap();
    assert!(
        found.ok && found.start == 0 && found.steps == 30 && found.checkpoint_bytes > 40_000,
        "{found:?}"
    );
    assert_eq!(fs::read_dir(&run).unwrap().count(), 1, "only the lock");
    train(&run, &Resume::Auto, &config(&["train.steps=7"])).unwrap();
    let before = (steps(&run), losses(&run));
    assert_eq!(rehearse(&Resume::Auto, None).unwrap().start, 7);
    assert_eq!(rehearse(&Resume::Never, None).unwrap().start, 0);
    assert_eq!(rehearse(&Resume::Auto, Some(7)).unwrap_err().exit_code(), 4);
    assert_eq!((steps(&run), losses(&run)), before);
}

#[test]
fn a_folder_in_use_or_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let held = RunFolder::open(&run).unwrap();
    let text = message(RunFolder::open(&run));
    assert!(text.contains("in use by process") && text.contains(&std::process::id().to_string()), "{text}");
    drop(held);
    RunFolder::open(&run).unwrap();

    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "x").unwrap();
    assert!(message(RunFolder::open(&other)).contains("not empty and holds no run"));
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    assert!(matches!(RunFolder::open(&other.join("thesis.tex")), Err(Error::Io { .. })));
}
