//! `wgmma.mma_async` (PTX ISA 9.7.15): every N, every major and swizzle of both operands.

use super::case::{Agreement, Case, Target, word};
use super::copy::copy_in;
use super::data::Random;
use super::exact::{BF16, F16, F32};
use super::fragment::{Matrix, Type, place};
use super::map::{SWIZZLES, Swizzle};
use super::ptx;

/// How an operand lies in shared memory.
#[derive(Clone, Copy, PartialEq)]
struct Layout {
    /// K is the contiguous dimension; M or N otherwise.
    k_major: bool,
    swizzle: Swizzle,
    /// Bytes by which the start address lies past the layout's origin, within a swizzle atom.
    advance: usize,
    /// The descriptor's base offset.
    base_offset: u64,
    /// Blocks of K lie next to each other, not blocks of M or N.
    k_blocks_first: bool,
}

impl Layout {
    fn new(k_major: bool, swizzle: Swizzle) -> Layout {
        Layout { k_major, swizzle, advance: 0, base_offset: 0, k_blocks_first: false }
    }

    fn name(self) -> String {
        format!("{}-{}", if self.k_major { "k" } else { "mn" }, self.swizzle.name())
    }

    /// Strides between blocks: along M or N, along K; bytes.
    ///
    /// A block is 8 rows of the swizzle's span: K-major the rows are 8 of M or N, MN-major 8 of K.
    fn strides(self, extent: usize) -> (usize, usize) {
        let block = 8 * self.swizzle.span();
        let row = if self.k_major { 8 } else { self.swizzle.span() / 2 };
        if self.k_blocks_first { (2 * block, block) } else { (block, extent.div_ceil(row) * block) }
    }

    /// Where an element lies, from the layout's origin: the canonical layouts of CUTLASS's
    /// `mma_traits_sm90_gmma.hpp`.
    fn offset(self, extent: usize, size: usize, mn: usize, k: usize) -> usize {
        let span = self.swizzle.span();
        let (along_mn, along_k) = self.strides(extent);
        let linear = if self.k_major {
            let byte = k * size + self.advance;
            mn % 8 * span + mn / 8 * along_mn + byte / span * along_k + byte % span
        } else {
            let byte = mn * size;
            k % 8 * span + k / 8 * along_k + byte / span * along_mn + byte % span
        };
        self.swizzle.apply(linear)
    }

    /// Bytes from the start address of one instruction to that of the `step`-th after it.
    fn step(self, extent: usize, size: usize, step: usize) -> usize {
        let (span, along_k) = (self.swizzle.span(), self.strides(extent).1);
        if self.k_major {
            32 * step / span * along_k + 32 * step % span
        } else {
            32 / size * step / 8 * along_k
        }
    }

    /// The descriptor but for the start address.
    fn descriptor(self, extent: usize) -> u64 {
        let (along_mn, along_k) = self.strides(extent);
        // Swizzled, the leading stride is the one between blocks of M or N if these are contiguous, and
        // unused otherwise; without swizzle it is the one along K.
        let (leading, stride) = match (self.swizzle, self.k_major) {
            (Swizzle::None, _) => (along_k, along_mn),
            (_, true) => (16, along_mn),
            (_, false) => (along_mn, along_k),
        };
        let mode = [0u64, 3, 2, 1][self.swizzle as usize];
        (leading as u64 >> 4) << 16 | (stride as u64 >> 4) << 32 | self.base_offset << 49 | mode << 62
    }
}

#[derive(Clone, Copy)]
struct Form {
    n: usize,
    operand: Type,
    accumulator: Type,
    /// `None`: from registers.
    a: Option<Layout>,
    b: Layout,
    scale_d: bool,
    scale_a: i32,
    scale_b: i32,
    /// Instructions, each with its K, one after the other.
    steps: usize,
    /// Real-valued operands, which show how the hardware accumulates.
    real: bool,
}

impl Form {
    fn new(n: usize, operand: Type, a: Option<Layout>, b: Layout) -> Form {
        let integer = matches!(operand, Type::Int8(_));
        let accumulator = if integer { Type::Int32 } else { Type::Float(F32) };
        Form { n, operand, accumulator, a, b, scale_d: true, scale_a: 1, scale_b: 1, steps: 1, real: false }
    }

    /// K of an instruction.
    fn instruction_k(self) -> usize {
        32 / self.operand.bytes()
    }

    /// K of all of them.
    fn k(self) -> usize {
        self.steps * self.instruction_k()
    }

    /// 32-bit registers of the accumulator.
    fn registers(self) -> usize {
        self.n / 2 * self.accumulator.bytes() / 4
    }
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let bf16 = Type::Float(BF16);
    let k128 = Layout::new(true, Swizzle::Bytes128);
    let layouts: Vec<Layout> =
        [true, false].into_iter().flat_map(|k| SWIZZLES.map(|s| Layout::new(k, s))).collect();
    let mut cases = Vec::new();
    let mut add = |form: Form, suffix: &str| cases.push(case(form, suffix));
    for n in (8..=256).step_by(8) {
        if ![8, 64, 128, 256].contains(&n) {
            add(Form::new(n, bf16, Some(k128), k128), "");
        }
    }
    for n in [8, 64, 128, 256] {
        for a in &layouts {
            for b in &layouts {
                add(Form::new(n, bf16, Some(*a), *b), "");
            }
        }
    }
    for operand in [bf16, Type::Float(F16), Type::Tf32] {
        for b in layouts.iter().filter(|l| operand != Type::Tf32 || l.k_major) {
            add(Form::new(64, operand, None, *b), "");
            if operand == bf16 {
                continue;
            }
            for a in layouts.iter().filter(|l| operand != Type::Tf32 || l.k_major) {
                add(Form::new(64, operand, Some(*a), *b), "");
            }
        }
    }
    for n in [8, 24, 64, 256] {
        let form = Form::new(n, Type::Float(F16), Some(k128), k128);
        add(Form { accumulator: Type::Float(F16), ..form }, "");
    }
    for operand in [bf16, Type::Tf32] {
        let form = Form::new(64, operand, Some(k128), k128);
        add(Form { scale_a: -1, ..form }, "/negative-a");
        add(Form { scale_b: -1, ..form }, "/negative-b");
        add(Form { scale_a: -1, scale_b: -1, ..form }, "/negative-both");
        add(Form { scale_d: false, ..form }, "/no-d");
        add(Form { a: None, scale_a: -1, ..form }, "/negative-a");
    }
    for layout in &layouts {
        let other = Layout { k_blocks_first: true, ..*layout };
        add(Form::new(128, bf16, Some(other), other), "/k-blocks-first");
    }
    // Steps of 32 bytes, one instruction's K, within a swizzled row.
    for (swizzle, steps) in [(Swizzle::Bytes64, 2), (Swizzle::Bytes128, 4)] {
        for step in 1..steps {
            let layout = Layout { advance: 32 * step, ..Layout::new(true, swizzle) };
            add(Form::new(64, bf16, Some(layout), layout), &format!("/advance-{}", 32 * step));
            add(Form::new(64, Type::Tf32, None, layout), &format!("/advance-{}", 32 * step));
        }
    }
    // A loop over K, in two groups.
    for layout in &layouts {
        add(Form { steps: 4, ..Form::new(64, bf16, Some(*layout), *layout) }, "/loop");
    }
    for operand in [bf16, Type::Float(F16), Type::Tf32] {
        add(Form { real: true, ..Form::new(64, operand, Some(k128), k128) }, "/real");
    }
    for operand in [Type::Int8(true), Type::Int8(false)] {
        for n in [8, 64, 256] {
            for swizzle in SWIZZLES {
                let layout = Layout::new(true, swizzle);
                add(Form::new(n, operand, Some(layout), layout), "");
            }
        }
        add(Form::new(64, operand, None, k128), "");
    }
    for base_offset in 1..8 {
        let layout = Layout { base_offset, ..k128 };
        let mut case = case(Form::new(64, bf16, Some(k128), layout), &format!("/base-offset-{base_offset}"));
        case.unknown = true;
        cases.push(case);
    }
    cases
}

/// Shared memory with an operand in its place and other numbers around it.
fn image(layout: Layout, extent: usize, form: &Form, values: &[u64], random: &mut Random) -> Vec<u8> {
    let (k, size) = (form.k(), form.operand.bytes());
    let places: Vec<usize> = (0..extent * k).map(|e| layout.offset(extent, size, e / k, e % k)).collect();
    let end = places.iter().max().map_or(0, |p| p + size).next_multiple_of(1024);
    let mut bytes = Vec::new();
    while bytes.len() < end {
        let other = form.operand.encode(64.0 + random.small(8) as f64);
        bytes.extend(&other.to_le_bytes()[..size]);
    }
    for (place, value) in places.iter().zip(values) {
        bytes[*place..place + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
    bytes
}

fn case(form: Form, suffix: &str) -> Case {
    let Form { n, operand, accumulator, a, b, .. } = form;
    let (k, size) = (form.k(), operand.bytes());
    let half = if accumulator == Type::Float(F16) { "-acc16" } else { "" };
    let name = format!(
        "wgmma/{}{half}/n{n}/a-{}/b-{}{suffix}",
        operand.name(),
        a.map_or("registers".to_owned(), Layout::name),
        b.name()
    );
    let mut random = Random::new(&name);
    let mut matrix = |count: usize, t: Type| -> Vec<u64> {
        (0..count).map(|_| t.random(&mut random, form.real)).collect()
    };
    let (left, right, start) = (matrix(64 * k, operand), matrix(n * k, operand), matrix(64 * n, accumulator));
    // Lane fragments of A, four registers a thread, and of D.
    let per_a = 64 * k / 128;
    let fragment: Vec<u8> = (0..128 * per_a)
        .flat_map(|e| {
            let (row, column) = place(Matrix::A, 16, size, e / per_a % 32, e % per_a);
            left[(16 * (e / per_a / 32) + row) * k + column].to_le_bytes()[..size].to_vec()
        })
        .collect();
    let per_d = 64 * n / 128;
    let d_place = move |e: usize| {
        let (thread, i) = (e / per_d, e % per_d);
        let (row, column) = place(Matrix::C, 16, 4, thread % 32, i % 4);
        (16 * (thread / 32) + row, 8 * (i / 4) + column)
    };
    let d_bytes = accumulator.bytes();
    let first_d: Vec<u8> = (0..128 * per_d)
        .flat_map(|e| {
            let (row, column) = d_place(e);
            // What must not be read is NaN.
            let value = if form.scale_d { start[row * n + column] } else { u64::MAX };
            value.to_le_bytes()[..d_bytes].to_vec()
        })
        .collect();
    let left_bytes = a.map_or(fragment, |layout| image(layout, 64, &form, &left, &mut random));
    let right_bytes = image(b, n, &form, &right, &mut random);
    let body = body(&form, left_bytes.len(), right_bytes.len());
    let mut case = Case::new(name, Target::Sm90a, 128);
    if form.real
        && let Type::Float(format) = accumulator
    {
        // The hardware aligns and truncates addends of up to 2^8 each.
        case.agreement = Agreement::Within { format, relative: 0.0, absolute: f64::exp2(-8.0) };
    }
    let case = case.bytes(left_bytes).bytes(right_bytes).bytes(first_d).writes(128 * 4 * form.registers());
    case.body(&body).expects(move |inputs, _| {
        let product = |row: usize, column: usize| -> f64 {
            let terms =
                (0..k).map(|j| operand.decode(left[row * k + j]) * operand.decode(right[column * k + j]));
            f64::from(form.scale_a * form.scale_b) * terms.sum::<f64>()
        };
        inputs[2]
            .chunks_exact(d_bytes)
            .enumerate()
            .flat_map(|(e, bits)| {
                let (row, column) = d_place(e);
                let before = if form.scale_d { accumulator.decode(word(bits)) } else { 0.0 };
                accumulator.encode(before + product(row, column)).to_le_bytes()[..d_bytes].to_vec()
            })
            .collect()
    })
}

fn body(form: &Form, left: usize, right: usize) -> String {
    let Form { n, operand, accumulator, a, b, .. } = *form;
    let shared_left = if a.is_some() { left } else { 0 };
    let mut body = format!(".shared .align 1024 .b8 s[{}];\n", shared_left + right);
    if a.is_some() {
        body += &copy_in("in0", 0, left);
    } else {
        body += &ptx::load_words("in0", 20, 4);
    }
    body += &copy_in("in1", shared_left, right);
    body += "fence.proxy.async.shared::cta;\nbar.sync 0;\n";
    body += &ptx::load_words("in2", 100, form.registers());
    body += &format!("setp.ne.b32 p0, {}, 0;\nwgmma.fence.sync.aligned;\n", u32::from(form.scale_d));
    let transposed = |layout: Layout| if layout.k_major { 0 } else { 1 };
    let mut tail = "p0".to_owned();
    if accumulator != Type::Int32 {
        tail += &format!(", {}, {}", form.scale_a, form.scale_b);
    }
    if operand.bytes() == 2 {
        if let Some(layout) = a {
            tail += &format!(", {}", transposed(layout));
        }
        tail += &format!(", {}", transposed(b));
    }
    let (k, d, t) = (form.instruction_k(), accumulator.name(), operand.name());
    let accumulators = ptx::list("r", 100, form.registers());
    for step in 0..form.steps {
        let left = match a {
            Some(layout) => {
                body += &descriptor("x30", layout, 64, layout.step(64, operand.bytes(), step));
                "x30".to_owned()
            }
            None => format!("{{{}}}", ptx::list("r", 20, 4)),
        };
        body += &descriptor("x31", b, n, shared_left + b.step(n, operand.bytes(), step));
        body += &format!("wgmma.mma_async.sync.aligned.m64n{n}k{k}.{d}.{t}.{t}");
        body += &format!(" {{{accumulators}}}, {left}, x31, {tail};\n");
        if step + 1 == form.steps / 2 {
            body += "wgmma.commit_group.sync.aligned;\n";
        }
    }
    body += "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 1;\nwgmma.wait_group.sync.aligned 0;\n";
    body += &ptx::store_words(100, form.registers());
    body
}

/// Puts the descriptor of a layout whose origin lies at `s + offset` into a register.
fn descriptor(register: &str, layout: Layout, extent: usize, offset: usize) -> String {
    format!(
        "mov.u64 {register}, s;\nadd.s64 {register}, {register}, {};\nand.b64 {register}, {register}, 0x3ffff;\n\
         shr.u64 {register}, {register}, 4;\nor.b64 {register}, {register}, {:#x};\n",
        offset + layout.advance,
        layout.descriptor(extent)
    )
}
