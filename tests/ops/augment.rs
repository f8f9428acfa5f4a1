//! Augmentation.

use hdc::eval::selftest::augmentation::{self, draw};
use hdc::ops::augment::{CudaClip, Problem, reference};
use hdc::tensor::Real;
use hdc::tensor::random::Stream;
use hdc::tensor::transform::{ClipTransform, ColourStep, Rect};
use serde_json::Value;

use crate::data::{assert_close, assert_same_bits};
use crate::device::{PRECISIONS, device};
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
    let (t, rgb, want) = (transform(case.meta), case.bytes("rgb"), case.values("out"));
    assert_close(&label, &run::<T>(&p, out[1], &t, &rgb, out[0]), &want, 1e-6, 0.0);
    let mut specified = vec![T::NAN; want.len()];
    reference::run(&p, &t, &rgb, &mut specified);
    assert_close(&format!("{label} reference"), &specified, &want, 1e-6, 0.0);
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

const GUARD: usize = 16;

/// Runs on an output full of NaN between guards; fails unless all of it is written, within [−1, 1].
fn run<T: Real>(p: &Problem, side: usize, t: &ClipTransform, rgb: &[u8], frames: usize) -> Vec<T> {
    let mut all = vec![T::NAN; frames * side * side * 3 + 2 * GUARD];
    let end = all.len() - GUARD;
    p.run(t, rgb, &mut all[GUARD..end]).unwrap();
    let untouched = |v: &T| bytemuck::bytes_of(v) == bytemuck::bytes_of(&T::NAN);
    assert!(all[..GUARD].iter().chain(&all[end..]).all(untouched), "{t:?}: wrote outside its buffer");
    let out = all[GUARD..end].to_vec();
    let bad = out.iter().find(|v| !(-T::ONE..=T::ONE).contains(*v));
    assert!(bad.is_none(), "{t:?}: {bad:?} is not within [−1, 1]");
    out
}

fn bytes(name: &str, n: usize) -> Vec<u8> {
    let mut stream = Stream::new(name, 1);
    (0..n).map(|_| stream.next_below(256) as u8).collect()
}

fn drawn<T: Real>(side: usize, cases: u64, tolerance: f64) {
    let (frames, height, width) = (2, 37, 150);
    let rgb = bytes("clip", frames * height * width * 3);
    let p = Problem::new(frames, height, width, side).unwrap();
    for seed in 0..cases {
        let t = draw(&mut Stream::new("transform", seed).fork(side as u64), height, width);
        let got: Vec<T> = run(&p, side, &t, &rgb, frames);
        let mut want = vec![f64::NAN; got.len()];
        reference::run(&p, &t, &rgb, &mut want);
        assert_close(&format!("side {side} {:?} seed={seed} {t:?}", T::DTYPE), &got, &want, tolerance, 1.0);
    }
}

#[test]
fn agrees_with_its_specification_whatever_is_drawn() {
    // Tails of a run of pixels, and outputs wider than one.
    for (side, cases) in [(1, 40), (2, 40), (17, 40), (48, 40), (112, 10), (128, 10), (131, 10), (260, 4)] {
        drawn::<f64>(side, cases, 1e-12);
        // A hue is a quotient of differences of rounded values.
        drawn::<f32>(side, cases, 2e-6);
    }
}

fn plain(height: u32, width: u32) -> ClipTransform {
    ClipTransform { crop: Rect { y: 0, x: 0, height, width }, flip: false, colour: None, replicate: None }
}

/// A clip of 2×9×14, the transform that keeps it whole, and the problem that resizes it to 11×11.
fn small() -> (Problem, ClipTransform, Vec<u8>) {
    (Problem::new(2, 9, 14, 11).unwrap(), plain(9, 14), bytes("small", 2 * 9 * 14 * 3))
}

#[test]
fn every_byte_arrives_exactly_when_nothing_is_to_be_done() {
    let rgb: Vec<u8> = (0..16 * 16 * 3).map(|i| (i % 256) as u8).collect();
    let p = Problem::new(1, 16, 16, 16).unwrap();
    let got = run::<f32>(&p, 16, &plain(16, 16), &rgb, 1);
    let want: Vec<f32> = rgb.iter().map(|&v| f32::from(v) / 127.5 - 1.0).collect();
    assert_same_bits("identity", &got, &want);
}

#[test]
fn flipping_mirrors_each_row() {
    let (p, t, rgb) = small();
    let straight = run::<f32>(&p, 11, &t, &rgb, 2);
    let flipped = run::<f32>(&p, 11, &ClipTransform { flip: true, ..t }, &rgb, 2);
    assert_ne!(straight, flipped);
    let mirror = |v: &[f32]| -> Vec<f32> {
        v.chunks_exact(33).flat_map(|row| row.chunks_exact(3).rev().flatten().copied()).collect()
    };
    assert_same_bits("mirrored", &mirror(&flipped), &straight);
}

#[test]
fn frames_are_transformed_alike_and_only_contrast_joins_them() {
    let (p, t, rgb) = small();
    let one = Problem::new(1, 9, 14, 11).unwrap();
    let steps = [0.8, 1.3, 0.7].map(ColourStep::Brightness);
    let apart = [steps[0], ColourStep::Saturation(1.4), ColourStep::Hue(0.2), steps[1]];
    let joined = [steps[0], ColourStep::Contrast(0.5), ColourStep::Hue(0.2), steps[1]];
    for (colour, same) in [(apart, true), (joined, false)] {
        let t = ClipTransform { colour: Some(colour), ..t };
        let both = run::<f32>(&p, 11, &t, &rgb, 2);
        let each: Vec<f32> =
            rgb.chunks_exact(9 * 14 * 3).flat_map(|frame| run::<f32>(&one, 11, &t, frame, 1)).collect();
        assert_eq!(both == each, same, "{colour:?}");
    }
}

#[test]
fn colour_steps_have_the_effects_of_their_names() {
    use ColourStep::{Brightness, Contrast, Hue, Saturation};
    let (p, t, rgb) = small();
    let before = run::<f64>(&p, 11, &t, &rgb, 2);
    let with =
        |colour: [ColourStep; 4]| run::<f64>(&p, 11, &ClipTransform { colour: Some(colour), ..t }, &rgb, 2);
    let idle = Brightness(1.0);
    assert_close("idle", &with([idle, Contrast(1.0), Saturation(1.0), Hue(0.0)]), &before, 1e-12, 0.0);
    assert_close("hue there and back", &with([Hue(0.3), Hue(-0.3), Hue(0.5), Hue(0.5)]), &before, 1e-12, 0.0);
    assert!(with([Brightness(0.0), idle, idle, idle]).iter().all(|&v| v == -1.0));
    for pixel in with([idle, Saturation(0.0), idle, idle]).chunks_exact(3) {
        assert!(pixel[0] == pixel[1] && pixel[1] == pixel[2], "{pixel:?} is not grey");
    }

    // The mean of the whole clip, in (T, H, W, 3).
    let grey = |v: &[f64]| 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
    let mean = before.chunks_exact(3).map(grey).sum::<f64>() / (before.len() / 3) as f64;
    let flat = with([Contrast(0.0), idle, idle, idle]);
    assert_close("no contrast", &flat, &vec![mean; flat.len()], 1e-12, 0.0);
    // Grey keeps its mean when contrast falls (nothing is cut off).
    let less = with([Contrast(0.5), idle, idle, idle]);
    let mean_less = less.chunks_exact(3).map(grey).sum::<f64>() / (less.len() / 3) as f64;
    assert!((mean_less - mean).abs() < 1e-12, "{mean_less} instead of {mean}");
}

#[test]
fn replication_copies_the_channel_that_it_names() {
    let (p, t, rgb) = small();
    let before = run::<f32>(&p, 11, &t, &rgb, 2);
    for channel in 0..3 {
        let got = run::<f32>(&p, 11, &ClipTransform { replicate: Some(channel), ..t }, &rgb, 2);
        let want: Vec<f32> =
            before.chunks_exact(3).flat_map(|pixel| [pixel[usize::from(channel)]; 3]).collect();
        assert_same_bits(&format!("channel {channel}"), &got, &want);
    }
}

#[test]
fn a_device_agrees_with_the_specification_whatever_is_drawn() {
    let Some(device) = device() else { return };
    for precision in PRECISIONS {
        for (side, clips) in augmentation::SIDES {
            augmentation::check(&device, precision, side, clips).unwrap();
        }
    }
}

#[test]
fn a_device_refuses_what_the_cpu_refuses() {
    let p = Problem::new(2, 9, 14, 11).unwrap();
    let outside = ClipTransform { crop: Rect { y: 1, x: 0, height: 9, width: 14 }, ..plain(9, 14) };
    assert!(CudaClip::new(&p, &outside, 0).unwrap_err().to_string().contains("crop"));
    let large = Problem::new(1, 9, 14, 5000).unwrap();
    assert!(CudaClip::new(&large, &plain(9, 14), 0).unwrap_err().to_string().contains("5000"));
}
