//! Keras SGD: `v = m·v − lr·g`, `w = w + v`, with `g` including `2·l2·w` on kernels; gradient clipping and LARS
//! scale `g` before. All sums are in f64 over fixed blocks, so no result depends on the number of threads.

use super::OptimConfig;
use crate::graph::{Param, ParamLayout};
use crate::ops::ParamKind;
use crate::ops::parallel::{Order, chunks, for_each, sum};
use crate::tensor::Real;

/// Elements that one thread takes at a time.
const BLOCK: usize = 1 << 14;

/// `l2·Σw²` over kernels: the part of the loss that L2 adds.
pub fn l2_penalty<T: Real>(layout: &ParamLayout, params: &[T], l2: f64) -> f64 {
    if l2 == 0.0 {
        return 0.0;
    }
    let kernels = layout.params().iter().filter(|p| p.kind == ParamKind::Kernel);
    l2 * kernels.map(|p| squares(&params[p.range.clone()], |_, w| w)).sum::<f64>()
}

/// Euclidean norm of the whole gradient, the L2 part included.
pub fn gradient_norm<T: Real>(
    config: &OptimConfig,
    layout: &ParamLayout,
    params: &[T],
    gradients: &[T],
) -> f64 {
    layout.params().iter().map(|p| gradient_squares(config, p, params, gradients)).sum::<f64>().sqrt()
}

/// One update in place. `norm` is [`gradient_norm`]'s, read only if the gradient is to be clipped.
pub fn update<T: Real>(
    config: &OptimConfig,
    lr: f64,
    norm: f64,
    layout: &ParamLayout,
    params: &mut [T],
    gradients: &[T],
    momentum: &mut [T],
) {
    let clip = if config.clip_norm > 0.0 && norm > config.clip_norm { config.clip_norm / norm } else { 1.0 };
    for p in layout.params() {
        let rate = T::from_f64(lr * clip * lars_factor(config, p, params, gradients));
        let twice_l2 = T::from_f64(2.0 * kernel_l2(config, p));
        let m = T::from_f64(config.momentum);
        let (w, v) = (&mut params[p.range.clone()], &mut momentum[p.range.clone()]);
        let g = &gradients[p.range.clone()];
        let buffers = (chunks(w, BLOCK), chunks(v, BLOCK));
        for_each(Order::Parallel, g.len().div_ceil(BLOCK), buffers, |i, (w, v)| {
            let g = &g[i * BLOCK..][..w.data.len()];
            for ((w, v), &g) in w.data.iter_mut().zip(v.data).zip(g) {
                *v = m * *v - rate * (g + twice_l2 * *w);
                *w += *v;
            }
        });
    }
}

/// The trust ratio of LARS (You, Gitman & Ginsburg, arXiv:1708.03888): `η·‖w‖ / ‖g‖` for kernels.
fn lars_factor<T: Real>(config: &OptimConfig, p: &Param, params: &[T], gradients: &[T]) -> f64 {
    if config.lars == 0.0 || p.kind != ParamKind::Kernel {
        return 1.0;
    }
    let weight = squares(&params[p.range.clone()], |_, w| w).sqrt();
    let gradient = gradient_squares(config, p, params, gradients).sqrt();
    if weight > 0.0 && gradient > 0.0 { config.lars * weight / gradient } else { 1.0 }
}

fn gradient_squares<T: Real>(config: &OptimConfig, p: &Param, params: &[T], gradients: &[T]) -> f64 {
    let (w, twice_l2) = (&params[p.range.clone()], 2.0 * kernel_l2(config, p));
    squares(&gradients[p.range.clone()], |i, g| g + twice_l2 * w[i].to_f64())
}

/// L2 applies to kernels alone.
fn kernel_l2(config: &OptimConfig, p: &Param) -> f64 {
    if p.kind == ParamKind::Kernel { config.l2 } else { 0.0 }
}

/// `Σ f(i, x_i)²`.
fn squares<T: Real>(x: &[T], f: impl Fn(usize, f64) -> f64 + Sync) -> f64 {
    sum(x.len().div_ceil(BLOCK), &|block| {
        let first = block * BLOCK;
        // Four partial sums break the chain of additions.
        let mut sums = [0.0; 4];
        for (i, v) in x[first..(first + BLOCK).min(x.len())].iter().enumerate() {
            let v = f(first + i, v.to_f64());
            sums[i % 4] += v * v;
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::ParamSpec;
    use crate::tensor::Shape;

    fn layout() -> ParamLayout {
        let spec = |kind| ParamSpec { name: "p", shape: Shape::new([40_000]), kind };
        let mut layout = ParamLayout::default();
        layout.extend("", &[("w".into(), spec(ParamKind::Kernel)), ("b".into(), spec(ParamKind::Shift))]);
        layout
    }

    fn ramp(len: usize, scale: f64) -> Vec<f64> {
        (0..len).map(|i| ((i % 101) as f64 - 50.0) * scale).collect()
    }

    #[test]
    fn the_norm_includes_l2_on_kernels_only() {
        let (layout, config) = (layout(), OptimConfig { l2: 0.25, ..Default::default() });
        let (w, g) = (ramp(80_000, 0.1), ramp(80_000, 0.01));
        let expected: f64 =
            (0..80_000).map(|i| g[i] + if i < 40_000 { 0.5 * w[i] } else { 0.0 }).map(|v| v * v).sum();
        assert!((gradient_norm(&config, &layout, &w, &g) - expected.sqrt()).abs() < 1e-9 * expected.sqrt());
        let penalty: f64 = w[..40_000].iter().map(|w| 0.25 * w * w).sum();
        assert!((l2_penalty(&layout, &w, 0.25) - penalty).abs() < 1e-9 * penalty);
    }

    #[test]
    fn clipping_scales_the_whole_gradient_to_the_norm() {
        let layout = layout();
        let config = OptimConfig { l2: 0.0, momentum: 0.0, clip_norm: 2.0, ..Default::default() };
        let (mut w, g) = (vec![0.0; 80_000], ramp(80_000, 1.0));
        let mut v = w.clone();
        let norm = gradient_norm(&config, &layout, &w, &g);
        update(&config, 1.0, norm, &layout, &mut w, &g, &mut v);
        let moved = w.iter().map(|w| w * w).sum::<f64>().sqrt();
        assert!((moved - 2.0).abs() < 1e-9, "{moved}");
    }

    #[test]
    fn lars_moves_a_kernel_by_a_fixed_part_of_its_norm() {
        let layout = layout();
        let config = OptimConfig { l2: 0.0, momentum: 0.0, lars: 0.01, ..Default::default() };
        let (mut w, g) = (ramp(80_000, 1.0), ramp(80_000, 300.0));
        let (before, mut v) = (w.clone(), vec![0.0; 80_000]);
        update(&config, 1.0, 0.0, &layout, &mut w, &g, &mut v);
        let length = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        let moved = length(&mut (0..40_000).map(|i| w[i] - before[i]));
        let norm = length(&mut before[..40_000].iter().copied());
        assert!((moved / norm - 0.01).abs() < 1e-12);
    }
}
