//! What the figure looks like: a shape by its signed distance, a texture over it, two colours.

use crate::tensor::random::Stream;

/// The appearance classes: shape and texture differ in all of them, so that they can be told without colour.
pub const APPEARANCES: [&str; 8] = [
    "striped-disc",
    "checked-square",
    "dotted-triangle",
    "ringed-star",
    "split-ring",
    "barred-cross",
    "spoked-hexagon",
    "wavy-moon",
];

/// Hue of the first colour of each class, in turns; jittered per video.
const HUES: [f32; 8] = [0.0, 0.58, 0.13, 0.83, 0.33, 0.07, 0.5, 0.7];

/// One figure, in its own coordinates: it fills about the unit disc.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    class: usize,
    colours: [[f32; 3]; 2],
    shift: f32, // of the texture
}

impl Figure {
    /// Draws what varies within a class.
    pub fn draw(stream: &mut Stream, class: usize) -> Self {
        let hue = HUES[class] + stream.next_in(-0.05, 0.05) as f32;
        let (saturation, light) = (stream.next_in(0.65, 0.95) as f32, stream.next_in(0.85, 1.0) as f32);
        let second =
            if stream.next_bool(0.5) { hsv(hue + 0.5, 0.25, 0.97) } else { hsv(hue, saturation, 0.3) };
        Self { class, colours: [hsv(hue, saturation, light), second], shift: stream.next_unit() as f32 }
    }

    /// Signed distance to the outline, negative inside.
    pub fn distance(&self, x: f32, y: f32) -> f32 {
        let r = x.hypot(y);
        match self.class {
            0 => r - 0.9,
            1 => x.abs().max(y.abs()) - 0.78,
            2 => polygon(x, y, 3, 0.55),
            3 => {
                // Five arms: the outline swings between two radii.
                let arm = (y.atan2(x) * 5.0 / std::f32::consts::TAU).rem_euclid(1.0);
                (r - (1.0 - 0.55 * (1.0 - (2.0 * arm - 1.0).abs()))) * 0.6
            }
            4 => (r - 0.7).abs() - 0.26,
            5 => {
                let (a, b) = (x.abs(), y.abs());
                (a.max(b) - 0.95).max(a.min(b) - 0.32)
            }
            6 => polygon(x, y, 6, 0.8),
            _ => (r - 0.92).max(0.6 - (x - 0.5).hypot(y - 0.1)),
        }
    }

    /// Colour at a point inside.
    pub fn colour(&self, x: f32, y: f32) -> [f32; 3] {
        let wave = |v: f32| (v * std::f32::consts::TAU).sin();
        let r = x.hypot(y);
        let s = self.shift;
        // Positive: first colour, negative: second; about ±1 so that edges are a little soft.
        let sign = match self.class {
            0 => wave(1.6 * x + s),
            1 => wave(1.3 * x + s) * wave(1.3 * y + s) * 2.0,
            2 => {
                let cell = |v: f32| (v * 2.2 + s).rem_euclid(1.0) - 0.5;
                (0.32 - cell(x).hypot(cell(y))) * 6.0
            }
            3 => wave(2.2 * r + s),
            4 => wave(y.atan2(x) * 2.0 / std::f32::consts::TAU + s),
            5 => wave(1.9 * (x + y) + s),
            6 => wave(y.atan2(x) * 6.0 / std::f32::consts::TAU + s),
            _ => wave(1.5 * y + s + 0.25 * wave(x)),
        };
        mix(self.colours[1], self.colours[0], (0.5 + 1.5 * sign).clamp(0.0, 1.0))
    }
}

/// Distance to a regular polygon with this inner radius (exact inside and at the sides).
fn polygon(x: f32, y: f32, sides: u32, inner: f32) -> f32 {
    let sector = std::f32::consts::TAU / sides as f32;
    let angle = (x.atan2(-y) / sector).round() * sector;
    x * angle.sin() - y * angle.cos() - inner
}

/// From `a` (0) to `b` (1).
pub(super) fn mix(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * t)
}

/// Hue in turns, saturation and value in [0, 1] to RGB in [0, 1].
pub(super) fn hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    [0.0, 2.0 / 3.0, 1.0 / 3.0].map(|offset: f32| {
        let ramp = (((hue + offset).rem_euclid(1.0) * 6.0 - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        value * (1.0 - saturation * (1.0 - ramp))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsv_has_the_primary_colours() {
        assert_eq!(hsv(0.0, 1.0, 1.0), [1.0, 0.0, 0.0]);
        let near = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(hsv(1.0 / 3.0, 1.0, 1.0), [0.0, 1.0, 0.0]));
        assert!(near(hsv(2.0 / 3.0, 1.0, 0.5), [0.0, 0.0, 0.5]));
    }

    #[test]
    fn every_figure_has_an_inside_of_similar_size() {
        for class in 0..APPEARANCES.len() {
            let figure = Figure::draw(&mut Stream::new("test", 0), class);
            let at = |i: i32| i as f32 / 50.0;
            let inside = (-75..75)
                .flat_map(|y| (-75..75).map(move |x| (at(x), at(y))))
                .filter(|(x, y)| figure.distance(*x, *y) < 0.0)
                .count() as f32
                / 2500.0;
            assert!((1.0..3.0).contains(&inside), "{}: area {inside}", APPEARANCES[class]);
            assert!(figure.distance(1.6, 0.2) > 0.0);
        }
    }
}
