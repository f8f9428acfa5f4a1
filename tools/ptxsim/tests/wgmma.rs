//! `wgmma.mma_async` against a plain triple loop. The images of operands in shared memory are laid out here, element by
//! element, after CUTLASS's canonical layouts.

mod fragments;

use fragments::{Random, a_position, encode, pack, unpack};
use ptxsim::tensor_core::wgmma::{Descriptor, Major, OperandA, Scale, Wgmma};

/// An operand in shared memory: where element (row, k) lies, after CUTLASS's canonical layouts of `make_gmma_desc`.
#[derive(Clone, Copy, Debug)]
struct Layout {
    major: Major,
    swizzle: u64,
    base: u64,
    leading: u64,
    stride: u64,
    element_bytes: u64,
}

impl Layout {
    /// CUTLASS's `Swizzle<B, 4, 3>` of a byte address.
    fn swizzle(&self, address: u64) -> u64 {
        let b = match self.swizzle {
            0 => 0,
            32 => 1,
            64 => 2,
            _ => 3,
        };
        let source = ((1u64 << b) - 1) << 7;
        address ^ (address & source) >> 3
    }

    fn address(&self, row: u64, k: u64) -> u64 {
        let t = 16 / self.element_bytes;
        let (major, minor) = if self.major == Major::K { (k, row) } else { (row, k) };
        let (within, chunk) = (major % t * self.element_bytes, major / t);
        let offset = match (self.major, self.swizzle) {
            // ((8,m),(T,2)):((1T,SBO),(1,LBO))
            (Major::K, 0) => minor % 8 * 16 + minor / 8 * self.stride + within + chunk * self.leading,
            // ((8,m),(T,2)):((wT,SBO),(1,T))
            (Major::K, width) => minor % 8 * width + minor / 8 * self.stride + within + chunk * 16,
            // ((T,1,m),(8,k)):((1,T,SBO),(1T,LBO))
            (Major::Mn, 0) => within + chunk * self.stride + minor % 8 * 16 + minor / 8 * self.leading,
            // ((T,w,m),(8,k)):((1,T,LBO),(wT,SBO))
            (Major::Mn, width) => {
                let w = width / 16;
                within
                    + chunk % w * 16
                    + chunk / w * self.leading
                    + minor % 8 * width
                    + minor / 8 * self.stride
            }
        };
        self.swizzle(self.base + offset)
    }

    /// The descriptor of the step that begins at `k` and spans 32 bytes or 16 elements.
    fn descriptor(&self, k: u64) -> Descriptor {
        let advance = match (self.major, self.swizzle) {
            (Major::K, 0) => k * self.element_bytes / 16 * self.leading,
            (Major::K, _) => k * self.element_bytes,
            (Major::Mn, 0) => k / 8 * self.leading,
            (Major::Mn, _) => k / 8 * self.stride,
        };
        let mode = match self.swizzle {
            0 => 0u64,
            128 => 1,
            64 => 2,
            _ => 3,
        };
        let bits = (self.base + advance) >> 4 | self.leading >> 4 << 16 | self.stride >> 4 << 32 | mode << 62;
        Descriptor::from_bits(bits)
    }
}

struct Case<'a> {
    n: usize,
    types: [&'a str; 3],
    a: Layout,
    b: Layout,
    from_registers: bool,
    scale: Scale,
}

/// A layout with room for `rows` rows and `steps` steps of K; `padding` (a multiple of 16) keeps its parts apart.
fn layout(
    major: Major,
    swizzle: u64,
    base: u64,
    rows: u64,
    steps: u64,
    element_bytes: u64,
    padding: u64,
) -> Layout {
    let (leading, stride) = match (major, swizzle) {
        (Major::K, 0) => (rows / 8 * (128 + padding), 128 + padding),
        (Major::K, width) => (16, 8 * width + padding),
        (Major::Mn, 0) => (128 + padding, 2 * steps * (128 + padding)),
        (Major::Mn, width) => (2 * steps * (8 * width + padding), 8 * width + padding),
    };
    Layout { major, swizzle, base, leading, stride, element_bytes }
}

fn check_wgmma(case: &Case, seed: u64) {
    let [d_type, a_type, _] = case.types;
    let k_step = if a_type == "tf32" { 8 } else { 16 };
    let shape = format!("m64n{}k{k_step}", case.n);
    let form = ["mma_async", "sync", "aligned", &shape, d_type, a_type, a_type];
    let wgmma = Wgmma::parse(&form).unwrap_or_else(|| panic!("{form:?}"));
    assert_eq!((wgmma.n() as usize, wgmma.macs()), (case.n, (16 * case.n * k_step) as u64));
    // As many steps as the swizzle's width holds, so that the start address moves within its atom.
    let steps = steps(case);
    let k_all = k_step * steps;
    let mut random = Random(seed);
    let a = random.integers(64 * k_all, -4, 4);
    let b = random.integers(k_all * case.n, -4, 4);
    let c = random.integers(64 * case.n, -100, 100);
    let mut memory = vec![0xa5u8; 1 << 18];
    let mut put = |layout: &Layout, row: usize, k: usize, value: i64| {
        let (bits, width) = encode(a_type, value);
        let address = layout.address(row as u64, k as u64) as usize;
        for i in 0..width as usize / 8 {
            assert_eq!(memory[address + i], 0xa5, "the layout overlaps itself");
            memory[address + i] = (bits >> (8 * i)) as u8;
        }
    };
    for k in 0..k_all {
        for row in 0..64 {
            put(&case.a, row, k, a[row * k_all + k]);
        }
        for column in 0..case.n {
            put(&case.b, column, k, b[k * case.n + column]);
        }
    }
    let gather = |addresses: &[u32]| -> Vec<u8> {
        addresses.iter().flat_map(|&address| memory[address as usize..][..16].iter().copied()).collect()
    };
    // Element i of D in a lane, after the figure of D's fragments: ISA, "Register Fragments and Shared Memory Matrix
    // Layouts".
    let d_position = |lane: usize, i: usize| {
        (lane / 4 + if i % 4 < 2 { 0 } else { 8 }, i / 4 * 8 + lane % 4 * 2 + (i & 1))
    };
    let sign = if case.scale.negate_a != case.scale.negate_b { -1 } else { 1 };
    for warp in 0..4 {
        let mut d = pack(d_type, case.n / 2, |lane, i| {
            let (row, column) = d_position(lane, i);
            c[(16 * warp + row) * case.n + column]
        });
        assert_eq!(d.len(), wgmma.d_registers());
        for step in 0..steps {
            let k = step * k_step;
            let (mut a_chunks, mut b_chunks) = (Vec::new(), Vec::new());
            wgmma.a_chunks(case.a.descriptor(k as u64), warp as u32, case.a.major, &mut a_chunks);
            wgmma.b_chunks(case.b.descriptor(k as u64), case.b.major, &mut b_chunks);
            assert_eq!((a_chunks.len(), b_chunks.len()), (32, 2 * case.n));
            let (a_bytes, b_bytes) = (gather(&a_chunks), gather(&b_chunks));
            let shape = format!("m16n8k{k_step}");
            let registers = pack(a_type, k_step / 2, |lane, i| {
                let (row, column) = a_position(&shape, encode(a_type, 0).1, lane, i);
                a[(16 * warp + row) * k_all + k + column]
            });
            let operand = match case.from_registers {
                true => OperandA::Registers(registers.first_chunk().unwrap()),
                false => OperandA::Shared(&a_bytes, case.a.major),
            };
            let scale = Scale { d: case.scale.d || step > 0, ..case.scale };
            wgmma.multiply(operand, &b_bytes, case.b.major, scale, &mut d);
        }
        for lane in 0..32 {
            for i in 0..case.n / 2 {
                let (row, column) = d_position(lane, i);
                let row = 16 * warp + row;
                let product: i64 = (0..k_all).map(|k| a[row * k_all + k] * b[k * case.n + column]).sum();
                let expected = sign * product + if case.scale.d { c[row * case.n + column] } else { 0 };
                let found = unpack(d_type, &d, lane, i);
                assert_eq!(found, expected, "{form:?} row {row} column {column} {:?} {:?}", case.a, case.b);
            }
        }
    }
}

/// Steps of 32 bytes that fit the narrower swizzle of the K-major operands; two if neither has one.
fn steps(case: &Case) -> usize {
    let fit = |layout: &Layout| {
        if layout.major == Major::K && layout.swizzle > 0 { layout.swizzle / 32 } else { 2 }
    };
    fit(&case.a).min(fit(&case.b)) as usize
}

const ADD: Scale = Scale { d: true, negate_a: false, negate_b: false };

#[test]
fn wgmma_equals_a_triple_loop_for_every_width_major_and_swizzle() {
    let mut seed = 0;
    for n in (8..=256).step_by(8) {
        for swizzle in [0, 32, 64, 128] {
            for (a_major, b_major) in
                [(Major::K, Major::K), (Major::K, Major::Mn), (Major::Mn, Major::K), (Major::Mn, Major::Mn)]
            {
                seed += 1;
                // A gets another swizzle than B, so that neither can stand in for the other.
                let a_swizzle = [0, 32, 64, 128][(seed as usize + n / 8) % 4];
                let padding = 16 * (seed % 3);
                let case = Case {
                    n,
                    types: if seed % 5 == 0 { ["f32", "f16", "f16"] } else { ["f32", "bf16", "bf16"] },
                    a: layout(a_major, a_swizzle, 384 * (seed % 4), 64, 4, 2, padding),
                    b: layout(b_major, swizzle, 65536 + 640 * (seed % 3), n as u64, 4, 2, padding),
                    from_registers: false,
                    scale: ADD,
                };
                check_wgmma(&case, seed);
            }
        }
    }
}

#[test]
fn wgmma_equals_a_triple_loop_for_every_type_and_source_of_a() {
    let mut seed = 1000;
    for n in [8, 24, 64, 136, 256] {
        for types in
            [["f16", "f16", "f16"], ["f32", "f16", "f16"], ["f32", "bf16", "bf16"], ["f32", "tf32", "tf32"]]
        {
            for swizzle in [0, 32, 64, 128] {
                for from_registers in [false, true] {
                    for bits in 0..8 {
                        seed += 1;
                        let bytes = if types[1] == "tf32" { 4 } else { 2 };
                        let scale = Scale { d: bits & 1 > 0, negate_a: bits & 2 > 0, negate_b: bits & 4 > 0 };
                        let a = layout(Major::K, swizzle, 0, 64, 4, bytes, 0);
                        let b = layout(Major::K, swizzle, 65536, n as u64, 4, bytes, 0);
                        check_wgmma(&Case { n, types, a, b, from_registers, scale }, seed);
                    }
                }
            }
        }
    }
}

#[test]
fn a_base_offset_moves_the_pattern() {
    // A pattern that starts at 5 · 128 bytes: row r's chunk c lies at column c XOR r of its own row r.
    let start = 5 * 128u64;
    let descriptor = Descriptor::from_bits(start >> 4 | 64 << 32 | 5 << 49 | 1 << 62);
    assert_eq!(descriptor, Descriptor { start: 640, leading: 0, stride: 1024, base_offset: 5, swizzle: 128 });
    let mut chunks = Vec::new();
    descriptor.chunks(0, 8, Major::K, &mut chunks);
    let expected: Vec<u32> =
        (0..2).flat_map(|c| (0..8).map(move |row| 640 + 128 * row + 16 * (c ^ row))).collect();
    assert_eq!(chunks, expected);
}

#[test]
fn descriptor_fields_have_the_bits_of_the_manual() {
    let bits = 0x3fffu64 | 1 << 16 | 2 << 32 | 3 << 49 | 2 << 62;
    let expected = Descriptor { start: 0x3fff0, leading: 16, stride: 32, base_offset: 3, swizzle: 64 };
    assert_eq!(Descriptor::from_bits(bits), expected);
    // Reserved bits do not matter.
    assert_eq!(Descriptor::from_bits(bits | 3 << 14 | 3 << 30 | 7 << 46 | 0x3ff << 52), expected);
    assert_eq!([0u64, 1, 2, 3].map(|mode| Descriptor::from_bits(mode << 62).swizzle), [0, 128, 64, 32]);
}

#[test]
fn unknown_forms_are_refused() {
    for form in [
        "mma_async sync aligned m64n12k16 f32 bf16 bf16",
        "mma_async sync aligned m64n264k16 f32 bf16 bf16",
        "mma_async sync aligned m64n0k16 f32 bf16 bf16",
        "mma_async sync aligned m64n08k16 f32 bf16 bf16",
        "mma_async sync aligned m64n64k8 f32 bf16 bf16",
        "mma_async sync aligned m64n64k16 f16 bf16 bf16",
        "mma_async sync aligned m64n64k16 f32 tf32 tf32",
        "mma_async sync aligned m64n64k16 f32 f16 bf16",
        "fence sync aligned",
    ] {
        assert_eq!(Wgmma::parse(&form.split(' ').collect::<Vec<_>>()), None, "{form}");
    }
}

#[test]
fn short_slices_leave_d_as_it_was() {
    let a = [[0; 32]; 4];
    let wgmma = Wgmma::parse(&["mma_async", "sync", "aligned", "m64n8k16", "f32", "bf16", "bf16"]).unwrap();
    let scale = Scale { d: false, negate_a: false, negate_b: false };
    let mut d = vec![[9; 32]; 4];
    wgmma.multiply(OperandA::Registers(&a), &[0; 255], Major::K, scale, &mut d);
    wgmma.multiply(OperandA::Shared(&[0; 511], Major::K), &[0; 256], Major::K, scale, &mut d);
    wgmma.multiply(OperandA::Registers(&a), &[0; 256], Major::K, scale, &mut d[..3]);
    assert_eq!(d, vec![[9; 32]; 4]);
}
