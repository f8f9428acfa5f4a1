//! A small dense product for what is negligible beside convolutions: heads and loss. Each element of the
//! result is a sum in order of k from what the buffer held, so neither tiles, nor blocks of rows, nor vector
//! widths change its bits.

use crate::tensor::Real;

/// A matrix of which element (i, k) is `data[i·row + k·column]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided<'a, T> {
    pub data: &'a [T],
    pub row: usize,
    pub column: usize,
}

/// `out += a·b` with `a` of `depth` columns, `b` (depth, width) and `out` (rows, width) dense; serial.
#[inline(always)]
pub(crate) fn add_product<T: Real>(a: Strided<'_, T>, b: &[T], depth: usize, out: &mut [T], width: usize) {
    let rows = out.len() / width;
    let mut i = 0;
    while i + 4 <= rows {
        strip::<T, 4>(a, b, depth, out, width, i);
        i += 4;
    }
    while i < rows {
        strip::<T, 1>(a, b, depth, out, width, i);
        i += 1;
    }
}

/// `R` rows from `i`.
#[inline(always)]
fn strip<T: Real, const R: usize>(
    a: Strided<'_, T>,
    b: &[T],
    depth: usize,
    out: &mut [T],
    width: usize,
    i: usize,
) {
    let out = &mut out[i * width..(i + R) * width];
    let a = Strided { data: &a.data[(i * a.row).min(a.data.len())..], ..a };
    let mut j = 0;
    while j + 32 <= width {
        tile::<T, R, 32>(a, &b[j.min(b.len())..], depth, &mut out[j..], width);
        j += 32;
    }
    while j + 8 <= width {
        tile::<T, R, 8>(a, &b[j.min(b.len())..], depth, &mut out[j..], width);
        j += 8;
    }
    while j < width {
        tile::<T, R, 1>(a, &b[j.min(b.len())..], depth, &mut out[j..], width);
        j += 1;
    }
}

/// `R` rows by `L` columns, held in registers.
#[inline(always)]
fn tile<T: Real, const R: usize, const L: usize>(
    a: Strided<'_, T>,
    b: &[T],
    depth: usize,
    out: &mut [T],
    width: usize,
) {
    let mut sums = [[T::ZERO; L]; R];
    for r in 0..R {
        sums[r].copy_from_slice(&out[r * width..][..L]);
    }
    for k in 0..depth {
        let b: &[T; L] = b[k * width..].first_chunk().expect("j + L is at most the width");
        for r in 0..R {
            let a = a.data[r * a.row + k * a.column];
            for l in 0..L {
                sums[r][l] += a * b[l];
            }
        }
    }
    for r in 0..R {
        out[r * width..][..L].copy_from_slice(&sums[r]);
    }
}

/// Writes the transpose of `src` (rows, columns), dense.
pub(crate) fn transpose<T: Copy>(src: &[T], columns: usize, dst: &mut [T]) {
    let rows = src.len() / columns;
    for (i, row) in src.chunks_exact(columns).enumerate() {
        for (j, &v) in row.iter().enumerate() {
            dst[j * rows + i] = v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition_on_every_tail() {
        for (m, n, k) in [(1, 1, 1), (4, 32, 3), (5, 41, 7), (9, 107, 2), (3, 8, 0)] {
            let a: Vec<f64> = (0..m * k).map(|i| (i % 7) as f64 - 3.0).collect();
            let b: Vec<f64> = (0..k * n).map(|i| (i % 5) as f64 - 2.0).collect();
            let mut at = vec![0.0; m * k];
            if k > 0 {
                transpose(&a, k, &mut at);
            }
            for a in [Strided { data: &a, row: k, column: 1 }, Strided { data: &at, row: 1, column: m }] {
                let mut out = vec![1.0; m * n];
                add_product(a, &b, k, &mut out, n);
                for i in 0..m {
                    for j in 0..n {
                        let at = |q: usize| a.data[i * a.row + q * a.column] * b[q * n + j];
                        assert_eq!(out[i * n + j], 1.0 + (0..k).map(at).sum::<f64>(), "{m}×{n}×{k} {i} {j}");
                    }
                }
            }
        }
    }
}
