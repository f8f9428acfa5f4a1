//! Every refusal of the tensor map encoders, and the maps' way through memory.

use ptxsim::async_copy::tensor_map::{
    AccessError, DataType, EncodeError, Fill, Im2col, Interleave, L2Promotion, SIZE, Swizzle, Tensor,
    TensorMap, Tiled,
};

const GLOBAL: u64 = 0x7f00_0000_1000;

/// The arguments of both encoders, valid as they stand.
#[derive(Clone)]
struct Arguments {
    data_type: DataType,
    address: u64,
    dims: Vec<u64>,
    strides: Vec<u64>,
    element_strides: Vec<u32>,
    interleave: Interleave,
    swizzle: Swizzle,
    fill: Fill,
    box_dims: Vec<u32>,
    lower: Vec<i32>,
    upper: Vec<i32>,
    channels: u32,
    pixels: u32,
}

impl Arguments {
    fn of_rank(rank: usize) -> Arguments {
        Arguments {
            data_type: DataType::Bfloat16,
            address: GLOBAL,
            dims: vec![64; rank],
            strides: (1..rank).map(|i| 128 << (6 * (i - 1))).collect(),
            element_strides: vec![1; rank],
            interleave: Interleave::None,
            swizzle: Swizzle::Bytes128,
            fill: Fill::Zero,
            box_dims: vec![8; rank],
            lower: vec![-1; rank.saturating_sub(2)],
            upper: vec![-1; rank.saturating_sub(2)],
            channels: 64,
            pixels: 32,
        }
    }

    fn tensor(&self) -> Tensor<'_> {
        Tensor {
            data_type: self.data_type,
            address: self.address,
            dims: &self.dims,
            strides: &self.strides,
            element_strides: &self.element_strides,
            interleave: self.interleave,
            swizzle: self.swizzle,
            l2_promotion: L2Promotion::Bytes128,
            fill: self.fill,
        }
    }

    fn tiled(&self) -> Result<TensorMap, EncodeError> {
        TensorMap::tiled(&Tiled { tensor: self.tensor(), box_dims: &self.box_dims })
    }

    fn im2col(&self) -> Result<TensorMap, EncodeError> {
        TensorMap::im2col(&Im2col {
            tensor: self.tensor(),
            lower_corner: &self.lower,
            upper_corner: &self.upper,
            channels: self.channels,
            pixels: self.pixels,
        })
    }
}

/// A mistake, and the field, the value and a part of the rule that its refusal names.
type Mistake = (fn(&mut Arguments), &'static str, &'static str, &'static str);

type Encoder = fn(&Arguments) -> Result<TensorMap, EncodeError>;

/// Mistakes in rank 4 that both encoders refuse.
const COMMON: [Mistake; 21] = [
    (|a| a.strides.truncate(2), "globalStrides", "2 entries long", "3 entries"),
    (|a| a.element_strides.truncate(2), "elementStrides", "2 entries long", "4 entries"),
    (|a| a.data_type = DataType::Packed16U4Align8B, "tensorDataType", "16U4_ALIGN8B", "packed"),
    (|a| a.data_type = DataType::Packed16U4Align16B, "tensorDataType", "16U4_ALIGN16B", "packed"),
    (|a| a.data_type = DataType::Packed16U6Align16B, "tensorDataType", "16U6_ALIGN16B", "packed"),
    (|a| a.data_type = DataType::Float32Ftz, "tensorDataType", "FLOAT32_FTZ", "flushes or rounds"),
    (|a| a.data_type = DataType::Tfloat32, "tensorDataType", "TFLOAT32", "flushes or rounds"),
    (|a| a.interleave = Interleave::Bytes16, "interleave", "INTERLEAVE_16B", "not simulated"),
    (|a| a.interleave = Interleave::Bytes32, "interleave", "INTERLEAVE_32B", "not simulated"),
    (|a| a.swizzle = Swizzle::Bytes128Atom32, "swizzle", "128B_ATOM_32B", "10.0"),
    (|a| a.swizzle = Swizzle::Bytes128Atom32Flip8, "swizzle", "128B_ATOM_32B_FLIP_8B", "10.0"),
    (|a| a.swizzle = Swizzle::Bytes128Atom64, "swizzle", "128B_ATOM_64B", "10.0"),
    (
        |a| (a.data_type, a.fill) = (DataType::Uint16, Fill::Nan),
        "oobFill",
        "NAN_REQUEST_ZERO_FMA",
        "floating-point",
    ),
    (|a| a.address += 8, "globalAddress", "0x7f0000001008", "16-byte aligned"),
    (|a| a.dims[2] = 0, "globalDim[2]", "0", "1 to 2^32"),
    (|a| a.dims[1] = (1 << 32) + 1, "globalDim[1]", "4294967297", "1 to 2^32"),
    (|a| a.strides[1] = 8200, "globalStrides[1]", "8200", "multiple of 16"),
    (|a| a.strides[2] = 1 << 40, "globalStrides[2]", "1099511627776", "less than 2^40"),
    (|a| a.element_strides[3] = 0, "elementStrides[3]", "0", "1 to 8"),
    (|a| a.element_strides[1] = 9, "elementStrides[1]", "9", "1 to 8"),
    (|a| (a.dims, a.strides) = (vec![1; 6], vec![16; 5]), "tensorRank", "6", "5"),
];

const TILED: [Mistake; 7] = [
    (|a| *a = Arguments { dims: vec![], ..a.clone() }, "tensorRank", "0", "1 to 5"),
    (|a| a.box_dims.truncate(3), "boxDim", "3 entries long", "4 entries"),
    (|a| a.box_dims[3] = 0, "boxDim[3]", "0", "1 to 256"),
    (|a| a.box_dims[1] = 257, "boxDim[1]", "257", "1 to 256"),
    (|a| (a.swizzle, a.box_dims[0]) = (Swizzle::None, 257), "boxDim[0]", "257", "1 to 256"),
    (|a| a.box_dims[0] = 12, "boxDim[0]", "12", "is 24, and must be a multiple of 16"),
    (|a| (a.swizzle, a.box_dims[0]) = (Swizzle::Bytes32, 24), "boxDim[0]", "24", "is 48, more than the 32"),
];

const IM2COL: [Mistake; 14] = [
    (|a| *a = Arguments::of_rank(2), "tensorRank", "2", "3 to 5"),
    (|a| a.lower.truncate(1), "pixelBoxLowerCorner", "1 entries long", "2 entries"),
    (|a| a.upper.push(0), "pixelBoxUpperCorner", "3 entries long", "2 entries"),
    (|a| a.lower[1] = -129, "pixelBoxLowerCorner[1]", "-129", "-128 to 127 for rank 4"),
    (|a| a.upper[0] = 128, "pixelBoxUpperCorner[0]", "128", "-128 to 127 for rank 4"),
    (
        |a| *a = Arguments { lower: vec![-32769], ..Arguments::of_rank(3) },
        "pixelBoxLowerCorner[0]",
        "-32769",
        "-32768 to 32767",
    ),
    (
        |a| *a = Arguments { upper: vec![0, 0, 16], ..Arguments::of_rank(5) },
        "pixelBoxUpperCorner[2]",
        "16",
        "-16 to 15",
    ),
    (|a| (a.lower[1], a.upper[1]) = (4, -60), "pixelBoxUpperCorner[1]", "-60", "0 wide"),
    (|a| a.channels = 0, "channelsPerPixel", "0", "1 to 256"),
    (|a| (a.swizzle, a.channels) = (Swizzle::None, 264), "channelsPerPixel", "264", "1 to 256"),
    (|a| a.channels = 20, "channelsPerPixel", "20", "is 40, and must be a multiple of 16"),
    (|a| a.channels = 72, "channelsPerPixel", "72", "is 144, more than the 128"),
    (|a| a.pixels = 0, "pixelsPerColumn", "0", "1 to 1024"),
    (|a| a.pixels = 1025, "pixelsPerColumn", "1025", "1 to 1024"),
];

#[test]
fn each_rule_of_the_encoders_refuses_by_name() {
    let encoders: [Encoder; 2] = [Arguments::tiled, Arguments::im2col];
    let mistakes = COMMON.iter().flat_map(|mistake| encoders.map(|encoder| (encoder, mistake)));
    let mistakes = mistakes.chain(TILED.iter().map(|mistake| (encoders[0], mistake)));
    let mistakes = mistakes.chain(IM2COL.iter().map(|mistake| (encoders[1], mistake)));
    for (encode, (spoil, field, value, rule)) in mistakes {
        let mut arguments = Arguments::of_rank(4);
        encode(&arguments).unwrap();
        spoil(&mut arguments);
        let error = encode(&arguments).expect_err(field);
        assert_eq!(error.field, *field);
        assert!(error.value.contains(value) && error.rule.contains(rule), "{error}");
        assert_eq!(
            error.to_string(),
            format!("{}: {}", format_args!("{field} is {}", error.value), error.rule)
        );
    }
}

#[test]
fn the_largest_values_are_accepted() {
    let mut arguments = Arguments::of_rank(5);
    arguments.dims = vec![1 << 32; 5];
    arguments.strides = vec![(1 << 40) - 16; 4];
    arguments.element_strides = vec![8; 5];
    arguments.box_dims = vec![64, 256, 256, 256, 256];
    let map = arguments.tiled().unwrap();
    assert_eq!(map.box_bytes(), 128 * 32 * 32 * 32 * 32);
    assert_eq!(TensorMap::from_bytes(&map.to_bytes()), Some(map));
    let error = map.pieces(0, &[0; 5], &[], &mut Vec::new()).unwrap_err();
    assert_eq!(error, AccessError::TooLarge { bytes: 128 << 20 });
    arguments.element_strides = vec![1; 5];
    assert_eq!(arguments.tiled().unwrap().box_bytes(), u32::MAX);
    (arguments.lower, arguments.upper) = (vec![-16; 3], vec![15; 3]);
    (arguments.swizzle, arguments.channels, arguments.pixels) = (Swizzle::None, 256, 1024);
    let map = arguments.im2col().unwrap();
    assert_eq!(map.box_bytes(), 256 * 1024 * 2);
    assert_eq!(TensorMap::from_bytes(&map.to_bytes()), Some(map));
    arguments.channels = 64;
    let map = arguments.im2col().unwrap();
    assert_eq!(TensorMap::from_bytes(&map.to_bytes()), Some(map));
    // At the far end of everything, arithmetic wraps instead of failing.
    map.pieces(u32::MAX, &[i32::MAX; 5], &[31; 3], &mut Vec::new()).unwrap();
    map.pieces(0, &[i32::MIN; 5], &[], &mut Vec::new()).unwrap();
}

#[test]
fn instructions_that_do_not_fit_the_map_are_refused() {
    let tiled = Arguments::of_rank(4).tiled().unwrap();
    let im2col = Arguments::of_rank(4).im2col().unwrap();
    assert!(!tiled.is_im2col() && im2col.is_im2col());
    let deep = Arguments::of_rank(5).im2col().unwrap();
    let flat = Arguments::of_rank(3).im2col().unwrap();
    let mut out = Vec::new();
    let mut refused = |map: &TensorMap, coords: &[i32], offsets: &[u16]| {
        let error = map.pieces(0, coords, offsets, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    };
    assert_eq!(refused(&tiled, &[0; 3], &[]), AccessError::Coordinates { found: 3, rank: 4 });
    assert_eq!(refused(&tiled, &[0; 4], &[0, 0]), AccessError::Offsets { found: 2, expected: 0 });
    assert_eq!(refused(&im2col, &[0; 4], &[0]), AccessError::Offsets { found: 1, expected: 2 });
    assert_eq!(
        refused(&im2col, &[0; 4], &[0, 256]),
        AccessError::OffsetRange { offset: 256, rank: 4, limit: 255 }
    );
    assert_eq!(
        refused(&deep, &[0; 5], &[0, 32, 0]),
        AccessError::OffsetRange { offset: 32, rank: 5, limit: 31 }
    );
    assert_eq!(flat.pieces(0, &[0; 3], &[u16::MAX], &mut out), Ok(()));
}

#[test]
fn a_map_survives_memory_and_garbage_is_none() {
    for rank in 1..=5 {
        let map = Arguments::of_rank(rank).tiled().unwrap();
        let bytes = map.to_bytes();
        assert_eq!(TensorMap::from_bytes(&bytes), Some(map));
        for bit in 0..8 * SIZE {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(TensorMap::from_bytes(&changed), None, "bit {bit}");
        }
        let moved = map.with_address(GLOBAL + 16).unwrap();
        assert_eq!((moved.address(), moved.rank()), (GLOBAL + 16, rank));
        assert!(map.with_address(GLOBAL + 1).is_err());
    }
    assert_eq!(TensorMap::from_bytes(&[0; SIZE]), None);
}

#[test]
fn bytes_with_a_right_checksum_are_still_checked() {
    let bytes = Arguments::of_rank(3).im2col().unwrap().to_bytes();
    let mut accepted = 0;
    for at in 8..SIZE - 4 {
        for value in 0..=255u8 {
            let mut changed = bytes;
            changed[at] = value;
            let hash = changed[..SIZE - 4]
                .iter()
                .fold(0x811c_9dc5u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
            changed[SIZE - 4..].copy_from_slice(&hash.to_le_bytes());
            // Whatever is accepted must be usable.
            if let Some(map) = TensorMap::from_bytes(&changed) {
                accepted += 1;
                let mut pieces = Vec::new();
                if map.pieces(0, &vec![-1; map.rank()], &[], &mut pieces).is_ok() {
                    assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u32>(), map.box_bytes());
                }
            }
        }
    }
    assert!(accepted > SIZE - 12, "{accepted}");
}
