//! `mma.sync` of every form.

use super::super::common::{Machine, Params, Random, grid, told};
use super::super::fragments::{a_position, b_position, c_position, encode, pack, unpack};
use super::{HEADER, integers, list};

struct Form {
    shape: &'static str,
    k: usize,
    a: &'static str,
    b: &'static str,
    d: &'static str,
    finite: bool,
}

fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    let mut add = |shape, k, a, b, d, finite| forms.push(Form { shape, k, a, b, d, finite });
    for (shape, k) in [("m16n8k8", 8), ("m16n8k16", 16)] {
        add(shape, k, "f16", "f16", "f16", false);
        add(shape, k, "f16", "f16", "f32", false);
        add(shape, k, "bf16", "bf16", "f32", false);
    }
    add("m16n8k4", 4, "tf32", "tf32", "f32", false);
    add("m16n8k8", 8, "tf32", "tf32", "f32", false);
    for (shape, k) in [("m16n8k16", 16), ("m16n8k32", 32)] {
        for a in ["s8", "u8"] {
            for b in ["s8", "u8"] {
                add(shape, k, a, b, "s32", false);
                add(shape, k, a, b, "s32", true);
            }
        }
    }
    forms
}

/// A kernel that loads the fragments, register by register, multiplies, and stores D. With `in_place`, D is C.
fn kernel(instruction: &str, bits: u32, counts: [usize; 4], in_place: bool) -> String {
    let [a, b, c, d] = counts;
    let mut ptx = format!(
        "{HEADER}.visible .entry k(.param .u64 from, .param .u64 to) {{
.reg .b{bits} %a<9>, %b<5>, %c<5>, %d<5>; .reg .b64 %from, %to; .reg .b32 %lane;
ld.param.u64 %from, [from]; ld.param.u64 %to, [to]; mov.u32 %lane, %laneid;
mad.wide.u32 %from, %lane, {0}, %from; mad.wide.u32 %to, %lane, {0}, %to;\n",
        bits / 8
    );
    let row = 32 * bits as usize / 8;
    let operands = [("%a", a), ("%b", b), ("%c", c)];
    let registers = operands.iter().flat_map(|&(name, count)| (0..count).map(move |i| format!("{name}{i}")));
    for (i, register) in registers.enumerate() {
        ptx += &format!("ld.global.b{bits} {register}, [%from+{}];\n", i * row);
    }
    let destination = if in_place { "%c" } else { "%d" };
    let names: Vec<_> =
        [(destination, d), ("%a", a), ("%b", b), ("%c", c)].map(|(n, count)| list(n, count)).into();
    ptx += &format!("{instruction} {{{}}};\n", names.join("}, {"));
    for i in 0..d {
        ptx += &format!("st.global.b{bits} [%to+{}], {destination}{i};\n", i * row);
    }
    ptx + "ret;\n}\n"
}

fn run<T: bytemuck::Pod>(ptx: &str, operands: &[T], results: usize) -> Vec<T> {
    let machine = Machine::new();
    let module = machine.load(ptx);
    let from = machine.put(operands);
    let to = machine.put(&vec![T::zeroed(); results]);
    let outcome = machine.run(&module, "k", grid(1, 32, 0), &Params::default().with(from).with(to));
    assert!(outcome.findings.is_empty(), "{}\n{ptx}", told(&outcome));
    machine.get(to, results)
}

fn check(form: &Form, seed: u64, in_place: bool) {
    let &Form { shape, k, a: a_type, b: b_type, d: d_type, finite } = form;
    let finite_name = if finite { ".satfinite" } else { "" };
    let name = format!("mma.sync.aligned.{shape}.row.col{finite_name}.{d_type}.{a_type}.{b_type}.{d_type}");
    let random = &mut Random::new(seed);
    let range = |name: &str| match name {
        "s8" => (-128, 127),
        "u8" => (0, 255),
        _ => (-8, 8),
    };
    let a = integers(random, 16 * k, range(a_type).0, range(a_type).1);
    let b = integers(random, k * 8, range(b_type).0, range(b_type).1);
    let mut c = integers(random, 16 * 8, -100, 100);
    if d_type == "s32" && seed % 2 == 0 {
        // Near the ends, where sums saturate or wrap.
        c.iter_mut()
            .enumerate()
            .for_each(|(i, c)| *c += [i64::from(i32::MAX), i64::from(i32::MIN), 0][i % 3]);
        c.iter_mut().for_each(|c| *c = (*c).clamp(i32::MIN.into(), i32::MAX.into()));
    }
    let bits = encode(a_type, 0).1;
    let at = |(row, column): (usize, usize), width: usize| row * width + column;
    let rows = [
        pack(a_type, 16 * k / 32, |lane, i| a[at(a_position(shape, bits, lane, i), k)]),
        pack(b_type, 8 * k / 32, |lane, i| b[at(b_position(shape, bits, lane, i), 8)]),
        pack(d_type, 4, |lane, i| c[at(c_position(lane, i), 8)]),
    ];
    let counts = [rows[0].len(), rows[1].len(), rows[2].len(), rows[2].len()];
    let operands: Vec<u32> = rows.iter().flatten().flatten().copied().collect();
    let ptx = kernel(&name, 32, counts, in_place);
    let results = run(&ptx, &operands, counts[3] * 32);
    let d: Vec<[u32; 32]> = results.as_chunks().0.to_vec();
    for lane in 0..32 {
        for i in 0..4 {
            let (row, column) = c_position(lane, i);
            let product: i64 = (0..k).map(|j| a[row * k + j] * b[j * 8 + column]).sum();
            let sum = c[row * 8 + column] + product;
            let wanted = match (d_type, finite) {
                ("s32", true) => sum.clamp(i32::MIN.into(), i32::MAX.into()),
                ("s32", false) => i64::from(sum as i32),
                _ => sum,
            };
            assert_eq!(unpack(d_type, &d, lane, i), wanted, "{name} row {row} column {column}");
        }
    }
}

#[test]
fn every_mma_equals_a_plain_product() {
    for (i, form) in forms().iter().enumerate() {
        for seed in 0..6 {
            check(form, 10 * i as u64 + seed, seed % 3 == 0);
        }
    }
}

#[test]
fn mma_of_doubles_equals_a_plain_product() {
    for seed in 0..6 {
        let random = &mut Random::new(seed);
        let (a, b, c) =
            (integers(random, 32, -99, 99), integers(random, 32, -99, 99), integers(random, 64, -999, 999));
        let double = |value: i64| (value as f64).to_bits();
        let mut operands = vec![0u64; 4 * 32];
        for lane in 0..32 {
            let (group, thread) = (lane / 4, lane % 4);
            operands[lane] = double(a[group * 4 + thread]);
            operands[32 + lane] = double(b[thread * 8 + group]);
            for i in 0..2 {
                operands[64 + 32 * i + lane] = double(c[group * 8 + thread * 2 + i]);
            }
        }
        let name = "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64";
        let d = run(&kernel(name, 64, [1, 1, 2, 2], seed % 2 == 0), &operands, 64);
        for lane in 0..32 {
            for i in 0..2 {
                let (row, column) = (lane / 4, lane % 4 * 2 + i);
                let product: i64 = (0..4).map(|k| a[row * 4 + k] * b[k * 8 + column]).sum();
                assert_eq!(f64::from_bits(d[32 * i + lane]), (c[row * 8 + column] + product) as f64);
            }
        }
    }
}
