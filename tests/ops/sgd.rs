//! The optimiser.

use hdc::device::{Address, Memory};
use hdc::eval::selftest::run as run_commands;
use hdc::ops::ParamKind;
use hdc::optim::{CudaOptimiser, Figures, FlatArrays, KerasSgd, OptimConfig};
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

/// Parameters of one vector, of several rounds of a block, of several segments; with gaps between them.
const LENS: [usize; 6] = [4, 8, 88, 1024, 4100, 9216];

/// Two updates on a device, in f64 on the CPU, and both with `copies` of the weights.
fn updates_on_a_device(config: &OptimConfig, spoil: Option<f32>) {
    let Some(device) = device() else { return };
    let label = format!("{config:?} {spoil:?}");
    let kinds = [ParamKind::Kernel, ParamKind::Scale, ParamKind::Shift];
    let mut end = 0;
    let ranges: Vec<_> = LENS
        .iter()
        .zip(kinds.into_iter().cycle())
        .map(|(&len, kind)| {
            let start = end;
            end = (start + len).next_multiple_of(64);
            (start..start + len, kind)
        })
        .collect();
    let holding = |values: &[f32]| Memory::holding(&device, "test data", values).unwrap();
    let values = |name: &str| random::<f32>(Kind::Real, name, 1, end);
    let (w, v, mut g) = (values("w"), values("v"), values("g"));
    let (mut want_w, mut want_v) = (w.clone(), v.clone());
    if let Some(value) = spoil {
        g[ranges[3].0.start + 77] = value;
    }

    let optimiser = CudaOptimiser::new(config, ranges.iter().cloned());
    let buffer = Memory::holding(&device, "test data", &optimiser.initial()).unwrap();
    let [dw, dv, dg] = [&w, &v, &g].map(|values| holding(values));
    let copies = Memory::holding(&device, "test data", &vec![0xFFFF_u16; end]).unwrap();
    let losses = Memory::holding(&device, "test data", &[0.5_f64, 0.0, 1.0, 0.25, 0.0, 2.0]).unwrap();
    let flat = FlatArrays {
        weights: dw.address(),
        momentum: dv.address(),
        gradients: dg.address(),
        copies: copies.address(),
    };
    let sgd = KerasSgd::new(config.clone(), 10);
    for step in 0..2 {
        let lr =
            Memory::holding(&device, "test data", &[hdc::optim::learning_rate(config, step, 10)]).unwrap();
        let mut commands = vec![];
        let flat = if step == 0 { flat } else { FlatArrays { copies: Address::NULL, ..flat } };
        optimiser.update(buffer.address(), flat, losses.address(), lr.address(), &mut commands);
        run_commands(&device, &commands).unwrap();

        let squares: Vec<_> =
            ranges.iter().map(|(r, kind)| sgd.squares(*kind, &want_w[r.clone()], &g[r.clone()])).collect();
        let norm = squares.iter().map(|s| s.gradient).sum::<f64>().sqrt();
        let l2: f64 = ranges.iter().zip(&squares).map(|((_, kind), s)| sgd.penalty(*kind, *s)).sum();
        let rates = sgd.rates(step, norm);
        let mut figures = [Figures::default()];
        buffer.download(optimiser.figures(), &mut figures).unwrap();
        assert_eq!(figures[0].losses, [0.5, 0.0, 1.0, 0.25, 0.0, 2.0], "{label}");
        assert_eq!((figures[0].lr, figures[0].finite), (rates.lr, spoil.is_none().into()), "{label}");
        if spoil.is_some() {
            assert!(!figures[0].gradient_norm.is_finite() && figures[0].updates == 0, "{label} {figures:?}");
        } else {
            assert_eq!(figures[0].updates, step + 1, "{label}");
            assert_close(&label, &[figures[0].gradient_norm, figures[0].l2], &[norm, l2], 1e-6, 0.0);
            for ((r, kind), squares) in ranges.iter().zip(squares) {
                let (w, v) = (&mut want_w[r.clone()], &mut want_v[r.clone()]);
                sgd.update(*kind, rates, squares, w, v, &g[r.clone()]);
            }
        }
        let (mut got_w, mut got_v) = (vec![0.0_f32; end], vec![0.0_f32; end]);
        dw.download(0, &mut got_w).unwrap();
        dv.download(0, &mut got_v).unwrap();
        for (what, got, want) in [("w", &got_w, &want_w), ("v", &got_v, &want_v)] {
            let want: Vec<f64> = want.iter().map(|&v| f64::from(v)).collect();
            let tolerance = if spoil.is_some() { 0.0 } else { 1e-6 };
            assert_close(&format!("{label} {what} step {step}"), got, &want, tolerance, 0.0);
        }
        if step == 0 {
            let mut got = vec![0_u16; end];
            copies.download(0, &mut got).unwrap();
            for (r, _) in &ranges {
                let rounded = |i: usize| half::bf16::from_f32(got_w[i]).to_bits();
                let want = |i: usize| if spoil.is_some() { 0xFFFF } else { rounded(i) };
                assert!(r.clone().all(|i| got[i] == want(i)), "{label}: copies of {r:?}");
            }
        }
    }
}

#[test]
fn a_device_updates_as_the_cpu() {
    let plain = OptimConfig { l2: 0.01, ..Default::default() };
    updates_on_a_device(&plain, None);
    updates_on_a_device(&OptimConfig { clip_norm: 1.5, warmup_steps: 3, ..plain.clone() }, None);
    updates_on_a_device(&OptimConfig { lars: 0.02, ..plain.clone() }, None);
    updates_on_a_device(&OptimConfig { lars: 0.02, clip_norm: 0.5, l2: 0.0, ..plain.clone() }, None);
    for spoil in [f32::NAN, f32::INFINITY] {
        updates_on_a_device(&plain, Some(spoil));
    }
}
