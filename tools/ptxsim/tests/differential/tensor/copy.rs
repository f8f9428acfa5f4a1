//! `cp.async.bulk.tensor` of all ranks, tiles and im2col, loads, stores and reductions, at every border.

use rayon::prelude::*;

use ptxsim::async_copy::tensor_map::{
    DataType, Fill, Im2col, Interleave, L2Promotion, Swizzle, Tensor, TensorMap, Tiled,
};

use super::super::common::{Machine, Params, Random, grid, told};
use super::{HEADER, list};

/// A tensor in memory. Dimension 0 is the innermost.
#[derive(Clone, Debug)]
struct Memory {
    data_type: DataType,
    size: usize,
    dims: Vec<usize>,
    /// Bytes, of all dimensions but the first.
    strides: Vec<usize>,
    bytes: Vec<u8>,
}

impl Memory {
    fn new(random: &mut Random, data_type: DataType, dims: &[usize]) -> Memory {
        let size = data_type.size().expect("a plain type") as usize;
        let (mut strides, mut extent) = (Vec::new(), dims[0] * size);
        for dim in &dims[1..] {
            strides.push(extent.next_multiple_of(16) + 16 * random.below(3) as usize);
            extent = strides[strides.len() - 1] * dim;
        }
        let bytes = (0..extent).map(|_| random.bits() as u8).collect();
        Memory { data_type, size, dims: dims.to_vec(), strides, bytes }
    }

    /// Where an element lies; `None` outside.
    fn place(&self, at: &[i64]) -> Option<usize> {
        let mut place = 0;
        for (i, (&at, &dim)) in at.iter().zip(&self.dims).enumerate() {
            if at < 0 || at >= dim as i64 {
                return None;
            }
            place += at as usize * if i == 0 { self.size } else { self.strides[i - 1] };
        }
        Some(place)
    }
}

/// What a copy moves: elements in the order of shared memory.
#[derive(Clone, Debug)]
struct Case {
    memory: Memory,
    swizzle: Swizzle,
    fill: Fill,
    element_strides: Vec<u32>,
    mode: Mode,
    coordinates: Vec<i32>,
    /// Bytes from a boundary of 1024 at which the box lies in shared memory.
    shared: usize,
    /// Operand forms differ.
    variant: u32,
}

#[derive(Clone, Debug)]
enum Mode {
    Tile(Vec<u32>),
    Im2col { lower: Vec<i32>, upper: Vec<i32>, channels: u32, pixels: u32, offsets: Vec<u16> },
}

impl Case {
    fn rank(&self) -> usize {
        self.memory.dims.len()
    }

    /// The elements' coordinates.
    fn elements(&self) -> Vec<Vec<i64>> {
        let start: Vec<i64> = self.coordinates.iter().map(|&c| c.into()).collect();
        match &self.mode {
            Mode::Tile(box_dims) => {
                let mut all = vec![Vec::new()];
                for i in (0..self.rank()).rev() {
                    let step = if i == 0 { 1 } else { self.element_strides[i] };
                    let along = |tail: &Vec<i64>| {
                        let start = start[i];
                        let tail = tail.clone();
                        (0..box_dims[i])
                            .step_by(step as usize)
                            .map(move |o| [&[start + i64::from(o)], &tail[..]].concat())
                    };
                    all = all.iter().flat_map(along).collect();
                }
                all
            }
            Mode::Im2col { lower, upper, channels, pixels, offsets } => {
                let mut all = Vec::new();
                let mut base = start.clone();
                for _ in 0..*pixels {
                    for c in 0..i64::from(*channels) {
                        let mut at = base.clone();
                        at[0] += c;
                        at[1..].iter_mut().zip(offsets).for_each(|(at, &offset)| *at += i64::from(offset));
                        all.push(at);
                    }
                    // The next pixel of the bounding box: W first, then H, D, and the next image.
                    let mut i = 1;
                    loop {
                        base[i] += i64::from(self.element_strides[i]);
                        if i == self.rank() - 1
                            || base[i] < self.memory.dims[i] as i64 + i64::from(upper[i - 1])
                        {
                            break;
                        }
                        base[i] = lower[i - 1].into();
                        i += 1;
                    }
                }
                all
            }
        }
    }

    fn map(&self, address: u64) -> TensorMap {
        let dims: Vec<u64> = self.memory.dims.iter().map(|&d| d as u64).collect();
        let strides: Vec<u64> = self.memory.strides.iter().map(|&s| s as u64).collect();
        let tensor = Tensor {
            data_type: self.memory.data_type,
            address,
            dims: &dims,
            strides: &strides,
            element_strides: &self.element_strides,
            interleave: Interleave::None,
            swizzle: self.swizzle,
            l2_promotion: L2Promotion::None,
            fill: self.fill,
        };
        match &self.mode {
            Mode::Tile(box_dims) => TensorMap::tiled(&Tiled { tensor, box_dims }),
            Mode::Im2col { lower, upper, channels, pixels, .. } => TensorMap::im2col(&Im2col {
                tensor,
                lower_corner: lower,
                upper_corner: upper,
                channels: *channels,
                pixels: *pixels,
            }),
        }
        .unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Where byte `i` of the box lies in shared memory: 16-byte chunks change places within lines of 128 bytes.
    fn swizzled(&self, i: usize) -> usize {
        let at = self.shared + i;
        let lines = match self.swizzle {
            Swizzle::Bytes32 => 2,
            Swizzle::Bytes64 => 4,
            Swizzle::Bytes128 => 8,
            _ => 1,
        };
        at ^ (at / 128 % lines * 16)
    }

    fn load(&self, bytes: usize) -> String {
        let (offsets, mode) = match &self.mode {
            Mode::Tile(_) if self.variant & 1 == 0 => (String::new(), ""),
            Mode::Tile(_) => (String::new(), ".tile"),
            Mode::Im2col { offsets, .. } => {
                let registers: Vec<_> = (0..offsets.len()).map(|i| format!("%o{i}")).collect();
                (format!(", {{{}}}", registers.join(",")), ".im2col")
            }
        };
        let space = if self.variant & 2 == 0 { "shared::cluster" } else { "shared::cta" };
        let hint = if self.variant & 4 == 0 { ("", "") } else { (".L2::cache_hint", ", %policy") };
        format!(
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], {bytes};
cp.async.bulk.tensor.{}d.{space}.global{mode}.mbarrier::complete_tx::bytes{} [%box], [%map, {{{}}}], [%bar]{offsets}{};\n",
            self.rank(),
            hint.0,
            list("%c", self.rank()),
            hint.1,
        )
    }

    fn store(&self, reduction: Option<&str>) -> String {
        let mode = match &self.mode {
            Mode::Tile(_) if self.variant & 1 == 0 => "",
            Mode::Tile(_) => ".tile",
            Mode::Im2col { .. } => ".im2col_no_offs",
        };
        let (reduce, operation) = reduction.map_or(("", String::new()), |r| (".reduce", format!(".{r}")));
        let wait = if self.variant & 2 == 0 { ".read" } else { "" };
        format!(
            "cp{reduce}.async.bulk.tensor.{}d.global.shared::cta{operation}{mode}.bulk_group [%map, {{{}}}], [%box];
cp.async.bulk.commit_group; cp.async.bulk.wait_group{wait} 0; {}\n",
            self.rank(),
            list("%c", self.rank()),
            if wait.is_empty() { "" } else { "cp.async.bulk.wait_group 0;" },
        )
    }

    /// Fills shared memory from an image, lets one thread copy, and writes shared memory back to the image.
    fn ptx(&self, room: usize, loads: bool, body: &str) -> String {
        let mut ptx = format!(
            "{HEADER}.extern .shared .align 1024 .b8 smem[];
.visible .entry k(.param .align 64 .b8 map[128], .param .u64 image, .param .align 4 .b8 at[20], .param .align 2 .b8 off[6]) {{
.shared .align 8 .b64 bar; .reg .b64 %map, %image, %x, %y, %policy; .reg .b32 %tid, %i, %s, %t, %bar, %box, %c<5>;
.reg .b16 %o<3>; .reg .pred %p, %others;
mov.b64 %map, map; cvta.param.u64 %map, %map; ld.param.u64 %image, [image]; mov.u64 %policy, 0;
mov.u32 %tid, %tid.x; mov.u32 %s, smem; mov.u32 %bar, bar; add.u32 %box, %s, {};
ld.param.b32 %c0, [at]; ld.param.b32 %c1, [at+4]; ld.param.b32 %c2, [at+8]; ld.param.b32 %c3, [at+12];
ld.param.b32 %c4, [at+16]; ld.param.b16 %o0, [off]; ld.param.b16 %o1, [off+2]; ld.param.b16 %o2, [off+4];
setp.ne.u32 %others, %tid, 0;
@!%others mbarrier.init.shared::cta.b64 [%bar], 1;
@!%others fence.mbarrier_init.release.cluster;
shl.b32 %i, %tid, 3;
IN: cvt.u64.u32 %x, %i; add.u64 %x, %image, %x; ld.global.b64 %y, [%x]; add.u32 %t, %s, %i;
st.shared.b64 [%t], %y; add.u32 %i, %i, 512; setp.lt.u32 %p, %i, {room}; @%p bra IN;
fence.proxy.async.shared::cta; bar.sync 0;
@%others bra DONE;\n",
            self.shared
        );
        ptx += body;
        ptx += "DONE:\n";
        if loads {
            ptx += "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p, [%bar], 0; @!%p bra WAIT;\n";
        }
        ptx += &format!(
            "bar.sync 0; shl.b32 %i, %tid, 3;
OUT: cvt.u64.u32 %x, %i; add.u64 %x, %image, %x; add.u32 %t, %s, %i; ld.shared.b64 %y, [%t];
st.global.b64 [%x], %y; add.u32 %i, %i, 512; setp.lt.u32 %p, %i, {room}; @%p bra OUT;
ret;\n}}\n"
        );
        ptx
    }

    /// Runs: the tensor and shared memory after it.
    fn run(&self, body: &str, loads: bool, image: &[u8], seed: Option<u64>) -> (Vec<u8>, Vec<u8>) {
        let mut machine = Machine::new();
        machine.options.seed = seed;
        let ptx = self.ptx(image.len(), loads, body);
        let module = machine.load(&ptx);
        let (tensor, shared) = (machine.put(&self.memory.bytes), machine.put(image));
        let coordinates: [i32; 5] = std::array::from_fn(|i| self.coordinates.get(i).copied().unwrap_or(0));
        let offsets: [u16; 3] = match &self.mode {
            Mode::Im2col { offsets, .. } => std::array::from_fn(|i| offsets.get(i).copied().unwrap_or(0)),
            Mode::Tile(_) => [0; 3],
        };
        let params = Params::default()
            .with_bytes(&self.map(tensor).to_bytes(), 64)
            .with(shared)
            .with_bytes(bytemuck::bytes_of(&coordinates), 4)
            .with_bytes(bytemuck::bytes_of(&offsets), 2);
        let outcome = machine.run(&module, "k", grid(1, 64, image.len() as u32), &params);
        assert!(outcome.findings.is_empty(), "{self:?}\n{}\n{ptx}", told(&outcome));
        (machine.get(tensor, self.memory.bytes.len()), machine.get(shared, image.len()))
    }

    fn check(&self, random: &mut Random, seed: Option<u64>) {
        let size = self.memory.size;
        let elements = self.elements();
        let bytes = elements.len() * size;
        let room = (self.shared + bytes).next_multiple_of(1024) + 1024;
        let image: Vec<u8> = (0..room).map(|_| random.bits() as u8).collect();

        let (tensor, shared) = self.run(&self.load(bytes), true, &image, seed);
        assert!(tensor == self.memory.bytes, "a load wrote the tensor: {self:?}");
        let mut wanted = image.clone();
        for (i, at) in elements.iter().enumerate() {
            for byte in 0..size {
                wanted[self.swizzled(i * size + byte)] = match (self.memory.place(at), self.fill) {
                    (Some(place), _) => self.memory.bytes[place + byte],
                    (None, Fill::Zero) => 0,
                    (None, _) => {
                        if byte + 1 == size {
                            0x7f
                        } else {
                            0xff
                        }
                    }
                };
            }
        }
        assert!(shared == wanted, "load: {self:?}\n{}", first_difference(&shared, &wanted));

        if matches!(&self.mode, Mode::Im2col { offsets, .. } if offsets.iter().any(|&o| o != 0)) {
            return;
        }
        let unsigned = matches!(self.memory.data_type, DataType::Uint32 | DataType::Uint64);
        let signed = self.memory.data_type == DataType::Int32;
        let operations: &[&str] = match (unsigned, signed) {
            (true, _) => &["add", "min", "max", "and", "or", "xor"],
            (_, true) => &["add", "min", "max", "and"],
            _ => &[],
        };
        for reduction in std::iter::once(None).chain(operations.iter().copied().map(Some)) {
            let (tensor, shared) = self.run(&self.store(reduction), false, &image, seed);
            assert!(shared == image, "a store wrote shared memory: {self:?}");
            let mut wanted = self.memory.bytes.clone();
            for (i, at) in elements.iter().enumerate() {
                let Some(place) = self.memory.place(at) else { continue };
                let mut words = [[0u8; 8]; 2];
                for byte in 0..size {
                    words[0][byte] = wanted[place + byte];
                    words[1][byte] = image[self.swizzled(i * size + byte)];
                }
                let [old, new] = words.map(u64::from_le_bytes);
                let less = if signed { (new as i32) < old as i32 } else { new < old };
                let result = match reduction {
                    None => new,
                    Some("add") => old.wrapping_add(new),
                    Some("min") => {
                        if less {
                            new
                        } else {
                            old
                        }
                    }
                    Some("max") => {
                        if less {
                            old
                        } else {
                            new
                        }
                    }
                    Some("and") => old & new,
                    Some("or") => old | new,
                    Some(_) => old ^ new,
                };
                wanted[place..place + size].copy_from_slice(&result.to_le_bytes()[..size]);
            }
            assert!(tensor == wanted, "{reduction:?}: {self:?}\n{}", first_difference(&tensor, &wanted));
        }
    }
}

fn first_difference(found: &[u8], wanted: &[u8]) -> String {
    match (0..wanted.len()).find(|&i| found[i] != wanted[i]) {
        Some(i) => format!("byte {i} is {:#x}, not {:#x}", found[i], wanted[i]),
        None => String::new(),
    }
}

const SWIZZLES: [(Swizzle, u32); 4] =
    [(Swizzle::None, 4096), (Swizzle::Bytes32, 32), (Swizzle::Bytes64, 64), (Swizzle::Bytes128, 128)];

fn one_of<T: Copy>(random: &mut Random, list: &[T]) -> T {
    list[random.below(list.len() as u32) as usize]
}

fn tile(random: &mut Random, rank: usize) -> Case {
    use DataType::*;
    let data_type =
        one_of(random, &[Uint8, Uint16, Uint32, Int32, Uint64, Float16, Float32, Float64, Bfloat16]);
    let dims: Vec<_> = (0..rank).map(|i| 1 + random.below(if i == 0 { 70 } else { 9 }) as usize).collect();
    let memory = Memory::new(random, data_type, &dims);
    let mut box_dims: Vec<u32> = (0..rank).map(|_| 1 + random.below(5)).collect();
    let size = memory.size as u32;
    let (swizzle, span) = one_of(random, &SWIZZLES);
    box_dims[0] = (1 + random.below((span / 16).min(9))) * 16 / size;
    let fill = if data_type.is_float() && random.below(2) == 0 { Fill::Nan } else { Fill::Zero };
    let element_strides = (0..rank).map(|_| one_of(random, &[1, 1, 1, 2, 3])).collect();
    // From wholly before the tensor to wholly behind it, mostly across a border.
    let coordinates = (0..rank)
        .map(|i| {
            let (dim, extent) = (dims[i] as i32, box_dims[i] as i32);
            match random.below(4) {
                0 => -extent - 1 + random.below(extent as u32 + 2) as i32,
                1 => dim - random.below(extent as u32 + 1) as i32,
                _ => random.below(dim as u32) as i32,
            }
        })
        .collect();
    let shared = 128 * random.below(8) as usize;
    Case {
        memory,
        swizzle,
        fill,
        element_strides,
        mode: Mode::Tile(box_dims),
        coordinates,
        shared,
        variant: random.bits(),
    }
}

fn im2col(random: &mut Random, rank: usize) -> Case {
    use DataType::*;
    let data_type = one_of(random, &[Bfloat16, Float32, Uint32, Uint8]);
    let spatial = rank - 2;
    let (kernel, dilation) = (1 + random.below(3) as i32, 1 + random.below(2) as i32);
    let reach = dilation * (kernel - 1);
    let mut dims = vec![8 + random.below(60) as usize];
    dims.extend((0..spatial).map(|_| reach as usize + 1 + random.below(7) as usize));
    dims.push(1 + random.below(3) as usize);
    let memory = Memory::new(random, data_type, &dims);
    let (swizzle, span) = one_of(random, &SWIZZLES);
    let channels = (1 + random.below((span / 16).min(9))) * 16 / memory.size as u32;
    let padding: Vec<i32> = (0..spatial).map(|_| random.below(reach as u32 / 2 + 2) as i32).collect();
    let lower: Vec<i32> = padding.iter().map(|p| -p).collect();
    let upper: Vec<i32> = padding.iter().map(|p| p - reach).collect();
    let stride = 1 + random.below(2);
    let mut element_strides = vec![1];
    element_strides.extend(vec![stride; spatial]);
    element_strides.push(1);
    let mut coordinates = vec![one_of(random, &[0, 0, 3, -2, dims[0] as i32 - 3])];
    for i in 0..spatial {
        let extent = dims[i + 1] as i32 + upper[i] - lower[i];
        let turns = (extent as u32).div_ceil(stride);
        coordinates.push(lower[i] + (random.below(turns.max(1)) * stride) as i32);
    }
    coordinates.push(random.below(dims[rank - 1] as u32) as i32);
    let offsets = (0..spatial).map(|_| (random.below(kernel as u32) as i32 * dilation) as u16).collect();
    let mode = Mode::Im2col { lower, upper, channels, pixels: 1 + random.below(40), offsets };
    let fill = if data_type.is_float() && random.below(2) == 0 { Fill::Nan } else { Fill::Zero };
    Case { memory, swizzle, fill, element_strides, mode, coordinates, shared: 1024, variant: random.bits() }
}

#[test]
fn tiles_by_ptx() {
    (0..400u64).into_par_iter().for_each(|seed| {
        let random = &mut Random::new(seed + 1);
        tile(random, 1 + seed as usize % 5).check(random, (seed % 3 > 0).then_some(seed));
    });
}

#[test]
fn im2col_by_ptx() {
    (0..300u64).into_par_iter().for_each(|seed| {
        let random = &mut Random::new(seed + 7);
        im2col(random, 3 + seed as usize % 3).check(random, (seed % 3 > 0).then_some(seed));
    });
}
