//! Memory-bound. Forward walks rows of outputs, backward rows of inputs (each input gathers from the windows
//! that hold it, in raster order), so that rows run in parallel without meeting. Within a position a chunk of
//! channels stays in registers over all taps.

use super::Problem;
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::simd::{self, over_channels};
use crate::ops::windows::take_larger;
use crate::ops::{Backward, Forward, WriteMode};
use crate::tensor::Real;

pub(super) fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let x = io.inputs[0];
    let row = p.windows.output[2] * p.channels;
    let rows = p.clips * p.windows.output[0] * p.windows.output[1];
    for_each(Order::Parallel, rows, (chunks(io.output, row), chunks(io.saved, row)), |i, (y, saved)| {
        simd::dispatch(
            #[inline(always)]
            || forward_row(p, x, i, y.data, saved.data),
        );
    });
}

/// The `row`-th row of outputs, counted over clips, T and H.
#[inline(always)]
fn forward_row<T: Real>(p: &Problem, x: &[T], row: usize, y: &mut [T], saved: &mut [u8]) {
    let (plane, h) = (row / p.windows.output[1], row % p.windows.output[1]);
    let (n, t) = (plane / p.windows.output[0], plane % p.windows.output[0]);
    for w in 0..p.windows.output[2] {
        let out = w * p.channels;
        over_channels!(p.channels, |c| largest(
            p,
            x,
            n,
            [t, h, w],
            c,
            &mut y[out + c..],
            &mut saved[out + c..]
        ));
    }
}

/// Largest value and its place for `L` channels from `c` of one output.
#[inline(always)]
fn largest<T: Real, const L: usize>(
    p: &Problem,
    x: &[T],
    n: usize,
    [t, h, w]: [usize; 3],
    c: usize,
    y: &mut [T],
    saved: &mut [u8],
) {
    let [extent_t, extent_h, extent_w] = p.windows.input;
    let [_, kernel_h, kernel_w] = p.windows.kernel;
    let tap = |kt: usize, kh: usize, kw: usize| ((kt * kernel_h + kh) * kernel_w + kw) as u32;
    let first = |axis: usize, o: usize| p.windows.pad[axis].saturating_sub(o * p.windows.stride[axis]);
    let mut place = [tap(first(0, t), first(1, h), first(2, w)); L];
    let mut best = [T::NEG_INFINITY; L];
    for (kt, t) in p.windows.taps(0, t) {
        for (kh, h) in p.windows.taps(1, h) {
            for (kw, w) in p.windows.taps(2, w) {
                let at = (((n * extent_t + t) * extent_h + h) * extent_w + w) * p.channels + c;
                let x: &[T; L] = x[at..].first_chunk().expect("c + L is at most the number of channels");
                let k = tap(kt, kh, kw);
                take_larger(
                    &mut best,
                    &mut place,
                    k,
                    #[inline(always)]
                    |l| x[l],
                );
            }
        }
    }
    y[..L].copy_from_slice(&best);
    for (s, k) in saved[..L].iter_mut().zip(place) {
        *s = k as u8;
    }
}

pub(super) fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let Some(dx) = &mut io.dx[0] else { return };
    let (dy, saved, mode) = (io.dy, io.saved, dx.mode);
    let rows = p.clips * p.windows.input[0] * p.windows.input[1];
    for_each(Order::Parallel, rows, chunks(&mut *dx.data, p.windows.input[2] * p.channels), |i, dx| {
        simd::dispatch(
            #[inline(always)]
            || backward_row(p, (dy, saved), i, dx.data, mode),
        );
    });
}

/// The `row`-th row of inputs, counted over clips, T and H.
#[inline(always)]
fn backward_row<T: Real>(p: &Problem, won: (&[T], &[u8]), row: usize, dx: &mut [T], mode: WriteMode) {
    let (plane, h) = (row / p.windows.input[1], row % p.windows.input[1]);
    let (n, t) = (plane / p.windows.input[0], plane % p.windows.input[0]);
    for w in 0..p.windows.input[2] {
        let at = w * p.channels;
        over_channels!(p.channels, |c| gather(p, won, n, [t, h, w], c, &mut dx[at + c..], mode));
    }
}

/// Sums what the windows that `L` channels from `c` of one input won hand back.
#[inline(always)]
fn gather<T: Real, const L: usize>(
    p: &Problem,
    (dy, saved): (&[T], &[u8]),
    n: usize,
    input: [usize; 3],
    c: usize,
    dx: &mut [T],
    mode: WriteMode,
) {
    let [extent_t, extent_h, extent_w] = p.windows.output;
    let [_, kernel_h, kernel_w] = p.windows.kernel;
    let tap = |axis: usize, o: usize| p.windows.tap(axis, input[axis], o);
    let mut sum = [T::ZERO; L];
    for t in p.windows.holding(0, input[0]) {
        for h in p.windows.holding(1, input[1]) {
            for w in p.windows.holding_along_w(input[2]) {
                let at = (((n * extent_t + t) * extent_h + h) * extent_w + w) * p.channels + c;
                let dy: &[T; L] = dy[at..].first_chunk().expect("c + L is at most the number of channels");
                let place: &[u8; L] = saved[at..].first_chunk().expect("as many as dy");
                let k = ((tap(0, t) * kernel_h + tap(1, h)) * kernel_w + tap(2, w)) as u8;
                for l in 0..L {
                    sum[l] += if place[l] == k { dy[l] } else { T::ZERO };
                }
            }
        }
    }
    mode.store(
        &mut dx[..L],
        #[inline(always)]
        |l| sum[l],
    );
}
