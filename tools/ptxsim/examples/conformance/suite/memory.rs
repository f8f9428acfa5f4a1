//! Loads, stores and address spaces (PTX ISA 9.7.9.8 `ld`, 9.7.9.12 `st`, `cvta`, `isspacep`).

use super::case::{Case, Target};
use super::data::Random;
use super::ptx;

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for space in ["global", "shared", "local"] {
        cases.push(loads(space, false));
        cases.push(loads(space, true));
        cases.push(stores(space, false));
        cases.push(stores(space, true));
    }
    cases.push(constants());
    cases.push(parameters());
    cases.push(spaces());
    cases.push(windows());
    cases.push(qualifiers());
    cases
}

/// Makes `x10` the address of 16 bytes of the thread's own in the space, generic or not.
fn own_bytes(space: &str, generic: bool) -> String {
    let address = match space {
        "global" => "mul.wide.u32 x10, i, 16;\nadd.s64 x10, in0, x10;\n".to_owned(),
        "shared" => ".shared .align 16 .b8 s[2048];\nmul.wide.u32 x10, tid, 16;\nmov.u64 x11, s;\n\
         add.s64 x10, x11, x10;\n"
            .to_owned(),
        _ => ".local .align 16 .b8 l[16];\nmov.u64 x10, l;\n".to_owned(),
    };
    // Whatever the space, the bytes are those of the input.
    let fill = if space == "global" {
        String::new()
    } else {
        format!(
            "mul.wide.u32 x12, i, 16;\nadd.s64 x12, in0, x12;\n\
             ld.global.v4.b32 {{r2, r3, r4, r5}}, [x12];\n\
             st.{space}.v4.b32 [x10], {{r2, r3, r4, r5}};\n"
        )
    };
    let convert = if generic { format!("cvta.{space}.u64 x10, x10;\n") } else { String::new() };
    address + &fill + &convert
}

fn loads(space: &str, generic: bool) -> Case {
    let name = format!("memory/ld.{space}{}", if generic { "-generic" } else { "" });
    let ld = if generic { "ld".to_owned() } else { format!("ld.{space}") };
    let mut body = own_bytes(space, generic);
    body += &format!(
        "{ld}.u8 r20, [x10+3];\n{ld}.s8 r21, [x10+5];\n{ld}.u16 r22, [x10+6];\n{ld}.s16 r23, [x10+2];\n"
    );
    body += &format!("{ld}.u32 r24, [x10+4];\n{ld}.s8 x20, [x10+7];\nmov.b64 {{r25, r26}}, x20;\n");
    body += &format!(
        "{ld}.s32 x20, [x10+8];\nmov.b64 {{r27, r28}}, x20;\n{ld}.u32 x20, [x10+12];\n\
         mov.b64 {{r29, r30}}, x20;\n"
    );
    body += &format!(
        "{ld}.s8 h10, [x10+9];\ncvt.u32.u16 r31, h10;\n{ld}.v2.u8 {{h10, h11}}, [x10+10];\n\
         mov.b32 r32, {{h10, h11}};\n"
    );
    body += &format!(
        "{ld}.v4.s8 {{r33, r34, r35, r36}}, [x10+12];\n{ld}.v4.u16 {{h10, h11, h12, h13}}, [x10+8];\n"
    );
    body += "mov.b32 r37, {h10, h11};\nmov.b32 r38, {h12, h13};\n";
    body += &format!("{ld}.v2.s16 {{r39, r40}}, [x10+4];\n{ld}.v2.f32 {{r41, r42}}, [x10+8];\n");
    body += &format!("{ld}.v4.b32 {{r43, r44, r45, r46}}, [x10];\n{ld}.v2.u64 {{x20, x21}}, [x10];\n");
    body += &format!(
        "mov.b64 {{r47, r48}}, x20;\nmov.b64 {{r49, r50}}, x21;\n{ld}.f64 x20, [x10+8];\n\
         mov.b64 {{r51, r52}}, x20;\n"
    );
    body += &ptx::store_words(20, 33);
    let bytes = Random::new(&name).bytes(64 * 16);
    Case::new(name, Target::Sm80, 64).bytes(bytes).writes(64 * 33 * 4).body(&body).expects(|inputs, _| {
        let thread = |b: &[u8]| -> Vec<u32> {
            let u16 = |k: usize| u32::from(b[k]) | u32::from(b[k + 1]) << 8;
            let u32 = |k: usize| u16(k) | u16(k + 2) << 16;
            let s8 = |k: usize| b[k] as i8 as u32;
            let s16 = |k: usize| u16(k) as u16 as i16 as u32;
            let sign = |v: u32| (v as i32 >> 31) as u32;
            let mut all = vec![u32::from(b[3]), s8(5), u16(6), s16(2), u32(4), s8(7), sign(s8(7))];
            all.extend([
                u32(8),
                sign(u32(8)),
                u32(12),
                0,
                s8(9) & 0xffff,
                u32::from(b[10]) | u32::from(b[11]) << 16,
            ]);
            all.extend([s8(12), s8(13), s8(14), s8(15), u32(8), u32(12), s16(4), s16(6), u32(8), u32(12)]);
            all.extend([0, 4, 8, 12, 0, 4, 8, 12, 8, 12].map(u32));
            all
        };
        inputs[0].chunks_exact(16).flat_map(thread).flat_map(u32::to_le_bytes).collect()
    })
}

/// Stores of parts of registers, over bytes that stay where nothing is stored.
fn stores(space: &str, generic: bool) -> Case {
    let name = format!("memory/st.{space}{}", if generic { "-generic" } else { "" });
    let st = if generic { "st".to_owned() } else { format!("st.{space}") };
    let ld = st.replacen("st", "ld", 1);
    let forms = [
        format!(
            "{st}.u8 [x10+1], r10;\n{st}.u16 [x10+4], r11;\n{st}.b32 [x10+8], r12;\n\
             {st}.u8 [x10+15], x30;\n"
        ),
        format!("{st}.v2.u8 [x10+2], {{r10, r11}};\n{st}.v4.u8 [x10+8], {{r10, r11, r12, r13}};\n"),
        format!("{st}.v2.u16 [x10+4], {{h20, h21}};\n{st}.v4.u16 [x10+8], {{r10, r11, r12, r13}};\n"),
        format!("{st}.v2.f32 [x10+8], {{r12, r13}};\n{st}.u32 [x10], x30;\n"),
        format!("{st}.v4.s32 [x10], {{r13, r12, r11, r10}};\n"),
        format!("{st}.v2.b64 [x10], {{x31, x30}};\n"),
        format!("{st}.f64 [x10+8], x30;\n"),
    ];
    let mut body = own_bytes(space, generic);
    body +=
        "mul.wide.u32 x12, i, 16;\nadd.s64 x12, in1, x12;\nld.global.v4.b32 {r10, r11, r12, r13}, [x12];\n";
    body += "mov.b64 x30, {r10, r11};\nmov.b64 x31, {r12, r13};\nmov.b32 {h20, h21}, r12;\n";
    for (k, form) in forms.iter().enumerate() {
        body += form;
        body += &format!(
            "{ld}.v4.b32 {{r{}, r{}, r{}, r{}}}, [x10];\n",
            20 + 4 * k,
            21 + 4 * k,
            22 + 4 * k,
            23 + 4 * k
        );
    }
    body += &ptx::store_words(20, 28);
    let mut random = Random::new(&name);
    let (first, second) = (random.bytes(64 * 16), random.bytes(64 * 16));
    Case::new(name, Target::Sm80, 64).bytes(first).bytes(second).writes(64 * 28 * 4).body(&body).expects(
        |inputs, _| {
            let mut out = Vec::new();
            for (old, new) in inputs[0].chunks_exact(16).zip(inputs[1].chunks_exact(16)) {
                let mut bytes = old.to_vec();
                // (to, from, count) of the bytes that each group of stores writes.
                let groups: [&[(usize, usize, usize)]; 7] = [
                    &[(1, 0, 1), (4, 4, 2), (8, 8, 4), (15, 0, 1)],
                    &[(2, 0, 1), (3, 4, 1), (8, 0, 1), (9, 4, 1), (10, 8, 1), (11, 12, 1)],
                    &[(4, 8, 4), (8, 0, 2), (10, 4, 2), (12, 8, 2), (14, 12, 2)],
                    &[(8, 8, 8), (0, 0, 4)],
                    &[(0, 12, 4), (4, 8, 4), (8, 4, 4), (12, 0, 4)],
                    &[(0, 8, 8), (8, 0, 8)],
                    &[(8, 0, 8)],
                ];
                for group in groups {
                    for (to, from, count) in group {
                        bytes[*to..to + count].copy_from_slice(&new[*from..from + count]);
                    }
                    out.extend(&bytes);
                }
            }
            out
        },
    )
}

fn constants() -> Case {
    let table = ".const .align 8 .b32 table[4] = {1, -2, 0x30000003, 4};\n\
                 .global .align 8 .f32 numbers[2] = {1.5, 0f40490fdb};\n\
                 .const .align 8 .u64 where = generic(numbers);\n";
    let body = format!(
        "and.b32 r10, lane, 3;\nmul.wide.u32 x10, r10, 4;\nmov.u64 x11, table;\nadd.s64 x11, x11, x10;\n\
         ld.const.b32 r20, [x11];\n\
         cvta.const.u64 x11, x11;\nld.b32 r21, [x11];\nld.const.u32 r22, [table+8];\nld.global.f32 r23, [numbers+4];\n\
         ld.const.u64 x12, [where];\nld.f32 r24, [x12];\n{}",
        ptx::store_words(20, 5)
    );
    let mut case = Case::new("memory/constants", Target::Sm80, 32).words([0]).writes(32 * 20).body(&body);
    case.ptx = case.ptx.replacen(".visible", &format!("{table}\n.visible"), 1);
    case.expects_words(|_| {
        let table = [1, -2i32 as u32, 0x3000_0003, 4];
        (0..32).flat_map(|k| [table[k % 4], table[k % 4], table[2], 0x4049_0fdb, 1.5f32.to_bits()]).collect()
    })
}

/// A parameter read in pieces, in its space and by generic address: the difference is what is stored.
fn parameters() -> Case {
    let mut body = "ld.param.u64 x10, [p_in0];\nmov.b64 x11, p_in0;\ncvta.param.u64 x11, x11;\n\
                    ld.u64 x12, [x11];\nxor.b64 x12, x10, x12;\n"
        .to_owned();
    body += "mov.b64 {r20, r21}, x12;\nld.param.u32 r22, [p_in0+4];\nld.u32 r23, [x11+4];\n\
             xor.b32 r22, r22, r23;\n";
    body += "ld.param.u8 r23, [p_in0+1];\nbfe.u32 r24, r23, 0, 8;\nshr.u64 x13, x10, 8;\n\
             cvt.u32.u64 r25, x13;\nand.b32 r25, r25, 255;\nxor.b32 r23, r24, r25;\n";
    body += &ptx::store_words(20, 4);
    Case::new("memory/parameters", Target::Sm80, 32)
        .words([0])
        .writes(512)
        .body(&body)
        .expects_words(|_| vec![0; 128])
}

const ADDRESSES: &str = ".shared .align 8 .b8 s[64];\n.local .align 8 .b8 l[64];\ncvta.global.u64 x10, in0;\n\
                         mov.u64 x11, s;\ncvta.shared.u64 x11, x11;\nmov.u64 x12, l;\ncvta.local.u64 x12, x12;\n\
                         mov.u64 x13, table;\ncvta.const.u64 x13, x13;\nmov.b64 x14, p_in0;\n\
                         cvta.param.u64 x14, x14;\n";

fn with_table(mut case: Case) -> Case {
    case.ptx = case.ptx.replacen(".visible", ".const .align 8 .b32 table[4] = {1, 2, 3, 4};\n\n.visible", 1);
    case
}

fn spaces() -> Case {
    let mut body = ADDRESSES.to_owned();
    let mut register = 20;
    for address in 10..13 {
        for space in ["global", "shared", "local"] {
            body += &format!("isspacep.{space} p0, x{address};\nselp.b32 r{register}, 1, 0, p0;\n");
            register += 1;
        }
    }
    body += "isspacep.const p0, x13;\nselp.b32 r29, 1, 0, p0;\nisspacep.param p0, x14;\nselp.b32 r30, 1, 0, p0;\n";
    // Back to the spaces' own addresses.
    body += "cvta.to.shared.u64 x15, x11;\nmov.u64 x16, s;\nsub.s64 x15, x15, x16;\ncvt.u32.u64 r31, x15;\n";
    body += "cvta.to.local.u64 x15, x12;\nmov.u64 x16, l;\nsub.s64 x15, x15, x16;\ncvt.u32.u64 r32, x15;\n";
    body += &ptx::store_words(20, 13);
    let case = Case::new("memory/isspacep", Target::Sm80, 32).words([0]).writes(32 * 52).body(&body);
    with_table(case).expects_words(|_| [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0].repeat(32))
}

/// Whether the windows of constants and parameters lie within the global one, and the other way round.
fn windows() -> Case {
    let tests = [("global", 13), ("global", 14), ("const", 10), ("param", 10), ("const", 14), ("param", 13)];
    let mut body = ADDRESSES.to_owned();
    for (k, (space, address)) in tests.iter().enumerate() {
        body += &format!("isspacep.{space} p0, x{address};\nselp.b32 r{}, 1, 0, p0;\n", 20 + k);
    }
    body += &ptx::store_words(20, tests.len());
    let mut case =
        Case::new("memory/isspacep-windows", Target::Sm80, 32).words([0]).writes(32 * 24).body(&body);
    case.unknown = true;
    with_table(case)
}

/// Cache hints and memory orders change nothing that one thread can see.
fn qualifiers() -> Case {
    let loads = [
        "ld.global.nc.b32",
        "ld.global.ca.b32",
        "ld.global.cg.b32",
        "ld.global.cs.b32",
        "ld.global.lu.b32",
        "ld.global.cv.b32",
        "ld.volatile.global.b32",
        "ld.relaxed.gpu.global.b32",
        "ld.acquire.gpu.global.b32",
        "ld.acquire.sys.global.b32",
        "ld.relaxed.cta.b32",
        "ld.weak.global.b32",
        "ld.global.nc.L1::no_allocate.b32",
        "ld.global.L2::128B.b32",
        "ld.global.L1::evict_last.b32",
        "ldu.global.b32",
    ];
    let stores = [
        "st.global.wb.b32",
        "st.global.cg.b32",
        "st.global.cs.b32",
        "st.global.wt.b32",
        "st.volatile.global.b32",
        "st.relaxed.gpu.global.b32",
        "st.release.gpu.global.b32",
        "st.release.sys.global.b32",
        "st.weak.global.b32",
        "st.global.L1::no_allocate.b32",
        "st.relaxed.cta.b32",
    ];
    let count = loads.len() + stores.len();
    let mut body = "mul.wide.u32 x10, i, 4;\nadd.s64 x10, in0, x10;\n".to_owned();
    body += &format!("mul.wide.u32 x11, i, {};\nadd.s64 x11, out, x11;\n", 4 * count);
    for (k, load) in loads.iter().enumerate() {
        body += &format!("{load} r20, [x10];\nst.global.b32 [x11+{}], r20;\n", 4 * k);
    }
    for (k, store) in stores.iter().enumerate() {
        body += &format!("{store} [x11+{}], r20;\n", 4 * (loads.len() + k));
    }
    let name = "memory/qualifiers";
    Case::new(name, Target::Sm80, 32)
        .words(Random::new(name).words(32))
        .writes(32 * 4 * count)
        .body(&body)
        .expects_words(move |words| words.iter().flat_map(|w| vec![*w; count]).collect())
}
