//! Copies by tensor map against plain gathers and scatters.

use ptxsim::async_copy::tensor_map::{
    DataType, Fill, Im2col, Interleave, L2Promotion, Piece, Swizzle, Tensor, TensorMap, Tiled,
};

/// A seeded sequence of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }
}

const GLOBAL: u64 = 0x7f00_0000_1000;

/// A tensor with its memory, padding included.
struct Memory {
    data_type: DataType,
    size: usize,
    dims: Vec<u64>,
    strides: Vec<u64>,
    bytes: Vec<u8>,
}

impl Memory {
    /// Strides are rounded up to 16 bytes, and more by `padding` units of 16.
    fn new(data_type: DataType, dims: &[u64], padding: u64) -> Memory {
        let size = data_type.size().unwrap() as usize;
        let mut strides = Vec::new();
        let mut extent = dims[0] * size as u64;
        for dim in &dims[1..] {
            let stride = extent.next_multiple_of(16) + 16 * padding;
            strides.push(stride);
            extent = stride * dim;
        }
        let bytes = (0..extent).map(|i| (i * 7 + i / 256 * 13 + 1) as u8).collect();
        Memory { data_type, size, dims: dims.to_vec(), strides, bytes }
    }

    fn tensor<'a>(&'a self, element_strides: &'a [u32], swizzle: Swizzle, fill: Fill) -> Tensor<'a> {
        Tensor {
            data_type: self.data_type,
            address: GLOBAL,
            dims: &self.dims,
            strides: &self.strides,
            element_strides,
            interleave: Interleave::None,
            swizzle,
            l2_promotion: L2Promotion::None,
            fill,
        }
    }

    /// Place of an element in `bytes`; `None` outside the tensor.
    fn place(&self, at: &[i64]) -> Option<usize> {
        let inside = at.iter().zip(&self.dims).all(|(&at, &dim)| at >= 0 && at < dim as i64);
        let outer: i64 = at[1..].iter().zip(&self.strides).map(|(&at, &stride)| at * stride as i64).sum();
        inside.then(|| at[0] as usize * self.size + outer as usize)
    }

    /// The element at `at`, or what stands for it.
    fn element(&self, at: &[i64], fill: Fill) -> Vec<u8> {
        match self.place(at) {
            Some(place) => self.bytes[place..place + self.size].to_vec(),
            None if fill == Fill::Zero => vec![0; self.size],
            None => [&vec![0xff; self.size - 1][..], &[0x7f]].concat(),
        }
    }
}

/// Where byte `address` of an unswizzled box lies: chunks move within their line of 128 bytes.
fn swizzle(swizzle: Swizzle, address: u32) -> u32 {
    let (line, chunk, byte) = (address / 128, address / 16 % 8, address % 16);
    let moved = match swizzle {
        Swizzle::None => chunk,
        Swizzle::Bytes32 => chunk ^ (line % 2),
        Swizzle::Bytes64 => chunk ^ (line % 4),
        _ => chunk ^ (line % 8),
    };
    line * 128 + moved * 16 + byte
}

/// What a load puts into shared memory from `base` on. Each byte is written once, and pieces keep to their chunk.
fn load(map: &TensorMap, memory: &Memory, pieces: &[Piece], base: u32) -> Vec<Option<u8>> {
    let mut shared = vec![None; map.box_bytes() as usize + 1024];
    let fill = map.fill_bits().to_le_bytes();
    for piece in pieces {
        assert!(piece.bytes > 0 && piece.shared % 16 + piece.bytes <= 16, "{piece:?}");
        for i in 0..piece.bytes as usize {
            let value = match piece.global {
                Some(global) => memory.bytes[(global - GLOBAL) as usize + i],
                None => fill[i % 8],
            };
            let place = &mut shared[(piece.shared - base) as usize + i];
            assert_eq!(*place, None, "written twice");
            *place = Some(value);
        }
    }
    assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u32>(), map.box_bytes());
    shared
}

fn check_load(
    map: &TensorMap,
    memory: &Memory,
    pieces: &[Piece],
    destination: u32,
    mode: Swizzle,
    expected: &[u8],
) {
    assert_eq!(map.box_bytes() as usize, expected.len());
    let base = destination / 1024 * 1024;
    let shared = load(map, memory, pieces, base);
    for (i, &byte) in expected.iter().enumerate() {
        let address = swizzle(mode, destination + i as u32);
        assert_eq!(shared[(address - base) as usize], Some(byte), "byte {i} of {map:?}");
    }
}

/// All index tuples below `counts`, the first fastest.
fn indices(counts: &[u32]) -> Vec<Vec<i64>> {
    counts.iter().rev().fold(vec![vec![]], |tails, &count| {
        let extend = |tail: &Vec<i64>| -> Vec<Vec<i64>> {
            (0..count.into()).map(|i| [&[i], &tail[..]].concat()).collect()
        };
        tails.iter().flat_map(extend).collect()
    })
}

const TYPES: [DataType; 8] = [
    DataType::Uint8,
    DataType::Uint16,
    DataType::Bfloat16,
    DataType::Float16,
    DataType::Float32,
    DataType::Int32,
    DataType::Float64,
    DataType::Uint64,
];

#[test]
fn tiles_equal_a_plain_gather_and_scatter() {
    let mut random = Random(1);
    let (mut filled, mut split, mut whole) = (0, 0, 0);
    for case in 0..4000 {
        let rank = 1 + case % 5;
        let data_type = TYPES[random.below(8) as usize];
        let size = data_type.size().unwrap();
        let fill = if data_type.is_float() && random.below(2) == 1 { Fill::Nan } else { Fill::Zero };
        let dims: Vec<u64> = (0..rank).map(|i| 1 + random.below(if i == 0 { 90 } else { 10 })).collect();
        let memory = Memory::new(data_type, &dims, random.below(3));
        let mut box_dims: Vec<u32> = (0..rank).map(|_| 1 + random.below(6) as u32).collect();
        box_dims[0] = (1 + random.below(8) as u32) * 16 / size;
        let element_strides: Vec<u32> = (0..rank).map(|_| [1, 1, 2, 3][random.below(4) as usize]).collect();
        let modes = [Swizzle::None, Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128];
        let fits = |mode: &Swizzle| mode.span().is_none_or(|span| box_dims[0] * size <= span);
        let modes: Vec<_> = modes.into_iter().filter(fits).collect();
        let mode = modes[random.below(modes.len() as u64) as usize];
        let tensor = memory.tensor(&element_strides, mode, fill);
        let map = TensorMap::tiled(&Tiled { tensor, box_dims: &box_dims }).unwrap();

        let coords: Vec<i32> = (0..rank)
            .map(|i| random.between(-i64::from(box_dims[i]) - 1, dims[i] as i64 + 1) as i32)
            .collect();
        let destination = 2048 + 128 * random.below(8) as u32;
        let mut pieces = Vec::new();
        map.pieces(destination, &coords, &[], &mut pieces).unwrap();
        filled += usize::from(pieces.iter().any(|piece| piece.global.is_none()));
        split += usize::from(pieces.iter().any(|piece| piece.bytes < 16));
        whole += usize::from(pieces.iter().all(|piece| piece.global.is_some()));

        let counts: Vec<u32> = (0..rank)
            .map(|i| if i == 0 { box_dims[0] } else { box_dims[i].div_ceil(element_strides[i]) })
            .collect();
        let positions: Vec<Vec<i64>> = indices(&counts)
            .iter()
            .map(|index| {
                let step = |i: usize| if i == 0 { 1 } else { i64::from(element_strides[i]) };
                (0..rank).map(|i| i64::from(coords[i]) + index[i] * step(i)).collect()
            })
            .collect();
        let expected: Vec<u8> = positions.iter().flat_map(|at| memory.element(at, fill)).collect();
        check_load(&map, &memory, &pieces, destination, mode, &expected);

        // A store moves the same pieces the other way.
        let value = |address: u32| (address * 11 + 3) as u8;
        let mut stored = memory.bytes.clone();
        for piece in &pieces {
            let Some(global) = piece.global else { continue };
            for i in 0..piece.bytes {
                stored[(global - GLOBAL) as usize + i as usize] = value(piece.shared + i);
            }
        }
        let mut plain = memory.bytes.clone();
        for (i, at) in positions.iter().enumerate() {
            let Some(place) = memory.place(at) else { continue };
            for byte in 0..size {
                plain[place + byte as usize] = value(swizzle(mode, destination + i as u32 * size + byte));
            }
        }
        assert!(stored == plain, "{map:?} {coords:?}");
    }
    // The boxes meant to lie on borders do, and others do not.
    assert!(filled > 2000 && split > 200 && whole > 200, "{filled} {split} {whole}");
}

/// A convolution over the dimensions W, H, D, as many as there are.
struct Convolution {
    kernel: u32,
    stride: u32,
    padding: i32,
    dilation: u32,
}

impl Convolution {
    fn span(&self) -> i32 {
        (self.dilation * (self.kernel - 1)) as i32
    }

    fn outputs(&self, extent: u64) -> i64 {
        (extent as i64 + 2 * i64::from(self.padding) - i64::from(self.span()) - 1)
            .div_euclid(self.stride.into())
            + 1
    }
}

fn check_im2col(convolution: &Convolution, spatial: &[u64], images: u64, channels: u64, random: &mut Random) {
    let rank = spatial.len() + 2;
    let dims = [&[channels], spatial, &[images]].concat();
    let memory = Memory::new(DataType::Bfloat16, &dims, random.below(2));
    let element_strides = [&[1], &vec![convolution.stride; rank - 2][..], &[1]].concat();
    let (per_pixel, mode) =
        [(8, Swizzle::None), (16, Swizzle::Bytes32), (32, Swizzle::Bytes64), (64, Swizzle::Bytes128)]
            [random.below(4) as usize];
    let fill = if random.below(2) == 0 { Fill::Zero } else { Fill::Nan };
    let pixels = 1 + random.below(40) as u32;
    let map = TensorMap::im2col(&Im2col {
        tensor: memory.tensor(&element_strides, mode, fill),
        lower_corner: &vec![-convolution.padding; rank - 2],
        upper_corner: &vec![convolution.padding - convolution.span(); rank - 2],
        channels: per_pixel,
        pixels,
    })
    .unwrap();
    assert_eq!(map.box_bytes(), pixels * per_pixel * 2);

    // All rows of the im2col matrix, of which a copy takes some consecutive ones.
    let outputs: Vec<u32> = spatial.iter().map(|&extent| convolution.outputs(extent) as u32).collect();
    let rows = indices(&[&outputs[..], &[images as u32 + 40]].concat());
    let first = random.below(outputs.iter().product::<u32>() as u64 * images) as usize;
    let channel = [0, per_pixel as i32, channels as i32 - 3][random.below(3) as usize];
    let tap: Vec<u32> = spatial.iter().map(|_| random.below(convolution.kernel.into()) as u32).collect();
    let corner =
        |row: &Vec<i64>, i: usize| row[i] * i64::from(convolution.stride) - i64::from(convolution.padding);

    let start = &rows[first];
    let mut coords = vec![channel];
    coords.extend((0..rank - 2).map(|i| corner(start, i) as i32));
    coords.push(start[rank - 2] as i32);
    let offsets: Vec<u16> = tap.iter().map(|tap| (tap * convolution.dilation) as u16).collect();
    let destination = 1024 * random.below(4) as u32;
    let mut pieces = Vec::new();
    map.pieces(destination, &coords, &offsets, &mut pieces).unwrap();

    let mut expected = Vec::new();
    for row in &rows[first..first + pixels as usize] {
        for c in 0..i64::from(per_pixel) {
            let mut at = vec![i64::from(channel) + c];
            at.extend((0..rank - 2).map(|i| corner(row, i) + i64::from(tap[i] * convolution.dilation)));
            at.push(row[rank - 2]);
            expected.extend(memory.element(&at, fill));
        }
    }
    check_load(&map, &memory, &pieces, destination, mode, &expected);
    assert_eq!(TensorMap::from_bytes(&map.to_bytes()), Some(map));

    if tap.iter().all(|&tap| tap == 0) {
        let mut without = Vec::new();
        map.pieces(destination, &coords, &[], &mut without).unwrap();
        assert_eq!(without, pieces);
    }
}

#[test]
fn im2col_equals_the_rows_of_a_plain_im2col() {
    let mut random = Random(2);
    let mut checked = 0;
    for kernel in [1, 3, 7] {
        for stride in [1, 2] {
            for padding in [0, kernel / 2, kernel - 1] {
                for dilation in [1, 2] {
                    let convolution = Convolution { kernel, stride, padding: padding as i32, dilation };
                    for spatial in [&[9][..], &[16], &[9, 8], &[7, 10], &[7, 8, 9], &[8, 7, 7]] {
                        if spatial.iter().any(|&extent| convolution.outputs(extent) < 1) {
                            continue;
                        }
                        for channels in [8, 24, 64, 80] {
                            for images in [1, 3] {
                                check_im2col(&convolution, spatial, images, channels, &mut random);
                                checked += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(checked > 1000, "{checked}");
}

/// The values of 16 pixels of a 4 × 4 image 1…16, as the first element of each says.
fn sixteen_pixels(lower: [i32; 2], upper: [i32; 2], coords: [i32; 4], offsets: [u16; 2]) -> Vec<u32> {
    let map = TensorMap::im2col(&Im2col {
        tensor: Tensor {
            data_type: DataType::Float32,
            address: GLOBAL,
            dims: &[4, 4, 4, 1],
            strides: &[16, 64, 256],
            element_strides: &[1; 4],
            interleave: Interleave::None,
            swizzle: Swizzle::None,
            l2_promotion: L2Promotion::None,
            fill: Fill::Zero,
        },
        lower_corner: &lower,
        upper_corner: &upper,
        channels: 4,
        pixels: 16,
    })
    .unwrap();
    let mut pieces = Vec::new();
    map.pieces(0, &coords, &offsets, &mut pieces).unwrap();
    pieces.iter().map(|piece| piece.global.map_or(0, |global| (global - GLOBAL) as u32 / 16 + 1)).collect()
}

#[test]
fn im2col_agrees_with_what_is_published_of_the_hardware() {
    // Triton's Gluon tutorial on im2col mode shows these loads with their results on hardware.
    let all: Vec<u32> = (1..=16).collect();
    assert_eq!(sixteen_pixels([0, 0], [0, 0], [0, 0, 0, 0], [0, 0]), all);
    let padded = [0, 0, 0, 0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11];
    assert_eq!(sixteen_pixels([-1, -1], [-1, -1], [0, -1, -1, 0], [0, 0]), padded);
    // The bounding box moves with the offsets.
    assert_eq!(sixteen_pixels([-1, -1], [-1, -1], [0, -1, -1, 0], [1, 1]), all);
}
