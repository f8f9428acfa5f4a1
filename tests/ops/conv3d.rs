//! Convolution.

use std::sync::Arc;

use arrayvec::ArrayVec;
use half::bf16;
use hdc::device::{Address, Device, Memory};
use hdc::eval::selftest::problems::{
    CONVOLUTIONS, CONVOLUTIONS_WITH_STATISTICS, Case, Convolution, LAYERS, WIDE_CONVOLUTIONS,
};
use hdc::ops::conv3d::{Conv3d, Problem, reference};
use hdc::ops::{
    Backward, CudaBackward, CudaForward, CudaGradient, CudaParam, Forward, Op, Pass, Precision, WriteMode,
};
use hdc::tensor::Real;
use proptest::prelude::*;

use crate::contract::{self, Feed, Reference};
use crate::data::{Kind, assert_close, assert_same_bits, random, to_f64};
use crate::device::{check, device, run};
use crate::{golden, gradient};

type Triple = [usize; 3];

const fn case([n, c, k]: Triple, input: Triple, filter: Triple, stride: Triple, pad: Triple) -> Convolution {
    Convolution { n, c, k, input, filter, stride, pad }
}

const CUBE: Triple = [3; 3];
const ONE: Triple = [1; 3];
const TWO: Triple = [2; 3];
const NONE: Triple = [0; 3];

/// The specification, summed in f64 and rounded once: on f32 it would itself be as far off as what it judges.
fn specified_forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let mut y = vec![f64::NAN; io.output.len()];
    reference::fprop(p, &to_f64(io.inputs[0]), &to_f64(io.params[0]), &mut y);
    io.output.iter_mut().zip(y).for_each(|(to, y)| *to = T::from_f64(y));
}

fn specified_backward<T: Real>(p: &Problem, io: Backward<'_, T>) {
    let (x, w, dy) = (to_f64(io.inputs[0]), to_f64(io.params[0]), to_f64(io.dy));
    let round = |to: &mut [T], from: Vec<f64>| to.iter_mut().zip(from).for_each(|(t, v)| *t = T::from_f64(v));
    for dw in io.dparams {
        let mut sums = vec![f64::NAN; w.len()];
        reference::wgrad(p, &x, &dy, &mut sums, WriteMode::Overwrite);
        round(dw.data, sums);
    }
    for dx in io.dx.into_iter().flatten() {
        let mut sums = vec![f64::NAN; x.len()];
        reference::dgrad(p, &dy, &w, &mut sums, WriteMode::Overwrite);
        round(dx.data, sums);
    }
}

fn golden_case<T: Real>(name: &str) {
    let case = golden::case(name);
    let label = &format!("{name} {:?}", T::DTYPE);
    let (x, w) = (case.shape("x"), case.shape("w"));
    let tail = |shape: &[usize]| [shape[2], shape[3], shape[4]];
    let [stride, pad] = ["stride", "pad"].map(|key| case.triple(key));
    let p = Problem::new(x[0], x[1], w[0], tail(&x), tail(&w), stride, pad).unwrap();
    assert_eq!(p.output(), tail(&case.shape("y")), "{label}");
    let op: &dyn Op<T> = &Conv3d::new(p);
    let feed = Feed {
        inputs: vec![case.values_last("x")],
        params: vec![case.values_last("w")],
        dy: case.values_last("dy"),
    };
    let y = contract::forward(label, op, &feed, &|io| op.forward(io));
    assert_close(label, &y.output, &case.values_last("y"), 1e-6, 0.0);
    let d = contract::backward(label, op, &feed, &y, &|io| op.backward(io));
    assert_close(&format!("{label} dx"), &d.dx[0], &case.values_last("dx"), 1e-6, 0.0);
    assert_close(&format!("{label} dw"), &d.dparams[0], &case.values_last("dw"), 1e-6, 0.0);
}

#[test]
fn agrees_with_pytorch() {
    let names = golden::cases("conv/");
    assert_eq!(names.len(), 18);
    for name in names {
        golden_case::<f64>(&name);
        golden_case::<f32>(&name);
    }
}

fn contract_case<T: Real>(case: &Convolution, kind: Kind, tolerance: f64) {
    let p = case.problem(case.n).unwrap();
    let reference =
        Reference { forward: &|io| specified_forward(&p, io), backward: &|io| specified_backward(&p, io) };
    let make = |n: usize| -> Box<dyn Op<T>> { Box::new(Conv3d::new(case.problem(n).unwrap())) };
    contract::check::<T>(&format!("{case:?}"), case.n, &make, &reference, kind, tolerance);
}

#[test]
fn keeps_the_contract() {
    for case in &CONVOLUTIONS {
        contract_case::<f32>(case, Kind::Integer, 0.0);
        contract_case::<f64>(case, Kind::Integer, 0.0);
        contract_case::<f32>(case, Kind::Real, 1e-6);
        contract_case::<f64>(case, Kind::Real, 1e-14);
    }
}

fn device_cases(cases: &[Convolution]) {
    cases.iter().for_each(|c| check(&Case::Convolution(c.problem(c.n).unwrap())));
}

#[test]
fn keeps_the_contract_on_a_device() {
    device_cases(&CONVOLUTIONS);
}

#[test]
fn tiles_of_all_widths_keep_the_contract_on_a_device() {
    device_cases(&WIDE_CONVOLUTIONS);
}

#[test]
fn clips_just_large_enough_have_statistics_on_a_device() {
    device_cases(&CONVOLUTIONS_WITH_STATISTICS);
}

#[test]
fn layers_of_the_backbones_keep_the_contract_on_a_device() {
    device_cases(&LAYERS);
}

/// y, its statistics and dx of `n` clips on a device, as stored.
fn clips_on_device(
    device: &Arc<Device>,
    case: &Convolution,
    n: usize,
    [x, w, dy]: [&[u8]; 3],
) -> [Vec<u8>; 3] {
    let op = Conv3d::new(case.problem(n).unwrap());
    let plan = <Conv3d as Op<f32>>::cuda(&op, Precision::Bf16);
    let hold = |bytes: &[u8]| Memory::holding(device, "test data", bytes).unwrap();
    let [input, filter, gradient] = [x, w, dy].map(hold);
    let [dx, y] = [x, dy].map(|like| hold(&vec![0xFF; like.len()]));
    let dw = hold(&vec![0xFF; w.len() * 2]);
    let statistics = hold(&vec![0xFF; plan.statistics_bytes()]);
    let workspace = Memory::new(device, "test data", plan.workspace_bytes(Pass::Backward)).unwrap();
    let params = ArrayVec::from_iter([CudaParam { master: Address::NULL, compute: filter.address() }]);
    let statistics_at = if statistics.bytes() == 0 { Address::NULL } else { statistics.address() };
    let mut commands = vec![];
    plan.forward(
        &CudaForward {
            inputs: ArrayVec::from_iter([input.address()]),
            statistics: Address::NULL,
            params: params.clone(),
            output: y.address(),
            output_statistics: statistics_at,
            saved: Address::NULL,
            workspace: Address::NULL,
        },
        &mut commands,
    );
    let to = |m: &Memory| CudaGradient { at: m.address(), mode: WriteMode::Overwrite };
    plan.backward(
        &CudaBackward {
            inputs: ArrayVec::from_iter([input.address()]),
            params,
            output: Address::NULL,
            saved: Address::NULL,
            dy: gradient.address(),
            dy_sums: Address::NULL,
            norm_below: None,
            dx: ArrayVec::from_iter([Some(to(&dx))]),
            dparams: ArrayVec::from_iter([to(&dw)]),
            workspace: workspace.address(),
        },
        &mut commands,
    );
    run(device, &commands);
    [&y, &statistics, &dx].map(|m| {
        let mut bytes = vec![0; m.bytes()];
        m.download(0, &mut bytes).unwrap();
        bytes
    })
}

/// Whatever tiles a batch is cut into, the bits of a clip are those that it has alone.
#[test]
fn a_clip_does_not_depend_on_its_batch_on_a_device() {
    let Some(device) = &device() else { return };
    for case in [
        case([4, 8, 64], [9, 31, 31], ONE, ONE, NONE), // tiles of 64 columns, alone of 32; with statistics
        case([3, 16, 24], [3, 6, 7], CUBE, TWO, ONE),  // tiles over several clips
    ] {
        let p = case.problem(case.n).unwrap();
        let bf16s = |name, n| -> Vec<u8> {
            let values: Vec<f32> = random(Kind::Real, name, 3, n);
            values.into_iter().flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect()
        };
        let (x, w, dy) = (bf16s("x", p.x_len()), bf16s("w", p.w_len()), bf16s("dy", p.y_len()));
        let all = clips_on_device(device, &case, case.n, [&x, &w, &dy]);
        assert_eq!(all[1].is_empty(), case.filter == CUBE, "{case:?}");
        for clip in 0..case.n {
            let part = |v: &[u8]| v[v.len() / case.n * clip..v.len() / case.n * (clip + 1)].to_vec();
            let alone = clips_on_device(device, &case, 1, [&part(&x), &w, &part(&dy)]);
            for (what, alone, all) in
                [("y", 0), ("statistics", 1), ("dx", 2)].map(|(w, i)| (w, &alone[i], &all[i]))
            {
                assert!(*alone == part(all), "{case:?}: other {what} of clip {clip} alone");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    for case in &CONVOLUTIONS {
        gradient::check(&format!("{case:?}"), &Conv3d::new(case.problem(case.n).unwrap()), 4);
    }
}

/// Any problem that can be stated, most of them with a tail somewhere.
fn problems() -> impl Strategy<Value = Convolution> {
    let axis = (1_usize..=7, 1_usize..=5, 1_usize..=3)
        .prop_flat_map(|(input, filter, stride)| (Just((input, filter, stride)), 0..=filter))
        .prop_filter("the filter fits", |((input, filter, _), pad)| *filter <= input + 2 * pad);
    let axes = proptest::array::uniform3(axis);
    let channels = || prop_oneof![1_usize..=9, 15_usize..=18, 31_usize..=34];
    ((1_usize..=3, channels(), channels()), axes).prop_map(|((n, c, k), axes)| Convolution {
        n,
        c,
        k,
        input: axes.map(|((input, _, _), _)| input),
        filter: axes.map(|((_, filter, _), _)| filter),
        stride: axes.map(|((_, _, stride), _)| stride),
        pad: axes.map(|(_, pad)| pad),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    /// On integers every order of summation gives the same bits, so nothing may differ.
    #[test]
    fn any_problem_gives_exactly_what_is_specified(case in problems(), seed in 0_u64..1000) {
        let p = case.problem(case.n).unwrap();
        let (label, op) = (&format!("{case:?} seed={seed}"), &Conv3d::new(p));
        let feed = Feed::<f32>::random(op, Kind::Integer, seed);
        let y = contract::forward(label, op, &feed, &|io| op.forward(io));
        let d = contract::backward(label, op, &feed, &y, &|io| op.backward(io));
        let specified = contract::forward(label, op, &feed, &|io| specified_forward(&p, io));
        let wanted = contract::backward(label, op, &feed, &specified, &|io| specified_backward(&p, io));
        // Adding 0 turns −0 into 0.
        let plain = |v: &[f32]| v.iter().map(|v| v + 0.0).collect::<Vec<_>>();
        for (what, got, want) in [
            ("y", &y.output, &specified.output),
            ("dx", &d.dx[0], &wanted.dx[0]),
            ("dw", &d.dparams[0], &wanted.dparams[0]),
        ] {
            assert_same_bits(&format!("{label} {what}"), &plain(got), &plain(want));
        }
    }
}

#[test]
fn a_bad_problem_is_refused_with_what_is_wrong_and_a_remedy() {
    let good = case([2, 3, 4], [4, 5, 6], CUBE, ONE, ONE);
    good.problem(2).unwrap();
    let zero = |axis: usize, mut of: Triple| {
        of[axis] = 0;
        of
    };
    let mut bad = vec![
        (Convolution { n: 0, ..good }, "N 0".to_string()),
        (Convolution { c: 0, ..good }, "C 0".to_string()),
        (Convolution { k: 0, ..good }, "K 0".to_string()),
    ];
    for axis in 0..3 {
        let (input, filter, stride) = (zero(axis, good.input), zero(axis, CUBE), zero(axis, ONE));
        bad.push((Convolution { input, ..good }, format!("input {input:?}")));
        bad.push((Convolution { filter, ..good }, format!("filter {filter:?}")));
        bad.push((Convolution { stride, ..good }, format!("stride {stride:?}")));
        let mut filter = CUBE;
        filter[axis] = good.input[axis] + 3; // one more than the padded input
        bad.push((Convolution { filter, ..good }, format!("filter {filter:?} exceeds the input")));
    }
    for (case, part) in bad {
        let message = case.problem(case.n).unwrap_err().to_string();
        assert!(message.starts_with("conv3d: ") && message.contains(&part), "{part}: {message}");
        assert!(message.contains("help: "), "{message}");
    }
}
