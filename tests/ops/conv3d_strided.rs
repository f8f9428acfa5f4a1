//! The gradient of a strided convolution, where it meets another one.

use hdc::ops::conv3d::{Conv3d, Problem};
use hdc::ops::{Backward, Gradient, Op, Pass, WriteMode};

use crate::contract::Feed;
use crate::data::Kind;

/// A strided shortcut adds to the positions that it read and touches no other: those keep even the sign of a zero.
#[test]
fn adding_a_strided_gradient_leaves_what_no_tap_reads() {
    let op = Conv3d::new(Problem::new(2, 8, 16, [3, 5, 4], [1; 3], [2; 3], [0; 3]).unwrap());
    let feed = Feed::<f32>::random(&op, Kind::Real, 1);
    let mut dx = vec![-0.0_f32; feed.inputs[0].len()];
    let mut dw = vec![0.0; feed.params[0].len()];
    let scratch = <Conv3d as Op<f32>>::workspace_bytes(&op, Pass::Backward);
    let mut workspace = vec![0_u64; scratch.div_ceil(8)];
    op.backward(Backward {
        inputs: [&feed.inputs[0][..]].into_iter().collect(),
        params: [&feed.params[0][..]].into_iter().collect(),
        output: &[],
        saved: &[],
        dy: &feed.dy,
        dx: [Some(Gradient { data: &mut dx, mode: WriteMode::Accumulate })].into_iter().collect(),
        dparams: [Gradient { data: &mut dw, mode: WriteMode::Overwrite }].into_iter().collect(),
        workspace: &mut bytemuck::cast_slice_mut(&mut workspace)[..scratch],
    });
    for (position, channels) in dx.chunks_exact(8).enumerate() {
        let read = [position / 20 % 3, position / 4 % 5, position % 4].iter().all(|i| i % 2 == 0);
        let untouched = channels.iter().all(|v| v.to_bits() == (-0.0_f32).to_bits());
        assert_eq!(untouched, !read, "{position}: {channels:?}");
    }
}
