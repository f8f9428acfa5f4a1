//! What a device is to do, as data: planned without a device, checked in tests, run by `Device::enqueue`.

use bytemuck::{Pod, Zeroable};

/// A place in a device's memory. The host never follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Address(u64);

impl Address {
    /// Nowhere: an optional buffer that is not given.
    pub const NULL: Self = Self(0);

    /// The place that the driver calls `value`.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// What the driver calls it.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// `bytes` further on.
    #[must_use]
    pub const fn offset(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// One kernel with its grid and its one argument, a struct by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The entry's name in the PTX.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// The argument, in 8-byte words.
    args: Box<[u64]>,
}

impl Launch {
    /// Plans a launch. `args` is laid out as the kernel's parameter, a struct whose size is a multiple of 8.
    ///
    /// # Panics
    /// If a grid that CUDA cannot express is asked for: y and z hold at most 65,535 blocks, x fewer than 2³¹.
    pub fn new<A: Pod>(
        kernel: &'static str,
        grid: [usize; 3],
        threads: u32,
        shared: usize,
        args: &A,
    ) -> Self {
        const { assert!(size_of::<A>().is_multiple_of(8), "a kernel's argument is padded to 8 bytes") };
        let limits = [0x7FFF_FFFF, 0xFFFF, 0xFFFF];
        assert!(
            grid.iter().zip(limits).all(|(&g, limit)| (1..=limit).contains(&g)),
            "{kernel}: grid {grid:?}"
        );
        let mut words = vec![0u64; size_of::<A>() / 8].into_boxed_slice();
        bytemuck::cast_slice_mut(&mut words).copy_from_slice(bytemuck::bytes_of(args));
        Self { kernel, grid: grid.map(|g| g as u32), threads, shared: shared as u32, args: words }
    }

    /// The argument's bytes, 8-byte aligned.
    pub fn args(&self) -> &[u64] {
        &self.args
    }
}

/// Work for a stream; a list of them runs in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run a kernel.
    Kernel(Launch),
    /// Copy within the device's memory.
    Copy {
        /// Where from.
        from: Address,
        /// Where to.
        to: Address,
        /// How much.
        bytes: usize,
    },
    /// Fill with zero bytes.
    Zero {
        /// Where.
        at: Address,
        /// How much.
        bytes: usize,
    },
}

impl From<Launch> for Command {
    fn from(launch: Launch) -> Self {
        Self::Kernel(launch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_keeps_its_argument_word_for_word() {
        let launch = Launch::new("k", [1, 2, 3], 32, 0, &[1u32, 2, 3, 4]);
        assert_eq!(launch.args(), [1 | 2 << 32, 3 | 4 << 32]);
    }

    #[test]
    #[should_panic(expected = "grid [1, 65536, 1]")]
    fn a_grid_that_cuda_has_not_is_refused() {
        Launch::new("k", [1, 65_536, 1], 32, 0, &0u64);
    }
}
