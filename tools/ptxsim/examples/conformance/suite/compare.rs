//! Comparison and selection (PTX ISA 9.7.5, 9.7.6).

use std::cmp::Ordering;

use super::case::{Agreement, Case, Target};
use super::data::{Columns, Random, random_integer, special_integers};
use super::element::Element;
use super::exact::{BF16, F16, F32, F64, Format};
use super::float;
use super::integer::number;

type Holds = fn(Option<Ordering>) -> bool;

/// Operators with whether they hold for an ordering; `None` is unordered: a NaN is compared.
const ORDERED: [(&str, Holds); 8] = [
    ("eq", |o| o == Some(Ordering::Equal)),
    ("ne", |o| matches!(o, Some(Ordering::Less | Ordering::Greater))),
    ("lt", |o| o == Some(Ordering::Less)),
    ("le", |o| matches!(o, Some(Ordering::Less | Ordering::Equal))),
    ("gt", |o| o == Some(Ordering::Greater)),
    ("ge", |o| matches!(o, Some(Ordering::Greater | Ordering::Equal))),
    ("num", |o| o.is_some()),
    ("nan", |o| o.is_none()),
];

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (t, w, s) in [
        ("u16", 16, false),
        ("s16", 16, true),
        ("b16", 16, false),
        ("u32", 32, false),
        ("s32", 32, true),
        ("b32", 32, false),
        ("u64", 64, false),
        ("s64", 64, true),
        ("b64", 64, false),
    ] {
        for (op, holds) in &ORDERED[..6] {
            if t.starts_with('b') && !matches!(*op, "eq" | "ne") {
                continue;
            }
            cases.push(integers(op, t, w, s, *holds));
            let alias = match *op {
                "lt" => "lo",
                "le" => "ls",
                "gt" => "hi",
                "ge" => "hs",
                _ => continue,
            };
            if t.starts_with('u') {
                cases.push(integers(alias, t, w, s, *holds));
            }
        }
    }
    for (t, format) in [("f32", F32), ("f64", F64), ("f16", F16), ("bf16", BF16)] {
        for (op, holds) in ORDERED {
            let flags: &[bool] = if matches!(t, "f32" | "f16") { &[false, true] } else { &[false] };
            for ftz in flags {
                floats(&mut cases, op, (t, format), *ftz, false, holds);
                if !matches!(op, "num" | "nan") {
                    floats(&mut cases, &format!("{op}u"), (t, format), *ftz, true, holds);
                }
            }
        }
    }
    cases.push(combined());
    cases.push(selection());
    cases
}

fn integers(op: &str, t: &str, w: u32, s: bool, holds: Holds) -> Case {
    let name = format!("compare/setp.{op}.{t}");
    let mut random = Random::new(&name);
    let rows = Columns { specials: vec![special_integers(w); 2], random: 300 }
        .rows(&mut random, |random, _| random_integer(random, w));
    let statements = format!("setp.{op}.{t} p0, $a, $b;\nselp.b32 $d, 1, 0, p0;");
    let (target, agreement) = (Target::Sm80, Agreement::Bits(4));
    Element { name, target, operands: &[w, w], result: 32, statements, rows, agreement }
        .case(Some(Box::new(move |v| u64::from(holds(Some(number(v[0], w, s).cmp(&number(v[1], w, s))))))))
}

fn floats(
    cases: &mut Vec<Case>,
    op: &str,
    (t, format): (&str, Format),
    ftz: bool,
    unordered: bool,
    holds: Holds,
) {
    let op = format!("{op}{}", if ftz { ".ftz" } else { "" });
    let target = if t == "bf16" { Target::Sm90 } else { Target::Sm80 };
    let test = move |a: u64, b: u64| {
        let value = |bits: u64| format.to_f64(if ftz { format.flushed(bits) } else { bits });
        let ordering = value(a).partial_cmp(&value(b));
        holds(ordering) || unordered && ordering.is_none()
    };
    let name = format!("compare/setp.{op}.{t}");
    let rows = float::rows(&name, format, 2);
    let statements = format!("setp.{op}.{t} p0, $a, $b;\nselp.b32 $d, 1, 0, p0;");
    let operands = [format.width(); 2];
    let agreement = Agreement::Bits(4);
    cases.push(
        Element { name, target, operands: &operands, result: 32, statements, rows, agreement }
            .case(Some(Box::new(move |v| u64::from(test(v[0], v[1]))))),
    );
    let set = |cases: &mut Vec<Case>, text: String, result: u64| {
        let name = format!("compare/{text}");
        let rows = float::rows(&name, format, 2);
        let statements = format!("{text} $d, $a, $b;");
        cases.push(
            Element { name, target, operands: &operands, result: 32, statements, rows, agreement }
                .case(Some(Box::new(move |v| if test(v[0], v[1]) { result } else { 0 }))),
        );
    };
    if t == "f32" {
        set(cases, format!("set.{op}.u32.f32"), 0xffff_ffff);
        set(cases, format!("set.{op}.f32.f32"), 0x3f80_0000);
    }
    if format.width() != 16 {
        return;
    }
    let name = format!("compare/setp.{op}.{t}x2");
    let rows = float::rows(&name, format, 2);
    let count = rows.len();
    let pair = |i: usize| rows[i].iter().zip(&rows[(i * 7 + 3) % count]).map(|(a, b)| a | b << 16).collect();
    let rows = (0..count).map(pair).collect();
    let statements = format!(
        "setp.{op}.{t}x2 p0|p1, $a, $b;\nselp.b32 r10, 1, 0, p0;\nselp.b32 r11, 2, 0, p1;\n\
         or.b32 $d, r10, r11;"
    );
    cases.push(Element { name, target, operands: &[32, 32], result: 32, statements, rows, agreement }.case(
        Some(Box::new(move |v| {
            let low = test(v[0] & 0xffff, v[1] & 0xffff);
            let high = test(v[0] >> 16, v[1] >> 16);
            u64::from(low) | u64::from(high) << 1
        })),
    ));
}

/// `setp` with a boolean operator and both destinations: `p` is `(a < b) op c`, `q` is `!(a < b) op c`.
fn combined() -> Case {
    let name = "compare/setp.lt.and-or-xor.s32".to_owned();
    let mut random = Random::new(&name);
    let specials = special_integers(32);
    let rows = (0..512).map(|_| (0..3).map(|_| random.pick(&specials)).collect()).collect();
    let mut statements = "setp.ne.s32 p0, $c, 0;\nmov.b32 $d, 0;\n".to_owned();
    for (k, op) in ["and", "or", "xor"].iter().enumerate() {
        for (negated, c) in [(0, "p0"), (1, "!p0")] {
            let bit = 4 * k + 2 * negated;
            statements += &format!("setp.lt.{op}.s32 p1|p2, $a, $b, {c};\n");
            statements += &format!("selp.b32 r10, {}, 0, p1;\nor.b32 $d, $d, r10;\n", 1 << bit);
            statements += &format!("selp.b32 r10, {}, 0, p2;\nor.b32 $d, $d, r10;\n", 2 << bit);
        }
    }
    let (target, agreement) = (Target::Sm80, Agreement::Bits(4));
    Element { name, target, operands: &[32; 3], result: 32, statements, rows, agreement }.case(Some(
        Box::new(|v| {
            let less = number(v[0], 32, true) < number(v[1], 32, true);
            let ops: [fn(bool, bool) -> bool; 3] = [|a, b| a & b, |a, b| a | b, |a, b| a ^ b];
            let mut bit = 0;
            let mut all = 0u64;
            for op in ops {
                for c in [v[2] != 0, v[2] == 0] {
                    all |= u64::from(op(less, c)) << bit | u64::from(op(!less, c)) << (bit + 1);
                    bit += 2;
                }
            }
            all
        }),
    ))
}

/// `slct` on the sign of an integer; `selp` on a predicate.
fn selection() -> Case {
    let name = "compare/slct.s32.s32".to_owned();
    let mut random = Random::new(&name);
    let specials = special_integers(32);
    let rows = (0..512).map(|_| (0..3).map(|_| random.pick(&specials)).collect()).collect();
    let statements = "slct.s32.s32 $d, $a, $b, $c;".to_owned();
    let (target, agreement) = (Target::Sm80, Agreement::Bits(4));
    Element { name, target, operands: &[32; 3], result: 32, statements, rows, agreement }
        .case(Some(Box::new(|v| if number(v[2], 32, true) >= 0 { v[0] } else { v[1] })))
}
