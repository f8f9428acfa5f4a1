//! What is written in an index and beside a video, and how it is checked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::atomic;
use crate::{Error, Result};

/// Name of the index in the data set's folder.
pub(super) const INDEX: &str = "index.json";
const FORMAT: &str = "hdc-shards";
const VERSION: u32 = 1;
/// Largest picture of a data set, in pixels: far above any use, and low enough to allocate.
pub(super) const MAX_PIXELS: usize = 1 << 26;

/// How a data set was made, by name: a run with other settings must not add to it.
pub type Recipe = BTreeMap<String, String>;

/// What is known of a video without decoding it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoInfo {
    /// Its path below the source folder, without extension: `Backflip/v_Backflip_g01_c01`.
    pub key: String,
    /// Its labels by name; `label` in real sets, `appearance` and `motion` in the synthetic one.
    pub labels: BTreeMap<String, String>,
    /// Mean frames a second; 0 if unknown.
    pub fps: f64,
    /// How many frames.
    pub frames: usize,
    /// Rows of each frame.
    pub height: usize,
    /// Columns of each frame.
    pub width: usize,
    /// The file it came from.
    pub source: String,
    /// What the decoder complained about, although it gave frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Where a member's bytes are in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Extent {
    pub offset: u64,
    pub bytes: u64,
    pub crc32c: u32,
}

impl Extent {
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.bytes)
    }
}

/// A video in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct VideoRecord {
    #[serde(flatten)]
    pub info: VideoInfo,
    pub shard: usize,
    pub mjpeg: Extent,
    pub json: Extent,
}

/// A shard in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShardRecord {
    pub name: String,
    pub bytes: u64,
}

/// The `.json` member beside a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sidecar {
    #[serde(flatten)]
    pub info: VideoInfo,
    pub mjpeg_bytes: u64,
    pub mjpeg_crc32c: u32,
    pub frame_offsets: Vec<u32>, // (frames), first byte of each JPEG
    pub frame_crc32c: Vec<u32>,  // (frames)
}

impl Sidecar {
    /// Parses and checks that the parts fit each other.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let sidecar: Self = serde_json::from_slice(bytes).map_err(|e| format!("unreadable .json: {e}"))?;
        let frames = sidecar.info.frames;
        let ordered = sidecar.frame_offsets.windows(2).all(|w| w[0] < w[1]);
        let inside = sidecar.frame_offsets.last().is_some_and(|&o| u64::from(o) < sidecar.mjpeg_bytes);
        if sidecar.frame_offsets.len() != frames
            || sidecar.frame_crc32c.len() != frames
            || !ordered
            || !inside
        {
            return Err("frame offsets in the .json do not fit the video".into());
        }
        Ok(sidecar)
    }

    /// First byte and number of bytes of a frame within the video.
    pub fn frame(&self, index: usize) -> (u64, usize) {
        let begin = u64::from(self.frame_offsets[index]);
        let end = self.frame_offsets.get(index + 1).map_or(self.mjpeg_bytes, |&o| u64::from(o));
        (begin, (end - begin) as usize)
    }
}

/// The whole index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    /// Whether the run that made it ended.
    pub complete: bool,
    pub recipe: Recipe,
    pub shards: Vec<ShardRecord>,
    pub videos: Vec<VideoRecord>, // sorted by key
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    crc32c: u32,
}

impl Index {
    /// The file's text. The checksum is over the lines after the first, so no reader has to print numbers the
    /// way this writer does.
    fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut body = format!(
            "\"complete\":{},\"recipe\":{},\n\"shards\":[",
            self.complete,
            serde_json::to_string(&self.recipe)?
        );
        lines(&mut body, &self.shards)?;
        body.push_str("],\n\"videos\":[");
        lines(&mut body, &self.videos)?;
        body.push_str("]}\n");
        let head = Head { format: FORMAT.into(), version: VERSION, crc32c: crc32c::crc32c(body.as_bytes()) };
        let head = serde_json::to_string(&head)?;
        Ok(format!("{},\n{body}", &head[..head.len() - 1]))
    }

    /// Writes `folder/index.json` atomically.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(INDEX);
        let text = self.to_text().map_err(|e| Error::data(&path, format!("cannot write: {e}"), HINT))?;
        atomic::write(&path, text.as_bytes())
    }

    /// Reads and checks `folder/index.json`.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(INDEX);
        let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let fault = |what: String| Error::data(&path, what, HINT);
        let split = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
        let (first, body) = bytes.split_at(split);
        let body = body.get(1..).unwrap_or_default();
        let mut head = first.strip_suffix(b",").unwrap_or(first).to_vec();
        head.push(b'}');
        let head: Head = serde_json::from_slice(&head)
            .map_err(|e| fault(format!("the first line is not that of an index of shards: {e}")))?;
        if head.format != FORMAT || head.version != VERSION {
            let Head { format, version, .. } = head;
            return Err(fault(format!("is {format} version {version}, not {FORMAT} version {VERSION}")));
        }
        let crc = crc32c::crc32c(body);
        if crc != head.crc32c {
            return Err(fault(format!(
                "is damaged: checksum {crc:08x}, but {:08x} was written",
                head.crc32c
            )));
        }
        let text = [b"{".as_slice(), body].concat();
        let index: Self =
            serde_json::from_slice(&text).map_err(|e| fault(format!("is not a valid index: {e}")))?;
        index.check().map_err(fault)?;
        Ok(index)
    }

    /// That nothing in it points outside the shards or cannot be a picture.
    fn check(&self) -> Result<(), String> {
        for shard in &self.shards {
            if Path::new(&shard.name).file_name().is_none_or(|n| n != shard.name.as_str()) {
                return Err(format!("shard name {:?} is not a plain file name", shard.name));
            }
        }
        for record in &self.videos {
            let VideoInfo { key, frames, height, width, .. } = &record.info;
            let size = self.shards.get(record.shard).map(|s| s.bytes);
            let inside = |e: &Extent| e.end().zip(size).is_some_and(|(end, size)| end <= size);
            if !inside(&record.mjpeg) || !inside(&record.json) {
                return Err(format!("video {key}: lies outside its shard"));
            }
            let pixels = height.checked_mul(*width).unwrap_or(usize::MAX);
            if *frames == 0 || pixels == 0 || pixels > MAX_PIXELS || (*height).max(*width) > 65_535 {
                return Err(format!("video {key}: {frames} frames of {height}×{width} are not possible"));
            }
        }
        match self.videos.windows(2).find(|w| w[0].info.key >= w[1].info.key) {
            Some(w) => Err(format!("video {} is out of order", w[1].info.key)),
            None => Ok(()),
        }
    }
}

const HINT: &str = "restore it from a copy, or make the data set again in an empty folder";

/// One JSON line each, separated by commas.
fn lines<T: Serialize>(out: &mut String, items: &[T]) -> Result<(), serde_json::Error> {
    for (i, item) in items.iter().enumerate() {
        let separator = if i == 0 { "\n" } else { ",\n" };
        write!(out, "{separator}{}", serde_json::to_string(item)?).expect("writing to a String cannot fail");
    }
    Ok(())
}

/// Name of shard number `n`.
pub(super) fn shard_name(n: usize) -> String {
    format!("shard-{n:05}.tar")
}

/// The member name of a key, without extension. WebDataset ends a key at the first dot of the file's name, so
/// dots are written `%2E`, and with them the percent sign.
pub(super) fn member_stem(key: &str) -> String {
    let (folder, name) = key.rsplit_once('/').map_or(("", key), |(f, n)| (f, n));
    let name = name.replace('%', "%25").replace('.', "%2E");
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample_index() -> Index {
        let info = |key: &str| VideoInfo {
            key: key.into(),
            fps: 30_000.0 / 1001.0,
            frames: 2,
            height: 3,
            width: 4,
            source: "it's a \"clip\"\n日本.mp4".into(),
            ..VideoInfo::default()
        };
        let extent = |offset| Extent { offset, bytes: 10, crc32c: 7 };
        let record = |key| VideoRecord { info: info(key), shard: 0, mjpeg: extent(512), json: extent(1536) };
        Index {
            complete: true,
            recipe: Recipe::from([("quality".into(), "90".into())]),
            shards: vec![ShardRecord { name: shard_name(0), bytes: 4096 }],
            videos: vec![record("a"), record("b")],
        }
    }

    #[test]
    fn the_index_is_json_and_survives_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let index = sample_index();
        index.write(dir.path()).unwrap();
        let value: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.path().join(INDEX)).unwrap()).unwrap();
        assert_eq!(value["videos"][1]["key"], "b");
        let back = Index::read(dir.path()).unwrap();
        assert_eq!(back.videos[0].info.source, index.videos[0].info.source);
        assert_eq!(back.videos.len(), 2);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_the_index_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        sample_index().write(dir.path()).unwrap();
        let path = dir.path().join(INDEX);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let e = Index::read(dir.path()).expect_err(&format!("bit flip at byte {at}")).to_string();
            assert!(e.contains("index.json") && e.contains("help:"), "{e}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(Index::read(dir.path()).is_err(), "cut at byte {at}");
        }
    }

    #[test]
    fn an_index_that_points_outside_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        type Spoil = fn(&mut Index);
        let spoilers: [(&str, Spoil); 5] = [
            ("outside its shard", |i| i.videos[0].shard = 1),
            ("outside its shard", |i| i.videos[0].json.offset = u64::MAX),
            ("not a plain file name", |i| i.shards[0].name = "../x.tar".into()),
            ("not possible", |i| i.videos[1].info.height = 1 << 40),
            ("out of order", |i| i.videos[1].info.key = "a".into()),
        ];
        for (expect, spoil) in spoilers {
            let mut index = sample_index();
            spoil(&mut index);
            index.write(dir.path()).unwrap();
            let e = Index::read(dir.path()).unwrap_err().to_string();
            assert!(e.contains(expect), "{e}");
        }
    }

    #[test]
    fn member_names_have_no_dots_and_stay_distinct() {
        assert_eq!(member_stem("a.b/v1.2"), "a.b/v1%2E2");
        assert_ne!(member_stem("v1.2"), member_stem("v1%2E2"));
        assert_eq!(member_stem("Run/v_Run_g01"), "Run/v_Run_g01");
    }
}
