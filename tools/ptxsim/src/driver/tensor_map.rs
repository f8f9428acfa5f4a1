//! Tensor maps (driver API, "Tensor Map Object Management").

use std::ffi::c_void;

use crate::async_copy::tensor_map::{
    ALIGNMENT, DataType, EncodeError, Fill, Im2col, Interleave, L2Promotion, SIZE, Swizzle, Tensor,
    TensorMap, Tiled,
};

use super::api::{api, refuse};
use super::argument::{In, Out};
use super::state::State;
use super::status::{Result, Status};

/// The largest rank of a tensor.
const MAX_RANK: usize = 5;

/// What both ways to encode a map have in common, as numbers.
struct Description {
    data_type: u32,
    address: u64,
    dims: Vec<u64>,
    strides: Vec<u64>,
    element_strides: Vec<u32>,
    interleave: u32,
    swizzle: u32,
    l2_promotion: u32,
    fill: u32,
}

impl Description {
    fn tensor(&self) -> Result<Tensor<'_>> {
        let unknown = |what: &str, value: u32| {
            refuse(
                Status::INVALID_VALUE,
                format_args!("{what} is {value}, which is none that CUDA 13.0 knows"),
            )
        };
        Ok(Tensor {
            data_type: DataType::from_raw(self.data_type)
                .ok_or_else(|| unknown("tensorDataType", self.data_type))?,
            address: self.address,
            dims: &self.dims,
            strides: &self.strides,
            element_strides: &self.element_strides,
            interleave: Interleave::from_raw(self.interleave)
                .ok_or_else(|| unknown("interleave", self.interleave))?,
            swizzle: Swizzle::from_raw(self.swizzle).ok_or_else(|| unknown("swizzle", self.swizzle))?,
            l2_promotion: L2Promotion::from_raw(self.l2_promotion)
                .ok_or_else(|| unknown("l2Promotion", self.l2_promotion))?,
            fill: Fill::from_raw(self.fill).ok_or_else(|| unknown("oobFill", self.fill))?,
        })
    }
}

/// The rank as a number of elements to read from the caller's arrays.
fn checked_rank(rank: u32) -> Result<usize> {
    match rank as usize {
        rank @ 1..=MAX_RANK => Ok(rank),
        _ => Err(refuse(
            Status::INVALID_VALUE,
            format_args!("tensorRank is {rank}; it is from 1 to {MAX_RANK}"),
        )),
    }
}

fn finish(s: &State, map: Out<[u8; SIZE]>, encoded: Result<TensorMap, EncodeError>) -> Result<()> {
    if s.machine.device.compute_capability() < (9, 0) {
        return Err(refuse(Status::NOT_SUPPORTED, "tensor maps need compute capability 9.0"));
    }
    if !(map.address() as u64).is_multiple_of(ALIGNMENT) {
        let what = format_args!("tensorMap is at {:#x}, not a multiple of {ALIGNMENT} bytes", map.address());
        return Err(refuse(Status::INVALID_VALUE, what));
    }
    map.put(encoded.map_err(|e| refuse(Status::INVALID_VALUE, e))?.to_bytes())
}

api! {
    /// Describes a tensor whose boxes are copied.
    fn cuTensorMapEncodeTiled(
        s;
        map: Out<[u8; SIZE]>,
        data_type: u32,
        rank: u32,
        address: *mut c_void,
        dims: In<u64>,
        strides: In<u64>,
        box_dims: In<u32>,
        element_strides: In<u32>,
        interleave: u32,
        swizzle: u32,
        l2_promotion: u32,
        fill: u32,
    ) {
        let rank = checked_rank(rank)?;
        let description = Description {
            data_type,
            address: address.addr() as u64,
            dims: dims.list(rank)?,
            strides: strides.list(rank - 1)?,
            element_strides: element_strides.list(rank)?,
            interleave,
            swizzle,
            l2_promotion,
            fill,
        };
        let box_dims = box_dims.list(rank)?;
        finish(&s, map, TensorMap::tiled(&Tiled { tensor: description.tensor()?, box_dims: &box_dims }))
    }

    /// Describes a tensor of images whose columns (pixels times channels) are copied.
    fn cuTensorMapEncodeIm2col(
        s;
        map: Out<[u8; SIZE]>,
        data_type: u32,
        rank: u32,
        address: *mut c_void,
        dims: In<u64>,
        strides: In<u64>,
        lower_corner: In<i32>,
        upper_corner: In<i32>,
        channels: u32,
        pixels: u32,
        element_strides: In<u32>,
        interleave: u32,
        swizzle: u32,
        l2_promotion: u32,
        fill: u32,
    ) {
        let rank = checked_rank(rank)?;
        let description = Description {
            data_type,
            address: address.addr() as u64,
            dims: dims.list(rank)?,
            strides: strides.list(rank - 1)?,
            element_strides: element_strides.list(rank)?,
            interleave,
            swizzle,
            l2_promotion,
            fill,
        };
        let corner = rank.saturating_sub(2);
        let (lower, upper) = (lower_corner.list(corner)?, upper_corner.list(corner)?);
        let tensor = description.tensor()?;
        let im2col = Im2col { tensor, lower_corner: &lower, upper_corner: &upper, channels, pixels };
        finish(&s, map, TensorMap::im2col(&im2col))
    }

    /// Changes the address of a tensor map.
    fn cuTensorMapReplaceAddress(s; map: Out<[u8; SIZE]>, address: *mut c_void) {
        let old = TensorMap::from_bytes(&map.get()?)
            .ok_or_else(|| refuse(Status::INVALID_VALUE, "tensorMap is not a tensor map"))?;
        finish(&s, map, old.with_address(address.addr() as u64))
    }
}
