//! Memory-bound: one pass. Groups run in parallel; short runs of rows are summed in lanes of the element type
//! and those sums in f64.

use super::Problem;
use crate::ops::columns::{Columns, LANES};
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::{Backward, Forward, WriteMode, simd};
use crate::tensor::Real;

/// Elements that are summed before going over to f64.
const BLOCK: usize = 16 * 1024;

pub(super) fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let (columns, x) = (Columns::new(p.channels), io.inputs[0]);
    let group = p.positions * p.channels;
    for_each(Order::Parallel, p.groups, chunks(io.output, p.channels), |g, y| {
        let x = &x[g * group..][..group];
        simd::dispatch(
            #[inline(always)]
            || mean(&columns, x, y.data),
        );
    });
}

#[inline(always)]
fn mean<T: Real>(columns: &Columns, x: &[T], y: &mut [T]) {
    let positions = (x.len() / y.len()) as f64;
    for tile in columns.tiles() {
        let (mut total, mut sums) = ([0.0; LANES], [0.0; LANES]);
        for block in x.chunks(columns.block(BLOCK)) {
            let mut lanes = [T::ZERO; LANES];
            for row in columns.rows(block, &tile) {
                for (s, &v) in lanes.iter_mut().zip(row) {
                    *s += v;
                }
            }
            columns.gather(&tile, &lanes, &mut sums);
            for (t, s) in total.iter_mut().zip(&sums) {
                *t += s;
            }
        }
        for (y, t) in y[columns.channels_of(&tile)].iter_mut().zip(&total) {
            *y = T::from_f64(t / positions);
        }
    }
}

pub(super) fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let Some(dx) = &mut io.dx[0] else { return };
    let (columns, dy, mode) = (Columns::new(p.channels), io.dy, dx.mode);
    for_each(Order::Parallel, p.groups, chunks(&mut *dx.data, p.positions * p.channels), |g, dx| {
        let dy = &dy[g * p.channels..][..p.channels];
        simd::dispatch(
            #[inline(always)]
            || share(&columns, dy, dx.data, mode),
        );
    });
}

#[inline(always)]
fn share<T: Real>(columns: &Columns, dy: &[T], dx: &mut [T], mode: WriteMode) {
    let positions = (dx.len() / dy.len()) as f64;
    for tile in columns.tiles() {
        let share = columns.spread(
            &tile,
            #[inline(always)]
            |c| T::from_f64(dy[c].to_f64() / positions),
        );
        for row in columns.rows_mut(dx, &tile) {
            let share = &share[..row.len()];
            mode.store(
                row,
                #[inline(always)]
                |j| share[j],
            );
        }
    }
}
