//! Whole kernels as nvcc compiles them: convolutions with tensor cores, and the rest of a training step. They must
//! give right results under many schedules, without a report; with a bug planted, the report must name it.

mod common;

use common::{Machine, Params, Random, compile, grid, told};
use half::bf16;
use ptxsim::async_copy::tensor_map::{self, TensorMap, Tiled};
use ptxsim::check::finding::Kind;
use ptxsim::launch::Outcome;

/// Schedules tried: the plain one and seeded ones.
fn seeds() -> impl Iterator<Item = Option<u64>> {
    std::iter::once(None).chain((0..8).map(Some))
}

const N: usize = 1;
const T: usize = 3;
const H: usize = 9;
const W: usize = 10;
const C: usize = 64;
const K: usize = 64;

/// Small integers, so that sums are exact in any order.
fn integers(count: usize, seed: u64) -> Vec<bf16> {
    let mut random = Random::new(seed);
    (0..count).map(|_| bf16::from_f32(random.below(5) as f32 - 2.0)).collect()
}

/// y[m][k] = Σ x[m + tap][c] · w[k][tap][c]
fn reference(x: &[bf16], w: &[bf16]) -> Vec<bf16> {
    let mut y = Vec::with_capacity(N * T * H * W * K);
    for (t, h, v) in (0..T).flat_map(|t| (0..H).flat_map(move |h| (0..W).map(move |v| (t, h, v)))) {
        for k in 0..K {
            let mut sum = 0f32;
            for tap in 0..27 {
                let (t, h, v) = (t + tap / 9, h + tap / 3 % 3, v + tap % 3);
                if !(1..=T).contains(&t) || !(1..=H).contains(&h) || !(1..=W).contains(&v) {
                    continue;
                }
                let pixel = (((t - 1) * H + h - 1) * W + v - 1) * C;
                let filter = (k * 27 + tap) * C;
                sum += (0..C).map(|c| x[pixel + c].to_f32() * w[filter + c].to_f32()).sum::<f32>();
            }
            y.push(bf16::from_f32(sum));
        }
    }
    y
}

/// Runs the convolution for sm_80; the result may be nothing if the launch stopped.
fn conv80(machine: &Machine, ptx: &str) -> (Vec<bf16>, Outcome) {
    let (x, w) = (integers(N * T * H * W * C, 1), integers(K * 27 * C, 2));
    let (px, pw) = (machine.put(&x), machine.put(&w));
    let count = N * T * H * W * K;
    let y = machine.room(count * 2);
    let dims = [N, T, H, W, C, K].map(|n| n as i32);
    let params = Params::default().with(px).with(pw).with(y).with(dims);
    let module = machine.load(ptx);
    let blocks = (N * T * H * W).div_ceil(64) as u32;
    let outcome = machine.run(&module, "conv3d_fprop_bf16", grid(blocks, 128, 16384), &params);
    (machine.get(y, count), outcome)
}

fn conv90(machine: &Machine, ptx: &str) -> (Vec<bf16>, Outcome) {
    let (x, w) = (integers(N * T * H * W * C, 1), integers(K * 27 * C, 2));
    let (px, pw) = (machine.put(&x), machine.put(&w));
    let count = N * T * H * W * K;
    let y = machine.room(count * 2);
    let map = |address, dims: [u64; 5], box_dims: [u32; 5]| {
        let strides = [
            dims[0] * 2,
            dims[0] * dims[1] * 2,
            dims[..3].iter().product::<u64>() * 2,
            dims[..4].iter().product::<u64>() * 2,
        ];
        let tensor = tensor_map::Tensor {
            data_type: tensor_map::DataType::Bfloat16,
            address,
            dims: &dims,
            strides: &strides,
            element_strides: &[1; 5],
            interleave: tensor_map::Interleave::None,
            swizzle: tensor_map::Swizzle::Bytes128,
            l2_promotion: tensor_map::L2Promotion::None,
            fill: tensor_map::Fill::Zero,
        };
        TensorMap::tiled(&Tiled { tensor, box_dims: &box_dims }).expect("a valid map").to_bytes()
    };
    let mx = map(px, [C, W, H, T, N].map(|n| n as u64), [64, 8, 8, 1, 1]);
    let mw = map(pw, [C as u64, 27, K as u64, 1, 1], [64, 1, 64, 1, 1]);
    let dims = [N, T, H, W, C, K].map(|n| n as i32);
    let params = Params::default().with_bytes(&mx, 64).with_bytes(&mw, 64).with(y).with(dims);
    let module = machine.load(ptx);
    let blocks = (N * T * H.div_ceil(8) * W.div_ceil(8)) as u32;
    let outcome = machine.run(&module, "conv3d_fprop_sm90", grid(blocks, 160, 4 * 16384 + 64), &params);
    (machine.get(y, count), outcome)
}

fn wanted() -> Vec<bf16> {
    reference(&integers(N * T * H * W * C, 1), &integers(K * 27 * C, 2))
}

#[test]
fn convolution_with_cp_async_and_mma() {
    let Some(ptx) = compile("conv.cu", "compute_80", &[]) else { return };
    let wanted = wanted();
    for seed in seeds() {
        let mut machine = Machine::new();
        machine.options.seed = seed;
        let (y, outcome) = conv80(&machine, &ptx);
        assert!(outcome.findings.is_empty(), "seed {seed:?}: {}", told(&outcome));
        assert!(y == wanted, "seed {seed:?}: wrong result");
    }
}

#[test]
fn convolution_with_tma_and_wgmma() {
    let Some(ptx) = compile("conv90.cu", "compute_90a", &[]) else { return };
    let wanted = wanted();
    for seed in seeds() {
        let mut machine = Machine::new();
        machine.options.seed = seed;
        let (y, outcome) = conv90(&machine, &ptx);
        assert!(outcome.findings.is_empty(), "seed {seed:?}: {}", told(&outcome));
        assert!(y == wanted, "seed {seed:?}: wrong result");
    }
}

/// A planted bug must be reported as one of `kinds` under every schedule.
fn caught(
    file: &str,
    arch: &str,
    define: &str,
    kinds: &[Kind],
    run: impl Fn(&Machine, &str) -> (Vec<bf16>, Outcome),
) {
    let Some(ptx) = compile(file, arch, &[define]) else { return };
    for seed in seeds() {
        let mut machine = Machine::new();
        machine.options.seed = seed;
        let (_, outcome) = run(&machine, &ptx);
        let found = outcome.findings.iter().any(|f| kinds.contains(&f.kind));
        assert!(found, "{define}, seed {seed:?}: not among the findings:\n{}", told(&outcome));
    }
}

macro_rules! planted {
    ($($name:ident: $file:literal $arch:literal $define:literal $run:ident $($kind:ident)|+;)+) => {$(
        #[test]
        fn $name() {
            caught($file, $arch, $define, &[$(Kind::$kind),+], $run);
        }
    )+};
}

planted! {
    missing_barrier_before_a_read: "conv.cu" "compute_80" "PLANT_RACE1" conv80 Race | UnwaitedAsync;
    missing_barrier_before_reuse: "conv.cu" "compute_80" "PLANT_RACE2" conv80 Race;
    too_few_cp_async_waits: "conv.cu" "compute_80" "PLANT_NOWAIT" conv80 UnwaitedAsync;
    store_one_row_past_the_end: "conv.cu" "compute_80" "PLANT_OOB" conv80 OutOfBounds;
    mbarrier_init_not_fenced: "conv90.cu" "compute_90a" "PLANT_NOFENCE_INIT" conv90 ProxyFence;
    no_wait_on_an_empty_barrier: "conv90.cu" "compute_90a" "PLANT_NOEMPTY" conv90 UnwaitedAsync | Race;
    no_wait_on_a_full_barrier: "conv90.cu" "compute_90a" "PLANT_NOFULL" conv90 UnwaitedAsync;
    stage_released_before_the_wgmma_wait: "conv90.cu" "compute_90a" "PLANT_EARLY_RELEASE" conv90 Race;
}
