//! The specification: serial loops over every output and its window.

use super::Problem;
use crate::ops::{Backward, Forward, WriteMode};
use crate::tensor::Real;

/// Calls `f(output index, input index, place in the window)` for every tap that is not padding, in raster
/// order of the outputs and then of the window.
fn for_each_tap(p: &Problem, mut f: impl FnMut(usize, usize, usize)) {
    let ([it, ih, iw], [ot, oh, ow], [kt, kh, kw]) = (p.input, p.output, p.kernel);
    let inside = |o: usize, k: usize, axis: usize| {
        (o * p.stride[axis] + k).checked_sub(p.pad[axis]).filter(|&i| i < p.input[axis])
    };
    for n in 0..p.clips {
        for (z, y, x) in triples([ot, oh, ow]) {
            for c in 0..p.channels {
                let out = (((n * ot + z) * oh + y) * ow + x) * p.channels + c;
                for (place, (a, b, d)) in triples([kt, kh, kw]).enumerate() {
                    if let (Some(t), Some(h), Some(w)) = (inside(z, a, 0), inside(y, b, 1), inside(x, d, 2)) {
                        f(out, (((n * it + t) * ih + h) * iw + w) * p.channels + c, place);
                    }
                }
            }
        }
    }
}

fn triples([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// Writes the output and each winner's place in its window.
pub fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let x = io.inputs[0];
    io.output.fill(T::NEG_INFINITY);
    let mut fresh = usize::MAX;
    for_each_tap(p, |out, i, place| {
        let first = out != fresh;
        fresh = out;
        if first || x[i] > io.output[out] || x[i].to_f64().is_nan() {
            io.output[out] = x[i];
            io.saved[out] = place as u8;
        }
    });
}

/// Writes dx from what forward saved.
pub fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let Some(dx) = &mut io.dx[0] else { return };
    let mut sums = vec![T::ZERO; dx.data.len()];
    for_each_tap(p, |out, i, place| {
        if usize::from(io.saved[out]) == place {
            sums[i] += io.dy[out];
        }
    });
    match dx.mode {
        WriteMode::Overwrite => dx.data.copy_from_slice(&sums),
        WriteMode::Accumulate => dx.data.iter_mut().zip(sums).for_each(|(d, s)| *d += s),
    }
}
