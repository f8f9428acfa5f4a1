//! A parallel loop over a fixed number of units that may write several buffers at once. Which thread runs a
//! unit never changes what the unit computes, so results do not depend on the number of threads; and nothing
//! is allocated.

/// Buffers that are handed out unit by unit.
pub(crate) trait Split: Sized + Send {
    /// The first `at` units, and the rest.
    fn split(self, at: usize) -> (Self, Self);
}

/// A buffer of which each unit owns `per` elements (the last unit what is left; none if it is empty).
#[derive(Debug)]
pub(crate) struct Chunks<'a, T> {
    /// The elements.
    pub data: &'a mut [T],
    /// How many belong to a unit.
    pub per: usize,
}

/// Shorthand for [`Chunks`].
pub(crate) fn chunks<T>(data: &mut [T], per: usize) -> Chunks<'_, T> {
    Chunks { data, per }
}

impl<T: Send> Split for Chunks<'_, T> {
    fn split(self, at: usize) -> (Self, Self) {
        let at = (at * self.per).min(self.data.len());
        let (a, b) = self.data.split_at_mut(at);
        (chunks(a, self.per), chunks(b, self.per))
    }
}

impl Split for () {
    fn split(self, _at: usize) -> (Self, Self) {
        ((), ())
    }
}

impl<A: Split, B: Split> Split for (A, B) {
    fn split(self, at: usize) -> (Self, Self) {
        let ((a0, a1), (b0, b1)) = (self.0.split(at), self.1.split(at));
        ((a0, b0), (a1, b1))
    }
}

impl<A: Split, B: Split, C: Split> Split for (A, B, C) {
    fn split(self, at: usize) -> (Self, Self) {
        let ((a0, a1), (b0, b1), (c0, c1)) = (self.0.split(at), self.1.split(at), self.2.split(at));
        ((a0, b0, c0), (a1, b1, c1))
    }
}

/// In which order units run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One after the other; `f` is parallel inside.
    Serial,
    /// In parallel, each thread upwards.
    Parallel,
    /// In parallel, each thread downwards: a second pass over data finds the end of the first in cache.
    Downwards,
}

/// Calls `f(i, unit i of s)` for every `i` in `0..units`.
pub(crate) fn for_each<S: Split, F: Fn(usize, S) + Sync>(order: Order, units: usize, s: S, f: F) {
    fn go<S: Split, F: Fn(usize, S) + Sync>(order: Order, first: usize, units: usize, s: S, f: &F) {
        if units <= 1 {
            if units == 1 {
                f(first, s);
            }
            return;
        }
        let at = units / 2;
        let (low, high) = s.split(at);
        let low = || go(order, first, at, low, f);
        let high = || go(order, first + at, units - at, high, f);
        match order {
            Order::Serial => {
                low();
                high();
            }
            Order::Parallel => drop(rayon::join(low, high)),
            Order::Downwards => drop(rayon::join(high, low)),
        }
    }
    // A buffer may be longer than its units need.
    go(order, 0, units, s.split(units).0, &f);
}

/// Sums over `0..units` in the order of a fixed binary tree.
pub(crate) fn sums<const N: usize>(units: usize, f: &(impl Fn(usize) -> [f64; N] + Sync)) -> [f64; N] {
    fn go<const N: usize>(first: usize, units: usize, f: &(impl Fn(usize) -> [f64; N] + Sync)) -> [f64; N] {
        match units {
            0 => [0.0; N],
            1 => f(first),
            _ => {
                let at = units / 2;
                let (a, b) = rayon::join(|| go(first, at, f), || go(first + at, units - at, f));
                std::array::from_fn(|i| a[i] + b[i])
            }
        }
    }
    go(0, units, f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_runs_once_with_its_own_elements() {
        for order in [Order::Serial, Order::Parallel, Order::Downwards] {
            for units in [0, 1, 2, 3, 7] {
                let mut long = vec![0; units * 3];
                let mut short = vec![0; (units * 2).saturating_sub(1)];
                let mut none: Vec<i32> = vec![];
                let s = (chunks(&mut long, 3), chunks(&mut short, 2), chunks(&mut none, 5));
                for_each(order, units, s, |i, (a, b, c)| {
                    assert_eq!((a.data.len(), c.data.len()), (3, 0));
                    assert_eq!(b.data.len(), if i + 1 == units { 1 } else { 2 });
                    a.data.iter_mut().chain(b.data).for_each(|v| *v += i + 1);
                });
                assert!(long.iter().enumerate().all(|(j, &v)| v == j / 3 + 1), "{order:?} {long:?}");
                assert!(short.iter().enumerate().all(|(j, &v)| v == j / 2 + 1), "{order:?} {short:?}");
            }
        }
    }

    #[test]
    fn a_sum_visits_every_unit() {
        assert_eq!(sums(0, &|_| [1.0]), [0.0]);
        assert_eq!(sums(101, &|i| [i as f64, 1.0]), [5050.0, 101.0]);
    }
}
