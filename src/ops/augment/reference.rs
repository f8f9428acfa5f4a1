//! The specification: whole passes over the clip, one pixel at a time.

use super::{GREY, Problem, neighbours};
use crate::tensor::Real;
use crate::tensor::transform::{ClipTransform, ColourStep};

/// As [`Problem::run`], arguments unchecked.
pub fn run<T: Real>(p: &Problem, transform: &ClipTransform, rgb: &[u8], out: &mut [T]) {
    resize(p, transform, rgb, out);
    for step in transform.colour.iter().flatten() {
        apply(*step, out);
    }
    let half = T::from_f64(127.5);
    for pixel in out.chunks_exact_mut(3) {
        if let Some(channel) = transform.replicate {
            pixel.fill(pixel[usize::from(channel)]);
        }
        for v in pixel {
            *v = *v / half - T::ONE;
        }
    }
}

/// Crop, bilinear resize with half-pixel centres and no antialiasing (PyTorch's
/// `interpolate(mode="bilinear", align_corners=False)` of the crop), flip.
fn resize<T: Real>(p: &Problem, transform: &ClipTransform, rgb: &[u8], out: &mut [T]) {
    let crop = transform.crop;
    let frames = rgb.chunks_exact(p.height * p.width * 3);
    for (frame, out) in frames.zip(out.chunks_exact_mut(p.side * p.side * 3)) {
        for (y, out) in out.chunks_exact_mut(p.side * 3).enumerate() {
            let (y0, y1, fy) = neighbours(y, p.side, crop.height as usize);
            let row = |y: usize| {
                let start = ((crop.y as usize + y) * p.width + crop.x as usize) * 3;
                &frame[start..start + crop.width as usize * 3]
            };
            let (upper, lower, fy) = (row(y0), row(y1), T::from_f64(fy));
            for x in 0..p.side {
                let (x0, x1, fx) = neighbours(x, p.side, crop.width as usize);
                let fx = T::from_f64(fx);
                let x = if transform.flip { p.side - 1 - x } else { x };
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

/// Applies one step to a whole clip, (…, 3).
fn apply<T: Real>(step: ColourStep, clip: &mut [T]) {
    match step {
        ColourStep::Brightness(f) => {
            let f = real(f);
            each(clip, |p| p.map(|v: T| v * f));
        }
        ColourStep::Contrast(f) => {
            let rest = mean_grey(clip) * (1.0 - f64::from(f));
            let (f, rest) = (real::<T>(f), T::from_f64(rest));
            each(clip, |p| p.map(|v| v * f + rest));
        }
        ColourStep::Saturation(f) => {
            let (f, rest) = (real::<T>(f), T::from_f64(1.0 - f64::from(f)));
            each(clip, |p| {
                let grey = grey(p) * rest;
                p.map(|v| v * f + grey)
            });
        }
        ColourStep::Hue(f) => {
            let f = real(f);
            each(clip, |p| turn_hue(p, f));
        }
    }
}

fn real<T: Real>(v: f32) -> T {
    T::from_f64(f64::from(v))
}

/// Replaces every pixel, kept within [0, 255].
fn each<T: Real>(clip: &mut [T], f: impl Fn([T; 3]) -> [T; 3]) {
    let top = T::from_f64(255.0);
    for pixel in clip.chunks_exact_mut(3) {
        let new = f([pixel[0], pixel[1], pixel[2]]);
        for (old, new) in pixel.iter_mut().zip(new) {
            *old = if new < T::ZERO {
                T::ZERO
            } else if new > top {
                top
            } else {
                new
            };
        }
    }
}

fn grey<T: Real>([r, g, b]: [T; 3]) -> T {
    let [wr, wg, wb] = GREY.map(T::from_f64);
    r * wr + g * wg + b * wb
}

fn mean_grey<T: Real>(clip: &[T]) -> f64 {
    let sum: f64 = clip.chunks_exact(3).map(|p| grey([p[0], p[1], p[2]]).to_f64()).sum();
    sum / (clip.len() / 3) as f64
}

/// Turns the hue by `turn` of a full circle, in HSV.
fn turn_hue<T: Real>([r, g, b]: [T; 3], turn: T) -> [T; 3] {
    let six = T::from_f64(6.0);
    let larger = |a: T, b: T| if b > a { b } else { a };
    let smaller = |a: T, b: T| if b < a { b } else { a };
    let value = larger(larger(r, g), b);
    let spread = value - smaller(smaller(r, g), b);
    if spread <= T::ZERO {
        return [r, g, b]; // grey has no hue
    }
    // Sector and place in it: 0 red, 2 green, 4 blue.
    let sector = if value == r {
        (g - b) / spread
    } else if value == g {
        T::from_f64(2.0) + (b - r) / spread
    } else {
        T::from_f64(4.0) + (r - g) / spread
    };
    let mut sector = sector + turn * six;
    if sector < T::ZERO {
        sector += six;
    }
    if sector >= six {
        sector -= six;
    }
    let whole = sector.to_f64() as u8;
    let part = sector - T::from_f64(f64::from(whole));
    // v·(1 − s), v·(1 − s·f), v·(1 − s·(1 − f)) with s = spread / v.
    let (low, down, up) = (value - spread, value - spread * part, value - spread * (T::ONE - part));
    match whole {
        0 => [value, up, low],
        1 => [down, value, low],
        2 => [low, value, up],
        3 => [low, down, value],
        4 => [up, low, value],
        // Rounding may reach 6, where `part` is 0 and this is red again.
        _ => [value, low, down],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_a_turn_moves_red_to_green() {
        let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(turn_hue([200.0, 50.0, 50.0], 1.0 / 3.0), [50.0, 200.0, 50.0]));
        assert!(close(turn_hue([200.0, 50.0, 50.0], -1.0 / 3.0), [50.0, 50.0, 200.0]));
        assert!(close(turn_hue([10.0, 90.0, 30.0], 0.0), [10.0, 90.0, 30.0]));
        assert!(close(turn_hue([60.0; 3], 0.3), [60.0; 3]));
        assert!(close(turn_hue([0.0; 3], 0.3), [0.0; 3]));
    }

    #[test]
    fn values_stay_within_a_byte() {
        let mut clip = [250.0_f32, 3.0, 128.0, 0.0, 255.0, 90.0];
        for step in [ColourStep::Brightness(1.4), ColourStep::Saturation(1.4), ColourStep::Contrast(1.4)] {
            apply(step, &mut clip);
            assert!(clip.iter().all(|v| (0.0..=255.0).contains(v)), "{step:?} {clip:?}");
        }
    }
}
