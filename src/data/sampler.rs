//! Which videos make a batch, and where their clips start: pure functions of (seed, epoch, sample, role), so
//! they are the same whatever the number of threads, and after any resume.

use super::config::ClipConfig;
use crate::tensor::random::Stream;
use crate::{Error, Result};

/// The part that a clip plays in the objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `o`.
    Anchor,
    /// `s`: the anchor's frames, augmented again.
    Spatial,
    /// `t`: frames of another time, augmented again.
    Temporal,
}

/// Order of the videos: a new permutation each epoch. Batches do not run across epochs: the last
/// `videos mod batch` of each permutation are left out, others each time, so that no video is twice in a
/// batch, where it would be its own negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampler {
    videos: usize,
    batch: usize,
    seed: u64,
}

impl Sampler {
    /// Batches of `batch` out of `videos`.
    ///
    /// # Errors
    /// An empty batch, or more than there are videos.
    pub fn new(videos: usize, batch: usize, seed: u64) -> Result<Self> {
        if batch == 0 || batch > videos {
            return Err(Error::usage(
                format!("a batch of {batch} cannot be drawn from {videos} videos: each must be another one"),
                format!("set train.batch to a number from 1 to {videos}, or add videos"),
            ));
        }
        Ok(Self { videos, batch, seed })
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.videos / self.batch) as u64
    }

    /// The epoch of a step, from 0.
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.steps_per_epoch()
    }

    /// The permutation of an epoch (Fisher-Yates).
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut stream = Stream::new("sampler.order", self.seed).fork(epoch);
        let mut order: Vec<usize> = (0..self.videos).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, stream.next_below(i as u64 + 1) as usize);
        }
        order
    }

    /// Where the batch of a step lies in the permutation of its epoch.
    pub fn slots(&self, step: u64) -> std::ops::Range<usize> {
        let begin = (step % self.steps_per_epoch()) as usize * self.batch;
        begin..begin + self.batch
    }
}

/// First frame of a clip in a video of `length` frames: uniform over the places where the clip fits; in a
/// shorter video, which loops, over all its frames. The anchor and the spatial variant share theirs; the
/// temporal variant's is independent of it, or with [`ClipConfig::temporal_offset`] uniform over the places near it.
pub fn window_start(
    seed: u64,
    epoch: u64,
    sample: u64,
    role: Role,
    length: usize,
    clip: &ClipConfig,
) -> usize {
    let windows = Stream::new("sampler.window", seed).fork(epoch).fork(sample);
    let reach = (clip.frames.max(1) - 1) * clip.stride + 1;
    let places = if length >= reach { length - reach + 1 } else { length };
    let within = |own: u64, places: usize| windows.fork(own).next_below(places as u64) as usize;
    match (role, clip.temporal_offset) {
        (Role::Anchor | Role::Spatial, _) => within(0, places),
        (Role::Temporal, 0) => within(1, places),
        (Role::Temporal, offset) => {
            let anchor = within(0, places);
            let first = anchor.saturating_sub(offset);
            first + within(1, (anchor + offset + 1).min(places) - first)
        }
    }
}

/// The frames of a clip; a video that ends before it begins again.
pub fn frame_indices(start: usize, length: usize, clip: &ClipConfig) -> Vec<usize> {
    (0..clip.frames).map(|i| (start + i * clip.stride) % length.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_epoch_is_a_permutation_and_batches_never_repeat_a_video() {
        let sampler = Sampler::new(23, 5, 7).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 4);
        let mut left_out = HashSet::new();
        for epoch in 0..20 {
            let order = sampler.order(epoch);
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 23);
            left_out.extend(order[20..].to_vec());
            let steps = epoch * 4..epoch * 4 + 4;
            let seen: Vec<usize> = steps.flat_map(|s| order[sampler.slots(s)].to_vec()).collect();
            assert_eq!(seen, order[..20], "the steps of an epoch take its order in turn");
        }
        assert!(left_out.len() > 15, "other videos are left out each epoch: {left_out:?}");
        assert_ne!(sampler.order(0), sampler.order(1));
        assert_ne!(sampler.order(0), Sampler::new(23, 5, 8).unwrap().order(0));
    }

    #[test]
    fn every_video_is_equally_likely_at_every_place() {
        let sampler = Sampler::new(4, 2, 0).unwrap();
        let mut count = [[0; 4]; 4];
        for epoch in 0..4000 {
            for (place, video) in sampler.order(epoch).into_iter().enumerate() {
                count[place][video] += 1;
            }
        }
        assert!(count.iter().flatten().all(|n| (880..1120).contains(n)), "{count:?}");
    }

    #[test]
    fn too_few_videos_name_both_numbers() {
        let e = Sampler::new(7, 24, 0).unwrap_err();
        assert!(e.to_string().contains("24") && e.to_string().contains("7 videos"), "{e}");
        assert_eq!(e.exit_code(), 2);
        assert!(Sampler::new(7, 0, 0).is_err());
    }

    #[test]
    fn starts_cover_exactly_the_places_where_a_clip_fits() {
        for (length, frames, stride, places) in [(20, 16, 1, 5), (16, 16, 1, 1), (32, 8, 4, 4), (9, 16, 1, 9)]
        {
            let clip = ClipConfig { frames, stride, ..ClipConfig::default() };
            let starts: HashSet<_> =
                (0..600).map(|s| window_start(1, 0, s, Role::Anchor, length, &clip)).collect();
            assert_eq!(starts, (0..places).collect(), "length {length}");
            for start in starts {
                assert!(frame_indices(start, length, &clip).iter().all(|&f| f < length));
            }
        }
    }

    #[test]
    fn anchor_and_spatial_share_a_start_and_the_temporal_one_is_independent() {
        let clip = ClipConfig::default();
        let start = |sample, role| window_start(3, 2, sample, role, 47, &clip); // 32 places
        let mut equal = 0;
        for sample in 0..3200 {
            assert_eq!(start(sample, Role::Anchor), start(sample, Role::Spatial));
            equal += u32::from(start(sample, Role::Anchor) == start(sample, Role::Temporal));
        }
        assert!((60..140).contains(&equal), "{equal} of 3200 equal, 100 expected");
    }

    #[test]
    fn a_temporal_variant_near_its_anchor_takes_every_place_there_and_no_other() {
        let (length, near) = (47, ClipConfig { temporal_offset: 3, ..ClipConfig::default() }); // 32 places
        let mut seen = HashSet::new();
        for sample in 0..3200 {
            let start = |role| window_start(3, 2, sample, role, length, &near);
            let (anchor, temporal) = (start(Role::Anchor), start(Role::Temporal));
            assert_eq!(anchor, window_start(3, 2, sample, Role::Anchor, length, &ClipConfig::default()));
            assert!(anchor.abs_diff(temporal) <= 3 && temporal < 32, "{anchor} {temporal}");
            seen.insert((anchor, temporal));
        }
        assert_eq!(seen.len(), 32 * 7 - 2 * (1 + 2 + 3), "all but those that leave the video");
    }

    #[test]
    fn short_videos_loop() {
        let clip = ClipConfig { frames: 5, stride: 2, ..ClipConfig::default() };
        assert_eq!(frame_indices(2, 3, &clip), [2, 1, 0, 2, 1]);
        assert_eq!(frame_indices(0, 1, &clip), [0; 5]);
    }
}
