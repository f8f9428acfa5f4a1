//! Fine-tuning a tiny network on a device: like that of the CPU, the same again, and the same when stopped in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hdc::train::Checkpoint;

use crate::command::{TINY, hdc, synth};
use crate::hdc_on_device;
use crate::pretrain::{assert_close, figures};

/// At 16 pixels the map of block 5 has one place, which its norm makes zero.
const LARGER: &str = "--set clip.crop=32 --set clip.short_side=40";

fn line(out: &str, more: &str) -> String {
    format!(
        "finetune --from pre --data set --label motion --out {out} --steps 4 --set train.batch=4 \
         --set checkpoint.every=2 --set checkpoint.keep=9 {more}"
    )
}

fn pretrained(root: &Path) {
    synth(root, 10);
    hdc(root, &format!("pretrain --data set --out pre {TINY} {LARGER} --steps 1")).ok();
}

fn weights(run: &Path) -> BTreeMap<String, Vec<f32>> {
    let checkpoint = Checkpoint::load(&run.join("checkpoints/step-4.safetensors")).unwrap();
    checkpoint.state.weights.into_iter().map(|t| (t.name, t.data)).collect()
}

#[test]
fn steps_follow_those_of_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pretrained(root);
    for (name, more) in [("all", ""), ("layer", "--frozen"), ("chunks", "--set train.chunk=3")] {
        let Some(ended) =
            hdc_on_device(root, &line(&format!("{name}-gpu"), &format!("{more} --device cuda")))
        else {
            return;
        };
        ended.ok();
        hdc(root, &line(&format!("{name}-cpu"), more)).ok();
        let [gpu, cpu] = ["gpu", "cpu"].map(|place| root.join(format!("{name}-{place}")));
        for (figure, tolerance) in [("loss", 1e-4), ("accuracy", 0.0), ("grad_norm", 1e-3), ("l2", 1e-4)] {
            let what = format!("{figure} of {name}");
            assert_close(&what, &figures(&gpu, figure), &figures(&cpu, figure), tolerance);
        }
        if name == "layer" {
            let (before, after) = (weights(&cpu), weights(&gpu));
            for (name, values) in before.iter().filter(|(n, _)| n.starts_with("backbone.")) {
                assert_eq!(values, &after[name], "{name} moved");
            }
        }
    }
    // What a device trained is tested on either.
    let test = "test --checkpoint all-gpu --data set --json";
    let got = hdc_on_device(root, &format!("{test} --device cuda")).unwrap().json();
    let want = hdc(root, test).json();
    for figure in ["video_top1", "video_top5", "clip_top1"] {
        assert_eq!(got["splits"][0][figure], want["splits"][0][figure], "{figure}");
    }
}

#[test]
fn the_same_bits_twice_and_after_a_crash_in_bf16_too() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    pretrained(root);
    for precision in ["f32", "bf16"] {
        let run = |out: &str| {
            let more = format!("--device cuda --precision {precision}");
            hdc_on_device(root, &line(&format!("{out}-{precision}"), &more)).map(|ended| ended.ok())
        };
        if run("one").is_none() {
            return;
        }
        run("parts");
        let parts = root.join(format!("parts-{precision}"));
        let one = weights(&root.join(format!("one-{precision}")));
        assert_eq!(one, weights(&parts), "{precision}: other bits the second time");
        fs::remove_file(parts.join("checkpoints/step-4.safetensors")).unwrap();
        run("parts");
        assert_eq!(one, weights(&parts), "{precision}: other bits when resumed");
    }
}
