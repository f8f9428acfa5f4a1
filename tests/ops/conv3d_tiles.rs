//! Every convolution of the three backbones at its real extents: what a block moves and multiplies is what its tile
//! says, by arithmetic that shares nothing with the kernels but the sizes of tiles. Blocks do alike, so that of each grid
//! the first few run.

use std::collections::{BTreeMap, BTreeSet};

use hdc::device::Launch;
use hdc::models::{self, Backbone, ModelConfig};
use hdc::ops::conv3d::{Conv3d, Problem};
use hdc::ops::{Precision, pitch, statistics};

use crate::counted::Machine;

/// Rows of a tile.
const ROWS: usize = 128;
/// Sectors that may be moved, to bytes that a tile needs.
const SLACK: f64 = 1.3;
/// Blocks that a large GPU holds: with as many tiles of rows, tiles are as wide as in a batch of hundreds of clips.
const SLOTS: usize = 264;

/// A layer under the first of its names.
struct Layer {
    name: String,
    problem: Problem,
    /// Whether dgrad runs: not where the clips themselves are the input.
    input_gradient: bool,
}

/// The layers by what tells kernels apart; as many clips as make [`SLOTS`] tiles of rows.
fn layers() -> Vec<Layer> {
    let mut layers = BTreeMap::new();
    for backbone in [Backbone::C3d, Backbone::R3d18, Backbone::R21d10] {
        let config = ModelConfig { backbone, ..Default::default() };
        let graph = models::encoder::<f32>(&config, 1, [16, 112, 112], false).unwrap();
        for node in graph.nodes() {
            let Some(op) = node.op.as_deref().filter(|op| op.kind() == "conv3d") else { continue };
            let (x, w, y) = (&op.input_shapes()[0], &op.params()[0].shape, op.output_shape());
            let axes = |dims: &[usize]| [dims[1], dims[2], dims[3]];
            let (input, filter, output) = (axes(x.dims()), axes(w.dims()), axes(y.dims()));
            // All of them pad by half their filter.
            let (stride, pad) =
                ([0, 1, 2].map(|i| input[i].div_ceil(output[i])), filter.map(|f| (f - 1) / 2));
            let (c, k) = (w.dims()[4], w.dims()[0]);
            let problem = |n| Problem::new(n, c, k, input, filter, stride, pad).unwrap();
            let same = format!("{op:?}") == format!("{:?}", Conv3d::new(problem(1)));
            assert!(same, "{} is not {:?}", node.name, problem(1));
            let clips = (SLOTS * ROWS).div_ceil(output.iter().product());
            let name = format!("{}/{}", backbone.name(), node.name);
            let input_gradient = node.inputs.iter().any(|&i| graph.node(i).needs_gradient);
            let layer = Layer { name, problem: problem(clips), input_gradient };
            layers.entry((c, k, filter, stride)).or_insert(layer);
        }
    }
    layers.into_values().collect()
}

/// The blocks that run: two tiles, two runs of pixels, all classes of a strided gradient.
fn first_blocks(launched: &Launch) -> [u32; 3] {
    let [x, y, z] = launched.grid;
    [x.min(2), y.min(2), z.min(8)]
}

/// What blocks must do.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// Bytes.
    read: usize,
    written: usize,
    /// Of tensor cores, zeros that fill the tile included.
    flops: usize,
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            read: a.read + b.read,
            written: a.written + b.written,
            flops: a.flops + b.flops,
        })
    }
}

/// Columns of a tile, as the kernel's name has them.
fn width(launched: &Launch) -> usize {
    launched.kernel.rsplit_once("_n").unwrap().1.parse().unwrap()
}

/// Taps of an axis through which output `o` reads an input.
fn taps_of_output(p: &Problem, axis: usize, o: usize) -> usize {
    let reads = |f: &usize| (o * p.stride()[axis] + f).wrapping_sub(p.pad()[axis]) < p.input()[axis];
    (0..p.filter()[axis]).filter(reads).count()
}

/// Taps of an axis through which input `i` is read by an output.
fn taps_of_input(p: &Problem, axis: usize, i: usize) -> usize {
    let (stride, at) = (p.stride()[axis], i + p.pad()[axis]);
    let read_by =
        |f: &usize| at >= *f && (at - f).is_multiple_of(stride) && (at - f) / stride < p.output()[axis];
    (0..p.filter()[axis]).filter(read_by).count()
}

/// Of one tile of fprop, or with `class` of dgrad; `block` is the tile.
fn gather(p: &Problem, launched: &Launch, precision: Precision, class: Option<usize>, block: usize) -> Work {
    let (from, to) = if class.is_some() { (p.k(), p.c()) } else { (p.c(), p.k()) };
    let (from, to, size, width) = (pitch(from), pitch(to), precision.size(), width(launched));
    let residue = |axis: usize| {
        let [_, h, w] = p.stride();
        class.map(|z| [z / w / h, z / w % h, z % w][axis])
    };
    // Along each axis: how many taps each of the class's positions has, and how many the class has.
    let axes = [0, 1, 2].map(|axis| match residue(axis) {
        None => (0..p.output()[axis]).map(|o| taps_of_output(p, axis, o)).collect::<Vec<_>>(),
        Some(r) => {
            let mine = |i: &usize| (i + p.pad()[axis]) % p.stride()[axis] == r;
            (0..p.input()[axis]).filter(mine).map(|i| taps_of_input(p, axis, i)).collect()
        }
    });
    let class_taps = |axis: usize| match residue(axis) {
        None => p.filter()[axis],
        Some(r) => (0..p.filter()[axis]).filter(|f| f % p.stride()[axis] == r).count(),
    };
    let taps: usize = [0, 1, 2].map(class_taps).iter().product();

    let positions: usize = axes.iter().map(Vec::len).product();
    // Statistics of what fprop writes, or the sums of a norm below dgrad.
    let partials = positions >= statistics::SMALLEST && (class.is_none() || p.stride() == [1; 3]);
    let all = if partials { positions } else { positions * p.n() }; // that a tile may hold
    let column_tiles = to.div_ceil(width);
    let columns = (to - block % column_tiles * width).min(width);
    let first = block / column_tiles % all.div_ceil(ROWS) * ROWS;
    let rows = first..(first + ROWS).min(all);
    let read = |i: usize| {
        let [t, h, w] = axes.each_ref().map(Vec::len);
        let at = i % positions;
        axes[0][at / w / h % t] * axes[1][at / w % h] * axes[2][at % w]
    };
    // The norm's input, and of each channel scale, shift, mean and deviation, in each of a tile's eight parts; once more
    // the deviation and what lies with it.
    let below =
        if partials && class.is_some() { rows.len() * columns * size + columns * (8 * 16 + 8) } else { 0 };
    Work {
        read: (rows.clone().map(read).sum::<usize>() + columns * taps) * from * size + below,
        written: rows.len() * columns * size + if partials { columns * 8 } else { 0 },
        flops: 2 * ROWS * width * (taps * from).next_multiple_of(32),
    }
}

/// Pixels of a split: a field of what the kernels of wgrad take.
fn run(launched: &Launch) -> usize {
    (launched.args()[12] & 0xFFFF_FFFF) as usize
}

/// Runs whose sums are added: a field of what the kernel that adds them takes.
fn splits(launched: &Launch) -> usize {
    (launched.args()[3] & 0xFFFF_FFFF) as usize
}

/// Of one tile of wgrad and one run of pixels.
fn wgrad(p: &Problem, launched: &Launch, precision: Precision, block: usize, split: usize) -> Work {
    let (from, to, size, width) = (pitch(p.c()), pitch(p.k()), precision.size(), width(launched));
    let (pixels, length) = (p.n() * p.output().iter().product::<usize>(), p.taps() * from);
    let pixels = split * run(launched)..((split + 1) * run(launched)).min(pixels);
    let column_tiles = to.div_ceil(width);
    let columns = (to - block % column_tiles * width).min(width);
    let first = block / column_tiles * ROWS;
    let terms = first..(first + ROWS).min(length);
    let reads = |tap: usize, pixel: usize| {
        let ([_, r, s], [z, h, w]) = (p.filter(), p.output());
        let (tap, at) = ([tap / s / r, tap / s % r, tap % s], [pixel / w / h % z, pixel / w % h, pixel % w]);
        (0..3).all(|i| (at[i] * p.stride()[i] + tap[i]).wrapping_sub(p.pad()[i]) < p.input()[i])
    };
    let of_tap = |tap: usize| {
        let channels = terms.end.min((tap + 1) * from) - terms.start.max(tap * from);
        channels * pixels.clone().filter(|&pixel| reads(tap, pixel)).count()
    };
    let read_x: usize = (terms.start / from..terms.end.div_ceil(from)).map(of_tap).sum();
    Work {
        read: (read_x + columns * pixels.len()) * size,
        written: terms.len() * columns * size_of::<f32>(),
        flops: 2 * ROWS * width * pixels.len().next_multiple_of(32),
    }
}

/// Of the blocks of a launch that run.
fn wanted(p: &Problem, launched: &Launch, precision: Precision, forward: bool) -> Work {
    let [x, y, z] = first_blocks(launched).map(|n| n as usize);
    let blocks = (0..x).flat_map(|x| (0..y).flat_map(move |y| (0..z).map(move |z| [x, y, z])));
    let (c, k) = (pitch(p.c()), pitch(p.k()));
    let of_block = |[x, y, z]: [usize; 3]| match launched.kernel {
        "conv3d_filter_flip_f32" | "conv3d_filter_flip_bf16" => {
            let bytes = (c - y * 32).min(32) * (k - z * 32).min(32) * precision.size();
            Work { read: bytes, written: bytes, flops: 0 }
        }
        "conv3d_filter_reduce" => {
            let bytes = (c * p.taps() * k - x * 1024).min(1024) * size_of::<f32>();
            Work { read: splits(launched) * bytes, written: bytes, flops: 0 }
        }
        name if name.starts_with("conv3d_wgrad") => wgrad(p, launched, precision, x, y),
        _ => gather(p, launched, precision, (!forward).then_some(z), x),
    };
    blocks.map(of_block).sum()
}

/// What moves more sectors than [`SLACK`] allows, and how many times what it must, rounded up.
const BEYOND: [(&str, &str, &str, f64); 4] = [
    // A filter's gradient with four channels has rows of 16 bytes too many for sectors: a half is moved with each 32
    // bytes of every other column. The second-level cache joins the halves.
    ("c3d/conv1", "conv3d_wgrad_bf16_thin_n64", "written", 1.52),
    ("r3d18/stem", "conv3d_wgrad_bf16_thin_n64", "written", 1.51),
    ("r21d10/stem.spatial", "conv3d_wgrad_bf16_thin_n96", "written", 1.52),
    // 88 channels are 5.5 sectors, and three taps of them.
    ("r21d10/stem.temporal", "conv3d_gather_bf16_n64", "read", 1.33),
];

/// Fails unless blocks do what their tiles say and no more; what [`BEYOND`] has of it.
fn check(machine: &Machine, layer: &Layer, precision: Precision) -> Vec<(String, String)> {
    let mut beyond = vec![];
    let p = &layer.problem;
    let counted = machine.count_blocks(&Conv3d::new(*p), precision, &first_blocks);
    for (i, (launched, counters)) in counted.into_iter().enumerate() {
        let kernel = launched.kernel;
        let of_input = i > 0 && (kernel.contains("gather") || kernel.contains("flip"));
        if of_input && !layer.input_gradient {
            continue;
        }
        let label = format!("{} {kernel}", layer.name);
        let want = wanted(p, &launched, precision, i == 0);
        let (load, store) = (counters.global_load, counters.global_store);
        assert_eq!(counters.shared.conflicts, 0, "{label}: {:?}", counters.accesses);
        assert_eq!(load.bytes, want.read as u64, "{label}: bytes read");
        assert_eq!(store.bytes, want.written as u64, "{label}: bytes written");
        if precision == Precision::Bf16 {
            assert_eq!(counters.mma_flops, want.flops as u64, "{label}");
        }
        for (what, traffic, want) in [("read", load, want.read), ("written", store, want.written)] {
            let ratio = (traffic.sectors * 32) as f64 / want as f64;
            let known = BEYOND.iter().find(|b| (b.0, b.1, b.2) == (layer.name.as_str(), kernel, what));
            let allowed = known.map_or(SLACK, |b| b.3);
            assert!(ratio <= allowed, "{label}: {ratio:.3} times its {want} bytes {what}");
            if ratio > SLACK {
                beyond.push((layer.name.clone(), kernel.to_owned()));
            }
        }
    }
    beyond
}

#[test]
fn tiles_of_all_layers_move_and_multiply_what_they_must() {
    let Some(machine) = Machine::new() else { return };
    let layers = layers();
    assert_eq!(layers.len(), 37);
    let mut beyond = vec![];
    for layer in &layers {
        beyond.extend(check(&machine, layer, Precision::Bf16));
        // Without tensor cores the simulator takes four times as long.
        if layer.problem.taps() * layer.problem.c() <= 300 {
            beyond.extend(check(&machine, layer, Precision::F32));
        }
    }
    let known = BEYOND.map(|b| (b.0.to_owned(), b.1.to_owned()));
    assert_eq!(BTreeSet::from_iter(beyond), BTreeSet::from(known), "no longer beyond, or newly so");
}
