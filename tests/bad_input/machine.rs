//! A machine that lacks something.

use std::fs::OpenOptions;
use std::process::Command;

use super::*;
use command::command;

#[test]
fn without_ffmpeg_ingest_says_how_to_get_it() {
    let dir = fixture();
    fs::create_dir(dir.path().join("videos")).unwrap();
    fs::write(dir.path().join("videos/a.avi"), [0xFF; 64]).unwrap();
    let bare = |line: &str| command(dir.path(), line).env("PATH", dir.path()).output().unwrap().into();
    refused_with(dir.path(), &[("ingest videos out", 1, &["ffprobe", "install ffmpeg", "on PATH"])], bare);
    // Nothing else needs it.
    let others: Ended = bare("inspect set");
    others.ok();
}

#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    let full = match OpenOptions::new().write(true).open("/dev/full") {
        Ok(full) => full,
        Err(e) => return eprintln!("skipped: /dev/full: {e} (a_result_that_cannot_be_printed_is_an_error)"),
    };
    let dir = fixture();
    let look = "--checkpoint random:0 --preset small --set clip.crop=16 --clips 1 --data set";
    for line in [
        "doctor",
        "doctor --json",
        "completions bash",
        "plan --backbone c3d --json",
        "plan --backbone c3d",
        "inspect set",
        "inspect run --json",
        "synth set --videos 12 --frames 12 --size 32 --seed 1",
        "synth set --videos 12 --frames 12 --size 32 --seed 1 --json",
        "pretrain --data set --out run TINY --steps 3",
        &format!("features --out f {look}"),
        &format!("retrieve --label motion {look}"),
    ] {
        let mut command: Command = command(dir.path(), &line.replace("TINY", TINY));
        let child =
            command.stdout(full.try_clone().unwrap()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let ended = Ended::from(child.wait_with_output().unwrap());
        println!("$ hdc {line}\n{}", ended.err);
        ended.refused(1, &["standard output", "help: free some space"]);
    }
}
