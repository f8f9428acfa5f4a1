//! Verification against golden files: single operations, augmented clips, or whole networks through three steps of
//! pretraining or fine-tuning.

mod augment;
mod classifier;
mod compare;
mod engine;
mod golden;
mod model;
mod ops;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::device::Device;
use crate::ops::Precision;
use crate::tensor::{Dtype, Real};
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
    let groups = match dtype {
        Dtype::F64 => groups::<f64>(&file),
        Dtype::F32 => groups::<f32>(&file),
        Dtype::Bf16 => Err(Error::usage("the CPU does not compute in bf16", "give --precision f32 or f64")),
    }?;
    Ok(Report { path: path.to_path_buf(), groups })
}

/// Computes on a device what the file holds of a whole network and compares.
///
/// # Errors
/// A file that cannot be read or holds no network, or a device that fails.
pub fn verify_on(path: &Path, device: &Arc<Device>, precision: Precision) -> Result<Report> {
    let file = GoldenFile::open(path)?;
    if file.meta["cases"].is_array() {
        return Err(Error::data(
            path,
            "holds single operations, which a device is not verified with",
            "give a file of a network, or leave out --device; `hdc selftest` checks a device's operations",
        ));
    }
    let groups = match file.meta["kind"].as_str() {
        Some("classifier") => classifier::verify_on(&file, device, precision),
        _ => model::verify_on(&file, device, precision),
    }?;
    Ok(Report { path: path.to_path_buf(), groups })
}

/// By what the file holds.
fn groups<T: Real>(file: &GoldenFile) -> Result<Vec<Group>> {
    let cases = &file.meta["cases"];
    if cases.is_array() {
        let augmented = cases[0]["crop"].is_array();
        return if augmented { augment::verify::<T>(file) } else { ops::verify::<T>(file) };
    }
    if file.meta["kind"] == "classifier" { classifier::verify::<T>(file) } else { model::verify::<T>(file) }
}
