//! Augmentation on a CUDA device: the launch of `kernels/augment.cu`.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Launch};
use crate::ops::Precision;
use crate::tensor::transform::{ClipTransform, ColourStep};
use crate::{Error, Result};

/// Threads of a block.
const THREADS: u32 = 512;
/// Bytes of shared memory for each column of the output.
const COLUMN: usize = 12;
/// Sides whose columns fit the shared memory that every kernel has.
const LARGEST_SIDE: usize = 4000;

/// A clip as the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct CudaClip {
    window: u64,
    height: u32,
    width: u32,
    y: u32,
    x: u32,
    crop_height: u32,
    crop_width: u32,
    flip: u32,
    replicate: u32,
    kinds: [u32; 4],
    factors: [f32; 4],
}

/// As the kernel takes it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    clips: Address,
    windows: Address,
    out: Address,
    frames: u32,
    side: u32,
}

impl CudaClip {
    /// The clip that `transform` makes of the window that begins `offset` bytes into the buffer of windows.
    ///
    /// # Errors
    /// As [`Problem::run`], or a side that is too large for a device.
    pub fn new(problem: &Problem, transform: &ClipTransform, offset: usize) -> Result<Self> {
        problem.check_transform(transform)?;
        if problem.side > LARGEST_SIDE {
            let what = format!("a crop of {} pixels on a device", problem.side);
            return Err(Error::shape(
                "augment",
                what,
                format!("give at most {LARGEST_SIDE}, or use the CPU"),
            ));
        }
        let step = |step: &ColourStep| match *step {
            ColourStep::Brightness(f) => (1, f),
            ColourStep::Contrast(f) => (2, f),
            ColourStep::Saturation(f) => (3, f),
            ColourStep::Hue(f) => (4, f),
        };
        let steps = transform.colour.map_or([(0, 0.0); 4], |steps| steps.each_ref().map(step));
        let crop = transform.crop;
        Ok(Self {
            window: offset as u64,
            height: problem.height as u32,
            width: problem.width as u32,
            y: crop.y,
            x: crop.x,
            crop_height: crop.height,
            crop_width: crop.width,
            flip: transform.flip.into(),
            replicate: transform.replicate.map_or(3, u32::from),
            kinds: steps.map(|(kind, _)| kind),
            factors: steps.map(|(_, factor)| factor),
        })
    }
}

/// Makes `count` clips of `frames` × `side` × `side`, described one after the other at `clips`, from `windows`; writes
/// `out`, `(count, frames, side, side, 4)`.
pub fn launch(
    precision: Precision,
    [count, frames, side]: [usize; 3],
    clips: Address,
    windows: Address,
    out: Address,
) -> Launch {
    let args = Args { clips, windows, out, frames: frames as u32, side: side as u32 };
    let kernel = precision.pick("augment_f32", "augment_bf16");
    Launch::new(kernel, [count, 1, 1], THREADS, side * COLUMN, &args)
}
