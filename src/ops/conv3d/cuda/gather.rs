//! Launches of `kernels/conv3d_gather_*.cu`: fprop, and dgrad with the filter that `kernels/conv3d_filter.cu` flips.

use bytemuck::{Pod, Zeroable};

use super::tile::{COLUMNS, ROWS, THIN_COLUMNS, width};
use crate::device::{Address, Command, Launch};
use crate::ops::conv3d::Problem;
use crate::ops::{CudaGradient, CudaNormBelow, Precision, WriteMode, pitch, statistics};

/// Stages of the pipeline, and bytes of a row in each.
const STAGES: usize = 4;
const ROW_BYTES: usize = 64;

/// One axis as the kernels take it; fields are said there.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Axis {
    input: i32,
    output: i32,
    filter: i32,
    scatter: i32,
    step: i32,
    pad: i32,
    classes: i32,
}

/// The norm below, as the kernels take it; all null if there is none.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NormArgs {
    x: Address,
    gamma: Address,
    beta: Address,
    saved: Address,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    w: Address,
    y: Address,
    partials: Address,
    norm: NormArgs,
    axis: [Axis; 3],
    clips: i32,
    tiles: i32,
    column_tiles: i32,
    pitch_x: i32,
    pitch_y: i32,
    mode: u32,
    unused: u32,
}

/// A convolution that gathers.
#[derive(Debug)]
pub struct Plan {
    precision: Precision,
    axis: [Axis; 3],
    /// Tiles do not straddle groups of clips.
    groups: usize,
    clips: usize,
    tiles: usize,
    width: usize,
    pitch_x: usize,
    pitch_y: usize,
}

impl Plan {
    /// `y` from `x`. Clips of many positions have tiles of their own, as their statistics want it.
    pub fn fprop(p: &Problem, precision: Precision) -> Self {
        let axis = |i: usize| Axis {
            input: p.input()[i] as i32,
            output: p.output()[i] as i32,
            filter: p.filter()[i] as i32,
            scatter: 1,
            step: p.stride()[i] as i32,
            pad: p.filter()[i] as i32 - 1 - p.pad()[i] as i32, // as if the filter ran backwards
            classes: 1,
        };
        let groups = groups(p.n(), p.output());
        Self::new(precision, [0, 1, 2].map(axis), [groups, p.n() / groups], [p.c(), p.k()])
    }

    /// `dx` from `dy`; without a stride, clips of many positions have tiles of their own, as the sums of a norm below
    /// want it.
    pub fn dgrad(p: &Problem, precision: Precision) -> Self {
        let axis = |i: usize| Axis {
            input: p.output()[i] as i32,
            output: p.input()[i] as i32,
            filter: p.filter()[i] as i32,
            scatter: p.stride()[i] as i32,
            step: 1,
            pad: p.pad()[i] as i32,
            classes: p.stride()[i] as i32,
        };
        let groups = if p.stride() == [1; 3] { groups(p.n(), p.input()) } else { 1 };
        Self::new(precision, [0, 1, 2].map(axis), [groups, p.n() / groups], [p.k(), p.c()])
    }

    fn new(
        precision: Precision,
        axis: [Axis; 3],
        [groups, clips]: [usize; 2],
        [from, to]: [usize; 2],
    ) -> Self {
        let (pitch_x, pitch_y) = (pitch(from), pitch(to));
        let largest: usize = axis.iter().map(|a| (a.output as usize).div_ceil(a.scatter as usize)).product();
        let classes: usize = axis.iter().map(|a| a.classes as usize).product();
        let tiles = (clips * largest).div_ceil(ROWS);
        let widths = if is_thin(precision, pitch_x) { &THIN_COLUMNS[..] } else { &COLUMNS };
        let width = width(widths, pitch_y, groups * tiles * classes);
        Self { precision, axis, groups, clips, tiles, width, pitch_x, pitch_y }
    }

    /// Writes all of `y`, and its partial statistics unless `statistics` is null.
    pub fn write(&self, x: Address, w: Address, y: Address, statistics: Address) -> Command {
        self.launch(x, w, CudaGradient { at: y, mode: WriteMode::Overwrite }, statistics, NormArgs::zeroed())
    }

    /// Writes or adds `dx`; `w` is flipped. With a norm below, whose gradient's sums it leaves, it must write.
    pub fn gradient(
        &self,
        dy: Address,
        w: Address,
        dx: CudaGradient,
        norm: Option<&CudaNormBelow>,
    ) -> Command {
        let Some(norm) = norm else { return self.launch(dy, w, dx, Address::NULL, NormArgs::zeroed()) };
        debug_assert_eq!(dx.mode, WriteMode::Overwrite, "sums are of what this launch writes");
        let &CudaNormBelow { x, gamma, beta, saved, sums } = norm;
        self.launch(dy, w, dx, sums, NormArgs { x, gamma, beta, saved })
    }

    fn launch(&self, x: Address, w: Address, y: CudaGradient, partials: Address, norm: NormArgs) -> Command {
        let mut axis = self.axis;
        if y.mode == WriteMode::Accumulate {
            // Classes without taps have nothing to add; they are those of the highest residues.
            axis.iter_mut().for_each(|a| a.classes = a.classes.min(a.filter));
        }
        let column_tiles = self.pitch_y.div_ceil(self.width);
        let args = Args {
            x,
            w,
            y: y.at,
            partials,
            norm,
            axis,
            clips: self.clips as i32,
            tiles: self.tiles as i32,
            column_tiles: column_tiles as i32,
            pitch_x: self.pitch_x as i32,
            pitch_y: self.pitch_y as i32,
            mode: y.mode as u32,
            unused: 0,
        };
        let classes = axis.iter().map(|a| a.classes as usize).product();
        let grid = [self.groups * self.tiles * column_tiles, 1, classes];
        Launch::new(self.kernel(), grid, self.threads(), self.shared(), &args).into()
    }

    fn kernel(&self) -> &'static str {
        match (self.precision, is_thin(self.precision, self.pitch_x), self.width) {
            (Precision::F32, _, 32) => "conv3d_gather_f32_n32",
            (Precision::F32, _, 64) => "conv3d_gather_f32_n64",
            (Precision::F32, _, 96) => "conv3d_gather_f32_n96",
            (Precision::F32, _, 128) => "conv3d_gather_f32_n128",
            (Precision::F32, _, 144) => "conv3d_gather_f32_n144",
            (Precision::Bf16, false, 32) => "conv3d_gather_bf16_n32",
            (Precision::Bf16, false, 64) => "conv3d_gather_bf16_n64",
            (Precision::Bf16, false, 96) => "conv3d_gather_bf16_n96",
            (Precision::Bf16, false, 128) => "conv3d_gather_bf16_n128",
            (Precision::Bf16, false, 144) => "conv3d_gather_bf16_n144",
            (Precision::Bf16, true, 32) => "conv3d_gather_bf16_thin_n32",
            (Precision::Bf16, true, 64) => "conv3d_gather_bf16_thin_n64",
            (Precision::Bf16, true, 96) => "conv3d_gather_bf16_thin_n96",
            other => unreachable!("no kernel for {other:?}"),
        }
    }

    fn threads(&self) -> u32 {
        threads(self.precision, self.width)
    }

    /// The pipeline, over which the tile is staged, and tables.
    fn shared(&self) -> usize {
        let pipeline = STAGES * (ROWS + self.width) * ROW_BYTES;
        let staged = ROWS * (self.width + 8) * size_of::<f32>();
        let (positions, origins, parts) = (ROWS * 4, ROWS * 16, 8 * self.width * size_of::<f32>());
        pipeline.max(staged) + positions + origins.max(parts)
    }
}

/// Of `n` clips of these extents: as many as clips if they have partial statistics, which are of one clip each.
fn groups(n: usize, extents: [usize; 3]) -> usize {
    if extents.iter().product::<usize>() < statistics::SMALLEST { 1 } else { n }
}

/// Whether 4 bf16 are all channels of a position: chunks of 16 bytes would hold two taps.
pub fn is_thin(precision: Precision, pitch: usize) -> bool {
    precision == Precision::Bf16 && pitch == 4
}

/// Threads of a block whose tiles have `width` columns.
pub fn threads(precision: Precision, width: usize) -> u32 {
    if precision == Precision::F32 && width > 64 { 256 } else { 128 }
}

/// As the kernel takes it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FlipArgs {
    w: Address,
    flipped: Address,
    filter: [i32; 3],
    stride: [i32; 3],
    pitch_c: i32,
    pitch_k: i32,
}

/// The filter as dgrad gathers with it.
#[derive(Debug)]
pub struct Flip {
    precision: Precision,
    filter: [usize; 3],
    stride: [usize; 3],
    pitch_c: usize,
    pitch_k: usize,
}

impl Flip {
    pub fn new(p: &Problem, precision: Precision) -> Self {
        let (pitch_c, pitch_k) = (pitch(p.c()), pitch(p.k()));
        Self { precision, filter: p.filter(), stride: p.stride(), pitch_c, pitch_k }
    }

    fn taps(&self) -> usize {
        self.filter.iter().product()
    }

    pub fn bytes(&self) -> usize {
        self.taps() * self.pitch_c * self.pitch_k * self.precision.size()
    }

    pub fn launch(&self, w: Address, flipped: Address) -> Command {
        let args = FlipArgs {
            w,
            flipped,
            filter: self.filter.map(|v| v as i32),
            stride: self.stride.map(|v| v as i32),
            pitch_c: self.pitch_c as i32,
            pitch_k: self.pitch_k as i32,
        };
        let kernel = self.precision.pick("conv3d_filter_flip_f32", "conv3d_filter_flip_bf16");
        let grid = [self.taps(), self.pitch_c.div_ceil(32), self.pitch_k.div_ceil(32)];
        Launch::new(kernel, grid, 256, 0, &args).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 1×1×1 shortcut of stride 2 adds to an eighth of dx: the other classes are not launched, unless there are zeros to be
    /// written.
    #[test]
    fn classes_without_taps_are_launched_to_write_alone() {
        let classes = |filter: usize, mode| {
            let p = Problem::new(2, 64, 128, [4, 8, 8], [filter; 3], [2; 3], [filter / 2; 3]).unwrap();
            let dx = CudaGradient { at: Address::NULL, mode };
            match Plan::dgrad(&p, Precision::Bf16).gradient(Address::NULL, Address::NULL, dx, None) {
                Command::Kernel(launch) => launch.grid[2],
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([1, 2, 3].map(|filter| classes(filter, WriteMode::Overwrite)), [8; 3]);
        assert_eq!([1, 2, 3].map(|filter| classes(filter, WriteMode::Accumulate)), [1, 8, 8]);
    }
}
