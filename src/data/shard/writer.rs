//! Writing shards: each is one atomic file, and an interrupted run goes on where it stopped.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::format::{
    Extent, INDEX, Index, Recipe, ShardRecord, Sidecar, VideoRecord, member_stem, shard_name,
};
use super::video::EncodedVideo;
use crate::data::atomic;
use crate::{Error, Result};

/// Locked while a writer works in the folder.
const LOCK: &str = ".lock";
/// Tar pads members to this.
const BLOCK: u64 = 512;

/// Appends videos to the shards of one folder.
///
/// The shard being written is `shard-N.tar.partial`, which readers of `*.tar` do not see. It is its own
/// journal: opening the folder again keeps its complete videos (checked by their checksums), drops a half one,
/// and goes on, so that a killed run loses only what was not yet appended and ends in the same bytes as one
/// that was never stopped.
#[derive(Debug)]
pub struct ShardWriter {
    root: PathBuf,
    index: Index,
    keys: HashSet<String>,
    current: Option<Partial>,
    shard_bytes: u64,
    _lock: File,
}

/// The shard being written.
struct Partial {
    tar: tar::Builder<File>,
    path: PathBuf,
    bytes: u64,
    videos: Vec<VideoRecord>,
}

impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partial").field("path", &self.path).field("bytes", &self.bytes).finish()
    }
}

impl ShardWriter {
    /// Opens `root`, which is made if need be, to write shards of about `shard_bytes`. `recipe` says how the
    /// videos are made; a folder with another recipe is refused.
    ///
    /// # Errors
    /// A folder that cannot be written, is in use by another process, was made with another recipe, or holds
    /// something else or shards without their index.
    pub fn open(root: &Path, recipe: &Recipe, shard_bytes: u64) -> Result<Self> {
        fs::create_dir_all(root).map_err(|e| Error::io("create", root, e))?;
        let mut entries = fs::read_dir(root).map_err(|e| Error::io("read", root, e))?;
        let ours = [LOCK, INDEX, &shard_name(0)].iter().any(|name| root.join(name).exists());
        if !ours && entries.next().is_some() {
            let what = "is not empty and holds no data set";
            return Err(Error::data(root, what, "choose a new or empty folder, or that of a data set"));
        }
        let lock = lock(root)?;
        let index = if root.join(INDEX).exists() {
            Index::read(root)?
        } else {
            if root.join(shard_name(0)).exists() {
                return Err(Error::data(
                    root,
                    "holds shards, but no index.json",
                    "restore index.json, or choose an empty folder",
                ));
            }
            let index = Index { recipe: recipe.clone(), ..Index::default() };
            index.write(root)?;
            index
        };
        if index.recipe != *recipe {
            let (ours, theirs) = difference(recipe, &index.recipe);
            return Err(Error::usage(
                format!("{} was made with {theirs}, now asked for {ours}", root.display()),
                "use the same settings, or choose another folder",
            ));
        }
        let keys = index.videos.iter().map(|v| v.info.key.clone()).collect();
        let mut writer =
            Self { root: root.to_path_buf(), index, keys, current: None, shard_bytes, _lock: lock };
        writer.recover()?;
        Ok(writer)
    }

    /// Whether a video of this key is written.
    pub fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// How many videos are written.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Appends a video.
    ///
    /// # Errors
    /// A key that is there already, a video without frames, or a failed write; what was appended before stays.
    pub fn append(&mut self, video: &EncodedVideo) -> Result<()> {
        let key = &video.info.key;
        if video.info.frames == 0 || self.contains(key) {
            let what = if video.info.frames == 0 { "has no frames" } else { "is there already" };
            return Err(Error::data(&self.root, format!("video {key} {what}"), "skip this video"));
        }
        let full = self
            .current
            .as_ref()
            .is_some_and(|p| !p.videos.is_empty() && p.bytes + video.mjpeg.len() as u64 > self.shard_bytes);
        if full {
            self.seal()?;
        }
        let number = self.index.shards.len();
        let mut partial = match self.current.take() {
            Some(partial) => partial,
            None => Partial::create(self.partial_path())?,
        };
        let appended = partial.append(video, number);
        self.current = Some(partial);
        appended?;
        self.keys.insert(key.clone());
        Ok(())
    }

    /// Seals the last shard and marks the data set complete.
    ///
    /// # Errors
    /// A failed write.
    pub fn finish(mut self) -> Result<()> {
        self.seal()?;
        self.index.complete = true;
        self.index.write(&self.root)
    }

    /// Makes the current shard visible, then the index that names it.
    fn seal(&mut self) -> Result<()> {
        let Some(partial) = self.current.take() else { return Ok(()) };
        if partial.videos.is_empty() {
            return fs::remove_file(&partial.path).map_err(|e| Error::io("remove", &partial.path, e));
        }
        let name = shard_name(self.index.shards.len());
        let file = partial.tar.into_inner().map_err(|e| Error::io("write", &partial.path, e))?;
        file.sync_all().map_err(|e| Error::io("sync", &partial.path, e))?;
        let bytes = file.metadata().map_err(|e| Error::io("inspect", &partial.path, e))?.len();
        atomic::rename(&partial.path, &self.root.join(&name))?;
        self.index.shards.push(ShardRecord { name, bytes });
        self.index.videos.extend(partial.videos);
        self.index.videos.sort_by(|a, b| a.info.key.cmp(&b.info.key));
        self.index.complete = false;
        self.index.write(&self.root)
    }

    /// Goes on with the shard that an interrupted run was writing, or had just renamed.
    fn recover(&mut self) -> Result<()> {
        let sealed = self.root.join(shard_name(self.index.shards.len()));
        let path = self.partial_path();
        if sealed.exists() {
            atomic::rename(&sealed, &path)?;
        }
        if !path.exists() {
            return Ok(());
        }
        let partial = Partial::recover(path, self.index.shards.len())?;
        // A video of an earlier shard cannot be in this one, unless someone copied files around.
        if let Some(twice) = partial.videos.iter().find(|v| self.keys.contains(&v.info.key)) {
            let what = format!("video {} is in an earlier shard as well", twice.info.key);
            return Err(Error::data(&partial.path, what, "remove this file, then run again"));
        }
        self.keys.extend(partial.videos.iter().map(|v| v.info.key.clone()));
        self.current = Some(partial);
        Ok(())
    }

    fn partial_path(&self) -> PathBuf {
        self.root.join(shard_name(self.index.shards.len()) + ".partial")
    }
}

impl Partial {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        Ok(Self { tar: tar::Builder::new(file), path, bytes: 0, videos: Vec::new() })
    }

    fn append(&mut self, video: &EncodedVideo, shard: usize) -> Result<()> {
        let sidecar = Sidecar {
            info: video.info.clone(),
            mjpeg_bytes: video.mjpeg.len() as u64,
            mjpeg_crc32c: crc32c::crc32c(&video.mjpeg),
            frame_offsets: video.frame_offsets.clone(),
            frame_crc32c: video.frame_crc32c.clone(),
        };
        let json = serde_json::to_vec(&sidecar)
            .map_err(|e| Error::data(&self.path, format!("video {}: {e}", video.info.key), "report this"))?;
        let stem = member_stem(&video.info.key);
        let written = || -> std::io::Result<(Extent, Extent)> {
            let mjpeg = member(&mut self.tar, &format!("{stem}.mjpeg"), &video.mjpeg)?;
            Ok((mjpeg, member(&mut self.tar, &format!("{stem}.json"), &json)?))
        }();
        let (mjpeg, json) = written.map_err(|e| Error::io("write", &self.path, e))?;
        self.bytes = padded(json.offset + json.bytes);
        self.videos.push(VideoRecord { info: video.info.clone(), shard, mjpeg, json });
        Ok(())
    }

    /// Keeps the complete videos at the start of the file and cuts off the rest.
    fn recover(path: PathBuf, shard: usize) -> Result<Self> {
        let io = |action| {
            let path = path.clone();
            move |e| Error::io(action, path, e)
        };
        let mut file = File::options().read(true).write(true).open(&path).map_err(io("open"))?;
        let size = file.metadata().map_err(io("inspect"))?.len();
        let videos = complete_videos(&file, size, shard);
        let bytes = videos.last().map_or(0, |v| padded(v.json.offset + v.json.bytes));
        file.set_len(bytes).map_err(io("shorten"))?;
        file.seek(SeekFrom::Start(bytes)).map_err(io("read"))?;
        Ok(Self { tar: tar::Builder::new(file), path, bytes, videos })
    }
}

/// The leading pairs of `.mjpeg` and `.json` whose checksums hold.
fn complete_videos(file: &File, size: u64, shard: usize) -> Vec<VideoRecord> {
    let mut videos = Vec::new();
    let mut archive = tar::Archive::new(file);
    let Ok(entries) = archive.entries() else { return videos };
    let mut pending: Option<Extent> = None;
    for entry in entries {
        let Ok(mut entry) = entry else { break };
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        if padded(offset.saturating_add(bytes)) > size {
            break;
        }
        let mut data = Vec::new();
        if entry.read_to_end(&mut data).is_err() || data.len() as u64 != bytes {
            break;
        }
        let extent = Extent { offset, bytes, crc32c: crc32c::crc32c(&data) };
        match pending.take() {
            None => pending = Some(extent),
            Some(mjpeg) => {
                let Ok(sidecar) = Sidecar::parse(&data) else { break };
                if sidecar.mjpeg_crc32c != mjpeg.crc32c || sidecar.mjpeg_bytes != mjpeg.bytes {
                    break;
                }
                videos.push(VideoRecord { info: sidecar.info, shard, mjpeg, json: extent });
            }
        }
    }
    videos
}

/// Writes one member: no time, owner or group, so that equal videos make equal shards.
fn member(tar: &mut tar::Builder<File>, name: &str, data: &[u8]) -> std::io::Result<Extent> {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, name, data)?;
    let end = tar.get_mut().stream_position()?;
    let bytes = data.len() as u64;
    Ok(Extent { offset: end - padded(bytes), bytes, crc32c: crc32c::crc32c(data) })
}

fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// One writer a folder.
fn lock(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let file = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::data(
            root,
            "another process is writing to it",
            "wait until that one ends, or choose another folder",
        )),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &path, e)),
    }
}

/// The settings in which two recipes differ, as `a=1, b=2`.
fn difference(ours: &Recipe, theirs: &Recipe) -> (String, String) {
    let only = |a: &Recipe, b: &Recipe| {
        let set: Vec<_> =
            a.iter().filter(|(k, v)| b.get(*k) != Some(v)).map(|(k, v)| format!("{k}={v}")).collect();
        if set.is_empty() { "nothing of that".into() } else { set.join(", ") }
    };
    (only(ours, theirs), only(theirs, ours))
}
