//! `cvt` of every pair of types.

use super::exact::{self, BF16, F16, F32, F64, Format, Mode, TF32, decode, encode};
use super::float::{MODES, relu, saturate};
use super::form::{Also, Forms, Kind, Source, mask};
use super::integer::{value, wrap};

const INTEGRAL: [(&str, Mode); 4] =
    [(".rni", Mode::Nearest), (".rzi", Mode::Zero), (".rmi", Mode::Down), (".rpi", Mode::Up)];
const FLOATS: [(&str, Format, u32); 4] =
    [("f16", F16, 16), ("bf16", BF16, 16), ("f32", F32, 32), ("f64", F64, 64)];

/// Registers that may hold an integer of a width: its own and wider ones.
fn holders(width: u32) -> Vec<Kind> {
    [Kind::H, Kind::R, Kind::D].into_iter().filter(|k| k.bits() >= width).collect()
}

fn integers() -> impl Iterator<Item = (String, u32, bool)> {
    [8, 16, 32, 64]
        .into_iter()
        .flat_map(|w| [("u", false), ("s", true)].map(|(l, s)| (format!("{l}{w}"), w, s)))
}

/// The range of an integer type.
fn range(width: u32, signed: bool) -> (i128, i128) {
    if signed { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) }
}

/// A value of a narrow type in a register: extended by its sign.
fn held(value: i128, width: u32, signed: bool, kind: Kind) -> u64 {
    wrap(self::value(wrap(value, width), width, signed), kind.bits())
}

fn any(kind: Kind) -> Source {
    Source(kind, Also::Nothing)
}

pub fn forms(f: &mut Forms) {
    for (to, tw, ts) in integers() {
        for (from, fw, fs) in integers() {
            for (d, a) in product(&holders(tw), &holders(fw)) {
                // A 16-bit register holds no more than it must.
                f.one(&format!("cvt.{to}.{from}"), d, &[any(a)], move |s| {
                    held(value(s[0], fw, fs), tw, ts, d)
                });
                let (least, most) = range(tw, ts);
                f.one(&format!("cvt.sat.{to}.{from}"), d, &[any(a)], move |s| {
                    held(value(s[0], fw, fs).clamp(least, most), tw, ts, d)
                });
            }
        }
        for (float, format, width) in FLOATS {
            from_integer(f, &to, tw, ts, float, format, width);
            to_integer(f, &to, tw, ts, float, format, width);
        }
    }
    for (to, to_format, _) in FLOATS {
        for (from, from_format, _) in FLOATS {
            between(f, (to, to_format), (from, from_format));
        }
    }
    narrow(f);
    packed(f);
}

fn product(a: &[Kind], b: &[Kind]) -> Vec<(Kind, Kind)> {
    a.iter().flat_map(|&a| b.iter().map(move |&b| (a, b))).collect()
}

fn from_integer(f: &mut Forms, from: &str, fw: u32, fs: bool, to: &str, format: Format, width: u32) {
    for (name, mode) in MODES {
        // From 64 bits, the machine only knows what compilers emit for C.
        if fw == 64 && (name != ".rn" || width == 16) {
            continue;
        }
        let plain = move |s: &[u64]| encode(exact::from_integer(value(s[0], fw, fs)), format, mode);
        for a in holders(fw) {
            let d = Kind::of(width);
            f.one(&format!("cvt{name}.{to}.{from}"), d, &[any(a)], plain);
            if saturates(to) {
                f.one(&format!("cvt{name}.sat.{to}.{from}"), d, &[any(a)], move |s| {
                    saturate(plain(s), format)
                });
            }
        }
    }
}

fn to_integer(f: &mut Forms, to: &str, tw: u32, ts: bool, from: &str, format: Format, width: u32) {
    let (least, most) = range(tw, ts);
    // PTX ISA, "cvt": a NaN becomes 0, or the top bit alone from f64 or to 64 bits.
    let nan = if width == 64 || tw == 64 { 1i128 << (tw - 1) } else { 0 };
    for (name, mode) in INTEGRAL {
        for flush in [false, true] {
            if flush && format != F32 {
                continue;
            }
            for d in holders(tw) {
                let ftz = if flush { ".ftz" } else { "" };
                f.one(&format!("cvt{name}{ftz}.{to}.{from}"), d, &[any(Kind::of(width))], move |s| {
                    let bits = if flush { F32.flush(s[0]) } else { s[0] };
                    let value = match format.is_nan(bits) {
                        true => nan,
                        false => exact::clamp(exact::integral(decode(bits, format), mode), least, most),
                    };
                    held(value, tw, ts, d)
                });
            }
        }
    }
}

/// The machine knows `.sat` of these.
fn saturates(ty: &str) -> bool {
    matches!(ty, "f16" | "f32")
}

/// Between floats: rounded to the format, or to integers within it.
fn between(f: &mut Forms, (to, to_format): (&str, Format), (from, from_format): (&str, Format)) {
    let kind = |ty: &str| {
        Kind::of(ty.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().expect("a width"))
    };
    let any_nan = |ty: &str| match ty {
        "f32" => Some("f32"),
        "f64" => Some("f64"),
        _ => None,
    };
    let narrower = to_format.mantissa < from_format.mantissa || to_format.exponent < from_format.exponent;
    let plain = (to == "f32" || to == "f64").then_some(("", Mode::Nearest, false));
    let modes: Vec<(&str, Mode, bool)> = match to == from {
        true => INTEGRAL.iter().map(|&(name, mode)| (name, mode, true)).chain(plain).collect(),
        false if narrower => MODES.iter().map(|&(name, mode)| (name, mode, false)).collect(),
        false => vec![("", Mode::Nearest, false)],
    };
    for (name, mode, integral) in modes {
        for flush in [false, true] {
            if flush && to != "f32" && from != "f32" {
                continue;
            }
            for clamp in ["", ".sat", ".relu"] {
                let may_relu =
                    from == "f32" && matches!(to, "f16" | "bf16") && matches!(name, ".rn" | ".rz") && !flush;
                if clamp == ".relu" && !may_relu || clamp == ".sat" && !saturates(to) {
                    continue;
                }
                let ftz = if flush { ".ftz" } else { "" };
                let text = format!("cvt{name}{ftz}{clamp}.{to}.{from}");
                let form = f.one(&text, kind(to), &[any(kind(from))], move |s| {
                    let a = if flush && from_format == F32 { F32.flush(s[0]) } else { s[0] };
                    let mut a = decode(a, from_format);
                    if integral {
                        a = exact::integral(a, mode);
                    }
                    let bits = encode(a, to_format, mode);
                    let bits = if flush && to_format == F32 { F32.flush(bits) } else { bits };
                    match clamp {
                        ".sat" => saturate(bits, to_format),
                        ".relu" => relu(bits, to_format),
                        _ => bits,
                    }
                });
                form.any_nan = any_nan(to);
            }
        }
    }
}

/// The formats that only a single is converted to, with `.relu` and `.satfinite`.
fn narrow(f: &mut Forms) {
    let single = Source(Kind::R, Also::Single);
    let finish = |bits: u64, format: Format, with: &str| {
        let bits = if with.contains("relu") { relu(bits, format) } else { bits };
        let infinite = with.contains("satfinite") && bits & !format.sign() == format.infinity();
        bits - u64::from(infinite)
    };
    for (name, mode) in &MODES[..2] {
        for with in ["", ".relu", ".satfinite", ".relu.satfinite"] {
            for (to, format) in [("f16", F16), ("bf16", BF16)] {
                let (mode, one) = (*mode, move |a: u64, mode: Mode| {
                    finish(encode(decode(a, F32), format, mode), format, with)
                });
                if with.contains("satfinite") {
                    f.one(&format!("cvt{name}{with}.{to}.f32"), Kind::H, &[single], move |s| one(s[0], mode));
                }
                f.one(&format!("cvt{name}{with}.{to}x2.f32"), Kind::R, &[single; 2], move |s| {
                    one(s[0], mode) << 16 | one(s[1], mode)
                });
            }
        }
    }
    let tf32 = move |a: u64, mode: Mode, with: &str| {
        let bits = finish(encode(decode(a, F32), TF32, mode), TF32, with);
        if TF32.is_nan(bits) { F32.nan() } else { bits << 13 }
    };
    for with in ["", ".satfinite"] {
        f.one(&format!("cvt.rna{with}.tf32.f32"), Kind::R, &[single], move |s| tf32(s[0], Mode::Away, with));
    }
    for (name, mode) in &MODES[..2] {
        for with in ["", ".satfinite"] {
            let mode = *mode;
            f.one(&format!("cvt{name}{with}.tf32.f32"), Kind::R, &[single], move |s| tf32(s[0], mode, with));
        }
    }
}

/// `cvt.pack.sat`
fn packed(f: &mut Forms) {
    let r = Source(Kind::R, Also::Integer);
    for (letter, signed) in [("u", false), ("s", true)] {
        let clamp = move |bits: u64, width: u32| {
            let (least, most) = range(width, signed);
            wrap(value(bits, 32, true).clamp(least, most), width)
        };
        f.one(&format!("cvt.pack.sat.{letter}16.s32"), Kind::R, &[r; 2], move |s| {
            clamp(s[0], 16) << 16 | clamp(s[1], 16)
        });
        f.one(&format!("cvt.pack.sat.{letter}8.s32.b32"), Kind::R, &[r; 3], move |s| {
            (s[2] << 16 & mask(32)) | clamp(s[0], 8) << 8 | clamp(s[1], 8)
        });
    }
}
