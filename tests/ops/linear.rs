//! Linear layer.

use hdc::eval::selftest::problems::{Case, LINEAR};
use hdc::ops::Op;
use hdc::ops::linear::{Problem, reference};
use hdc::tensor::{Real, Shape};

use crate::contract::{self, Feed, Reference};
use crate::data::{Kind, assert_close};
use crate::{device, golden, gradient};

fn golden_case<T: Real>(name: &str) {
    let case = golden::case(name);
    let label = &format!("{name} {:?}", T::DTYPE);
    let p = Problem::new(Shape::new(case.shape("x")), case.shape("w")[0]).unwrap();
    let op: &dyn Op<T> = &p;
    let params = vec![case.values("w"), case.values("b")];
    let feed = Feed { inputs: vec![case.values("x")], params, dy: case.values("dy") };
    let y = contract::forward(label, op, &feed, &|io| op.forward(io));
    assert_close(label, &y.output, &case.values("y"), 1e-6, 0.0);
    let d = contract::backward(label, op, &feed, &y, &|io| op.backward(io));
    assert_close(&format!("{label} dx"), &d.dx[0], &case.values("dx"), 1e-6, 0.0);
    assert_close(&format!("{label} dw"), &d.dparams[0], &case.values("dw"), 1e-6, 0.0);
    assert_close(&format!("{label} db"), &d.dparams[1], &case.values("db"), 1e-6, 0.0);
}

#[test]
fn agrees_with_pytorch() {
    let names = golden::cases("linear/");
    assert_eq!(names.len(), 3);
    for name in names {
        golden_case::<f64>(&name);
        golden_case::<f32>(&name);
    }
}

fn contract_case<T: Real>(kind: Kind, tolerance: f64) {
    for (dims, outputs) in LINEAR {
        let problem = |n: usize| {
            let mut dims = dims.to_vec();
            dims[0] = n;
            Problem::new(Shape::new(dims), outputs).unwrap()
        };
        let p = problem(dims[0]);
        let reference = Reference {
            forward: &|io| reference::forward(&p, io),
            backward: &|io| reference::backward(&p, io),
        };
        let label = &format!("{dims:?} to {outputs}");
        contract::check::<T>(label, dims[0], &|n| Box::new(problem(n)), &reference, kind, tolerance);
    }
}

#[test]
fn keeps_the_contract() {
    contract_case::<f32>(Kind::Integer, 0.0);
    contract_case::<f64>(Kind::Integer, 0.0);
    contract_case::<f32>(Kind::Real, 1e-6);
    contract_case::<f64>(Kind::Real, 1e-12);
}

#[test]
fn keeps_the_contract_on_a_device() {
    for (dims, outputs) in LINEAR {
        device::check(&Case::Linear(Problem::new(Shape::new(dims), outputs).unwrap()));
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    for (dims, outputs) in LINEAR {
        gradient::check(&format!("{dims:?}"), &Problem::new(Shape::new(dims), outputs).unwrap(), 5);
    }
}
