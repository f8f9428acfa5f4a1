//! Words and numbers that mean nothing, or too much.

use super::*;

#[test]
fn every_wrong_setting_is_named_with_its_value_and_what_to_give() {
    let dir = fixture();
    let root = dir.path();
    fs::write(root.join("typo.toml"), "[loss]\ntua = 0.1\n[optimm]\nlr = 1\n").unwrap();
    fs::write(root.join("types.toml"), "[train]\nbatch = 'two'\n[clip]\ncrop = 1.5\n").unwrap();
    fs::write(root.join("broken.toml"), "[loss\ntau = 0.1\n").unwrap();
    let cases: &[(&str, i32, &[&str])] = &[
        (
            "--config typo.toml",
            2,
            &["2 faults", "typo.toml", "loss.tua", "loss.tau?", "optimm.lr", "optim.lr?"],
        ),
        ("--config types.toml", 2, &["2 faults", "types.toml", "train.batch = \"two\"", "clip.crop = 1.5"]),
        ("--config broken.toml", 2, &["1 fault", "broken.toml", "not TOML", "line 1"]),
        ("--set loss.tua=0.1", 2, &["loss.tua", "did you mean loss.tau?", "--set"]),
        ("--set tau=0.1", 2, &["did you mean loss.tau?"]),
        ("--set loss.tau", 2, &["--set loss.tau", "no `=`", "loss.tau=0.1"]),
        ("--set =", 2, &["1 fault"]),
        ("--set loss.tau=warm", 2, &["loss.tau = \"warm\"", "0.07"]),
        ("--set loss.tau=-1", 2, &["loss.tau = -1", "above 0"]),
        ("--set loss.tau=nan", 2, &["loss.tau = nan", "above 0"]),
        ("--set train.batch=1", 2, &["train.batch = 1", "from 2"]),
        ("--set train.batch=1e3", 2, &["train.batch = 1000.0", "whole number"]),
        ("--set loss.alpha=[1,2]", 2, &["loss.alpha = [1, 2]"]),
        ("--set loss.spatial=false --set loss.temporal=false", 2, &["loss.spatial", "nothing is learned"]),
        ("--set model.backbone=c4d", 2, &["model.backbone = \"c4d\"", "r3d18"]),
        ("--set clip.crop=0 --set optim.momentum=1", 2, &["2 faults", "clip.crop = 0", "optim.momentum = 1"]),
        ("--preset smal", 2, &["--preset", "'smal'", "similar value exists: 'small'"]),
        ("--steps 0", 2, &["--steps", "'0'", "1.."]),
        ("--steps many", 2, &["--steps", "'many'"]),
        ("--stepz 3", 2, &["--stepz", "'--steps'"]),
        ("--threads 100000", 2, &["--threads", "0..=1024"]),
        ("--device tpu", 2, &["--device", "'tpu'", "cpu"]),
        ("--precision bf16", 2, &["bf16", "--precision f32"]),
        ("TINY --set train.batch=13", 2, &["13", "12 videos", "train.batch"]),
        ("TINY --set clip.frames=1", 1, &["larger clips"]),
        ("TINY --set model.width=1e-9", 2, &["model.width 0.000000001", "0 channels", "1/64"]),
    ];
    let lines: Vec<_> = cases.iter().map(|c| format!("pretrain --data set --out q {}", c.0)).collect();
    let cases: Vec<_> = lines.iter().zip(cases).map(|(line, c)| (line.as_str(), c.1, c.2)).collect();
    refused(root, &cases);
}

#[test]
fn other_commands_check_their_words_as_well() {
    let dir = fixture();
    let cases: &[(&str, i32, &[&str])] = &[
        ("pretrein", 2, &["'pretrein'", "'pretrain'"]),
        ("synth s --videos 0", 2, &["0 videos", "from 1"]),
        ("synth s --size 8", 2, &["8 rows", "from 16"]),
        ("synth s --test-fraction 2", 2, &["test fraction of 2", "from 0 to 1"]),
        ("synth s --quality 101", 2, &["quality 101", "from 1 to 100"]),
        ("synth s --seed -1", 2, &["'-1'"]),
        ("plan --backbone c4d", 2, &["'c4d'", "r21d10"]),
        ("plan --backbone c3d --clips 4", 2, &["--clips 4", "multiple of 3"]),
        ("plan --backbone c3d --classes 1", 2, &["--classes", "1 is not in 2"]),
        ("plan --backbone c3d --frozen", 2, &["--classes"]),
        ("plan --backbone c3d --width nan", 2, &["model.width NaN", "1/64"]),
        ("plan --backbone c3d --memory 3parsecs", 2, &["--memory \"3parsecs\"", "800MB"]),
        ("plan --backbone c3d --memory 1MB", 2, &["more than --memory 1.0 MB", "fewer clips"]),
        ("plan --backbone c3d --crop 4", 1, &["larger clips"]),
        ("features --checkpoint random:x --preset small --data set --out f", 2, &["random:x", "random:0"]),
        ("features --checkpoint random:0 --data set --out f", 2, &["which network", "--backbone c3d"]),
        ("features --checkpoint run --backbone r3d18 --data set --out f", 2, &["holds its own settings"]),
        ("features --checkpoint run --data set --out f --block 2", 2, &["'2'", "3..=5"]),
        ("features --checkpoint run --data set --out f --pool max", 2, &["'max'", "gavg"]),
        ("features --checkpoint run --data set --out f --clips 0", 2, &["'0'", "1.."]),
        ("retrieve --checkpoint run --data set --rows 0", 2, &["'0'", "1..=100"]),
        ("retrieve --checkpoint run --data set --train set/trainlist.txt", 2, &["--test <LIST>"]),
        ("verify run --precision bf16", 2, &["bf16", "f32 or f64"]),
        ("completions ksh", 2, &["'ksh'", "zsh"]),
        ("demo --steps 0", 2, &["'0'", "1.."]),
        ("inspect", 2, &["<PATH>"]),
    ];
    refused(dir.path(), cases);
}

#[test]
fn what_no_machine_can_hold_is_an_error_and_no_crash() {
    let dir = fixture();
    let memory = ["GB of memory", "GB are available", "lower"];
    let absurd = ["more than any machine holds", "smaller"];
    let crop = "--set clip.crop=65535";
    let cases: &[(&str, i32, &[&str])] = &[
        (&format!("pretrain --data set --out q TINY {crop}"), 1, &memory),
        (&format!("pretrain --data set --out q TINY {crop} --set train.chunk=1"), 1, &memory),
        (&format!("pretrain --data set --out q TINY {crop} --dry-run"), 1, &memory),
        (&format!("pretrain --data set --out q TINY {crop} --set clip.frames=65535"), 2, &absurd),
        (&format!("features --checkpoint random:0 --preset small {crop} --data set --out f"), 1, &memory),
        (
            "features --checkpoint random:0 --preset small --data set --out f --set model.width=1000",
            2,
            &["width"],
        ),
        ("plan --backbone r3d18 --crop 4294967295 --frames 4294967295", 2, &absurd),
        ("plan --backbone c3d --clips 4294967295 --chunk 1", 2, &absurd),
    ];
    refused(dir.path(), cases);
}
