//! What the kernels of convolution do to a GPU, counted by the simulator: bank conflicts, products, bytes.

use std::collections::BTreeSet;

use hdc::device::kernels;
use hdc::ops::conv3d::{Conv3d, Problem};
use hdc::ops::{Precision, pitch};

use crate::counted::{Machine, a100};

/// Bytes of the buffers.
struct Sizes {
    x: usize,
    y: usize,
    w: usize,
    dw: usize,
}

impl Sizes {
    fn new(p: &Problem, precision: Precision) -> Self {
        let filter = pitch(p.k()) * p.taps() * pitch(p.c());
        Self {
            x: p.x_len() / p.c() * pitch(p.c()) * precision.size(),
            y: p.y_len() / p.k() * pitch(p.k()) * precision.size(),
            w: filter * precision.size(),
            dw: filter * size_of::<f32>(),
        }
    }
}

const BOTH: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// Every kernel that there is, on tiles with tails; and two blocks of each fit on a multiprocessor.
#[test]
fn no_kernel_has_bank_conflicts() {
    let Some(machine) = Machine::new() else { return };
    let mut seen = BTreeSet::new();
    let mut check = |p: &Problem, precision| {
        for (launched, counters) in machine.count(&Conv3d::new(*p), precision) {
            let kernel = launched.kernel;
            assert_eq!(counters.shared.conflicts, 0, "{kernel} {p:?}: {:?}", counters.accesses);
            assert!(counters.shared.requests > 0 || kernel == "conv3d_filter_reduce", "{kernel}");
            let limits = a100().limits();
            assert!(2 * (launched.shared + limits.reserved_shared) <= limits.shared, "{launched:?}");
            seen.insert(kernel);
        }
    };
    let line = |c, k, width| Problem::new(1, c, k, [1, 1, width], [1; 3], [1; 3], [0; 3]).unwrap();
    for precision in BOTH {
        // 136 tiles of rows, for which tiles are as wide as the channels.
        for (c, k) in [(8, 63), (3, 63), (3, 83), (9, 86), (7, 121), (5, 141)] {
            check(&line(c, k, 136 * 128 - 55), precision);
        }
        for (c, k) in [(3, 5), (9, 4), (9, 20)] {
            check(&line(c, k, 1100), precision);
        }
        check(&Problem::new(2, 19, 33, [3, 5, 6], [3; 3], [1, 2, 3], [1; 3]).unwrap(), precision);
    }
    let all = kernels().iter().filter(|k| k.name.starts_with("conv3d")).flat_map(|k| k.entries());
    let unseen: Vec<_> = all.map(|(name, _)| name).filter(|name| !seen.contains(name)).collect();
    assert!(unseen.is_empty(), "not launched: {unseen:?}");
}

/// Layers that fit their tiles: 64 channels, and outputs of 4·16·16 positions.
fn fitting() -> [Problem; 4] {
    let layer = |input, filter, stride, pad| Problem::new(1, 64, 64, input, filter, stride, pad).unwrap();
    [
        layer([4, 16, 16], [3; 3], [1; 3], [1; 3]),
        layer([4, 32, 32], [1, 2, 2], [1, 2, 2], [0; 3]),
        layer([8, 32, 32], [3; 3], [2; 3], [1; 3]),
        layer([8, 16, 16], [4, 1, 1], [2, 1, 1], [1, 0, 0]),
    ]
}

/// Tensor cores do what was asked for and nothing else: strided gradients multiply no zeros but those of padding.
#[test]
fn products_are_those_of_the_definition() {
    let Some(machine) = Machine::new() else { return };
    for p in fitting() {
        let counted = machine.count(&Conv3d::new(p), Precision::Bf16);
        let products: Vec<_> = counted.iter().filter(|(_, c)| c.mma_flops > 0).collect();
        assert_eq!(products.len(), 3, "{p:?}");
        // The filter's gradient has a row for each tap and channel, 128 in a tile.
        let terms = (p.taps() * 64) as u64;
        let tiled = p.flops() / terms * terms.next_multiple_of(128);
        for ((launched, counters), wanted) in products.into_iter().zip([p.flops(), tiled, p.flops()]) {
            assert_eq!(counters.mma_flops, wanted, "{} {p:?}", launched.kernel);
        }
    }
}

/// Everything is read, whole sectors at a time, and what is written is written once.
#[test]
fn bytes_are_those_of_the_buffers() {
    let Some(machine) = Machine::new() else { return };
    for (p, precision) in fitting().into_iter().flat_map(|p| BOTH.map(|precision| (p, precision))) {
        let s = Sizes::new(&p, precision);
        // Of fprop, and the sums of a norm below of a dgrad without a stride; written half a sector at a time.
        let statistics = 1024 / 128 * 64 * 8;
        for (i, (launched, counters)) in machine.count(&Conv3d::new(p), precision).into_iter().enumerate() {
            let label = format!("{} {p:?}", launched.kernel);
            let kind = launched.kernel.split('_').nth(1).unwrap();
            let splits = launched.grid[1] as usize;
            let (read, written, halves) = match (kind, i) {
                ("gather", 0) => (s.x + s.w, s.y + statistics, statistics),
                // The norm's input, and of each channel scale, shift, mean and deviation.
                ("gather", _) if p.stride() == [1; 3] => {
                    (s.y + s.w + s.x + 64 * 16, s.x + statistics, statistics)
                }
                ("gather", _) => (s.y + s.w, s.x, 0),
                ("wgrad", _) => (s.x + s.y, splits * s.dw, 0),
                _ if launched.kernel == "conv3d_filter_reduce" => (2 * s.dw, s.dw, 0),
                _ => (s.w, s.w, 0),
            };
            let (load, store) = (counters.global_load, counters.global_store);
            assert_eq!(load.unique_bytes, read as u64, "{label}");
            assert_eq!([store.unique_bytes, store.bytes], [written as u64; 2], "{label}");
            // Fewer sectors than bytes make where lanes read the same: two taps of neighbouring pixels.
            assert!(load.sectors * 32 <= load.bytes, "{label}: {load:?}");
            assert_eq!(store.sectors * 32, store.bytes + halves as u64, "{label}");
        }
    }
}
