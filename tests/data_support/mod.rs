//! Small data sets for the tests of `data`.
#![allow(dead_code)] // each test file uses its part

use std::path::Path;

use hdc::data::VideoInfo;
use hdc::data::shard::{EncodedVideo, Recipe, ShardWriter};

pub fn recipe() -> Recipe {
    Recipe::from([("made_by".into(), "test".into())])
}

/// A video whose frame `f` is filled with one grey that tells video and frame: `40·(n mod 5) + 2·f`.
pub fn flat_video(n: usize, frames: usize, height: usize, width: usize) -> EncodedVideo {
    let info = VideoInfo {
        key: format!("class{}/video{n:03}", n % 3),
        labels: [("label".to_owned(), format!("class{}", n % 3))].into(),
        fps: 25.0,
        height,
        width,
        source: format!("video{n:03}.mp4"),
        ..VideoInfo::default()
    };
    let mut video = EncodedVideo::new(info);
    for frame in 0..frames {
        video.push_frame(&vec![grey(n, frame); height * width * 3], 90).unwrap();
    }
    video
}

pub fn grey(n: usize, frame: usize) -> u8 {
    (40 * (n % 5) + 2 * frame) as u8
}

/// `videos` videos of 20 frames, 24×32, several shards.
pub fn write_set(root: &Path, videos: usize) {
    let mut writer = ShardWriter::open(root, &recipe(), 60_000).unwrap();
    for n in 0..videos {
        writer.append(&flat_video(n, 20, 24, 32)).unwrap();
    }
    writer.finish().unwrap();
}
