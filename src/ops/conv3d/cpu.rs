//! The fast path: plans the three passes, packs filters, and shares the work among threads. Which thread does
//! what never changes a result: each output element is one fixed sum.

use rayon::prelude::*;

use super::Problem;
use super::axis::Axis;
use super::gather::{self, Gather};
use super::panel::Panels;
use super::rows::Padding;
use super::wgrad::Wgrad;
use crate::ops::WriteMode;
use crate::tensor::Real;

/// Pixels of a task: enough that its filter block, streamed once, is used often.
const TASK_PIXELS: usize = 512;

/// What the passes need to know, worked out once.
#[derive(Debug)]
pub(super) struct Plan {
    problem: Problem,
    fprop: Direction,
    dgrad: Direction,
    wgrad: Wgrad,
}

/// fprop or dgrad.
#[derive(Debug)]
struct Direction {
    classes: Vec<Gather>,
    padding: Option<Padding>,
    n: usize,
    c_out: usize,
    output: [usize; 3],
    /// Extents of the packed filter: taps, and elements of each.
    taps: usize,
    run: usize,
}

impl Direction {
    fn new(
        n: usize,
        c_in: usize,
        c_out: usize,
        input: [usize; 3],
        output: [usize; 3],
        filter: [usize; 3],
        axes: Vec<[Axis; 3]>,
    ) -> Self {
        let padding = match &axes[..] {
            [axes] => Padding::wanted(n, c_in, input, &axes[2]),
            _ => None, // the classes of a strided dgrad would each want their own
        };
        let classes: Vec<_> = axes
            .into_iter()
            .map(|axes| Gather::new(axes, filter, c_in, c_out, output, padding.is_some()))
            .collect();
        let run = classes[0].run();
        let taps = filter.iter().product::<usize>() * c_in / run;
        Self { classes, padding, n, c_out, output, taps, run }
    }

    fn workspace<T: Real>(&self) -> usize {
        gather::workspace::<T>(&self.classes[0], self.taps) + self.padding.map_or(0, |p| p.len())
    }

    /// `pack(row, first channel, out)` writes the filter elements of packed row `row` for the channels from
    /// `first` on.
    fn run<T: Real>(
        &self,
        x: &[T],
        y: &mut [T],
        mode: WriteMode,
        workspace: &mut [T],
        pack: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        let panels = Panels::new::<T>(self.c_out);
        let rows = self.taps * self.run;
        let (filter, rest) = workspace.split_at_mut(panels.count() * rows * panels.stride());
        let (zero, padded) = rest.split_at_mut(self.run);
        zero.fill(T::ZERO);
        filter.par_chunks_mut(rows * panels.stride()).enumerate().for_each(|(p, filter)| {
            let panel = panels.get(p);
            let width = panel.registers * (panels.stride() / panels.get(0).registers);
            filter[..rows * width].par_chunks_mut(width * self.run).enumerate().for_each(
                |(tap, tap_rows)| {
                    for (c, row) in tap_rows.chunks_exact_mut(width).enumerate() {
                        row[panel.channels..].fill(T::ZERO);
                        pack(tap * self.run + c, panel.first, &mut row[..panel.channels]);
                    }
                },
            );
        });
        let x = match &self.padding {
            Some(padding) => padding.copy(x, padded),
            None => x,
        };
        let frames = self.n * self.output[0];
        let frame = self.output[1] * self.output[2] * self.c_out;
        let tasks = (frames * self.output[1] * self.output[2] / TASK_PIXELS)
            .max(1)
            .next_multiple_of(rayon::current_num_threads())
            .min(frames);
        let per_task = frames.div_ceil(tasks);
        let (filter, zero) = (&*filter, &*zero);
        y.par_chunks_mut(per_task * frame).enumerate().for_each(|(i, y)| {
            let first = i * per_task;
            let frames = first..(first + per_task).min(frames);
            pulp::Arch::new().dispatch(gather::Task {
                classes: &self.classes,
                x,
                filter,
                zero,
                panels,
                frames,
                y,
                mode,
            });
        });
    }
}

impl Plan {
    pub fn new(p: &Problem) -> Self {
        let axis = |a: usize| Axis::fprop(p.input[a], p.filter[a], p.stride[a], p.pad[a], p.output[a]);
        let forward = vec![[axis(0), axis(1), axis(2)]];
        let class =
            |a: usize, c: usize| Axis::dgrad(p.input[a], p.filter[a], p.stride[a], p.pad[a], p.output[a], c);
        let mut backward = Vec::new();
        for t in 0..p.stride[0] {
            for h in 0..p.stride[1] {
                for w in 0..p.stride[2] {
                    backward.push([class(0, t), class(1, h), class(2, w)]);
                }
            }
        }
        Self {
            problem: *p,
            fprop: Direction::new(p.n, p.c, p.k, p.input, p.output, p.filter, forward),
            dgrad: Direction::new(p.n, p.k, p.c, p.output, p.input, p.filter, backward),
            wgrad: Wgrad::new(p),
        }
    }

    pub fn fprop_workspace<T: Real>(&self) -> usize {
        self.fprop.workspace::<T>()
    }

    pub fn dgrad_workspace<T: Real>(&self) -> usize {
        self.dgrad.workspace::<T>()
    }

    pub fn wgrad_workspace<T: Real>(&self) -> usize {
        self.wgrad.workspace::<T>()
    }

    pub fn fprop<T: Real>(&self, x: &[T], w: &[T], y: &mut [T], workspace: &mut [T]) {
        let depth = self.problem.taps() * self.problem.c;
        self.fprop.run(x, y, WriteMode::Overwrite, workspace, |row, first, out| {
            for (k, v) in out.iter_mut().enumerate() {
                *v = w[(first + k) * depth + row];
            }
        });
    }

    pub fn dgrad<T: Real>(&self, dy: &[T], w: &[T], dx: &mut [T], mode: WriteMode, workspace: &mut [T]) {
        let (taps, c, k, s) = (self.problem.taps(), self.problem.c, self.problem.k, self.problem.filter[2]);
        let merged = self.dgrad.padding.is_some();
        self.dgrad.run(dy, dx, mode, workspace, |row, first, out| {
            let (mut tap, channel) = (row / k, row % k);
            if merged {
                tap = tap / s * s + (s - 1 - tap % s); // ascending inputs are descending taps
            }
            out.copy_from_slice(&w[(channel * taps + tap) * c + first..][..out.len()]);
        });
    }

    pub fn wgrad<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T], mode: WriteMode, workspace: &mut [T]) {
        self.wgrad.run(x, dy, dw, mode, workspace);
    }
}
