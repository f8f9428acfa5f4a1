//! Statistics of a clip, then one pass that applies them.

use super::statistics::{merge_statistics, part_statistics};
use super::{Geometry, Norm, PARTIAL, SAVED, geometry, piece};
use crate::ops::columns::Columns;
use crate::ops::instance_norm::{Activation, Problem};
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::{Forward, simd};
use crate::tensor::Real;

pub(in crate::ops::instance_norm) fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let g = geometry(p);
    let (x, gamma, beta) = (io.inputs[0], io.params[0], io.params[1]);
    let residual = io.inputs.get(1).copied().unwrap_or(&[]);
    let saved: &mut [T] = bytemuck::cast_slice_mut(io.saved);
    let partials: &mut [f64] = bytemuck::cast_slice_mut(io.workspace);

    let buffers = (
        chunks(io.output, p.clip()),
        chunks(saved, SAVED * p.channels),
        chunks(partials, g.parts * PARTIAL * p.channels),
    );
    for_each(g.order, p.clips, buffers, |n, (y, saved, partials)| {
        let (x, residual) = (piece(x, n, p.clip()), piece(residual, n, p.clip()));
        clip_statistics(p, &g, x, partials.data, saved.data);
        let norm = Norm { saved: saved.data, gamma, beta };
        for_each(Order::Downwards, g.parts, chunks(y.data, g.part), |i, y| {
            let (x, residual) = (piece(x, i, g.part), piece(residual, i, g.part));
            simd::dispatch(
                #[inline(always)]
                || match p.activation {
                    Activation::Plain => apply(
                        &g.columns,
                        norm,
                        x,
                        x,
                        y.data,
                        #[inline(always)]
                        |z, _| z,
                    ),
                    Activation::Relu => apply(
                        &g.columns,
                        norm,
                        x,
                        x,
                        y.data,
                        #[inline(always)]
                        |z, _| relu(z),
                    ),
                    Activation::AddRelu => apply(
                        &g.columns,
                        norm,
                        x,
                        residual,
                        y.data,
                        #[inline(always)]
                        |z, r| relu(z + r),
                    ),
                },
            );
        });
    });
}

/// What is saved of a clip.
pub(super) fn clip_statistics<T: Real>(
    p: &Problem,
    g: &Geometry,
    x: &[T],
    partials: &mut [f64],
    saved: &mut [T],
) {
    for_each(Order::Parallel, g.parts, chunks(&mut *partials, PARTIAL * p.channels), |i, out| {
        let x = piece(x, i, g.part);
        simd::dispatch(
            #[inline(always)]
            || part_statistics(&g.columns, x, out.data),
        );
    });
    merge_statistics(p, g.part / p.channels, partials, saved);
}

/// Passes NaN on, so that a diverged run is noticed.
#[inline(always)]
pub(super) fn relu<T: Real>(z: T) -> T {
    if z <= T::ZERO { T::ZERO } else { z }
}

/// `y = act((x − mean)·scale + shift, r)` over a part.
#[inline(always)]
fn apply<T: Real>(
    columns: &Columns,
    norm: Norm<'_, T>,
    x: &[T],
    r: &[T],
    y: &mut [T],
    act: impl Fn(T, T) -> T,
) {
    for tile in columns.tiles() {
        let mean = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.mean(c),
        );
        let scale = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.scale(c),
        );
        let shift = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.shift(c),
        );
        let rows = columns.rows(x, &tile).zip(columns.rows(r, &tile)).zip(columns.rows_mut(y, &tile));
        for ((x, r), y) in rows {
            let (x, r) = (&x[..y.len()], &r[..y.len()]);
            let (mean, scale, shift) = (&mean[..y.len()], &scale[..y.len()], &shift[..y.len()]);
            for j in 0..y.len() {
                y[j] = act((x[j] - mean[j]) * scale[j] + shift[j], r[j]);
            }
        }
    }
}
