//! How many blocks fit a multiprocessor (driver API, "Occupancy").
//!
//! The arithmetic is that of `cuda_occupancy.h`: registers are given to warps in units of 256 from four partitions,
//! shared memory in units of the device's with what the system takes of it, and there are limits on threads and blocks.
//! Register counts are the PTX's estimate, so they are an upper bound on what an assembled kernel would need.

use crate::device::Limits;
use crate::module::Attributes;

use super::api::api;
use super::argument::Out;
use super::state::{Handle, State};
use super::status::{Result, Status};

/// Blocks of `threads` with `dynamic` bytes of dynamic shared memory that fit a multiprocessor; 0 if none does.
pub(super) fn blocks(limits: &Limits, kernel: &Attributes, threads: u32, dynamic: usize) -> u32 {
    let warps = threads.div_ceil(32);
    if threads == 0 || threads > limits.block_threads || threads > kernel.max_threads {
        return 0;
    }
    let by_threads = limits.threads / 32 / warps;
    let per_warp = kernel.registers.min(255).next_multiple_of(8) * 32;
    let by_registers = (limits.registers / 4).checked_div(per_warp).map_or(limits.blocks, |n| n * 4 / warps);
    let asked = (kernel.static_shared as usize).saturating_add(dynamic);
    if asked > limits.block_shared_optin as usize {
        return 0;
    }
    let per_block = (asked + limits.reserved_shared as usize).next_multiple_of(limits.shared_unit as usize);
    let by_shared = (limits.shared as usize).checked_div(per_block);
    let by_shared = by_shared.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
    by_threads.min(by_registers).min(by_shared).min(limits.blocks)
}

/// Dynamic shared memory of a block of as many threads (`CUoccupancyB2DSize`).
type DynamicShared = extern "C" fn(i32) -> usize;

impl State {
    fn occupancy(&mut self, function: Handle, threads: i32, dynamic: usize) -> Result<u32> {
        let limits = self.machine.device.limits();
        let threads = u32::try_from(threads).ok().filter(|t| *t > 0).ok_or(Status::INVALID_VALUE)?;
        Ok(blocks(&limits, &self.function(function)?.kernel.attributes, threads, dynamic))
    }

    /// Block size with the most threads in flight, and blocks that fill the device with it.
    fn best_block(
        &mut self,
        function: Handle,
        shared: Option<DynamicShared>,
        dynamic: usize,
        limit: i32,
    ) -> Result<(i32, i32)> {
        let limits = self.machine.device.limits();
        let kernel = self.function(function)?.kernel.clone();
        let kernel = &kernel.attributes;
        let most = kernel.max_threads.min(limits.block_threads);
        let most = u32::try_from(limit).ok().filter(|l| *l > 0).map_or(most, |l| most.min(l));
        let mut best = (0, 0, 0);
        // From large to small, so that the largest of equals is kept; the first is not a multiple of a warp, perhaps.
        let sizes = std::iter::once(most).chain((1..most.div_ceil(32)).rev().map(|w| w * 32));
        for threads in sizes {
            let dynamic = shared.map_or(dynamic, |f| f(threads as i32));
            let count = blocks(&limits, kernel, threads, dynamic);
            if count * threads > best.0 {
                best = (count * threads, count, threads);
            }
        }
        if best.0 == 0 {
            return Err(Status::INVALID_VALUE);
        }
        Ok(((best.1 * limits.multiprocessors) as i32, best.2 as i32))
    }
}

api! {
    /// Blocks that fit a multiprocessor.
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        s, c;
        count: Out<i32>,
        function: Handle,
        block: i32,
        dynamic: usize,
    ) {
        let _ = c;
        count.put(s.occupancy(function, block, dynamic)? as i32)
    }

    /// Blocks that fit a multiprocessor.
    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        s, c;
        count: Out<i32>,
        function: Handle,
        block: i32,
        dynamic: usize,
        flags: u32,
    ) {
        let _ = c;
        if flags > 1 {
            return Err(Status::INVALID_VALUE);
        }
        count.put(s.occupancy(function, block, dynamic)? as i32)
    }

    /// Most bytes of dynamic shared memory with which so many blocks fit a multiprocessor.
    fn cuOccupancyAvailableDynamicSMemPerBlock(
        s, c;
        bytes: Out<usize>,
        function: Handle,
        count: i32,
        block: i32,
    ) {
        let _ = c;
        let count = u32::try_from(count).ok().filter(|n| *n > 0).ok_or(Status::INVALID_VALUE)?;
        if s.occupancy(function, block, 0)? < count {
            return Err(Status::INVALID_VALUE);
        }
        let limits = s.machine.device.limits();
        let found = s.function(function)?;
        let share = (limits.shared / count / limits.shared_unit * limits.shared_unit) as usize;
        let taken = limits.reserved_shared as usize + found.kernel.attributes.static_shared as usize;
        let optin = limits.block_shared_optin.saturating_sub(found.kernel.attributes.static_shared);
        bytes.put(share.saturating_sub(taken).min(optin as usize))
    }

    /// A block size that fills the device, and the blocks that it takes.
    fn cuOccupancyMaxPotentialBlockSize(
        s, c;
        grid: Out<i32>,
        block: Out<i32>,
        function: Handle,
        shared: Option<DynamicShared>,
        dynamic: usize,
        limit: i32,
    ) {
        let _ = c;
        let (blocks, threads) = s.best_block(function, shared, dynamic, limit)?;
        grid.put(blocks)?;
        block.put(threads)
    }

    /// A block size that fills the device, and the blocks that it takes.
    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        s, c;
        grid: Out<i32>,
        block: Out<i32>,
        function: Handle,
        shared: Option<DynamicShared>,
        dynamic: usize,
        limit: i32,
        flags: u32,
    ) {
        let _ = c;
        if flags > 1 {
            return Err(Status::INVALID_VALUE);
        }
        let (blocks, threads) = s.best_block(function, shared, dynamic, limit)?;
        grid.put(blocks)?;
        block.put(threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::Cuda;
    use crate::device::{Architecture, Device};

    fn limits(architecture: Architecture) -> Limits {
        Device { architecture, memory: 1, cuda: Cuda::default() }.limits()
    }

    fn kernel(registers: u32, static_shared: u32) -> Attributes {
        Attributes { max_threads: 1024, registers, static_shared, ..Attributes::default() }
    }

    #[test]
    fn the_scarcest_resource_decides() {
        let limits = limits(Architecture::Sm90);
        // Values of NVIDIA's occupancy calculator for compute capability 9.0.
        for (registers, statics, threads, dynamic, expected) in [
            (32, 0, 256, 0, 8),         // threads
            (32, 0, 64, 0, 32),         // blocks (and threads)
            (128, 0, 256, 0, 2),        // registers
            (168, 0, 384, 0, 1),        // registers
            (255, 0, 128, 0, 2),        // registers
            (32, 0, 128, 100 << 10, 2), // shared memory
            (32, 1024, 128, 226 << 10, 1),
            (32, 1024, 128, (226 << 10) + 1, 0),
            (32, 0, 1025, 0, 0),
        ] {
            let got = blocks(&limits, &kernel(registers, statics), threads, dynamic);
            assert_eq!(got, expected, "{registers} registers, {statics}+{dynamic} bytes, {threads} threads");
        }
    }

    #[test]
    fn turing_holds_half_the_threads_and_takes_no_shared_memory_for_itself() {
        let limits = limits(Architecture::Sm75);
        for (registers, statics, threads, dynamic, expected) in [
            (32, 0, 256, 0, 4),       // threads
            (32, 0, 32, 0, 16),       // blocks
            (128, 0, 256, 0, 2),      // registers
            (32, 0, 64, 32 << 10, 2), // shared memory
            (32, 0, 64, 51 * 128, 9), // shared memory in units of 256 bytes
            (32, 1024, 64, 63 << 10, 1),
            (32, 1024, 64, (63 << 10) + 1, 0),
        ] {
            let got = blocks(&limits, &kernel(registers, statics), threads, dynamic);
            assert_eq!(got, expected, "{registers} registers, {statics}+{dynamic} bytes, {threads} threads");
        }
    }
}
