//! Norm, ReLU and max-pool as one operation: its specification, and the operations that it stands for.

use std::sync::Arc;

use hdc::device::{Address, Device, Memory};
use hdc::eval::selftest::{self, problems::NORM_POOLS};
use hdc::graph::cuda_tensor::{from_device, to_device};
use hdc::ops::instance_norm::{self, Activation, Pooled, reference};
use hdc::ops::{
    CudaBackward, CudaForward, CudaGradient, CudaParam, Op, Pass, Precision, WriteMode, max_pool3d, pitch,
};
use hdc::tensor::{Real, Shape};

use crate::contract::{self, Feed, Reference};
use crate::data::{Kind, assert_close, assert_same_bits, random, to_f64};
use crate::device;
use crate::gradient;

type Triple = [usize; 3];

/// Clips, extents (T, H, W, C) of one, kernel, stride, pad.
type Case = (usize, [usize; 4], Triple, Triple, Triple);

fn hostile() -> impl Iterator<Item = Case> {
    NORM_POOLS
        .into_iter()
        .map(|([n, t, h, w, c], kernel, stride, pad)| (n, [t, h, w, c], kernel, stride, pad))
}

const EPS: f64 = 1e-5;

fn label((clips, [t, h, w, c], kernel, stride, pad): Case) -> String {
    format!("{clips}×{t}×{h}×{w}×{c} {kernel:?} {stride:?} {pad:?}")
}

fn pooled((_, [t, h, w, c], kernel, stride, pad): Case, clips: usize, eps: f64) -> Pooled {
    Pooled::new(Shape::new([clips, t, h, w, c]), kernel, stride, pad, eps).unwrap()
}

/// The two operations that it stands for.
fn separate(
    (clips, [t, h, w, c], kernel, stride, pad): Case,
) -> (instance_norm::Problem, max_pool3d::Problem) {
    let shape = Shape::new([clips, t, h, w, c]);
    let pool = max_pool3d::Problem::new(&shape, kernel, stride, pad).unwrap();
    (instance_norm::Problem::new(shape, Activation::Relu, EPS).unwrap(), pool)
}

fn contract_case<T: Real>(case: Case, kind: Kind, tolerance: f64) {
    let p = pooled(case, case.0, EPS);
    let reference = Reference {
        forward: &|io| reference::pooled_forward(&p, io),
        backward: &|io| reference::pooled_backward(&p, io),
    };
    let make = |n| -> Box<dyn Op<T>> { Box::new(pooled(case, n, EPS)) };
    contract::check::<T>(&label(case), case.0, &make, &reference, kind, tolerance);
}

#[test]
fn keeps_the_contract() {
    for case in hostile() {
        contract_case::<f64>(case, Kind::Real, 1e-12);
        contract_case::<f64>(case, Kind::Coarse, 1e-12);
        contract_case::<f32>(case, Kind::Coarse, 1e-6);
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    // Of thousands of positions some are so near a kink that a step crosses it.
    for case in hostile().take(9) {
        gradient::check(&label(case), &pooled(case, case.0, 1e-2), 2);
    }
}

fn equals_the_separate_ones<T: Real>(case: Case, tolerance: f64) {
    let label = &format!("{} {:?}", label(case), T::DTYPE);
    let fused: &dyn Op<T> = &pooled(case, case.0, EPS);
    let (norm, pool) = separate(case);
    let (norm, pool): (&dyn Op<T>, &dyn Op<T>) = (&norm, &pool);
    let feed = Feed::random(fused, Kind::Real, 3);
    let y = contract::forward(label, fused, &feed, &|io| fused.forward(io));
    let d = contract::backward(label, fused, &feed, &y, &|io| fused.backward(io));

    let mut norm_feed = Feed { inputs: feed.inputs.clone(), params: feed.params.clone(), dy: vec![] };
    let z = contract::forward(label, norm, &norm_feed, &|io| norm.forward(io));
    let pool_feed = Feed { inputs: vec![z.output.clone()], params: vec![], dy: feed.dy.clone() };
    let wanted = contract::forward(label, pool, &pool_feed, &|io| pool.forward(io));
    assert_same_bits(label, &y.output, &wanted.output);
    assert_eq!(y.saved[y.saved.len() - wanted.saved.len()..], wanted.saved, "{label}: winners");
    norm_feed.dy = contract::backward(label, pool, &pool_feed, &wanted, &|io| pool.backward(io)).dx.remove(0);
    let wanted = contract::backward(label, norm, &norm_feed, &z, &|io| norm.backward(io));
    let scale = 0.5 * (d.dx[0].len() as f64).sqrt();
    assert_close(&format!("{label} dx"), &d.dx[0], &to_f64(&wanted.dx[0]), tolerance, scale);
    for (i, (got, want)) in d.dparams.iter().zip(&wanted.dparams).enumerate() {
        assert_close(&format!("{label} dparam{i}"), got, &to_f64(want), tolerance, 0.0);
    }
}

#[test]
fn is_the_norm_and_then_the_pool_to_the_bit() {
    for case in hostile() {
        equals_the_separate_ones::<f32>(case, 1e-6);
        equals_the_separate_ones::<f64>(case, 1e-14);
    }
}

#[test]
fn a_nan_is_passed_on() {
    let p = Pooled::new(Shape::new([1, 1, 1, 4, 2]), [1, 1, 2], [1, 1, 2], [0; 3], EPS).unwrap();
    let mut x = random::<f32>(Kind::Real, "x", 1, 8);
    x[2] = f32::NAN;
    let (mut y, mut saved, mut workspace) = ([0.0_f32; 4], [0_u64; 4], [0_f64; 16]);
    p.forward(hdc::ops::Forward {
        inputs: [&x[..]].into_iter().collect(),
        params: [&[1.0; 2][..], &[0.0; 2][..]].into_iter().collect(),
        output: &mut y,
        saved: &mut bytemuck::cast_slice_mut(&mut saved)[..<Pooled as Op<f32>>::saved_bytes(&p)],
        workspace: bytemuck::cast_slice_mut(&mut workspace),
    });
    assert!(y[0].is_nan() && y[2].is_nan() && y[1].is_finite() && y[3].is_finite(), "{y:?}");
}

#[test]
fn keeps_the_contract_on_a_device() {
    for case in hostile() {
        device::check(&selftest::problems::Case::NormPool(pooled(case, case.0, EPS)));
    }
}

/// An operation with all of its buffers on a device.
struct OnDevice<'a> {
    device: &'a Arc<Device>,
    op: &'a dyn Op<f32>,
    precision: Precision,
    input: Memory,
    params: Vec<Memory>,
    output: Memory,
    saved: Memory,
    workspace: Memory,
}

impl<'a> OnDevice<'a> {
    fn new(
        device: &'a Arc<Device>,
        op: &'a dyn Op<f32>,
        precision: Precision,
        x: &[u8],
        params: &[Vec<f32>],
    ) -> Self {
        let plan = op.cuda(precision);
        let room = |bytes: usize| Memory::new(device, "test data", bytes).unwrap();
        let holding = |bytes: &[u8]| Memory::holding(device, "test data", bytes).unwrap();
        Self {
            input: holding(x),
            params: params.iter().map(|v| holding(&to_device(v, v.len(), Precision::F32))).collect(),
            output: room(plan.output_bytes()),
            saved: room(plan.saved_bytes()),
            workspace: room(plan.workspace_bytes(Pass::Forward)),
            device,
            op,
            precision,
        }
    }

    fn params(&self) -> impl Iterator<Item = CudaParam> {
        self.params.iter().map(|m| CudaParam { master: m.address(), compute: Address::NULL })
    }

    /// Output and what is saved.
    fn forward(&self, statistics: Address) -> (Vec<u8>, Vec<u8>) {
        let io = CudaForward {
            inputs: [self.input.address()].into_iter().collect(),
            statistics,
            params: self.params().collect(),
            output: self.output.address(),
            output_statistics: Address::NULL,
            saved: self.saved.address(),
            workspace: if statistics == Address::NULL { self.workspace.address() } else { Address::NULL },
        };
        let mut commands = vec![];
        self.op.cuda(self.precision).forward(&io, &mut commands);
        device::run(self.device, &commands);
        (contents(&self.output), contents(&self.saved))
    }

    /// Gradients of the input and of the parameters.
    fn backward(&self, dy: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let plan = self.op.cuda(self.precision);
        let room = |bytes: usize| Memory::new(self.device, "test data", bytes).unwrap();
        let dy = Memory::holding(self.device, "test data", dy).unwrap();
        let dx = room(self.input.bytes());
        let dparams: Vec<_> = self.params.iter().map(|m| room(m.bytes())).collect();
        let workspace = room(plan.workspace_bytes(Pass::Backward));
        let gradient = |m: &Memory| CudaGradient { at: m.address(), mode: WriteMode::Overwrite };
        let io = CudaBackward {
            inputs: [self.input.address()].into_iter().collect(),
            params: self.params().collect(),
            output: Address::NULL,
            saved: self.saved.address(),
            dy: dy.address(),
            dy_sums: Address::NULL,
            norm_below: None,
            dx: [Some(gradient(&dx))].into_iter().collect(),
            dparams: dparams.iter().map(gradient).collect(),
            workspace: workspace.address(),
        };
        let mut commands = vec![];
        plan.backward(&io, &mut commands);
        device::run(self.device, &commands);
        (contents(&dx), dparams.iter().map(contents).collect())
    }
}

fn contents(m: &Memory) -> Vec<u8> {
    let mut bytes = vec![0; m.bytes()];
    m.download(0, &mut bytes).unwrap();
    bytes
}

fn equals_the_separate_ones_on_a_device(device: &Arc<Device>, case: Case, precision: Precision) {
    let label = &format!("{} {precision:?}", label(case));
    let fused = pooled(case, case.0, EPS);
    let (norm, pool) = separate(case);
    let feed = Feed::<f32>::random(&fused, Kind::Real, 3);
    let c = case.1[3];
    let [x, dy] = [&feed.inputs[0], &feed.dy].map(|v| to_device(v, c, precision));
    let fused = OnDevice::new(device, &fused, precision, &x, &feed.params);
    let (y, saved) = fused.forward(Address::NULL);
    let (dx, dparams) = fused.backward(&dy);
    if case.1[..3].iter().product::<usize>() >= hdc::ops::statistics::SMALLEST {
        // What the workspace now holds is what a convolution would have left.
        assert_eq!(
            fused.forward(fused.workspace.address()),
            (y.clone(), saved.clone()),
            "{label}: given statistics"
        );
    }

    let norm = OnDevice::new(device, &norm, precision, &x, &feed.params);
    let (z, statistics) = norm.forward(Address::NULL);
    let pool = OnDevice::new(device, &pool, precision, &z, &[]);
    let (wanted, won) = pool.forward(Address::NULL);
    assert_eq!(y, wanted, "{label}: output");
    assert_eq!(saved, [statistics, won].concat(), "{label}: saved");
    let (dz, _) = pool.backward(&dy);
    let (wanted, wanted_dparams) = norm.backward(&dz);
    // Where windows overlap, the pool's gradient is a sum that the two round in between.
    let tolerance = if precision == Precision::F32 { 1e-6 } else { 8e-3 };
    let values = |bytes: &[u8], precision: Precision| {
        let mut values = vec![0.0; bytes.len() / precision.size()];
        from_device(bytes, pitch(c), precision, &mut values);
        values
    };
    let scale = 0.5 * (feed.inputs[0].len() as f64).sqrt();
    let compare = |what: &str, got: &[u8], want: &[u8], precision, scale| {
        let (got, want) = (values(got, precision), to_f64(&values(want, precision)));
        assert_close(&format!("{label} {what}"), &got, &want, tolerance, scale);
    };
    compare("dx", &dx, &wanted, precision, scale);
    for (got, want) in dparams.iter().zip(&wanted_dparams) {
        compare("dparam", got, want, Precision::F32, 0.0);
    }
}

#[test]
fn is_the_norm_and_then_the_pool_to_the_bit_on_a_device() {
    let Some(device) = device::device() else { return };
    for case in hostile() {
        for precision in [Precision::F32, Precision::Bf16] {
            equals_the_separate_ones_on_a_device(&device, case, precision);
        }
    }
}
