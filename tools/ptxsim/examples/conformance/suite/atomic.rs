//! Atomic operations (PTX ISA 9.7.13.5 `atom`, `red`): contended ones whose result no order changes, and
//! uncontended ones, which return what was there.

use std::sync::Arc;

use super::case::{Agreement, Case, Target, word};
use super::data::{Random, mask};
use super::exact::{BF16, F16, F32, F64, Format};
use super::integer::number;
use super::ptx;

type Apply = Arc<dyn Fn(u64, u64) -> u64 + Send + Sync>;

struct Form {
    op: &'static str,
    t: &'static str,
    width: u32,
    target: Target,
    /// Operands of contended and of uncontended ones.
    kind: Kind,
    apply: Apply,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Integer,
    /// One bound for all.
    Bound,
    Float(Format),
    Packed(Format),
    /// Contention would leave any of the values.
    Exchange,
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for space in ["global", "shared"] {
        for form in forms() {
            let reds: &[bool] = if form.kind == Kind::Exchange { &[false] } else { &[false, true] };
            for red in reds {
                cases.push(case(space, &form, *red));
            }
        }
        cases.extend(
            [(16, Target::Sm80), (32, Target::Sm80), (64, Target::Sm80)]
                .map(|(w, t)| compare_and_swap(space, w, t)),
        );
    }
    for (text, words, format) in [
        ("add.v2.f32", 2, F32),
        ("add.v4.f32", 4, F32),
        ("add.noftz.v2.f16x2", 2, F16),
        ("add.noftz.v4.bf16x2", 4, BF16),
    ] {
        cases.push(vector(text, words, format));
    }
    cases.push(orders());
    cases
}

/// `red` of vectors: 32 threads, each to a vector of its own and all to one.
fn vector(text: &str, words: usize, format: Format) -> Case {
    let name = format!("atomic/red.global.{text}");
    let mut random = Random::new(&name);
    let size = format.bytes();
    let mut numbers = |count: usize| -> Vec<u8> {
        let element = |_| format.encode_f64(random.small(2) as f64).to_le_bytes()[..size].to_vec();
        (0..count * 4 * words / size).flat_map(element).collect()
    };
    let (operands, memory) = (numbers(32), numbers(33));
    let value = ptx::list("r", 10, words);
    let body = format!(
        "{}mul.wide.u32 x10, tid, {};\nadd.s64 x10, out, x10;\nred.global.{text} [x10], {{{value}}};\n\
         red.global.{text} [out+{}], {{{value}}};\n",
        ptx::load_words("in0", 10, words),
        4 * words,
        32 * 4 * words
    );
    let mut case = Case::new(name, Target::Sm90, 32).bytes(operands).agreeing(Agreement::Numbers(format));
    case.output = memory;
    case.body(&body).expects(move |inputs, memory| {
        let number = |bytes: &[u8]| format.to_f64(word(bytes));
        let mut sums: Vec<f64> = memory.chunks_exact(size).map(number).collect();
        let vector = 4 * words / size;
        for (k, value) in inputs[0].chunks_exact(size).map(number).enumerate() {
            sums[k] += value;
            sums[32 * vector + k % vector] += value;
        }
        sums.iter().flat_map(|s| format.encode_f64(*s).to_le_bytes()[..size].to_vec()).collect()
    })
}

/// Orders and scopes change nothing in a sum.
fn orders() -> Case {
    let forms = [
        "atom.relaxed.cta.global.add.u32 r20,",
        "atom.acquire.gpu.global.add.u32 r20,",
        "atom.release.gpu.global.add.u32 r20,",
        "atom.acq_rel.gpu.global.add.u32 r20,",
        "atom.acq_rel.sys.global.add.u32 r20,",
        "atom.add.u32 r20,",
        "red.relaxed.gpu.global.add.u32",
        "red.release.gpu.global.add.u32",
        "red.add.u32",
    ];
    let mut body = ptx::load_words("in0", 10, 1);
    for (k, form) in forms.iter().enumerate() {
        body += &format!("{form} [out+{}], r10;\n", 4 * k);
    }
    let mut case = Case::new("atomic/orders", Target::Sm80, 128).words(1..=128);
    case.output = vec![0; 4 * forms.len()];
    case.body(&body).expects_words(move |words| vec![words.iter().sum(); forms.len()])
}

fn forms() -> Vec<Form> {
    let form = |op, t, width, target, kind, apply| Form { op, t, width, target, kind, apply };
    let mut all = Vec::new();
    for (t, w) in [("u32", 32), ("s32", 32), ("u64", 64), ("s64", 64)] {
        let s = t.starts_with('s');
        if t != "s64" {
            all.push(form("add", t, w, Target::Sm80, Kind::Integer, Arc::new(u64::wrapping_add)));
        }
        let less = move |a: u64, b: u64| number(a, w, s) < number(b, w, s);
        all.push(form(
            "min",
            t,
            w,
            Target::Sm80,
            Kind::Integer,
            Arc::new(move |a, b| if less(b, a) { b } else { a }),
        ));
        all.push(form(
            "max",
            t,
            w,
            Target::Sm80,
            Kind::Integer,
            Arc::new(move |a, b| if less(a, b) { b } else { a }),
        ));
    }
    for (t, w) in [("b32", 32), ("b64", 64)] {
        all.push(form("and", t, w, Target::Sm80, Kind::Integer, Arc::new(|a, b| a & b)));
        all.push(form("or", t, w, Target::Sm80, Kind::Integer, Arc::new(|a, b| a | b)));
        all.push(form("xor", t, w, Target::Sm80, Kind::Integer, Arc::new(|a, b| a ^ b)));
        all.push(form("exch", t, w, Target::Sm80, Kind::Exchange, Arc::new(|_, b| b)));
    }
    all.push(form(
        "inc",
        "u32",
        32,
        Target::Sm80,
        Kind::Bound,
        Arc::new(|a, b| if a >= b { 0 } else { a + 1 }),
    ));
    all.push(form(
        "dec",
        "u32",
        32,
        Target::Sm80,
        Kind::Bound,
        Arc::new(|a, b| if a == 0 || a > b { b } else { a - 1 }),
    ));
    let sum = |f: Format| move |a: u64, b: u64| f.encode_f64(f.to_f64(a) + f.to_f64(b));
    let sums =
        |f: Format| move |a: u64, b: u64| sum(f)(a & 0xffff, b & 0xffff) | sum(f)(a >> 16, b >> 16) << 16;
    all.push(form("add", "f32", 32, Target::Sm80, Kind::Float(F32), Arc::new(sum(F32))));
    all.push(form("add", "f64", 64, Target::Sm80, Kind::Float(F64), Arc::new(sum(F64))));
    all.push(form("add.noftz", "f16", 16, Target::Sm80, Kind::Float(F16), Arc::new(sum(F16))));
    all.push(form("add.noftz", "bf16", 16, Target::Sm90, Kind::Float(BF16), Arc::new(sum(BF16))));
    all.push(form("add.noftz", "f16x2", 32, Target::Sm80, Kind::Packed(F16), Arc::new(sums(F16))));
    all.push(form("add.noftz", "bf16x2", 32, Target::Sm90, Kind::Packed(BF16), Arc::new(sums(BF16))));
    all
}

/// Threads, each with a slot of its own, and four slots for all.
const THREADS: usize = 128;
const SLOTS: usize = 4;

/// Small integers, which every format here adds exactly.
fn operand(random: &mut Random, form: &Form) -> u64 {
    match form.kind {
        Kind::Float(format) => format.encode_f64(random.small(3) as f64),
        Kind::Packed(format) => {
            format.encode_f64(random.small(2) as f64) | format.encode_f64(random.small(2) as f64) << 16
        }
        Kind::Bound => random.below(5),
        _ => random.bits() & mask(form.width),
    }
}

/// Output: the values that atom returned, then the memory (own slots, common slots).
fn case(space: &str, form: &Form, red: bool) -> Case {
    let verb = if red { "red" } else { "atom" };
    let name = format!("atomic/{verb}.{space}.{}.{}", form.op, form.t);
    let mut random = Random::new(&name);
    let size = form.width as usize / 8;
    let bytes = |v: u64| v.to_le_bytes()[..size].to_vec();
    let operands: Vec<u8> = (0..THREADS).flat_map(|_| bytes(operand(&mut random, form))).collect();
    let memory: Vec<u8> = (0..THREADS + SLOTS).flat_map(|_| bytes(operand(&mut random, form))).collect();
    let (w, class) = (
        form.width,
        if form.width == 16 {
            "h"
        } else if form.width == 32 {
            "r"
        } else {
            "x"
        },
    );
    let (v, old) = (format!("{class}40"), format!("{class}41"));
    let mut body =
        format!("mul.wide.u32 x10, tid, {size};\nadd.s64 x11, in0, x10;\nld.global.b{w} {v}, [x11];\n");
    body += &memory_address(space, size);
    let contended = if form.kind == Kind::Bound { format!("{class}42") } else { v.clone() };
    if form.kind == Kind::Bound {
        body += &format!("mov.b{w} {contended}, 50;\n");
    }
    let op = format!("{}.{}", form.op, form.t);
    let destination = |d: &str| if red { String::new() } else { format!("{d}, ") };
    body += &format!("{verb}.{space}.{op} {}[x20], {v};\n", destination(&old));
    if form.kind != Kind::Exchange {
        body += &format!("{verb}.{space}.{op} {}[x21], {contended};\n", destination(&format!("{class}43")));
    }
    if !red {
        body += &format!(
            "mul.wide.u32 x11, tid, {size};\nadd.s64 x11, out, x11;\nst.global.b{w} [x11], {old};\n"
        );
    }
    body += &copy_back(space, size);
    let mut case = Case::new(name, form.target, THREADS as u32).bytes(operands).bytes(memory.clone());
    let returned = if red { 0 } else { THREADS * size };
    case.output = vec![0; THREADS * size];
    case.output.extend(&memory);
    case = case.body(&body);
    if let Kind::Float(format) | Kind::Packed(format) = form.kind {
        case.agreement = Agreement::Numbers(format);
    }
    let (apply, kind) = (form.apply.clone(), form.kind);
    case.expects(move |inputs, first| {
        let elements = |b: &[u8]| -> Vec<u64> { b.chunks_exact(size).map(word).collect() };
        let (operands, mut memory) = (elements(&inputs[0]), elements(&inputs[1]));
        let mut out = elements(first)[..THREADS].to_vec();
        for t in 0..THREADS {
            if returned > 0 {
                out[t] = memory[t];
            }
            memory[t] = apply(memory[t], operands[t]);
            let common = THREADS + t % SLOTS;
            if kind != Kind::Exchange {
                memory[common] = apply(memory[common], if kind == Kind::Bound { 50 } else { operands[t] });
            }
        }
        out.extend(memory);
        out.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect()
    })
}

/// Own slot's address in `x20`, the common one's in `x21`; shared memory is filled from the second input.
fn memory_address(space: &str, size: usize) -> String {
    let common = format!(
        "and.b32 r10, tid, {};\nadd.u32 r10, r10, {THREADS};\nmul.wide.u32 x12, r10, {size};\n",
        SLOTS - 1
    );
    if space == "global" {
        return format!(
            "{common}add.s64 x13, out, {};\nadd.s64 x20, x13, x10;\nadd.s64 x21, x13, x12;\n",
            THREADS * size
        );
    }
    let w = 8 * size;
    let value = if size == 2 {
        "h50"
    } else if size == 4 {
        "r50"
    } else {
        "x50"
    };
    format!(
        ".shared .align 16 .b8 s[{}];\n{common}mov.u64 x13, s;\nadd.s64 x20, x13, x10;\n\
         add.s64 x21, x13, x12;\n\
         add.s64 x14, in1, x10;\nld.global.b{w} {value}, [x14];\nst.shared.b{w} [x20], {value};\n\
         setp.ge.u32 p0, tid, {SLOTS};\n@p0 bra FILLED;\nadd.s64 x14, in1, x12;\n\
             ld.global.b{w} {value}, [x14];\nst.shared.b{w} [x21], {value};\nFILLED:\nbar.sync 0;\n",
        (THREADS + SLOTS) * size
    )
}

fn copy_back(space: &str, size: usize) -> String {
    if space == "global" {
        return String::new();
    }
    let w = 8 * size;
    let value = if size == 2 {
        "h50"
    } else if size == 4 {
        "r50"
    } else {
        "x50"
    };
    format!(
        "bar.sync 0;\nadd.s64 x14, out, {0};\nadd.s64 x15, x14, x10;\nld.shared.b{w} {value}, [x20];\n\
         st.global.b{w} [x15], {value};\n\
         setp.ge.u32 p0, tid, {SLOTS};\n@p0 bra COPIED;\nadd.s64 x15, x14, x12;\n\
             ld.shared.b{w} {value}, [x21];\nst.global.b{w} [x15], {value};\nCOPIED:\n",
        THREADS * size
    )
}

/// `atom.cas`: half of the threads guess what is there.
fn compare_and_swap(space: &str, width: u32, target: Target) -> Case {
    let name = format!("atomic/atom.{space}.cas.b{width}");
    let mut random = Random::new(&name);
    let size = width as usize / 8;
    let bytes = |v: u64| v.to_le_bytes()[..size].to_vec();
    let memory: Vec<u64> = (0..THREADS + SLOTS).map(|_| random.bits() & mask(width)).collect();
    let guess: Vec<u8> =
        (0..THREADS).flat_map(|t| bytes(if t % 2 == 0 { memory[t] } else { memory[t] ^ 0x100 })).collect();
    let memory: Vec<u8> = memory.into_iter().flat_map(bytes).collect();
    let class = if width == 16 {
        "h"
    } else if width == 32 {
        "r"
    } else {
        "x"
    };
    let mut body = format!(
        "mul.wide.u32 x10, tid, {size};\nadd.s64 x11, in0, x10;\nld.global.b{width} {class}40, [x11];\n"
    );
    body += &memory_address(space, size);
    body += &format!(
        "not.b{width} {class}41, {class}40;\n\
         atom.{space}.cas.b{width} {class}42, [x20], {class}40, {class}41;\n"
    );
    body += &format!(
        "add.s64 x11, out, x10;\nst.global.b{width} [x11], {class}42;\n\
                  {}",
        copy_back(space, size)
    );
    let mut case = Case::new(name, target, THREADS as u32).bytes(guess).bytes(memory.clone());
    case.output = vec![0; THREADS * size];
    case.output.extend(&memory);
    case.body(&body).expects(move |inputs, _| {
        let elements = |b: &[u8]| -> Vec<u64> { b.chunks_exact(size).map(word).collect() };
        let (guess, mut memory) = (elements(&inputs[0]), elements(&inputs[1]));
        let old = memory[..THREADS].to_vec();
        for t in 0..THREADS {
            if memory[t] == guess[t] {
                memory[t] = !guess[t] & mask(width);
            }
        }
        old.iter().chain(&memory).flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect()
    })
}
