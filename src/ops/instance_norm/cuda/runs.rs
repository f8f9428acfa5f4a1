//! How blocks share out (clips, positions, pitch); `kernels/common/runs.cuh` is the other side.

use bytemuck::{Pod, Zeroable};

use crate::ops::Precision;

/// Most threads of a block.
const THREADS: usize = 256;
/// Fewest threads of a block that sums over its rows, and fewest of its rows.
const FEWEST_THREADS: usize = 64;
const FEWEST_ROWS: usize = 8;
/// Most vectors side by side in a block that sums over its rows: 256 bytes of a position.
const COLUMNS: usize = 16;
/// Most vectors of each buffer that a thread holds.
const HELD: usize = 8;
/// Positions that a thread streams: the constants that it loads first are then a small part of its traffic.
const STREAMED: usize = 32;
/// Channels of a block of the kernels that merge.
const MERGED_CHANNELS: u32 = 8;
/// Threads of such a block.
pub(super) const MERGE_THREADS: u32 = 256;

/// As the kernels take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Runs {
    positions: u32,
    pitch: u32,
    rows: u32,
    columns: u32,
    slices: u32,
    run: u32,
    runs: u32,
    unused: u32,
}

impl Runs {
    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        (self.rows * self.columns).next_multiple_of(32)
    }

    /// Blocks, one for each clip, run and slice.
    pub fn grid(&self, clips: usize) -> [usize; 3] {
        [clips * self.runs as usize * self.slices as usize, 1, 1]
    }

    /// Runs of a clip.
    pub fn runs(&self) -> usize {
        self.runs as usize
    }

    /// The same runs, for a kernel that merges what blocks left of them.
    pub fn merging(&self) -> Self {
        Self { slices: self.pitch.div_ceil(MERGED_CHANNELS), ..*self }
    }

    /// Blocks of such a kernel, one for each clip and slice.
    pub fn merging_grid(&self, clips: usize) -> [usize; 3] {
        [clips * self.slices as usize, 1, 1]
    }
}

/// Clips as vectors of channels: 16 bytes, or 8 of bf16 at a pitch of four.
#[derive(Debug)]
pub(super) struct Vectors {
    pub positions: usize,
    pub pitch: usize,
    pub precision: Precision,
}

impl Vectors {
    /// Channels of a vector.
    fn channels(&self) -> usize {
        self.pitch.min(16 / self.precision.size())
    }

    /// The kernel for these vectors, of three.
    pub fn pick(&self, f32: &'static str, bf16: &'static str, narrow: &'static str) -> &'static str {
        if self.channels() == 4 { self.precision.pick(f32, narrow) } else { bf16 }
    }

    /// Vectors of a position.
    fn across(&self) -> usize {
        self.pitch / self.channels()
    }

    /// The most columns, up to `most`, a power of two, of which at least three quarters hold channels.
    fn columns(&self, most: usize) -> usize {
        let mut columns = most.min(COLUMNS);
        while 4 * self.across() < 3 * self.across().next_multiple_of(columns) {
            columns /= 2;
        }
        columns
    }

    fn runs(&self, rows: usize, columns: usize, run: usize) -> Runs {
        Runs {
            positions: self.positions as u32,
            pitch: self.pitch as u32,
            rows: rows as u32,
            columns: columns as u32,
            slices: self.across().div_ceil(columns) as u32,
            run: run as u32,
            runs: self.positions.div_ceil(run) as u32,
            unused: 0,
        }
    }

    /// Runs of `run` positions, at most 1024, that a block holds and sums.
    pub fn held(&self, run: usize) -> Runs {
        let rows = run.div_ceil(HELD).next_power_of_two().max(FEWEST_ROWS);
        let columns = self.columns(THREADS / rows);
        self.runs(rows.max(FEWEST_THREADS / columns), columns, run)
    }

    /// Bytes of shared memory of a block that holds `buffers` buffers of such runs, and sums.
    pub fn held_bytes(&self, runs: &Runs, buffers: usize) -> usize {
        let sums = (self.channels() + 1) * THREADS * size_of::<f32>();
        let vectors = buffers * runs.run.div_ceil(runs.rows) as usize * runs.threads() as usize;
        sums + vectors * self.channels() * self.precision.size()
    }

    /// Runs that a block reads and sums.
    pub fn summed(&self) -> Runs {
        let columns = self.columns(COLUMNS);
        let rows = THREADS / columns;
        self.runs(rows, columns, rows * STREAMED)
    }

    /// Runs that a block reads and writes, whole positions as far as it has threads for them.
    pub fn streamed(&self) -> Runs {
        let columns = self.across().div_ceil(self.across().div_ceil(THREADS));
        let rows = THREADS / columns;
        self.runs(rows, columns, rows * STREAMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::pitch;

    fn each_kind(check: impl Fn(&Vectors)) {
        for positions in [1, 2, 16, 49, 98, 127, 392, 512, 784, 1023, 1024, 1025, 200_704] {
            for channels in [1, 3, 5, 20, 64, 83, 144, 230, 576, 921, 1152, 4096] {
                for precision in [Precision::F32, Precision::Bf16] {
                    check(&Vectors { positions, pitch: pitch(channels), precision });
                }
            }
        }
    }

    fn covers(v: &Vectors, r: &Runs) -> bool {
        let channels = (r.slices * r.columns) as usize * v.channels();
        let positions = (r.runs * r.run) as usize;
        channels >= v.pitch && positions >= v.positions && positions - v.positions < r.run as usize
    }

    #[test]
    fn blocks_that_sum_are_as_sum_rows_wants_them() {
        each_kind(|v| {
            for r in [v.held(v.positions.min(1023)), v.held(128), v.summed()] {
                assert!(covers(v, &r), "{v:?} {r:?}");
                assert!(r.rows.is_power_of_two() && r.columns.is_power_of_two(), "{v:?} {r:?}");
                assert!(r.rows as usize >= v.channels() && r.columns <= 16, "{v:?} {r:?}");
                assert!((64..=256).contains(&r.threads()), "{v:?} {r:?}");
            }
        });
    }

    #[test]
    fn what_a_block_holds_fits() {
        each_kind(|v| {
            let r = v.held(v.positions.min(1023));
            assert!(r.run.div_ceil(r.rows) <= HELD as u32, "{v:?} {r:?}");
            assert!(v.held_bytes(&r, 1) <= 48 * 1024, "{v:?} {r:?}: without asking for more");
            assert!(v.held_bytes(&r, 2) <= 99 * 1024, "{v:?} {r:?}: as any GPU from Ampere on has");
        });
    }

    #[test]
    fn streams_leave_few_threads_idle() {
        each_kind(|v| {
            let r = v.streamed();
            assert!(covers(v, &r) && r.threads() <= 256, "{v:?} {r:?}");
            let idle = 256 - r.rows * r.columns;
            assert!(idle < r.columns, "{v:?} {r:?}");
        });
    }

    #[test]
    fn accesses_are_whole_sectors() {
        for positions in [16, 98, 784, 1023] {
            let v = Vectors { positions, pitch: 512, precision: Precision::Bf16 };
            assert!(v.held(positions).columns >= 2, "{positions} positions: 32 bytes at a time");
        }
    }
}
