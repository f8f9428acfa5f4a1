//! From decoded frames to what the network sees: crop, bilinear resize, flip, colour jittering, channel
//! replication, `x/127.5 − 1` (SPEC: one draw a clip, the same on all frames). Colour steps follow
//! torchvision's `functional` on float images, values kept within [0, 255] after each; the grey of contrast
//! is the mean of the whole clip.
//!
//! One clip at a time; the caller runs clips in parallel.

mod cpu;
mod cuda;
mod planes;
pub mod reference;

use super::Cost;
use crate::tensor::Real;
use crate::tensor::transform::{ClipTransform, ColourStep};
use crate::{Error, Result};

pub use cuda::{CudaClip, launch};

/// Weights of red, green and blue in a pixel's grey (ITU-R BT.601). They add up to 1, so that grey stays grey
/// (torchvision's 0.2989 would darken it a little).
const GREY: [f64; 3] = [0.299, 0.587, 0.114];

/// Extents of one clip, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    frames: usize,
    height: usize,
    width: usize,
    side: usize,
}

impl Problem {
    /// From `frames` of `height`×`width` RGB to as many of `side`×`side`.
    ///
    /// # Errors
    /// An extent of 0, or more elements than memory can address.
    pub fn new(frames: usize, height: usize, width: usize, side: usize) -> Result<Self> {
        let fault = |hint: &str| {
            let what = format!("{frames} frames of {height}×{width} to {side}×{side}");
            Err(Error::shape("augment", what, hint))
        };
        if [frames, height, width, side].contains(&0) {
            return fault("every extent must be at least 1");
        }
        let fits = |height: usize, width: usize| {
            let elements = [frames, height, width, 3 * size_of::<f64>()]
                .into_iter()
                .try_fold(1_usize, |product, extent| product.checked_mul(extent));
            elements.is_some_and(|n| isize::try_from(n).is_ok())
        };
        if !fits(height, width) || !fits(side, side) {
            return fault("give extents that fit in memory");
        }
        Ok(Self { frames, height, width, side })
    }

    /// Arithmetic of resizing and scaling (three interpolations and a scaling a channel), and the elements
    /// of the output; the bytes of the source are not counted. Colour steps come on top.
    pub fn cost(&self) -> Cost {
        let pixels = (self.frames * self.side * self.side) as u64;
        Cost { flops: pixels * 33, elements: pixels * 3 }
    }

    /// Applies `transform` to `rgb`, (T, H, W, 3), and writes `out`, (T, side, side, 3).
    ///
    /// # Errors
    /// A crop outside the frame, a channel beyond 2, a colour factor that is negative or not finite, or
    /// buffers of other sizes; nothing is written then.
    pub fn run<T: Real>(&self, transform: &ClipTransform, rgb: &[u8], out: &mut [T]) -> Result<()> {
        self.check(transform, rgb.len(), out.len())?;
        cpu::run(self, transform, rgb, out);
        Ok(())
    }

    fn check(&self, transform: &ClipTransform, rgb: usize, out: usize) -> Result<()> {
        self.check_transform(transform)?;
        let pixels = self.frames * self.side * self.side;
        if rgb != self.frames * self.height * self.width * 3 || out != pixels * 3 {
            let what = format!("{self:?} with {rgb} bytes in and {out} elements out");
            return Err(Error::shape("augment", what, "match the buffers"));
        }
        Ok(())
    }

    fn check_transform(&self, transform: &ClipTransform) -> Result<()> {
        let fault = |what: String, hint: &str| Err(Error::shape("augment", what, hint));
        let crop = transform.crop;
        let inside = |start: u32, len: u32, extent: usize| {
            len > 0 && u64::from(start) + u64::from(len) <= extent as u64
        };
        if !inside(crop.y, crop.height, self.height) || !inside(crop.x, crop.width, self.width) {
            return fault(
                format!("crop {crop:?} of a frame of {}×{}", self.height, self.width),
                "the crop must lie in the frame and hold a pixel",
            );
        }
        if transform.replicate.is_some_and(|c| c > 2) {
            return fault(format!("replicated channel {:?}", transform.replicate), "give 0, 1 or 2");
        }
        for step in transform.colour.iter().flatten() {
            let fine = match *step {
                ColourStep::Brightness(f) | ColourStep::Contrast(f) | ColourStep::Saturation(f) => {
                    f.is_finite() && f >= 0.0
                }
                ColourStep::Hue(f) => (-0.5..=0.5).contains(&f),
            };
            if !fine {
                return fault(format!("{step:?}"), "factors are at least 0, hue within ±0.5");
            }
        }
        Ok(())
    }
}

/// The two source positions of output `i`, and the share of the second.
fn neighbours(i: usize, outputs: usize, inputs: usize) -> (usize, usize, f64) {
    let at = ((i as f64 + 0.5) * inputs as f64 / outputs as f64 - 0.5).max(0.0);
    let first = (at as usize).min(inputs - 1);
    (first, (first + 1).min(inputs - 1), at - first as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::transform::Rect;

    fn transform(y: u32, x: u32, height: u32, width: u32) -> ClipTransform {
        let crop = Rect { y, x, height, width };
        ClipTransform { crop, flip: false, colour: None, replicate: None }
    }

    #[test]
    fn refuses_what_does_not_fit_and_writes_nothing() {
        assert!(Problem::new(1, 0, 4, 4).is_err());
        assert!(Problem::new(1, usize::MAX, 4, 4).is_err());
        assert!(Problem::new(1, 4, 4, 1 << 40).is_err());
        let p = Problem::new(1, 4, 5, 2).unwrap();
        let rgb = [0; 60];
        let mut out = [7.0_f32; 12];
        let bad = [
            transform(0, 0, 5, 5),
            transform(1, 0, 4, 5),
            transform(0, 0, 0, 5),
            transform(u32::MAX, 0, 1, 1),
            ClipTransform { replicate: Some(3), ..transform(0, 0, 4, 5) },
            ClipTransform { colour: Some([ColourStep::Hue(f32::NAN); 4]), ..transform(0, 0, 4, 5) },
            ClipTransform { colour: Some([ColourStep::Contrast(-0.1); 4]), ..transform(0, 0, 4, 5) },
        ];
        for t in bad {
            assert!(p.run(&t, &rgb, &mut out).is_err(), "{t:?}");
        }
        assert!(p.run(&transform(0, 0, 4, 5), &rgb[1..], &mut out).is_err());
        assert!(p.run(&transform(0, 0, 4, 5), &rgb, &mut out[1..]).is_err());
        assert_eq!(out, [7.0; 12]);
    }
}
