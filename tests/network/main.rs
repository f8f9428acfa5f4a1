//! Whole networks: their gradients, the bits of their results, and their memory.

mod bits;
mod classifier;
mod gradient;
mod plan;
#[path = "../tiny/mod.rs"]
mod tiny;

use hdc::models::{self, Init, ModelConfig};
use hdc::tensor::Real;
use hdc::tensor::random::Stream;
use hdc::train::{
    Losses,
    objective::{LossConfig, roles},
};
use hdc::train::{Network, NetworkPlan};

/// A network with a batch of noise.
struct Net<T: Real> {
    network: Network<T>,
    model: ModelConfig,
    /// `(clips, T, H, W, 3)`.
    input: Vec<T>,
    /// Elements of one clip.
    clip: usize,
}

impl<T: Real> Net<T> {
    /// Parameters as a run starts with them.
    fn new(
        model: &ModelConfig,
        loss: &LossConfig,
        videos: usize,
        extents: [usize; 3],
        chunk: Option<usize>,
        seed: u64,
    ) -> Self {
        let plan = NetworkPlan::new(model, loss, videos, extents, chunk).unwrap();
        let mut network = Network::new(plan);
        let (layout, params, _) = network.parts_mut();
        models::initialise(layout, Init::Glorot, seed, params);
        let clip = extents.iter().product::<usize>() * 3;
        let mut stream = Stream::new("clips", seed);
        let draw = || T::from_f64(stream.next_in(-1.0, 1.0));
        let input = std::iter::repeat_with(draw).take(videos * roles(loss).count() * clip).collect();
        Self { network, model: model.clone(), input, clip }
    }

    /// The losses of the batch; gradients are left in the network.
    fn run(&mut self) -> Losses {
        let Self { network, input, clip, .. } = self;
        let fill = |clips: std::ops::Range<usize>, to: &mut [T]| {
            to.copy_from_slice(&input[clips.start * *clip..clips.end * *clip]);
            Ok(())
        };
        network.forward_backward(fill).unwrap()
    }
}
