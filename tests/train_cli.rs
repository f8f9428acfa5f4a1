//! `hdc pretrain` from outside: what is refused, how, and with which exit code.

mod data_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use data_support::write_set;

fn pretrain(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_hdc")).arg("pretrain").args(args).current_dir(dir).output().unwrap();
    assert!(stdout.is_empty(), "results only on standard output");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn every_fault_of_a_configuration_comes_at_once_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("my.toml"), "[loss]\ntua = 0.1\n[clip]\nframes = 'many'\n").unwrap();
    let (code, text) = pretrain(
        dir.path(),
        &[
            "--data",
            "x",
            "--out",
            "run",
            "--config",
            "my.toml",
            "--set",
            "train.batch=1",
            "--set",
            "optim.lr=-1",
        ],
    );
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "4 faults",
        "did you mean loss.tau?",
        "clip.frames = \"many\"",
        "train.batch = 1",
        "optim.lr = -1",
        "my.toml",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!dir.path().join("run").exists());
}

#[test]
fn unusable_data_are_one_error_and_leave_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write_set(&root.join("set"), 6);
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("list.txt"), "class0/video000.mp4 1\nclass7/video999.mp4 1\n").unwrap();
    let cases: [(&[&str], i32, &[&str]); 5] = [
        (&[], 2, &["no data set is given", "--data"]),
        (&["--data", "none"], 1, &["none", "nothing is there"]),
        (&["--data", "empty"], 1, &["empty", "no index.json", "hdc ingest"]),
        (&["--data", "set", "--preset", "small"], 2, &["24", "6 videos", "train.batch"]),
        (&["--data", "set", "--list", "list.txt"], 1, &["list.txt", "1 of its 2 videos", "class7/video999"]),
    ];
    for (args, expect, parts) in cases {
        let (code, text) = pretrain(root, &[args, &["--out", "run"]].concat());
        assert_eq!(code, Some(expect), "{args:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{args:?}: {part} in {text}");
        }
        assert!(
            text.starts_with("error: ") && text.contains("help: ") && !text.contains("panicked"),
            "{text}"
        );
        assert!(!root.join("run").exists(), "{args:?}");
    }
}

#[test]
fn a_folder_in_use_or_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write_set(&root.join("set"), 6);
    let args = ["--data", "set", "--preset", "small", "--set", "train.batch=4", "--out"];
    let held = hdc::train::RunFolder::open(&root.join("run")).unwrap();
    let (code, text) = pretrain(root, &[&args[..], &["run"]].concat());
    assert!(code == Some(1) && text.contains("in use by process"), "{text}");
    drop(held);
    let (code, text) = pretrain(root, &[&args[..], &["set"]].concat());
    assert!(code == Some(1) && text.contains("holds no run"), "{text}");
}
