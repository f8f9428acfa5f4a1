//! Problems that find what is wrong with a kernel: odd extents, few and many channels, tails of every tile, strides,
//! padding, and layers of the three backbones.

use crate::Result;
use crate::ops::conv3d::{self, Conv3d};
use crate::ops::instance_norm::{self, Activation, Pooled};
use crate::ops::{Op, linear, max_pool3d, slot_pool};
use crate::tensor::Shape;

type Triple = [usize; 3];

/// (N, C, K), input, filter, stride, pad.
const CONVOLUTIONS: [([usize; 3], Triple, Triple, Triple, Triple); 16] = [
    ([1, 1, 1], [1; 3], [1; 3], [1; 3], [0; 3]),
    ([3, 5, 3], [1; 3], [5; 3], [1; 3], [2; 3]),
    ([2, 17, 16], [3, 3, 4], [3; 3], [2; 3], [1; 3]),
    ([2, 16, 3], [5, 6, 8], [3; 3], [1, 2, 3], [0, 1, 2]),
    ([1, 8, 1], [4, 9, 6], [4, 5, 2], [3; 3], [1, 2, 1]),
    ([1, 100, 33], [2, 4, 5], [3; 3], [1; 3], [1; 3]),
    ([2, 2, 2], [1, 2, 3], [1; 3], [3; 3], [0, 0, 1]),
    // C3D: the first layer, with statistics; one in the middle; the last.
    ([1, 3, 64], [4, 20, 20], [3; 3], [1; 3], [1; 3]),
    ([2, 64, 128], [2, 8, 8], [3; 3], [1; 3], [1; 3]),
    ([2, 128, 128], [2, 7, 7], [3; 3], [1; 3], [1; 3]),
    // 3D-ResNet18: the stem, a strided block, its shortcut.
    ([2, 3, 64], [5, 14, 13], [7; 3], [1, 2, 2], [3; 3]),
    ([2, 64, 128], [4, 7, 7], [3; 3], [2; 3], [1; 3]),
    ([2, 64, 128], [4, 7, 7], [1; 3], [2; 3], [0; 3]),
    // R(2+1)D-10: the factors of its stem, and of a strided convolution.
    ([2, 3, 83], [4, 14, 14], [1, 7, 7], [1, 2, 2], [0, 3, 3]),
    ([2, 83, 64], [4, 8, 8], [3, 1, 1], [1; 3], [1, 0, 0]),
    ([2, 230, 128], [4, 4, 4], [3, 1, 1], [2, 1, 1], [1, 0, 0]),
];

/// (N, T, H, W, C).
const NORMS: [[usize; 5]; 8] = [
    [1, 1, 1, 2, 1],
    [2, 3, 5, 7, 3],
    [2, 2, 3, 3, 83],
    [2, 1, 2, 3, 1153],
    [2, 1, 1, 1023, 20],
    [2, 1, 1, 1024, 64],
    [2, 1, 1, 1025, 3],
    [2, 8, 21, 27, 64],
];

/// (N, T, H, W, C), kernel, stride, pad; alone and after a norm.
const POOLS: [([usize; 5], Triple, Triple, Triple); 7] = [
    ([2, 3, 7, 9, 5], [1, 2, 2], [1, 2, 2], [0; 3]),
    ([2, 5, 7, 9, 3], [3; 3], [2; 3], [1; 3]),
    ([3, 2, 5, 4, 17], [2, 3, 1], [1, 2, 3], [1, 0, 0]),
    ([2, 4, 14, 14, 64], [2; 3], [2; 3], [0; 3]),
    ([2, 4, 14, 14, 64], [3; 3], [2; 3], [1; 3]),
    // Instances with partial statistics: the first pools of C3D and 3D-ResNet18.
    ([2, 4, 20, 18, 64], [1, 2, 2], [1, 2, 2], [0; 3]),
    ([2, 5, 16, 15, 64], [3; 3], [2; 3], [1; 3]),
];

/// Extents of the input, outputs.
const LAYERS: [([usize; 2], usize); 3] = [([1, 1], 1), ([33, 83], 31), ([70, 512], 128)];

/// One operation with its specification.
pub(super) enum Case {
    Convolution(conv3d::Problem),
    Norm(instance_norm::Problem),
    Pool(max_pool3d::Problem),
    NormPool(Pooled),
    Slots(slot_pool::Problem),
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
pub(super) fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for ([n, c, k], input, filter, stride, pad) in CONVOLUTIONS {
        cases.push(Case::Convolution(conv3d::Problem::new(n, c, k, input, filter, stride, pad)?));
    }
    for dims in NORMS {
        for activation in [Activation::Plain, Activation::Relu, Activation::AddRelu] {
            cases.push(Case::Norm(instance_norm::Problem::new(Shape::new(dims), activation, 1e-5)?));
        }
    }
    for (dims, kernel, stride, pad) in POOLS {
        cases.push(Case::Pool(max_pool3d::Problem::new(&Shape::new(dims), kernel, stride, pad)?));
        cases.push(Case::NormPool(Pooled::new(Shape::new(dims), kernel, stride, pad, 1e-5)?));
    }
    for dims in [[1, 1, 1, 1, 1], [2, 3, 3, 5, 83], [2, 2, 14, 14, 512]] {
        cases.push(Case::Slots(slot_pool::Problem::slots(Shape::new(dims))?));
        cases.push(Case::Slots(slot_pool::Problem::global(Shape::new([dims[0], dims[1], dims[4]]))?));
    }
    for (dims, outputs) in LAYERS {
        cases.push(Case::Linear(linear::Problem::new(Shape::new(dims), outputs)?));
    }
    Ok(cases)
}
