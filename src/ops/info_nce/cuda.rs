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
/// Threads of a block, and the vectors that it owns.
const THREADS: u32 = 256;
const TILE: usize = 64;
/// Bytes of shared memory of a block: two tiles of vectors; for gradients also the slopes and the vectors' lengths.
const TILES_SHARED: usize = 2 * TILE * 132 * size_of::<f32>();
const GRADIENT_SHARED: usize = TILES_SHARED + (TILE * 80 + TILE) * size_of::<f32>();
/// Bytes that the first launch leaves of a row for the second.
const ROW: usize = 8;

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
    rows: Address,
    first: u32,
    videos: u32,
    slots: u32,
    tiles: u32,
    pitch: u32,
    inverse_tau: f32,
    slope: f32,
    unused: u32,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    terms: [Term; TERMS],
    partials: Address,
    losses: Address,
    factors: [f64; TERMS],
    places: [u8; 8],
    count: u32,
    unused: u32,
}

impl Problem {
    /// Blocks that share the vectors of a slot.
    const fn cuda_tiles(&self) -> usize {
        self.videos.div_ceil(TILE)
    }

    /// Bytes of scratch that a device wants for this problem.
    pub const fn cuda_workspace_bytes(&self) -> usize {
        self.slots * (self.videos * ROW + self.cuda_tiles() * size_of::<f64>())
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
    if terms.is_empty() {
        commands.push(Command::Zero { at: losses, bytes: TERMS * size_of::<f64>() });
        return Ok(());
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
            rows: workspace.offset(rows * ROW),
            first: blocks as u32,
            videos: p.videos as u32,
            slots: p.slots as u32,
            tiles: p.cuda_tiles() as u32,
            pitch: pitch(p.dim) as u32,
            inverse_tau: (1.0 / p.tau) as f32,
            slope: (term.scale / (p.slots as f64 * p.tau)) as f32,
            unused: 0,
        };
        args.factors[i] = term.factor;
        args.places[i] = term.place as u8;
        blocks += p.slots * p.cuda_tiles();
        rows += p.slots * p.videos;
    }
    (args.partials, args.losses) = (workspace.offset(rows * ROW), losses);
    args.count = terms.len() as u32;
    commands.push(Launch::new("info_nce_softmax", [blocks, 1, 1], THREADS, TILES_SHARED, &args).into());
    // Both sides' gradients side by side.
    commands.push(Launch::new("info_nce_gradient", [blocks, 2, 1], THREADS, GRADIENT_SHARED, &args).into());
    Ok(())
}
