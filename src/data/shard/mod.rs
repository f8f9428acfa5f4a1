//! A data set on disk: WebDataset-compatible tar shards with an index.
//!
//! ```text
//! index.json          first line: format and CRC32C of all that follows; then one line a shard and a video
//! shard-00000.tar     per video <key>.mjpeg (its frames, concatenated JPEGs) and <key>.json ([`Sidecar`])
//! quarantine.jsonl    written by ingest: files that could not be used, with the reason
//! ```
//!
//! A chain of checksums covers every byte that training uses: the index holds its own CRC32C and that of each
//! member, a `.json` member the CRC32C of each frame. Opening checks the index and the sizes of the shards;
//! reading checks each `.json` and each frame it uses; [`Dataset::verify`] checks everything.
//!
//! Shards are read by positioned reads (`pread`): a clip needs a few kilobytes from each of a few places, for
//! which a memory map saves nothing, and a file that is cut while it is mapped kills the process by SIGBUS,
//! where a read returns an error. It also needs no unsafe code.

mod dataset;
mod format;
mod jpeg;
mod video;
mod writer;

pub use dataset::{Dataset, FrameReader};
pub use format::{Recipe, VideoInfo};
pub use video::EncodedVideo;
pub use writer::ShardWriter;
