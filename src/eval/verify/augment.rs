//! Augmented clips against a golden file.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Group, compare};
use super::golden::GoldenFile;
use crate::Result;
use crate::ops::augment::Problem;
use crate::tensor::Real;
use crate::tensor::transform::{ClipTransform, ColourStep, Rect};

/// Compares in precision `T`; one group a case.
///
/// # Errors
/// A file that lacks something, or a transform that its clip does not allow.
pub(super) fn verify<T: Real>(file: &GoldenFile) -> Result<Vec<Group>> {
    let mut computed = BTreeMap::new();
    for case in file.meta["cases"].as_array().ok_or_else(|| file.lacks("cases"))? {
        let name = case["case"].as_str().ok_or_else(|| file.lacks("case"))?;
        let transform = transform(case).ok_or_else(|| file.lacks(&format!("{name} with a transform")))?;
        let (rgb, out) = (file.get(&format!("{name}/rgb"))?, file.get(&format!("{name}/out"))?);
        let (&[frames, height, width, 3], &[_, side, _, 3]) = (&rgb.shape[..], &out.shape[..]) else {
            return Err(file.lacks(&format!("{name} as frames × height × width × 3")));
        };
        let bytes: Vec<u8> = rgb.data.iter().map(|&v| v as u8).collect();
        let mut clip = vec![T::NAN; frames * side * side * 3];
        Problem::new(frames, height, width, side)?.run(&transform, &bytes, &mut clip)?;
        computed.insert(format!("{name}/out"), clip.iter().map(|v| v.to_f64()).collect());
    }
    let group = |name: &str| name.strip_suffix("/out").map(String::from);
    // In f32 as well: each element is a handful of roundings of a number within [0, 255].
    compare(file, &computed, group, |_| true, |_| 1e-6)
}

/// What a case does to its clip.
fn transform(case: &Value) -> Option<ClipTransform> {
    let [y, x, height, width] = [0, 1, 2, 3].map(|i| case["crop"][i].as_u64().map(|v| v as u32));
    let step = |v: &Value| {
        let factor = v[1].as_f64()? as f32;
        Some(match v[0].as_str()? {
            "Brightness" => ColourStep::Brightness(factor),
            "Contrast" => ColourStep::Contrast(factor),
            "Saturation" => ColourStep::Saturation(factor),
            "Hue" => ColourStep::Hue(factor),
            _ => return None,
        })
    };
    let colour = match case["colour"].as_array() {
        Some(steps) => Some(steps.iter().map(step).collect::<Option<Vec<_>>>()?.try_into().ok()?),
        None => None,
    };
    Some(ClipTransform {
        crop: Rect { y: y?, x: x?, height: height?, width: width? },
        flip: case["flip"].as_bool()?,
        colour,
        replicate: case["replicate"].as_u64().map(|c| c as u8),
    })
}
