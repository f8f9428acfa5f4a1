//! Relative L2 errors, tensor by tensor and over groups.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::golden::GoldenFile;
use crate::{Error, Result};

/// How far a group of tensors is from the golden ones.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// First part of the tensors' names.
    pub name: String,
    /// Relative L2 error over all its tensors together.
    pub rel_l2: f64,
    /// What is allowed.
    pub limit: f64,
    /// The largest relative L2 error of one tensor, and which.
    pub worst: f64,
    /// Its name.
    pub worst_at: String,
    /// How many tensors.
    pub tensors: usize,
}

impl Group {
    /// Within the limit; a NaN is not.
    pub fn passes(&self) -> bool {
        self.rel_l2 <= self.limit
    }
}

/// Compares every tensor of the file that is not an input with what was computed. A name may end in `#sample`
/// (a strided sample of the tensor) or `#stats` (sum, absolute sum, norm). `group` names a tensor's group,
/// `None` leaves it out; `limit` gives a group's limit. The file must hold every computed tensor that has a group
/// and is `required`: one that is not there cannot be found wrong.
///
/// # Errors
/// A tensor that was not computed, is not in the file or has another length.
pub fn compare(
    file: &GoldenFile,
    computed: &BTreeMap<String, Vec<f64>>,
    group: impl Fn(&str) -> Option<String>,
    required: impl Fn(&str) -> bool,
    limit: impl Fn(&str) -> f64,
) -> Result<Vec<Group>> {
    let held: BTreeSet<_> = file.tensors.keys().map(|n| n.split_once('#').map_or(&n[..], |s| s.0)).collect();
    let wanted = |name: &&String| group(name).is_some() && required(name) && !held.contains(&name[..]);
    if let Some(missing) = computed.keys().find(wanted) {
        return Err(file.lacks(missing));
    }
    struct Sum {
        error: f64,
        norm: f64,
        worst: f64,
        worst_at: String,
        tensors: usize,
    }
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for (name, golden) in &file.tensors {
        let Some(group) = group(name) else { continue };
        let (base, view) = name.split_once('#').unwrap_or((name, ""));
        let values = computed.get(base).ok_or_else(|| file.lacks(&format!("{base} among the computed")))?;
        let (error, norm) = match view {
            "" => distance(values, &golden.data),
            // Weighs in its group as the whole tensor that it stands for.
            "sample" => {
                let (error, norm) = distance(&sample(values, golden.data.len()), &golden.data);
                let weight = values.len() as f64 / golden.data.len().max(1) as f64;
                (error * weight, norm * weight)
            }
            // A sum cancels, so it is held against the absolute sum. The three relative errors weigh as much
            // in their group as the tensor's norm does.
            "stats" if golden.data.len() == 3 => {
                let ours = stats(values);
                let [sum, absolute, norm] = [0, 1, 2].map(|i| golden.data[i]);
                let unit = absolute.max(f64::MIN_POSITIVE);
                let parts =
                    [1.0 + (ours[0] - sum) / unit, ours[1] / unit, ours[2] / norm.max(f64::MIN_POSITIVE)];
                let (error, _) = distance(&parts, &[1.0; 3]);
                (error / 3.0 * norm * norm, norm * norm)
            }
            _ => (f64::NAN, 1.0),
        };
        if error.is_nan() && (view.is_empty() && values.len() != golden.data.len()) {
            let what = format!("{name} has {} elements, computed {}", golden.data.len(), values.len());
            return Err(Error::data(&file.path, what, "make the file again with tools/reference/golden.py"));
        }
        let relative = (error / norm.max(1e-60)).sqrt();
        let sum = sums.entry(group).or_insert(Sum {
            error: 0.0,
            norm: 0.0,
            worst: -1.0,
            worst_at: String::new(),
            tensors: 0,
        });
        sum.error += error;
        sum.norm += norm;
        sum.tensors += 1;
        if relative > sum.worst || relative.is_nan() {
            sum.worst = relative;
            sum.worst_at = name.clone();
        }
    }
    Ok(sums
        .into_iter()
        .map(|(name, s)| Group {
            rel_l2: (s.error / s.norm.max(1e-60)).sqrt(),
            limit: limit(&name),
            name,
            worst: s.worst,
            worst_at: s.worst_at,
            tensors: s.tensors,
        })
        .collect())
}

/// Squared distance, and squared norm of the second; NaN where lengths differ.
fn distance(a: &[f64], b: &[f64]) -> (f64, f64) {
    if a.len() != b.len() {
        return (f64::NAN, 1.0);
    }
    let error = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (error, b.iter().map(|b| b * b).sum())
}

/// Elements `j·n/len` of `values`.
fn sample(values: &[f64], len: usize) -> Vec<f64> {
    (0..len).map(|j| values.get(j * values.len() / len).copied().unwrap_or(f64::NAN)).collect()
}

/// Sum, absolute sum and norm.
fn stats(values: &[f64]) -> [f64; 3] {
    [
        values.iter().sum(),
        values.iter().map(|v| v.abs()).sum(),
        values.iter().map(|v| v * v).sum::<f64>().sqrt(),
    ]
}
