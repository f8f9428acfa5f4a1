//! Arithmetic and comparison of floats, by way of exact values.

use std::cmp::Ordering;

use super::exact::{self, BF16, F16, F32, F64, Format, Mode, decode, encode};
use super::form::{Also, Forms, Kind, Source, mask};
use super::integer::value;

pub const MODES: [(&str, Mode); 4] =
    [(".rn", Mode::Nearest), (".rz", Mode::Zero), (".rm", Mode::Down), (".rp", Mode::Up)];

/// `.sat`: to 0…1; NaN and what is not positive become +0.
pub fn saturate(bits: u64, format: Format) -> u64 {
    let negative = bits & format.sign() != 0;
    if negative || format.is_nan(bits) { 0 } else { bits.min(format.one()) }
}

/// `.relu`: what is negative becomes +0; a NaN stays.
pub fn relu(bits: u64, format: Format) -> u64 {
    if bits & format.sign() != 0 { 0 } else { bits }
}

/// A function of both halves of 32-bit registers.
pub fn both(s: &[u64], f: impl Fn(&[u64]) -> u64) -> u64 {
    let part = |shift: u32| {
        let mut halves = [0; 3];
        for (half, source) in halves.iter_mut().zip(s) {
            *half = source >> shift & 0xffff;
        }
        f(&halves[..s.len()]) << shift
    };
    part(0) | part(16)
}

pub fn forms(f: &mut Forms) {
    singles(f);
    doubles(f);
    for (ty, format) in [("f16", F16), ("bf16", BF16)] {
        halves(f, ty, format, false);
        halves(f, ty, format, true);
    }
    comparisons(f);
    selections(f);
}

type Operation = fn(&[exact::Value], Mode) -> exact::Value;

/// The operations that round, with the number of their sources.
const ROUNDED: [(&str, usize, Operation); 7] = [
    ("add", 2, |v, mode| exact::add(v[0], v[1], mode)),
    ("sub", 2, |v, mode| exact::add(v[0], exact::negate(v[1]), mode)),
    ("mul", 2, |v, _| exact::mul(v[0], v[1])),
    ("fma", 3, |v, mode| exact::add(exact::mul(v[0], v[1]), v[2], mode)),
    ("div", 2, |v, _| exact::div(v[0], v[1])),
    ("rcp", 1, |v, _| exact::div(exact::from_integer(1), v[0])),
    ("sqrt", 1, |v, _| exact::sqrt(v[0])),
];

/// Computes on bits: decoded, operated on, rounded.
fn rounded(s: &[u64], format: Format, mode: Mode, flush: bool, operation: Operation) -> u64 {
    let flushed = |bits: u64| if flush { format.flush(bits) } else { bits };
    let mut values = [exact::Value::Nan; 3];
    for (value, &bits) in values.iter_mut().zip(s) {
        *value = decode(flushed(bits), format);
    }
    flushed(encode(operation(&values, mode), format, mode))
}

fn singles(f: &mut Forms) {
    let source = Source(Kind::R, Also::Single);
    for (op, count, operation) in ROUNDED {
        for (mode_name, mode) in MODES {
            for flush in [false, true] {
                for sat in [false, true] {
                    if sat && (count == 1 || op == "div") {
                        continue;
                    }
                    let (ftz, sat_name) = (if flush { ".ftz" } else { "" }, if sat { ".sat" } else { "" });
                    let name = format!("{op}{mode_name}{ftz}{sat_name}.f32");
                    let form = f.one(&name, Kind::R, &[source; 3][..count], move |s| {
                        let bits = rounded(s, F32, mode, flush, operation);
                        if sat { saturate(bits, F32) } else { bits }
                    });
                    form.any_nan = Some("f32");
                }
            }
        }
        if count == 2 && op != "div" {
            f.one(&format!("{op}.f32"), Kind::R, &[source; 2], move |s| {
                rounded(s, F32, Mode::Nearest, false, operation)
            })
            .any_nan = Some("f32");
        }
    }
    for flush in [false, true] {
        let ftz = if flush { ".ftz" } else { "" };
        let flushed = move |bits: u64| if flush { F32.flush(bits) } else { bits };
        f.one(&format!("neg{ftz}.f32"), Kind::R, &[source], move |s| flushed(s[0]) ^ F32.sign()).any_nan =
            Some("f32");
        f.one(&format!("abs{ftz}.f32"), Kind::R, &[source], move |s| flushed(s[0]) & !F32.sign()).any_nan =
            Some("f32");
        for (nan_name, nan_wins) in [("", false), (".NaN", true)] {
            for (op, max) in [("min", false), ("max", true)] {
                f.one(&format!("{op}{ftz}{nan_name}.f32"), Kind::R, &[source; 2], move |s| {
                    extreme(flushed(s[0]), flushed(s[1]), F32, max, nan_wins)
                });
            }
        }
    }
    f.one("copysign.f32", Kind::R, &[source; 2], |s| s[0] & F32.sign() | s[1] & !F32.sign() & mask(32));
}

fn doubles(f: &mut Forms) {
    let source = Source(Kind::D, Also::Double);
    for (op, count, operation) in ROUNDED {
        f.one(&format!("{op}.rn.f64"), Kind::D, &[source; 3][..count], move |s| {
            rounded(s, F64, Mode::Nearest, false, operation)
        })
        .any_nan = Some("f64");
    }
    for (op, max) in [("min", false), ("max", true)] {
        f.one(&format!("{op}.f64"), Kind::D, &[source; 2], move |s| extreme(s[0], s[1], F64, max, false))
            .any_nan = Some("f64");
    }
    f.one("neg.f64", Kind::D, &[source], |s| s[0] ^ F64.sign()).any_nan = Some("f64");
    f.one("abs.f64", Kind::D, &[source], |s| s[0] & !F64.sign()).any_nan = Some("f64");
    f.one("copysign.f64", Kind::D, &[source; 2], |s| s[0] & F64.sign() | s[1] & !F64.sign());
}

/// `min` and `max`: a NaN loses or wins, -0 is below +0.
fn extreme(a: u64, b: u64, format: Format, max: bool, nan_wins: bool) -> u64 {
    match (format.is_nan(a), format.is_nan(b)) {
        (true, true) => return format.nan(),
        (true, false) | (false, true) if nan_wins => return format.nan(),
        (true, false) => return b,
        (false, true) => return a,
        _ => {}
    }
    // The order of the bits as sign and magnitude.
    let key = |bits: u64| {
        let magnitude = (bits & !format.sign()) as i64;
        if bits & format.sign() != 0 { -1 - magnitude } else { magnitude }
    };
    if (key(a) > key(b)) == max { a } else { b }
}

/// A function of halves, as bits.
type Half = Box<dyn Fn(&[u64]) -> u64 + Send + Sync>;

fn halves(f: &mut Forms, ty: &'static str, format: Format, pair: bool) {
    let kind = if pair { Kind::R } else { Kind::H };
    let source = Source(kind, Also::Nothing);
    let suffix = if pair { format!("{ty}x2") } else { ty.to_owned() };
    let mut add = |name: String, count: usize, g: Half| {
        f.one(&format!("{name}.{suffix}"), kind, &[source; 3][..count], move |s| {
            if pair { both(s, &g) } else { g(s) }
        });
    };
    for (op, count, operation) in &ROUNDED[..4] {
        let operation = *operation;
        for flush in [false, true] {
            // bfloat16 knows neither.
            if flush && format == BF16 {
                continue;
            }
            let ftz = if flush { ".ftz" } else { "" };
            for clamp in ["", ".sat", ".relu"] {
                if clamp == ".sat" && format == BF16 || clamp == ".relu" && *op != "fma" {
                    continue;
                }
                let g = move |s: &[u64]| {
                    let bits = rounded(s, format, Mode::Nearest, flush, operation);
                    match clamp {
                        ".sat" => saturate(bits, format),
                        ".relu" => relu(bits, format),
                        _ => bits,
                    }
                };
                add(format!("{op}.rn{ftz}{clamp}"), *count, Box::new(g));
            }
        }
    }
    for (op, max) in [("min", false), ("max", true)] {
        for (nan, wins) in [("", false), (".NaN", true)] {
            add(format!("{op}{nan}"), 2, Box::new(move |s| extreme(s[0], s[1], format, max, wins)));
            if format == F16 {
                let g = move |s: &[u64]| extreme(F16.flush(s[0]), F16.flush(s[1]), F16, max, wins);
                add(format!("{op}.ftz{nan}"), 2, Box::new(g));
            }
        }
    }
    add("neg".into(), 1, Box::new(|s| s[0] ^ 0x8000));
    add("abs".into(), 1, Box::new(|s| s[0] & 0x7fff));
}

/// Whether a comparison of floats holds: the second half of the list also holds for NaNs.
fn holds(op: &str, order: Option<Ordering>) -> bool {
    let ordered = |op: &str| match op {
        "eq" => order == Some(Ordering::Equal),
        "ne" => matches!(order, Some(Ordering::Less | Ordering::Greater)),
        "lt" | "lo" => order == Some(Ordering::Less),
        "le" | "ls" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        "gt" | "hi" => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    };
    match op {
        "num" => order.is_some(),
        "nan" => order.is_none(),
        _ => match op.strip_suffix('u') {
            Some(op) => order.is_none() || ordered(op),
            None => ordered(op),
        },
    }
}

fn comparisons(f: &mut Forms) {
    const SIGNED: &[&str] = &["eq", "ne", "lt", "le", "gt", "ge"];
    const UNSIGNED: &[&str] = &["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"];
    const FLOATS: &[&str] =
        &["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];
    const HALVES: &[&str] = &["eq", "ne", "lt", "le", "gt", "ge", "neu", "num", "nan"];
    for w in [16, 32, 64] {
        for (letter, signed, ops) in [("b", false, &SIGNED[..2]), ("u", false, UNSIGNED), ("s", true, SIGNED)]
        {
            for op in ops {
                let order = move |a, b| Some(value(a, w, signed).cmp(&value(b, w, signed)));
                comparison(f, op, &format!("{letter}{w}"), Source(Kind::of(w), Also::Integer), order);
            }
        }
    }
    let floats = [
        ("f32", F32, Kind::R, Also::Single, FLOATS),
        ("f64", F64, Kind::D, Also::Double, FLOATS),
        ("f16", F16, Kind::H, Also::Nothing, HALVES),
        ("bf16", BF16, Kind::H, Also::Nothing, HALVES),
    ];
    for (ty, format, kind, also, ops) in floats {
        for op in ops {
            let order = move |a, b| exact::compare(decode(a, format), decode(b, format));
            comparison(f, op, ty, Source(kind, also), order);
            if ty == "f32" {
                let flushed = move |a, b| order(F32.flush(a), F32.flush(b));
                comparison(f, &format!("{op}.ftz"), ty, Source(kind, also), flushed);
            }
        }
        if ty.len() == 3 && ty != "f16" {
            classes(f, ty, format, Source(kind, also));
        }
    }
}

/// `setp` and `set` with one operator, in all their forms.
fn comparison(
    f: &mut Forms,
    op: &str,
    ty: &str,
    source: Source,
    order: impl Fn(u64, u64) -> Option<Ordering> + Copy + Send + Sync + 'static,
) {
    let plain = op.split('.').next().unwrap_or(op).to_owned();
    // `.ftz` stands behind the logical operator.
    let (op, ftz) = op.split_once('.').map_or((op, String::new()), |(op, ftz)| (op, format!(".{ftz}")));
    let test = move |s: &[u64]| holds(&plain, order(s[0], s[1]));
    let simple = test.clone();
    f.one(&format!("setp.{op}{ftz}.{ty}"), Kind::P, &[source; 2], move |s| simple(s).into());
    let simple = test.clone();
    f.text(format!("setp.{op}{ftz}.{ty} $0|$1, &0, &1;"), &[Kind::P; 2], &[source; 2], move |s| {
        let t = simple(s);
        [t.into(), (!t).into(), 0, 0]
    });
    let logic: [(&str, fn(bool, bool) -> bool); 3] =
        [("and", |a, b| a & b), ("or", |a, b| a | b), ("xor", |a, b| a ^ b)];
    let with = Source(Kind::P, Also::Negated);
    let results: [(&str, u64); 3] = [("u32", mask(32)), ("s32", mask(32)), ("f32", F32.one())];
    for (name, combine) in logic {
        let t = test.clone();
        let sources = [source, source, with];
        f.text(format!("setp.{op}.{name}{ftz}.{ty} $0|$1, &0, &1, &2;"), &[Kind::P; 2], &sources, move |s| {
            let (t, c) = (t(s), s[2] == 1);
            [combine(t, c).into(), combine(!t, c).into(), 0, 0]
        });
        for (result, yes) in results {
            let t = test.clone();
            f.one(&format!("set.{op}.{name}{ftz}.{result}.{ty}"), Kind::R, &sources, move |s| {
                if combine(t(s), s[2] == 1) { yes } else { 0 }
            });
        }
    }
    for (result, yes) in results {
        let t = test.clone();
        f.one(
            &format!("set.{op}{ftz}.{result}.{ty}"),
            Kind::R,
            &[source; 2],
            move |s| if t(s) { yes } else { 0 },
        );
    }
}

fn classes(f: &mut Forms, ty: &str, format: Format, source: Source) {
    let magnitude = move |s: &[u64]| s[0] & !format.sign() & mask(format.exponent + format.mantissa + 1);
    let least = 1 << format.mantissa;
    let infinity = format.infinity();
    let mut add = |class: &str, g: Box<dyn Fn(u64) -> bool + Send + Sync>| {
        f.one(&format!("testp.{class}.{ty}"), Kind::P, &[source], move |s| g(magnitude(s)).into());
    };
    add("finite", Box::new(move |m| m < infinity));
    add("infinite", Box::new(move |m| m == infinity));
    add("number", Box::new(move |m| m <= infinity));
    add("notanumber", Box::new(move |m| m > infinity));
    add("normal", Box::new(move |m| (least..infinity).contains(&m)));
    add("subnormal", Box::new(move |m| (1..least).contains(&m)));
}

/// `slct`, by the sign of an integer or a float.
fn selections(f: &mut Forms) {
    for ty in ["b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"] {
        let kind = Kind::of(ty[1..].parse().expect("a width"));
        let source = Source(kind, if ty.starts_with('f') { Also::Nothing } else { Also::Integer });
        f.one(&format!("slct.{ty}.s32"), kind, &[source, source, Source(Kind::R, Also::Integer)], |s| {
            if s[2] >> 31 == 0 { s[0] } else { s[1] }
        });
        for ftz in ["", ".ftz"] {
            let by = Source(Kind::R, Also::Single);
            f.one(&format!("slct{ftz}.{ty}.f32"), kind, &[source, source, by], move |s| {
                let c = if ftz.is_empty() { s[2] } else { F32.flush(s[2]) };
                let negative = c & F32.sign() != 0 && c != F32.sign();
                if negative || F32.is_nan(c) { s[1] } else { s[0] }
            });
        }
    }
}
