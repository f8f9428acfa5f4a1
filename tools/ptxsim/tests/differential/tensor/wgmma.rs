//! `wgmma.mma_async` of every width, major, swizzle and type, with descriptors that the kernel builds.

use rayon::prelude::*;

use super::super::common::{Machine, Params, Random, grid, told};
use super::super::fragments::{a_position, encode, pack, unpack};
use super::{HEADER, integers, list};

/// How an operand lies in shared memory, after the canonical layouts of the PTX ISA ("Strides", "Matrix descriptor").
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Along K, or along the rows of A and the columns of B.
    k_major: bool,
    /// Bytes: 0, 32, 64 or 128.
    swizzle: usize,
    /// Bytes from the start of dynamic shared memory, a multiple of 1024.
    base: usize,
    leading: usize,
    stride: usize,
    element: usize,
}

impl Layout {
    /// Room for `rows` rows (or columns) and `steps` steps of K, the parts kept `gap` bytes apart.
    fn new(
        k_major: bool,
        swizzle: usize,
        base: usize,
        rows: usize,
        steps: usize,
        element: usize,
        gap: usize,
    ) -> Layout {
        let atom = 8 * swizzle.max(16);
        let gap = if swizzle > 0 { 1024 * gap.min(1) } else { 16 * gap };
        let (leading, stride) = match (k_major, swizzle) {
            (true, 0) => (rows / 8 * (atom + gap), atom + gap),
            (true, _) => (16, atom + gap),
            (false, 0) => (atom + gap, 2 * steps * (atom + gap)),
            (false, _) => (2 * steps * (atom + gap), atom + gap),
        };
        Layout { k_major, swizzle, base, leading, stride, element }
    }

    /// Byte of the element at a row (of A; a column of B) and an index of K.
    fn at(&self, row: usize, k: usize) -> usize {
        let per_chunk = 16 / self.element;
        let (along, across) = if self.k_major { (k, row) } else { (row, k) };
        let (byte, chunk) = (along % per_chunk * self.element, along / per_chunk);
        let (inner, outer) = (across % 8, across / 8);
        let linear = match (self.k_major, self.swizzle) {
            (true, 0) => inner * 16 + outer * self.stride + chunk * self.leading,
            (true, width) => inner * width + outer * self.stride + chunk * 16,
            (false, 0) => inner * 16 + outer * self.leading + chunk * self.stride,
            (false, width) => {
                let (block, chunk) = (chunk / (width / 16), chunk % (width / 16));
                inner * width + outer * self.stride + chunk * 16 + block * self.leading
            }
        };
        let linear = self.base + linear + byte;
        let lines = match self.swizzle {
            0 => 1,
            width => width / 16,
        };
        linear ^ (linear / 128 % lines * 16)
    }

    /// Bytes by which the descriptor's start moves for the step that begins at `k`.
    fn advance(&self, k: usize) -> usize {
        match (self.k_major, self.swizzle) {
            (true, 0) => k * self.element / 16 * self.leading,
            (true, _) => k * self.element,
            (false, 0) => k / 8 * self.leading,
            (false, _) => k / 8 * self.stride,
        }
    }

    /// The descriptor without its start address.
    fn fields(&self) -> u64 {
        let mode = match self.swizzle {
            0 => 0,
            128 => 1,
            64 => 2,
            _ => 3,
        };
        (self.leading as u64 / 16) << 16 | (self.stride as u64 / 16) << 32 | mode << 62
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    n: usize,
    d_type: &'static str,
    a_type: &'static str,
    a: Layout,
    b: Layout,
    from_registers: bool,
    negate: [bool; 2],
    scale: bool,
    steps: usize,
    /// One group of products, or one for each step.
    groups: bool,
}

impl Case {
    fn k(&self) -> usize {
        if self.a_type == "tf32" { 8 } else { 16 }
    }

    fn accumulators(&self) -> usize {
        self.n / if self.d_type == "f16" { 4 } else { 2 }
    }

    fn ptx(&self, bytes: usize) -> String {
        let count = self.accumulators();
        let mut ptx = format!(
            "{HEADER}.extern .shared .align 1024 .b8 smem[];
.visible .entry k(.param .u64 image, .param .u64 a, .param .u64 c, .param .u32 scale) {{
.reg .b32 %d<{count}>, %a<{}>, %tid, %i, %s, %x; .reg .b64 %image, %a, %c, %at, %da, %db, %y, %z<2>;
.reg .pred %p, %more, %yes;
ld.param.u64 %image, [image]; ld.param.u64 %a, [a]; ld.param.u64 %c, [c]; ld.param.u32 %x, [scale];
setp.ne.u32 %p, %x, 0; setp.eq.u32 %yes, 0, 0; mov.u32 %tid, %tid.x; mov.u32 %s, smem;
shl.b32 %i, %tid, 4;
COPY: cvt.u64.u32 %y, %i; add.u64 %at, %image, %y; ld.global.v2.b64 {{%z0,%z1}}, [%at];
add.u32 %x, %s, %i; st.shared.v2.b64 [%x], {{%z0,%z1}}; add.u32 %i, %i, 2048;
setp.lt.u32 %more, %i, {bytes}; @%more bra COPY;
mad.wide.u32 %c, %tid, 4, %c; mad.wide.u32 %a, %tid, 4, %a;\n",
            4 * self.steps
        );
        for i in 0..count {
            ptx += &format!("ld.global.b32 %d{i}, [%c+{}];\n", 512 * i);
        }
        if self.from_registers {
            for i in 0..4 * self.steps {
                ptx += &format!("ld.global.b32 %a{i}, [%a+{}];\n", 512 * i);
            }
        }
        ptx += "fence.proxy.async.shared::cta;\nbar.sync 0;\nwgmma.fence.sync.aligned;\n";
        let sign = |negate: bool| if negate { -1 } else { 1 };
        let immediates = format!("{}, {}", sign(self.negate[0]), sign(self.negate[1]));
        let major = |layout: &Layout| u8::from(!layout.k_major);
        let majors = match (self.a_type, self.from_registers) {
            ("tf32", _) => String::new(),
            (_, true) => format!(", {}", major(&self.b)),
            _ => format!(", {}, {}", major(&self.a), major(&self.b)),
        };
        for step in 0..self.steps {
            let k = step * self.k();
            for (name, layout) in [("%da", &self.a), ("%db", &self.b)] {
                let start = layout.base + layout.advance(k);
                ptx += &format!("add.u32 %x, %s, {start}; and.b32 %x, %x, 0x3ffff; shr.u32 %x, %x, 4;\n");
                ptx += &format!("cvt.u64.u32 {name}, %x; or.b64 {name}, {name}, {:#x};\n", layout.fields());
            }
            let a = if self.from_registers {
                let registers: Vec<_> = (4 * step..4 * step + 4).map(|i| format!("%a{i}")).collect();
                format!("{{{}}}", registers.join(","))
            } else {
                "%da".to_owned()
            };
            ptx += &format!(
                "wgmma.mma_async.sync.aligned.m64n{}k{}.{}.{a_type}.{a_type} {{{}}}, {a}, %db, {}, {immediates}{majors};\n",
                self.n,
                self.k(),
                self.d_type,
                list("%d", count),
                if step == 0 { "%p" } else { "%yes" },
                a_type = self.a_type,
            );
            if self.groups || step + 1 == self.steps {
                ptx += "wgmma.commit_group.sync.aligned;\n";
            }
        }
        if self.groups {
            ptx += "wgmma.wait_group.sync.aligned 1;\n";
        }
        ptx += "wgmma.wait_group.sync.aligned 0;\n";
        for i in 0..count {
            ptx += &format!("st.global.b32 [%c+{}], %d{i};\n", 512 * i);
        }
        ptx + "ret;\n}\n"
    }
}

/// Row and column, within a warp's share, of element `i` of D in a lane.
fn d_position(lane: usize, i: usize) -> (usize, usize) {
    (lane / 4 + i % 4 / 2 * 8, i / 4 * 8 + lane % 4 * 2 + i % 2)
}

/// Registers of four warps, as they lie in memory: 128 threads a register.
fn four_warps(pack: impl Fn(usize) -> Vec<[u32; 32]>) -> Vec<u32> {
    let warps: Vec<_> = (0..4).map(pack).collect();
    (0..warps[0].len()).flat_map(|i| warps.iter().flat_map(move |warp| warp[i])).collect()
}

fn check(case: &Case, seed: u64) {
    let (k_step, n) = (case.k(), case.n);
    let k_all = k_step * case.steps;
    let random = &mut Random::new(seed);
    let a = integers(random, 64 * k_all, -4, 4);
    let b = integers(random, k_all * n, -4, 4);
    let c = integers(random, 64 * n, -100, 100);
    let mut image = Vec::new();
    let mut put = |at: usize, value: i64| {
        let (bits, width) = encode(case.a_type, value);
        let bytes = width as usize / 8;
        if image.len() < at + bytes {
            image.resize((at + bytes).next_multiple_of(2048), 0xa5u8);
        }
        image[at..at + bytes].copy_from_slice(&bits.to_le_bytes()[..bytes]);
    };
    for k in 0..k_all {
        (0..64).for_each(|row| put(case.a.at(row, k), a[row * k_all + k]));
        (0..n).for_each(|column| put(case.b.at(column, k), b[k * n + column]));
    }
    let registers = four_warps(|warp| {
        let shape = format!("m16n8k{k_step}");
        (0..case.steps)
            .flat_map(|step| {
                pack(case.a_type, k_step / 2, |lane, i| {
                    let (row, column) = a_position(&shape, encode(case.a_type, 0).1, lane, i);
                    a[(16 * warp + row) * k_all + step * k_step + column]
                })
            })
            .collect()
    });
    let accumulators = four_warps(|warp| {
        pack(case.d_type, n / 2, |lane, i| {
            let (row, column) = d_position(lane, i);
            c[(16 * warp + row) * n + column]
        })
    });
    let ptx = case.ptx(image.len());
    let mut machine = Machine::new();
    machine.options.seed = (seed % 2 == 0).then_some(seed);
    let module = machine.load(&ptx);
    let at = [machine.put(&image), machine.put(&registers), machine.put(&accumulators)];
    let params = at.into_iter().fold(Params::default(), Params::with).with(u32::from(case.scale) * 77);
    let outcome = machine.run(&module, "k", grid(1, 128, image.len() as u32), &params);
    assert!(outcome.findings.is_empty(), "{case:?}\n{}\n{ptx}", told(&outcome));
    let results: Vec<u32> = machine.get(at[2], accumulators.len());
    let sign = if case.negate[0] == case.negate[1] { 1 } else { -1 };
    for warp in 0..4 {
        let rows: Vec<[u32; 32]> =
            results.chunks(128).map(|row| std::array::from_fn(|lane| row[32 * warp + lane])).collect();
        for lane in 0..32 {
            for i in 0..n / 2 {
                let (row, column) = d_position(lane, i);
                let row = 16 * warp + row;
                let product: i64 = (0..k_all).map(|k| a[row * k_all + k] * b[k * n + column]).sum();
                let wanted = sign * product + if case.scale { c[row * n + column] } else { 0 };
                assert_eq!(unpack(case.d_type, &rows, lane, i), wanted, "{case:?} row {row} column {column}");
            }
        }
    }
}

/// Steps of 32 bytes that fit the narrower swizzle of the K-major operands; two if neither has one.
fn steps(a: (bool, usize), b: (bool, usize)) -> usize {
    let fit = |(k_major, swizzle)| if k_major && swizzle > 0 { swizzle / 32 } else { 2 };
    fit(a).min(fit(b))
}

#[test]
fn every_width_major_and_swizzle() {
    let mut cases = Vec::new();
    for n in (8..=256).step_by(8) {
        for (i, swizzle) in [0, 32, 64, 128].into_iter().enumerate() {
            for (j, (a_major, b_major)) in
                [(true, true), (true, false), (false, true), (false, false)].into_iter().enumerate()
            {
                let other = [0, 32, 64, 128][(i + j + n / 8) % 4];
                let steps = steps((a_major, other), (b_major, swizzle));
                let gap = (n / 8 + j) % 3;
                cases.push(Case {
                    n,
                    d_type: "f32",
                    a_type: if (n / 8 + i + j) % 4 == 0 { "f16" } else { "bf16" },
                    a: Layout::new(a_major, other, 1024 * (i % 2), 64, steps, 2, gap),
                    b: Layout::new(b_major, swizzle, 65536, n, steps, 2, gap),
                    from_registers: false,
                    negate: [(n / 8) % 5 == 1, (n / 8) % 7 == 2],
                    scale: (n / 8 + i) % 3 > 0,
                    steps,
                    groups: j % 2 == 0,
                });
            }
        }
    }
    cases.par_iter().enumerate().for_each(|(seed, case)| check(case, seed as u64));
}

#[test]
fn every_type_and_source_of_a() {
    let mut cases = Vec::new();
    for n in [8, 24, 64, 136, 256] {
        for (d_type, a_type) in [("f16", "f16"), ("f32", "f16"), ("f32", "bf16"), ("f32", "tf32")] {
            for swizzle in [0, 32, 64, 128] {
                for from_registers in [false, true] {
                    for (bits, b_major) in
                        [(0, true), (1, true), (2, false), (3, true), (5, false), (7, true)]
                    {
                        let b_major = b_major || a_type == "tf32";
                        let element = if a_type == "tf32" { 4 } else { 2 };
                        let steps = steps((true, swizzle), (b_major, swizzle));
                        cases.push(Case {
                            n,
                            d_type,
                            a_type,
                            a: Layout::new(true, swizzle, 0, 64, steps, element, 0),
                            b: Layout::new(b_major, swizzle, 32768, n, steps, element, 1),
                            from_registers,
                            negate: [bits & 2 > 0, bits & 4 > 0],
                            scale: bits & 1 > 0,
                            steps,
                            groups: bits % 2 == 0,
                        });
                    }
                }
            }
        }
    }
    cases.par_iter().enumerate().for_each(|(seed, case)| check(case, seed as u64));
}
