//! IEEE arithmetic of f32, f64, f16 and bf16, scalar and packed (PTX ISA 9.7.3, 9.7.4).

use super::case::{Agreement, Case, Target};
use super::data::{Columns, Random, random_float, special_floats};
use super::element::{Element, Scalar};
use super::exact::{BF16, F16, F32, F64, Format, Number, ROUNDINGS, Rounding};

/// What an instruction does beside its operation.
#[derive(Clone, Copy, Default)]
pub struct Modifiers {
    /// `.ftz`: subnormal operands and results become zeros.
    pub ftz: bool,
    /// `.sat`: clamped to [0, 1], NaN to 0.
    pub sat: bool,
    /// `.relu`: negative results become 0.
    pub relu: bool,
}

impl Modifiers {
    /// As in PTX.
    pub fn text(self) -> String {
        let part = |on: bool, text: &'static str| if on { text } else { "" };
        format!("{}{}{}", part(self.ftz, ".ftz"), part(self.sat, ".sat"), part(self.relu, ".relu"))
    }

    /// The result as the modifiers leave it.
    pub fn finish(self, bits: u64, format: Format) -> u64 {
        let bits = if self.ftz { format.flushed(bits) } else { bits };
        let value = format.to_f64(bits);
        let clamped = value <= 0.0 || value.is_nan() && self.sat;
        if (self.sat || self.relu) && clamped {
            return 0;
        }
        if self.sat && value > 1.0 { format.encode_f64(1.0) } else { bits }
    }
}

/// An operation on exact numbers.
pub type Operation = fn(&[Number], Rounding) -> Number;

const BINARY: [(&str, Operation); 3] = [
    ("add", |v, rounding| v[0].plus(&v[1], rounding)),
    ("sub", |v, rounding| v[0].plus(&v[1].clone().negated(), rounding)),
    ("mul", |v, _| v[0].times(&v[1])),
];
const FMA: Operation = |v, rounding| v[0].times(&v[1]).plus(&v[2], rounding);
const DIV: Operation = |v, _| v[0].over(&v[1]);
const RCP: Operation = |v, _| Number::integer(1).over(&v[0]);
const SQRT: Operation = |v, _| v[0].root();

/// The operation as a function of bits.
pub fn scalar(operation: Operation, format: Format, rounding: Rounding, modifiers: Modifiers) -> Scalar {
    Box::new(move |v| {
        let number =
            |bits: &u64| Number::decode(if modifiers.ftz { format.flushed(*bits) } else { *bits }, format);
        let numbers: Vec<Number> = v.iter().map(number).collect();
        modifiers.finish(operation(&numbers, rounding).encode(format, rounding), format)
    })
}

/// The same on both halves of 32-bit operands.
pub fn packed(half: Scalar) -> Scalar {
    Box::new(move |v| {
        let part = |shift: u32| half(&v.iter().map(|x| x >> shift & 0xffff).collect::<Vec<_>>());
        part(0) | part(16) << 16
    })
}

/// Rows of floats: products of specials and random ones.
pub fn rows(name: &str, format: Format, arity: usize) -> Vec<Vec<u64>> {
    let mut random = Random::new(name);
    let mut specials = special_floats(format);
    if arity == 2 {
        specials =
            (0..40).map(|_| random.pick(&specials)).chain([0, format.sign(), format.infinity()]).collect();
    }
    Columns { specials: vec![specials; arity], random: 1000 }
        .rows(&mut random, |r, _| random_float(r, format))
}

/// A scalar case of `arity` operands named `family/op.type`.
pub fn case(
    family: &str,
    op: &str,
    (t, format): (&str, Format),
    arity: usize,
    target: Target,
    f: Scalar,
) -> Case {
    let name = format!("{family}/{op}.{t}");
    let operands = vec![format.width(); arity];
    let rows = rows(&name, format, arity);
    let statements = format!("{op}.{t} $d, {};", ["$a", "$b", "$c"][..arity].join(", "));
    let agreement = Agreement::Numbers(format);
    Element { name, target, operands: &operands, result: format.width(), statements, rows, agreement }
        .case(Some(f))
}

/// The packed case: halves of the scalar case's rows, paired.
pub fn pair_case(
    family: &str,
    op: &str,
    (t, format): (&str, Format),
    arity: usize,
    target: Target,
    f: Scalar,
) -> Case {
    let name = format!("{family}/{op}.{t}x2");
    let rows = rows(&name, format, arity);
    let count = rows.len();
    let other = |i: usize| &rows[(i * 7 + 3) % count];
    let rows = (0..count).map(|i| rows[i].iter().zip(other(i)).map(|(a, b)| a | b << 16).collect()).collect();
    let statements = format!("{op}.{t}x2 $d, {};", ["$a", "$b", "$c"][..arity].join(", "));
    let agreement = Agreement::Numbers(format);
    let operands = vec![32; arity];
    Element { name, target, operands: &operands, result: 32, statements, rows, agreement }
        .case(Some(packed(f)))
}

const SINGLE: [(&str, Format); 2] = [("f32", F32), ("f64", F64)];
const HALVES: [(&str, Format); 2] = [("f16", F16), ("bf16", BF16)];

/// Cases of f32 and f64.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (t, format) in SINGLE {
        let family = if t == "f32" { "float" } else { "double" };
        let flags = if t == "f32" { vec![false, true] } else { vec![false] };
        for (rnd, rounding) in ROUNDINGS {
            for ftz in &flags {
                for sat in &flags {
                    let modifiers = Modifiers { ftz: *ftz, sat: *sat, relu: false };
                    let mut add = |op: &str, arity: usize, f: Operation| {
                        let op = format!("{op}.{rnd}{}", modifiers.text());
                        let f = scalar(f, format, rounding, modifiers);
                        cases.push(case(family, &op, (t, format), arity, Target::Sm80, f));
                    };
                    BINARY.iter().for_each(|(op, f)| add(op, 2, *f));
                    add("fma", 3, FMA);
                    if !sat {
                        add("div", 2, DIV);
                        add("rcp", 1, RCP);
                        add("sqrt", 1, SQRT);
                    }
                }
            }
        }
        for ftz in flags {
            let text = if ftz { ".ftz" } else { "" };
            signs(&mut cases, family, (t, format), ftz, Target::Sm80, false);
            extrema(&mut cases, family, (t, format), text, Target::Sm80, false);
        }
        let copysign: Scalar = Box::new(move |v| v[0] & format.sign() | v[1] & !format.sign());
        cases.push(case(family, "copysign", (t, format), 2, Target::Sm80, copysign));
        for (test, f) in TESTS {
            cases.push(testp(family, test, (t, format), f));
        }
    }
    cases
}

/// Cases of f16, bf16, f16x2 and bf16x2.
pub fn half_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (t, format) in HALVES {
        let f16 = t == "f16";
        let native = if f16 { Target::Sm80 } else { Target::Sm90 };
        let plain = Modifiers::default();
        let all = [
            plain,
            Modifiers { ftz: true, ..plain },
            Modifiers { sat: true, ..plain },
            Modifiers { ftz: true, sat: true, ..plain },
            Modifiers { relu: true, ..plain },
            Modifiers { ftz: true, relu: true, ..plain },
        ];
        for modifiers in all.into_iter().filter(|m| f16 || !m.ftz && !m.sat) {
            let mut add = |op: &str, arity: usize, f: Operation, target: Target| {
                let op = format!("{op}.rn{}", modifiers.text());
                let f = || scalar(f, format, Rounding::Nearest, modifiers);
                cases.push(case("half", &op, (t, format), arity, target, f()));
                cases.push(pair_case("half", &op, (t, format), arity, target, f()));
            };
            if !modifiers.relu {
                BINARY.iter().for_each(|(op, f)| add(op, 2, *f, native));
            }
            add("fma", 3, FMA, Target::Sm80);
        }
        for ftz in [false, true].into_iter().filter(|ftz| f16 || !ftz) {
            let text = if ftz { ".ftz" } else { "" };
            signs(&mut cases, "half", (t, format), ftz, Target::Sm80, true);
            extrema(&mut cases, "half", (t, format), text, Target::Sm80, true);
        }
    }
    cases
}

fn signs(
    cases: &mut Vec<Case>,
    family: &str,
    (t, format): (&str, Format),
    ftz: bool,
    target: Target,
    pairs: bool,
) {
    let text = if ftz { ".ftz" } else { "" };
    let flush = move |bits: u64| if ftz { format.flushed(bits) } else { bits };
    let sign = format.sign();
    let abs = move |v: &[u64]| flush(v[0]) & !sign;
    let neg = move |v: &[u64]| flush(v[0]) ^ sign;
    cases.push(case(family, &format!("abs{text}"), (t, format), 1, target, Box::new(abs)));
    cases.push(case(family, &format!("neg{text}"), (t, format), 1, target, Box::new(neg)));
    if pairs {
        cases.push(pair_case(family, &format!("abs{text}"), (t, format), 1, target, Box::new(abs)));
        cases.push(pair_case(family, &format!("neg{text}"), (t, format), 1, target, Box::new(neg)));
    }
}

/// `min` and `max`: -0 is less than +0, a NaN loses against a number unless `.NaN`, `.xorsign.abs` compares
/// magnitudes and multiplies signs.
fn extrema(
    cases: &mut Vec<Case>,
    family: &str,
    (t, format): (&str, Format),
    ftz: &str,
    target: Target,
    pairs: bool,
) {
    for op in ["min", "max"] {
        for suffix in ["", ".NaN", ".xorsign.abs", ".NaN.xorsign.abs"] {
            if t == "f64" && !suffix.is_empty() {
                continue;
            }
            let target = if suffix.contains("xorsign") { target.max(Target::Sm90) } else { target };
            let (propagate, xorsign) = (suffix.contains("NaN"), suffix.contains("xorsign"));
            let (largest, flush, sign) = (op == "max", !ftz.is_empty(), format.sign());
            let f = move |v: &[u64]| {
                let operand = |bits: u64| {
                    let bits = if flush { format.flushed(bits) } else { bits };
                    if xorsign { bits & !sign } else { bits }
                };
                let (a, b) = (operand(v[0]), operand(v[1]));
                // Signs are of the operands as given, also when one of them is NaN and loses.
                let flip = if xorsign { (v[0] ^ v[1]) & sign } else { 0 };
                let (x, y) = (format.to_f64(a), format.to_f64(b));
                match (x.is_nan(), y.is_nan()) {
                    (true, true) => format.nan(),
                    (true, false) | (false, true) if propagate => format.nan(),
                    (true, false) => b | flip,
                    (false, true) => a | flip,
                    _ => {
                        let less = x < y || x == y && a & sign > b & sign;
                        (if less == largest { b } else { a }) | flip
                    }
                }
            };
            let op = format!("{op}{ftz}{suffix}");
            cases.push(case(family, &op, (t, format), 2, target, Box::new(f)));
            if pairs {
                cases.push(pair_case(family, &op, (t, format), 2, target, Box::new(f)));
            }
        }
    }
}

type Test = fn(u64, Format) -> bool;

const TESTS: [(&str, Test); 6] = [
    ("finite", |v, f| v & f.infinity() != f.infinity()),
    ("infinite", |v, f| v & !f.sign() == f.infinity()),
    ("number", |v, f| v & !f.sign() <= f.infinity()),
    ("notanumber", |v, f| v & !f.sign() > f.infinity()),
    ("normal", |v, f| v & f.infinity() != 0 && v & f.infinity() != f.infinity()),
    ("subnormal", |v, f| f.is_subnormal(v)),
];

fn testp(family: &str, test: &str, (t, format): (&str, Format), f: Test) -> Case {
    let name = format!("{family}/testp.{test}.{t}");
    let rows = rows(&name, format, 1);
    let statements = format!("testp.{test}.{t} p0, $a;\nselp.b32 $d, 1, 0, p0;");
    let operands = [format.width()];
    let (target, agreement) = (Target::Sm80, Agreement::Bits(4));
    Element { name, target, operands: &operands, result: 32, statements, rows, agreement }
        .case(Some(Box::new(move |v| u64::from(f(v[0], format)))))
}
