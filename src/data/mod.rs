//! From video files to batches of clips: lists, ingest, shards, sampler, augmentation draws, loader,
//! and the synthetic set. Sees only `error` and `tensor`.

pub mod atomic;
pub mod augment;
mod batch;
mod config;
pub mod evaluate;
pub mod ingest;
pub mod lists;
mod loader;
mod resize;
pub mod sampler;
pub mod shard;
pub mod synth;

pub use batch::{Batch, Clip, Window};
pub use config::{AugmentConfig, ClipConfig};
pub use loader::{Loader, LoaderOptions};
pub use shard::{Dataset, FrameReader, VideoInfo};
