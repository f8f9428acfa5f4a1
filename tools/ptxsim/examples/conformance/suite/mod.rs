//! The cases, by family.

pub mod approximate;
pub mod atomic;
pub mod barrier;
pub mod bits;
pub mod case;
pub mod compare;
pub mod control;
pub mod convert;
pub mod copy;
pub mod data;
pub mod element;
pub mod exact;
pub mod expected;
pub mod float;
pub mod fragment;
pub mod im2col;
pub mod integer;
pub mod machine;
pub mod map;
pub mod matrix;
pub mod memory;
pub mod mma;
pub mod ptx;
pub mod tensor;
pub mod warp;
pub mod wgmma;

use case::Case;

/// Every case, in an order that stays.
pub fn cases() -> Vec<Case> {
    let families = [
        integer::cases,
        bits::cases,
        float::cases,
        float::half_cases,
        approximate::cases,
        convert::cases,
        compare::cases,
        control::cases,
        warp::cases,
        memory::cases,
        atomic::cases,
        matrix::cases,
        mma::cases,
        barrier::cases,
        tensor::cases,
        im2col::cases,
        wgmma::cases,
        copy::cases,
    ];
    families.iter().flat_map(|family| family()).collect()
}
