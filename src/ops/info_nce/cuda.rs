//! InfoNCE on a CUDA device: the launches of `kernels/info_nce.cu`, for all terms of a step at once.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Command, Launch};
use crate::ops::pitch;
use crate::{Error, Result};

/// Terms of a launch at most: spatial and temporal contrast at three blocks.
const TERMS: usize = 6;
/// Components of a vector at most.
const LARGEST_DIM: usize = 128;
/// Threads of a block.
const THREADS: u32 = 256;
/// Bytes of shared memory of a block: two tiles of 64 vectors, and their similarities.
const SHARED: usize = (2 * 64 * 132 + 64 * 68) * size_of::<f32>();
/// Bytes that a block remembers of a row.
const ROW: usize = 16;

/// A term's buffers, each `(B, S, pitch(D))` in f32.
#[derive(Clone, Copy, Debug)]
pub struct CudaTerm {
    /// Extents and temperature.
    pub problem: Problem,
    /// Anchors.
    pub a: Address,
    /// Positives and negatives.
    pub b: Address,
    /// Receives the gradient of the anchors.
    pub da: Address,
    /// Receives the gradient of the others.
    pub db: Address,
    /// What the gradients are multiplied by.
    pub scale: f64,
    /// What the loss is multiplied by.
    pub factor: f64,
    /// Which of the six losses it is.
    pub place: usize,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Term {
    a: Address,
    b: Address,
    da: Address,
    db: Address,
    first: u32,
    videos: u32,
    slots: u32,
    pitch: u32,
    inverse_tau: f32,
    slope: f32,
    rows: u64,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    terms: [Term; TERMS],
    rows: Address,
    partials: Address,
    losses: Address,
    factors: [f32; TERMS],
    places: [u8; 8],
    count: u32,
    blocks: u32,
}

impl Problem {
    /// Bytes of scratch that a device wants for this problem.
    pub fn cuda_workspace_bytes(&self) -> usize {
        self.slots * self.videos * ROW + self.slots * size_of::<f64>()
    }
}

/// Appends loss and gradients of up to six terms. `workspace` holds the sum of their
/// [`Problem::cuda_workspace_bytes`]; `losses`, six f64, receives each term's loss in its place and 0 in the others.
///
/// # Errors
/// [`Error::Shape`] if vectors are longer than 128.
pub fn launch(
    terms: &[CudaTerm],
    workspace: Address,
    losses: Address,
    commands: &mut Vec<Command>,
) -> Result<()> {
    assert!(terms.len() <= TERMS, "at most {TERMS} terms");
    if let Some(term) = terms.iter().find(|t| t.problem.dim > LARGEST_DIM) {
        let what = format!("vectors of {} components on a device", term.problem.dim);
        return Err(Error::shape("info_nce", what, "give at most 128"));
    }
    let mut args = Args::zeroed();
    let (mut blocks, mut rows) = (0, 0);
    for (i, term) in terms.iter().enumerate() {
        let p = &term.problem;
        args.terms[i] = Term {
            a: term.a,
            b: term.b,
            da: term.da,
            db: term.db,
            first: blocks as u32,
            videos: p.videos as u32,
            slots: p.slots as u32,
            pitch: pitch(p.dim) as u32,
            inverse_tau: (1.0 / p.tau) as f32,
            slope: (term.scale / (p.slots as f64 * p.tau)) as f32,
            rows: rows as u64,
        };
        args.factors[i] = term.factor as f32;
        args.places[i] = term.place as u8;
        blocks += p.slots;
        rows += p.slots * p.videos;
    }
    (args.rows, args.partials, args.losses) = (workspace, workspace.offset(rows * ROW), losses);
    (args.count, args.blocks) = (terms.len() as u32, blocks as u32);
    if blocks > 0 {
        commands.push(Launch::new("info_nce", [blocks, 1, 1], THREADS, SHARED, &args).into());
    }
    commands.push(Launch::new("info_nce_losses", [1; 3], 32, 0, &args).into());
    Ok(())
}
