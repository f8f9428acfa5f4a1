//! The factorised synthetic set: one textured figure moves over a background. Every video has an `appearance`
//! (shape, texture and colours of the figure, to be seen in any one frame) and a `motion` (to be seen only over
//! time), drawn independently; everything else (place, phase, speed, size, tilt, background and its drift, light)
//! is drawn from the same distributions for all classes.

mod appearance;
mod background;
mod motion;
mod render;

use std::path::Path;

use rayon::prelude::*;

pub use self::appearance::APPEARANCES;
pub use self::motion::MOTIONS;
use self::render::Scene;
use super::atomic;
use super::shard::{EncodedVideo, Recipe, ShardWriter, VideoInfo};
use crate::tensor::random::Stream;
use crate::{Error, Result};

/// Videos rendered at a time, whatever the number of threads: bounds the memory.
const CHUNK: usize = 64;

/// What to render.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthOptions {
    /// How many videos.
    pub videos: usize,
    /// Frames of each.
    pub frames: usize,
    /// Rows of a frame; columns are 5/4 of it.
    pub height: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Part of the videos in `testlist.txt`.
    pub test_fraction: f64,
    /// JPEG quality, 1-100.
    pub quality: u8,
}

impl Default for SynthOptions {
    fn default() -> Self {
        Self { videos: 192, frames: 32, height: 64, seed: 0, test_fraction: 0.25, quality: 92 }
    }
}

impl SynthOptions {
    /// Columns of a frame.
    pub fn width(&self) -> usize {
        self.height * 5 / 4
    }

    fn check(&self) -> Result<()> {
        let fault = |what: String, hint: &str| Err(Error::usage(what, hint));
        if !(1..=1_000_000).contains(&self.videos) {
            return fault(format!("{} videos", self.videos), "give --videos from 1 to 1000000");
        }
        if !(1..=10_000).contains(&self.frames) {
            return fault(format!("{} frames", self.frames), "give --frames from 1 to 10000");
        }
        if !(16..=1024).contains(&self.height) {
            return fault(format!("frames of {} rows", self.height), "give --size from 16 to 1024");
        }
        if !(0.0..=1.0).contains(&self.test_fraction) {
            return fault(
                format!("a test fraction of {}", self.test_fraction),
                "give --test-fraction from 0 to 1",
            );
        }
        if !(1..=100).contains(&self.quality) {
            return fault(format!("JPEG quality {}", self.quality), "give --quality from 1 to 100");
        }
        Ok(())
    }

    fn recipe(&self) -> Recipe {
        [
            ("made_by", "synth".to_owned()),
            ("videos", self.videos.to_string()),
            ("frames", self.frames.to_string()),
            ("size", self.height.to_string()),
            ("seed", self.seed.to_string()),
            ("test_fraction", self.test_fraction.to_string()),
            ("quality", self.quality.to_string()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }
}

/// The classes of a video: numbers into [`APPEARANCES`] and [`MOTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Classes {
    /// Which appearance.
    pub appearance: usize,
    /// Which motion.
    pub motion: usize,
}

/// The classes of all videos, and which of them are test videos.
///
/// Places in a shuffled order run through a Latin square: any 8 in a row hold each appearance and each motion once,
/// any 64 each pair once. So the two labels are independent in every part, as evenly as the numbers allow.
pub fn design(options: &SynthOptions) -> Vec<(Classes, bool)> {
    let (a, m) = (APPEARANCES.len(), MOTIONS.len());
    let mut stream = Stream::new("synth.design", options.seed);
    let mut place: Vec<usize> = (0..options.videos).collect();
    for i in (1..place.len()).rev() {
        place.swap(i, stream.next_below(i as u64 + 1) as usize);
    }
    let test = (options.videos as f64 * options.test_fraction).round() as usize;
    let class = |p: usize| Classes { appearance: p % a, motion: (p + p / a) % m };
    place.into_iter().map(|p| (class(p), p < test)).collect()
}

/// Renders one video.
fn render(options: &SynthOptions, number: usize, classes: Classes) -> Result<EncodedVideo, String> {
    let (height, width) = (options.height, options.width());
    let mut video = EncodedVideo::new(VideoInfo {
        key: key(number),
        labels: [
            ("appearance".to_owned(), APPEARANCES[classes.appearance].to_owned()),
            ("motion".to_owned(), MOTIONS[classes.motion].to_owned()),
        ]
        .into(),
        fps: 25.0,
        height,
        width,
        source: format!("synth seed {} video {number}", options.seed),
        ..VideoInfo::default()
    });
    let scene =
        Scene::draw(&Stream::new("synth.scene", options.seed).fork(number as u64), classes, height, width);
    let mut rgb = vec![0; height * width * 3];
    for frame in 0..options.frames {
        scene.render(frame, &mut rgb);
        video.push_frame(&rgb, options.quality)?;
    }
    Ok(video)
}

fn key(number: usize) -> String {
    format!("v{number:06}")
}

/// Renders the set into the folder `out`, in parallel, and writes `trainlist.txt` and `testlist.txt` beside it.
/// The same options give the same bytes, whatever the number of threads; a run that was stopped goes on.
/// `progress` is told how many videos are there. Returns how many were rendered.
///
/// # Errors
/// Options out of range; a folder that cannot be written or holds another set.
pub fn synth(out: &Path, options: &SynthOptions, mut progress: impl FnMut(usize)) -> Result<usize> {
    options.check()?;
    let mut writer = ShardWriter::open(out, &options.recipe(), 1 << 30)?;
    let design = design(options);
    let todo: Vec<usize> = (0..options.videos).filter(|&n| !writer.contains(&key(n))).collect();
    for chunk in todo.chunks(CHUNK) {
        let rendered: Vec<_> = chunk.par_iter().map(|&n| render(options, n, design[n].0)).collect();
        for (video, n) in rendered.into_iter().zip(chunk) {
            let video =
                video.map_err(|e| Error::data(out, format!("video {}: {e}", key(*n)), "lower --size"))?;
            writer.append(&video)?;
        }
        progress(writer.len());
    }
    for (name, part) in [("trainlist.txt", false), ("testlist.txt", true)] {
        let keys: Vec<_> = (0..options.videos).filter(|&n| design[n].1 == part).map(key).collect();
        atomic::write(&out.join(name), (keys.join("\n") + "\n").as_bytes())?;
    }
    writer.finish()?;
    Ok(todo.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn labels_are_independent_in_both_parts() {
        let design = design(&SynthOptions { videos: 256, ..SynthOptions::default() });
        for (part, expect) in [(true, 1), (false, 3)] {
            let mut pairs: HashMap<Classes, usize> = HashMap::new();
            for (classes, _) in design.iter().filter(|(_, test)| *test == part) {
                *pairs.entry(*classes).or_default() += 1;
            }
            assert_eq!(pairs.len(), 64);
            assert!(pairs.values().all(|&n| n == expect), "{pairs:?}");
        }
    }

    #[test]
    fn options_out_of_range_are_usage_errors_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("set");
        let base = SynthOptions::default;
        for bad in [
            SynthOptions { videos: 0, ..base() },
            SynthOptions { frames: 0, ..base() },
            SynthOptions { height: 5000, ..base() },
            SynthOptions { test_fraction: f64::NAN, ..base() },
            SynthOptions { quality: 0, ..base() },
        ] {
            assert_eq!(synth(&out, &bad, |_| {}).unwrap_err().exit_code(), 2);
        }
        assert!(!out.exists());
    }
}
