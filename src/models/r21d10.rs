//! R(2+1)D-10 (Tran et al., CVPR 2018; layers (1, 1, 1, 1)) with instance norm: every convolution is factorised
//! into a spatial 1×k×k and a temporal k×1×1 one.

use super::builder::{Builder, Window};
use crate::Result;
use crate::graph::NodeId;
use crate::tensor::Real;

/// Describes the backbone for clips `x`, `width` channels in the first layer; returns blocks 3, 4 and 5.
pub(super) fn build<T: Real>(b: &mut Builder<T>, x: NodeId, width: usize) -> Result<[NodeId; 3]> {
    let stem = Window { size: [3, 7, 7], stride: [1, 2, 2], pad: [1, 3, 3] };
    let x = factorised(b, "stem", x, width, stem)?;
    let x = b.norm_relu("norm", x)?;
    let block2 = block(b, "block2", x, width, 1)?;
    let block3 = block(b, "block3", block2, 2 * width, 2)?;
    let block4 = block(b, "block4", block3, 4 * width, 2)?;
    let block5 = block(b, "block5", block4, 8 * width, 2)?;
    Ok([block3, block4, block5])
}

/// A residual block of two factorised convolutions; a strided one has a factorised 1×1×1 shortcut.
fn block<T: Real>(b: &mut Builder<T>, name: &str, x: NodeId, k: usize, stride: usize) -> Result<NodeId> {
    let cube = |stride| Window { size: [3; 3], stride: [stride; 3], pad: [1; 3] };
    // Before the branch, so that the reverse pass comes to it last: its strided gradient is added to a quarter of one that
    // conv1 has written.
    let shortcut = if stride == 1 {
        x
    } else {
        let point = Window { size: [1; 3], stride: [stride; 3], pad: [0; 3] };
        let s = factorised(b, &format!("{name}.convd"), x, k, point)?;
        b.norm(&format!("{name}.normd"), s)?
    };
    let y = factorised(b, &format!("{name}.conv1"), x, k, cube(stride))?;
    let y = b.norm_relu(&format!("{name}.norm1"), y)?;
    let y = factorised(b, &format!("{name}.conv2"), y, k, cube(1))?;
    b.norm_add_relu(&format!("{name}.norm2"), y, shortcut)
}

/// Spatial convolution → norm → ReLU → temporal convolution; the norm after it is the caller's.
fn factorised<T: Real>(b: &mut Builder<T>, name: &str, x: NodeId, k: usize, w: Window) -> Result<NodeId> {
    let ([t, r, s], [st, sh, sw], [pt, ph, pw]) = (w.size, w.stride, w.pad);
    let mid = mid_channels(w.size, b.channels(x), k);
    let spatial = Window { size: [1, r, s], stride: [1, sh, sw], pad: [0, ph, pw] };
    let temporal = Window { size: [t, 1, 1], stride: [st, 1, 1], pad: [pt, 0, 0] };
    let y = b.conv(&format!("{name}.spatial"), x, mid, spatial)?;
    let y = b.norm_relu(&format!("{name}.norm"), y)?;
    b.conv(&format!("{name}.temporal"), y, k, temporal)
}

/// As many channels between the two factors as give both together the parameters of the whole convolution.
fn mid_channels([t, r, s]: [usize; 3], c: usize, k: usize) -> usize {
    (t * r * s * c * k / (r * s * c + t * k)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mid_channels_are_those_of_the_specification() {
        assert_eq!(mid_channels([3, 7, 7], 3, 64), 83);
        assert_eq!(
            [(64, 64), (64, 128), (128, 128)].map(|(c, k)| mid_channels([3; 3], c, k)),
            [144, 230, 288]
        );
        assert_eq!([(256, 512), (512, 512)].map(|(c, k)| mid_channels([3; 3], c, k)), [921, 1152]);
        assert_eq!(
            [(64, 128), (128, 256), (256, 512)].map(|(c, k)| mid_channels([1; 3], c, k)),
            [42, 85, 170]
        );
    }
}
