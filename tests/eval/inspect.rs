//! What `inspect` says of things that are whole, and of weights that have diverged.

use super::*;
use hdc::train::Checkpoint;

#[test]
fn a_data_set_is_counted_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 16);
    let said = hdc(dir.path(), "inspect set --json").json();
    assert_eq!((&said["kind"], &said["intact"]), (&"shards".into(), &true.into()));
    let counts = ["videos", "frames", "shards", "warnings", "quarantined"].map(|k| said[k].as_u64().unwrap());
    assert_eq!(counts, [16, 192, 1, 0, 0]);
    assert_eq!(said["sizes"], serde_json::json!({"32×40": 16}));
    assert_eq!(said["lengths"], serde_json::json!([12, 12, 12]));
    for label in ["appearance", "motion"] {
        let classes = said["labels"][label].as_object().unwrap();
        assert_eq!(classes.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 16);
        assert_eq!(classes.len(), 8);
    }
    let bytes = std::fs::metadata(dir.path().join("set/shard-00000.tar")).unwrap().len();
    assert_eq!(said["bytes"], bytes);
    let text = hdc(dir.path(), "inspect set").ok();
    for part in ["16 videos, 192 frames", "label \"motion\", 8 classes", "made with seed = 1", "\nintact\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_run_and_its_checkpoints_are_described() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 12);
    hdc(dir.path(), &format!("pretrain --data set --out run {TINY} --steps 5 --set checkpoint.every=2")).ok();
    let said = hdc(dir.path(), "inspect run --json").json();
    assert_eq!((&said["kind"], &said["intact"]), (&"run".into(), &true.into()));
    assert_eq!([&said["steps_done"], &said["steps_planned"]], [5, 5]);
    let steps: Vec<_> = said["checkpoints"].as_array().unwrap().iter().map(|c| c["step"].as_u64()).collect();
    assert_eq!(steps, [Some(2), Some(4), Some(5)]);
    let metrics = std::fs::read_to_string(dir.path().join("run/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(said["last"], last);
    assert_eq!(said["config"]["model"]["width"], 0.03125);

    let file = "run/checkpoints/step-4.safetensors";
    let said = hdc(dir.path(), &format!("inspect {file} --json")).json();
    assert_eq!(
        (&said["kind"], &said["intact"], &said["finite"]),
        (&"checkpoint".into(), &true.into(), &true.into())
    );
    assert_eq!([&said["step"], &said["videos"], &said["videos_drawn"]], [4, 12, 16]);
    let weights = said["weights"].as_array().unwrap();
    let sizes =
        weights.iter().map(|w| w[1].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product::<u64>());
    assert_eq!(sizes.sum::<u64>(), said["parameters"].as_u64().unwrap());
    assert!(
        weights.iter().any(|w| w[0] == "backbone.conv1.weight" && w[1] == serde_json::json!([2, 3, 3, 3, 3]))
    );
    let text = hdc(dir.path(), "inspect run").ok();
    for part in ["5 steps done of 5", "c3d of width 0.03125", "step-4.safetensors intact", "\nintact\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn diverged_weights_are_not_intact_and_give_no_features() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 12);
    hdc(dir.path(), &format!("pretrain --data set --out run {TINY} --steps 1")).ok();
    let path = dir.path().join("run/checkpoints/step-1.safetensors");
    let mut checkpoint = Checkpoint::load(&path).unwrap();
    for tensor in &mut checkpoint.state.weights {
        tensor.data.fill(f32::NAN);
    }
    checkpoint.save(path.parent().unwrap()).unwrap();
    for what in ["run", "run/checkpoints/step-1.safetensors"] {
        let ended = hdc(dir.path(), &format!("inspect {what}"));
        assert!(ended.code == Some(1) && ended.err.contains("not finite"), "{ended:?}");
        assert!(ended.out.contains("NOT intact"), "{ended:?}");
    }
    let line = "features --checkpoint run --data set --out f --clips 1";
    hdc(dir.path(), line).refused(1, &["step-1", "v000000", "not finite", "earlier checkpoint"]);
    assert!(!dir.path().join("f").exists());
}
