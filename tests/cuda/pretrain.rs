//! Runs of a tiny network: like those of the CPU, the same again, and the same when stopped in between.

use std::fs;
use std::path::Path;

use crate::command::{TINY, hdc, synth};
use crate::{hdc_on_device, tiny};

/// A figure of every step of a run.
pub fn figures(run: &Path, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records.map(|r| r[name].as_f64().unwrap_or_else(|| panic!("{name} in {r}"))).collect()
}

fn weights(run: &Path, step: u64) -> Vec<u8> {
    fs::read(run.join(format!("checkpoints/step-{step}.safetensors"))).unwrap()
}

pub fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (step, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs(), "{what} of step {}: {g} instead of {w}", step + 1);
    }
}

#[test]
fn five_steps_follow_those_of_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    // So narrow, R(2+1)D-10 is chaotic at larger rates: a value that rounds to the other side of a ReLU moves its gradient by a
    // thousandth, and the next losses by as much. At that of the golden files it is not.
    for (backbone, lr) in [("c3d", 0.1), ("r3d18", 0.1), ("r21d10", 1e-4)] {
        let run = format!("--steps 5 --set model.backbone={backbone} --set optim.lr={lr}");
        let Some(ended) = hdc_on_device(root, &tiny(&format!("{backbone}-gpu"), &run)) else { return };
        ended.ok();
        hdc(root, &format!("pretrain --data set --out {backbone}-cpu {TINY} {run}")).ok();
        let [gpu, cpu] = ["gpu", "cpu"].map(|place| root.join(format!("{backbone}-{place}")));
        for figure in ["loss", "grad_norm", "l2", "lr"] {
            let tolerance = if figure == "grad_norm" { 1e-3 } else { 1e-4 };
            assert_close(
                &format!("{figure} of {backbone}"),
                &figures(&gpu, figure),
                &figures(&cpu, figure),
                tolerance,
            );
        }
    }
}

#[test]
fn a_run_in_bf16_is_near_and_learns_the_same_way() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    let Some(ended) = hdc_on_device(root, &tiny("half", "--steps 3 --precision bf16")) else { return };
    ended.ok();
    hdc_on_device(root, &tiny("full", "--steps 3")).unwrap().ok();
    let [half, full] = ["half", "full"].map(|run| figures(&root.join(run), "loss"));
    assert_close("loss", &half, &full, 0.05);
    assert_ne!(half, full, "bf16 rounds");
}

#[test]
fn the_same_seed_gives_the_same_bits_and_a_resumed_run_too() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    for precision in ["f32", "bf16"] {
        let run = |out: &str, steps: u64| {
            let more = format!(
                "--steps {steps} --precision {precision} --set checkpoint.every=2 --set checkpoint.keep=9"
            );
            hdc_on_device(root, &tiny(out, &more)).map(|ended| ended.ok())
        };
        let [one, again, parts] = ["one", "again", "parts"].map(|out| format!("{out}-{precision}"));
        if run(&one, 4).is_none() {
            return;
        }
        run(&again, 4);
        run(&parts, 4);
        let checkpoints = root.join(&parts).join("checkpoints");
        let last = weights(&root.join(&one), 4);
        assert!(last == weights(&root.join(&again), 4), "{precision}: other bits the second time");
        // Back to step 2, as after a crash.
        for entry in fs::read_dir(&checkpoints).unwrap().flatten() {
            if entry.file_name() != "step-2.safetensors" {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        run(&parts, 4);
        assert!(last == weights(&root.join(&parts), 4), "{precision}: other bits when resumed");
    }
}

#[test]
fn chunks_change_no_more_than_the_order_of_sums() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 8);
    let Some(ended) = hdc_on_device(root, &tiny("whole", "--steps 3")) else { return };
    ended.ok();
    // 12 clips: three chunks with a tail, and one clip at a time.
    for chunk in [5, 1] {
        let out = format!("chunks-{chunk}");
        hdc_on_device(root, &tiny(&out, &format!("--steps 3 --set train.chunk={chunk}"))).unwrap().ok();
        let (got, want) = (figures(&root.join(&out), "loss"), figures(&root.join("whole"), "loss"));
        assert_eq!(got[0], want[0], "the first loss has seen no gradient, and no sum over clips");
        assert_close(&out, &got, &want, 1e-5);
    }
}

#[test]
fn features_are_those_of_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 6);
    let line = format!(
        "features --checkpoint random:3 {} --data set --clips 2 --json",
        TINY.replace(" --set train.batch=4", "")
    );
    let Some(ended) = hdc_on_device(root, &format!("{line} --out gpu.safetensors --device cuda")) else {
        return;
    };
    ended.ok();
    hdc(root, &format!("{line} --out cpu.safetensors")).ok();
    let read = |name: &str| {
        let bytes = fs::read(root.join(name)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor("embeddings").unwrap().data().to_vec();
        data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect::<Vec<f64>>()
    };
    let (got, want) = (read("gpu.safetensors"), read("cpu.safetensors"));
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let difference: Vec<_> = got.iter().zip(&want).map(|(a, b)| a - b).collect();
    assert!(norm(&difference) <= 1e-5 * norm(&want), "{} of {}", norm(&difference), norm(&want));
}
