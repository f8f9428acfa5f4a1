//! Linear layers on a CUDA device: the launches of `kernels/linear.cu`, for up to nine layers at once.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Command, Launch};
use crate::ops::{BackwardReads, CudaBackward, CudaForward, CudaGradient, CudaOp, WriteMode, pitch};

/// Layers of a launch at most: g_o, g_s and g_t at three blocks.
const PROBLEMS: usize = 9;
/// Threads of a block, and the side of its tile.
const THREADS: u32 = 256;
const TILE: usize = 64;

/// As the kernels take it: `C[m, n] = Σ_k A[m, k]·B[n, k]`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Product {
    a: Address,
    b: Address,
    bias: Address,
    c: Address,
    sums: Address,
    m: u32,
    n: u32,
    k: u32,
    columns: u32,
    first: u32,
    mode: u32,
    sums_mode: u32,
    unused: u32,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    problems: [Product; PROBLEMS],
    count: u32,
    unused: u32,
}

/// A layer with its buffers, all f32: `x` and `dx` `(rows, pitch(inputs))`, `y` and `dy` `(rows, pitch(outputs))`,
/// `weight` `(pitch(outputs), pitch(inputs))`, `bias` `(pitch(outputs))`. A pass reads and writes those that it needs.
#[derive(Clone, Copy, Debug)]
pub struct CudaLayer {
    /// Rows of `x`.
    pub rows: usize,
    /// Elements of an input vector.
    pub inputs: usize,
    /// Elements of an output vector.
    pub outputs: usize,
    /// Inputs.
    pub x: Address,
    /// Weight.
    pub weight: Address,
    /// Bias.
    pub bias: Address,
    /// Outputs, or their gradient backward.
    pub y: Address,
    /// Gradient of the inputs.
    pub dx: CudaGradient,
    /// Gradient of the weight.
    pub dweight: CudaGradient,
    /// Gradient of the bias.
    pub dbias: CudaGradient,
}

/// `y = x·wᵀ + b` of every layer.
pub fn forward(layers: &[CudaLayer]) -> Launch {
    launch("linear_forward", layers, |l, [rows, inputs, outputs]| Product {
        a: l.x,
        b: l.weight,
        bias: l.bias,
        c: l.y,
        ..product([rows, outputs, inputs], WriteMode::Overwrite)
    })
}

/// `dx` of every layer.
pub fn dgrad(layers: &[CudaLayer]) -> Launch {
    launch("linear_dgrad", layers, |l, [rows, inputs, outputs]| Product {
        a: l.y,
        b: l.weight,
        c: l.dx.at,
        ..product([rows, inputs, outputs], l.dx.mode)
    })
}

/// `dweight` and `dbias` of every layer.
pub fn wgrad(layers: &[CudaLayer]) -> Launch {
    launch("linear_wgrad", layers, |l, [rows, inputs, outputs]| Product {
        a: l.y,
        b: l.x,
        c: l.dweight.at,
        sums: l.dbias.at,
        sums_mode: l.dbias.mode as u32,
        ..product([outputs, inputs, rows], l.dweight.mode)
    })
}

fn product([m, n, k]: [usize; 3], mode: WriteMode) -> Product {
    let columns = n.div_ceil(TILE) as u32;
    Product { m: m as u32, n: n as u32, k: k as u32, columns, mode: mode as u32, ..Product::zeroed() }
}

fn launch(
    kernel: &'static str,
    layers: &[CudaLayer],
    of: impl Fn(&CudaLayer, [usize; 3]) -> Product,
) -> Launch {
    assert!((1..=PROBLEMS).contains(&layers.len()), "one to {PROBLEMS} layers");
    let mut args = Args::zeroed();
    let mut blocks = 0;
    for (to, layer) in args.problems.iter_mut().zip(layers) {
        let p = of(layer, [layer.rows, pitch(layer.inputs), pitch(layer.outputs)]);
        *to = Product { first: blocks as u32, ..p };
        blocks += (p.m as usize).div_ceil(TILE) * p.columns as usize;
    }
    args.count = layers.len() as u32;
    Launch::new(kernel, [blocks, 1, 1], THREADS, 0, &args)
}

/// A layer as a node of a graph.
#[derive(Debug)]
pub(super) struct Plan {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl Plan {
    pub fn new(p: &Problem) -> Self {
        Self { rows: p.rows, inputs: p.inputs, outputs: p.outputs }
    }

    fn layer(&self, x: Address, weight: Address, y: Address) -> CudaLayer {
        let none = CudaGradient { at: Address::NULL, mode: WriteMode::Overwrite };
        let Self { rows, inputs, outputs } = *self;
        let (bias, dx, dweight, dbias) = (Address::NULL, none, none, none);
        CudaLayer { rows, inputs, outputs, x, weight, bias, y, dx, dweight, dbias }
    }
}

impl CudaOp for Plan {
    fn output_bytes(&self) -> usize {
        self.rows * pitch(self.outputs) * size_of::<f32>()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: false }
    }

    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        let layer = self.layer(io.inputs[0], io.params[0].master, io.output);
        commands.push(forward(&[CudaLayer { bias: io.params[1].master, ..layer }]).into());
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let layer = self.layer(io.inputs[0], io.params[0].master, io.dy);
        let (dweight, dbias) = (io.dparams[0], io.dparams[1]);
        commands.push(wgrad(&[CudaLayer { dweight, dbias, ..layer }]).into());
        if let Some(dx) = io.dx[0] {
            commands.push(dgrad(&[CudaLayer { dx, ..layer }]).into());
        }
    }
}
