//! `mma.sync` against a plain triple loop, and `ldmatrix` with its relatives. Operands are integers, so that results are
//! exact.

mod fragments;

use fragments::{Random, a_position, b_position, c_position, encode, pack, unpack};
use ptxsim::Row;
use ptxsim::tensor_core::matrix;
use ptxsim::tensor_core::mma::Mma;

fn check_mma(shape: &str, k: usize, a_type: &str, b_type: &str, d_type: &str, seed: u64) {
    let form = ["sync", "aligned", shape, "row", "col", d_type, a_type, b_type, d_type];
    let mma = Mma::parse(&form).unwrap_or_else(|| panic!("{form:?}"));
    assert_eq!(mma.macs(), (16 * 8 * k) as u64);
    let mut random = Random(seed);
    let range = |name: &str| match name {
        "s8" => (-128, 127),
        "u8" => (0, 255),
        _ => (-8, 8),
    };
    let a = random.integers(16 * k, range(a_type).0, range(a_type).1);
    let b = random.integers(k * 8, range(b_type).0, range(b_type).1);
    let c = random.integers(16 * 8, -100, 100);
    let bits = encode(a_type, 0).1;
    let a_rows = pack(a_type, 16 * k / 32, |lane, i| {
        let (row, column) = a_position(shape, bits, lane, i);
        a[row * k + column]
    });
    let b_rows = pack(b_type, 8 * k / 32, |lane, i| {
        let (row, column) = b_position(shape, bits, lane, i);
        b[row * 8 + column]
    });
    let c_rows = pack(d_type, 4, |lane, i| {
        let (row, column) = c_position(lane, i);
        c[row * 8 + column]
    });
    let counts = (c_rows.len(), a_rows.len(), b_rows.len(), c_rows.len());
    assert_eq!(mma.registers(), counts, "{form:?}");
    let mut d = vec![[0xdead_beef; 32]; counts.0];
    mma.run(&a_rows, &b_rows, &c_rows, &mut d);
    for lane in 0..32 {
        for i in 0..4 {
            let (row, column) = c_position(lane, i);
            let product: i64 = (0..k).map(|k_| a[row * k + k_] * b[k_ * 8 + column]).sum();
            let expected = c[row * 8 + column] + product;
            assert_eq!(unpack(d_type, &d, lane, i), expected, "{form:?} row {row} column {column}");
        }
    }
}

#[test]
fn mma_equals_a_triple_loop() {
    for seed in 0..20 {
        for (shape, k) in [("m16n8k8", 8), ("m16n8k16", 16)] {
            check_mma(shape, k, "f16", "f16", "f16", seed);
            check_mma(shape, k, "f16", "f16", "f32", seed);
            check_mma(shape, k, "bf16", "bf16", "f32", seed);
        }
        check_mma("m16n8k4", 4, "tf32", "tf32", "f32", seed);
        check_mma("m16n8k8", 8, "tf32", "tf32", "f32", seed);
        for (shape, k) in [("m16n8k16", 16), ("m16n8k32", 32)] {
            for (a, b) in [("s8", "s8"), ("u8", "u8"), ("s8", "u8"), ("u8", "s8")] {
                check_mma(shape, k, a, b, "s32", seed);
            }
        }
    }
}

/// An `mma.sync` compiled for the vectors of this machine.
struct Vectorised<'a>(Mma, &'a [Row; 4], &'a [Row; 2], &'a [Row; 4]);

impl pulp::WithSimd for Vectorised<'_> {
    type Output = Option<[Row; 4]>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Option<[Row; 4]> {
        self.0.m16n8k16_into_f32(self.1, self.2, self.3)
    }
}

#[test]
fn sums_are_rounded_in_ascending_order_with_any_vectors() {
    let mut random = Random(3);
    // Signs, 8 exponents and full mantissas of bf16, so that every sum rounds.
    let mut bits = || 0x3c00 | random.below(1 << 10) as u32 | (random.below(2) << 15) as u32;
    let mut operand = || -> Row { std::array::from_fn(|_| bits() | bits() << 16) };
    let mma =
        Mma::parse(&["sync", "aligned", "m16n8k16", "row", "col", "f32", "bf16", "bf16", "f32"]).unwrap();
    let value = |row: &Row, lane: usize, i: usize| f32::from_bits(row[lane] >> (16 * (i % 2)) << 16);
    for _ in 0..50 {
        let (a, b): ([Row; 4], [Row; 2]) =
            (std::array::from_fn(|_| operand()), std::array::from_fn(|_| operand()));
        let c: [Row; 4] = std::array::from_fn(|_| operand());
        let mut matrices = ([[0f32; 16]; 16], [[0f32; 8]; 16]);
        for lane in 0..32 {
            for i in 0..8 {
                let (row, column) = a_position("m16n8k16", 16, lane, i);
                matrices.0[row][column] = value(&a[i / 2], lane, i);
            }
            for i in 0..4 {
                let (row, column) = b_position("m16n8k16", 16, lane, i);
                matrices.1[row][column] = value(&b[i / 2], lane, i);
            }
        }
        let mut plain = [[0; 32]; 4];
        mma.run(&a, &b, &c, &mut plain);
        let vectorised = pulp::Arch::new().dispatch(Vectorised(mma, &a, &b, &c));
        assert_eq!(Some(plain), vectorised);
        for lane in 0..32 {
            for i in 0..4 {
                let (row, column) = c_position(lane, i);
                let mut sum = f32::from_bits(c[i][lane]);
                for k in 0..16 {
                    sum += matrices.0[row][k] * matrices.1[k][column];
                }
                assert_eq!(plain[i][lane], sum.to_bits());
            }
        }
    }
}

#[test]
fn mma_f64_equals_a_triple_loop() {
    let mma = Mma::parse(&["sync", "aligned", "m8n8k4", "row", "col", "f64", "f64", "f64", "f64"]).unwrap();
    assert_eq!((mma.registers(), mma.macs(), mma.is_f64()), ((2, 1, 1, 2), 256, true));
    let mut random = Random(7);
    let a = random.integers(8 * 4, -1000, 1000);
    let b = random.integers(4 * 8, -1000, 1000);
    let c = random.integers(8 * 8, -1000, 1000);
    let row = |value: &dyn Fn(usize) -> i64| -> [u64; 32] {
        std::array::from_fn(|lane| (value(lane) as f64).to_bits())
    };
    let a_rows = [row(&|lane| a[(lane >> 2) * 4 + lane % 4])];
    let b_rows = [row(&|lane| b[(lane % 4) * 8 + (lane >> 2)])];
    let c_rows = [0, 1].map(|i| row(&|lane| c[(lane >> 2) * 8 + lane % 4 * 2 + i]));
    let mut d = [[0; 32]; 2];
    mma.run_f64(&a_rows, &b_rows, &c_rows, &mut d);
    for m in 0..8 {
        for n in 0..8 {
            let expected = c[m * 8 + n] + (0..4).map(|k| a[m * 4 + k] * b[k * 8 + n]).sum::<i64>();
            assert_eq!(f64::from_bits(d[n % 2][m * 4 + n / 2]), expected as f64);
        }
    }
}

#[test]
fn integer_sums_wrap_or_saturate() {
    for (satfinite, sign, expected) in
        [(false, 1, i32::MIN + 127 * 127 * 16 - 1), (true, 1, i32::MAX), (true, -1, i32::MIN)]
    {
        let mut form = vec!["sync", "aligned", "m16n8k16", "row", "col", "s32", "s8", "s8", "s32"];
        if satfinite {
            form.insert(5, "satfinite");
        }
        let a = pack("s8", 8, |_, _| 127);
        let b = pack("s8", 4, |_, _| 127 * sign);
        let c = [[if sign > 0 { i32::MAX } else { i32::MIN } as u32; 32]; 4];
        let mut d = [[0; 32]; 4];
        Mma::parse(&form).unwrap().run(&a, &b, &c, &mut d);
        assert_eq!(d, [[expected as u32; 32]; 4]);
    }
}

#[test]
fn an_f16_accumulator_is_rounded_once() {
    // 2048 + 1 + 1 is 2050; rounded after each term it would stay 2048.
    let mma = Mma::parse(&["sync", "aligned", "m16n8k8", "row", "col", "f16", "f16", "f16", "f16"]).unwrap();
    let a = pack("f16", 4, |lane, i| i64::from(lane % 4 == 0 && i < 4));
    let b = pack("f16", 2, |_, _| 1);
    let c = pack("f16", 4, |_, _| 2048);
    let mut d = vec![[0; 32]; 2];
    mma.run(&a, &b, &c, &mut d);
    assert_eq!(d, pack("f16", 4, |_, _| 2050));
}

#[test]
fn not_a_number_is_canonical() {
    let mma =
        Mma::parse(&["sync", "aligned", "m16n8k8", "row", "col", "f32", "bf16", "bf16", "f32"]).unwrap();
    let mut d = [[0; 32]; 4];
    mma.run(&[[0xffc1_ffc1; 32]; 2], &[[0x3f80_3f80; 32]], &[[0; 32]; 4], &mut d);
    assert_eq!(d, [[0x7fff_ffff; 32]; 4]);
}

#[test]
fn unknown_forms_are_refused() {
    for form in [
        "sync aligned m16n8k16 row col f16 bf16 bf16 f16",
        "sync aligned m16n8k16 row col f32 f16 bf16 f32",
        "sync aligned m16n8k16 row col f32 f16 f16 f16",
        "sync aligned m16n8k16 col row f32 f16 f16 f32",
        "sync aligned m16n8k16 row col satfinite f32 f16 f16 f32",
        "sync aligned m16n8k16 row col f32 tf32 tf32 f32",
        "sync aligned m16n8k8 row col s32 s8 s8 s32",
        "sync aligned m8n8k4 row col f32 f16 f16 f32",
        "sync aligned m16n8k16 row col f32 bf16 bf16",
        "aligned m16n8k16 row col f32 bf16 bf16 f32",
    ] {
        assert_eq!(Mma::parse(&form.split(' ').collect::<Vec<_>>()), None, "{form}");
    }
}

#[test]
fn short_slices_leave_d_as_it_was() {
    let mma =
        Mma::parse(&["sync", "aligned", "m16n8k16", "row", "col", "f32", "bf16", "bf16", "f32"]).unwrap();
    let (a, b, c) = ([[0; 32]; 4], [[0; 32]; 2], [[0; 32]; 4]);
    for (a, b, c, rows) in
        [(&a[..3], &b[..], &c[..], 4), (&a, &b[..1], &c, 4), (&a, &b, &c[..3], 4), (&a, &b, &c, 3)]
    {
        let mut d = vec![[9; 32]; rows];
        mma.run(a, b, c, &mut d);
        assert_eq!(d, vec![[9; 32]; rows]);
    }
}

#[test]
fn ldmatrix_and_stmatrix_follow_the_fragment_layout() {
    let rows: matrix::Rows = std::array::from_fn(|row| std::array::from_fn(|byte| (16 * row + byte) as u8));
    let element = |row: usize, column: usize| {
        u32::from(u16::from_le_bytes([rows[row][2 * column], rows[row][2 * column + 1]]))
    };
    let (plain, transposed) = (matrix::load(&rows, false), matrix::load(&rows, true));
    for lane in 0..32 {
        for i in 0..2 {
            let (row, column) = (lane / 4, 2 * (lane % 4) + i);
            assert_eq!(plain[lane] >> (16 * i) & 0xffff, element(row, column));
            assert_eq!(transposed[lane] >> (16 * i) & 0xffff, element(column, row));
        }
    }
    assert_eq!(matrix::store(&plain, false), rows);
    assert_eq!(matrix::store(&transposed, true), rows);
    assert_eq!(matrix::transpose(&plain), transposed);
    let lanes: Vec<_> = (0..4).flat_map(|m| (0..8).map(move |row| matrix::address_lane(m, row))).collect();
    assert_eq!(lanes, (0..32).collect::<Vec<_>>());
}
