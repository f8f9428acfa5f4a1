//! Reading a data set.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rayon::prelude::*;

use super::format::{Extent, INDEX, Index, Recipe, Sidecar, VideoInfo, VideoRecord, member_stem};
use super::jpeg;
use crate::data::resize::{AreaScaler, limit_short_side};
use crate::data::{ClipConfig, Window};
use crate::{Error, Result};

/// A complete data set: its videos, sorted by key, and their frames on disk. Any number of threads may read.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    index: Index,
    files: Vec<OnceLock<File>>, // (shards), opened on first use
}

const HINT: &str = "restore the shard from a copy, or make the data set again in an empty folder";

impl Dataset {
    /// Opens a folder of shards; checks the index and the size of every shard (not their contents: see
    /// [`Dataset::verify`]).
    ///
    /// # Errors
    /// A folder that is not a data set, is not finished, or is empty; a damaged index; a missing or cut shard,
    /// naming the first video that it costs.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref().to_path_buf();
        fs::read_dir(&root).map_err(|e| Error::io("read", &root, e))?;
        if !root.join(INDEX).exists() {
            return Err(Error::data(
                &root,
                "is not a data set: it has no index.json",
                "give the folder that `hdc ingest` or `hdc synth` wrote",
            ));
        }
        let index = Index::read(&root)?;
        if !index.complete {
            return Err(Error::data(
                &root,
                "is not finished: the command that makes it was stopped",
                "run that command again; it goes on where it stopped",
            ));
        }
        if index.videos.is_empty() {
            return Err(Error::data(&root, "holds no video", "see its quarantine.jsonl for the reasons"));
        }
        let files = index.shards.iter().map(|_| OnceLock::new()).collect();
        let dataset = Self { root, index, files };
        dataset.check_sizes()?;
        Ok(dataset)
    }

    fn check_sizes(&self) -> Result<()> {
        for (number, shard) in self.index.shards.iter().enumerate() {
            let path = self.root.join(&shard.name);
            let bytes = fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?.len();
            if bytes == shard.bytes {
                continue;
            }
            let mut lost: Vec<&VideoRecord> =
                self.index.videos.iter().filter(|v| v.shard == number).collect();
            lost.sort_by_key(|v| v.mjpeg.offset);
            lost.retain(|v| v.json.end().is_none_or(|end| end > bytes));
            let which = match lost.as_slice() {
                [] => "it is not the file that was written".to_owned(),
                [one] => format!("video {} is lost", one.info.key),
                [first, ..] => format!("{} videos are lost, the first is {}", lost.len(), first.info.key),
            };
            let what = format!("has {bytes} bytes instead of {}: {which}", shard.bytes);
            return Err(Error::data(path, what, HINT));
        }
        Ok(())
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How it was made.
    pub fn recipe(&self) -> &Recipe {
        &self.index.recipe
    }

    /// How many videos; never 0.
    pub fn len(&self) -> usize {
        self.index.videos.len()
    }

    /// Always `false`: an empty data set does not open.
    pub fn is_empty(&self) -> bool {
        self.index.videos.is_empty()
    }

    /// How many shards.
    pub fn shards(&self) -> usize {
        self.index.shards.len()
    }

    /// Bytes of its shards.
    pub fn bytes(&self) -> u64 {
        self.index.shards.iter().map(|s| s.bytes).sum()
    }

    /// A video's description.
    ///
    /// # Panics
    /// If there are not so many videos.
    pub fn video(&self, video: usize) -> &VideoInfo {
        &self.index.videos[video].info
    }

    /// Bytes of the largest window that `clip` cuts of these videos.
    pub fn window_bytes(&self, videos: &[usize], clip: &ClipConfig) -> usize {
        let bytes = |&v: &usize| {
            let video = self.video(v);
            let (height, width) = limit_short_side(video.height, video.width, clip.short_side);
            clip.frames * height * width * 3
        };
        videos.iter().map(bytes).max().unwrap_or(0)
    }

    /// All videos, sorted by key.
    pub fn videos(&self) -> impl ExactSizeIterator<Item = &VideoInfo> {
        self.index.videos.iter().map(|v| &v.info)
    }

    /// The video of this key.
    pub fn find(&self, key: &str) -> Option<usize> {
        self.index.videos.binary_search_by(|v| v.info.key.as_str().cmp(key)).ok()
    }

    /// Reads every byte of every video and checks it, in parallel, then the tar files around them. Returns what
    /// is wrong, sorted by key; empty if the data set is intact.
    pub fn verify(&self) -> Vec<Error> {
        let check = |record: &VideoRecord| -> Result<()> {
            let sidecar = self.sidecar(record)?;
            let mut bytes = vec![0; record.mjpeg.bytes as usize];
            self.read(record, record.mjpeg.offset, &mut bytes)?;
            for frame in 0..sidecar.info.frames {
                let (begin, len) = sidecar.frame(frame);
                check_frame(&sidecar, frame, &bytes[begin as usize..][..len])
                    .map_err(|e| self.fault(record, format!("frame {frame}: {e}")))?;
            }
            if crc32c::crc32c(&bytes) != record.mjpeg.crc32c {
                return Err(self.fault(record, "its checksum does not hold"));
            }
            Ok(())
        };
        let mut faults: Vec<Error> = self.index.videos.par_iter().filter_map(|v| check(v).err()).collect();
        faults.extend((0..self.shards()).filter_map(|shard| self.check_members(shard).err()));
        faults
    }

    /// Whether a shard is the tar file that other readers expect: the engine itself goes by the index.
    fn check_members(&self, shard: usize) -> Result<()> {
        let path = self.root.join(&self.index.shards[shard].name);
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let damaged = |what: String| Error::data(&path, format!("is no intact tar file: {what}"), HINT);
        let mut found = Vec::new();
        for member in tar::Archive::new(file).entries_with_seek().map_err(|e| damaged(e.to_string()))? {
            let member = member.map_err(|e| damaged(e.to_string()))?;
            let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            found.push((member.raw_file_position(), member.size(), name));
        }
        let mut expect = Vec::new();
        for video in self.index.videos.iter().filter(|v| v.shard == shard) {
            for (extent, extension) in [(video.mjpeg, "mjpeg"), (video.json, "json")] {
                let name = format!("{}.{extension}", member_stem(&video.info.key));
                expect.push((extent.offset, extent.bytes, name));
            }
        }
        expect.sort_unstable();
        match found.iter().zip(&expect).find(|(found, expect)| found != expect) {
            Some((found, expect)) => Err(damaged(format!("{} is where {} belongs", found.2, expect.2))),
            None if found.len() != expect.len() => {
                Err(damaged(format!("it has {} members, not {}", found.len(), expect.len())))
            }
            None => Ok(()),
        }
    }

    /// The checked `.json` beside a video.
    fn sidecar(&self, record: &VideoRecord) -> Result<Sidecar> {
        let Extent { offset, bytes, crc32c } = record.json;
        let mut json = vec![0; bytes as usize];
        self.read(record, offset, &mut json)?;
        if crc32c::crc32c(&json) != crc32c {
            return Err(self.fault(record, "the checksum of its .json does not hold"));
        }
        let sidecar = Sidecar::parse(&json).map_err(|e| self.fault(record, e))?;
        if sidecar.info.frames != record.info.frames || sidecar.mjpeg_bytes != record.mjpeg.bytes {
            return Err(self.fault(record, "its .json is not the one that the index describes"));
        }
        Ok(sidecar)
    }

    /// Fills `out` from the video's shard.
    fn read(&self, record: &VideoRecord, offset: u64, out: &mut [u8]) -> Result<()> {
        let path = || self.root.join(&self.index.shards[record.shard].name);
        let slot = &self.files[record.shard];
        let file = match slot.get() {
            Some(file) => file,
            None => {
                let file = File::open(path()).map_err(|e| Error::io("open", path(), e))?;
                slot.get_or_init(|| file)
            }
        };
        file.read_exact_at(out, offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => self.fault(record, "is cut off: the shard ends before it"),
            _ => Error::io("read", path(), e),
        })
    }

    fn fault(&self, record: &VideoRecord, what: impl std::fmt::Display) -> Error {
        let path = self.root.join(&self.index.shards[record.shard].name);
        Error::data(path, format!("video {}: {what}", record.info.key), HINT)
    }
}

fn check_frame(sidecar: &Sidecar, frame: usize, jpeg: &[u8]) -> Result<(), &'static str> {
    if crc32c::crc32c(jpeg) == sidecar.frame_crc32c[frame] {
        Ok(())
    } else {
        Err("its checksum does not hold, the shard is damaged")
    }
}

/// Decodes frames; holds the buffers that this needs, so keep one a thread.
#[derive(Debug, Default)]
pub struct FrameReader {
    jpeg: Vec<u8>,
    full: Vec<u8>, // one frame before scaling
    scaler: AreaScaler,
}

impl FrameReader {
    /// Decodes `frames` of `video` into `window`, reusing its buffer. Frames whose shorter side is larger than
    /// `short_side` are averaged down to it by area, aspect kept; smaller ones stay as they are.
    ///
    /// # Errors
    /// A damaged or unreadable shard, naming shard, video and frame.
    pub fn read(
        &mut self,
        dataset: &Dataset,
        video: usize,
        frames: &[usize],
        short_side: usize,
        window: &mut Window,
    ) -> Result<()> {
        let record = &dataset.index.videos[video];
        let sidecar = dataset.sidecar(record)?;
        let (height, width) = (record.info.height, record.info.width);
        let size = limit_short_side(height, width, short_side);
        (window.frames, window.height, window.width) = (frames.len(), size.0, size.1);
        let pixels = size.0 * size.1 * 3;
        window.rgb.resize(frames.len() * pixels, 0);
        for (slot, &frame) in window.rgb.chunks_exact_mut(pixels).zip(frames) {
            if frame >= sidecar.info.frames {
                let what = format!("frame {frame} was asked for, it has {}", sidecar.info.frames);
                return Err(dataset.fault(record, what));
            }
            let (begin, len) = sidecar.frame(frame);
            self.jpeg.resize(len, 0);
            dataset.read(record, record.mjpeg.offset + begin, &mut self.jpeg)?;
            let fault = |e: &dyn std::fmt::Display| dataset.fault(record, format!("frame {frame}: {e}"));
            check_frame(&sidecar, frame, &self.jpeg).map_err(|e| fault(&e))?;
            if size == (height, width) {
                jpeg::decode(&self.jpeg, height, width, slot).map_err(|e| fault(&e))?;
            } else {
                self.full.resize(height * width * 3, 0);
                jpeg::decode(&self.jpeg, height, width, &mut self.full).map_err(|e| fault(&e))?;
                self.scaler.scale(&self.full, (height, width), slot, size);
            }
        }
        Ok(())
    }
}
