//! Verification against golden files: single operations, or whole networks through three training steps.

mod compare;
mod golden;
mod model;
mod ops;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::tensor::Dtype;
use crate::{Error, Result};

pub use compare::Group;
pub use golden::{Golden, GoldenFile};

/// One file's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Its groups of tensors.
    pub groups: Vec<Group>,
}

/// Computes in `dtype` what the file holds and compares.
///
/// # Errors
/// A file that cannot be read, or a precision that the CPU does not compute in.
pub fn verify(path: &Path, dtype: Dtype) -> Result<Report> {
    let file = GoldenFile::open(path)?;
    let operations = file.meta["cases"].is_array();
    let groups = match (dtype, operations) {
        (Dtype::F64, true) => ops::verify::<f64>(&file),
        (Dtype::F32, true) => ops::verify::<f32>(&file),
        (Dtype::F64, false) => model::verify::<f64>(&file),
        (Dtype::F32, false) => model::verify::<f32>(&file),
        (Dtype::Bf16, _) => {
            Err(Error::usage("the CPU does not compute in bf16", "give --precision f32 or f64"))
        }
    }?;
    Ok(Report { path: path.to_path_buf(), groups })
}
