//! The commands around an evaluation, and what holds for all of them.

use std::process::Command;

use super::*;
use command::{command, files};

const ALL: [&str; 13] = [
    "demo",
    "doctor",
    "synth",
    "ingest",
    "inspect",
    "plan",
    "pretrain",
    "features",
    "retrieve",
    "decouple",
    "ablate",
    "verify",
    "completions",
];

#[test]
fn every_command_has_help_with_an_example_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let overview = hdc(dir.path(), "--help").ok();
    for name in ALL {
        assert!(overview.contains(&format!("\n  {name} ")), "{name} in {overview}");
        let help = hdc(dir.path(), &format!("{name} --help")).ok();
        assert!(help.contains("Example"), "{help}");
        assert!(help.contains(&format!("hdc {name}")), "{help}");
        assert!(help.lines().all(|l| l.chars().count() <= 120), "{help}");
    }
    let demo = hdc(dir.path(), "demo --help").ok();
    for option in
        ["--out <OUT>", "--steps <STEPS>", "--seed <SEED>", "--threads", "--json", "[default: demo-run]"]
    {
        assert!(demo.contains(option), "{option} in {demo}");
    }
    assert_eq!(hdc(dir.path(), "--version").ok(), format!("hdc {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(files(dir.path()).len(), 0, "help writes nothing");
}

#[test]
fn a_plan_is_what_a_step_takes() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 12);
    let size = "--backbone c3d --width 0.03125 --frames 8 --crop 16 --clips 12";
    for chunk in [12, 5] {
        let plan = hdc(dir.path(), &format!("plan {size} --chunk {chunk} --json")).json();
        let train =
            format!("pretrain --data set --out run {TINY} --dry-run --json --set train.chunk={chunk}");
        assert_eq!(plan["peak_bytes"], hdc(dir.path(), &train).json()["peak_bytes"]);
        assert_eq!([&plan["clips"], &plan["chunk"]], [12, chunk]);

        let sum = |key: &str| {
            plan["nodes"].as_array().unwrap().iter().map(|n| n[key].as_u64().unwrap()).sum::<u64>()
        };
        // With several chunks every clip is encoded twice; the last chunk is as large as the others.
        let (forwards, chunks) = if chunk == 12 { (1, 1) } else { (2, 3) };
        let flops = chunks * (forwards * sum("forward_flops") + sum("backward_flops"));
        assert_eq!(plan["flops"], flops);
        let parts = plan["bytes"].as_object().unwrap().values().map(|b| b.as_u64().unwrap());
        assert_eq!(plan["peak_bytes"], parts.sum::<u64>());
    }
    let bytes = |options: &str| hdc(dir.path(), &format!("plan {size} {options} --json")).json();
    let whole = bytes("")["peak_bytes"].as_u64().unwrap();
    let least = bytes("--chunk 1")["peak_bytes"].as_u64().unwrap();
    let between = (whole + least) / 2;
    let fitted = bytes(&format!("--memory {between}"));
    let chunk = fitted["chunk"].as_u64().unwrap();
    assert!(fitted["peak_bytes"].as_u64().unwrap() <= between && (1..12).contains(&chunk));
    assert!(bytes(&format!("--chunk {}", 2 * chunk))["peak_bytes"].as_u64().unwrap() > between);
    assert_eq!(bytes(&format!("--memory {whole}"))["chunk"], 12);
    let doubled = bytes("--precision f64")["bytes"]["parameters"].as_u64().unwrap();
    assert_eq!(doubled, 2 * bytes("")["bytes"]["parameters"].as_u64().unwrap());

    // A step of fine-tuning: one clip for each video, and of a frozen backbone forward alone.
    for device in ["cpu", "cuda"] {
        let plan = |more: &str| {
            let look = "--backbone c3d --width 0.125 --frames 8 --crop 48 --clips 7 --chunk 7";
            hdc(dir.path(), &format!("plan {look} --device {device} --json --classes {more}")).json()
        };
        let (tuned, probed) = (plan("101"), plan("101 --frozen"));
        assert_eq!((&tuned["clips"], &tuned["chunk"]), (&7.into(), &7.into()));
        let of = |plan: &Value, part: &str| plan[part].as_u64().or(plan["bytes"][part].as_u64()).unwrap();
        assert!(of(&probed, "flops") * 5 < of(&tuned, "flops") * 2, "{device}");
        assert!(of(&probed, "arena") * 3 < of(&tuned, "arena") * 2, "{device}");
        // A layer of 64 numbers and a bias for each class, with gradient and momentum.
        let more = of(&plan("165"), "parameters") - of(&tuned, "parameters");
        assert_eq!(more, 64 * 65 * 4 * 3);
    }

    let text = hdc(dir.path(), "plan --backbone c3d --clips 3").ok();
    for part in ["conv1", "3×16×112×112×64", "3 clips a step, 3 at a time", "peak"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn doctor_sees_what_is_there_and_says_how_to_get_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let bare: command::Ended =
        command(dir.path(), "doctor --json").env("PATH", dir.path()).output().unwrap().into();
    let bare = bare.json();
    assert!(bare["ffmpeg"].is_null() && bare["ffprobe"].is_null());
    let missing: Vec<_> = bare["missing"].as_array().unwrap().iter().map(Value::to_string).collect();
    for what in ["ffmpeg on PATH", "ffprobe on PATH", "install ffmpeg"] {
        assert!(missing.iter().any(|m| m.contains(what)), "{what} in {missing:?}");
    }
    assert!(bare["cpu"]["threads"].as_u64().unwrap() >= 1 && bare["cpu"]["lanes"].as_u64().unwrap() >= 1);
    assert_eq!(bare["version"], env!("CARGO_PKG_VERSION"));
    // With programs of these names on PATH it reports what they say of themselves.
    for name in ["ffmpeg", "ffprobe"] {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho {name} version 9 of a test\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let found: command::Ended =
        command(dir.path(), "doctor").env("PATH", dir.path()).output().unwrap().into();
    let text = found.ok();
    for part in ["ffmpeg version 9 of a test", "ffprobe version 9 of a test", "threads", "memory", "kernels"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("on PATH"), "{text}");
}

#[test]
fn synth_reports_what_it_made_and_makes_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let line = "synth set --videos 10 --frames 5 --size 16 --seed 4 --test-fraction 0.3";
    let said = hdc(dir.path(), &format!("{line} --json")).json();
    let counts = ["videos", "rendered", "frames", "height", "width"].map(|k| said[k].as_u64().unwrap());
    assert_eq!(counts, [10, 10, 5, 16, 20]);
    let made = files(&dir.path().join("set"));
    let text = hdc(dir.path(), line).ok();
    assert!(text.contains("10 videos of 5 frames, 16×20") && text.contains("; 0 rendered"), "{text}");
    assert!(files(&dir.path().join("set")) == made);
    let keys = |name: &str| -> Vec<String> {
        std::fs::read_to_string(dir.path().join("set").join(name))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let (train, test) = (keys("trainlist.txt"), keys("testlist.txt"));
    assert_eq!((train.len(), test.len()), (7, 3));
    let mut all = [train, test].concat();
    all.sort();
    assert_eq!(all, (0..10).map(|n| format!("v{n:06}")).collect::<Vec<_>>());
    hdc(dir.path(), &line.replace("set ", "again ")).ok();
    let bytes = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert!(bytes("set/shard-00000.tar") == bytes("again/shard-00000.tar"));
}

#[test]
fn completions_complete() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = hdc(dir.path(), &format!("completions {shell}")).ok();
        for name in ALL {
            assert!(script.contains(name), "{name} for {shell}");
        }
        std::fs::write(dir.path().join(shell), script).unwrap();
    }
    let ask = |words: &str| {
        let script = format!(
            "source ./bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _hdc hdc \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    if Command::new("bash").arg("--version").output().is_err() {
        return eprintln!("skipped: no bash (completions_complete)");
    }
    assert_eq!(ask("hdc pretr"), "pretrain");
    assert_eq!(ask("hdc retrieve --lab"), "--label");
    assert_eq!(ask("hdc plan --backbone r3"), "r3d18");
}
