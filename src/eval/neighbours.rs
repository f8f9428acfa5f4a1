//! Cosine similarities of many vectors with many, and the nearest of each.

use pulp::{NullaryFnOnce, Simd, WithSimd};
use rayon::prelude::*;

use crate::tensor::simd::Vectorised;

/// Gallery vectors of a panel.
const COLUMNS: usize = 32;
/// Query vectors of a tile of the product, whose sums are held in registers.
const ROWS: usize = 6;
/// Registers of gallery vectors of a tile: with `ROWS`, 12 sums, which the 16 registers of AVX2 still hold.
const REGISTERS: usize = 2;
/// Numbers of each vector that are used before the next ones: a packed panel of `COLUMNS` is then 128 KiB.
const DEPTH: usize = 1024;
/// Similarities held at a time: 64 MiB.
const HELD: usize = 1 << 24;

/// A gallery vector near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its place in the gallery.
    pub index: usize,
    /// Cosine similarity, -1 to 1; 0 with a vector of zeros.
    pub similarity: f32,
}

/// Vectors of length 1 (or 0, if they were zero), `(rows, dim)`.
#[derive(Clone, Debug)]
pub struct Unit {
    dim: usize,
    data: Vec<f32>,
}

impl Unit {
    /// Normalises rows of `dim` numbers, norms floored at 1e-12.
    pub fn new<'a>(dim: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let mut data = Vec::with_capacity(rows.len() * dim);
        for row in rows {
            let square: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            let scale = square.sqrt().max(1e-12).recip();
            data.extend(row.iter().map(|&v| (f64::from(v) * scale) as f32));
        }
        Self { dim, data }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim.max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// The `k` nearest gallery vectors of each query, nearest first, equal ones in the gallery's order; fewer where
/// the gallery has fewer. `skip(query, index)` leaves out a gallery vector.
pub fn nearest(
    queries: &Unit,
    gallery: &Unit,
    k: usize,
    skip: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<Vec<Neighbour>> {
    assert_eq!(queries.dim, gallery.dim, "both come from one network");
    let (dim, columns) = (queries.dim, gallery.len());
    if queries.is_empty() || gallery.is_empty() {
        return vec![Vec::new(); queries.len()];
    }
    let block = (HELD / columns).clamp(ROWS, 1024);
    let mut held = vec![0.0; block.min(queries.len()) * columns.next_multiple_of(COLUMNS)];
    let mut found = Vec::with_capacity(queries.len());
    for (b, rows) in queries.data.chunks(block * dim).enumerate() {
        let count = rows.len() / dim;
        // (panels, count, COLUMNS): a panel's similarities lie together, so that panels are filled in parallel.
        let held = &mut held[..count * columns.next_multiple_of(COLUMNS)];
        held.par_chunks_exact_mut(count * COLUMNS).enumerate().for_each_init(Vec::new, |packed, (p, out)| {
            let gallery = &gallery.data[p * COLUMNS * dim..];
            pulp::Arch::new().dispatch(Panel { rows, gallery, dim, packed, out });
        });
        let held = &*held;
        found.par_extend((0..count).into_par_iter().map_init(Vec::new, |all, i| {
            all.clear();
            all.extend((0..columns).filter(|&j| !skip(b * block + i, j)).map(|index| Neighbour {
                index,
                // + 0 makes −0 equal to 0 in the total order.
                similarity: held[(index / COLUMNS * count + i) * COLUMNS + index % COLUMNS] + 0.0,
            }));
            first(all, k)
        }));
    }
    found
}

/// The `k` nearest of `all`, in order.
fn first(all: &mut [Neighbour], k: usize) -> Vec<Neighbour> {
    let order = |a: &Neighbour, b: &Neighbour| {
        b.similarity.total_cmp(&a.similarity).then_with(|| a.index.cmp(&b.index))
    };
    let k = k.min(all.len());
    if k < all.len() {
        all.select_nth_unstable_by(k, order);
    }
    let mut nearest = all[..k].to_vec();
    nearest.sort_unstable_by(order);
    nearest
}

/// Products of all query `rows` with the gallery vectors of one panel. Each is summed in one order, whatever its
/// place, so equal vectors tie exactly.
struct Panel<'a> {
    /// `(queries, dim)`.
    rows: &'a [f32],
    /// The panel's vectors and all after them, `(at least 1, dim)`.
    gallery: &'a [f32],
    dim: usize,
    /// Scratch.
    packed: &'a mut Vec<f32>,
    /// `(queries, COLUMNS)`, zeros past the last vector.
    out: &'a mut [f32],
}

impl WithSimd for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, gallery, dim, packed, out } = self;
        let lanes = f32::lanes::<S>();
        out.fill(0.0);
        for start in (0..dim).step_by(DEPTH) {
            let depth = DEPTH.min(dim - start);
            packed.clear();
            packed.resize(depth * COLUMNS, 0.0);
            for (j, vector) in gallery.chunks_exact(dim).take(COLUMNS).enumerate() {
                for (k, &v) in vector[start..start + depth].iter().enumerate() {
                    packed[k * COLUMNS + j] = v;
                }
            }
            let last = rows.len() / dim - 1;
            for (i, out) in out.chunks_mut(ROWS * COLUMNS).enumerate() {
                // Past the last row the last one is multiplied again, and not stored.
                let rows = std::array::from_fn(|r| &rows[(i * ROWS + r).min(last) * dim + start..][..depth]);
                for first in (0..COLUMNS).step_by(REGISTERS * lanes) {
                    let sums = simd.vectorize(Product { simd, rows, packed, first: first / lanes });
                    for (out, sums) in out.chunks_exact_mut(COLUMNS).zip(&sums) {
                        for (out, &sum) in f32::vectors_mut::<S>(&mut out[first..]).iter_mut().zip(sums) {
                            *out = f32::add_vectors(simd, *out, sum);
                        }
                    }
                }
            }
        }
    }
}

/// `Σ_k rows[i][k] · packed[k, first..]`. A function of its own, so that the sums stay in registers.
struct Product<'a, S: Simd> {
    simd: S,
    rows: [&'a [f32]; ROWS],
    /// `(depth, COLUMNS)`.
    packed: &'a [f32],
    /// The first register of the panel's rows.
    first: usize,
}

impl<S: Simd> NullaryFnOnce for Product<'_, S> {
    type Output = [[S::f32s; REGISTERS]; ROWS];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { simd, rows, packed, first } = self;
        let mut sums = [[f32::splat(simd, 0.0); REGISTERS]; ROWS];
        let panel = f32::vectors::<S>(packed).as_chunks::<REGISTERS>().0;
        let (step, depth) = (COLUMNS / (REGISTERS * f32::lanes::<S>()), rows[0].len());
        // Cut to one length, so that no index below needs a check.
        let rows: [&[f32]; ROWS] = std::array::from_fn(
            #[inline(always)]
            |i| &rows[i][..depth],
        );
        for (k, columns) in panel[first / REGISTERS..].iter().step_by(step).take(depth).enumerate() {
            for i in 0..ROWS {
                let v = f32::splat(simd, rows[i][k]);
                for j in 0..REGISTERS {
                    sums[i][j] = f32::fma(simd, v, columns[j], sums[i][j]);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::random::Stream;

    fn vectors(name: &str, rows: usize, dim: usize) -> Vec<f32> {
        let mut stream = Stream::new(name, 1);
        (0..rows * dim).map(|_| stream.next_in(-1.0, 1.0) as f32).collect()
    }

    fn unit(data: &[f32], dim: usize) -> Unit {
        Unit::new(dim, data.chunks_exact(dim))
    }

    /// The definition, in f64.
    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
        };
        dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
    }

    #[test]
    fn agrees_with_the_definition_on_every_tail() {
        for (q, g, dim) in [(1, 1, 1), (3, 31, 7), (4, 32, 1024), (9, 65, 1025), (13, 100, 2500)] {
            let (a, b) = (vectors("a", q, dim), vectors("b", g, dim));
            let found = nearest(&unit(&a, dim), &unit(&b, dim), g, |_, _| false);
            for (i, found) in found.iter().enumerate() {
                assert_eq!(found.len(), g);
                assert!(found.windows(2).all(|w| w[0].similarity >= w[1].similarity));
                let mut seen: Vec<_> = found.iter().map(|n| n.index).collect();
                for n in found {
                    let expect = cosine(&a[i * dim..][..dim], &b[n.index * dim..][..dim]);
                    let error = (f64::from(n.similarity) - expect).abs();
                    assert!(error < 2e-6, "{q}×{g}×{dim}: {error}");
                }
                seen.sort();
                assert_eq!(seen, (0..g).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_nearest_are_those_of_a_full_sort_in_f64() {
        let (q, g, dim) = (20, 300, 48);
        let (a, b) = (vectors("a", q, dim), vectors("b", g, dim));
        let found = nearest(&unit(&a, dim), &unit(&b, dim), 50, |_, _| false);
        let mut sure = 0;
        for i in 0..q {
            let mut all: Vec<_> =
                (0..g).map(|j| (cosine(&a[i * dim..][..dim], &b[j * dim..][..dim]), j)).collect();
            all.sort_by(|x, y| y.0.total_cmp(&x.0));
            for (rank, found) in found[i].iter().enumerate() {
                let (expect, index) = all[rank];
                assert!((f64::from(found.similarity) - expect).abs() < 1e-6, "rank {rank}");
                let apart = |other: usize| (all[other].0 - expect).abs() > 1e-6;
                if apart(rank + 1) && (rank == 0 || apart(rank - 1)) {
                    assert_eq!(found.index, index, "rank {rank}");
                    sure += 1;
                }
            }
        }
        assert!(sure > 900, "hardly any near ties: {sure} of 1000 ranks");
    }

    #[test]
    fn equal_vectors_come_in_the_order_of_the_gallery() {
        let dim = 1500;
        let (a, one) = (vectors("a", 5, dim), vectors("b", 1, dim));
        let gallery = one.repeat(77); // two whole panels and a part of one
        for found in nearest(&unit(&a, dim), &unit(&gallery, dim), 40, |_, j| j == 3) {
            let expect: Vec<_> = (0..41).filter(|&j| j != 3).collect();
            assert_eq!(found.iter().map(|n| n.index).collect::<Vec<_>>(), expect);
        }
    }

    #[test]
    fn any_number_of_threads_finds_the_same_bits() {
        let dim = 1100;
        let (a, b) = (unit(&vectors("a", 37, dim), dim), unit(&vectors("b", 205, dim), dim));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| nearest(&a, &b, 50, |q, g| q == g));
            found.iter().flatten().map(|n| (n.index, n.similarity.to_bits())).collect::<Vec<_>>()
        };
        let one = on(1);
        assert_eq!(one.len(), 37 * 50);
        assert!(on(2) == one && on(5) == one);
    }

    #[test]
    fn small_galleries_zero_vectors_and_skips() {
        let gallery = unit(&[1.0, 0.0, 0.0, 0.0, -3.0, 0.0], 2);
        let found = nearest(&unit(&[2.0, 0.0], 2), &gallery, 50, |_, _| false);
        let pairs: Vec<_> = found[0].iter().map(|n| (n.index, n.similarity)).collect();
        assert_eq!(pairs, [(0, 1.0), (1, 0.0), (2, -1.0)]);
        let none = nearest(&unit(&[2.0, 0.0], 2), &gallery, 50, |_, _| true);
        assert_eq!(none, [[]]);
        assert!(nearest(&unit(&[], 2), &gallery, 50, |_, _| false).is_empty());
        assert_eq!(nearest(&gallery, &unit(&[], 2), 5, |_, _| false).len(), 3);
    }
}
