//! C3D (Tran et al., ICCV 2015) with instance norm: eight 3×3×3 convolutions, each → norm → ReLU; pools of
//! (1, 2, 2) and then 2×2×2 between the blocks. Blocks 3, 4, 5 are tapped before their pool,
//! so it is the first two pools that are one with the norm before them.

use super::builder::{Builder, CUBE3, Window};
use crate::Result;
use crate::graph::NodeId;
use crate::tensor::Real;

/// Describes the backbone for clips `x`, `width` channels in the first layer; returns blocks 3, 4 and 5.
pub(super) fn build<T: Real>(b: &mut Builder<T>, x: NodeId, width: usize) -> Result<[NodeId; 3]> {
    let pool = |size| Window { size, stride: size, pad: [0; 3] };
    let x = b.conv("conv1", x, width, CUBE3)?;
    let x = b.norm_relu_pool("norm1", x, pool([1, 2, 2]))?;
    let x = b.conv("conv2", x, 2 * width, CUBE3)?;
    let x = b.norm_relu_pool("norm2", x, pool([2; 3]))?;
    let x = layer(b, "3a", x, 4 * width)?;
    let block3 = layer(b, "3b", x, 4 * width)?;
    let x = b.max_pool("pool3", block3, pool([2; 3]))?;
    let x = layer(b, "4a", x, 8 * width)?;
    let block4 = layer(b, "4b", x, 8 * width)?;
    let x = b.max_pool("pool4", block4, pool([2; 3]))?;
    let x = layer(b, "5a", x, 8 * width)?;
    let block5 = layer(b, "5b", x, 8 * width)?;
    Ok([block3, block4, block5])
}

fn layer<T: Real>(b: &mut Builder<T>, name: &str, x: NodeId, k: usize) -> Result<NodeId> {
    let x = b.conv(&format!("conv{name}"), x, k, CUBE3)?;
    b.norm_relu(&format!("norm{name}"), x)
}
