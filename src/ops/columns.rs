//! Channels-last rows seen as wide rows, so that a loop over channels fills vectors whatever the number of
//! channels, and a sum over positions runs in many lanes.

use std::ops::Range;

use crate::tensor::Real;

/// At most this many columns are held at a time (on the stack).
pub(crate) const LANES: usize = 1024;

/// Rows of `channels` elements, `fold` of them taken as one wide row; a wide row beyond [`LANES`] columns is
/// walked in tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    channels: usize,
    fold: usize,
    tile: usize,
}

impl Columns {
    /// For rows of `channels` elements.
    pub fn new(channels: usize) -> Self {
        if channels <= LANES {
            let fold = LANES / channels;
            Self { channels, fold, tile: fold * channels }
        } else {
            Self { channels, fold: 1, tile: channels.div_ceil(channels.div_ceil(LANES)) }
        }
    }

    /// Elements of a wide row.
    pub fn wide(&self) -> usize {
        self.fold * self.channels
    }

    /// The largest multiple of a wide row up to `elements`, at least one wide row.
    pub fn block(&self, elements: usize) -> usize {
        (elements / self.wide()).max(1) * self.wide()
    }

    /// Column ranges of at most [`LANES`].
    pub fn tiles(self) -> impl Iterator<Item = Range<usize>> {
        let wide = self.wide();
        (0..wide).step_by(self.tile).map(move |start| start..(start + self.tile).min(wide))
    }

    /// The channels of a tile.
    pub fn channels_of(&self, tile: &Range<usize>) -> Range<usize> {
        if self.fold > 1 { 0..self.channels } else { tile.clone() }
    }

    /// The part of each wide row of `x` that lies in `tile`; the last may be short.
    #[inline(always)]
    pub fn rows<'a, T>(&self, x: &'a [T], tile: &Range<usize>) -> impl Iterator<Item = &'a [T]> {
        let tile = tile.clone();
        x.chunks(self.wide()).map(
            #[inline(always)]
            move |row| &row[tile.start.min(row.len())..tile.end.min(row.len())],
        )
    }

    /// [`Self::rows`] of a buffer to be written.
    #[inline(always)]
    pub fn rows_mut<'a, T>(&self, x: &'a mut [T], tile: &Range<usize>) -> impl Iterator<Item = &'a mut [T]> {
        let tile = tile.clone();
        x.chunks_mut(self.wide()).map(
            #[inline(always)]
            move |row| {
                let end = tile.end.min(row.len());
                &mut row[tile.start.min(end)..end]
            },
        )
    }

    /// `value(channel)` for each column of the tile.
    #[inline(always)]
    pub fn spread<T: Real>(&self, tile: &Range<usize>, value: impl Fn(usize) -> T) -> [T; LANES] {
        let mut out = [T::ZERO; LANES];
        let channels = self.channels_of(tile);
        let (first, rest) = out[..tile.len()].split_at_mut(channels.len());
        for (o, c) in first.iter_mut().zip(channels) {
            *o = value(c);
        }
        for copy in rest.chunks_mut(first.len()) {
            copy.copy_from_slice(&first[..copy.len()]);
        }
        out
    }

    /// Sums over the folded rows: `out[i]` is the total of the tile's i-th channel.
    #[inline(always)]
    pub fn gather<T: Real>(&self, tile: &Range<usize>, lanes: &[T; LANES], out: &mut [f64; LANES]) {
        let channels = self.channels_of(tile).len();
        let out = &mut out[..channels];
        out.fill(0.0);
        for row in lanes[..tile.len()].chunks_exact(channels) {
            for (o, v) in out.iter_mut().zip(row) {
                *o += v.to_f64();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_column_once_and_fit() {
        for channels in [1, 3, 64, 83, 512, 1023, 1024, 1025, 1152, 5000] {
            let cols = Columns::new(channels);
            let mut next = 0;
            for tile in cols.tiles() {
                assert_eq!(tile.start, next);
                assert!(tile.len() <= LANES && !tile.is_empty());
                next = tile.end;
            }
            assert_eq!(next, cols.wide());
            assert_eq!(cols.wide() % channels, 0);
        }
    }

    #[test]
    fn gather_inverts_spread() {
        for channels in [1, 3, 83, 1025] {
            let cols = Columns::new(channels);
            for tile in cols.tiles() {
                let lanes = cols.spread(&tile, |c| c as f64);
                let mut sums = [f64::NAN; LANES];
                cols.gather(&tile, &lanes, &mut sums);
                for (i, c) in cols.channels_of(&tile).enumerate() {
                    assert_eq!(sums[i], (cols.fold * c) as f64);
                }
            }
        }
    }
}
