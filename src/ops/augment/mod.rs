//! From decoded frames to what the network sees: crop, bilinear resize, flip, colour jittering, channel
//! replication, `x/127.5 − 1` (SPEC: one draw a clip, the same on all frames). Colour steps follow
//! torchvision's `functional` on float images, values kept within [0, 255] after each; the grey of contrast
//! is the mean of the whole clip.
//!
//! One clip at a time; the caller runs clips in parallel.

mod colour;

use crate::tensor::Real;
use crate::tensor::transform::{ClipTransform, ColourStep};
use crate::{Error, Result};

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
    /// An extent of 0.
    pub fn new(frames: usize, height: usize, width: usize, side: usize) -> Result<Self> {
        if [frames, height, width, side].contains(&0) {
            return Err(Error::shape(
                "augment",
                format!("{frames} frames of {height}×{width} to {side}×{side}"),
                "every extent must be at least 1",
            ));
        }
        Ok(Self { frames, height, width, side })
    }

    /// Applies `transform` to `rgb`, (T, H, W, 3), and writes `out`, (T, side, side, 3).
    ///
    /// # Errors
    /// A crop outside the frame, a channel beyond 2, a colour factor that is negative or not finite, or
    /// buffers of other sizes; nothing is written then.
    pub fn run<T: Real>(&self, transform: &ClipTransform, rgb: &[u8], out: &mut [T]) -> Result<()> {
        self.check(transform, rgb.len(), out.len())?;
        self.resize(transform, rgb, out);
        for step in transform.colour.iter().flatten() {
            colour::apply(*step, out);
        }
        let scale = T::from_f64(1.0 / 127.5);
        for pixel in out.chunks_exact_mut(3) {
            if let Some(channel) = transform.replicate {
                pixel.fill(pixel[usize::from(channel)]);
            }
            for v in pixel {
                *v = *v * scale - T::ONE;
            }
        }
        Ok(())
    }

    fn check(&self, transform: &ClipTransform, rgb: usize, out: usize) -> Result<()> {
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
        let pixels = self.frames * self.side * self.side;
        if rgb != self.frames * self.height * self.width * 3 || out != pixels * 3 {
            return fault(
                format!("{self:?} with {rgb} bytes in and {out} elements out"),
                "match the buffers",
            );
        }
        Ok(())
    }

    /// Crop, bilinear resize with half-pixel centres and no antialiasing (PyTorch's
    /// `interpolate(mode="bilinear", align_corners=False)` of the crop), flip.
    fn resize<T: Real>(&self, transform: &ClipTransform, rgb: &[u8], out: &mut [T]) {
        let crop = transform.crop;
        let frames = rgb.chunks_exact(self.height * self.width * 3);
        for (frame, out) in frames.zip(out.chunks_exact_mut(self.side * self.side * 3)) {
            for (y, out) in out.chunks_exact_mut(self.side * 3).enumerate() {
                let (y0, y1, fy) = neighbours(y, self.side, crop.height as usize);
                let row = |y: usize| {
                    let start = ((crop.y as usize + y) * self.width + crop.x as usize) * 3;
                    &frame[start..start + crop.width as usize * 3]
                };
                let (upper, lower, fy) = (row(y0), row(y1), T::from_f64(fy));
                for x in 0..self.side {
                    let (x0, x1, fx) = neighbours(x, self.side, crop.width as usize);
                    let fx = T::from_f64(fx);
                    let x = if transform.flip { self.side - 1 - x } else { x };
                    for (c, out) in out[x * 3..x * 3 + 3].iter_mut().enumerate() {
                        let along = |row: &[u8]| {
                            let [a, b] = [x0, x1].map(|x| T::from_f64(f64::from(row[x * 3 + c])));
                            a + (b - a) * fx
                        };
                        let (a, b) = (along(upper), along(lower));
                        *out = a + (b - a) * fy;
                    }
                }
            }
        }
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

    #[test]
    fn a_crop_of_the_output_size_is_copied() {
        let p = Problem::new(2, 4, 5, 3).unwrap();
        let rgb: Vec<u8> = (0..120).map(|i| (i * 2) as u8).collect();
        let mut out = [0.0_f64; 54];
        p.run(&transform(1, 2, 3, 3), &rgb, &mut out).unwrap();
        for (i, v) in out.into_iter().enumerate() {
            let (t, y, x, c) = (i / 27, i / 9 % 3, i / 3 % 3, i % 3);
            let from = ((t * 4 + y + 1) * 5 + x + 2) * 3 + c;
            assert!((v - (f64::from(rgb[from]) / 127.5 - 1.0)).abs() < 1e-14);
        }
    }
}
