//! The contrastive loss: terms of several extents in one launch.

use std::sync::Arc;

use super::subject::{Fault, run as run_commands};
use super::values::{close, contents, fault, holding, random, unpacked, wide};
use crate::device::{Device, Memory};
use crate::graph::cuda_tensor::to_device;
use crate::ops::info_nce::{self, CudaTerm, Io, Problem};
use crate::ops::{Gradient, Precision, WriteMode};

/// (B, S, D) on the CPU and on a device: one video, tails of every tile, more than one group.
pub const TERMS: [[usize; 3]; 8] =
    [[1, 1, 1], [2, 1, 1], [1, 3, 5], [3, 2, 7], [16, 1, 32], [17, 2, 33], [33, 3, 128], [261, 1, 9]];

/// (B, S, D) on a device: about its tiles of 64 and 128.
pub const TILES: [[usize; 3]; 6] =
    [[17, 1, 33], [64, 1, 128], [65, 2, 128], [130, 1, 124], [193, 2, 64], [128, 1, 68]];

/// Terms of a launch at most.
pub const AT_ONCE: usize = 6;

/// A term with its vectors, `(B, S, D)`.
#[derive(Clone, Debug)]
pub struct Term {
    /// Its extents and temperature,
    pub problem: Problem,
    /// and the last of them.
    pub dim: usize,
    /// Anchors.
    pub a: Vec<f32>,
    /// What they are contrasted with.
    pub b: Vec<f32>,
}

impl Term {
    /// With random vectors, at the paper's temperature.
    ///
    /// # Errors
    /// Extents that the loss refuses.
    pub fn random([videos, slots, dim]: [usize; 3]) -> crate::Result<Self> {
        let problem = Problem::new(videos, slots, dim, 0.07)?;
        let [a, b] = ["a", "b"].map(|name| random(name, videos * slots * dim));
        Ok(Self { problem, dim, a, b })
    }
}

/// What a device makes of a term whose weight is 0.5.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The loss, unweighted.
    pub loss: f64,
    /// Gradient of the anchors.
    pub da: Vec<f32>,
    /// Of the others.
    pub db: Vec<f32>,
}

/// All of up to [`AT_ONCE`] terms at once.
///
/// # Errors
/// What the device says, or the place of a loss that no term has but that is not 0.
pub fn run(device: &Arc<Device>, terms: &[Term]) -> Result<Vec<Outcome>, Fault> {
    let mut buffers = Vec::new();
    for term in terms {
        let [a, b] = [&term.a, &term.b].map(|v| to_device(v, term.dim, Precision::F32));
        let unwritten = || holding(device, &vec![0xFF_u8; a.len()]);
        buffers.push([holding(device, &a)?, holding(device, &b)?, unwritten()?, unwritten()?]);
    }
    let planned: Vec<_> = terms
        .iter()
        .zip(&buffers)
        .enumerate()
        .map(|(place, (term, [a, b, da, db]))| CudaTerm {
            problem: term.problem,
            a: a.address(),
            b: b.address(),
            da: da.address(),
            db: db.address(),
            scale: 0.5,
            factor: 0.25,
            place: 5 - place,
        })
        .collect();
    let scratch = terms.iter().map(|t| t.problem.cuda_workspace_bytes()).sum();
    let workspace = Memory::new(device, "test data", scratch).map_err(fault)?;
    let losses = holding(device, &[f64::NAN; 6])?;
    let mut commands = vec![];
    info_nce::launch(&planned, workspace.address(), losses.address(), &mut commands).map_err(fault)?;
    run_commands(device, &commands)?;
    let found: Vec<f64> = contents(&losses, 6)?;
    if found[..6 - terms.len()].iter().any(|&v| v != 0.0) {
        return Err(format!("info_nce: a term that is off costs something: {found:?}"));
    }
    let outcome = |(place, (term, [_, _, da, db])): (usize, (&Term, &[Memory; 4]))| {
        let values = |m| unpacked(m, term.dim, Precision::F32, term.a.len());
        Ok(Outcome { loss: found[5 - place] * 4.0, da: values(da)?, db: values(db)? })
    };
    terms.iter().zip(&buffers).enumerate().map(outcome).collect()
}

/// Terms of these extents at once, twice with the same bits.
///
/// # Errors
/// What does not hold, or what the device says.
pub fn check(device: &Arc<Device>, extents: &[[usize; 3]]) -> Result<(), Fault> {
    let terms = extents.iter().map(|&e| Term::random(e)).collect::<crate::Result<Vec<_>>>().map_err(fault)?;
    let (got, again) = (run(device, &terms)?, run(device, &terms)?);
    for (((extents, term), got), again) in extents.iter().zip(&terms).zip(got).zip(again) {
        let label = format!("info_nce {extents:?}");
        let bits = |o: &Outcome| {
            (o.loss.to_bits(), [&o.da, &o.db].map(|v| bytemuck::cast_slice::<_, u32>(v).to_vec()))
        };
        if bits(&got) != bits(&again) {
            return Err(format!("{label}: other bits the second time"));
        }
        let (a, b) = (wide(&term.a), wide(&term.b));
        let (mut da, mut db) = (vec![0.0; a.len()], vec![0.0; b.len()]);
        let mode = WriteMode::Overwrite;
        let want = info_nce::reference::run(
            &term.problem,
            Io {
                a: &a,
                b: &b,
                scale: 0.5,
                da: Some(Gradient { data: &mut da, mode }),
                db: Some(Gradient { data: &mut db, mode }),
                workspace: &mut [],
            },
        );
        // Logits are up to 1/τ = 14, so f32 keeps a digit less of their exponentials.
        close(&format!("{label}: loss"), &[got.loss], &[want], 3e-6, 1e-3)?;
        close(&format!("{label}: da"), &wide(&got.da), &da, 1e-5, 1e-2)?;
        close(&format!("{label}: db"), &wide(&got.db), &db, 1e-5, 1e-2)?;
    }
    Ok(())
}
