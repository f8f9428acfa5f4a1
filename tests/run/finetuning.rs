//! Fine-tuning: what a checkpoint gives it, exact resumption, and what the test of its network says.

use std::collections::BTreeMap;

use super::*;
use hdc::data::Dataset;
use hdc::train::Checkpoint;
use serde_json::Value;

/// At 16 pixels the map of block 5 has one place, which its norm makes zero.
const LARGER: &str = "--set clip.crop=32 --set clip.short_side=40";
const STEPS: u64 = 12;

/// A data set of 18 videos, and a run of two steps of pretraining on it.
fn pretrained() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 18);
    hdc(dir.path(), &format!("pretrain --data set --out pre {TINY} {LARGER} --steps 2")).ok();
    dir
}

fn tune(from: &str, out: &str, more: &str) -> String {
    format!(
        "finetune --from {from} --data set --list set/trainlist.txt --label motion --out {out} --steps {STEPS} \
         --set train.batch=4 --set checkpoint.every=3 {more}"
    )
}

fn weights(run: &Path, step: u64) -> BTreeMap<String, Vec<f32>> {
    let checkpoint = Checkpoint::load(&checkpoint(run, step)).unwrap();
    checkpoint.state.weights.into_iter().map(|t| (t.name, t.data)).collect()
}

#[test]
fn a_run_that_was_killed_ends_as_one_that_was_not() {
    let dir = pretrained();
    hdc(dir.path(), &tune("pre", "whole", "")).ok();
    let whole = dir.path().join("whole");
    assert_eq!(records(&whole).len() as u64, STEPS);
    assert!(records(&whole).iter().all(|r| r.accuracy.is_some() && r.loss > 0.0 && r.loss_s5.is_none()));
    for (n, way) in
        ["--threads 1", "--threads 3 --set train.chunk=3", "--set train.chunk=1"].iter().enumerate()
    {
        let name = format!("killed-{n}");
        let run = dir.path().join(&name);
        for step in [1, 5, 8] {
            let mut child = start(&mut command::command(dir.path(), &tune("pre", &name, way)));
            wait_for(&run, step);
            child.kill().unwrap();
            finish(child);
        }
        hdc(dir.path(), &tune("pre", &name, "")).ok();
        assert_equal(&run, &whole);
    }
    hdc(dir.path(), &tune("pre", "other", "--seed 1")).ok();
    assert_ne!(records(&dir.path().join("other")), records(&whole));
}

#[test]
fn a_checkpoint_gives_its_backbone_network_and_clips_and_the_log_says_so() {
    let dir = pretrained();
    hdc(dir.path(), &tune("pre", "tuned", "--frozen")).ok();
    let run = dir.path().join("tuned");
    let (before, after) = (weights(&dir.path().join("pre"), 2), weights(&run, STEPS));
    let backbone = |w: &BTreeMap<String, Vec<f32>>| {
        w.iter()
            .filter(|(n, _)| n.starts_with("backbone."))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(backbone(&after), backbone(&before), "a frozen backbone stays what it was");
    let layer: Vec<_> = after.keys().filter(|n| !n.starts_with("backbone.")).collect();
    assert_eq!(layer, ["classifier.bias", "classifier.weight"]);
    assert!(after["classifier.bias"].iter().any(|&b| b != 0.0));

    let log = fs::read_to_string(run.join("log.txt")).unwrap();
    let line = log.lines().find(|l| l.contains("weights from")).unwrap();
    for part in
        ["pre/checkpoints/step-2.safetensors", "taken 24 (backbone.", "new 2 (classifier.", "left 18 (heads."]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
    let config = hdc::train::Config::load(&run.join("config.toml")).unwrap();
    assert_eq!((config.clip.crop, config.model.width), (32, 0.03125));
    let classify = config.classify.unwrap();
    assert!(classify.frozen && classify.start.starts_with("crc32c:") && classify.classes.len() > 1);
    assert!(classify.classes.is_sorted());

    // Trained, it moves.
    hdc(dir.path(), &tune("pre", "moved", "")).ok();
    assert_ne!(backbone(&weights(&dir.path().join("moved"), STEPS)), backbone(&before));
}

#[test]
fn what_is_not_the_same_fine_tuning_is_refused() {
    let dir = pretrained();
    let root = dir.path();
    hdc(root, &tune("pre", "tuned", "")).ok();
    hdc(root, &format!("pretrain --data set --out pre2 {TINY} {LARGER} --steps 2 --seed 5")).ok();
    for (line, parts) in [
        (tune("pre", "tuned", "--set optim.lr=0.02"), &["optim.lr", "other settings"][..]),
        (tune("pre2", "tuned", ""), &["classify.start"][..]),
        (tune("pre", "pre", ""), &["the run pretrains"][..]),
        (tune("pre", "x", "--set model.width=0.0625"), &["backbone", "another one", "model.width"][..]),
        (tune("pre", "x", "--set loss.tau=0.1"), &["loss.tau"][..]),
        (tune("none", "x", ""), &["none"][..]),
    ] {
        let ended = hdc(root, &line);
        assert!(ended.code == Some(1) || ended.code == Some(2), "{line}: {ended:?}");
        let code = ended.code.unwrap();
        ended.refused(code, parts);
        assert!(!root.join("x").exists(), "{line}");
    }
    let back = format!("pretrain --data set --out tuned {TINY} {LARGER} --steps 2");
    hdc(root, &back).refused(1, &["the run fine-tunes"]);
}

#[test]
fn every_figure_of_a_test_follows_from_its_predictions() {
    let dir = pretrained();
    let root = dir.path();
    hdc(root, &tune("pre", "tuned", "")).ok();
    let line = "test --checkpoint tuned --data set --list set/testlist.txt --out tested --json";
    let report = hdc(root, line).json();
    let split = &report["splits"][0];
    let text = fs::read_to_string(root.join("tested/predictions-1.jsonl")).unwrap();
    let predictions: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let list = fs::read_to_string(root.join("set/testlist.txt")).unwrap();
    assert_eq!(predictions.len(), list.lines().count(), "no video is dropped");
    let right = predictions.iter().filter(|p| p["right"].as_bool().unwrap()).count() as f64;
    let of = |v: &Value| v.as_f64().unwrap();
    assert_eq!(of(&split["video_top1"]), right / predictions.len() as f64);
    let top5 =
        predictions.iter().filter(|p| p["top"].as_array().unwrap().iter().any(|t| t["class"] == p["class"]));
    assert_eq!(of(&split["video_top5"]), top5.count() as f64 / predictions.len() as f64);
    for p in &predictions {
        assert_eq!(p["right"].as_bool().unwrap(), p["top"][0]["class"] == p["class"]);
        let sum: f64 = p["top"].as_array().unwrap().iter().map(|t| of(&t["p"])).sum();
        assert!(sum > 0.0 && sum <= 1.0 + 1e-9);
    }
    let confusion: Vec<Vec<u64>> = serde_json::from_value(split["confusion"].clone()).unwrap();
    let diagonal: u64 = (0..confusion.len()).map(|i| confusion[i][i]).sum();
    assert_eq!((diagonal as f64, confusion.concat().iter().sum::<u64>()), (right, predictions.len() as u64));
    let classes = split["classes"].as_array().unwrap();
    for (class, row) in classes.iter().zip(&confusion) {
        assert_eq!(class["videos"].as_u64().unwrap(), row.iter().sum::<u64>());
    }
    // 12 frames are one clip of 8, or three evenly spread; 5 crops each.
    assert_eq!((split["clips"].as_u64(), split["crops"].as_u64()), (Some(predictions.len() as u64), Some(5)));
    for file in ["report.json", "confusion-1.png"] {
        assert!(fs::metadata(root.join("tested").join(file)).unwrap().len() > 100, "{file}");
    }
    // The same however it is computed.
    for way in ["--threads 1 --chunk 1", "--threads 3 --chunk 5"] {
        assert_eq!(hdc(root, &format!("{line} {way}")).json(), report, "{way}");
    }
    let other = hdc(root, &format!("{line} --clips 3 --crops centre")).json();
    assert_eq!(other["splits"][0]["clips"].as_u64().unwrap(), 3 * predictions.len() as u64);
    assert_eq!(other["splits"][0]["crops"], 1);

    // Two splits, and their mean.
    let both = hdc(root, "test --checkpoint tuned --list set/testlist.txt --checkpoint tuned --list set/trainlist.txt --data set --json").json();
    let (a, b) = (of(&both["splits"][0]["clip_top1"]), of(&both["splits"][1]["clip_top1"]));
    assert!((of(&both["mean"]["clip_top1"]) - (a + b) / 2.0).abs() < 1e-12);
}

#[test]
fn a_test_that_makes_no_sense_is_one_clear_error() {
    let dir = pretrained();
    let root = dir.path();
    hdc(root, &tune("pre", "tuned", "")).ok();
    let first = fs::read_to_string(root.join("set/testlist.txt")).unwrap().lines().next().unwrap().to_owned();
    // A directory is a class of UCF101.
    fs::write(root.join("empty.txt"), "\n").unwrap();
    fs::write(root.join("absent.txt"), format!("{first}\nv009999.mp4\n")).unwrap();
    let test = |more: &str| hdc(root, &format!("test --data set {more}"));
    test("--checkpoint pre --list set/testlist.txt").refused(1, &["pretraining", "hdc finetune"]);
    test("--checkpoint tuned --list empty.txt").refused(1, &["empty.txt", "names no video"]);
    test("--checkpoint tuned --list absent.txt").refused(1, &["absent.txt", "v009999"]);
    test("--checkpoint tuned --list none.txt").refused(1, &["none.txt"]);
    test("--checkpoint tuned --checkpoint tuned --list set/testlist.txt")
        .refused(2, &["2 --checkpoint and 1 --list"]);
    // A network that knows two of the classes.
    let dataset = Dataset::open(root.join("set")).unwrap();
    let label =
        |name: &str| dataset.videos().map(|v| (v.labels[name].clone(), v.key.clone())).collect::<Vec<_>>();
    let motions = label("motion");
    let two: std::collections::BTreeSet<_> = motions.iter().map(|m| m.0.as_str()).take(2).collect();
    let some = |keep: &dyn Fn(&str) -> bool| -> String {
        motions.iter().filter(|m| keep(&m.0)).map(|m| format!("{}.mp4\n", m.1)).collect()
    };
    fs::write(root.join("two.txt"), some(&|m| two.contains(m))).unwrap();
    fs::write(root.join("others.txt"), some(&|m| !two.contains(m))).unwrap();
    fs::write(root.join("one.txt"), some(&|m| two.first() == Some(&m))).unwrap();
    let on_list = |list: &str, out: &str| {
        hdc(root, &tune("pre", out, "--set train.batch=1").replace("set/trainlist.txt", list))
    };
    on_list("two.txt", "knows-two").ok();
    test("--checkpoint knows-two --list others.txt")
        .refused(1, &["knows 2 classes", "are not among them", "such as"]);
    test("--checkpoint knows-two --list two.txt").ok();
    on_list("one.txt", "x").refused(1, &["have the same \"motion\""]);
    on_list("others.txt", "knows-two").refused(1, &["classify.classes", "other settings"]);
    hdc(root, &tune("pre", "x", "").replace("--label motion", "--label kind"))
        .refused(1, &["kind", "motion"]);
}
