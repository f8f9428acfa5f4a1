//! Which clips and crops of a video an evaluation uses: fixed, without any draw.

use super::batch::Window;
use super::config::ClipConfig;
use super::sampler::frame_indices;
use super::shard::{Dataset, FrameReader};
use crate::Result;
use crate::tensor::transform::{ClipTransform, Rect};

/// Which clips of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clips {
    /// One after the other, the tail dropped.
    All,
    /// This many, evenly spread from the first frame to the last: with 10 clips of 16 frames, those at
    /// `int(i − 8)`, i in linspace(8, L − 8, 10).
    Spread(usize),
}

impl Clips {
    /// First frames of the clips in a video of `length` frames; at least one. A clip takes `frames·stride`
    /// frames; a shorter video is repeated until it has as many.
    pub fn starts(self, length: usize, clip: &ClipConfig) -> Vec<usize> {
        let span = clip.span().max(1);
        let length = if length < span { length.max(1) * span.div_ceil(length.max(1)) } else { length };
        match self {
            Self::All if length < 2 * span => vec![0],
            Self::All => (0..length / span).map(|i| i * span).collect(),
            Self::Spread(1) => vec![(length - span) / 2],
            Self::Spread(n) => (0..n).map(|i| i * (length - span) / (n - 1)).collect(),
        }
    }
}

/// Which parts of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crops {
    /// The middle.
    Centre,
    /// The middle, then the corners: top left, top right, bottom left, bottom right.
    Five,
}

impl Crops {
    /// Transforms for frames of `height × width`: squares of 112/128 of the shorter side (at the paper's
    /// sizes, 112 pixels of 128, unscaled), which the augmentation resizes to the clip's crop; no flip, no
    /// change of colour.
    pub fn transforms(self, height: usize, width: usize) -> Vec<ClipTransform> {
        let side = ((height.min(width) * 112 + 64) / 128).max(1);
        let (bottom, right) = (height - side, width - side);
        let centre = (bottom / 2, right / 2);
        let places = match self {
            Self::Centre => vec![centre],
            Self::Five => vec![centre, (0, 0), (0, right), (bottom, 0), (bottom, right)],
        };
        places
            .into_iter()
            .map(|(y, x)| ClipTransform {
                crop: Rect { y: y as u32, x: x as u32, height: side as u32, width: side as u32 },
                flip: false,
                colour: None,
                replicate: None,
            })
            .collect()
    }
}

/// Decodes the clips of a video, in order of their start.
///
/// # Errors
/// A damaged or unreadable shard.
pub fn read_clips(
    reader: &mut FrameReader,
    dataset: &Dataset,
    video: usize,
    clips: Clips,
    clip: &ClipConfig,
) -> Result<Vec<Window>> {
    let length = dataset.video(video).frames;
    let read = |start| {
        let mut window = Window::default();
        reader.read(dataset, video, &frame_indices(start, length, clip), clip.short_side, &mut window)?;
        Ok(window)
    };
    clips.starts(length, clip).into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(frames: usize, stride: usize) -> ClipConfig {
        ClipConfig { frames, stride, ..ClipConfig::default() }
    }

    /// NumPy's `linspace` in doubles, as the paper's protocol is written.
    fn linspace_starts(length: usize) -> Vec<usize> {
        let (low, high) = (8.0, length as f64 - 8.0);
        let step = (high - low) / 9.0;
        let at = |k: usize| if k == 9 { high } else { k as f64 * step + low };
        (0..10).map(|k| (at(k) - 8.0) as usize).collect()
    }

    #[test]
    fn ten_clips_are_those_of_the_protocol() {
        let mut differ = 0;
        for length in 16..2000 {
            let (ours, numpy) = (Clips::Spread(10).starts(length, &clip(16, 1)), linspace_starts(length));
            assert_eq!((ours[0], ours[9]), (0, length - 16));
            // Where k·(L−16)/9 is whole, doubles may fall just short of it.
            let exact = |k: usize| (k * (length - 16)).is_multiple_of(9);
            for k in 0..10 {
                assert!(
                    ours[k] == numpy[k] || exact(k) && ours[k] == numpy[k] + 1,
                    "length {length}, clip {k}: {} and {}",
                    ours[k],
                    numpy[k]
                );
                differ += usize::from(ours[k] != numpy[k]);
            }
        }
        assert!(differ < 200, "rounding only: {differ} of 19,840");
    }

    #[test]
    fn short_videos_loop_and_every_video_gives_clips() {
        assert_eq!(Clips::Spread(10).starts(9, &clip(16, 1)), [0, 0, 0, 0, 0, 1, 1, 1, 1, 2]);
        assert_eq!(Clips::Spread(10).starts(1, &clip(16, 1)), [0; 10]);
        assert_eq!(Clips::Spread(10).starts(64, &clip(8, 4))[9], 32);
        assert_eq!(Clips::All.starts(9, &clip(16, 1)), [0]);
        assert_eq!(Clips::All.starts(1, &clip(16, 4)), [0]);
    }

    #[test]
    fn all_clips_do_not_overlap_and_drop_the_tail() {
        assert_eq!(Clips::All.starts(50, &clip(16, 1)), [0, 16, 32]);
        assert_eq!(Clips::All.starts(16, &clip(16, 1)), [0]);
        assert_eq!(Clips::All.starts(31, &clip(16, 1)), [0]);
        assert_eq!(Clips::All.starts(64, &clip(8, 4)), [0, 32]);
        assert_eq!(Clips::Spread(1).starts(64, &clip(16, 1)), [24]);
    }

    #[test]
    fn crops_are_112_of_128_in_the_middle_and_the_corners() {
        let rects: Vec<_> = Crops::Five.transforms(128, 171).iter().map(|t| t.crop).collect();
        let at = |y, x| Rect { y, x, height: 112, width: 112 };
        assert_eq!(rects, [at(8, 29), at(0, 0), at(0, 59), at(16, 0), at(16, 59)]);
        assert_eq!(Crops::Centre.transforms(64, 85)[0].crop, Rect { y: 4, x: 14, height: 56, width: 56 });
        assert_eq!(Crops::Five.transforms(1, 1).len(), 5);
    }
}
