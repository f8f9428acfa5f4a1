//! What evaluations say: features, retrieval and reports of the real program against plain computations.

#[path = "../command/mod.rs"]
mod command;
mod commands;
mod features;
mod inspect;
mod inspect_lists;
mod lists;
mod retrieval;
mod study;

use std::path::Path;

use command::{TINY, hdc, synth};
use hdc::data::VideoInfo;
use hdc::data::shard::{EncodedVideo, Recipe, ShardWriter};
use hdc::tensor::random::Stream;
use hdc::train::{Config, Preset, Sources};
use serde_json::Value;

/// The network that looks: at 32 pixels the map of block 5 has four places, at 16 one, which its norm makes zero.
fn look() -> String {
    format!("--checkpoint random:3 {TINY} --set clip.crop=32 --set clip.short_side=40")
}

/// Its configuration.
fn config() -> Config {
    let settings = look();
    let sets = settings.split(" --set ").skip(1);
    sets.fold(Sources::default().preset(Preset::Small), |sources, set| sources.set(set)).resolve().unwrap()
}

/// A feature file, read as its format is published: 8 bytes of length, a JSON header, numbers.
struct Features {
    metadata: Value,
    keys: Vec<String>,
    dim: usize,
    rows: Vec<Vec<f64>>,
}

impl Features {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        assert_eq!(length % 8, 0, "readers map the numbers, which must be aligned");
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let tensor = &header["embeddings"];
        assert_eq!(tensor["dtype"], "F32");
        let [rows, dim] = [0, 1].map(|i| tensor["shape"][i].as_u64().unwrap() as usize);
        assert_eq!(tensor["data_offsets"], serde_json::json!([0, 4 * rows * dim]));
        let data = &bytes[8 + length..];
        assert_eq!(data.len(), 4 * rows * dim, "nothing before or after");
        let numbers: Vec<f64> =
            data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
        let metadata = header["__metadata__"].clone();
        let keys: Vec<String> = serde_json::from_str(metadata["keys"].as_str().unwrap()).unwrap();
        assert_eq!(keys.len(), rows);
        Self { metadata, keys, dim, rows: numbers.chunks_exact(dim).map(<[f64]>::to_vec).collect() }
    }
}

/// A data set at `dir/set` of videos with these keys and labels; equal seeds are equal videos.
fn write_set(dir: &Path, videos: &[(&str, Option<&str>, u64)]) {
    let (height, width) = (32, 40);
    let recipe = Recipe::from([("made_by".into(), "test".into())]);
    let mut writer = ShardWriter::open(&dir.join("set"), &recipe, 1 << 20).unwrap();
    for &(key, label, seed) in videos {
        let labels = label.iter().map(|l| ("label".to_owned(), (*l).to_owned())).collect();
        let mut video = EncodedVideo::new(VideoInfo {
            key: key.into(),
            labels,
            fps: 25.0,
            height,
            width,
            source: format!("{key}.avi"),
            ..VideoInfo::default()
        });
        let mut noise = Stream::new("frames", seed);
        for _ in 0..9 {
            let rgb: Vec<u8> = (0..height * width * 3).map(|_| noise.next_below(256) as u8).collect();
            video.push_frame(&rgb, 90).unwrap();
        }
        writer.append(&video).unwrap();
    }
    writer.finish().unwrap();
}
