//! Integer arithmetic, logic and movement, by way of `i128` and single bits.

use super::form::{Also, Forms, Kind, Source, mask};

/// The value of bits as a signed or unsigned type.
pub fn value(bits: u64, width: u32, signed: bool) -> i128 {
    let bits = bits & mask(width);
    if signed && bits >> (width - 1) == 1 { i128::from(bits) - (1 << width) } else { bits.into() }
}

pub fn wrap(value: i128, width: u32) -> u64 {
    value as u64 & mask(width)
}

fn bit(a: u64, i: u32) -> u64 {
    a >> i & 1
}

/// Builds a number bit by bit.
fn bits(count: u32, f: impl Fn(u32) -> u64) -> u64 {
    (0..count).map(|i| (f(i) & 1) << i).sum()
}

fn int(kind: Kind) -> Source {
    Source(kind, Also::Integer)
}

const SMALL: Source = Source(Kind::R, Also::Small);

pub fn forms(f: &mut Forms) {
    for width in [16, 32, 64] {
        for signed in [false, true] {
            arithmetic(f, width, signed);
        }
        logic(f, width);
    }
    words(f);
    fields(f);
    pairs(f);
    carries(f);
    movement(f);
}

fn arithmetic(f: &mut Forms, w: u32, signed: bool) {
    let ty = format!("{}{w}", if signed { 's' } else { 'u' });
    let kind = Kind::of(w);
    let v = move |bits: u64| value(bits, w, signed);
    let two = [int(kind); 2];
    let three = [int(kind); 3];
    f.one(&format!("add.{ty}"), kind, &two, move |s| wrap(v(s[0]) + v(s[1]), w));
    f.one(&format!("sub.{ty}"), kind, &two, move |s| wrap(v(s[0]) - v(s[1]), w));
    f.one(&format!("mul.lo.{ty}"), kind, &two, move |s| wrap(v(s[0]).wrapping_mul(v(s[1])), w));
    f.one(&format!("mad.lo.{ty}"), kind, &three, move |s| {
        wrap(v(s[0]).wrapping_mul(v(s[1])).wrapping_add(v(s[2])), w)
    });
    // The product of two unsigned 64-bit numbers does not fit an i128, but a u128.
    let high = move |a: u64, b: u64| match signed {
        true => wrap((v(a) * v(b)) >> w, w),
        false => ((v(a) as u128 * v(b) as u128) >> w) as u64 & mask(w),
    };
    f.one(&format!("mul.hi.{ty}"), kind, &two, move |s| high(s[0], s[1]));
    if w == 32 {
        f.one(&format!("mad.hi.{ty}"), kind, &three, move |s| {
            wrap(i128::from(high(s[0], s[1])) + v(s[2]), w)
        });
        f.one(&format!("sad.{ty}"), kind, &three, move |s| wrap((v(s[0]) - v(s[1])).abs() + v(s[2]), w));
        f.one(&format!("mul24.lo.{ty}"), kind, &two, move |s| {
            wrap(value(s[0], 24, signed) * value(s[1], 24, signed), 32)
        });
    }
    if w < 64 {
        let wide = Kind::of(2 * w);
        f.one(&format!("mul.wide.{ty}"), wide, &two, move |s| wrap(v(s[0]) * v(s[1]), 2 * w));
        f.one(&format!("mad.wide.{ty}"), wide, &[int(kind), int(kind), int(wide)], move |s| {
            wrap(v(s[0]) * v(s[1]) + i128::from(s[2]), 2 * w)
        });
    }
    // Division by zero is undefined, so the divisor is made 1.
    let scratch = ["%hx", "%rx", "%dx"][w.ilog2() as usize - 4];
    let guarded = |op: &str| format!("max.u{w} {scratch}, &1, 1; {op}.{ty} $0, &0, {scratch};");
    let some = move |b: u64| v(b & mask(w)) + i128::from(b & mask(w) == 0);
    f.text(guarded("div"), &[kind], &[int(kind), Source(kind, Also::Nothing)], move |s| {
        [wrap(v(s[0]) / some(s[1]), w), 0, 0, 0]
    });
    f.text(guarded("rem"), &[kind], &[int(kind), Source(kind, Also::Nothing)], move |s| {
        [wrap(v(s[0]) % some(s[1]), w), 0, 0, 0]
    });
    f.one(&format!("min.{ty}"), kind, &two, move |s| wrap(v(s[0]).min(v(s[1])), w));
    f.one(&format!("max.{ty}"), kind, &two, move |s| wrap(v(s[0]).max(v(s[1])), w));
    f.one(&format!("shr.{ty}"), kind, &[int(kind), SMALL], move |s| wrap(v(s[0]) >> s[1].min(100), w));
    if signed {
        f.one(&format!("abs.{ty}"), kind, &[int(kind)], move |s| wrap(v(s[0]).abs(), w));
        f.one(&format!("neg.{ty}"), kind, &[int(kind)], move |s| wrap(-v(s[0]), w));
    }
    if w > 16 {
        let pattern = move |a: u64| if v(a) < 0 { !a & mask(w) } else { a };
        let find = move |a: u64| (0..w).rev().find(|&i| bit(pattern(a), i) == 1);
        f.one(&format!("bfind.{ty}"), Kind::R, &[int(kind)], move |s| {
            find(s[0]).map_or(0xffff_ffff, u64::from)
        });
        f.one(&format!("bfind.shiftamt.{ty}"), Kind::R, &[int(kind)], move |s| {
            find(s[0]).map_or(0xffff_ffff, |at| u64::from(w - 1 - at))
        });
        f.one(&format!("bfe.{ty}"), kind, &[int(kind), SMALL, SMALL], move |s| {
            let (pos, len) = (s[1] as u32 & 0xff, s[2] as u32 & 0xff);
            let sign = if signed && len > 0 { bit(s[0], (pos + len - 1).min(w - 1)) } else { 0 };
            bits(w, |i| if i < len && pos + i < w { bit(s[0], pos + i) } else { sign })
        });
    }
}

fn logic(f: &mut Forms, w: u32) {
    let kind = Kind::of(w);
    let two = [int(kind); 2];
    f.one(&format!("and.b{w}"), kind, &two, move |s| bits(w, |i| bit(s[0], i) * bit(s[1], i)));
    f.one(&format!("or.b{w}"), kind, &two, move |s| bits(w, |i| (bit(s[0], i) + bit(s[1], i)).div_ceil(2)));
    f.one(&format!("xor.b{w}"), kind, &two, move |s| bits(w, |i| bit(s[0], i) + bit(s[1], i)));
    f.one(&format!("not.b{w}"), kind, &[int(kind)], move |s| bits(w, |i| 1 - bit(s[0], i)));
    f.one(&format!("cnot.b{w}"), kind, &[int(kind)], |s| u64::from(s[0] == 0));
    f.one(&format!("shl.b{w}"), kind, &[int(kind), SMALL], move |s| {
        bits(w, |i| if u64::from(i) >= s[1] { bit(s[0], i - s[1] as u32) } else { 0 })
    });
    f.one(&format!("shr.b{w}"), kind, &[int(kind), SMALL], move |s| {
        bits(w, |i| if u64::from(i) + s[1] < w.into() { bit(s[0], i + s[1] as u32) } else { 0 })
    });
    if w > 16 {
        f.one(&format!("popc.b{w}"), Kind::R, &[int(kind)], move |s| (0..w).map(|i| bit(s[0], i)).sum());
        f.one(&format!("clz.b{w}"), Kind::R, &[int(kind)], move |s| {
            (0..w).rev().take_while(|&i| bit(s[0], i) == 0).count() as u64
        });
        f.one(&format!("brev.b{w}"), kind, &[int(kind)], move |s| bits(w, |i| bit(s[0], w - 1 - i)));
        f.one(&format!("bfi.b{w}"), kind, &[int(kind), int(kind), SMALL, SMALL], move |s| {
            let (pos, len) = (s[2] as u32 & 0xff, s[3] as u32 & 0xff);
            bits(w, |i| if i >= pos && i - pos < len { bit(s[0], i - pos) } else { bit(s[1], i) })
        });
    }
}

/// Instructions of 32 bits alone.
fn words(f: &mut Forms) {
    let r = int(Kind::R);
    for (op, sign) in [("add", 1), ("sub", -1)] {
        f.one(&format!("{op}.sat.s32"), Kind::R, &[r, r], move |s| {
            let sum = value(s[0], 32, true) + sign * value(s[1], 32, true);
            wrap(sum.clamp(i32::MIN.into(), i32::MAX.into()), 32)
        });
    }
    for (side, left) in [("l", true), ("r", false)] {
        for (mode, wraps) in [("wrap", true), ("clamp", false)] {
            f.one(&format!("shf.{side}.{mode}.b32"), Kind::R, &[r, r, SMALL], move |s| {
                let n = if wraps { s[2] % 32 } else { s[2].min(32) } as u32;
                let both = u128::from(s[1]) << 32 | u128::from(s[0]);
                (if left { both << n >> 32 } else { both >> n }) as u64 & 0xffff_ffff
            });
        }
    }
    f.one("lop3.b32", Kind::R, &[r, r, r, Source(Kind::R, Also::Constant(256))], |s| {
        bits(32, |i| bit(s[3], (4 * bit(s[0], i) + 2 * bit(s[1], i) + bit(s[2], i)) as u32))
    });
    f.one("prmt.b32", Kind::R, &[r; 3], |s| {
        let bytes: Vec<u8> = [s[0] as u32, s[1] as u32].iter().flat_map(|w| w.to_le_bytes()).collect();
        (0..4)
            .map(|i| {
                let selector = s[2] >> (4 * i) & 15;
                let byte = bytes[selector as usize % 8];
                let byte = if selector < 8 {
                    byte
                } else if byte >= 128 {
                    255
                } else {
                    0
                };
                u64::from(byte) << (8 * i)
            })
            .sum()
    });
    for a in ["u32", "s32"] {
        for b in ["u32", "s32"] {
            f.one(&format!("dp4a.{a}.{b}"), Kind::R, &[r; 3], move |s| {
                let byte = |v: u64, i: u32, ty: &str| value(v >> (8 * i), 8, ty == "s32");
                let sum: i128 = (0..4).map(|i| byte(s[0], i, a) * byte(s[1], i, b)).sum();
                wrap(sum + i128::from(s[2]), 32)
            });
        }
    }
}

/// Predicates as bits.
fn fields(f: &mut Forms) {
    let p = Source(Kind::P, Also::Nothing);
    f.one("and.pred", Kind::P, &[p, p], |s| s[0] * s[1]);
    f.one("or.pred", Kind::P, &[p, p], |s| u64::from(s[0] + s[1] > 0));
    f.one("xor.pred", Kind::P, &[p, p], |s| (s[0] + s[1]) % 2);
    f.one("not.pred", Kind::P, &[p], |s| 1 - s[0]);
    f.one("mov.pred", Kind::P, &[p], |s| s[0]);
}

/// Two 16-bit integers in one register.
fn pairs(f: &mut Forms) {
    let r = Source(Kind::R, Also::Nothing);
    for (op, signed) in [("u16x2", false), ("s16x2", true)] {
        let halves = move |s: &[u64], g: fn(i128, i128) -> i128| {
            let part = |shift: u32| {
                let v = |i: usize| value(s[i] >> shift, 16, signed);
                wrap(g(v(0), v(1)), 16) << shift
            };
            part(0) | part(16)
        };
        f.one(&format!("add.{op}"), Kind::R, &[r, r], move |s| halves(s, |a, b| a + b));
        f.one(&format!("min.{op}"), Kind::R, &[r, r], move |s| halves(s, |a, b| a.min(b)));
        f.one(&format!("max.{op}"), Kind::R, &[r, r], move |s| halves(s, |a, b| a.max(b)));
    }
}

/// Sums and differences of several words.
fn carries(f: &mut Forms) {
    let two = [int(Kind::R); 2];
    for (op, sign) in [("add", 1), ("sub", -1)] {
        for (suffix, reads, writes) in [(".cc", false, true), ("c.cc", true, true), ("c", true, false)] {
            let form = f.text(format!("{op}{suffix}.u32 $0, &0, &1;"), &[Kind::R], &two, move |s| {
                let carry = if reads { i128::from(s[2]) } else { 0 };
                let sum = i128::from(s[0]) + sign * (i128::from(s[1]) + carry);
                [wrap(sum, 32), u64::from(!(0..1 << 32).contains(&sum)), 0, 0]
            });
            (form.reads_carry, form.writes_carry) = (reads, writes);
        }
    }
}

fn movement(f: &mut Forms) {
    let p = Source(Kind::P, Also::Nothing);
    let [h, r, d] = [Kind::H, Kind::R, Kind::D].map(|kind| Source(kind, Also::Nothing));
    for w in [16, 32, 64] {
        let kind = Kind::of(w);
        f.one(&format!("mov.b{w}"), kind, &[int(kind)], |s| s[0]);
        f.one(
            &format!("selp.b{w}"),
            kind,
            &[int(kind), int(kind), p],
            |s| if s[2] == 1 { s[0] } else { s[1] },
        );
    }
    f.text("mov.b32 $0, {&0, &1};".into(), &[Kind::R], &[h, h], |s| [s[0] | s[1] << 16, 0, 0, 0]);
    f.text("mov.b64 $0, {&0, &1};".into(), &[Kind::D], &[r, r], |s| [s[0] | s[1] << 32, 0, 0, 0]);
    f.text("mov.b64 $0, {&0, &1, &2, &3};".into(), &[Kind::D], &[h; 4], |s| {
        [s[0] | s[1] << 16 | s[2] << 32 | s[3] << 48, 0, 0, 0]
    });
    f.text("mov.b32 {$0, $1}, &0;".into(), &[Kind::H; 2], &[r], |s| [s[0] & 0xffff, s[0] >> 16, 0, 0]);
    f.text("mov.b64 {$0, $1}, &0;".into(), &[Kind::R; 2], &[d], |s| [s[0] & 0xffff_ffff, s[0] >> 32, 0, 0]);
    f.text("mov.b64 {_, $0}, &0;".into(), &[Kind::R], &[d], |s| [s[0] >> 32, 0, 0, 0]);
    f.text("mov.b64 {$0, $1, $2, $3}, &0;".into(), &[Kind::H; 4], &[d], |s| {
        [0, 16, 32, 48].map(|shift| s[0] >> shift & 0xffff)
    });
}
