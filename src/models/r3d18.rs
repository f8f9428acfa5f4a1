//! 3D-ResNet18 (Hara et al., CVPR 2018) with instance norm: a 7×7×7 stem, then four stages of two basic
//! blocks; shortcuts of type B (1×1×1 convolution) where extents change.

use super::builder::{Builder, CUBE3, Window};
use crate::Result;
use crate::graph::NodeId;
use crate::tensor::Real;

/// Describes the backbone for clips `x`, `width` channels in the first layer; returns blocks 3, 4 and 5.
pub(super) fn build<T: Real>(b: &mut Builder<T>, x: NodeId, width: usize) -> Result<[NodeId; 3]> {
    let x = b.conv("stem", x, width, Window { size: [7; 3], stride: [1, 2, 2], pad: [3; 3] })?;
    let x = b.norm_relu_pool("norm", x, Window { size: [3; 3], stride: [2; 3], pad: [1; 3] })?;
    let block2 = stage(b, "block2", x, width, 1)?;
    let block3 = stage(b, "block3", block2, 2 * width, 2)?;
    let block4 = stage(b, "block4", block3, 4 * width, 2)?;
    let block5 = stage(b, "block5", block4, 8 * width, 2)?;
    Ok([block3, block4, block5])
}

/// Two basic blocks, the first with `stride`.
fn stage<T: Real>(b: &mut Builder<T>, name: &str, x: NodeId, k: usize, stride: usize) -> Result<NodeId> {
    let x = basic_block(b, &format!("{name}.0"), x, k, stride)?;
    basic_block(b, &format!("{name}.1"), x, k, 1)
}

/// conv → norm → ReLU → conv → norm → + shortcut → ReLU.
fn basic_block<T: Real>(
    b: &mut Builder<T>,
    name: &str,
    x: NodeId,
    k: usize,
    stride: usize,
) -> Result<NodeId> {
    // Before the branch, so that the reverse pass comes to it last: its strided gradient is added to an eighth of one that
    // conv1 has written.
    let shortcut = if stride != 1 || b.channels(x) != k {
        let point = Window { size: [1; 3], stride: [stride; 3], pad: [0; 3] };
        let s = b.conv(&format!("{name}.convd"), x, k, point)?;
        b.norm(&format!("{name}.normd"), s)?
    } else {
        x
    };
    let strided = Window { stride: [stride; 3], ..CUBE3 };
    let y = b.conv(&format!("{name}.conv1"), x, k, strided)?;
    let y = b.norm_relu(&format!("{name}.norm1"), y)?;
    let y = b.conv(&format!("{name}.conv2"), y, k, CUBE3)?;
    b.norm_add_relu(&format!("{name}.norm2"), y, shortcut)
}
