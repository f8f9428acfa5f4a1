//! Draws the transform of each variant of each clip: pure functions of (seed, epoch, sample, variant). Every
//! transform has a stream of its own, so switching one off leaves the others as they were.

use super::config::AugmentConfig;
use super::sampler::Role;
use crate::tensor::random::Stream;
use crate::tensor::transform::{ClipTransform, ColourStep, Rect};

/// Draws the transform of one variant for frames of `height × width` as loaded. The temporal variant is left
/// [`plain`] if `temporal_variant` is off.
pub fn draw(
    config: &AugmentConfig,
    (height, width): (usize, usize),
    seed: u64,
    epoch: u64,
    sample: u64,
    role: Role,
) -> ClipTransform {
    if role == Role::Temporal && !config.temporal_variant {
        return plain(height, width);
    }
    let root = Stream::new("augment", seed).fork(epoch).fork(sample).fork(role as u64);
    let part = |name: &str| Stream::new(name, root.clone().next_u64());
    let window = if config.window {
        let side = height.min(width);
        place(&mut part("window"), whole(height, width), side, side)
    } else {
        central_square(height, width)
    };
    let crop = if config.scale_jitter {
        let stream = &mut part("scale");
        let (h, w) = jittered_sides(stream, &config.scales, window.height as usize);
        place(stream, window, h, w)
    } else {
        window
    };
    let happens = |switch: bool, name: &str, p: f64| switch && part(name).next_bool(p);
    ClipTransform {
        crop,
        flip: happens(config.flip, "flip", config.flip_p),
        colour: happens(config.colour, "colour", config.colour_p)
            .then(|| colour_steps(&mut part("colour.steps"), config)),
        replicate: happens(config.replicate, "replicate", config.replicate_p)
            .then(|| part("replicate.channel").next_below(3) as u8),
    }
}

/// The central square of the frame, and nothing else.
pub fn plain(height: usize, width: usize) -> ClipTransform {
    ClipTransform { crop: central_square(height, width), flip: false, colour: None, replicate: None }
}

fn whole(height: usize, width: usize) -> Rect {
    Rect { y: 0, x: 0, height: height as u32, width: width as u32 }
}

fn central_square(height: usize, width: usize) -> Rect {
    let side = height.min(width);
    let (y, x) = ((height - side) / 2, (width - side) / 2);
    Rect { y: y as u32, x: x as u32, height: side as u32, width: side as u32 }
}

/// A rectangle of `height × width` at a uniform place inside `outer`.
fn place(stream: &mut Stream, outer: Rect, height: usize, width: usize) -> Rect {
    let (height, width) = (height as u32, width as u32);
    let mut offset = |room: u32| stream.next_below(u64::from(room) + 1) as u32;
    Rect {
        y: outer.y + offset(outer.height - height),
        x: outer.x + offset(outer.width - width),
        height,
        width,
    }
}

/// Height and width, uniform over the pairs of scales at most one step apart.
fn jittered_sides(stream: &mut Stream, scales: &[f64], side: usize) -> (usize, usize) {
    let n = scales.len();
    let pairs: Vec<(usize, usize)> =
        (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a.abs_diff(*b) <= 1).collect();
    let (a, b) = pairs[stream.next_below(pairs.len() as u64) as usize];
    let pixels = |scale: f64| ((scale * side as f64).round() as usize).clamp(1, side);
    (pixels(scales[a]), pixels(scales[b]))
}

/// Factors, then their order.
fn colour_steps(stream: &mut Stream, config: &AugmentConfig) -> [ColourStep; 4] {
    let mut factor = |range: f64| stream.next_in(1.0 - range, 1.0 + range) as f32;
    let mut steps = [
        ColourStep::Brightness(factor(config.brightness)),
        ColourStep::Contrast(factor(config.contrast)),
        ColourStep::Saturation(factor(config.saturation)),
        ColourStep::Hue(stream.next_in(-config.hue, config.hue) as f32),
    ];
    for i in (1..steps.len()).rev() {
        steps.swap(i, stream.next_below(i as u64 + 1) as usize);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SIZE: (usize, usize) = (128, 171);

    fn many(config: &AugmentConfig, n: u64) -> Vec<ClipTransform> {
        (0..n).map(|s| draw(config, SIZE, 5, 1, s, Role::Anchor)).collect()
    }

    fn off() -> AugmentConfig {
        AugmentConfig {
            window: false,
            scale_jitter: false,
            flip: false,
            colour: false,
            replicate: false,
            ..AugmentConfig::default()
        }
    }

    #[test]
    fn everything_off_is_the_central_square() {
        assert!(many(&off(), 10).iter().all(|t| *t == plain(128, 171)));
        assert_eq!(plain(128, 171).crop, Rect { y: 0, x: 21, height: 128, width: 128 });
    }

    #[test]
    fn crops_stay_inside_and_take_every_allowed_pair_of_sides() {
        let draws = many(&AugmentConfig::default(), 3000);
        let mut pairs = HashSet::new();
        for t in &draws {
            let r = t.crop;
            assert!(r.y + r.height <= 128 && r.x + r.width <= 171, "{r:?}");
            pairs.insert((r.height, r.width));
        }
        let sides = [128, 112, 96, 84];
        let allowed: HashSet<_> = (0..4_usize)
            .flat_map(|a| (0..4).map(move |b| (a, b)))
            .filter(|(a, b)| a.abs_diff(*b) <= 1)
            .map(|(a, b)| (sides[a], sides[b]))
            .collect();
        assert_eq!(pairs, allowed);
        let far: HashSet<_> = draws.iter().map(|t| t.crop.x).collect();
        assert!(far.len() > 80, "columns are spread: {}", far.len());
    }

    #[test]
    fn probabilities_and_ranges_are_those_of_the_configuration() {
        let draws = many(&AugmentConfig::default(), 10_000);
        let share = |f: &dyn Fn(&ClipTransform) -> bool| draws.iter().filter(|t| f(t)).count() as f64 / 1e4;
        assert!((share(&|t| t.flip) - 0.5).abs() < 0.02);
        assert!((share(&|t| t.colour.is_some()) - 0.8).abs() < 0.02);
        assert!((share(&|t| t.replicate.is_some()) - 0.5).abs() < 0.02);
        assert!((share(&|t| t.flip && t.replicate.is_some()) - 0.25).abs() < 0.02, "independent");
        let mut orders = HashSet::new();
        for steps in draws.iter().filter_map(|t| t.colour) {
            let mut order = [0; 4];
            for (slot, step) in order.iter_mut().zip(steps) {
                let (kind, value, centre, range) = match step {
                    ColourStep::Brightness(f) => (0, f, 1.0, 0.4),
                    ColourStep::Contrast(f) => (1, f, 1.0, 0.4),
                    ColourStep::Saturation(f) => (2, f, 1.0, 0.4),
                    ColourStep::Hue(f) => (3, f, 0.0, 0.1),
                };
                assert!((value - centre).abs() <= range + 1e-6, "{step:?}");
                *slot = kind;
            }
            orders.insert(order);
        }
        assert_eq!(orders.len(), 24, "every order of the four");
        let channels: HashSet<_> = draws.iter().filter_map(|t| t.replicate).collect();
        assert_eq!(channels, HashSet::from([0, 1, 2]));
    }

    #[test]
    fn switching_one_transform_off_leaves_the_others() {
        let all = AugmentConfig::default();
        for (a, b) in many(&all, 50).iter().zip(many(&AugmentConfig { flip: false, ..all.clone() }, 50)) {
            assert_eq!(ClipTransform { flip: false, ..*a }, b);
        }
        for (a, b) in many(&all, 50).iter().zip(many(&AugmentConfig { colour: false, ..all.clone() }, 50)) {
            assert_eq!(ClipTransform { colour: None, ..*a }, b);
        }
    }

    #[test]
    fn roles_epochs_samples_and_seeds_draw_apart() {
        let config = AugmentConfig::default();
        let base = draw(&config, SIZE, 1, 1, 1, Role::Anchor);
        assert_eq!(base, draw(&config, SIZE, 1, 1, 1, Role::Anchor));
        assert_ne!(base, draw(&config, SIZE, 1, 1, 1, Role::Spatial));
        assert_ne!(base, draw(&config, SIZE, 1, 1, 1, Role::Temporal));
        assert_ne!(base, draw(&config, SIZE, 1, 1, 2, Role::Anchor));
        assert_ne!(base, draw(&config, SIZE, 1, 2, 1, Role::Anchor));
        assert_ne!(base, draw(&config, SIZE, 2, 1, 1, Role::Anchor));
    }

    #[test]
    fn the_temporal_variant_can_go_without() {
        let config = AugmentConfig { temporal_variant: false, ..AugmentConfig::default() };
        assert_eq!(draw(&config, SIZE, 1, 1, 1, Role::Temporal), plain(128, 171));
        assert_ne!(draw(&config, SIZE, 1, 1, 1, Role::Spatial), plain(128, 171));
    }
}
