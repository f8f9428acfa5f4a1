//! How the figure moves. No class is the mirror image of another: flipping is part of the augmentation.

use std::f32::consts::TAU;

/// The motion classes.
pub const MOTIONS: [&str; 8] = ["slide", "bob", "orbit", "spin", "pulse", "hop", "swing", "zigzag"];

/// Where the figure is, relative to its resting pose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pose {
    /// Offset in columns, in units of the frame's shorter side.
    pub x: f32,
    /// Offset in rows, likewise.
    pub y: f32,
    /// Turn, in radians.
    pub angle: f32,
    /// Factor of size.
    pub scale: f32,
}

/// The pose of motion `class` at `phase` (in turns: one turn is one cycle).
pub(super) fn pose(class: usize, phase: f32) -> Pose {
    let (sin, cos) = (phase * TAU).sin_cos();
    let t = phase.rem_euclid(1.0);
    // Back and forth between −1 and 1 at constant speed.
    let triangle = |t: f32| 4.0 * (t.rem_euclid(1.0) - 0.5).abs() - 1.0;
    let rest = Pose { x: 0.0, y: 0.0, angle: 0.0, scale: 1.0 };
    match class {
        0 => Pose { x: 0.2 * sin, ..rest },
        1 => Pose { y: 0.2 * sin, ..rest },
        2 => Pose { x: 0.17 * cos, y: 0.17 * sin, ..rest },
        3 => Pose { angle: phase * TAU, ..rest },
        4 => Pose { scale: 1.0 + 0.3 * sin, ..rest },
        // Two parabolic leaps a cycle while drifting to one side and back.
        5 => {
            let leap = (2.0 * t).fract() * 2.0 - 1.0;
            Pose { x: 0.16 * triangle(t), y: 0.14 - 0.3 * (1.0 - leap * leap), ..rest }
        }
        // A pendulum, hung above the figure.
        6 => {
            let angle = 0.75 * sin;
            Pose { x: -0.3 * angle.sin(), y: 0.3 * (angle.cos() - 0.85), angle, scale: 1.0 }
        }
        // Sharp corners: three strokes across for one down and up.
        _ => Pose { x: 0.15 * triangle(3.0 * t), y: 0.17 * triangle(t), ..rest },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn motions_are_periodic_bounded_and_differ_in_pairs() {
        let track = |class: usize, reverse: bool, mirror: bool| -> Vec<Pose> {
            let step = |i: i32| i as f32 / 32.0;
            (0..32)
                .map(|i| pose(class, if reverse { step(-i) } else { step(i) }))
                .map(|p| if mirror { Pose { x: -p.x, angle: -p.angle, ..p } } else { p })
                .collect()
        };
        for class in 0..MOTIONS.len() {
            for p in track(class, false, false) {
                assert!(p.x.abs() <= 0.25 && p.y.abs() <= 0.25 && (0.6..1.4).contains(&p.scale), "{p:?}");
            }
            let (a, b) = (pose(class, 0.3), pose(class, 1.3));
            assert!((a.x - b.x).abs() + (a.y - b.y).abs() + (a.scale - b.scale).abs() < 1e-5);
            assert!((a.angle - b.angle).sin().abs() < 1e-5);
            for other in 0..class {
                for (reverse, mirror) in [(false, false), (true, false), (false, true), (true, true)] {
                    let apart: f32 = track(class, false, false)
                        .iter()
                        .zip(track(other, reverse, mirror))
                        .map(|(p, q)| {
                            (p.x - q.x).abs()
                                + (p.y - q.y).abs()
                                + (p.angle - q.angle).abs()
                                + (p.scale - q.scale).abs()
                        })
                        .sum();
                    assert!(apart / 32.0 > 0.05, "{} and {}", MOTIONS[class], MOTIONS[other]);
                }
            }
        }
    }
}
