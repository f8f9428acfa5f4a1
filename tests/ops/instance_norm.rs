//! Instance norm.

use hdc::ops::instance_norm::{Activation, Problem, reference};
use hdc::ops::{Backward, Forward, Op, Precision};
use hdc::tensor::{Real, Shape};

use crate::contract::{self, Feed, Reference};
use crate::data::{Kind, assert_close};
use crate::device::Subject;
use crate::{golden, gradient};

const ACTIVATIONS: [Activation; 3] = [Activation::Plain, Activation::Relu, Activation::AddRelu];

/// Clips, and extents (T, H, W, C) of one.
const HOSTILE: [(usize, [usize; 4]); 10] = [
    (3, [4, 7, 9, 5]),
    (1, [1, 1, 2, 1]),
    (2, [3, 5, 7, 3]),
    (2, [2, 1, 1, 8]),
    (2, [2, 3, 3, 83]),
    (1, [2, 2, 3, 144]),
    (2, [1, 3, 3, 1024]),
    (2, [1, 2, 3, 1153]),
    // More than one part, with a tail; run clip by clip.
    (2, [8, 21, 27, 64]),
    (2, [3, 100, 300, 3]),
];

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
    for (clips, dims) in HOSTILE {
        for activation in ACTIVATIONS {
            contract_case::<f64>(clips, dims, activation, 1e-12);
            contract_case::<f32>(clips, dims, activation, 1e-6);
        }
    }
}

/// On both sides of where partial statistics begin, with channels that fill a block's columns badly and well.
const BORDERS: [(usize, [usize; 4]); 9] = [
    (2, [1, 11, 93, 3]),
    (1, [1, 11, 93, 20]),
    (1, [1, 11, 93, 64]),
    (1, [4, 16, 16, 3]),
    (2, [4, 16, 16, 20]),
    (1, [4, 16, 16, 64]),
    (2, [1, 25, 41, 3]),
    (1, [1, 25, 41, 20]),
    (1, [1, 25, 41, 64]),
];

/// Many clips; more than 256 vectors to a position; hundreds of tiles.
const LARGE: [(usize, [usize; 4]); 3] = [(150, [1, 2, 3, 5]), (1, [8, 8, 16, 1153]), (1, [2, 250, 120, 8])];

fn device_case(clips: usize, [t, h, w, c]: [usize; 4]) {
    for activation in ACTIVATIONS {
        let p = Problem::new(Shape::new([clips, t, h, w, c]), activation, 1e-5).unwrap();
        let reference = Reference {
            forward: &|io| reference::forward(&p, io),
            backward: &|io| reference::backward(&p, io),
        };
        for precision in [Precision::F32, Precision::Bf16] {
            let label = format!("{activation:?} {clips}×{t}×{h}×{w}×{c} {precision:?}");
            Subject { label, op: &p, precision, input: precision, output: precision }
                .check(&reference, Kind::Real);
        }
    }
}

#[test]
fn keeps_the_contract_on_a_device() {
    for (clips, dims) in HOSTILE {
        device_case(clips, dims);
    }
}

#[test]
fn keeps_the_contract_on_a_device_at_borders() {
    for (clips, dims) in BORDERS {
        device_case(clips, dims);
    }
}

#[test]
fn keeps_the_contract_on_a_device_when_large() {
    for (clips, dims) in LARGE {
        device_case(clips, dims);
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    for (clips, [t, h, w, c]) in HOSTILE.into_iter().take(8) {
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
