//! Feature files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::{Embedder, Embeddings};
use crate::data::{Dataset, atomic};
use crate::{Error, Result};

/// Writes `embeddings` of `dataset` as a safetensors file: the tensor `embeddings`, `(videos, dim)`, F32; in its
/// metadata the JSON texts `keys` (an array, one key a row) and `labels` (by name an array, `null` where a video
/// has none), and how they were made.
///
/// # Errors
/// [`Error::Io`]; then what was at `path` is as it was.
pub fn write_features(
    path: &Path,
    dataset: &Dataset,
    embeddings: &Embeddings,
    embedder: &Embedder,
) -> Result<()> {
    let infos: Vec<_> = embeddings.videos.iter().map(|&v| dataset.video(v)).collect();
    let mut labels = BTreeMap::<&str, Vec<Option<&str>>>::new();
    for name in infos.iter().flat_map(|v| v.labels.keys()) {
        labels.entry(name).or_default();
    }
    for (name, values) in &mut labels {
        values.extend(infos.iter().map(|v| v.labels.get(*name).map(String::as_str)));
    }
    let keys: Vec<&str> = infos.iter().map(|v| v.key.as_str()).collect();
    let options = embedder.options();
    // By hand, for the `safetensors` crate writes metadata in random order: equal features, unequal files.
    let header = json!({
        "__metadata__": {
            "format": "hdc-features-1",
            "network": embedder.name(),
            "block": options.block.to_string(),
            "pool": options.pool.name(),
            "keys": json!(keys).to_string(),
            "labels": json!(labels).to_string(),
        },
        "embeddings": {
            "dtype": "F32",
            "shape": [embeddings.videos.len(), embeddings.dim],
            "data_offsets": [0, 4 * embeddings.data.len()],
        },
    });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > 100_000_000 {
        return Err(Error::data(
            path,
            format!("the keys and labels of {} videos take more than 100 MB, the format's limit", keys.len()),
            "divide the data set",
        ));
    }
    let mut bytes = Vec::with_capacity(8 + header.len() + 4 * embeddings.data.len());
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes.extend(embeddings.data.iter().flat_map(|v| v.to_le_bytes()));
    atomic::write(path, &bytes)
}
