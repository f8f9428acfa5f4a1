//! What goes wrong with a device: one clear error each, and nothing lost.

use std::fs;
use std::path::Path;

use crate::command::{Ended, TINY, hdc, synth};
use crate::{command_on_device, tiny};

/// `hdc` on the simulated GPU with one variable of the simulator set.
fn with(dir: &Path, line: &str, name: &str, value: &str) -> Option<Ended> {
    Some(command_on_device(dir, line)?.env(name, value).output().unwrap().into())
}

/// The last line but those of the simulator: it speaks on standard error as well.
fn refused(ended: Ended, code: i32, parts: &[&str]) {
    let ours: Vec<&str> = ended.err.lines().filter(|line| !line.starts_with("ptxsim:")).collect();
    Ended { err: ours.join("\n"), ..ended }.refused(code, parts);
}

#[test]
fn without_a_driver_every_command_that_wants_one_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    if fs::exists("/proc/driver/nvidia").unwrap_or(false) {
        return println!("skipped: this machine has a driver");
    }
    for line in [
        format!("pretrain --data set --out run {TINY} --device cuda"),
        "selftest".into(),
        "features --checkpoint random:0 --preset small --data set --out f.safetensors --device cuda".into(),
        "retrieve --checkpoint random:0 --preset small --data set --label motion --device cuda".into(),
    ] {
        hdc(root, &line).refused(1, &["CUDA cannot be used", "driver", "help: ", "--device cpu"]);
    }
    assert!(!root.join("run").exists());
}

#[test]
fn bf16_on_the_cpu_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("pretrain --data set --out run {TINY} --precision bf16");
    hdc(dir.path(), &line).refused(2, &["bf16 needs --device cuda"]);
    hdc(dir.path(), "plan --backbone c3d --precision bf16").refused(2, &["bf16", "--device cuda"]);
    hdc(dir.path(), "plan --backbone c3d --precision f64 --device cuda").refused(2, &["f64"]);
}

#[test]
fn a_gpu_or_driver_that_is_too_old_is_refused_by_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    let line = tiny("run", "--steps 2");
    let Some(old_gpu) = with(root, &line, "PTXSIM_DEVICE", "sm_75") else { return };
    refused(old_gpu, 1, &["compute capability 7.5", "8.0", "--device cpu"]);
    refused(with(root, &line, "PTXSIM_CUDA", "12.8").unwrap(), 1, &["CUDA 12.8", "13.0", "release 580"]);
    assert!(!root.join("run").exists(), "nothing was begun");
}

#[test]
fn too_little_memory_is_refused_with_the_figures() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    let line = tiny("run", "--steps 2 --set train.chunk=12");
    let Some(ended) = with(root, &line, "PTXSIM_MEMORY", "300K") else { return };
    refused(ended, 1, &["12 of its 12 clips", "on the GPU", "free", "train.chunk"]);
    assert!(!root.join("run").exists(), "nothing was begun");
}

#[test]
fn a_kernel_that_fails_in_the_middle_of_a_run_costs_what_followed_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    let line = tiny("run", "--steps 6 --set checkpoint.every=2 --set checkpoint.keep=9");
    let Some(ended) = with(root, &line, "PTXSIM_FAULT", "sgd_rates:4") else { return };
    refused(ended, 1, &["illegal", "resume", "selftest"]);
    let names = || {
        let entries = fs::read_dir(root.join("run/checkpoints")).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names().len(), 1, "that of step 2: {:?}", names());
    let log = fs::read_to_string(root.join("run/log.txt")).unwrap();
    assert!(log.contains("stopped after step 3"), "{log}");
    // The same command goes on from it, to the bits of a run that never failed.
    crate::hdc_on_device(root, &line).unwrap().ok();
    crate::hdc_on_device(root, &line.replace("--out run", "--out whole")).unwrap().ok();
    let last = names().pop().unwrap();
    let read = |run: &str| fs::read(root.join(run).join("checkpoints").join(&last)).unwrap();
    assert!(read("run") == read("whole"));
}
