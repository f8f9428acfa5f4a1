//! Golden files: tensors that PyTorch computed in float64 (stored as f32), and how far PyTorch's own lower
//! precisions landed from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use crate::{Error, Result};

/// A stored tensor.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Extents in PyTorch's order.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Vec<f64>,
}

/// A whole file.
#[derive(Clone, Debug)]
pub struct GoldenFile {
    /// Where it is.
    pub path: PathBuf,
    /// All tensors.
    pub tensors: BTreeMap<String, Golden>,
    /// The settings they were made with.
    pub meta: serde_json::Value,
}

impl GoldenFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, or is not a golden file.
    pub fn open(path: &Path) -> Result<Self> {
        let hint = "give a file made by tools/reference/golden.py";
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let wrong = |what: String| Error::data(path, what, hint);
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|e| wrong(format!("not a safetensors file: {e}")))?;
        let meta = header.metadata().as_ref().and_then(|m| m.get("hdc"));
        let meta = meta.ok_or_else(|| wrong("has no \"hdc\" metadata".into()))?;
        let meta = serde_json::from_str(meta).map_err(|e| wrong(format!("its \"hdc\" metadata: {e}")))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(format!("damaged: {e}")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let words = view.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
            let data = match view.dtype() {
                Dtype::F32 => words.map(|b| f64::from(f32::from_le_bytes(b))).collect(),
                Dtype::I32 => words.map(|b| f64::from(i32::from_le_bytes(b))).collect(),
                Dtype::U8 => view.data().iter().map(|&b| f64::from(b)).collect(),
                other => {
                    let what = format!("{name} has element type {other:?}; F32, I32 or U8 expected");
                    return Err(wrong(what));
                }
            };
            tensors.insert(name, Golden { shape: view.shape().to_vec(), data });
        }
        Ok(Self { path: path.to_path_buf(), tensors, meta })
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str) -> Result<&Golden> {
        self.tensors.get(name).ok_or_else(|| self.lacks(name))
    }

    /// A number of the settings.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn number(&self, name: &str) -> Result<f64> {
        self.meta[name].as_f64().ok_or_else(|| self.lacks(name))
    }

    /// A list of numbers of the settings.
    ///
    /// # Errors
    /// There is none of this name and length.
    pub fn numbers<const N: usize>(&self, name: &str) -> Result<[f64; N]> {
        let list =
            self.meta[name].as_array().map(|l| l.iter().filter_map(|v| v.as_f64()).collect::<Vec<_>>());
        list.and_then(|l| l.try_into().ok()).ok_or_else(|| self.lacks(name))
    }

    /// The error for something that is not there.
    pub fn lacks(&self, name: &str) -> Error {
        Error::data(
            &self.path,
            format!("has no {name:?}"),
            "make the file again with tools/reference/golden.py",
        )
    }
}
