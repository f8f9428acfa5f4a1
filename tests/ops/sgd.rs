//! The optimiser.

use hdc::eval::selftest::optimiser;
use hdc::ops::ParamKind;
use hdc::optim::{KerasSgd, OptimConfig};
use hdc::tensor::Real;

use crate::data::{Kind, assert_close, assert_same_bits, random};
use crate::device::device;
use crate::golden;

/// One step over a kernel and a bias.
fn step<T: Real>(sgd: &KerasSgd, t: u64, tensors: &mut [(ParamKind, Vec<T>, Vec<T>)], g: [&[T]; 2]) -> f64 {
    let squares: Vec<_> = tensors.iter().zip(g).map(|((kind, w, _), g)| sgd.squares(*kind, w, g)).collect();
    let norm = squares.iter().map(|s| s.gradient).sum::<f64>().sqrt();
    let rates = sgd.rates(t, norm);
    for (((kind, w, v), g), squares) in tensors.iter_mut().zip(g).zip(squares) {
        sgd.update(*kind, rates, squares, w, v, g);
    }
    norm
}

fn golden_case<T: Real>(name: &str) {
    let case = golden::case(name);
    let [lr, momentum, decay, l2] = ["lr", "momentum", "decay", "l2"].map(|k| case.number(k));
    let sgd = KerasSgd::new(OptimConfig { lr, momentum, decay, l2, ..Default::default() }, 5);
    let [gw, gb, ws, bs] = ["gw", "gb", "w", "b"].map(|n| case.values::<T>(n));
    // The file's w0 and b0 are the weights after the last step (updated in place before they were written),
    // so the start is solved from the first step, w₁ = w₀ − lr·(g₀ + 2·l2·w₀); steps 2 to 5 then test.
    let start = |kind, w: &[T], g: &[T], l2: f64| {
        let solve = |(w, g): (&T, &T)| T::from_f64((w.to_f64() + lr * g.to_f64()) / (1.0 - 2.0 * lr * l2));
        let w: Vec<T> = w.iter().zip(g).map(solve).collect();
        let v = vec![T::ZERO; w.len()];
        (kind, w, v)
    };
    let mut tensors = [
        start(ParamKind::Kernel, &ws[..24], &gw[..24], l2),
        start(ParamKind::Shift, &bs[..6], &gb[..6], 0.0),
    ];
    for t in 0..5 {
        step(&sgd, t as u64, &mut tensors, [&gw[t * 24..][..24], &gb[t * 6..][..6]]);
        for ((_, w, _), (all, n)) in tensors.iter().zip([(&ws, 24), (&bs, 6)]) {
            let want: Vec<f64> = all[t * n..][..n].iter().map(|v| v.to_f64()).collect();
            assert_close(&format!("{name} {:?} step {t}", T::DTYPE), w, &want, 1e-6, 0.0);
        }
    }
}

#[test]
fn agrees_with_pytorch() {
    let names = golden::cases("sgd/");
    assert_eq!(names.len(), 2);
    for name in names {
        golden_case::<f64>(&name);
        golden_case::<f32>(&name);
    }
}

fn pair(n: usize) -> [(ParamKind, Vec<f64>, Vec<f64>); 2] {
    [ParamKind::Kernel, ParamKind::Scale].map(|kind| (kind, random(Kind::Real, "w", 1, n), vec![0.0; n]))
}

#[test]
fn clipping_scales_the_whole_gradient_to_the_limit() {
    let n = 100;
    let g = [random::<f64>(Kind::Real, "g", 2, n), random(Kind::Real, "g", 3, n)];
    let sgd = KerasSgd::new(OptimConfig { clip_norm: 0.5, lr: 1.0, ..Default::default() }, 1);
    let mut tensors = pair(n);
    let before = tensors.clone();
    let norm = step(&sgd, 0, &mut tensors, [&g[0], &g[1]]);
    assert!(norm > 0.5);
    let moved: f64 = tensors
        .iter()
        .zip(&before)
        .flat_map(|(a, b)| a.1.iter().zip(&b.1).map(|(a, b)| (a - b) * (a - b)))
        .sum();
    assert!((moved.sqrt() - 0.5).abs() < 1e-12, "moved by {}", moved.sqrt());
    assert_eq!(sgd.rates(0, 0.4).clip, 1.0);
    assert_eq!(KerasSgd::new(OptimConfig::default(), 1).rates(0, 1e9).clip, 1.0);
}

#[test]
fn lars_moves_a_kernel_by_its_own_size_and_leaves_the_rest() {
    let n = 70;
    let (trust, lr) = (0.02, 0.5);
    let g = [random::<f64>(Kind::Real, "g", 2, n), random(Kind::Real, "g", 3, n)];
    for clip_norm in [0.0, 0.1] {
        let config = OptimConfig { lars: trust, lr, clip_norm, ..Default::default() };
        let sgd = KerasSgd::new(config, 1);
        let mut tensors = pair(n);
        let before = tensors.clone();
        let norm = step(&sgd, 0, &mut tensors, [&g[0], &g[1]]);
        let length = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let velocity = length(&tensors[0].2);
        assert!((velocity - lr * trust * length(&before[0].1)).abs() < 1e-12, "{velocity}");
        let clip = if clip_norm > 0.0 { clip_norm / norm } else { 1.0 };
        assert!((length(&tensors[1].2) - lr * clip * length(&g[1])).abs() < 1e-12);
    }
    let sgd = KerasSgd::new(OptimConfig { lars: trust, ..Default::default() }, 1);
    let mut still = [(ParamKind::Kernel, vec![0.0; 3], vec![0.0; 3]), pair(3)[1].clone()];
    step(&sgd, 0, &mut still, [&[0.0; 3], &[0.0; 3]]);
    assert_eq!(still[0].1, [0.0; 3], "no weights and no gradient is no movement, not NaN");
}

#[test]
fn norms_and_updates_do_not_depend_on_the_number_of_threads() {
    let n = 100_003;
    let sgd = KerasSgd::new(OptimConfig::default(), 1);
    let g = random::<f32>(Kind::Real, "g", 4, n);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut w = random::<f32>(Kind::Real, "w", 5, n);
        let mut v = random::<f32>(Kind::Real, "v", 6, n);
        let squares = pool.install(|| {
            let squares = sgd.squares(ParamKind::Kernel, &w, &g);
            sgd.update(ParamKind::Kernel, sgd.rates(3, 1.0), squares, &mut w, &mut v, &g);
            squares
        });
        (squares, w, v)
    };
    let (one, two) = (with(1), with(2));
    assert_eq!(one.0, two.0);
    assert_same_bits("w", &one.1, &two.1);
    assert_same_bits("v", &one.2, &two.2);
    let w = random::<f32>(Kind::Real, "w", 5, n);
    let exact: f64 = w.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
    assert_close("Σw²", &[one.0.weights], &[exact], 1e-12, 0.0);
    assert_eq!(sgd.penalty(ParamKind::Kernel, one.0), 5e-5 * one.0.weights);
    assert_eq!(sgd.penalty(ParamKind::Shift, one.0), 0.0);
}

#[test]
fn a_device_updates_as_the_cpu() {
    let Some(device) = device() else { return };
    for (config, spoil) in optimiser::cases() {
        optimiser::check(&device, &config, spoil).unwrap();
    }
}
