//! Augmentation of whatever clips are drawn.

use std::sync::Arc;

use super::subject::{Fault, round, run};
use super::values::{close, fault, holding, unpacked, wide};
use crate::device::Device;
use crate::ops::Precision;
use crate::ops::augment::{self, CudaClip};
use crate::tensor::random::Stream;
use crate::tensor::transform::{ClipTransform, ColourStep, Rect};

/// Sides of the output, and clips of each: one pixel, and tails of every run of pixels.
pub const SIDES: [(usize, u64); 4] = [(1, 8), (17, 24), (48, 12), (131, 4)];

/// A transform of a frame of this size, every part of it drawn.
pub fn draw(stream: &mut Stream, height: usize, width: usize) -> ClipTransform {
    let mut span = |extent: usize| {
        let len = 1 + stream.next_below(extent as u64);
        (stream.next_below(extent as u64 - len + 1) as u32, len as u32)
    };
    let ((y, height), (x, width)) = (span(height), span(width));
    let steps = |stream: &mut Stream| {
        let mut factor = |low, high| stream.next_in(low, high) as f32;
        let mut steps = [
            ColourStep::Brightness(factor(0.0, 2.0)),
            ColourStep::Contrast(factor(0.0, 2.0)),
            ColourStep::Saturation(factor(0.0, 2.0)),
            ColourStep::Hue(factor(-0.5, 0.5)),
        ];
        for i in (1..4).rev() {
            steps.swap(i, stream.next_below(i as u64 + 1) as usize);
        }
        if stream.next_bool(0.2) {
            steps[0] = steps[3]; // may be a second contrast
        }
        steps
    };
    ClipTransform {
        crop: Rect { y, x, height, width },
        flip: stream.next_bool(0.5),
        colour: stream.next_bool(0.8).then(|| steps(stream)),
        replicate: stream.next_bool(0.4).then(|| stream.next_below(3) as u8),
    }
}

/// Many clips of windows of two sizes in one launch.
///
/// # Errors
/// What does not hold, or what the device says.
pub fn check(device: &Arc<Device>, precision: Precision, side: usize, clips: u64) -> Result<(), Fault> {
    const OFFSET: usize = 3; // aligned to nothing
    let frames = 2;
    let mut windows = Vec::new();
    let mut staged = vec![7; OFFSET];
    for extents @ (height, width) in [(37, 150), (64, 41)] {
        let mut stream = Stream::new("clip", 1);
        let rgb: Vec<u8> = (0..frames * height * width * 3).map(|_| stream.next_below(256) as u8).collect();
        let problem = augment::Problem::new(frames, height, width, side).map_err(fault)?;
        windows.push((problem, extents, staged.len(), rgb.clone()));
        staged.extend(rgb);
    }
    let drawn: Vec<_> = (0..clips)
        .map(|seed| {
            let window = &windows[seed as usize % 2];
            let (height, width) = window.1;
            (window, draw(&mut Stream::new("device", seed).fork(side as u64), height, width))
        })
        .collect();
    let table: Vec<CudaClip> = drawn
        .iter()
        .map(|((problem, _, at, _), t)| CudaClip::new(problem, t, *at))
        .collect::<crate::Result<_>>()
        .map_err(fault)?;
    let (table, staged) = (holding(device, &table)?, holding(device, &staged)?);
    let clip = frames * side * side;
    let out = holding(device, &vec![0xFF_u8; drawn.len() * clip * 4 * precision.size()])?;
    let extents = [drawn.len(), frames, side];
    let launch = augment::launch(precision, extents, table.address(), staged.address(), out.address());
    run(device, &[launch.into()])?;
    let got = unpacked(&out, 4, precision, drawn.len() * clip * 4)?;
    for (((problem, .., rgb), t), got) in drawn.iter().zip(got.chunks_exact(clip * 4)) {
        let label = format!("augment side {side} {precision:?} {t:?}");
        if got.chunks_exact(4).any(|pixel| pixel[3] != 0.0) {
            return Err(format!("{label}: a fourth channel"));
        }
        let got: Vec<f32> = got.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        let mut want = vec![f64::NAN; got.len()];
        augment::reference::run(problem, t, rgb, &mut want);
        let rounding = want.iter().map(|&v| (round(precision, v) - v).powi(2)).sum::<f64>().sqrt();
        let norm = want.iter().map(|v| v * v).sum::<f64>().sqrt().max(1.0);
        close(&label, &wide(&got), &want, 2e-6 + 1.5 * rounding / norm, 1.0)?;
    }
    Ok(())
}
