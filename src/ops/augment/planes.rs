//! A run of neighbouring pixels, one plane a channel, so that every step fills vectors.

use super::GREY;
use crate::tensor::Real;
use crate::tensor::transform::ColourStep;

/// Pixels of a run at most.
pub(super) const RUN: usize = 128;
/// Sums that run side by side.
const LANES: usize = 16;

/// Up to [`RUN`] RGB pixels in [0, 255].
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes<T> {
    pub red: [T; RUN],
    pub green: [T; RUN],
    pub blue: [T; RUN],
}

impl<T: Real> Planes<T> {
    pub const ZERO: Self = Self { red: [T::ZERO; RUN], green: [T::ZERO; RUN], blue: [T::ZERO; RUN] };

    /// The first `n` of each plane.
    #[inline(always)]
    fn first(&mut self, n: usize) -> [&mut [T]; 3] {
        [&mut self.red[..n], &mut self.green[..n], &mut self.blue[..n]]
    }

    /// Applies one step to the first `n` pixels. `mean_grey` is that of the whole clip before this step.
    #[inline(always)]
    pub fn apply(&mut self, n: usize, step: ColourStep, mean_grey: f64) {
        let real = |f: f32| T::from_f64(f64::from(f));
        let rest = |f: f32| 1.0 - f64::from(f);
        match step {
            ColourStep::Brightness(f) => self.affine(n, real(f), T::ZERO),
            ColourStep::Contrast(f) => self.affine(n, real(f), T::from_f64(mean_grey * rest(f))),
            ColourStep::Saturation(f) => self.saturate(n, real(f), T::from_f64(rest(f))),
            ColourStep::Hue(f) => self.turn_hue(n, real(f)),
        }
    }

    #[inline(always)]
    fn affine(&mut self, n: usize, factor: T, shift: T) {
        for plane in self.first(n) {
            for v in plane {
                *v = within_byte(*v * factor + shift);
            }
        }
    }

    #[inline(always)]
    fn saturate(&mut self, n: usize, factor: T, rest: T) {
        let [red, green, blue] = self.first(n);
        for i in 0..n {
            let grey = grey(red[i], green[i], blue[i]) * rest;
            red[i] = within_byte(red[i] * factor + grey);
            green[i] = within_byte(green[i] * factor + grey);
            blue[i] = within_byte(blue[i] * factor + grey);
        }
    }

    /// HSV with value and saturation kept: a channel is `value − spread·clamp(min(k, 4 − k), 0, 1)`, where k
    /// is the hue in sixths of a turn plus the channel's 5, 3 or 1, modulo 6.
    #[inline(always)]
    fn turn_hue(&mut self, n: usize, turn: T) {
        let [two, four, six] = [2.0, 4.0, 6.0].map(T::from_f64);
        let turn = turn * six;
        let wrap = |v: T| if v >= six { v - six } else { v };
        let [red, green, blue] = self.first(n);
        for i in 0..n {
            let (r, g, b) = (red[i], green[i], blue[i]);
            let value = larger(larger(r, g), b);
            let spread = value - smaller(smaller(r, g), b);
            let (first, second, sector) = if value == g { (b, r, two) } else { (r, g, four) };
            let (first, second, sector) = if value == r { (g, b, T::ZERO) } else { (first, second, sector) };
            // A grey pixel has no hue; with a spread of 0 any finite one leaves it as it is.
            let divisor = if spread > T::ZERO { spread } else { T::ONE };
            let hue = sector + (first - second) / divisor + turn;
            let hue = wrap(if hue < T::ZERO { hue + six } else { hue });
            let channel = |offset: f64| {
                let k = wrap(hue + T::from_f64(offset));
                value - spread * larger(smaller(smaller(k, four - k), T::ONE), T::ZERO)
            };
            red[i] = within_byte(channel(5.0));
            green[i] = within_byte(channel(3.0));
            blue[i] = within_byte(channel(1.0));
        }
    }

    /// Copies one channel to the others.
    #[inline(always)]
    pub fn replicate(&mut self, channel: u8) {
        let plane = match channel {
            0 => self.red,
            1 => self.green,
            _ => self.blue,
        };
        *self = Self { red: plane, green: plane, blue: plane };
    }

    /// Sum of the grey of the first `n` pixels.
    #[inline(always)]
    pub fn grey_sum(&self, n: usize) -> f64 {
        let mut lanes = [T::ZERO; LANES];
        for start in (0..n).step_by(LANES) {
            let part = start..(start + LANES).min(n);
            let (red, green, blue) = (&self.red[part.clone()], &self.green[part.clone()], &self.blue[part]);
            for (lane, ((&r, &g), &b)) in lanes.iter_mut().zip(red.iter().zip(green).zip(blue)) {
                *lane += grey(r, g, b);
            }
        }
        lanes.iter().map(|l| l.to_f64()).sum()
    }

    /// The planes one after the other.
    #[inline(always)]
    pub fn keep(&self, out: &mut [T]) {
        let n = out.len() / 3;
        for (out, plane) in out.chunks_exact_mut(n).zip([&self.red, &self.green, &self.blue]) {
            out.copy_from_slice(&plane[..n]);
        }
    }

    /// Takes back what [`Self::keep`] wrote.
    #[inline(always)]
    pub fn recall(&mut self, kept: &[T]) {
        let n = kept.len() / 3;
        for (plane, kept) in self.first(n).into_iter().zip(kept.chunks_exact(n)) {
            plane.copy_from_slice(kept);
        }
    }

    /// Pixels as the network sees them: RGB side by side, `x/127.5 − 1`.
    #[inline(always)]
    pub fn finish(&mut self, out: &mut [T]) {
        let half = T::from_f64(127.5);
        let n = out.len() / 3;
        for plane in self.first(n) {
            for v in plane {
                *v = *v / half - T::ONE;
            }
        }
        let [red, green, blue] = self.first(n);
        for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
            pixel[0] = red[i];
            pixel[1] = green[i];
            pixel[2] = blue[i];
        }
    }
}

#[inline(always)]
fn grey<T: Real>(r: T, g: T, b: T) -> T {
    let [wr, wg, wb] = GREY.map(T::from_f64);
    r * wr + g * wg + b * wb
}

#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

#[inline(always)]
fn smaller<T: Real>(a: T, b: T) -> T {
    if b < a { b } else { a }
}

#[inline(always)]
fn within_byte<T: Real>(v: T) -> T {
    smaller(larger(v, T::ZERO), T::from_f64(255.0))
}
