//! Problems that find what is wrong with an operation: odd extents, few and many channels, tails of every tile, strides,
//! padding, and layers of the three backbones. The self-test and `tests/ops` take them from here; what says "on a device"
//! concerns tiles that the CPU has not, or would take it long.

use crate::Result;
use crate::ops::conv3d::{self, Conv3d};
use crate::ops::instance_norm::{self, Activation, Pooled};
use crate::ops::{Op, linear, max_pool3d, slot_pool};
use crate::tensor::Shape;

type Triple = [usize; 3];

/// Everything that [`conv3d::Problem::new`] asks for.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Clips.
    pub n: usize,
    /// Input channels.
    pub c: usize,
    /// Output channels.
    pub k: usize,
    /// Input extents.
    pub input: Triple,
    /// Filter extents.
    pub filter: Triple,
    /// Strides.
    pub stride: Triple,
    /// Zeros on each side.
    pub pad: Triple,
}

impl Convolution {
    /// Of `n` clips.
    ///
    /// # Errors
    /// As [`conv3d::Problem::new`].
    pub fn problem(&self, n: usize) -> Result<conv3d::Problem> {
        conv3d::Problem::new(n, self.c, self.k, self.input, self.filter, self.stride, self.pad)
    }
}

/// (N, C, K), input, filter, stride, pad.
const fn case([n, c, k]: Triple, input: Triple, filter: Triple, stride: Triple, pad: Triple) -> Convolution {
    Convolution { n, c, k, input, filter, stride, pad }
}

const CUBE: Triple = [3; 3];
const FRAME: Triple = [1, 3, 3];
const TIME: Triple = [3, 1, 1];
const ONE: Triple = [1; 3];
const TWO: Triple = [2; 3];
const NONE: Triple = [0; 3];

/// On the CPU and on a device.
pub const CONVOLUTIONS: [Convolution; 36] = [
    // One voxel: alone, seen only by the filter's middle, and by a filter larger than the input.
    case([1, 1, 1], ONE, ONE, ONE, NONE),
    case([1, 1, 1], ONE, CUBE, ONE, ONE),
    case([3, 5, 3], ONE, [5; 3], ONE, TWO),
    case([2, 3, 5], [2, 1, 2], [3, 3, 4], ONE, [1, 1, 1]),
    // An output of one voxel: the filter is as large as the padded input.
    case([2, 8, 3], [2, 3, 4], [2, 3, 4], ONE, NONE),
    case([1, 17, 5], [1, 3, 2], [3, 5, 4], [2, 3, 1], ONE),
    // Padding 0, 1, …, filter − 1, and beyond: outputs that see padding only.
    case([2, 3, 8], [3, 4, 5], [3, 2, 4], ONE, NONE),
    case([2, 3, 8], [3, 4, 5], [3, 2, 4], ONE, [2, 1, 3]),
    case([2, 8, 16], [3, 5, 4], CUBE, ONE, TWO),
    case([1, 33, 8], [2, 2, 2], TWO, ONE, ONE),
    case([1, 5, 3], [2, 3, 2], [1, 2, 1], ONE, [2, 3, 1]),
    // Strides on one axis, on all, over even and odd extents, that do not divide, that skip inputs.
    case([2, 3, 5], [5, 4, 4], CUBE, [2, 1, 1], ONE),
    case([2, 5, 3], [4, 5, 4], CUBE, [1, 2, 1], ONE),
    case([2, 8, 8], [4, 4, 7], CUBE, [1, 1, 2], ONE),
    case([2, 16, 3], [5, 6, 8], CUBE, [1, 2, 3], [0, 1, 2]),
    case([1, 3, 17], [7, 8, 9], CUBE, [3, 2, 1], [2, 0, 1]),
    case([2, 5, 5], [6, 7, 8], TWO, [3; 3], NONE),
    case([3, 1, 8], [5, 5, 7], ONE, [3, 2, 3], NONE),
    case([1, 8, 1], [4, 9, 6], [4, 5, 2], [3, 3, 3], [1, 2, 1]),
    case([2, 2, 2], [1, 2, 3], ONE, [3; 3], [0, 0, 1]),
    // Channels around and between the widths of registers and panels.
    case([1, 1, 33], [2, 5, 7], CUBE, ONE, ONE),
    case([1, 33, 1], [2, 5, 7], CUBE, ONE, ONE),
    case([2, 16, 17], [2, 3, 5], CUBE, ONE, ONE),
    case([2, 17, 16], [3, 3, 4], CUBE, TWO, ONE),
    case([1, 100, 33], [2, 4, 5], CUBE, ONE, ONE),
    case([1, 33, 100], [2, 4, 5], CUBE, ONE, ONE),
    case([1, 100, 100], [2, 3, 4], [1, 1, 1], ONE, NONE),
    case([1, 3, 130], [3, 5, 9], [1, 3, 3], ONE, [0, 1, 1]),
    // More pixels than a task, a block and a tile hold, with tails.
    case([2, 3, 5], [4, 13, 19], CUBE, ONE, ONE),
    // C3D: the first layer, one in the middle, the last.
    case([1, 3, 16], [4, 14, 14], CUBE, ONE, ONE),
    case([2, 16, 32], [2, 6, 6], CUBE, ONE, ONE),
    case([2, 32, 32], [2, 7, 7], CUBE, ONE, ONE),
    // 3D-ResNet18: the stem, a strided block, its shortcut.
    case([2, 3, 8], [5, 14, 13], [7; 3], [1, 2, 2], [3; 3]),
    case([2, 16, 32], [4, 7, 7], CUBE, TWO, ONE),
    // R(2+1)D-10: the two factors of its stem.
    case([2, 3, 10], [4, 14, 14], [1, 7, 7], [1, 2, 2], [0, 3, 3]),
    case([2, 83, 16], [4, 4, 4], [3, 1, 1], [2, 1, 1], [1, 0, 0]),
];

/// On a device: clips of 8,649 positions, so statistics with a last run of 73, enough tiles of rows that wide ones are
/// chosen, and splits of the filter's gradient. From few channels to many, and back for the gradients; 3 channels have
/// copies of their own in bf16.
pub const WIDE_CONVOLUTIONS: [Convolution; 9] = [
    case([2, 8, 63], [9, 31, 31], ONE, ONE, NONE),
    case([2, 3, 63], [9, 31, 31], ONE, ONE, NONE),
    case([2, 3, 83], [9, 31, 31], ONE, ONE, NONE),
    case([2, 9, 86], [9, 31, 31], ONE, ONE, NONE),
    case([2, 7, 121], [9, 31, 31], ONE, ONE, NONE),
    case([2, 5, 141], [9, 31, 31], ONE, ONE, NONE),
    case([2, 4, 200], [9, 31, 31], ONE, ONE, NONE),
    case([2, 141, 5], [9, 31, 31], ONE, ONE, NONE),
    case([2, 121, 3], [9, 31, 31], ONE, ONE, NONE),
];

/// On a device: statistics where tiles are few, and therefore narrow.
pub const CONVOLUTIONS_WITH_STATISTICS: [Convolution; 3] = [
    case([3, 3, 5], [4, 16, 16], CUBE, ONE, ONE), // 1024 positions
    case([2, 5, 130], [5, 5, 41], [1, 1, 3], ONE, [0, 0, 1]), // 1025
    case([2, 8, 66], [3, 63, 65], ONE, [1, 2, 2], NONE), // 3·32·33
];

/// On a device: layers of the backbones with their channels, over fewer positions.
pub const LAYERS: [Convolution; 22] = [
    // C3D: the first layer, with statistics; some in the middle; the last.
    case([1, 3, 64], [4, 20, 20], CUBE, ONE, ONE),
    case([1, 64, 128], [2, 5, 5], CUBE, ONE, ONE),
    case([2, 64, 128], [2, 8, 8], CUBE, ONE, ONE),
    case([2, 128, 128], [2, 7, 7], CUBE, ONE, ONE),
    case([1, 128, 256], [2, 3, 3], CUBE, ONE, ONE),
    // 3D-ResNet18: the stem, a strided block, its shortcut.
    case([1, 3, 64], [3, 12, 12], [7; 3], [1, 2, 2], [3; 3]),
    case([2, 3, 64], [5, 14, 13], [7; 3], [1, 2, 2], [3; 3]),
    case([2, 64, 128], [3, 5, 5], CUBE, TWO, ONE),
    case([2, 64, 128], [4, 7, 7], CUBE, TWO, ONE),
    case([2, 64, 128], [3, 5, 5], ONE, TWO, NONE),
    case([2, 64, 128], [4, 7, 7], ONE, TWO, NONE),
    // R(2+1)D-10: the factors of its stem, and of other convolutions.
    case([1, 3, 83], [2, 16, 16], [1, 7, 7], [1, 2, 2], [0, 3, 3]),
    case([2, 3, 83], [4, 14, 14], [1, 7, 7], [1, 2, 2], [0, 3, 3]),
    case([1, 83, 64], [4, 6, 6], TIME, ONE, [1, 0, 0]),
    case([2, 83, 64], [4, 8, 8], TIME, ONE, [1, 0, 0]),
    case([1, 64, 144], [2, 8, 8], FRAME, ONE, [0, 1, 1]),
    case([1, 144, 64], [4, 6, 6], TIME, ONE, [1, 0, 0]),
    case([1, 64, 230], [2, 7, 7], FRAME, [1, 2, 2], [0, 1, 1]),
    case([1, 230, 128], [4, 4, 4], TIME, [2, 1, 1], [1, 0, 0]),
    case([2, 230, 128], [4, 4, 4], TIME, [2, 1, 1], [1, 0, 0]),
    case([1, 85, 256], [5, 3, 3], ONE, [2, 1, 1], NONE),
    case([1, 921, 512], [2, 2, 2], TIME, [2, 1, 1], [1, 0, 0]),
];

/// What may follow a norm.
pub const ACTIVATIONS: [Activation; 3] = [Activation::Plain, Activation::Relu, Activation::AddRelu];

/// (N, T, H, W, C), on the CPU and on a device.
pub const NORMS: [[usize; 5]; 10] = [
    [3, 4, 7, 9, 5],
    [1, 1, 1, 2, 1],
    [2, 3, 5, 7, 3],
    [2, 2, 1, 1, 8],
    [2, 2, 3, 3, 83],
    [1, 2, 2, 3, 144],
    [2, 1, 3, 3, 1024],
    [2, 1, 2, 3, 1153],
    // More than one part, with a tail; run clip by clip.
    [2, 8, 21, 27, 64],
    [2, 3, 100, 300, 3],
];

/// (N, T, H, W, C) on a device: on both sides of where partial statistics begin, with channels that fill a block's columns
/// badly and well.
pub const NORMS_AT_BORDERS: [[usize; 5]; 12] = [
    [2, 1, 11, 93, 3],
    [1, 1, 11, 93, 20],
    [2, 1, 1, 1023, 20],
    [1, 1, 11, 93, 64],
    [1, 4, 16, 16, 3],
    [2, 4, 16, 16, 20],
    [1, 4, 16, 16, 64],
    [2, 1, 1, 1024, 64],
    [2, 1, 25, 41, 3],
    [2, 1, 1, 1025, 3],
    [1, 1, 25, 41, 20],
    [1, 1, 25, 41, 64],
];

/// (N, T, H, W, C) on a device: many clips; more than 256 vectors to a position; hundreds of tiles.
pub const LARGE_NORMS: [[usize; 5]; 3] = [[150, 1, 2, 3, 5], [1, 8, 8, 16, 1153], [1, 2, 250, 120, 8]];

/// (N, T, H, W, C), kernel, stride, pad.
pub type Pool = ([usize; 5], Triple, Triple, Triple);

/// On the CPU and on a device.
pub const POOLS: [Pool; 11] = [
    ([2, 3, 7, 9, 5], [1, 2, 2], [1, 2, 2], NONE),
    ([1, 2, 2, 2, 1], TWO, TWO, NONE),
    ([2, 5, 7, 9, 3], CUBE, TWO, ONE),
    ([2, 4, 6, 8, 83], CUBE, TWO, ONE),
    ([2, 1, 5, 5, 16], FRAME, ONE, [0, 1, 1]),
    ([3, 2, 5, 4, 17], [2, 3, 1], [1, 2, 3], [1, 0, 0]),
    ([1, 3, 3, 3, 2], ONE, TWO, NONE),
    ([1, 1, 1, 1, 4], ONE, ONE, NONE),
    ([2, 4, 28, 28, 64], TWO, TWO, NONE),
    ([2, 4, 14, 14, 64], TWO, TWO, NONE),
    ([2, 4, 14, 14, 64], CUBE, TWO, ONE),
];

/// On a device: windows apart with gaps, padding or both on some axis; many small clips; more channels than a block's
/// threads hold.
pub const POOLS_APART: [Pool; 6] = [
    ([1, 7, 7, 7, 20], TWO, TWO, ONE),
    ([2, 6, 7, 8, 8], [2, 1, 2], [3, 2, 4], [0, 0, 1]),
    ([1, 5, 6, 7, 3], [3, 2, 3], [5, 3, 3], [1, 1, 0]),
    ([40, 1, 2, 2, 64], [1, 2, 2], [1, 2, 2], NONE),
    ([1, 2, 3, 5, 2100], TWO, TWO, NONE),
    ([1, 2, 9, 9, 12], [1, 2, 2], [1, 2, 2], [0, 1, 1]),
];

/// On a device: windows that overlap: on one axis alone, by all but one position, with constant extents but a smaller
/// stride.
pub const POOLS_OVERLAPPING: [Pool; 4] = [
    ([2, 4, 9, 11, 64], CUBE, TWO, ONE),
    ([1, 6, 5, 5, 24], TWO, ONE, NONE),
    ([1, 2, 9, 9, 3], [1, 5, 5], ONE, [0, 2, 2]),
    ([3, 3, 5, 7, 4], [1, 2, 2], [2, 2, 1], NONE),
];

/// On the CPU and on a device, as pools after a norm: windows apart with tails, one channel, gaps, padding and both; windows
/// that overlap; instances with partial statistics, of both kinds, with four and many channels, the first pools of C3D and
/// 3D-ResNet18 among them.
pub const NORM_POOLS: [Pool; 13] = [
    ([2, 3, 7, 9, 5], [1, 2, 2], [1, 2, 2], NONE),
    ([1, 2, 2, 2, 1], TWO, TWO, NONE),
    ([1, 3, 3, 3, 2], ONE, TWO, NONE),
    ([1, 7, 7, 7, 20], TWO, TWO, ONE),
    ([2, 6, 7, 8, 8], [2, 1, 2], [3, 2, 4], [0, 0, 1]),
    ([1, 5, 6, 7, 3], [3, 2, 3], [5, 3, 3], [1, 1, 0]),
    ([2, 5, 7, 9, 3], CUBE, TWO, ONE),
    ([2, 1, 5, 5, 16], FRAME, ONE, [0, 1, 1]),
    ([3, 2, 5, 4, 17], [2, 3, 1], [1, 2, 3], [1, 0, 0]),
    ([2, 4, 16, 17, 4], TWO, TWO, NONE),
    ([1, 4, 17, 19, 83], CUBE, TWO, ONE),
    ([2, 4, 20, 18, 64], [1, 2, 2], [1, 2, 2], NONE),
    ([1, 5, 16, 15, 64], CUBE, TWO, ONE),
];

/// (N, T, H, W, C): means over H and W, and of (N, T, C) over T.
pub const SLOTS: [[usize; 5]; 8] = [
    [1, 1, 1, 1, 1],
    [2, 4, 7, 9, 5],
    [3, 1, 4, 4, 8],
    [2, 3, 3, 1, 83],
    [2, 3, 3, 5, 83],
    [2, 2, 14, 14, 512],
    [1, 2, 3, 3, 1500],
    [2, 2, 150, 150, 3],
];

/// Extents of the input, outputs.
pub const LINEAR: [(&[usize], usize); 10] = [
    (&[1, 1], 1),
    (&[1, 5], 3),
    (&[9, 17], 128),
    (&[33, 40], 31),
    (&[33, 83], 31),
    (&[3, 2, 83], 9),
    (&[16, 8, 64], 128),
    (&[2, 512], 101),
    (&[130, 72], 70),
    (&[70, 512], 128),
];

/// One operation with its specification.
#[derive(Clone, Debug)]
pub enum Case {
    /// A convolution.
    Convolution(conv3d::Problem),
    /// An instance norm.
    Norm(instance_norm::Problem),
    /// A max-pool.
    Pool(max_pool3d::Problem),
    /// A norm, ReLU and max-pool.
    NormPool(Pooled),
    /// A mean.
    Slots(slot_pool::Problem),
    /// A linear layer.
    Linear(linear::Problem),
}

impl Case {
    /// The operation in f64.
    pub fn op(&self) -> Box<dyn Op<f64>> {
        match self {
            Self::Convolution(p) => Box::new(Conv3d::new(*p)),
            Self::Norm(p) => Box::new(p.clone()),
            Self::Pool(p) => Box::new(p.clone()),
            Self::NormPool(p) => Box::new(p.clone()),
            Self::Slots(p) => Box::new(p.clone()),
            Self::Linear(p) => Box::new(p.clone()),
        }
    }
}

/// All cases.
///
/// # Errors
/// None: they can all be stated.
pub fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for c in [&CONVOLUTIONS[..], &WIDE_CONVOLUTIONS, &CONVOLUTIONS_WITH_STATISTICS, &LAYERS].concat() {
        cases.push(Case::Convolution(c.problem(c.n)?));
    }
    for dims in [&NORMS[..], &NORMS_AT_BORDERS, &LARGE_NORMS].concat() {
        for activation in ACTIVATIONS {
            cases.push(Case::Norm(instance_norm::Problem::new(Shape::new(dims), activation, 1e-5)?));
        }
    }
    for (dims, kernel, stride, pad) in [&POOLS[..], &POOLS_APART, &POOLS_OVERLAPPING].concat() {
        cases.push(Case::Pool(max_pool3d::Problem::new(&Shape::new(dims), kernel, stride, pad)?));
    }
    for (dims, kernel, stride, pad) in NORM_POOLS {
        cases.push(Case::NormPool(Pooled::new(Shape::new(dims), kernel, stride, pad, 1e-5)?));
    }
    for dims in SLOTS {
        cases.push(Case::Slots(slot_pool::Problem::slots(Shape::new(dims))?));
        cases.push(Case::Slots(slot_pool::Problem::global(Shape::new([dims[0], dims[1], dims[4]]))?));
    }
    for (dims, outputs) in LINEAR {
        cases.push(Case::Linear(linear::Problem::new(Shape::new(dims), outputs)?));
    }
    Ok(cases)
}
