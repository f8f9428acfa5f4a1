//! Blocks of rows in parallel. Gradients of the parameters add row after row, so that a batch in pieces gives
//! the same bits.

use super::Problem;
use crate::ops::matmul::{Strided, add_product, transpose};
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::{Backward, Forward, WriteMode, simd};
use crate::tensor::Real;

/// Rows of a result that one unit computes.
const BLOCK: usize = 16;

pub(super) fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let (x, bias) = (io.inputs[0], io.params[1]);
    let transposed: &mut [T] = bytemuck::cast_slice_mut(io.workspace);
    let transposed = &mut transposed[..p.inputs * p.outputs]; // (Cin, Cout)
    transpose(io.params[0], p.inputs, transposed);
    let units = p.rows.div_ceil(BLOCK);
    for_each(Order::Parallel, units, chunks(io.output, BLOCK * p.outputs), |u, y| {
        for row in y.data.chunks_exact_mut(p.outputs) {
            row.copy_from_slice(bias);
        }
        let x = Strided { data: &x[u * BLOCK * p.inputs..], row: p.inputs, column: 1 };
        simd::dispatch(
            #[inline(always)]
            || add_product(x, transposed, p.inputs, y.data, p.outputs),
        );
    });
}

pub(super) fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let (x, w, dy) = (io.inputs[0], io.params[0], io.dy);
    let start = |mode: WriteMode, data: &mut [T]| {
        if mode == WriteMode::Overwrite {
            data.fill(T::ZERO);
        }
    };
    if let Some(dx) = &mut io.dx[0] {
        let (mode, units) = (dx.mode, p.rows.div_ceil(BLOCK));
        for_each(Order::Parallel, units, chunks(&mut *dx.data, BLOCK * p.inputs), |u, dx| {
            start(mode, dx.data);
            let dy = Strided { data: &dy[u * BLOCK * p.outputs..], row: p.outputs, column: 1 };
            simd::dispatch(
                #[inline(always)]
                || add_product(dy, w, p.outputs, dx.data, p.inputs),
            );
        });
    }
    let dw = &mut io.dparams[0];
    let (mode, units) = (dw.mode, p.outputs.div_ceil(BLOCK));
    for_each(Order::Parallel, units, chunks(&mut *dw.data, BLOCK * p.inputs), |u, dw| {
        start(mode, dw.data);
        let dy = Strided { data: &dy[u * BLOCK..], row: 1, column: p.outputs };
        simd::dispatch(
            #[inline(always)]
            || add_product(dy, x, p.rows, dw.data, p.inputs),
        );
    });
    let db = &mut io.dparams[1];
    start(db.mode, db.data);
    for row in dy.chunks_exact(p.outputs) {
        db.data.iter_mut().zip(row).for_each(|(d, &v)| *d += v);
    }
}
