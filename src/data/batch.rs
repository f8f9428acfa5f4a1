//! What the loader hands to training and evaluation: decoded frames, and what to do with them.

use crate::tensor::transform::ClipTransform;

/// Consecutive decoded frames of one video.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// How many frames.
    pub frames: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 8-bit RGB, `(frames, height, width, 3)`.
    pub rgb: Vec<u8>,
}

/// A clip to encode: a window and its transform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Index into [`Batch::windows`].
    pub window: usize,
    /// What the augmentation does to it.
    pub transform: ClipTransform,
}

/// The clips of one step. For pretraining the order is role-major: all anchors, then all spatial variants,
/// then all temporal variants (which are absent when the objective has no temporal contrast, as the spatial
/// ones are without spatial contrast).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Which step this is for, from 0.
    pub step: u64,
    /// Which pass over the data its first video belongs to, from 0.
    pub epoch: u64,
    /// Keys of its videos.
    pub videos: Vec<String>,
    /// Their numbers in the data set.
    pub numbers: Vec<usize>,
    /// Decoded frames; an anchor and its spatial variant share one.
    pub windows: Vec<Window>,
    /// The clips.
    pub clips: Vec<Clip>,
}
