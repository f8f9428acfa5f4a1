//! The `clip` and `augment` sections of a configuration.

use serde::{Deserialize, Serialize};

/// How a clip is cut out of a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// Frames of a clip.
    pub frames: usize,
    /// Distance between consecutive frames of a clip, in frames of the video.
    pub stride: usize,
    /// Side of the square that the network sees, in pixels.
    pub crop: usize,
    /// Frames whose shorter side is larger are scaled down to this on loading, aspect kept; smaller ones stay.
    pub short_side: usize,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self { frames: 16, stride: 1, crop: 112, short_side: 128 }
    }
}

/// The spatial augmentation: one switch and its range per transform, each drawn once per variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentConfig {
    /// Augment the temporal variant spatially as well (the paper's section 4.1 switches this off).
    pub temporal_variant: bool,
    /// Random square window (side = shorter side of the frame); off: the central one.
    pub window: bool,
    /// Scale jittering; off: the whole window.
    pub scale_jitter: bool,
    /// Sides of the crop as fractions of the window, largest first; height and width are drawn at most one
    /// step apart.
    pub scales: Vec<f64>,
    /// Horizontal flip.
    pub flip: bool,
    /// Its probability.
    pub flip_p: f64,
    /// Colour jittering.
    pub colour: bool,
    /// Its probability.
    pub colour_p: f64,
    /// Brightness factor is drawn from `1 ± brightness`.
    pub brightness: f64,
    /// Contrast factor is drawn from `1 ± contrast`.
    pub contrast: f64,
    /// Saturation factor is drawn from `1 ± saturation`.
    pub saturation: f64,
    /// Hue shift is drawn from `± hue`, in turns.
    pub hue: f64,
    /// Copying one random colour channel to all three.
    pub replicate: bool,
    /// Its probability.
    pub replicate_p: f64,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            temporal_variant: true,
            window: true,
            scale_jitter: true,
            scales: vec![1.0, 0.875, 0.75, 0.66],
            flip: true,
            flip_p: 0.5,
            colour: true,
            colour_p: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            replicate: true,
            replicate_p: 0.5,
        }
    }
}
