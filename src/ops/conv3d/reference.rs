//! The specification as serial loops. Nothing here is fast; everything is checked against it.

use super::Problem;
use crate::ops::WriteMode;
use crate::tensor::Real;

/// Calls `f(x offset, w offset, y offset)` of the first channel for every tap that falls inside the input.
fn for_each_tap(p: &Problem, mut f: impl FnMut(usize, usize, usize)) {
    let ([d, h, w], [z, pp, q], [t, r, s]) = (p.input, p.output, p.filter);
    for n in 0..p.n {
        for (oz, oy, ox) in cube([z, pp, q]) {
            for (ft, fr, fs) in cube([t, r, s]) {
                let at = |o: usize, f: usize, i: usize| (o * p.stride[i] + f).checked_sub(p.pad[i]);
                let (Some(it), Some(ih), Some(iw)) = (at(oz, ft, 0), at(oy, fr, 1), at(ox, fs, 2)) else {
                    continue;
                };
                if it < d && ih < h && iw < w {
                    let x = (((n * d + it) * h + ih) * w + iw) * p.c;
                    let y = (((n * z + oz) * pp + oy) * q + ox) * p.k;
                    f(x, ((ft * r + fr) * s + fs) * p.c, y);
                }
            }
        }
    }
}

fn cube([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// `y[n,z,p,q,k] = Σ_{t,r,s,c} x[n, z·st+t−pt, p·sh+r−ph, q·sw+s−pw, c] · w[k,t,r,s,c]`.
pub fn fprop<T: Real>(p: &Problem, x: &[T], w: &[T], y: &mut [T]) {
    y.fill(T::ZERO);
    let filter = p.taps() * p.c;
    for_each_tap(p, |xo, wo, yo| {
        for k in 0..p.k {
            for c in 0..p.c {
                y[yo + k] += x[xo + c] * w[k * filter + wo + c];
            }
        }
    });
}

/// `dx = Σ dy · w` over every output that read the input element.
pub fn dgrad<T: Real>(p: &Problem, dy: &[T], w: &[T], dx: &mut [T], mode: WriteMode) {
    if mode == WriteMode::Overwrite {
        dx.fill(T::ZERO);
    }
    let filter = p.taps() * p.c;
    for_each_tap(p, |xo, wo, yo| {
        for k in 0..p.k {
            for c in 0..p.c {
                dx[xo + c] += dy[yo + k] * w[k * filter + wo + c];
            }
        }
    });
}

/// `dw[k,t,r,s,c] = Σ dy · x` over every output position.
pub fn wgrad<T: Real>(p: &Problem, x: &[T], dy: &[T], dw: &mut [T], mode: WriteMode) {
    if mode == WriteMode::Overwrite {
        dw.fill(T::ZERO);
    }
    let filter = p.taps() * p.c;
    for_each_tap(p, |xo, wo, yo| {
        for k in 0..p.k {
            for c in 0..p.c {
                dw[k * filter + wo + c] += dy[yo + k] * x[xo + c];
            }
        }
    });
}
