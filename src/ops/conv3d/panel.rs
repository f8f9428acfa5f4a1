//! Panels: output channels in groups of a few registers, the unit of the register tiles.

use pulp::Simd;

use crate::tensor::Real;
use crate::tensor::simd::registers;

/// Most registers of a panel: with 32 registers, 6 rows × 4 registers are 24 accumulators, which hide the
/// latency of the multiply-adds and leave room for one row of the other factor.
fn widest<T: Real>() -> usize {
    if registers::<T>().1 >= 32 { 4 } else { 2 }
}

/// How `channels` divide into panels of one to four registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    channels: usize,
    lanes: usize,
    count: usize,
    registers: usize,
}

/// One panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// Registers.
    pub registers: usize,
    /// First channel.
    pub first: usize,
    /// Channels that exist; the rest of the last register is zero padding.
    pub channels: usize,
}

impl Panels {
    /// As wide as this machine's registers allow.
    pub fn new<T: Real>(channels: usize) -> Self {
        Self::at_most::<T>(channels, 4)
    }

    /// At most `limit` registers wide.
    pub fn at_most<T: Real>(channels: usize, limit: usize) -> Self {
        let (lanes, _) = registers::<T>();
        let registers = channels.div_ceil(lanes);
        Self { channels, lanes, count: registers.div_ceil(widest::<T>().min(limit)), registers }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Elements that every panel's row takes in packed memory.
    pub fn stride(&self) -> usize {
        self.registers.div_ceil(self.count) * self.lanes
    }

    /// Panel `p`; the first ones are wider by a register when the division leaves a rest.
    pub fn get(&self, p: usize) -> Panel {
        let (each, rest) = (self.registers / self.count, self.registers % self.count);
        let first = (p * each + p.min(rest)) * self.lanes;
        let registers = each + usize::from(p < rest);
        Panel { registers, first, channels: (registers * self.lanes).min(self.channels - first) }
    }
}

/// A register tile: `R` rows × `V` registers of accumulators.
pub(super) type Tile<S, T, const R: usize, const V: usize> =
    [[<T as crate::tensor::simd::Vectorised>::Vector<S>; V]; R];

/// Loads a row of a tile; lanes past the end of `src` are 0.
#[inline(always)]
pub(super) fn load_row<S: Simd, T: Real, const V: usize>(simd: S, src: &[T]) -> [T::Vector<S>; V] {
    let lanes = T::lanes::<S>();
    let mut row = [T::splat(simd, T::ZERO); V];
    let whole = T::vectors::<S>(src);
    if whole.len() >= V {
        row.copy_from_slice(&whole[..V]);
    } else {
        for j in 0..V {
            row[j] = T::load(simd, &src[(j * lanes).min(src.len())..((j + 1) * lanes).min(src.len())]);
        }
    }
    row
}

/// Stores a row of a tile as far as `dst` goes.
#[inline(always)]
pub(super) fn store_row<S: Simd, T: Real, const V: usize>(simd: S, dst: &mut [T], row: &[T::Vector<S>; V]) {
    let (lanes, len) = (T::lanes::<S>(), dst.len());
    if len >= V * lanes {
        T::vectors_mut::<S>(dst)[..V].copy_from_slice(row);
    } else {
        for j in 0..V {
            T::store(simd, &mut dst[(j * lanes).min(len)..((j + 1) * lanes).min(len)], row[j]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_every_channel_once() {
        for channels in 1..700 {
            let panels = Panels::new::<f32>(channels);
            let mut next = 0;
            for p in 0..panels.count() {
                let panel = panels.get(p);
                assert_eq!(panel.first, next);
                assert!(
                    (1..=4).contains(&panel.registers) && panel.registers * panels.lanes <= panels.stride()
                );
                next += panel.channels;
            }
            assert_eq!(next, channels);
        }
    }
}
