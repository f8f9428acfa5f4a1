//! What is behind the figure: smooth noise in two colours with a pattern over it, drifting slowly.

use super::appearance::{hsv, mix};
use crate::tensor::random::Stream;

/// Side of the noise's lattice; it repeats beyond.
const LATTICE: usize = 16;

/// One background.
#[derive(Clone, Debug)]
pub(super) struct Background {
    colours: [[f32; 3]; 2],
    lattice: Vec<f32>,   // (LATTICE, LATTICE), 0 to 1
    cell: f32,           // of the coarse noise, in shorter sides
    stripes: (f32, f32), // direction of a faint pattern, waves in a shorter side
    contrast: f32,
    drift: (f32, f32), // shorter sides a frame
}

impl Background {
    /// Draws one; the same distribution for every class.
    pub fn draw(stream: &mut Stream) -> Self {
        let mut within = |low: f64, high: f64| stream.next_in(low, high) as f32;
        let hue = within(0.0, 1.0);
        let first = hsv(hue, within(0.1, 0.5), within(0.25, 0.6));
        let second = hsv(hue + within(-0.2, 0.2), within(0.1, 0.5), within(0.4, 0.85));
        let (angle, waves) = (within(0.0, std::f64::consts::TAU), within(2.0, 6.0));
        let (heading, speed) = (within(0.0, std::f64::consts::TAU), within(0.0, 0.006));
        Self {
            colours: [first, second],
            cell: within(0.15, 0.35),
            stripes: (waves * angle.cos(), waves * angle.sin()),
            contrast: within(0.0, 0.08),
            drift: (speed * heading.cos(), speed * heading.sin()),
            lattice: (0..LATTICE * LATTICE).map(|_| within(0.0, 1.0)).collect(),
        }
    }

    /// Colour at `(x, y)`, in shorter sides, at frame `t`.
    pub fn colour(&self, x: f32, y: f32, t: f32) -> [f32; 3] {
        let (x, y) = (x + self.drift.0 * t, y + self.drift.1 * t);
        let coarse = self.noise(x / self.cell, y / self.cell);
        let fine = self.noise(3.1 * x / self.cell + 5.0, 3.1 * y / self.cell + 9.0);
        let stripe = ((x * self.stripes.0 + y * self.stripes.1) * std::f32::consts::TAU).sin();
        let base = mix(self.colours[0], self.colours[1], 0.7 * coarse + 0.3 * fine);
        base.map(|v| v + self.contrast * stripe)
    }

    /// Value noise: the lattice, smoothly interpolated.
    fn noise(&self, x: f32, y: f32) -> f32 {
        let smooth = |f: f32| f * f * (3.0 - 2.0 * f);
        let (fx, fy) = (smooth(x - x.floor()), smooth(y - y.floor()));
        let wrap = |v: f32, d: i64| (v.floor() as i64 + d).rem_euclid(LATTICE as i64) as usize;
        let at = |dy: i64, dx: i64| self.lattice[wrap(y, dy) * LATTICE + wrap(x, dx)];
        let top = at(0, 0) + (at(0, 1) - at(0, 0)) * fx;
        let bottom = at(1, 0) + (at(1, 1) - at(1, 0)) * fx;
        top + (bottom - top) * fy
    }
}
