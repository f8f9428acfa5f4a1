//! What users give by mistake, and files that time has damaged: each is one clear error that says what to do, with
//! the right exit code, and nothing that was there is lost.

#[path = "../command/mod.rs"]
mod command;
mod damage;
mod lists;
mod machine;
mod places;
mod settings;

use std::fs;
use std::path::Path;

use command::{Ended, TINY, files, hdc, synth};

/// A folder with a data set `set` of 12 videos and a run `run` of 3 steps on it.
fn fixture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 12);
    hdc(dir.path(), &format!("pretrain --data set --out run {TINY} --steps 3")).ok();
    dir
}

/// `check` that every command fails with the code, and an error that names all parts and a remedy; and that
/// afterwards the files are what they were, but for locks.
#[track_caller]
fn refused(dir: &Path, cases: &[(&str, i32, &[&str])]) {
    refused_with(dir, cases, |line| hdc(dir, line));
}

#[track_caller]
fn refused_with(dir: &Path, cases: &[(&str, i32, &[&str])], run: impl Fn(&str) -> Ended) {
    let state = || {
        let mut all = files(dir);
        all.retain(|path, _| !path.ends_with(".run.lock") && !path.ends_with(".lock"));
        all
    };
    let before = state();
    for (line, code, parts) in cases {
        let ended = run(&line.replace("TINY", TINY));
        let remedies = ["help: ", "try '--help'", "config"];
        assert!(remedies.iter().any(|r| ended.err.contains(r)), "`hdc {line}` gives no remedy: {ended:?}");
        println!("$ hdc {line}\n{}", ended.err); // shown if the test fails
        ended.refused(*code, parts);
        let after = state();
        let names = |s: &std::collections::BTreeMap<_, _>| s.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "`hdc {line}` leaves other files");
        assert!(after == before, "`hdc {line}` changed a file");
    }
}
