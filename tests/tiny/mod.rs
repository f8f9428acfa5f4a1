//! The backbones at a size that takes milliseconds, and batches for them.

use hdc::data::{Batch, Clip, Window};
use hdc::models::{Backbone, ModelConfig};
use hdc::tensor::random::Stream;
use hdc::tensor::transform::{ClipTransform, Rect};

/// All backbones.
pub const BACKBONES: [Backbone; 3] = [Backbone::C3d, Backbone::R3d18, Backbone::R21d10];

/// The backbone with 3 channels in its first layer.
pub fn model(backbone: Backbone) -> ModelConfig {
    ModelConfig { backbone, width: 3.0 / 64.0, ..Default::default() }
}

/// Frames, height and width of the smallest clips whose maps at block 5 are still two pixels high and wide: of
/// one element an instance norm leaves nothing.
pub fn extents(backbone: Backbone) -> [usize; 3] {
    match backbone {
        Backbone::C3d => [8, 32, 32],
        Backbone::R3d18 => [5, 33, 33],
        Backbone::R21d10 => [8, 17, 17],
    }
}

/// A batch of noise: `clips` clips of a random corner, flipped or not, each of a window of its own.
pub fn batch(videos: usize, clips: usize, [frames, height, width]: [usize; 3], seed: u64) -> Batch {
    let mut stream = Stream::new("batch", seed);
    let (tall, wide) = (height + 3, width + 5);
    let windows = (0..clips).map(|_| Window {
        frames,
        height: tall,
        width: wide,
        rgb: (0..frames * tall * wide * 3).map(|_| stream.next_below(256) as u8).collect(),
    });
    let windows = windows.collect();
    let clip = |window| {
        let (y, x) = (stream.next_below(4) as u32, stream.next_below(6) as u32);
        let crop = Rect { y, x, height: height as u32, width: width as u32 };
        let flip = stream.next_bool(0.5);
        Clip { window, transform: ClipTransform { crop, flip, colour: None, replicate: None } }
    };
    let clips = (0..clips).map(clip).collect();
    Batch {
        videos: (0..videos).map(|v| format!("video {v}")).collect(),
        windows,
        clips,
        ..Default::default()
    }
}
