//! Integer arithmetic (PTX ISA 9.7.1, 9.7.2).

use super::case::{Agreement, Case, Target};
use super::data::{Columns, Random, mask, random_integer, special_integers};
use super::element::{Element, Scalar};
use super::ptx;

/// Sign-extends the low `width` bits.
pub fn signed(value: u64, width: u32) -> i128 {
    i128::from(((value << (64 - width)) as i64) >> (64 - width))
}

/// The low `width` bits as a number, signed or not.
pub fn number(value: u64, width: u32, is_signed: bool) -> i128 {
    if is_signed { signed(value, width) } else { i128::from(value & mask(width)) }
}

/// An element-wise case over integers with the specials of each operand's width.
pub fn element(name: &str, operands: &[u32], result: u32, text: &str, reference: Scalar) -> Case {
    let name = format!("integer/{name}");
    let mut random = Random::new(&name);
    let specials = operands.iter().map(|w| special_integers(*w)).collect();
    let rows =
        Columns { specials, random: 500 }.rows(&mut random, |random, k| random_integer(random, operands[k]));
    rows_case(name, operands, result, text, rows, reference)
}

/// An element-wise case over given rows.
pub fn rows_case(
    name: String,
    operands: &[u32],
    result: u32,
    text: &str,
    rows: Vec<Vec<u64>>,
    reference: Scalar,
) -> Case {
    let statements = text.to_owned();
    let (target, agreement) = (Target::Sm80, Agreement::Bits(result as usize / 8));
    Element { name, target, operands, result, statements, rows, agreement }.case(Some(reference))
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, width) in [("u", 16), ("s", 16), ("u", 32), ("s", 32), ("u", 64), ("s", 64)] {
        typed(&mut cases, kind == "s", width);
    }
    cases.extend(saturating());
    cases.extend(twenty_four_bits());
    cases.extend(dot_products());
    cases.push(carry_chains());
    cases
}

fn typed(cases: &mut Vec<Case>, s: bool, w: u32) {
    let t = format!("{}{w}", if s { "s" } else { "u" });
    let n = move |v: u64| number(v, w, s);
    let mut binary = |name: &str, f: fn(i128, i128) -> i128| {
        let name = format!("{name}.{t}");
        let text = format!("{name} $d, $a, $b;");
        cases.push(element(&name, &[w, w], w, &text, Box::new(move |v| f(n(v[0]), n(v[1])) as u64)));
    };
    binary("add", |a, b| a + b);
    binary("sub", |a, b| a - b);
    binary("mul.lo", |a, b| a.wrapping_mul(b));
    binary("min", |a, b| a.min(b));
    binary("max", |a, b| a.max(b));
    for name in ["mul.hi", "mad.hi"] {
        let arity = if name == "mul.hi" { 2 } else { 3 };
        let text = format!("{name}.{t} $d, $a, $b{};", if arity == 3 { ", $c" } else { "" });
        // u64 products need 128 unsigned bits.
        let high = move |v: &[u64]| {
            let product =
                if s { n(v[0]) * n(v[1]) } else { (n(v[0]) as u128).wrapping_mul(n(v[1]) as u128) as i128 };
            let high = if s { product >> w } else { (product as u128 >> w) as i128 };
            (high as u64).wrapping_add(v.get(2).copied().unwrap_or(0))
        };
        cases.push(element(&format!("{name}.{t}"), &vec![w; arity], w, &text, Box::new(high)));
    }
    let lo = move |v: &[u64]| n(v[0]).wrapping_mul(n(v[1])).wrapping_add(n(v[2])) as u64;
    cases.push(element(
        &format!("mad.lo.{t}"),
        &[w; 3],
        w,
        &format!("mad.lo.{t} $d, $a, $b, $c;"),
        Box::new(lo),
    ));
    if w < 64 {
        let wide = move |v: &[u64]| (n(v[0]) * n(v[1])) as u64;
        cases.push(element(
            &format!("mul.wide.{t}"),
            &[w, w],
            2 * w,
            &format!("mul.wide.{t} $d, $a, $b;"),
            Box::new(wide),
        ));
        let wide = move |v: &[u64]| ((n(v[0]) * n(v[1])) as u64).wrapping_add(v[2]);
        let text = format!("mad.wide.{t} $d, $a, $b, $c;");
        cases.push(element(&format!("mad.wide.{t}"), &[w, w, 2 * w], 2 * w, &text, Box::new(wide)));
    }
    let distance = move |v: &[u64]| ((n(v[0]) - n(v[1])).unsigned_abs() as u64).wrapping_add(v[2]);
    cases.push(element(
        &format!("sad.{t}"),
        &[w; 3],
        w,
        &format!("sad.{t} $d, $a, $b, $c;"),
        Box::new(distance),
    ));
    if s {
        cases.push(element(
            &format!("abs.{t}"),
            &[w],
            w,
            &format!("abs.{t} $d, $a;"),
            Box::new(move |v| n(v[0]).unsigned_abs() as u64),
        ));
        cases.push(element(
            &format!("neg.{t}"),
            &[w],
            w,
            &format!("neg.{t} $d, $a;"),
            Box::new(move |v| -n(v[0]) as u64),
        ));
    }
    division(cases, s, w, &t);
}

/// Quotients by zero are unspecified, so they stand in cases of their own that only a GPU can settle.
fn division(cases: &mut Vec<Case>, s: bool, w: u32, t: &str) {
    let n = move |v: u64| number(v, w, s);
    let divide: fn(i128, i128) -> i128 = |a, b| a.checked_div(b).unwrap_or(-1);
    let remain: fn(i128, i128) -> i128 = |a, b| a.checked_rem(b).unwrap_or(a);
    for (name, f) in [("div", divide), ("rem", remain)] {
        for by_zero in [false, true] {
            let name = format!("integer/{name}{}.{t}", if by_zero { "-by-zero" } else { "" });
            let mut random = Random::new(&name);
            let divisors: Vec<u64> =
                special_integers(w).into_iter().filter(|d| (*d == 0) == by_zero).collect();
            let rows = Columns { specials: vec![special_integers(w), divisors], random: 500 }.rows(
                &mut random,
                |random, k| match random_integer(random, w) {
                    _ if k == 1 && by_zero => 0,
                    0 if k == 1 => 5,
                    other => other,
                },
            );
            let text = format!("{}.{t} $d, $a, $b;", &name[8..11]);
            let mut case =
                rows_case(name, &[w, w], w, &text, rows, Box::new(move |v| f(n(v[0]), n(v[1])) as u64));
            case.unknown = by_zero;
            cases.push(case);
        }
    }
}

fn saturating() -> Vec<Case> {
    let clamp = |v: i128| v.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as u64;
    let n = |v: u64| signed(v, 32);
    vec![
        element(
            "add.sat.s32",
            &[32, 32],
            32,
            "add.sat.s32 $d, $a, $b;",
            Box::new(move |v| clamp(n(v[0]) + n(v[1]))),
        ),
        element(
            "sub.sat.s32",
            &[32, 32],
            32,
            "sub.sat.s32 $d, $a, $b;",
            Box::new(move |v| clamp(n(v[0]) - n(v[1]))),
        ),
        element(
            "mad.hi.sat.s32",
            &[32; 3],
            32,
            "mad.hi.sat.s32 $d, $a, $b, $c;",
            Box::new(move |v| clamp(((n(v[0]) * n(v[1])) >> 32) + n(v[2]))),
        ),
    ]
}

fn twenty_four_bits() -> Vec<Case> {
    let mut cases = Vec::new();
    for (t, s) in [("u32", false), ("s32", true)] {
        for (half, shift) in [("lo", 0), ("hi", 16)] {
            let product = move |v: &[u64]| {
                let product = (number(v[0], 24, s) * number(v[1], 24, s)) >> shift;
                (product as u64).wrapping_add(v.get(2).copied().unwrap_or(0))
            };
            let name = format!("mul24.{half}.{t}");
            cases.push(element(&name, &[32; 2], 32, &format!("{name} $d, $a, $b;"), Box::new(product)));
            let name = format!("mad24.{half}.{t}");
            cases.push(element(&name, &[32; 3], 32, &format!("{name} $d, $a, $b, $c;"), Box::new(product)));
        }
    }
    cases
}

fn dot_products() -> Vec<Case> {
    let mut cases = Vec::new();
    for (ta, sa) in [("u32", false), ("s32", true)] {
        for (tb, sb) in [("u32", false), ("s32", true)] {
            let name = format!("dp4a.{ta}.{tb}");
            let four = move |v: &[u64]| {
                let sum = (0..4)
                    .map(|k| number(v[0] >> (8 * k), 8, sa) * number(v[1] >> (8 * k), 8, sb))
                    .sum::<i128>();
                (sum as u64).wrapping_add(v[2])
            };
            cases.push(element(&name, &[32; 3], 32, &format!("{name} $d, $a, $b, $c;"), Box::new(four)));
            for (half, first) in [("lo", 0), ("hi", 2)] {
                let name = format!("dp2a.{half}.{ta}.{tb}");
                let two = move |v: &[u64]| {
                    let sum = (0..2)
                        .map(|k| number(v[0] >> (16 * k), 16, sa) * number(v[1] >> (8 * (first + k)), 8, sb))
                        .sum::<i128>();
                    (sum as u64).wrapping_add(v[2])
                };
                cases.push(element(&name, &[32; 3], 32, &format!("{name} $d, $a, $b, $c;"), Box::new(two)));
            }
        }
    }
    cases
}

/// 128-bit sums, differences and products through the carry flag: `add.cc`, `addc`, `sub.cc`, `subc`,
/// `mad.lo.cc`, `madc.hi`.
fn carry_chains() -> Case {
    let name = "integer/carry-chains";
    let mut random = Random::new(name);
    let words: Vec<u32> = (0..128 * 8)
        .map(|_| match random.below(4) {
            0 => u32::MAX,
            1 => 0,
            _ => random.word(),
        })
        .collect();
    let mut body = ptx::load_words("in0", 10, 8);
    let chain = |first: &str, middle: &str, last: &str, out: usize| {
        let op = |k: usize| [first, middle, middle, last][k];
        (0..4).map(|k| format!("{} r{}, r{}, r{};\n", op(k), out + k, 10 + k, 14 + k)).collect::<String>()
    };
    body += &chain("add.cc.u32", "addc.cc.u32", "addc.cc.u32", 20);
    body += "addc.u32 r24, 0, 0;\n";
    body += &chain("sub.cc.u32", "subc.cc.u32", "subc.u32", 25);
    // (r11:r10) * (r15:r14) modulo 2^64, then + (r13:r12).
    body += "mad.lo.cc.u32 r29, r10, r14, r12;\nmadc.hi.u32 r30, r10, r14, r13;\n";
    body += "mad.lo.u32 r30, r11, r14, r30;\nmad.lo.u32 r30, r10, r15, r30;\n";
    body += "mov.b64 x10, {r10, r11};\nmov.b64 x11, {r12, r13};\nadd.cc.u64 x12, x10, x11;\n\
             addc.u64 x13, 0, 0;\n";
    body += "mov.b64 {r31, r32}, x12;\nmov.b64 {r33, r34}, x13;\n";
    body += &ptx::store_words(20, 15);
    let wide = |w: &[u32]| w.iter().rev().fold(0u128, |sum, x| sum << 32 | u128::from(*x));
    Case::new(name, Target::Sm80, 128).words(words).writes(128 * 15 * 4).body(&body).expects_words(
        move |words| {
            let mut out = Vec::new();
            for w in words.chunks_exact(8) {
                let (a, b) = (wide(&w[..4]), wide(&w[4..]));
                let split = |v: u128, n: usize| (0..n).map(|k| (v >> (32 * k)) as u32).collect::<Vec<_>>();
                let (sum, carry) = a.overflowing_add(b);
                out.extend(split(sum, 4));
                out.push(u32::from(carry));
                out.extend(split(a.wrapping_sub(b), 4));
                out.extend(split(wide(&w[..2]).wrapping_mul(wide(&w[4..6])).wrapping_add(wide(&w[2..4])), 2));
                out.extend(split(wide(&w[..2]) + wide(&w[2..4]), 4));
            }
            out
        },
    )
}
