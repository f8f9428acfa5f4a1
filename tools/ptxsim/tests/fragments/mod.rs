//! The fragments of matrix instructions, element by element after the formulas of the PTX ISA, of integer values.

// Each test uses a part of these.
#![allow(dead_code)]

use half::{bf16, f16};
use ptxsim::Row;

/// A seeded sequence of numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }

    pub fn integers(&mut self, count: usize, low: i64, high: i64) -> Vec<i64> {
        (0..count).map(|_| low + self.below((high - low + 1) as u64) as i64).collect()
    }
}

/// Bits of an integer as an element of a PTX type, and their number.
pub fn encode(name: &str, value: i64) -> (u32, u32) {
    match name {
        "f16" => (u32::from(f16::from_f32(value as f32).to_bits()), 16),
        "bf16" => (u32::from(bf16::from_f32(value as f32).to_bits()), 16),
        // The low bits must be ignored.
        "tf32" => ((value as f32).to_bits() | 0x155a, 32),
        "f32" => ((value as f32).to_bits(), 32),
        "s8" | "u8" => (value as u32 & 0xff, 8),
        "s32" => (value as u32, 32),
        _ => panic!("{name}"),
    }
}

pub fn decode(name: &str, bits: u32) -> i64 {
    match name {
        "f16" => f16::from_bits(bits as u16).to_f32() as i64,
        "f32" => f32::from_bits(bits) as i64,
        "s32" => i64::from(bits as i32),
        _ => panic!("{name}"),
    }
}

/// Registers of `count` elements a lane, element `i` of a lane being `value(lane, i)`.
pub fn pack(name: &str, count: usize, value: impl Fn(usize, usize) -> i64) -> Vec<Row> {
    let per_word = 32 / encode(name, 0).1 as usize;
    let mut rows = vec![[0u32; 32]; count / per_word];
    for lane in 0..32 {
        for i in 0..count {
            let (bits, width) = encode(name, value(lane, i));
            rows[i / per_word][lane] |= bits << (width * (i % per_word) as u32);
        }
    }
    rows
}

pub fn unpack(name: &str, rows: &[Row], lane: usize, i: usize) -> i64 {
    if name == "f16" {
        decode(name, rows[i / 2][lane] >> (16 * (i % 2)) & 0xffff)
    } else {
        decode(name, rows[i][lane])
    }
}

/// (row, column) of element `i` of A in `lane`, as the ISA writes it for each shape.
pub fn a_position(shape: &str, bits: u32, lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    match (shape, bits) {
        ("m16n8k8", 16) => (if i < 2 { group } else { group + 8 }, thread * 2 + (i & 1)),
        ("m16n8k16", 16) => (
            if i < 2 || (4..6).contains(&i) { group } else { group + 8 },
            thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 },
        ),
        ("m16n8k4", 32) => (if i == 0 { group } else { group + 8 }, thread),
        ("m16n8k8", 32) => {
            (if i == 0 || i == 2 { group } else { group + 8 }, if i < 2 { thread } else { thread + 4 })
        }
        ("m16n8k16", 8) => (if i < 4 { group } else { group + 8 }, thread * 4 + (i & 3)),
        ("m16n8k32", 8) => (
            if i < 4 || (8..12).contains(&i) { group } else { group + 8 },
            thread * 4 + (i & 3) + if i < 8 { 0 } else { 16 },
        ),
        _ => panic!("{shape} {bits}"),
    }
}

/// (row, column) of element `i` of B in `lane`.
pub fn b_position(shape: &str, bits: u32, lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    let row = match (shape, bits) {
        ("m16n8k8", 16) => thread * 2 + i,
        ("m16n8k16", 16) => thread * 2 + (i & 1) + if i < 2 { 0 } else { 8 },
        ("m16n8k4", 32) => thread,
        ("m16n8k8", 32) => thread + if i == 0 { 0 } else { 4 },
        ("m16n8k16", 8) => thread * 4 + (i & 3),
        ("m16n8k32", 8) => thread * 4 + (i & 3) + if i < 4 { 0 } else { 16 },
        _ => panic!("{shape} {bits}"),
    };
    (row, group)
}

/// (row, column) of element `i` of C and D in `lane`.
pub fn c_position(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    (if i < 2 { group } else { group + 8 }, thread * 2 + (i & 1))
}
