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
    /// Frames that the temporal variant may start before or after the anchor, at most; 0: anywhere in the video, as in
    /// the paper.
    #[serde(default)]
    pub temporal_offset: usize,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self { frames: 16, stride: 1, crop: 112, short_side: 128, temporal_offset: 0 }
    }
}

impl ClipConfig {
    /// Every fault: key, value, remedy.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, value) in [
            ("frames", self.frames),
            ("stride", self.stride),
            ("crop", self.crop),
            ("short_side", self.short_side),
        ] {
            if !(1..=65_535).contains(&value) {
                faults.push(format!("clip.{key} = {value}: give a number from 1 to 65535"));
            }
        }
        if self.temporal_offset > 65_535 {
            let value = self.temporal_offset;
            faults.push(format!(
                "clip.temporal_offset = {value}: give a number of frames up to 65535, or 0 for any"
            ));
        }
        faults
    }

    /// Frames of a video that a clip covers, from its first to the one after its last stride.
    pub fn span(&self) -> usize {
        self.frames * self.stride
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

impl AugmentConfig {
    /// Every fault: key, value, remedy.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut range = |key: &str, value: f64, top: f64| {
            if !(0.0..=top).contains(&value) {
                faults.push(format!("augment.{key} = {value}: give a number from 0 to {top}"));
            }
        };
        range("flip_p", self.flip_p, 1.0);
        range("colour_p", self.colour_p, 1.0);
        range("replicate_p", self.replicate_p, 1.0);
        range("brightness", self.brightness, 1.0);
        range("contrast", self.contrast, 1.0);
        range("saturation", self.saturation, 1.0);
        range("hue", self.hue, 0.5);
        let falling = self.scales.windows(2).all(|w| w[0] > w[1]);
        if self.scales.is_empty() || !falling || !self.scales.iter().all(|s| (0.01..=1.0).contains(s)) {
            let scales = &self.scales;
            faults.push(format!(
                "augment.scales = {scales:?}: give numbers from 1 down to 0.01, largest first"
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_fault_and_every_fault_is_reported() {
        assert!(ClipConfig::default().faults().is_empty());
        assert!(AugmentConfig::default().faults().is_empty());
        let clip = ClipConfig { frames: 0, crop: 1 << 20, ..ClipConfig::default() };
        assert_eq!(clip.faults().len(), 2);
        let augment =
            AugmentConfig { flip_p: f64::NAN, hue: 0.6, scales: vec![0.5, 0.75], ..AugmentConfig::default() };
        let faults = augment.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults.iter().any(|f| f.contains("augment.hue = 0.6")));
    }
}
