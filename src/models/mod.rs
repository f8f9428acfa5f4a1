//! The backbones and heads: descriptions, no arithmetic.

mod builder;
mod c3d;
mod config;
mod heads;
mod init;
mod r21d10;
mod r3d18;

use crate::graph::{Graph, NodeId, ParamLayout};
use crate::tensor::Real;
use crate::{Error, Result};

use builder::Builder;
pub use config::{Backbone, Init, ModelConfig};
pub use heads::{Role, classifier_params, head_index, head_params};
pub use init::initialise;

/// The scales that the objective taps: blocks 3, 4 and 5.
pub const BLOCKS: [usize; 3] = [3, 4, 5];
/// Length of a projection.
pub const PROJECTION: usize = 128;
/// Channels of the first layer at width 1.
const BASE_CHANNELS: f64 = 64.0;

/// The backbone on `n` clips of `extents` frames × height × width. Its outputs are the S-Avg poolings
/// `(n, T_k, C_k)` of blocks 3, 4 and 5 and, if asked for, their feature maps `(n, T, H, W, C)`.
///
/// # Errors
/// A width that leaves no channel, or extents too small for the backbone.
pub fn encoder<T: Real>(
    config: &ModelConfig,
    n: usize,
    extents: [usize; 3],
    feature_maps: bool,
) -> Result<Graph<T>> {
    let (b, blocks) = blocks(config, n, extents)?;
    b.finish(blocks, feature_maps)
}

/// The backbone on `n` clips of `extents` as a classifier has it: its output is the G-Avg pooling of block 5, `(n, C)`.
///
/// # Errors
/// As [`encoder`].
pub fn pooled_encoder<T: Real>(config: &ModelConfig, n: usize, extents: [usize; 3]) -> Result<Graph<T>> {
    let (b, [.., block5]) = blocks(config, n, extents)?;
    b.finish_pooled(block5)
}

/// The nodes of blocks 3, 4 and 5.
fn blocks<T: Real>(config: &ModelConfig, n: usize, extents: [usize; 3]) -> Result<(Builder<T>, [NodeId; 3])> {
    let width = base_channels(config, n, extents)?;
    let (mut b, x) = Builder::new(n, extents, config.norm_eps);
    let blocks = match config.backbone {
        Backbone::C3d => c3d::build(&mut b, x, width),
        Backbone::R3d18 => r3d18::build(&mut b, x, width),
        Backbone::R21d10 => r21d10::build(&mut b, x, width),
    }?;
    Ok((b, blocks))
}

/// Channels of the first layer of a backbone that is to see `n` clips of `extents`.
///
/// # Errors
/// A width that leaves no channel, or so many and large clips that counts of their FLOPs would overflow.
pub fn base_channels(config: &ModelConfig, n: usize, extents: [usize; 3]) -> Result<usize> {
    let width = (BASE_CHANNELS * config.width).round();
    if !(1.0..=65536.0).contains(&width) {
        return Err(Error::usage(
            format!("model.width {} gives the first layer {width} channels", config.width),
            "give a width between 1/64 and 1024; 1 is the paper's",
        ));
    }
    // FLOPs are about 2¹⁵ times this: far from 2⁶⁴ still, and 70 TB of activations are far from any machine.
    let [t, h, w] = extents;
    let size =
        [n, t, h, w].map(|e| e as f64).iter().product::<f64>() * width * (width / BASE_CHANNELS).max(1.0);
    if size > 2_f64.powi(44) {
        return Err(Error::usage(
            format!(
                "{n} clips of {t}×{h}×{w} at model.width {} are more than any machine holds",
                config.width
            ),
            "give fewer or smaller clips, or a smaller width",
        ));
    }
    Ok(width as usize)
}

/// Channels of blocks 3, 4 and 5 of an encoder.
pub fn block_channels<T: Real>(encoder: &Graph<T>) -> [usize; 3] {
    [0, 1, 2].map(|k| encoder.node(encoder.outputs()[k]).shape.dims()[2])
}

/// Time slots of blocks 3, 4 and 5 of an encoder.
pub fn block_slots<T: Real>(encoder: &Graph<T>) -> [usize; 3] {
    [0, 1, 2].map(|k| encoder.node(encoder.outputs()[k]).shape.dims()[1])
}

/// Places of all parameters: the backbone's, then the heads'.
pub fn param_layout<T: Real>(encoder: &Graph<T>) -> ParamLayout {
    let mut layout = ParamLayout::default();
    layout.extend("backbone.", encoder.params());
    layout.extend("heads.", &head_params(block_channels(encoder)));
    layout
}

/// Places of all parameters of a classifier: the backbone's, then the linear layer's.
pub fn classifier_layout<T: Real>(pooled: &Graph<T>, classes: usize) -> ParamLayout {
    let channels = pooled.node(pooled.outputs()[0]).shape.dims()[1];
    let mut layout = ParamLayout::default();
    layout.extend("backbone.", pooled.params());
    layout.extend("classifier.", &classifier_params(channels, classes));
    layout
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC: parameters and multiply-adds of the three backbones at 16×112×112.
    #[test]
    fn sizes_are_those_of_the_specification() {
        for (backbone, conv, norm, gmac, slots) in [
            (Backbone::C3d, 27_653_184, 5_504, 38.50, [8, 4, 2]),
            (Backbone::R3d18, 33_194_304, 9_600, 8.31, [4, 2, 1]),
            (Backbone::R21d10, 14_350_953, 14_350, 21.36, [8, 4, 2]),
        ] {
            let config = ModelConfig { backbone, ..Default::default() };
            let graph = encoder::<f32>(&config, 1, [16, 112, 112], false).unwrap();
            let count = |kernel: bool| {
                let of_kind = |p: &&(String, crate::ops::ParamSpec)| {
                    (p.1.kind == crate::ops::ParamKind::Kernel) == kernel
                };
                graph.params().iter().filter(of_kind).map(|p| p.1.shape.numel()).sum::<usize>()
            };
            assert_eq!((count(true), count(false)), (conv, norm), "{backbone:?}");
            let macs: u64 = graph
                .nodes()
                .iter()
                .filter_map(|n| n.op.as_ref().filter(|op| op.kind() == "conv3d"))
                .map(|op| op.cost(crate::ops::Pass::Forward).flops / 2)
                .sum();
            assert!((macs as f64 / 1e9 - gmac).abs() < 0.01, "{backbone:?}: {macs} multiply-adds");
            assert_eq!(block_slots(&graph), slots, "{backbone:?}");
        }
    }

    #[test]
    fn what_no_machine_holds_is_refused_before_anything_overflows() {
        let paper = ModelConfig::default();
        assert_eq!(base_channels(&paper, 3 * 65_536, [16, 112, 112]).unwrap(), 64);
        for (width, n, extents) in [
            (1.0, usize::MAX, [1, 1, 1]),
            (1.0, 1, [65_535, 65_535, 65_535]),
            (1024.0, 6, [16, 9000, 9000]),
            (16.0, 1 << 20, [64, 224, 224]),
        ] {
            let e = encoder::<f64>(&ModelConfig { width, ..paper.clone() }, n, extents, true).unwrap_err();
            assert!(e.exit_code() == 2 && e.to_string().contains("more than any machine holds"), "{e}");
        }
    }

    #[test]
    fn extents_too_small_are_refused_with_a_remedy() {
        let e = encoder::<f32>(&ModelConfig::default(), 1, [2, 8, 8], false).unwrap_err().to_string();
        assert!(e.contains("help"), "{e}");
    }
}
