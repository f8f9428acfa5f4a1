//! S-Avg and G-Avg.

use hdc::eval::selftest::problems::{Case, SLOTS};
use hdc::ops::Op;
use hdc::ops::slot_pool::{Problem, reference};
use hdc::tensor::{Real, Shape};

use crate::contract::{self, Feed, Reference};
use crate::data::{Kind, assert_close};
use crate::{device, golden, gradient};

fn golden_case<T: Real>(name: &str) {
    let case = golden::case(name);
    let label = &format!("{name} {:?}", T::DTYPE);
    let shape = Shape::new(case.shape_last("x"));
    let slots = Problem::slots(shape).unwrap();
    let op: &dyn Op<T> = &slots;
    let global = Problem::global(op.output_shape()).unwrap();

    let feed = Feed { inputs: vec![case.values_last("x")], params: vec![], dy: case.values("dy2d") };
    let y = contract::forward(label, op, &feed, &|io| op.forward(io));
    assert_close(&format!("{label} slots"), &y.output, &case.values("y2d"), 1e-6, 0.0);
    let d = contract::backward(label, op, &feed, &y, &|io| op.backward(io));
    assert_close(&format!("{label} slots dx"), &d.dx[0], &case.values_last("dx2d"), 1e-6, 0.0);

    let op: &dyn Op<T> = &global;
    let feed2 = Feed { inputs: vec![y.output.clone()], params: vec![], dy: case.values("dy3d") };
    let y2 = contract::forward(label, op, &feed2, &|io| op.forward(io));
    assert_close(&format!("{label} global"), &y2.output, &case.values("y3d"), 1e-6, 0.0);
    let mut d2 = contract::backward(label, op, &feed2, &y2, &|io| op.backward(io));
    let op: &dyn Op<T> = &slots;
    let feed = Feed { dy: d2.dx.remove(0), ..feed };
    let d = contract::backward(label, op, &feed, &y, &|io| op.backward(io));
    assert_close(&format!("{label} global dx"), &d.dx[0], &case.values_last("dx3d"), 1e-6, 0.0);
}

#[test]
fn agrees_with_pytorch() {
    let names = golden::cases("avgpool/");
    assert_eq!(names.len(), 3);
    for name in names {
        golden_case::<f64>(&name);
        golden_case::<f32>(&name);
    }
}

fn contract_case<T: Real>(tolerance: f64) {
    let check = |clips: usize, make: &dyn Fn(usize) -> Problem| {
        let p = make(clips);
        let reference = Reference {
            forward: &|io| reference::forward(&p, io),
            backward: &|io| reference::backward(&p, io),
        };
        let boxed = |n| -> Box<dyn Op<T>> { Box::new(make(n)) };
        contract::check::<T>(&format!("{p:?}"), clips, &boxed, &reference, Kind::Real, tolerance);
    };
    for [n, t, h, w, c] in SLOTS {
        check(n, &|n| Problem::slots(Shape::new([n, t, h, w, c])).unwrap());
        check(n, &|n| Problem::global(Shape::new([n, t, c])).unwrap());
    }
}

#[test]
fn keeps_the_contract() {
    contract_case::<f32>(1e-6);
    contract_case::<f64>(1e-12);
}

#[test]
fn keeps_the_contract_on_a_device() {
    for dims @ [n, t, .., c] in SLOTS {
        device::check(&Case::Slots(Problem::slots(Shape::new(dims)).unwrap()));
        device::check(&Case::Slots(Problem::global(Shape::new([n, t, c])).unwrap()));
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    for [n, t, h, w, c] in SLOTS.into_iter().take(5) {
        gradient::check("slots", &Problem::slots(Shape::new([n, t, h, w, c])).unwrap(), 4);
        gradient::check("global", &Problem::global(Shape::new([n, t, c])).unwrap(), 4);
    }
}
