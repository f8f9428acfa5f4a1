//! Launches of `kernels/conv3d_wgrad_*.cu`, and of what adds their splits.

use bytemuck::{Pod, Zeroable};

use super::gather::{is_thin, threads};
use super::tile::{COLUMNS, ROWS, SLOTS, THIN_COLUMNS, width};
use crate::device::{Address, Command, Launch};
use crate::ops::conv3d::Problem;
use crate::ops::{CudaGradient, Precision, WriteMode, pitch};

const STAGES: usize = 4;
/// Pixels of a split, at least: fewer would not pay for its sums.
const SMALLEST_RUN: usize = 512;
/// What a split costs besides its pixels, in pixels: its sums are written and read.
const SPLIT_COST: usize = 256;
/// Bytes of all splits' sums, at most.
const LARGEST_WORKSPACE: usize = 256 << 20;

/// One axis as the kernels take it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Axis {
    input: i32,
    output: i32,
    filter: i32,
    stride: i32,
    pad: i32,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    dy: Address,
    to: Address,
    axis: [Axis; 3],
    pitch_x: i32,
    pitch_y: i32,
    pixels: i32,
    run: i32,
    column_tiles: i32,
    mode: u32,
    unused: u32,
}

/// As `conv3d_filter_reduce` takes it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ReduceArgs {
    parts: Address,
    dw: Address,
    elements: u64,
    splits: u32,
    mode: u32,
}

/// The gradient with respect to the filter.
#[derive(Debug)]
pub struct Plan {
    precision: Precision,
    axis: [Axis; 3],
    pitch_x: usize,
    pitch_y: usize,
    pixels: usize,
    /// Rows of the product: taps and input channels.
    terms: usize,
    width: usize,
    /// Pixels of a split.
    run: usize,
}

impl Plan {
    pub fn new(p: &Problem, precision: Precision) -> Self {
        let axis = |i: usize| Axis {
            input: p.input()[i] as i32,
            output: p.output()[i] as i32,
            filter: p.filter()[i] as i32,
            stride: p.stride()[i] as i32,
            pad: p.pad()[i] as i32,
        };
        let (pitch_x, pitch_y) = (pitch(p.c()), pitch(p.k()));
        let pixels = p.n() * p.output().iter().product::<usize>();
        let terms = p.taps() * pitch_x;
        let thin = is_thin(precision, pitch_x) || is_thin(precision, pitch_y);
        let row_tiles = terms.div_ceil(ROWS);
        // Splits fill the GPU, so tiles need not.
        let width = width(if thin { &THIN_COLUMNS[..] } else { &COLUMNS }, pitch_y, row_tiles * SLOTS);
        let tiles = row_tiles * pitch_y.div_ceil(width);
        let run = run(pixels, tiles, terms * pitch_y * size_of::<f32>());
        Self { precision, axis: [0, 1, 2].map(axis), pitch_x, pitch_y, pixels, terms, width, run }
    }

    fn splits(&self) -> usize {
        self.pixels.div_ceil(self.run)
    }

    fn elements(&self) -> usize {
        self.terms * self.pitch_y
    }

    pub fn workspace_bytes(&self) -> usize {
        if self.splits() == 1 { 0 } else { self.splits() * self.elements() * size_of::<f32>() }
    }

    pub fn launch(
        &self,
        x: Address,
        dy: Address,
        dw: CudaGradient,
        workspace: Address,
        commands: &mut Vec<Command>,
    ) {
        let split = self.splits() > 1;
        let to = if split { CudaGradient { at: workspace, mode: WriteMode::Overwrite } } else { dw };
        let column_tiles = self.pitch_y.div_ceil(self.width);
        let args = Args {
            x,
            dy,
            to: to.at,
            axis: self.axis,
            pitch_x: self.pitch_x as i32,
            pitch_y: self.pitch_y as i32,
            pixels: self.pixels as i32,
            run: self.run as i32,
            column_tiles: column_tiles as i32,
            mode: to.mode as u32,
            unused: 0,
        };
        let grid = [self.terms.div_ceil(ROWS) * column_tiles, self.splits(), 1];
        let threads = threads(self.precision, self.width);
        commands.push(Launch::new(self.kernel(), grid, threads, self.shared(), &args).into());
        if split {
            let args = ReduceArgs {
                parts: workspace,
                dw: dw.at,
                elements: self.elements() as u64,
                splits: self.splits() as u32,
                mode: dw.mode as u32,
            };
            let blocks = self.elements().div_ceil(4 * 256);
            commands.push(Launch::new("conv3d_filter_reduce", [blocks, 1, 1], 256, 0, &args).into());
        }
    }

    fn kernel(&self) -> &'static str {
        let thin = is_thin(self.precision, self.pitch_x) || is_thin(self.precision, self.pitch_y);
        match (self.precision, thin, self.width) {
            (Precision::F32, _, 32) => "conv3d_wgrad_f32_n32",
            (Precision::F32, _, 64) => "conv3d_wgrad_f32_n64",
            (Precision::F32, _, 96) => "conv3d_wgrad_f32_n96",
            (Precision::F32, _, 128) => "conv3d_wgrad_f32_n128",
            (Precision::F32, _, 144) => "conv3d_wgrad_f32_n144",
            (Precision::Bf16, false, 32) => "conv3d_wgrad_bf16_n32",
            (Precision::Bf16, false, 64) => "conv3d_wgrad_bf16_n64",
            (Precision::Bf16, false, 96) => "conv3d_wgrad_bf16_n96",
            (Precision::Bf16, false, 128) => "conv3d_wgrad_bf16_n128",
            (Precision::Bf16, false, 144) => "conv3d_wgrad_bf16_n144",
            (Precision::Bf16, true, 32) => "conv3d_wgrad_bf16_thin_n32",
            (Precision::Bf16, true, 64) => "conv3d_wgrad_bf16_thin_n64",
            (Precision::Bf16, true, 96) => "conv3d_wgrad_bf16_thin_n96",
            other => unreachable!("no kernel for {other:?}"),
        }
    }

    /// Stages of rows of `ROWS` and `width` elements, a row a pixel.
    fn shared(&self) -> usize {
        let stage = match self.precision {
            Precision::F32 => 16 * (ROWS + self.width) * 4,
            Precision::Bf16 => 32 * (ROWS * 2 + 16 + self.width * 2 + 16),
        };
        STAGES * stage
    }
}

/// Pixels of a split: with as many splits as take least time when `tiles` tiles share `pixels` pixels, as often as all
/// slots are filled a run and its cost, each split leaving `bytes` of sums. Of several the fewest.
fn run(pixels: usize, tiles: usize, bytes: usize) -> usize {
    let most = (pixels / SMALLEST_RUN).min(LARGEST_WORKSPACE / bytes).clamp(1, 2 * SLOTS);
    let time = |&splits: &usize| {
        let cost = if splits == 1 { 0 } else { SPLIT_COST };
        (tiles * splits).div_ceil(SLOTS) * (pixels.div_ceil(splits) + cost)
    };
    let splits = (1..=most).min_by_key(time).expect("there is one");
    // Whole steps of the pipeline.
    pixels.div_ceil(splits).next_multiple_of(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_fill_the_gpu_but_for_large_filters_and_few_pixels() {
        let splits = |pixels: usize, tiles, bytes| pixels.div_ceil(run(pixels, tiles, bytes));
        assert_eq!(splits(384 * 8 * 28 * 28, 14, 64 * 27 * 64 * 4), 94); // 1316 blocks: 4.98 times all slots
        assert_eq!(splits(384 * 16 * 112 * 112, 1, 64 * 27 * 4 * 4), 264);
        assert_eq!(splits(384 * 16, 108 * 4, 512 * 27 * 512 * 4), 3); // 4.91 times instead of 1.64
        assert_eq!(splits(16 * 16, 108 * 4, 512 * 27 * 512 * 4), 1);
        assert_eq!(splits(1000, 1, 16), 1);
        assert_eq!(splits(1024, 1, 16), 2);
        assert_eq!(splits(1 << 20, 1, LARGEST_WORKSPACE), 1);
    }
}
