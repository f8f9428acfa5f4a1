//! Validation and encoding of tensor maps.

use super::{DataType, Fill, Im2col, Interleave, L2Promotion, Mode, SIZE, Swizzle, Tensor, TensorMap, Tiled};
use std::fmt::Display;

/// Why the driver refuses to encode a tensor map (`CUDA_ERROR_INVALID_VALUE`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: {rule}")]
pub struct EncodeError {
    /// The argument, with its index if it is an array.
    pub field: String,
    /// Its value.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
}

fn require(
    holds: bool,
    field: impl Display,
    value: impl Display,
    rule: impl Display,
) -> Result<(), EncodeError> {
    if holds {
        return Ok(());
    }
    Err(EncodeError { field: field.to_string(), value: value.to_string(), rule: rule.to_string() })
}

fn require_length<T>(field: &str, array: &[T], expected: usize) -> Result<(), EncodeError> {
    let rule = format_args!("this tensor's rank asks for {expected} entries");
    require(array.len() == expected, field, format_args!("{} entries long", array.len()), rule)
}

/// The first entries of an array, the rest filled up.
fn filled<T: Copy, const N: usize>(values: &[T], rest: T) -> [T; N] {
    std::array::from_fn(|i| values.get(i).copied().unwrap_or(rest))
}

/// The checks that both kinds of map share; `ranks` are those allowed, `inner` the elements of a box along dimension
/// 0 and the name of that argument.
fn check_tensor(
    tensor: &Tensor,
    ranks: std::ops::RangeInclusive<usize>,
    inner: (&str, u32),
) -> Result<(), EncodeError> {
    let rank = tensor.dims.len();
    let rule = format_args!("must be {} to {}", ranks.start(), ranks.end());
    require(ranks.contains(&rank), "tensorRank", rank, rule)?;
    require_length("globalStrides", tensor.strides, rank - 1)?;
    require_length("elementStrides", tensor.element_strides, rank)?;

    let data_type = tensor.data_type;
    let Some(size) = data_type.size() else {
        return require(false, "tensorDataType", data_type, "packed 4- and 6-bit types are not simulated");
    };
    let converts = matches!(data_type, DataType::Float32Ftz | DataType::Tfloat32 | DataType::Tfloat32Ftz);
    let rule = "types that the copy flushes or rounds are not simulated";
    require(!converts, "tensorDataType", data_type, rule)?;
    let rule = "interleaved layouts are not simulated";
    require(tensor.interleave == Interleave::None, "interleave", tensor.interleave, rule)?;
    let atoms = [Swizzle::Bytes128Atom32, Swizzle::Bytes128Atom32Flip8, Swizzle::Bytes128Atom64];
    let rule = "needs compute capability 10.0";
    require(!atoms.contains(&tensor.swizzle), "swizzle", tensor.swizzle, rule)?;
    let rule = "only a floating-point data type can be filled with NaN";
    require(tensor.fill == Fill::Zero || data_type.is_float(), "oobFill", tensor.fill, rule)?;

    let address = format_args!("{:#x}", tensor.address);
    require(tensor.address.is_multiple_of(16), "globalAddress", address, "must be 16-byte aligned")?;
    for (i, &dim) in tensor.dims.iter().enumerate() {
        let rule = "must be 1 to 2^32";
        require((1..=1 << 32).contains(&dim), format_args!("globalDim[{i}]"), dim, rule)?;
    }
    for (i, &stride) in tensor.strides.iter().enumerate() {
        let field = format_args!("globalStrides[{i}]");
        require(stride.is_multiple_of(16), field, stride, "must be a multiple of 16 bytes")?;
        require(stride < 1 << 40, field, stride, "must be less than 2^40")?;
    }
    for (i, &stride) in tensor.element_strides.iter().enumerate() {
        let field = format_args!("elementStrides[{i}]");
        require((1..=8).contains(&stride), field, stride, "must be 1 to 8")?;
    }

    let (field, elements) = inner;
    require((1..=256).contains(&elements), field, elements, "must be 1 to 256")?;
    let bytes = elements * size;
    let rule = format_args!("times {size} bytes is {bytes}, and must be a multiple of 16");
    require(bytes.is_multiple_of(16), field, elements, rule)?;
    if let Some(span) = tensor.swizzle.span() {
        let rule = format_args!("times {size} bytes is {bytes}, more than the {span} of {}", tensor.swizzle);
        require(bytes <= span, field, elements, rule)?;
    }
    Ok(())
}

impl TensorMap {
    /// Encodes a tensor map for copies in tile mode.
    ///
    /// The strides' order and their size against the dimensions are free, as for the driver.
    ///
    /// # Errors
    /// The first rule of `cuTensorMapEncodeTiled` that does not hold, and what is not simulated: interleaved layouts,
    /// packed types, types that convert, and the swizzles of compute capability 10.0.
    pub fn tiled(tiled: &Tiled) -> Result<TensorMap, EncodeError> {
        check_tensor(&tiled.tensor, 1..=5, ("boxDim[0]", tiled.box_dims.first().copied().unwrap_or(0)))?;
        require_length("boxDim", tiled.box_dims, tiled.tensor.dims.len())?;
        for (i, &dim) in tiled.box_dims.iter().enumerate() {
            require((1..=256).contains(&dim), format_args!("boxDim[{i}]"), dim, "must be 1 to 256")?;
        }
        Ok(TensorMap::new(&tiled.tensor, Mode::Tiled { box_dims: filled(tiled.box_dims, 1) }))
    }

    /// Encodes a tensor map for copies in im2col mode.
    ///
    /// # Errors
    /// The first rule of `cuTensorMapEncodeIm2col` that does not hold, and what is not simulated, as for
    /// [`TensorMap::tiled`].
    pub fn im2col(im2col: &Im2col) -> Result<TensorMap, EncodeError> {
        let Im2col { tensor, lower_corner, upper_corner, channels, pixels } = *im2col;
        check_tensor(&tensor, 3..=5, ("channelsPerPixel", channels))?;
        let rank = tensor.dims.len();
        let range = match rank {
            3 => -32768..=32767,
            4 => -128..=127,
            _ => -16..=15,
        };
        let corners = [("pixelBoxLowerCorner", lower_corner), ("pixelBoxUpperCorner", upper_corner)];
        for (field, corner) in corners {
            require_length(field, corner, rank - 2)?;
            for (i, offset) in corner.iter().enumerate() {
                let rule = format_args!("must be {} to {} for rank {rank}", range.start(), range.end());
                require(range.contains(offset), format_args!("{field}[{i}]"), offset, rule)?;
            }
        }
        for (i, (&lower, &upper)) in lower_corner.iter().zip(upper_corner).enumerate() {
            let extent = tensor.dims[i + 1] as i64 + i64::from(upper) - i64::from(lower);
            let rule = format_args!(
                "with lower corner {lower} the bounding box is {extent} wide, and must not be empty"
            );
            require(extent > 0, format_args!("pixelBoxUpperCorner[{i}]"), upper, rule)?;
        }
        require((1..=1024).contains(&pixels), "pixelsPerColumn", pixels, "must be 1 to 1024")?;
        let (lower, upper) = (filled(lower_corner, 0), filled(upper_corner, 0));
        Ok(TensorMap::new(&tensor, Mode::Im2col { lower, upper, channels, pixels }))
    }

    fn new(tensor: &Tensor, mode: Mode) -> TensorMap {
        TensorMap {
            data_type: tensor.data_type,
            interleave: tensor.interleave,
            swizzle: tensor.swizzle,
            l2_promotion: tensor.l2_promotion,
            fill: tensor.fill,
            address: tensor.address,
            rank: tensor.dims.len(),
            dims: filled(tensor.dims, 1),
            strides: filled(tensor.strides, 0),
            element_strides: filled(tensor.element_strides, 1),
            mode,
        }
    }

    fn tensor(&self) -> Tensor<'_> {
        Tensor {
            data_type: self.data_type,
            address: self.address,
            dims: &self.dims[..self.rank],
            strides: &self.strides[..self.rank - 1],
            element_strides: &self.element_strides[..self.rank],
            interleave: self.interleave,
            swizzle: self.swizzle,
            l2_promotion: self.l2_promotion,
            fill: self.fill,
        }
    }

    /// The same map over a tensor at another address, as `cuTensorMapReplaceAddress` makes it.
    ///
    /// # Errors
    /// If the address is not aligned.
    pub fn with_address(&self, address: u64) -> Result<TensorMap, EncodeError> {
        let map = TensorMap { address, ..*self };
        match &map.mode {
            Mode::Tiled { box_dims } => {
                TensorMap::tiled(&Tiled { tensor: map.tensor(), box_dims: &box_dims[..map.rank] })
            }
            Mode::Im2col { lower, upper, channels, pixels } => TensorMap::im2col(&Im2col {
                tensor: map.tensor(),
                lower_corner: &lower[..map.rank - 2],
                upper_corner: &upper[..map.rank - 2],
                channels: *channels,
                pixels: *pixels,
            }),
        }
    }

    /// The map as it lies in memory: what a kernel is given. Only [`TensorMap::from_bytes`] can read it.
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut writer = Writer { bytes: [0; SIZE], at: 0 };
        writer.put(MAGIC);
        let mode = matches!(self.mode, Mode::Im2col { .. }) as u8;
        writer.put([mode, self.rank as u8, self.data_type as u8, self.interleave as u8]);
        writer.put([self.swizzle as u8, self.l2_promotion as u8, self.fill as u8, 0]);
        writer.put(self.address.to_le_bytes());
        self.dims.iter().for_each(|dim| writer.put((dim.wrapping_sub(1) as u32).to_le_bytes()));
        self.strides.iter().for_each(|stride| writer.put(stride.to_le_bytes()));
        writer.put(self.element_strides.map(|stride| stride as u8));
        match self.mode {
            Mode::Tiled { box_dims } => {
                box_dims.iter().for_each(|&dim| writer.put((dim as u16).to_le_bytes()))
            }
            Mode::Im2col { lower, upper, channels, pixels } => {
                lower.iter().chain(&upper).for_each(|&offset| writer.put((offset as i16).to_le_bytes()));
                writer.put((channels as u16).to_le_bytes());
                writer.put((pixels as u16).to_le_bytes());
            }
        }
        let checksum = checksum(&writer.bytes);
        writer.at = SIZE - 4;
        writer.put(checksum.to_le_bytes());
        writer.bytes
    }

    /// Reads a map back; `None` if these are not the bytes of one.
    pub fn from_bytes(bytes: &[u8; SIZE]) -> Option<TensorMap> {
        let mut reader = Reader(bytes);
        if reader.take()? != MAGIC || bytes.last_chunk()? != &checksum(bytes).to_le_bytes() {
            return None;
        }
        let [mode, rank, data_type, interleave, swizzle, l2_promotion, fill, _] = reader.take()?;
        let rank = usize::from(rank);
        let address = u64::from_le_bytes(reader.take()?);
        let mut dims = [0; 5];
        for dim in &mut dims {
            *dim = u64::from(u32::from_le_bytes(reader.take()?)) + 1;
        }
        let mut strides = [0; 4];
        for stride in &mut strides {
            *stride = u64::from_le_bytes(reader.take()?);
        }
        let element_strides: [u8; 5] = reader.take()?;
        let element_strides = element_strides.map(u32::from);
        let tensor = Tensor {
            data_type: DataType::from_raw(data_type.into())?,
            address,
            dims: dims.get(..rank)?,
            strides: strides.get(..rank.checked_sub(1)?)?,
            element_strides: element_strides.get(..rank)?,
            interleave: Interleave::from_raw(interleave.into())?,
            swizzle: Swizzle::from_raw(swizzle.into())?,
            l2_promotion: L2Promotion::from_raw(l2_promotion.into())?,
            fill: Fill::from_raw(fill.into())?,
        };
        if mode == 0 {
            let mut box_dims = [0; 5];
            for dim in &mut box_dims {
                *dim = u32::from(u16::from_le_bytes(reader.take()?));
            }
            return TensorMap::tiled(&Tiled { tensor, box_dims: box_dims.get(..rank)? }).ok();
        }
        let mut corners = [0; 6];
        for offset in &mut corners {
            *offset = i32::from(i16::from_le_bytes(reader.take()?));
        }
        let (lower, upper) = corners.split_at(3);
        let spatial = rank.checked_sub(2)?;
        let im2col = Im2col {
            tensor,
            lower_corner: lower.get(..spatial)?,
            upper_corner: upper.get(..spatial)?,
            channels: u16::from_le_bytes(reader.take()?).into(),
            pixels: u16::from_le_bytes(reader.take()?).into(),
        };
        TensorMap::im2col(&im2col).ok()
    }
}

const MAGIC: [u8; 8] = *b"ptxsimTM";

/// FNV-1a of everything before the checksum itself.
fn checksum(bytes: &[u8; SIZE]) -> u32 {
    bytes[..SIZE - 4]
        .iter()
        .fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

struct Writer {
    bytes: [u8; SIZE],
    at: usize,
}

impl Writer {
    fn put<const N: usize>(&mut self, value: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(self.at..self.at + N) {
            place.copy_from_slice(&value);
        }
        self.at += N;
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*value)
    }
}
