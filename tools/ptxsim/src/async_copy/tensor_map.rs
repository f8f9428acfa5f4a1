//! Tensor maps, which `cp.async.bulk.tensor` copies by (PTX ISA, section "Tensors"; CUDA driver API, "Tensor Map
//! Object Management").
//!
//! A [`TensorMap`] is made by [`TensorMap::tiled`] or [`TensorMap::im2col`], which check what
//! `cuTensorMapEncodeTiled` and `cuTensorMapEncodeIm2col` document. It travels through memory as 128 opaque bytes,
//! in an encoding of this crate's own, and tells for each copy the [`Piece`]s to move.

mod encode;
mod pieces;

pub use encode::EncodeError;
pub use pieces::{AccessError, Piece};

/// Size of a tensor map in memory, in bytes.
pub const SIZE: usize = 128;
/// Alignment of a tensor map in memory, in bytes.
pub const ALIGNMENT: u64 = 64;
/// Alignment of a box in shared memory, in bytes.
pub const SHARED_ALIGNMENT: u32 = 128;

/// Defines an enumeration of the driver API with its numbers and names.
macro_rules! driver_enum {
    ($(#[$doc:meta])* $name:ident, $($(#[$variant_doc:meta])* $variant:ident = $value:literal $text:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* #[doc = concat!("`CU_TENSOR_MAP_", $text, "`")] $variant = $value),+
        }

        impl $name {
            /// The value with this number in the driver API.
            pub fn from_raw(raw: u32) -> Option<$name> {
                match raw {
                    $($value => Some($name::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str(match self {
                    $($name::$variant => concat!("CU_TENSOR_MAP_", $text)),+
                })
            }
        }
    };
}

driver_enum! {
    /// `CUtensorMapDataType`: type of a tensor's elements.
    DataType,
    Uint8 = 0 "DATA_TYPE_UINT8",
    Uint16 = 1 "DATA_TYPE_UINT16",
    Uint32 = 2 "DATA_TYPE_UINT32",
    Int32 = 3 "DATA_TYPE_INT32",
    Uint64 = 4 "DATA_TYPE_UINT64",
    Int64 = 5 "DATA_TYPE_INT64",
    Float16 = 6 "DATA_TYPE_FLOAT16",
    Float32 = 7 "DATA_TYPE_FLOAT32",
    Float64 = 8 "DATA_TYPE_FLOAT64",
    Bfloat16 = 9 "DATA_TYPE_BFLOAT16",
    Float32Ftz = 10 "DATA_TYPE_FLOAT32_FTZ",
    Tfloat32 = 11 "DATA_TYPE_TFLOAT32",
    Tfloat32Ftz = 12 "DATA_TYPE_TFLOAT32_FTZ",
    Packed16U4Align8B = 13 "DATA_TYPE_16U4_ALIGN8B",
    Packed16U4Align16B = 14 "DATA_TYPE_16U4_ALIGN16B",
    Packed16U6Align16B = 15 "DATA_TYPE_16U6_ALIGN16B",
}

impl DataType {
    /// Size of an element in bytes; `None` for the packed types, whose elements are smaller.
    pub fn size(self) -> Option<u32> {
        use DataType::*;
        match self {
            Uint8 => Some(1),
            Uint16 | Float16 | Bfloat16 => Some(2),
            Uint32 | Int32 | Float32 | Float32Ftz | Tfloat32 | Tfloat32Ftz => Some(4),
            Uint64 | Int64 | Float64 => Some(8),
            Packed16U4Align8B | Packed16U4Align16B | Packed16U6Align16B => None,
        }
    }

    /// Whether elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        use DataType::*;
        matches!(self, Float16 | Float32 | Float64 | Bfloat16 | Float32Ftz | Tfloat32 | Tfloat32Ftz)
    }
}

driver_enum! {
    /// `CUtensorMapInterleave`: layout of the tensor in global memory.
    Interleave,
    None = 0 "INTERLEAVE_NONE",
    Bytes16 = 1 "INTERLEAVE_16B",
    Bytes32 = 2 "INTERLEAVE_32B",
}

driver_enum! {
    /// `CUtensorMapSwizzle`: how the chunks of a box are permuted in shared memory.
    Swizzle,
    None = 0 "SWIZZLE_NONE",
    Bytes32 = 1 "SWIZZLE_32B",
    Bytes64 = 2 "SWIZZLE_64B",
    Bytes128 = 3 "SWIZZLE_128B",
    Bytes128Atom32 = 4 "SWIZZLE_128B_ATOM_32B",
    Bytes128Atom32Flip8 = 5 "SWIZZLE_128B_ATOM_32B_FLIP_8B",
    Bytes128Atom64 = 6 "SWIZZLE_128B_ATOM_64B",
}

impl Swizzle {
    /// Width in bytes within which chunks are permuted: the most that a box may span along its first dimension.
    /// `None` without a swizzle.
    pub fn span(self) -> Option<u32> {
        match self {
            Swizzle::None => None,
            Swizzle::Bytes32 => Some(32),
            Swizzle::Bytes64 => Some(64),
            _ => Some(128),
        }
    }
}

driver_enum! {
    /// `CUtensorMapL2promotion`: a hint, without effect here.
    L2Promotion,
    None = 0 "L2_PROMOTION_NONE",
    Bytes64 = 1 "L2_PROMOTION_L2_64B",
    Bytes128 = 2 "L2_PROMOTION_L2_128B",
    Bytes256 = 3 "L2_PROMOTION_L2_256B",
}

driver_enum! {
    /// `CUtensorMapFloatOOBfill`: what elements outside the tensor are read as.
    Fill,
    /// Zero:
    Zero = 0 "FLOAT_OOB_FILL_NONE",
    /// Not a number:
    Nan = 1 "FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA",
}

/// What both kinds of tensor map describe: the tensor in global memory. Dimension 0 is the innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Type of the elements.
    pub data_type: DataType,
    /// Global address of the first element.
    pub address: u64,
    /// `globalDim`: elements along each dimension; its length is the rank.
    pub dims: &'a [u64],
    /// `globalStrides`: bytes from one element to the next along dimensions 1, 2, …; one fewer than `dims`.
    pub strides: &'a [u64],
    /// `elementStrides`: step between the elements read along each dimension; the first is ignored.
    pub element_strides: &'a [u32],
    /// Layout in global memory.
    pub interleave: Interleave,
    /// Layout in shared memory.
    pub swizzle: Swizzle,
    /// Caching hint.
    pub l2_promotion: L2Promotion,
    /// Value of elements outside the tensor.
    pub fill: Fill,
}

/// The arguments of `cuTensorMapEncodeTiled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiled<'a> {
    /// The tensor.
    pub tensor: Tensor<'a>,
    /// `boxDim`: elements that a box spans along each dimension.
    pub box_dims: &'a [u32],
}

/// The arguments of `cuTensorMapEncodeIm2col`: of a tensor C, W, N or C, W, H, N or C, W, H, D, N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Im2col<'a> {
    /// The tensor.
    pub tensor: Tensor<'a>,
    /// `pixelBoxLowerCorner`: first pixel of the bounding box, relative to the image's first, in the order W, H, D.
    pub lower_corner: &'a [i32],
    /// `pixelBoxUpperCorner`: last pixel of the bounding box, relative to the image's last, in the order W, H, D.
    pub upper_corner: &'a [i32],
    /// `channelsPerPixel`: elements along C.
    pub channels: u32,
    /// `pixelsPerColumn`: pixels, counted across W, H, D and N.
    pub pixels: u32,
}

/// A tensor map that was found valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMap {
    data_type: DataType,
    interleave: Interleave,
    swizzle: Swizzle,
    l2_promotion: L2Promotion,
    fill: Fill,
    address: u64,
    /// Of the arrays, so many entries count; the others are as for extent 1.
    rank: usize,
    dims: [u64; 5],
    strides: [u64; 4],
    element_strides: [u32; 5],
    mode: Mode,
}

/// What one copy reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Tiled { box_dims: [u32; 5] },
    Im2col { lower: [i32; 3], upper: [i32; 3], channels: u32, pixels: u32 },
}

impl TensorMap {
    /// Type of the elements.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Dimensions of the tensor.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Global address of the tensor.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Whether copies are in im2col mode, and not in tile mode.
    pub fn is_im2col(&self) -> bool {
        matches!(self.mode, Mode::Im2col { .. })
    }

    /// Size of an element in bytes.
    pub fn element_bytes(&self) -> u32 {
        self.data_type.size().unwrap_or(1)
    }

    /// The bytes of elements outside the tensor: eight bytes to be repeated, little-endian, from the start of a piece.
    pub fn fill_bits(&self) -> u64 {
        match (self.fill, self.element_bytes()) {
            (Fill::Zero, _) => 0,
            (Fill::Nan, 2) => 0x7fff_7fff_7fff_7fff,
            (Fill::Nan, 4) => 0x7fff_ffff_7fff_ffff,
            (Fill::Nan, _) => 0x7fff_ffff_ffff_ffff,
        }
    }
}
