//! Colour steps on RGB pixels in [0, 255].

use crate::tensor::Real;
use crate::tensor::transform::ColourStep;

/// Applies one step to a whole clip, (…, 3).
pub(super) fn apply<T: Real>(step: ColourStep, clip: &mut [T]) {
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

/// ITU-R 601 luma, with torchvision's digits.
fn grey<T: Real>([r, g, b]: [T; 3]) -> T {
    r * T::from_f64(0.2989) + g * T::from_f64(0.587) + b * T::from_f64(0.114)
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
