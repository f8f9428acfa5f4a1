//! `ldmatrix`, `stmatrix` and `movmatrix` (PTX ISA 9.7.14.5.15 and following).

use super::case::{Case, Target};
use super::data::Random;
use super::ptx;

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [1, 2, 4] {
        for trans in [false, true] {
            cases.push(load(count, trans));
            cases.push(store(count, trans));
        }
    }
    cases.push(transpose());
    cases
}

fn suffix(count: usize, trans: bool) -> String {
    format!("x{count}{}", if trans { "-trans" } else { "" })
}

/// Row and column of the two elements that a lane holds of an 8×8 matrix.
fn place(lane: usize, element: usize, trans: bool) -> (usize, usize) {
    let (row, column) = (lane / 4, 2 * (lane % 4) + element);
    if trans { (column, row) } else { (row, column) }
}

/// 32 rows of 16 bytes, in shuffled order: the k-th lane gives the address of the k-th row.
fn shuffled_rows(random: &mut Random) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..32).collect();
    for k in (1..32).rev() {
        rows.swap(k, random.below(k as u64 + 1) as usize);
    }
    rows
}

fn load(count: usize, trans: bool) -> Case {
    let name = format!("ldmatrix/{}", suffix(count, trans));
    let mut random = Random::new(&name);
    let t = if trans { ".trans" } else { "" };
    let mut body = ".shared .align 16 .b8 s[512];\n".to_owned();
    body += "mul.wide.u32 x10, lane, 16;\nadd.s64 x11, in0, x10;\n\
             ld.global.v4.b32 {r10, r11, r12, r13}, [x11];\n";
    body += "mov.u64 x12, s;\nadd.s64 x11, x12, x10;\nst.shared.v4.b32 [x11], {r10, r11, r12, r13};\n\
             bar.sync 0;\n";
    body += "mul.wide.u32 x10, lane, 4;\nadd.s64 x10, in1, x10;\nld.global.b32 r9, [x10];\n\
             mul.wide.u32 x10, r9, 16;\nadd.s64 x10, x12, x10;\n";
    body += &format!(
        "ldmatrix.sync.aligned.m8n8.x{count}{t}.shared.b16 {{{}}}, [x10];\n",
        ptx::list("r", 20, count)
    );
    body += &ptx::store_words(20, count);
    let (bytes, order) = (random.bytes(512), shuffled_rows(&mut random));
    let case = Case::new(name, Target::Sm80, 32).bytes(bytes).words(order.clone()).writes(128 * count);
    case.body(&body).expects(move |inputs, _| {
        let mut out = Vec::new();
        for lane in 0..32 {
            for matrix in 0..count {
                for element in 0..2 {
                    let (row, column) = place(lane, element, trans);
                    let at = 16 * order[8 * matrix + row] as usize + 2 * column;
                    out.extend(&inputs[0][at..at + 2]);
                }
            }
        }
        out
    })
}

fn store(count: usize, trans: bool) -> Case {
    let name = format!("stmatrix/{}", suffix(count, trans));
    let mut random = Random::new(&name);
    let t = if trans { ".trans" } else { "" };
    let mut body = ".shared .align 16 .b8 s[512];\n".to_owned();
    body += &ptx::load_words("in0", 20, count);
    body += "mov.u64 x12, s;\nmul.wide.u32 x13, lane, 16;\nadd.s64 x13, x12, x13;\n\
             mov.b32 r10, 0x5a5a5a5a;\nst.shared.v4.b32 [x13], {r10, r10, r10, r10};\nbar.sync 0;\n";
    body += "mul.wide.u32 x10, lane, 4;\nadd.s64 x10, in1, x10;\nld.global.b32 r9, [x10];\n\
             mul.wide.u32 x10, r9, 16;\nadd.s64 x10, x12, x10;\n";
    body += &format!(
        "stmatrix.sync.aligned.m8n8.x{count}{t}.shared.b16 [x10], {{{}}};\nbar.sync 0;\n",
        ptx::list("r", 20, count)
    );
    body += "ld.shared.v4.b32 {r10, r11, r12, r13}, [x13];\nmul.wide.u32 x10, lane, 16;\n\
             add.s64 x10, out, x10;\nst.global.v4.b32 [x10], {r10, r11, r12, r13};\n";
    let (bytes, order) = (random.bytes(128 * count), shuffled_rows(&mut random));
    let case = Case::new(name, Target::Sm90, 32).bytes(bytes).words(order.clone()).writes(512);
    case.body(&body).expects(move |inputs, _| {
        let mut out = vec![0x5a; 512];
        for lane in 0..32 {
            for matrix in 0..count {
                for element in 0..2 {
                    let (row, column) = place(lane, element, trans);
                    let at = 16 * order[8 * matrix + row] as usize + 2 * column;
                    let from = 4 * (lane * count + matrix) + 2 * element;
                    out[at..at + 2].copy_from_slice(&inputs[0][from..from + 2]);
                }
            }
        }
        out
    })
}

fn transpose() -> Case {
    let name = "movmatrix/trans";
    let body = format!(
        "{}movmatrix.sync.aligned.m8n8.trans.b16 r20, r10;\n{}",
        ptx::load_words("in0", 10, 1),
        ptx::store_words(20, 1)
    );
    Case::new(name, Target::Sm80, 32).bytes(Random::new(name).bytes(128)).writes(128).body(&body).expects(
        |inputs, _| {
            let mut out = Vec::new();
            for lane in 0..32 {
                for element in 0..2 {
                    let (row, column) = place(lane, element, true);
                    let from = 4 * (4 * row + column / 2) + 2 * (column % 2);
                    out.extend(&inputs[0][from..from + 2]);
                }
            }
            out
        },
    )
}
