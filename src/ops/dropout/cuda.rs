//! The launch of `kernels/dropout.cu`.

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Launch};

const THREADS: u32 = 256;

/// As the kernel takes it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    mask: Address,
    y: Address,
    vectors: u32,
    unused: u32,
}

/// `y = x·mask` of `len` f32 numbers, a multiple of four, each buffer at a multiple of 16 bytes.
pub fn launch(len: usize, x: Address, mask: Address, y: Address) -> Launch {
    debug_assert!(len.is_multiple_of(4), "rows have a pitch");
    let vectors = len / 4;
    let args = Args { x, mask, y, vectors: vectors as u32, unused: 0 };
    Launch::new("dropout", [vectors.div_ceil(THREADS as usize), 1, 1], THREADS, 0, &args)
}
