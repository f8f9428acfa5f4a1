//! What `hdc verify` runs, over every golden file of the repository; and that it fails when it should.

use std::path::{Path, PathBuf};

use hdc::Result;
use hdc::eval::verify::{Report, verify};
use hdc::tensor::Dtype;
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("manifest.json")).unwrap()).unwrap()
}

/// Names of all golden files.
fn files() -> Vec<String> {
    let names = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|n| n.ends_with(".safetensors")).collect();
    names.sort();
    assert_eq!(
        names,
        ["augment", "classifier_c3d", "ops", "small_c3d", "small_r21d10", "small_r3d18"]
            .map(|n| format!("{n}.safetensors"))
    );
    names
}

/// Groups of a network's file, and those of its tensors that no group holds.
const NETWORK: [&str; 6] = ["after3", "feat", "grad", "loss", "proj", "slot"];
/// The same of a file of fine-tuning.
const CLASSIFIER: [&str; 5] = ["after3", "grad", "logits", "loss", "pooled"];

/// Fails unless every tensor of the file that is a result belongs to a group of the report.
fn assert_complete(name: &str, report: &Report) {
    let bytes = std::fs::read(folder().join(name)).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let groups: Vec<_> = report.groups.iter().map(|g| g.name.as_str()).collect();
    let compared: usize = report.groups.iter().map(|g| g.tensors).sum();
    let classifier = name.starts_with("classifier_");
    if classifier || name.starts_with("small_") {
        assert_eq!(groups, if classifier { &CLASSIFIER[..] } else { &NETWORK[..] }, "{name}");
        let input = |n: &&&str| ["input", "param", "labels", "masks"].contains(&n.split('.').next().unwrap());
        assert_eq!(compared + stored.names().iter().filter(input).count(), stored.len(), "{name}");
    } else {
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let meta: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["hdc"]).unwrap();
        for case in meta["cases"].as_array().unwrap() {
            assert!(groups.contains(&case["case"].as_str().unwrap()), "{name}: {case} is not compared");
        }
    }
}

#[test]
fn every_file_holds_in_f64() {
    for name in files() {
        let report = verify(&folder().join(&name), Dtype::F64).unwrap();
        assert_complete(&name, &report);
        for group in &report.groups {
            assert!(group.passes() && group.rel_l2 <= 1e-6 && group.tensors > 0, "{name}: {group:?}");
            // No single tensor hides behind a larger one.
            assert!(group.worst <= 1e-6, "{name}: {group:?}");
        }
    }
}

#[test]
fn networks_in_f32_come_within_three_times_pytorch_and_the_rest_within_rounding() {
    let manifest = manifest();
    for name in files() {
        let report = verify(&folder().join(&name), Dtype::F32).unwrap();
        assert_complete(&name, &report);
        let pytorch = &manifest["files"][&name]["torch_vs_fp64"]["fp32"];
        let network = name.starts_with("small_") || name.starts_with("classifier_");
        assert_eq!(pytorch.is_object(), network, "{name}");
        for group in &report.groups {
            let limit = match pytorch[&group.name]["group_rel_l2"].as_f64() {
                Some(theirs) => 3.0 * theirs,
                None => 2e-6,
            };
            assert!(group.passes() && group.rel_l2 <= limit, "{name}: {group:?}, limit {limit:.1e}");
        }
    }
}

/// The file's tensors with one of them changed or left out, in a file of its own.
fn altered(name: &str, tensor: &str, change: impl FnOnce(&mut [u8]) -> bool) -> tempfile::NamedTempFile {
    let bytes = std::fs::read(folder().join(name)).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let mut data = stored.tensor(tensor).unwrap().data().to_vec();
    let kept = change(&mut data);
    let mut tensors = stored.tensors();
    tensors.retain(|(n, _)| kept || n != tensor);
    for (n, view) in &mut tensors {
        if n == tensor {
            *view = TensorView::new(view.dtype(), view.shape().to_vec(), &data).unwrap();
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::serialize_to_file(tensors, header.metadata().clone(), file.path()).unwrap();
    file
}

/// Doubles the first number of an `f32` tensor that is not 0.
fn double(data: &mut [u8]) -> bool {
    let number = data.chunks_exact_mut(4).find(|b| b.iter().any(|&b| b != 0)).unwrap();
    let doubled = 2.0 * f32::from_le_bytes(number.try_into().unwrap());
    number.copy_from_slice(&doubled.to_le_bytes());
    true
}

/// Names of the groups that miss.
fn misses(file: &Path) -> Vec<String> {
    let report = verify(file, Dtype::F64).unwrap();
    report.groups.iter().filter(|g| !g.passes()).map(|g| g.name.clone()).collect()
}

#[test]
fn a_wrong_expectation_misses_in_its_group_alone() {
    for tensor in [
        "after3.heads.t5.bias",
        "feat.s.4",
        "grad.backbone.block3.convd.temporal.weight",
        "loss.step",
        "proj.t.3",
        "slot.o.5",
    ] {
        let file = altered("small_r21d10.safetensors", tensor, double);
        assert_eq!(misses(file.path()), [tensor.split('.').next().unwrap()], "{tensor}");
    }
    for (case, tensor) in [
        ("conv/k3_wide", "dw"),
        ("norm/odd", "dres_add_relu"),
        ("maxpool/p222_ties", "y"),
        ("avgpool/3x8x1x4x4", "dx3d"),
        ("linear/1x5x3", "db"),
        ("infonce/b33", "loss"),
        ("slot_infonce/b7t8", "da"),
        ("heads", "grad.s4.weight"),
        ("sgd/paper", "b"),
    ] {
        let file = altered("ops.safetensors", &format!("{case}/{tensor}"), double);
        assert_eq!(misses(file.path()), [case], "{tensor}");
    }
    for tensor in ["after3.backbone.conv1.weight", "grad.classifier.bias", "logits", "loss.step", "pooled"] {
        let file = altered("classifier_c3d.safetensors", tensor, double);
        assert_eq!(misses(file.path()), [tensor.split('.').next().unwrap()], "{tensor}");
    }
    let file = altered("augment.safetensors", "hue_first/out", double);
    assert_eq!(misses(file.path()), ["hue_first"]);
}

#[test]
fn a_wrong_weight_or_clip_misses_wherever_it_takes_part() {
    // A weight of the last block changes nothing before it, but the losses and so all gradients.
    for (tensor, groups) in [
        ("input.s", &NETWORK[..]),
        ("param.backbone.stem.spatial.weight", &NETWORK[..]),
        ("param.backbone.block5.conv2.temporal.weight", &NETWORK[..]),
        ("param.heads.t5.weight", &["after3", "grad", "loss", "proj"]),
    ] {
        let file = altered("small_r21d10.safetensors", tensor, double);
        assert_eq!(misses(file.path()), groups, "{tensor}");
    }
    // Dropout and the class of a clip change what follows the pooling, and what flows back.
    for (tensor, groups) in [("masks", &CLASSIFIER[..4]), ("param.classifier.weight", &CLASSIFIER[..4])] {
        let file = altered("classifier_c3d.safetensors", tensor, double);
        assert_eq!(misses(file.path()), groups, "{tensor}");
    }
    let file = altered("augment.safetensors", "plain/rgb", |data| {
        data.iter_mut().for_each(|b| *b ^= 8);
        true
    });
    assert_eq!(misses(file.path()), ["plain"]);
}

fn refusal(result: Result<Report>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    assert!(message.contains("help: "), "{message}");
}

#[test]
fn a_missing_tensor_is_an_error_that_names_it() {
    for (name, tensors) in [
        ("small_c3d.safetensors", &["input.t", "grad.heads.o3.weight", "slot.s.4", "loss.total"][..]),
        ("ops.safetensors", &["conv/k1/x", "conv/k1/w", "conv/k1/dw", "heads/total", "sgd/paper/gw"][..]),
        ("classifier_c3d.safetensors", &["labels", "masks", "input", "grad.classifier.weight"][..]),
        ("augment.safetensors", &["plain/rgb", "plain/out"][..]),
    ] {
        for tensor in tensors {
            let file = altered(name, tensor, |_| false);
            let path = file.path().to_str().unwrap();
            refusal(verify(file.path(), Dtype::F64), &[path, &format!("has no {tensor:?}")]);
        }
    }
}

#[test]
fn a_damaged_file_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.safetensors");
    let bytes = std::fs::read(folder().join("small_c3d.safetensors")).unwrap();
    let name = path.to_str().unwrap();
    for len in [0, 7, 8, 1000, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        refusal(verify(&path, Dtype::F64), &[name]);
    }
    std::fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    refusal(verify(&path, Dtype::F64), &[name]);
    std::fs::remove_file(&path).unwrap();
    refusal(verify(&path, Dtype::F64), &["cannot read", name]);

    let whole = folder().join("ops.safetensors");
    refusal(verify(&whole, Dtype::Bf16), &["bf16"]);
}

#[test]
fn the_command_exits_with_1_on_a_miss_and_reports_it() {
    let run = |file: &Path| {
        let mut hdc = std::process::Command::new(env!("CARGO_BIN_EXE_hdc"));
        let out = hdc.args(["verify", "--json"]).arg(file).output().unwrap();
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        (out.status.code(), report["passed"].as_bool(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, passed, _) = run(&folder().join("augment.safetensors"));
    assert_eq!((code, passed), (Some(0), Some(true)));
    let wrong = altered("augment.safetensors", "plain/out", double);
    let (code, passed, message) = run(wrong.path());
    assert_eq!((code, passed), (Some(1), Some(false)));
    assert!(message.contains("1 groups are over their limit"), "{message}");
}
