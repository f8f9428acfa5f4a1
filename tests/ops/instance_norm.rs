//! Instance norm.

use hdc::device::{Address, Memory};
use hdc::eval::selftest::problems::{ACTIVATIONS, Case, LARGE_NORMS, NORMS, NORMS_AT_BORDERS};
use hdc::ops::instance_norm::{Activation, Problem, reference};
use hdc::ops::{
    Backward, CudaBackward, CudaForward, CudaGradient, CudaParam, Forward, Op, Pass, Precision, WriteMode,
    statistics,
};
use hdc::tensor::{Real, Shape};

use crate::contract::{self, Feed, Reference};
use crate::data::{Kind, assert_close, assert_same_bits, random, to_f64};
use crate::device;
use crate::{golden, gradient};

fn golden_case<T: Real>(name: &str, activation: Activation, tolerance: f64) {
    let case = golden::case(name);
    let tag = match activation {
        Activation::Plain => "",
        Activation::Relu => "_relu",
        Activation::AddRelu => "_add_relu",
    };
    let label = &format!("{name}{tag} {:?}", T::DTYPE);
    let op: &dyn Op<T> =
        &Problem::new(Shape::new(case.shape_last("x")), activation, case.number("eps")).unwrap();
    let mut inputs = vec![case.values_last("x")];
    if activation == Activation::AddRelu {
        inputs.push(case.values_last("res"));
    }
    let params = vec![case.values("gamma"), case.values("beta")];
    let feed = Feed { inputs, params, dy: case.values_last("dy") };
    // Results near 0 (one element, a constant channel) are sums of terms of this size.
    let scale = (feed.dy.len() as f64).sqrt();

    let p = Problem::new(Shape::new(case.shape_last("x")), activation, case.number("eps")).unwrap();
    type Passes<'a, T> = (&'a dyn Fn(Forward<'_, T>), &'a dyn Fn(Backward<'_, T>));
    let passes: [(&str, Passes<'_, T>); 2] = [
        ("fast", (&|io| op.forward(io), &|io| op.backward(io))),
        ("reference", (&|io| reference::forward(&p, io), &|io| reference::backward(&p, io))),
    ];
    for (which, (fwd, bwd)) in passes {
        let label = &format!("{label} {which}");
        let y = contract::forward(label, op, &feed, fwd);
        assert_close(label, &y.output, &case.values_last(&format!("y{tag}")), tolerance, 0.0);
        let d = contract::backward(label, op, &feed, &y, bwd);
        let want = |name: &str| case.values_last::<f64>(&format!("{name}{tag}"));
        assert_close(&format!("{label} dx"), &d.dx[0], &want("dx"), tolerance, scale);
        if activation == Activation::AddRelu {
            assert_close(&format!("{label} dres"), &d.dx[1], &want("dres"), tolerance, 0.0);
        }
        for (i, name) in ["dgamma", "dbeta"].into_iter().enumerate() {
            let want = case.values::<f64>(&format!("{name}{tag}"));
            assert_close(&format!("{label} {name}"), &d.dparams[i], &want, tolerance, scale);
        }
    }
}

#[test]
fn agrees_with_pytorch() {
    let names = golden::cases("norm/");
    assert_eq!(names.len(), 7);
    for name in names {
        for activation in ACTIVATIONS {
            golden_case::<f64>(&name, activation, 1e-6);
            golden_case::<f32>(&name, activation, 1e-6);
        }
    }
}

fn contract_case<T: Real>(clips: usize, dims: [usize; 4], activation: Activation, tolerance: f64) {
    let problem = |n: usize| {
        let [t, h, w, c] = dims;
        Problem::new(Shape::new([n, t, h, w, c]), activation, 1e-5).unwrap()
    };
    let p = problem(clips);
    let reference =
        Reference { forward: &|io| reference::forward(&p, io), backward: &|io| reference::backward(&p, io) };
    let label = &format!("{activation:?} {dims:?}");
    contract::check::<T>(label, clips, &|n| Box::new(problem(n)), &reference, Kind::Real, tolerance);
}

#[test]
fn keeps_the_contract() {
    for [clips, dims @ ..] in NORMS {
        for activation in ACTIVATIONS {
            contract_case::<f64>(clips, dims, activation, 1e-12);
            contract_case::<f32>(clips, dims, activation, 1e-6);
        }
    }
}

fn device_cases(cases: &[[usize; 5]]) {
    for &dims in cases {
        for activation in ACTIVATIONS {
            device::check(&Case::Norm(Problem::new(Shape::new(dims), activation, 1e-5).unwrap()));
        }
    }
}

#[test]
fn keeps_the_contract_on_a_device() {
    device_cases(&NORMS);
}

#[test]
fn keeps_the_contract_on_a_device_at_borders() {
    device_cases(&NORMS_AT_BORDERS);
}

#[test]
fn keeps_the_contract_on_a_device_when_large() {
    device_cases(&LARGE_NORMS);
}

#[test]
fn gradients_are_those_of_central_differences() {
    for [clips, t, h, w, c] in NORMS.into_iter().take(8) {
        for activation in ACTIVATIONS {
            let op = Problem::new(Shape::new([clips, t, h, w, c]), activation, 1e-2).unwrap();
            gradient::check(&format!("{activation:?} {clips}×{t}×{h}×{w}×{c}"), &op, 2);
        }
    }
}

#[test]
fn a_nan_is_passed_on() {
    let op = Problem::new(Shape::new([1, 1, 2, 2, 2]), Activation::Relu, 1e-5).unwrap();
    let (mut y, mut saved, mut ws) = ([0.0_f32; 8], vec![0_f32; 6], vec![0_f64; 64]);
    let x = [1.0, 2.0, f32::NAN, 3.0, 4.0, 5.0, 6.0, 7.0];
    op.forward(Forward {
        inputs: [&x[..]].into_iter().collect(),
        params: [&[1.0; 2][..], &[0.0; 2][..]].into_iter().collect(),
        output: &mut y,
        saved: bytemuck::cast_slice_mut(&mut saved),
        workspace: bytemuck::cast_slice_mut(&mut ws),
    });
    assert!(y[0].is_nan() && y[1].is_finite(), "{y:?}");
}

/// What an f32 plan makes of channels that fill their pitch, forward and backward.
struct Ran {
    y: Vec<f32>,
    saved: Vec<f32>,
    dx: Vec<f32>,
    /// Of γ and β.
    dparams: [Vec<f32>; 2],
}

/// What besides x and parameters goes into [`ran`].
#[derive(Clone, Copy, Default)]
struct With<'a> {
    partials: Option<&'a [f32]>,
    dy_sums: Option<&'a [f32]>,
    dresidual: Option<WriteMode>,
}

/// Runs clips of x with γ, β, as residual x, if there is one, and as dy x again.
fn ran(p: &Problem, x: &[f32], params: [&[f32]; 2], with: With<'_>) -> Option<Ran> {
    let device = &device::device()?;
    let plan = <Problem as Op<f32>>::cuda(p, Precision::F32);
    let holding = |v: &[f32]| Memory::holding(device, "test data", v).unwrap();
    let scratch = |bytes: usize| Memory::new(device, "test data", bytes).unwrap();
    let (x, params) = (holding(x), params.map(holding));
    let [partials, dy_sums] = [with.partials, with.dy_sums].map(|v| v.map(holding));
    let masters = || params.iter().map(|m| CudaParam { master: m.address(), compute: m.address() }).collect();
    let [y, dx] = [plan.output_bytes(), x.bytes()].map(scratch);
    let dresidual = holding(&vec![1.0; x.bytes() / 4]);
    let dparams = [params[0].bytes(), params[1].bytes()].map(scratch);
    let saved = scratch(plan.saved_bytes());
    let workspaces = [Pass::Forward, Pass::Backward].map(|pass| scratch(plan.workspace_bytes(pass)));
    let inputs = <Problem as Op<f32>>::input_shapes(p).len();
    let addresses = || std::iter::repeat_n(x.address(), inputs).collect();
    let gradient = |m: &Memory, mode| CudaGradient { at: m.address(), mode };
    let overwrite = |m: &Memory| gradient(m, WriteMode::Overwrite);
    let mut commands = vec![];
    plan.forward(
        &CudaForward {
            inputs: addresses(),
            statistics: partials.as_ref().map_or(Address::NULL, Memory::address),
            params: masters(),
            output: y.address(),
            output_statistics: Address::NULL,
            saved: saved.address(),
            // Given partial statistics, there is nothing to put there.
            workspace: if partials.is_some() { Address::NULL } else { workspaces[0].address() },
        },
        &mut commands,
    );
    plan.backward(
        &CudaBackward {
            inputs: addresses(),
            params: masters(),
            output: if plan.backward_reads().output { y.address() } else { Address::NULL },
            saved: saved.address(),
            dy: x.address(),
            dy_sums: dy_sums.as_ref().map_or(Address::NULL, Memory::address),
            norm_below: None,
            dx: [Some(overwrite(&dx)), with.dresidual.map(|mode| gradient(&dresidual, mode))]
                .into_iter()
                .take(inputs)
                .collect(),
            dparams: dparams.iter().map(overwrite).collect(),
            workspace: workspaces[1].address(),
        },
        &mut commands,
    );
    device::run(device, &commands);
    let floats = |m: &Memory| {
        let mut v = vec![f32::NAN; m.bytes() / 4];
        m.download(0, &mut v).unwrap();
        v
    };
    let dparams = dparams.each_ref().map(floats);
    Some(Ran { y: floats(&y), saved: floats(&saved), dx: floats(&dx), dparams })
}

/// Partial statistics of (clips, positions, channels), computed in f64.
fn partial_statistics(x: &[f32], positions: usize, channels: usize) -> Vec<f32> {
    let mut partials = vec![];
    for clip in x.chunks_exact(positions * channels) {
        for tile in clip.chunks(statistics::TILE * channels) {
            let count = (tile.len() / channels) as f64;
            for c in 0..channels {
                let column = || tile.iter().skip(c).step_by(channels).map(|&v| f64::from(v));
                let mean = column().sum::<f64>() / count;
                partials.push(mean as f32);
                partials.push(column().map(|v| (v - mean).powi(2)).sum::<f64>() as f32);
            }
        }
    }
    partials
}

#[test]
fn takes_the_partial_statistics_of_its_input_on_a_device() {
    let (clips, positions, channels) = (2, 1153, 24);
    let p = Problem::new(Shape::new([clips, 1, 1, positions, channels]), Activation::Relu, 1e-5).unwrap();
    let x: Vec<f32> = random(Kind::Real, "x", 1, clips * positions * channels);
    let [gamma, beta]: [Vec<f32>; 2] = ["gamma", "beta"].map(|name| random(Kind::Real, name, 1, channels));
    let params = [&gamma[..], &beta[..]];
    let partials = partial_statistics(&x, positions, channels);
    let with = |partials| With { partials: Some(partials), ..With::default() };
    let Some(own) = ran(&p, &x, params, With::default()) else { return };
    let given = ran(&p, &x, params, with(&partials[..])).unwrap();
    assert_close("saved", &given.saved, &to_f64(&own.saved), 1e-6, 0.0);
    assert_close("y", &given.y, &to_f64(&own.y), 1e-6, 0.0);

    // They are what counts: twice the squared deviations, all but those between tiles, give another result.
    let wider: Vec<f32> =
        partials.iter().enumerate().map(|(i, v)| if i % 2 == 1 { 2.0 * v } else { *v }).collect();
    let other = ran(&p, &x, params, with(&wider[..])).unwrap();
    for (a, b) in other.saved.iter().zip(&given.saved).skip(1).step_by(2) {
        assert!((a * 2_f32.sqrt() / b - 1.0).abs() < 1e-2, "{a} {b}");
    }
}

#[test]
fn takes_the_sums_of_its_gradient_on_a_device() {
    let (clips, positions, channels) = (2, 1153, 24);
    let p = Problem::new(Shape::new([clips, 1, 1, positions, channels]), Activation::Relu, 1e-5).unwrap();
    let x: Vec<f32> = random(Kind::Real, "x", 1, clips * positions * channels);
    let [gamma, beta]: [Vec<f32>; 2] = ["gamma", "beta"].map(|name| random(Kind::Real, name, 1, channels));
    let params = [&gamma[..], &beta[..]];
    let Some(own) = ran(&p, &x, params, With::default()) else { return };
    // As a dgrad leaves them; dy is x.
    let mut sums = vec![];
    for (clip, x) in x.chunks_exact(positions * channels).enumerate() {
        for tile in x.chunks(statistics::TILE * channels) {
            for c in 0..channels {
                let [mean, rstd] = [0, 1].map(|i| f64::from(own.saved[(clip * channels + c) * 2 + i]));
                let column = tile.iter().skip(c).step_by(channels).map(|&v| f64::from(v));
                let normalised = column.map(|v| (v, (v - mean) * rstd));
                let through: Vec<_> =
                    normalised.filter(|(_, x)| x * f64::from(gamma[c]) + f64::from(beta[c]) > 0.0).collect();
                sums.push(through.iter().map(|(g, _)| g).sum::<f64>() as f32);
                sums.push(through.iter().map(|(g, x)| g * x).sum::<f64>() as f32);
            }
        }
    }
    let with = |sums| With { dy_sums: Some(sums), ..With::default() };
    let given = ran(&p, &x, params, with(&sums[..])).unwrap();
    assert_close("dx", &given.dx, &to_f64(&own.dx), 1e-6, 0.0);
    for (what, given, own) in [("dγ", 0), ("dβ", 1)].map(|(w, i)| (w, &given.dparams[i], &own.dparams[i])) {
        assert_close(what, given, &to_f64(own), 1e-6, 0.0);
    }

    // They are what counts.
    let double: Vec<f32> = sums.iter().map(|v| 2.0 * v).collect();
    let other = ran(&p, &x, params, with(&double[..])).unwrap();
    for (other, given) in other.dparams.iter().flatten().zip(given.dparams.iter().flatten()) {
        assert_eq!(*other, 2.0 * given);
    }
    assert_ne!(other.dx, given.dx);
}

/// 200,704 positions about a mean of a hundred deviations.
#[test]
fn merges_many_partial_statistics_on_a_device() {
    let (positions, channels) = (16 * 112 * 112, 4);
    let p = Problem::new(Shape::new([1, 16, 112, 112, channels]), Activation::Plain, 1e-5).unwrap();
    let mut x: Vec<f32> = random(Kind::Real, "x", 1, positions * channels);
    x.iter_mut().for_each(|v| *v += 57.0);
    let params = [&[1.0; 4][..], &[0.0; 4][..]];
    let Some(got) = ran(&p, &x, params, With::default()) else { return };
    for c in 0..channels {
        let column = || x.iter().skip(c).step_by(channels).map(|&v| f64::from(v));
        let mean = column().sum::<f64>() / positions as f64;
        let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / positions as f64;
        let rstd = 1.0 / (variance + 1e-5).sqrt();
        let [got_mean, got_rstd] = [got.saved[2 * c], got.saved[2 * c + 1]].map(f64::from);
        assert!((got_mean / mean - 1.0).abs() < 1.5e-7, "mean {got_mean} instead of {mean}");
        assert!((got_rstd / rstd - 1.0).abs() < 3e-7, "rstd {got_rstd} instead of {rstd}");
    }
}

#[test]
fn clips_do_not_depend_on_their_place_in_a_batch_on_a_device() {
    for positions in [40, 700, 1300] {
        let (clips, channels) = (3, 72);
        let problem = |n: usize| {
            Problem::new(Shape::new([n, 1, 1, positions, channels]), Activation::Relu, 1e-5).unwrap()
        };
        let x: Vec<f32> = random(Kind::Real, "x", 1, clips * positions * channels);
        let [gamma, beta]: [Vec<f32>; 2] =
            ["gamma", "beta"].map(|name| random(Kind::Real, name, 1, channels));
        let params = [&gamma[..], &beta[..]];
        let Some(all) = ran(&problem(clips), &x, params, With::default()) else { return };
        for (i, x) in x.chunks_exact(positions * channels).enumerate() {
            let one = ran(&problem(1), x, params, With::default()).unwrap();
            let label = |what| format!("{positions} positions, clip {i}: {what}");
            let part = |v: &[f32]| v[i * x.len()..][..x.len()].to_vec();
            assert_same_bits(&label("y"), &one.y, &part(&all.y));
            assert_same_bits(&label("dx"), &one.dx, &part(&all.dx));
        }
    }
}

/// Whether the residual's gradient is written, added or not wanted decides what the last pass reads, not what it gives.
#[test]
fn dx_does_not_depend_on_the_gradient_of_the_residual_on_a_device() {
    for positions in [700, 1300] {
        let channels = 24;
        let shape = Shape::new([2, 1, 1, positions, channels]);
        let p = Problem::new(shape, Activation::AddRelu, 1e-5).unwrap();
        let x: Vec<f32> = random(Kind::Real, "x", 1, 2 * positions * channels);
        let [gamma, beta]: [Vec<f32>; 2] =
            ["gamma", "beta"].map(|name| random(Kind::Real, name, 1, channels));
        let dx = |dresidual| {
            let with = With { dresidual, ..With::default() };
            ran(&p, &x, [&gamma, &beta], with).map(|ran| ran.dx)
        };
        let Some(without) = dx(None) else { return };
        assert!(without.iter().any(|&v| v != 0.0));
        for mode in [WriteMode::Overwrite, WriteMode::Accumulate] {
            assert_same_bits(&format!("{positions} positions, {mode:?}"), &dx(Some(mode)).unwrap(), &without);
        }
    }
}
