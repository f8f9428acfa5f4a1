//! Conversions (PTX ISA 9.7.9.21 `cvt`, `cvt.pack`).

use num_bigint::BigInt;

use super::case::{Agreement, Case, Target};
use super::data::{Columns, Random, mask, random_integer, special_integers};
use super::element::{Element, Scalar};
use super::exact::{BF16, F16, F32, F64, Format, Number, ROUNDINGS, Rounding, TF32};
use super::float::{self, Modifiers};
use super::integer::number;

const INTEGERS: [(&str, u32, bool); 8] = [
    ("u8", 8, false),
    ("s8", 8, true),
    ("u16", 16, false),
    ("s16", 16, true),
    ("u32", 32, false),
    ("s32", 32, true),
    ("u64", 64, false),
    ("s64", 64, true),
];
const FLOATS: [(&str, Format); 4] = [("f16", F16), ("bf16", BF16), ("f32", F32), ("f64", F64)];
const INTEGRAL: [(&str, Rounding); 4] =
    [("rni", Rounding::Nearest), ("rzi", Rounding::Zero), ("rmi", Rounding::Down), ("rpi", Rounding::Up)];

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for from in INTEGERS {
        for to in INTEGERS {
            between_integers(&mut cases, from, to);
        }
        for to in FLOATS.into_iter().filter(|to| to.1 != BF16 || from.1 > 8) {
            from_integer(&mut cases, from, to);
        }
    }
    for from in FLOATS {
        for to in INTEGERS.into_iter().filter(|to| from.1 != BF16 || to.1 > 8) {
            to_integer(&mut cases, from, to);
        }
        for to in FLOATS {
            between_floats(&mut cases, from, to);
        }
    }
    pairs(&mut cases);
    tensor_floats(&mut cases);
    packs(&mut cases);
    cases
}

fn case(
    text: &str,
    from: u32,
    to: u32,
    target: Target,
    rows: Vec<Vec<u64>>,
    agreement: Agreement,
    f: Scalar,
) -> Case {
    let operands = vec![from; rows.first().map_or(1, Vec::len)];
    let statements = format!("{text} $d, {};", ["$a", "$b", "$c"][..operands.len()].join(", "));
    let name = format!("convert/{text}");
    Element { name, target, operands: &operands, result: to, statements, rows, agreement }.case(Some(f))
}

fn integer_rows(name: &str, register: u32) -> Vec<Vec<u64>> {
    let mut random = Random::new(name);
    Columns { specials: vec![special_integers(register)], random: 200 }
        .rows(&mut random, |random, _| random_integer(random, register))
}

/// Results narrower than the register are extended by their type's sign.
fn between_integers(
    cases: &mut Vec<Case>,
    (s, from, from_signed): (&str, u32, bool),
    (d, to, to_signed): (&str, u32, bool),
) {
    let (low, high) = range(to, to_signed);
    // `.sat` is refused where nothing can saturate.
    let narrowing = range(from, from_signed).0 < low || range(from, from_signed).1 > high;
    for sat in [false, true].into_iter().filter(|sat| narrowing || !sat) {
        let text = format!("cvt{}.{d}.{s}", if sat { ".sat" } else { "" });
        let f = move |v: &[u64]| {
            let value = number(v[0], from, from_signed);
            if sat { value.clamp(low, high) as u64 } else { number(value as u64, to, to_signed) as u64 }
        };
        let rows = integer_rows(&text, from.max(16));
        cases.push(case(
            &text,
            from.max(16),
            to.max(16),
            Target::Sm80,
            rows,
            Agreement::Bits(to.max(16) as usize / 8),
            Box::new(f),
        ));
    }
}

fn range(width: u32, signed: bool) -> (i128, i128) {
    if signed { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) }
}

fn from_integer(cases: &mut Vec<Case>, (s, from, signed): (&str, u32, bool), (d, format): (&str, Format)) {
    let target = if d == "bf16" { Target::Sm90 } else { Target::Sm80 };
    for (rnd, rounding) in ROUNDINGS {
        let text = format!("cvt.{rnd}.{d}.{s}");
        let f = move |v: &[u64]| Number::integer(number(v[0], from, signed)).encode(format, rounding);
        let rows = integer_rows(&text, from.max(16));
        cases.push(case(
            &text,
            from.max(16),
            format.width(),
            target,
            rows,
            Agreement::Numbers(format),
            Box::new(f),
        ));
    }
}

/// Out-of-range values saturate. NaN becomes 0, but 2^(width - 1) where either side has 64 bits.
fn to_integer(cases: &mut Vec<Case>, (s, format): (&str, Format), (d, to, signed): (&str, u32, bool)) {
    let target = if s == "bf16" { Target::Sm90 } else { Target::Sm80 };
    for (rnd, rounding) in INTEGRAL {
        for ftz in [false, true] {
            if ftz && s != "f32" {
                continue;
            }
            let text = format!("cvt.{rnd}{}.{d}.{s}", if ftz { ".ftz" } else { "" });
            let (low, high) = range(to, signed);
            let nan = if s == "f64" || to == 64 { number(1 << (to - 1), to, signed) } else { 0 };
            let f = move |v: &[u64]| {
                let bits = if ftz { format.flushed(v[0]) } else { v[0] };
                let value = match Number::decode(bits, format) {
                    Number::Nan => nan,
                    Number::Infinite(negative) => {
                        if negative {
                            low
                        } else {
                            high
                        }
                    }
                    number => {
                        let integer = number.to_integer(rounding).unwrap_or_default();
                        let clamped = integer.clamp(BigInt::from(low), BigInt::from(high));
                        i128::try_from(clamped).unwrap_or(0)
                    }
                };
                value as u64
            };
            let rows = float::rows(&text, format, 1);
            cases.push(case(
                &text,
                format.width(),
                to.max(16),
                target,
                rows,
                Agreement::Bits(to.max(16) as usize / 8),
                Box::new(f),
            ));
        }
    }
}

fn between_floats(cases: &mut Vec<Case>, (s, from): (&str, Format), (d, to): (&str, Format)) {
    let narrowing = to.mantissa < from.mantissa || s == "bf16" && d == "f16";
    // f16 and bf16 convert to each other only through f32, and bf16 to f64 natively from sm_90 on.
    let half = |t: &str| t == "bf16";
    let target = if half(s) && d != "f32" || half(d) && s != "f32" { Target::Sm90 } else { Target::Sm80 };
    let modes: Vec<(&str, Rounding, bool)> = if s == d {
        let plain = ("", Rounding::Nearest, false);
        INTEGRAL.iter().map(|(m, r)| (*m, *r, true)).chain([plain]).collect()
    } else if narrowing || s == "f16" && d == "bf16" {
        ROUNDINGS.iter().map(|(m, r)| (*m, *r, false)).collect()
    } else {
        vec![("", Rounding::Nearest, false)]
    };
    if s == "bf16" && d == "bf16" || half(d) && s == "f16" || half(s) && d == "f16" {
        // ptxas knows only some of these forms; kernels go through f32.
        return;
    }
    let plain = Modifiers::default();
    let ftz = Modifiers { ftz: true, ..plain };
    let sat = Modifiers { sat: true, ..plain };
    let relu = Modifiers { relu: true, ..plain };
    for (rnd, rounding, integral) in modes {
        for modifiers in [plain, ftz, sat, Modifiers { ftz: true, ..sat }, relu] {
            let single = s == "f32" || d == "f32";
            let legal = match modifiers {
                _ if modifiers.relu => {
                    s == "f32" && matches!(d, "f16" | "bf16") && matches!(rnd, "rn" | "rz")
                }
                _ if half(s) || half(d) => {
                    !modifiers.ftz && !modifiers.sat && matches!(rnd, "" | "rn" | "rz")
                }
                _ => !modifiers.ftz || single,
            };
            if !legal {
                continue;
            }
            let rnd = if rnd.is_empty() { String::new() } else { format!(".{rnd}") };
            let text = format!("cvt{rnd}{}.{d}.{s}", modifiers.text());
            let f = move |v: &[u64]| convert(v[0], from, to, rounding, integral, modifiers);
            let rows = float::rows(&text, from, 1);
            cases.push(case(
                &text,
                from.width(),
                to.width(),
                target,
                rows,
                Agreement::Numbers(to),
                Box::new(f),
            ));
        }
    }
}

/// `.ftz` applies to single-precision sides alone.
fn convert(
    bits: u64,
    from: Format,
    to: Format,
    rounding: Rounding,
    integral: bool,
    modifiers: Modifiers,
) -> u64 {
    let bits = if modifiers.ftz && from == F32 { from.flushed(bits) } else { bits };
    let mut value = Number::decode(bits, from);
    if integral && let Number::Finite { negative, .. } = value {
        let integer = value.to_integer(rounding).unwrap_or_default();
        value = Number::Finite { negative, magnitude: integer.magnitude().clone(), exponent: 0 };
    }
    Modifiers { ftz: modifiers.ftz && to == F32, ..modifiers }.finish(value.encode(to, rounding), to)
}

/// Two f32 into a packed pair: the first operand becomes the upper half.
fn pairs(cases: &mut Vec<Case>) {
    for (t, format) in [("f16", F16), ("bf16", BF16)] {
        for (rnd, rounding) in &ROUNDINGS[..2] {
            for relu in [false, true] {
                let modifiers = Modifiers { relu, ..Modifiers::default() };
                let text = format!("cvt.{rnd}{}.{t}x2.f32", modifiers.text());
                let rounding = *rounding;
                let f = move |v: &[u64]| {
                    let half = |bits| convert(bits, F32, format, rounding, false, modifiers);
                    half(v[0]) << 16 | half(v[1])
                };
                let rows = float::rows(&text, F32, 2);
                cases.push(case(&text, 32, 32, Target::Sm80, rows, Agreement::Numbers(format), Box::new(f)));
            }
        }
    }
}

fn tensor_floats(cases: &mut Vec<Case>) {
    let forms = [
        ("rna", Rounding::Away, false, Target::Sm80),
        ("rn", Rounding::Nearest, false, Target::Sm90),
        ("rz", Rounding::Zero, false, Target::Sm90),
        ("rn", Rounding::Nearest, true, Target::Sm90),
        ("rz", Rounding::Zero, true, Target::Sm90),
    ];
    for (rnd, rounding, relu, target) in forms {
        let modifiers = Modifiers { relu, ..Modifiers::default() };
        let text = format!("cvt.{rnd}{}.tf32.f32", modifiers.text());
        let f = move |v: &[u64]| convert(v[0], F32, TF32, rounding, false, modifiers) << 13;
        let rows = float::rows(&text, F32, 1);
        cases.push(case(&text, 32, 32, target, rows, Agreement::Numbers(F32), Box::new(f)));
    }
}

/// `cvt.pack`: saturates two integers into the low halves of the result, before the third operand.
fn packs(cases: &mut Vec<Case>) {
    for (t, width, signed) in [("u16", 16, false), ("s16", 16, true), ("u8", 8, false), ("s8", 8, true)] {
        let third = width == 8;
        let text = format!("cvt.pack.sat.{t}.s32{}", if third { ".b32" } else { "" });
        let (low, high) = range(width, signed);
        let f = move |v: &[u64]| {
            let part = |bits: u64| number(bits, 32, true).clamp(low, high) as u64 & mask(width);
            let pair = part(v[0]) << width | part(v[1]);
            if third { pair | v[2] << 16 } else { pair }
        };
        let mut random = Random::new(&text);
        let arity = if third { 3 } else { 2 };
        let rows = Columns { specials: vec![special_integers(32); arity], random: 300 }
            .rows(&mut random, |random, _| random_integer(random, 32));
        cases.push(case(&text, 32, 32, Target::Sm80, rows, Agreement::Bits(4), Box::new(f)));
    }
}
