//! The two convolutions of `tests/kernels`, and what they must give.

use half::bf16;
use ptxsim::async_copy::tensor_map::{self, TensorMap, Tiled};
use ptxsim::launch::{Config, Outcome};
use ptxsim::module::Module;

use super::{Machine, Params, grid, integers};

const N: usize = 1;
const T: usize = 3;
const H: usize = 9;
const W: usize = 10;
const C: usize = 64;
const K: usize = 64;
const COUNT: usize = N * T * H * W * K;

/// Multiply-adds of a convolution, those with the zeros around the input too.
pub const MACS: u64 = (COUNT * 27 * C) as u64;

fn input() -> Vec<bf16> {
    integers(N * T * H * W * C, 1)
}

fn filters() -> Vec<bf16> {
    integers(K * 27 * C, 2)
}

/// y[m][k] = Σ x[m + tap][c] · w[k][tap][c]: sums of less than 27 · 64 · 4 in whole numbers, exact in singles in any
/// order, then rounded once.
pub fn wanted() -> Vec<bf16> {
    let (x, w) = (input(), filters());
    let mut y = Vec::with_capacity(COUNT);
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

fn dims() -> [i32; 6] {
    [N, T, H, W, C, K].map(|n| n as i32)
}

/// A convolution that is ready to run.
pub struct Launch {
    kernel: &'static str,
    config: Config,
    params: Params,
    y: u64,
}

impl Launch {
    /// Runs it.
    pub fn run(&self, machine: &Machine, module: &Module) -> Outcome {
        machine.run(module, self.kernel, self.config, &self.params)
    }

    fn result(&self, machine: &Machine, ptx: &str) -> (Vec<bf16>, Outcome) {
        let outcome = self.run(machine, &machine.load(ptx));
        (machine.get(self.y, COUNT), outcome)
    }
}

/// Prepares the convolution for sm_80 (cp.async, ldmatrix, mma.sync), with `spare` elements of memory after the input.
fn prepare80_spare(machine: &Machine, spare: usize) -> Launch {
    let mut x = input();
    x.extend(integers(spare, 3));
    let (px, pw, y) = (machine.put(&x), machine.put(&filters()), machine.room(COUNT * 2));
    let params = Params::default().with(px).with(pw).with(y).with(dims());
    let blocks = (N * T * H * W).div_ceil(64) as u32;
    Launch { kernel: "conv3d_fprop_bf16", config: grid(blocks, 128, 16384), params, y }
}

/// Prepares the convolution for sm_80.
pub fn prepare80(machine: &Machine) -> Launch {
    prepare80_spare(machine, 0)
}

/// Runs the convolution for sm_80.
pub fn conv80(machine: &Machine, ptx: &str) -> (Vec<bf16>, Outcome) {
    prepare80(machine).result(machine, ptx)
}

/// Runs the convolution for sm_80, with `spare` elements of memory after the input.
pub fn conv80_spare(machine: &Machine, ptx: &str, spare: usize) -> (Vec<bf16>, Outcome) {
    prepare80_spare(machine, spare).result(machine, ptx)
}

fn map(address: u64, dims: [u64; 5], box_dims: [u32; 5]) -> [u8; 128] {
    let strides = [1, 2, 3, 4].map(|rank| dims[..rank].iter().product::<u64>() * 2);
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
}

/// Prepares the convolution for sm_90a: TMA, mbarriers, wgmma.
pub fn prepare90(machine: &Machine) -> Launch {
    let (px, pw, y) = (machine.put(&input()), machine.put(&filters()), machine.room(COUNT * 2));
    let mx = map(px, [C, W, H, T, N].map(|n| n as u64), [64, 8, 8, 1, 1]);
    let mw = map(pw, [C as u64, 27, K as u64, 1, 1], [64, 1, 64, 1, 1]);
    let params = Params::default().with_bytes(&mx, 64).with_bytes(&mw, 64).with(y).with(dims());
    let blocks = (N * T * H.div_ceil(8) * W.div_ceil(8)) as u32;
    Launch { kernel: "conv3d_fprop_sm90", config: grid(blocks, 160, 4 * 16384 + 64), params, y }
}

/// Runs the convolution for sm_90a.
pub fn conv90(machine: &Machine, ptx: &str) -> (Vec<bf16>, Outcome) {
    prepare90(machine).result(machine, ptx)
}
