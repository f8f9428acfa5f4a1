//! Geometry of one axis: which inputs an output gathers. The same description serves fprop and every
//! residue class of dgrad, so that one kernel runs both.

/// One filter position: the input it reads, relative to `j·step`, and its index in the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tap {
    pub offset: isize,
    pub index: usize,
}

/// Outputs `start + j·stride` for `j < count`; output `j` gathers inputs `j·step + tap.offset` that lie in
/// `0..extent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub count: usize,
    pub start: usize,
    pub stride: usize,
    pub step: usize,
    pub extent: usize,
    /// By ascending offset.
    pub taps: Vec<Tap>,
}

impl Axis {
    /// `y[o]` gathers `x[o·stride + f − pad]`.
    pub fn fprop(input: usize, filter: usize, stride: usize, pad: usize, output: usize) -> Self {
        let taps = (0..filter).map(|f| Tap { offset: f as isize - pad as isize, index: f }).collect();
        Self { count: output, start: 0, stride: 1, step: stride, extent: input, taps }
    }

    /// `dx[i]` gathers `dy[(i + pad − f) / stride]` where that division is exact: the inputs `i ≡ class`
    /// (mod `stride`) share their taps, so each class is a dense convolution of its own.
    pub fn dgrad(
        input: usize,
        filter: usize,
        stride: usize,
        pad: usize,
        output: usize,
        class: usize,
    ) -> Self {
        let shift = |f: usize| (class + pad) as isize - f as isize;
        let taps = (0..filter)
            .rev()
            .filter(|&f| shift(f).rem_euclid(stride as isize) == 0)
            .map(|f| Tap { offset: shift(f).div_euclid(stride as isize), index: f })
            .collect();
        let count = input.saturating_sub(class).div_ceil(stride);
        Self { count, start: class, stride, step: 1, extent: output, taps }
    }

    /// The input that output `j` reads through `tap`, if it is not padding.
    #[inline(always)]
    pub fn input(&self, j: usize, tap: Tap) -> Option<usize> {
        let i = (j * self.step) as isize + tap.offset;
        (0..self.extent as isize).contains(&i).then_some(i as usize)
    }

    /// Zeros needed before and after the input so that no tap falls outside.
    pub fn padding(&self) -> (usize, usize) {
        let (Some(first), Some(last)) = (self.taps.first(), self.taps.last()) else {
            return (0, 0);
        };
        let end = (self.count.saturating_sub(1) * self.step) as isize + last.offset;
        ((-first.offset).max(0) as usize, (end - self.extent as isize + 1).max(0) as usize)
    }

    /// Makes the row of taps one tap over an input with [`Self::padding`]; how many taps it was.
    pub fn merge(&mut self) -> usize {
        debug_assert!(self.is_run(), "only neighbouring inputs make a run");
        let (lead, trail) = self.padding();
        let count = self.taps.len();
        self.extent += lead + trail;
        self.taps.truncate(1);
        for tap in &mut self.taps {
            *tap = Tap { offset: tap.offset + lead as isize, index: 0 };
        }
        count
    }

    /// Whether the taps read neighbouring inputs, which channels-last memory holds as one run.
    pub fn is_run(&self) -> bool {
        self.taps.windows(2).all(|w| w[1].offset == w[0].offset + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every (input, filter, output) triple of the definition appears exactly once in fprop and once over the
    /// classes of dgrad.
    #[test]
    fn both_directions_hold_the_same_triples() {
        for (input, filter, stride, pad) in
            [(7, 3, 1, 1), (7, 3, 2, 1), (8, 1, 2, 0), (5, 4, 3, 5), (1, 3, 1, 1)]
        {
            let output = (input + 2 * pad - filter) / stride + 1;
            let forward = Axis::fprop(input, filter, stride, pad, output);
            let mut a: Vec<_> = (0..output)
                .flat_map(|o| forward.taps.iter().map(move |&t| (o, t)))
                .filter_map(|(o, t)| forward.input(o, t).map(|i| (i, t.index, o)))
                .collect();
            let mut b = Vec::new();
            for class in 0..stride {
                let axis = Axis::dgrad(input, filter, stride, pad, output, class);
                for j in 0..axis.count {
                    for &t in &axis.taps {
                        b.extend(axis.input(j, t).map(|o| (axis.start + j * axis.stride, t.index, o)));
                    }
                }
            }
            a.sort_unstable();
            b.sort_unstable();
            assert!(!a.is_empty());
            assert_eq!(a, b, "input {input}, filter {filter}, stride {stride}, pad {pad}");
        }
    }
}
