//! Max-pool.

use hdc::device::{Address, Memory};
use hdc::eval::selftest::problems::{Case, POOLS, POOLS_APART, POOLS_OVERLAPPING};
use hdc::ops::max_pool3d::{Problem, reference};
use hdc::ops::{CudaForward, Forward, Op, Precision};
use hdc::tensor::{Real, Shape};

use crate::contract::{self, Feed, Reference};
use crate::data::{Kind, assert_close};
use crate::device;
use crate::{golden, gradient};

type Triple = [usize; 3];

fn golden_case<T: Real>(name: &str) {
    let case = golden::case(name);
    let label = &format!("{name} {:?}", T::DTYPE);
    let shape = case.shape_last("x");
    let [kernel, stride, pad] = ["kernel", "stride", "pad"].map(|k| case.triple(k));
    let p = Problem::new(&Shape::new(shape.clone()), kernel, stride, pad).unwrap();
    let op: &dyn Op<T> = &p;
    let feed = Feed { inputs: vec![case.values_last("x")], params: vec![], dy: case.values_last("dy") };
    let y = contract::forward(label, op, &feed, &|io| op.forward(io));
    assert_eq!(op.output_shape().dims(), case.shape_last("y"), "{label}");
    assert_close(label, &y.output, &case.values_last("y"), 0.0, 0.0);

    // PyTorch counts places in the whole map; ours are within the window.
    let (dims, out) = (&shape[1..4], op.output_shape().dims().to_vec());
    for (i, want) in case.ints_last("argmax").into_iter().enumerate() {
        let pos = i / out[4];
        let o = [pos / out[3] / out[2] % out[1], pos / out[3] % out[2], pos % out[3]];
        let k = usize::from(y.saved[i]);
        let k = [k / kernel[2] / kernel[1], k / kernel[2] % kernel[1], k % kernel[2]];
        let at: Triple = std::array::from_fn(|a| o[a] * stride[a] + k[a] - pad[a]);
        assert_eq!((at[0] * dims[1] + at[1]) * dims[2] + at[2], want as usize, "{label} argmax [{i}]");
    }
    let d = contract::backward(label, op, &feed, &y, &|io| op.backward(io));
    // Overlapping windows add up to eight gradients, in another order than PyTorch.
    assert_close(&format!("{label} dx"), &d.dx[0], &case.values_last("dx"), 1e-7, 0.0);
}

#[test]
fn agrees_with_pytorch() {
    let names = golden::cases("maxpool/");
    assert_eq!(names.len(), 18);
    for name in names {
        golden_case::<f64>(&name);
        golden_case::<f32>(&name);
    }
}

fn contract_case<T: Real>(kind: Kind) {
    for ([clips, t, h, w, c], kernel, stride, pad) in POOLS {
        let problem = |n: usize| Problem::new(&Shape::new([n, t, h, w, c]), kernel, stride, pad).unwrap();
        let p = problem(clips);
        let reference = Reference {
            forward: &|io| reference::forward(&p, io),
            backward: &|io| reference::backward(&p, io),
        };
        let label = &format!("{t}×{h}×{w}×{c} {kernel:?} {stride:?} {pad:?}");
        // Both add in raster order of the outputs, but accumulating rounds once more on real data.
        let tolerance = if kind == Kind::Integer { 0.0 } else { 1e-6 };
        contract::check::<T>(label, clips, &|n| Box::new(problem(n)), &reference, kind, tolerance);
    }
}

#[test]
fn keeps_the_contract() {
    for kind in [Kind::Real, Kind::Integer] {
        contract_case::<f32>(kind);
        contract_case::<f64>(kind);
    }
}

#[test]
fn keeps_the_contract_on_a_device() {
    for (dims, kernel, stride, pad) in [&POOLS[..], &POOLS_APART, &POOLS_OVERLAPPING].concat() {
        device::check(&Case::Pool(Problem::new(&Shape::new(dims), kernel, stride, pad).unwrap()));
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    for ([clips, t, h, w, c], kernel, stride, pad) in POOLS {
        let op = Problem::new(&Shape::new([clips, t, h, w, c]), kernel, stride, pad).unwrap();
        gradient::check(&format!("{clips}×{t}×{h}×{w}×{c} {kernel:?}"), &op, 3);
    }
}

#[test]
fn a_nan_wins_and_infinities_have_a_place() {
    let p = Problem::new(&Shape::new([1, 1, 1, 6, 1]), [1, 1, 3], [1, 1, 3], [0; 3]).unwrap();
    let x = [1.0, f32::NAN, 2.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    let (mut y, mut saved) = ([0.0; 2], [9; 2]);
    p.forward(Forward {
        inputs: [&x[..]].into_iter().collect(),
        params: Default::default(),
        output: &mut y,
        saved: &mut saved,
        workspace: &mut [],
    });
    assert!(y[0].is_nan() && y[1] == f32::NEG_INFINITY, "{y:?}");
    assert_eq!(saved, [1, 0]);
}

/// As above: channel c of a position is the c-th of these windows. In the last one the second NaN wins.
#[test]
fn a_nan_wins_and_infinities_have_a_place_on_a_device() {
    let Some(device) = device::device() else { return };
    const NAN: f32 = f32::NAN;
    const LEAST: f32 = f32::NEG_INFINITY;
    let windows = [[1.0, NAN, 2.0], [LEAST; 3], [0.0, -0.0, 0.0], [NAN, 3.0, NAN]];
    let (wanted, places) = ([NAN, LEAST, 0.0, NAN], [1, 0, 0, 2]);
    for channels in [4, 8] {
        let p = Problem::new(&Shape::new([1, 1, 1, 3, channels]), [1, 1, 3], [1, 1, 3], [0; 3]).unwrap();
        let x: Vec<f32> = (0..3).flat_map(|w| (0..channels).map(move |c| windows[c % 4][w])).collect();
        for precision in [Precision::F32, Precision::Bf16] {
            let bf16_bits = |v: &f32| (v.to_bits() >> 16) as u16; // exact for these
            let input = match precision {
                Precision::F32 => Memory::holding(&device, "x", &x),
                Precision::Bf16 => {
                    Memory::holding(&device, "x", &x.iter().map(bf16_bits).collect::<Vec<_>>())
                }
            }
            .unwrap();
            let plan = <Problem as Op<f32>>::cuda(&p, precision);
            let output = Memory::new(&device, "y", plan.output_bytes()).unwrap();
            let saved = Memory::new(&device, "places", plan.saved_bytes()).unwrap();
            let io = CudaForward {
                inputs: [input.address()].into_iter().collect(),
                statistics: Address::NULL,
                params: Default::default(),
                output: output.address(),
                output_statistics: Address::NULL,
                saved: saved.address(),
                workspace: Address::NULL,
            };
            let mut commands = vec![];
            plan.forward(&io, &mut commands);
            device::run(&device, &commands);
            let mut y = vec![0_f32; channels];
            match precision {
                Precision::F32 => output.download(0, &mut y).unwrap(),
                Precision::Bf16 => {
                    let mut bits = vec![0_u16; channels];
                    output.download(0, &mut bits).unwrap();
                    y = bits.into_iter().map(|b| f32::from_bits(u32::from(b) << 16)).collect();
                }
            }
            let mut won = vec![9_u8; channels];
            saved.download(0, &mut won).unwrap();
            for c in 0..channels {
                let (got, want) = (y[c], wanted[c % 4]);
                assert!(
                    got == want || got.is_nan() && want.is_nan(),
                    "{precision:?} {channels} [{c}]: {y:?}"
                );
                assert_eq!(won[c], places[c % 4], "{precision:?} {channels} [{c}]: {won:?}");
            }
        }
    }
}
