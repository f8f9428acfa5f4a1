//! Augmentation.

use hdc::ops::augment::Problem;
use hdc::tensor::Real;
use hdc::tensor::transform::{ClipTransform, ColourStep, Rect};
use serde_json::Value;

use crate::data::assert_close;
use crate::golden::{self, Case};

fn transform(meta: &Value) -> ClipTransform {
    let crop = |i: usize| meta["crop"][i].as_u64().unwrap() as u32;
    let step = |v: &Value| {
        let f = v[1].as_f64().unwrap() as f32;
        match v[0].as_str().unwrap() {
            "Brightness" => ColourStep::Brightness(f),
            "Contrast" => ColourStep::Contrast(f),
            "Saturation" => ColourStep::Saturation(f),
            "Hue" => ColourStep::Hue(f),
            other => panic!("colour step {other}"),
        }
    };
    ClipTransform {
        crop: Rect { y: crop(0), x: crop(1), height: crop(2), width: crop(3) },
        flip: meta["flip"].as_bool().unwrap(),
        colour: meta["colour"].as_array().map(|steps| std::array::from_fn(|i| step(&steps[i]))),
        replicate: meta["replicate"].as_u64().map(|c| c as u8),
    }
}

fn golden_case<T: Real>(case: &Case) {
    let label = format!("augment {} {:?}", case.name, T::DTYPE);
    let (rgb, out) = (case.shape("rgb"), case.shape("out"));
    let p = Problem::new(rgb[0], rgb[1], rgb[2], out[1]).unwrap();
    let mut got = vec![T::NAN; out.iter().product()];
    p.run(&transform(case.meta), &case.bytes("rgb"), &mut got).unwrap();
    assert_close(&label, &got, &case.values("out"), 1e-6, 0.0);
}

#[test]
fn agrees_with_pytorch_and_colorsys() {
    let cases = golden::augment_cases();
    assert_eq!(cases.len(), 8);
    for case in cases {
        golden_case::<f64>(&case);
        golden_case::<f32>(&case);
    }
}
