//! Asynchronous copies without tensor maps (PTX ISA 9.7.9.25): `cp.async`, `cp.async.bulk`,
//! `cp.reduce.async.bulk`.

use super::barrier::{init, init_for_copies, poll, wait};
use super::case::{Agreement, Case, Target, word};
use super::data::{Random, mask};
use super::exact::{BF16, F16, F64};
use super::integer::number;

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (cache, size) in [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)] {
        for completion in ["wait_all", "wait_group", "mbarrier", "mbarrier-noinc"] {
            cases.push(small(cache, size, Source::Whole, completion));
        }
        for source in [0, 1, 3, size / 2, size] {
            cases.push(small(cache, size, Source::Bytes(source), "wait_all"));
        }
        cases.push(small(cache, size, Source::Ignored, "wait_all"));
    }
    for size in [16, 48, 1024, 4096, 16384] {
        cases.push(bulk_load(size, false));
        cases.push(bulk_store(size));
    }
    cases.extend(REDUCTIONS.map(bulk_reduce));
    cases.push(bulk_within_cluster());
    cases.push(hints());
    cases.push(bulk_load(4096, true));
    cases
}

#[derive(Clone, Copy)]
enum Source {
    Whole,
    /// Only these bytes; the rest is zero.
    Bytes(usize),
    /// `ignore-src` where the thread's index is odd.
    Ignored,
}

/// Each thread copies a piece of its own and reads it back; the pieces lie 16 bytes apart.
fn small(cache: &str, size: usize, source: Source, completion: &str) -> Case {
    let (tail, operand) = match source {
        Source::Whole => (String::new(), String::new()),
        Source::Bytes(n) => (format!("-source-{n}"), format!(", {n}")),
        Source::Ignored => ("-ignore-src".to_owned(), ", p1".to_owned()),
    };
    let name = format!("cp.async/{cache}-{size}-{completion}{tail}");
    let mut body = ".shared .align 16 .b8 s[1024];\n.shared .align 8 .b64 bar;\n".to_owned();
    body += "mov.u64 x10, s;\nmul.wide.u32 x11, tid, 16;\nadd.s64 x10, x10, x11;\n\
             add.s64 x12, in0, x11;\nmov.b32 r10, 0xeeeeeeee;\n";
    body += "st.shared.v4.b32 [x10], {r10, r10, r10, r10};\nand.b32 r11, tid, 1;\n\
             setp.eq.u32 p1, r11, 1;\n";
    if completion.starts_with("mbarrier") {
        // Without .noinc the arrivals add to the pending count themselves, so the threads arrive beside them.
        body += &init("bar", 64);
    }
    body += &format!("cp.async.{cache}.shared.global [x10], [x12], {size}{operand};\n");
    body += &match completion {
        "wait_all" => "cp.async.wait_all;\n".to_owned(),
        "wait_group" => "cp.async.commit_group;\ncp.async.commit_group;\n\
         cp.async.wait_group 1;\n"
            .to_owned(),
        "mbarrier" => format!(
            "cp.async.mbarrier.arrive.shared.b64 [bar];\nmbarrier.arrive.shared.b64 _, [bar];\n{}",
            poll("bar", 0)
        ),
        _ => format!("cp.async.mbarrier.arrive.noinc.shared.b64 [bar];\n{}", poll("bar", 0)),
    };
    body += "ld.shared.v4.b32 {r10, r11, r12, r13}, [x10];\nadd.s64 x11, out, x11;\n\
             st.global.v4.b32 [x11], {r10, r11, r12, r13};\n";
    let bytes = Random::new(&name).bytes(64 * 16);
    Case::new(name, Target::Sm80, 64).bytes(bytes).writes(64 * 16).body(&body).expects(move |inputs, _| {
        let piece = |(thread, bytes): (usize, &[u8])| {
            let kept = match source {
                Source::Whole => size,
                Source::Bytes(n) => n,
                Source::Ignored if thread % 2 == 1 => 0,
                Source::Ignored => size,
            };
            let mut piece = [0xee; 16];
            piece[..size].fill(0);
            piece[..kept].copy_from_slice(&bytes[..kept]);
            piece
        };
        inputs[0].chunks_exact(16).enumerate().flat_map(piece).collect()
    })
}

/// Copies between shared memory at `s + offset` and a global buffer, 16 bytes for each of 128 threads a step.
fn move_bytes(load: &str, store: &str, buffer: &str, offset: usize, size: usize) -> String {
    let (shared, global) = ("[x21]", "[x22]");
    let (from, to) = if load == "shared" { (shared, global) } else { (global, shared) };
    let label = format!("{}_{buffer}", load.to_uppercase());
    format!(
        "mov.u32 r2, tid;\n{label}:\nsetp.ge.u32 p2, r2, {};\n@p2 bra {label}_END;\n\
         mul.wide.u32 x20, r2, 16;\n\
         mov.u64 x21, s;\nadd.s64 x21, x21, x20;\nadd.s64 x21, x21, {offset};\nadd.s64 x22, {buffer}, x20;\n\
         ld.{load}.v4.b32 {{r3, r4, r5, r6}}, {from};\nst.{store}.v4.b32 {to}, {{r3, r4, r5, r6}};\n\
         add.u32 r2, r2, 128;\nbra {label};\n{label}_END:\n",
        size / 16
    )
}

/// Copies `size` bytes of shared memory from `s` to the output.
pub fn copy_out(size: usize) -> String {
    move_bytes("shared", "global", "out", 0, size)
}

/// Fills `size` bytes of shared memory at `s + offset` from an input.
pub fn copy_in(buffer: &str, offset: usize, size: usize) -> String {
    move_bytes("global", "shared", buffer, offset, size)
}

fn bulk_load(size: usize, polled: bool) -> Case {
    let name = format!("cp.async.bulk/{}load-{size}", if polled { "polled-" } else { "" });
    let wait = if polled { poll } else { wait };
    let mut body = format!(
        ".shared .align 128 .b8 s[{size}];\n.shared .align 8 .b64 bar;\n{}",
        init_for_copies("bar", 1)
    );
    body += &format!(
        "setp.ne.u32 p0, tid, 0;\n@p0 bra ISSUED;\nmbarrier.arrive.expect_tx.shared.b64 _, [bar], {size};\n\
         cp.async.bulk.prefetch.L2.global [in0], {size};\n\
         cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [s], [in0], {size}, [bar];\n\
             ISSUED:\n{}{}",
        wait("bar", 0),
        copy_out(size)
    );
    let bytes = Random::new(&name).bytes(size);
    Case::new(name, Target::Sm90, 128)
        .bytes(bytes)
        .writes(size)
        .body(&body)
        .expects(|inputs, _| inputs[0].clone())
}

fn bulk_store(size: usize) -> Case {
    let name = format!("cp.async.bulk/store-{size}");
    let mut body = format!(".shared .align 128 .b8 s[{size}];\n{}", copy_in("in0", 0, size));
    body += &format!(
        "fence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 p0, tid, 0;\n@p0 bra DONE;\n\
         cp.async.bulk.global.shared::cta.bulk_group [out], [s], {size};\ncp.async.bulk.commit_group;\n\
         cp.async.bulk.wait_group.read 0;\ncp.async.bulk.wait_group 0;\nDONE:\n"
    );
    let bytes = Random::new(&name).bytes(size);
    Case::new(name, Target::Sm90, 128)
        .bytes(bytes)
        .writes(size)
        .body(&body)
        .expects(|inputs, _| inputs[0].clone())
}

/// From shared memory to shared memory, here of the same CTA.
fn bulk_within_cluster() -> Case {
    let (name, size) = ("cp.async.bulk/shared-to-shared", 2048);
    let mut body = format!(".shared .align 128 .b8 s[{size}];\n.shared .align 128 .b8 source[{size}];\n");
    body += ".shared .align 8 .b64 bar;\n";
    body += &copy_in("in0", 0, size).replace("x21, s;", "x21, source;");
    body += &init_for_copies("bar", 1);
    body += &format!(
        "fence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 p0, tid, 0;\n@p0 bra ISSUED;\n\
         mbarrier.arrive.expect_tx.shared.b64 _, [bar], {size};\n\
         cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [s], [source], {size}, [bar];\n\
         ISSUED:\n{}{}",
        wait("bar", 0),
        copy_out(size)
    );
    let bytes = Random::new(name).bytes(size);
    Case::new(name, Target::Sm90, 128)
        .bytes(bytes)
        .writes(size)
        .body(&body)
        .expects(|inputs, _| inputs[0].clone())
}

/// Cache policies change no result.
fn hints() -> Case {
    let name = "cp.async/hints";
    let mut body = ".shared .align 16 .b8 s[1024];\nmov.u64 x10, s;\nmul.wide.u32 x11, tid, 16;\n".to_owned();
    body += "add.s64 x10, x10, x11;\nadd.s64 x12, in0, x11;\nadd.s64 x13, out, x11;\n\
             createpolicy.fractional.L2::evict_last.b64 x14, 1.0;\n\
             createpolicy.fractional.L2::evict_first.L2::evict_unchanged.b64 x15, 0.5;\n\
             cp.async.cg.shared.global.L2::cache_hint [x10], [x12], 16, x14;\n\
             cp.async.wait_all;\nld.shared.v4.b32 {r10, r11, r12, r13}, [x10];\n\
             st.global.L2::cache_hint.v4.b32 [x13], {r10, r11, r12, r13}, x15;\n\
             prefetch.global.L2 [x12];\nprefetch.global.L1 [x12];\n\
             cp.async.ca.shared.global.L2::128B [x10], [x12], 8;\ncp.async.wait_all;\n\
             ld.shared.v2.b32 {r10, r11}, [x10];\nld.global.L2::cache_hint.v2.b32 {r12, r13}, [x12+8], x14;\n\
             st.global.v4.b32 [x13+1024], {r10, r11, r12, r13};\n";
    let bytes = Random::new(name).bytes(1024);
    Case::new(name, Target::Sm80, 64)
        .bytes(bytes)
        .writes(2048)
        .body(&body)
        .expects(|inputs, _| inputs[0].repeat(2))
}

const REDUCTIONS: [(&str, u32); 22] = [
    ("add.u32", 32),
    ("add.s32", 32),
    ("add.u64", 64),
    ("add.noftz.f16", 16),
    ("add.noftz.bf16", 16),
    ("add.f64", 64),
    ("min.u32", 32),
    ("min.s32", 32),
    ("min.u64", 64),
    ("min.s64", 64),
    ("min.f16", 16),
    ("min.bf16", 16),
    ("max.u32", 32),
    ("max.s32", 32),
    ("max.u64", 64),
    ("max.s64", 64),
    ("inc.u32", 32),
    ("dec.u32", 32),
    ("and.b32", 32),
    ("or.b32", 32),
    ("xor.b64", 64),
    ("add.f32", 32),
];

/// The operation of a bulk reduction: memory, operand.
fn reduce(op: &str, width: u32, memory: u64, operand: u64) -> u64 {
    let format = match op.rsplit('.').next() {
        Some("f16") => Some(F16),
        Some("bf16") => Some(BF16),
        Some("f32") => Some(super::exact::F32),
        Some("f64") => Some(F64),
        _ => None,
    };
    let signed = op.contains(".s");
    let (a, b) = (number(memory, width, signed), number(operand, width, signed));
    match (op.split('.').next().unwrap_or(op), format) {
        ("add", Some(f)) => f.encode_f64(f.to_f64(memory) + f.to_f64(operand)),
        ("min", Some(f)) => f.encode_f64(f.to_f64(memory).min(f.to_f64(operand))),
        ("add", None) => (a + b) as u64 & mask(width),
        ("min", None) => a.min(b) as u64 & mask(width),
        ("max", None) => a.max(b) as u64 & mask(width),
        ("inc", _) => {
            if memory >= operand {
                0
            } else {
                memory + 1
            }
        }
        ("dec", _) => {
            if memory == 0 || memory > operand {
                operand
            } else {
                memory - 1
            }
        }
        ("and", _) => memory & operand,
        ("or", _) => memory | operand,
        _ => memory ^ operand,
    }
}

fn bulk_reduce((op, width): (&'static str, u32)) -> Case {
    let name = format!("cp.reduce.async.bulk/{op}");
    let size = 512;
    let mut body = format!(".shared .align 128 .b8 s[{size}];\n{}", copy_in("in0", 0, size));
    body += &format!(
        "fence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 p0, tid, 0;\n@p0 bra DONE;\n\
         cp.reduce.async.bulk.global.shared::cta.bulk_group.{op} [out], [s], {size};\ncp.async.bulk.commit_group;\n\
         cp.async.bulk.wait_group 0;\nDONE:\n"
    );
    let mut random = Random::new(&name);
    let bytes = width as usize / 8;
    let mut buffer = || -> Vec<u8> {
        let mut element = || match op.rsplit('.').next() {
            Some("f16") => F16.encode_f64(random.small(64) as f64),
            Some("bf16") => BF16.encode_f64(random.small(64) as f64),
            Some("f32") => super::exact::F32.encode_f64(random.small(64) as f64),
            Some("f64") => F64.encode_f64(random.small(64) as f64),
            _ if op.starts_with("inc") || op.starts_with("dec") => random.below(6),
            _ => random.bits() & mask(width),
        };
        (0..size / bytes).flat_map(|_| element().to_le_bytes()[..bytes].to_vec()).collect()
    };
    let (input, memory) = (buffer(), buffer());
    let mut case = Case::new(name, Target::Sm90, 128).bytes(input);
    case.output = memory;
    case.agreement = Agreement::Bits(4);
    case.body(&body).expects(move |inputs, memory| {
        let pairs = memory.chunks_exact(bytes).zip(inputs[0].chunks_exact(bytes));
        pairs.flat_map(|(m, i)| reduce(op, width, word(m), word(i)).to_le_bytes()[..bytes].to_vec()).collect()
    })
}
