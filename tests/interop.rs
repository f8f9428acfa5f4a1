//! A checkpoint and a feature file in plain PyTorch and NumPy, by `tools/torch_checkpoint.py`. Where Python has no PyTorch
//! the test says that it was skipped. `HDC_PYTHON` names another Python than `python3`.

mod command;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use command::hdc;
use hdc::data::evaluate::{Clips, read_clips};
use hdc::data::{Dataset, FrameReader};
use hdc::train::Checkpoint;

/// Relative L2 in f32, through networks with 8 to 18 layers of instance norm.
const LIMIT: f64 = 1e-5;

fn python() -> Option<String> {
    let name = std::env::var("HDC_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&name).args(["-c", "import torch, numpy, tomllib"]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(name);
    }
    std::io::stderr().write_all(b"skipped: no PyTorch (interop)\n").unwrap();
    None
}

/// Writes u8 numbers as NumPy's format 1.0.
fn write_npy(path: &Path, shape: &[usize], data: &[u8]) {
    assert_eq!(shape.iter().product::<usize>(), data.len());
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 11;
    header = format!("{header:padded$}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

#[test]
fn plain_pytorch_gives_the_features_of_a_checkpoint() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    hdc(root, "synth set --videos 3 --frames 20 --size 80 --seed 1").ok();
    let set = Dataset::open(root.join("set")).unwrap();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/torch_checkpoint.py");
    for (backbone, block, pool) in
        [("c3d", 5, "vcop"), ("r3d18", 5, "vcop"), ("r21d10", 5, "vcop"), ("r21d10", 3, "savg")]
    {
        let run = format!("{backbone}-{block}");
        let settings = "--preset small --set model.width=0.0625 --set clip.frames=16 --set clip.stride=1 \
                        --set clip.crop=64 --set clip.short_side=73 --set train.batch=2 --steps 1";
        hdc(root, &format!("pretrain --data set --out {run} --set model.backbone=\"{backbone}\" {settings}"))
            .ok();
        let file = format!("{run}/checkpoints/step-1.safetensors");
        hdc(
            root,
            &format!(
                "features --checkpoint {file} --data set --clips 2 --block {block} --pool {pool} --out f"
            ),
        )
        .ok();

        let clip = Checkpoint::load(&root.join(&file)).unwrap().config.clip;
        let (mut reader, mut frames, mut shape) = (FrameReader::default(), Vec::new(), Vec::new());
        for video in 0..set.len() {
            let windows = read_clips(&mut reader, &set, video, Clips::Spread(2), &clip).unwrap();
            shape = vec![set.len(), windows.len(), windows[0].frames, windows[0].height, windows[0].width, 3];
            frames.extend(windows.iter().flat_map(|w| &w.rgb));
        }
        write_npy(&root.join("frames.npy"), &shape, &frames);
        let output = Command::new(&python)
            .arg(&tool)
            .args([&file, "frames.npy", "f"])
            .current_dir(root)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let error: f64 = said.trim().strip_prefix("relative L2 ").expect("one line").parse().unwrap();
        println!("{backbone}, block {block}, {pool}: relative L2 {error:.1e}");
        assert!(error < LIMIT, "{backbone}, block {block}, {pool}: relative L2 {error:e}");
    }
}
