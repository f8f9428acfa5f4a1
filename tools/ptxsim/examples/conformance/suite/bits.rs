//! Logic, shifts and bit fields (PTX ISA 9.7.1, 9.7.7, 9.7.9).

use super::case::{Case, Target};
use super::data::{Random, mask, special_integers};
use super::integer::{element as integer, number, rows_case};
use super::ptx;

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for w in [16, 32, 64] {
        logic(&mut cases, w);
        shifts(&mut cases, w);
    }
    for w in [32, 64] {
        counts(&mut cases, w);
        fields(&mut cases, w);
    }
    funnels(&mut cases);
    permutations(&mut cases);
    cases.push(three_inputs());
    cases.push(find_nth_set());
    for mode in ["clamp", "wrap"] {
        let clamp = mode == "clamp";
        let name = format!("bmsk.{mode}.b32");
        let reference = move |v: &[u64]| {
            let limit = |x: u64| if clamp { x.min(32) } else { x & 31 };
            let (position, length) = (limit(v[0]), limit(v[1]));
            (((1u128 << length) - 1) << position) as u64
        };
        cases.push(sm(integer(&name, &[32, 32], 32, &format!("{name} $d, $a, $b;"), Box::new(reference))));
    }
    cases
}

fn sm(mut case: Case) -> Case {
    case.name = case.name.replacen("integer/", "bits/", 1);
    case
}

type Logic = fn(u64, u64) -> u64;

fn logic(cases: &mut Vec<Case>, w: u32) {
    let ops: [(&str, Logic); 3] = [("and", |a, b| a & b), ("or", |a, b| a | b), ("xor", |a, b| a ^ b)];
    for (op, f) in ops {
        let name = format!("{op}.b{w}");
        cases.push(sm(integer(
            &name,
            &[w, w],
            w,
            &format!("{name} $d, $a, $b;"),
            Box::new(move |v| f(v[0], v[1])),
        )));
    }
    let name = format!("not.b{w}");
    cases.push(sm(integer(&name, &[w], w, &format!("{name} $d, $a;"), Box::new(|v| !v[0]))));
    let name = format!("cnot.b{w}");
    cases.push(sm(integer(&name, &[w], w, &format!("{name} $d, $a;"), Box::new(|v| u64::from(v[0] == 0)))));
}

/// Amounts past the width clear the register, or fill it with the sign.
fn shifts(cases: &mut Vec<Case>, w: u32) {
    let past = move |n: u64| n >= u64::from(w);
    let left = move |v: &[u64]| if past(v[1]) { 0 } else { v[0] << v[1] };
    cases.push(sm(integer(
        &format!("shl.b{w}"),
        &[w, 32],
        w,
        &format!("shl.b{w} $d, $a, $b;"),
        Box::new(left),
    )));
    for (t, s) in [("u", false), ("s", true), ("b", false)] {
        let name = format!("shr.{t}{w}");
        let right = move |v: &[u64]| (number(v[0], w, s) >> v[1].min(100)) as u64;
        cases.push(sm(integer(&name, &[w, 32], w, &format!("{name} $d, $a, $b;"), Box::new(right))));
    }
}

fn counts(cases: &mut Vec<Case>, w: u32) {
    let spare = 64 - w;
    let popc = |v: &[u64]| u64::from(v[0].count_ones());
    cases.push(sm(integer(&format!("popc.b{w}"), &[w], 32, &format!("popc.b{w} $d, $a;"), Box::new(popc))));
    let clz = move |v: &[u64]| u64::from(v[0].leading_zeros() - spare);
    cases.push(sm(integer(&format!("clz.b{w}"), &[w], 32, &format!("clz.b{w} $d, $a;"), Box::new(clz))));
    let brev = move |v: &[u64]| v[0].reverse_bits() >> spare;
    cases.push(sm(integer(&format!("brev.b{w}"), &[w], w, &format!("brev.b{w} $d, $a;"), Box::new(brev))));
    for (t, s) in [("u", false), ("s", true)] {
        for amount in [false, true] {
            let name = format!("bfind{}.{t}{w}", if amount { ".shiftamt" } else { "" });
            let find = move |v: &[u64]| {
                let value = if s && number(v[0], w, true) < 0 { !v[0] & mask(w) } else { v[0] };
                match value {
                    0 => u64::MAX,
                    _ if amount => u64::from(value.leading_zeros() - spare),
                    _ => u64::from(63 - value.leading_zeros()),
                }
            };
            cases.push(sm(integer(&name, &[w], 32, &format!("{name} $d, $a;"), Box::new(find))));
        }
    }
}

fn fields(cases: &mut Vec<Case>, w: u32) {
    let name = |op: &str| format!("bits/{op}{w}");
    let rows = |name: &str, arity: usize| -> Vec<Vec<u64>> {
        let mut random = Random::new(name);
        let specials = special_integers(w);
        let lengths = [0, 1, 5, 8, 16, 31, 32, 33, 63, 64, 65, 128, 255, 256, 0x101, u64::from(u32::MAX)];
        (0..2048)
            .map(|_| {
                let value = |random: &mut Random| {
                    if random.below(3) == 0 { random.pick(&specials) } else { random.bits() & mask(w) }
                };
                let mut row: Vec<u64> = (0..arity - 2).map(|_| value(&mut random)).collect();
                row.push(random.pick(&lengths));
                row.push(if random.below(2) == 0 { random.pick(&lengths) } else { random.below(70) });
                row
            })
            .collect()
    };
    let top = u64::from(w - 1);
    for (t, s) in [("u", false), ("s", true)] {
        let name = name(&format!("bfe.{t}"));
        let extract = move |v: &[u64]| {
            let (position, length) = (v[1] & 0xff, v[2] & 0xff);
            let sign = s && length != 0 && v[0] >> (position + length - 1).min(top) & 1 == 1;
            let bit = |i: u64| {
                if i < length && position + i <= top { v[0] >> (position + i) & 1 == 1 } else { sign }
            };
            (0..=top).fold(0, |d, i| d | u64::from(bit(i)) << i)
        };
        let text = format!("bfe.{t}{w} $d, $a, $b, $c;");
        let rows = rows(&name, 3);
        cases.push(rows_case(name, &[w, 32, 32], w, &text, rows, Box::new(extract)));
    }
    let name = name("bfi.b");
    let insert = move |v: &[u64]| {
        let (position, length) = (v[2] & 0xff, v[3] & 0xff);
        let bits = (0..length).take_while(|i| position + i <= top);
        bits.fold(v[1], |d, i| d & !(1 << (position + i)) | (v[0] >> i & 1) << (position + i))
    };
    let rows = rows(&name, 4);
    cases.push(rows_case(
        name,
        &[w, w, 32, 32],
        w,
        &format!("bfi.b{w} $d, $a, $b, $c, $e;"),
        rows,
        Box::new(insert),
    ));
}

fn funnels(cases: &mut Vec<Case>) {
    for direction in ["l", "r"] {
        for mode in ["clamp", "wrap"] {
            let (left, clamp) = (direction == "l", mode == "clamp");
            let name = format!("shf.{direction}.{mode}.b32");
            let funnel = move |v: &[u64]| {
                let n = if clamp { v[2].min(32) } else { v[2] & 31 };
                let both = v[1] << 32 | v[0];
                if left { (u128::from(both) << n >> 32) as u64 } else { both >> n }
            };
            cases.push(sm(integer(
                &name,
                &[32; 3],
                32,
                &format!("{name} $d, $a, $b, $c;"),
                Box::new(funnel),
            )));
        }
    }
}

/// Every selector of every mode.
fn permutations(cases: &mut Vec<Case>) {
    let bytes = |v: &[u64]| -> [u64; 8] { std::array::from_fn(|k| (v[1] << 32 | v[0]) >> (8 * k) & 0xff) };
    let join = |b: [u64; 4]| b[0] | b[1] << 8 | b[2] << 16 | b[3] << 24;
    let general = move |v: &[u64]| {
        let source = bytes(v);
        join(std::array::from_fn(|k| {
            let selector = (v[2] >> (4 * k)) as usize & 15;
            let byte = source[selector & 7];
            if selector & 8 == 0 { byte } else { (byte >> 7) * 0xff }
        }))
    };
    let operands = (0x8091_a2b3u64, 0x7c6d_5eff);
    let rows = (0..1 << 16).map(|selector| vec![operands.0, operands.1, selector]).collect();
    cases.push(rows_case(
        "bits/prmt.b32".into(),
        &[32; 3],
        32,
        "prmt.b32 $d, $a, $b, $c;",
        rows,
        Box::new(general),
    ));
    // Sources of the bytes 3, 2, 1, 0 for the selectors 0 to 3 (PTX ISA, prmt).
    let modes: [(&str, [[usize; 4]; 4]); 6] = [
        ("f4e", [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]),
        ("b4e", [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]]),
        ("rc8", [[0; 4], [1; 4], [2; 4], [3; 4]]),
        ("ecl", [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]]),
        ("ecr", [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]]),
        ("rc16", [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]]),
    ];
    for (mode, table) in modes {
        let name = format!("bits/prmt.b32.{mode}");
        let mut random = Random::new(&name);
        let rows = (0..64).map(|k| vec![random.bits() & mask(32), random.bits() & mask(32), k % 8]).collect();
        let text = format!("prmt.b32.{mode} $d, $a, $b, $c;");
        let pick = move |v: &[u64]| {
            let source = bytes(v);
            join(std::array::from_fn(|k| source[table[v[2] as usize & 3][3 - k]]))
        };
        cases.push(rows_case(name, &[32; 3], 32, &text, rows, Box::new(pick)));
    }
}

/// All 256 tables of `lop3`.
fn three_inputs() -> Case {
    let name = "bits/lop3.b32";
    let mut body = ptx::load_words("in0", 10, 3);
    body += "mul.wide.u32 x91, i, 1024;\nadd.s64 x91, out, x91;\n";
    for table in 0..256 {
        body += &format!(
            "lop3.b32 r13, r10, r11, r12, {table};\n\
                          st.global.b32 [x91+{}], r13;\n",
            4 * table
        );
    }
    let case = Case::new(name, Target::Sm80, 32).words(Random::new(name).words(96)).writes(32 * 1024);
    case.body(&body).expects_words(|words| {
        let rows = words.chunks_exact(3);
        rows.flat_map(|w| {
            (0..256u32).map(|table| {
                (0..32).fold(0, |d, k| {
                    let index = (w[0] >> k & 1) << 2 | (w[1] >> k & 1) << 1 | (w[2] >> k & 1);
                    d | (table >> index & 1) << k
                })
            })
        })
        .collect()
    })
}

/// `fns` from each position, up and down.
fn find_nth_set() -> Case {
    let name = "bits/fns.b32".to_owned();
    let mut random = Random::new(&name);
    let offsets: Vec<u64> = (-6i64..=6).chain([31, 32, 33, -32, -33]).map(|n| n as u64 & mask(32)).collect();
    let rows = (0..1024)
        .map(|k| vec![random.bits() & random.bits() & mask(32), k % 32, random.pick(&offsets)])
        .collect();
    let text = "fns.b32 $d, $a, $b, $c;";
    rows_case(name, &[32; 3], 32, text, rows, Box::new(|v| find_set(v[0], v[1], v[2])))
}

/// PTX ISA, `fns`: position of the `offset`-th set bit from `base` on (up, or down for a negative offset).
fn find_set(value: u64, base: u64, offset: u64) -> u64 {
    let none = u64::from(u32::MAX);
    let offset = number(offset, 32, true);
    let base = base as i128;
    let set = |position: i128| (0..32).contains(&position) && value >> position & 1 == 1;
    if offset == 0 {
        return if set(base) { base as u64 } else { none };
    }
    let step = offset.signum();
    let mut left = offset.abs();
    let mut position = base;
    while (0..32).contains(&position) {
        if set(position) {
            left -= 1;
            if left == 0 {
                return position as u64;
            }
        }
        position += step;
    }
    none
}
