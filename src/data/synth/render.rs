//! One video's scene, and its frames.

use super::Classes;
use super::appearance::{Figure, mix};
use super::background::Background;
use super::motion::pose;
use crate::tensor::random::Stream;

/// Frames of one cycle at speed 1.
const PERIOD: f32 = 20.0;

/// All that was drawn for a video. Lengths are in units of the frame's shorter side.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    figure: Figure,
    background: Background,
    motion: usize,
    centre: (f32, f32), // (x, y)
    radius: f32,
    tilt: f32,
    mirrored: bool,
    phase: f32,
    speed: f32, // cycles a frame, negative: backwards
    light: f32,
    noise: Stream,
    size: (usize, usize), // (height, width)
}

impl Scene {
    /// Draws a scene. Only figure and motion depend on the classes; each part has a stream of its own, so that two
    /// scenes of the same number differ in nothing but their classes.
    pub fn draw(root: &Stream, classes: Classes, height: usize, width: usize) -> Self {
        let figure = Figure::draw(&mut root.fork(0), classes.appearance);
        let background = Background::draw(&mut root.fork(1));
        let mut stream = root.fork(2);
        let mut within = |low: f64, high: f64| stream.next_in(low, high) as f32;
        let aspect = width as f32 / height as f32;
        Self {
            figure,
            background,
            motion: classes.motion,
            centre: (aspect / 2.0 + within(-0.14, 0.14), 0.5 + within(-0.08, 0.08)),
            radius: within(0.17, 0.28),
            tilt: within(0.0, std::f64::consts::TAU),
            mirrored: within(0.0, 1.0) < 0.5,
            phase: within(0.0, 1.0),
            speed: within(0.75, 1.35) / PERIOD * if within(0.0, 1.0) < 0.5 { 1.0 } else { -1.0 },
            light: within(0.85, 1.1),
            noise: root.fork(3),
            size: (height, width),
        }
    }

    /// Renders frame `t` as RGB, `(height, width, 3)`.
    pub fn render(&self, t: usize, rgb: &mut [u8]) {
        let (height, width) = self.size;
        let t = t as f32;
        let pose = pose(self.motion, self.phase + self.speed * t);
        let mirror = if self.mirrored { -1.0 } else { 1.0 };
        let (cx, cy) = (self.centre.0 + mirror * pose.x, self.centre.1 + pose.y);
        let radius = self.radius * pose.scale;
        let (sin, cos) = (self.tilt + mirror * pose.angle).sin_cos();
        // Into the figure's coordinates.
        let local = |x: f32, y: f32| {
            let (dx, dy) = ((x - cx) / radius, (y - cy) / radius);
            (dx * cos + dy * sin, dy * cos - dx * sin)
        };
        let pixel = 1.0 / height.min(width) as f32;
        let mut grain = self.noise.fork(t as u64);
        for (i, out) in rgb.chunks_exact_mut(3).enumerate() {
            let (x, y) = (((i % width) as f32 + 0.5) * pixel, ((i / width) as f32 + 0.5) * pixel);
            let mut colour = self.background.colour(x, y, t);
            let (sx, sy) = local(x - 0.025, y - 0.035);
            let shade = (0.5 - self.figure.distance(sx, sy) * radius / (5.0 * pixel)).clamp(0.0, 1.0);
            colour = mix(colour, [0.0; 3], 0.4 * shade);
            let (u, v) = local(x, y);
            let cover = (0.5 - self.figure.distance(u, v) * radius / pixel).clamp(0.0, 1.0);
            if cover > 0.0 {
                // Lit from the upper left, in the frame's coordinates, so that turning it shows.
                let gloss = 1.0 - 0.22 * ((x - cx) + (y - cy)) / radius;
                let surface = self.figure.colour(u, v).map(|c| c * gloss);
                colour = mix(colour, surface, cover);
            }
            let speck = grain.next_in(-0.015, 0.015) as f32;
            for (o, c) in out.iter_mut().zip(colour) {
                *o = ((c * self.light + speck).clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
            }
        }
    }
}
