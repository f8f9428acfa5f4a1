//! From video files to batches of clips: lists, ingest, shards, sampler, augmentation draws, loader,
//! and the synthetic set. Sees only `error` and `tensor`.

mod batch;
mod config;

pub use batch::{Batch, Clip, Window};
pub use config::{AugmentConfig, ClipConfig};
