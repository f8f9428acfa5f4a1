//! A disk that fills up, and arithmetic that diverges.

use std::io::Write;

use super::*;
use command::files;

const STEPS: u64 = 20;

#[test]
fn a_limit_on_files_is_one_clear_error_and_costs_no_checkpoint() {
    let (dir, whole) = with_whole_run(STEPS);
    hdc(dir.path(), &line("run", 3, "")).ok();
    let run = dir.path().join("run");
    let before = fs::read(checkpoint(&run, 3)).unwrap();

    // A checkpoint has 360 kB, everything else is small; the unit is 512 bytes.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_hdc")])
        .args(line("run", STEPS, "").split_whitespace())
        .current_dir(dir.path())
        .output();
    Ended::from(limited.unwrap())
        .refused(1, &["cannot write", "step-6.safetensors", "help: free some space"]);
    assert_eq!(fs::read(checkpoint(&run, 3)).unwrap(), before);
    assert!(!names(&run).iter().any(|n| n.contains("step-6") || n.ends_with(".tmp")), "no half-written file");

    hdc(dir.path(), &line("run", STEPS, "")).ok();
    assert_equal(&run, &whole);
}

/// On a file system of 600 kB, so that the second checkpoint finds no room. Only a mount namespace gives a test
/// such a one; its contents are copied out before it goes with the last process in it.
#[test]
fn a_full_disk_is_one_clear_error_and_costs_no_checkpoint() {
    let (dir, whole) = with_whole_run(STEPS);
    fs::create_dir(dir.path().join("small")).unwrap();
    let inside = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--map-root-user", "sh", "-c"])
            .current_dir(dir.path())
            .arg(format!("mount -t tmpfs -o size=600k tmpfs small || exit 99; {script}"));
        unshare
    };
    if !inside("true").output().is_ok_and(|o| o.status.success()) {
        let line = "skipped: no small file system can be mounted (a_full_disk_is_one_clear_error)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let script = "\"$0\" \"$@\"; code=$?; cp -r small/run run; exit $code";
    let full = inside(script)
        .arg(env!("CARGO_BIN_EXE_hdc"))
        .args(line("small/run", STEPS, "--set log.tensorboard=false").split_whitespace())
        .output();
    Ended::from(full.unwrap()).refused(1, &["cannot write", "step-6.safetensors", "help: free some space"]);
    let run = dir.path().join("run");
    let kept: Vec<_> = names(&run).into_iter().filter(|n| n.starts_with("checkpoints")).collect();
    assert_eq!(kept, ["checkpoints/step-3.safetensors"]);
    assert_eq!(records(&run), records(&whole)[..6]);

    hdc(dir.path(), &line("run", STEPS, "")).ok();
    assert_equal(&run, &whole);
}

#[test]
fn the_guard_stops_before_the_update_and_keeps_the_last_good_checkpoint() {
    let (dir, _) = with_whole_run(STEPS);
    let run = dir.path().join("run");
    // Each step multiplies the weights by about -2000.
    let wild = line("run", STEPS, "--set optim.lr=1000 --set optim.l2=1");
    let ended = hdc(dir.path(), &wild);
    let done = records(&run).len() as u64;
    assert!((1..STEPS).contains(&done), "{}", ended.err);
    let log = fs::read_to_string(run.join("log.txt")).unwrap();
    let step = format!("step {}: ", done + 1);
    let parts = [&step, "nothing was updated", "v0000", "help: lower optim.lr"];
    for part in parts {
        assert!(log.contains(part), "{part} in {log}");
    }
    let error = &ended.err[ended.err.find("error:").unwrap()..];
    assert_eq!(error.matches("step ").count(), 1, "one step is named: {error}");
    assert_eq!(error.matches("v0000").count(), 4, "each video of the batch once: {error}");
    ended.refused(4, &parts);

    // What is left is what it was before, usable and finite; the same command fails in the same step.
    let last = checkpoint(&run, done / 3 * 3);
    assert!(last.exists());
    hdc(dir.path(), &format!("inspect {}", last.display())).ok();
    let kept = files(&run.join("checkpoints"));
    hdc(dir.path(), &wild).refused(4, &parts);
    assert_eq!(records(&run).len() as u64, done);
    assert!(files(&run.join("checkpoints")) == kept);
}
