//! `mma.sync` (PTX ISA 9.7.14.5.14): all shapes of f16, bf16, tf32, 8-bit integers and f64.

use super::case::{Agreement, Case, Target, word};
use super::data::Random;
use super::exact::{BF16, F16, F32, F64};
use super::fragment::{Matrix, Type, place};
use super::ptx;

#[derive(Clone, Copy)]
struct Form {
    m: usize,
    k: usize,
    a: Type,
    b: Type,
    c: Type,
    target: Target,
    satfinite: bool,
    /// Real-valued operands, which show how the hardware accumulates.
    real: bool,
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let (f16, bf16, f32, f64) = (Type::Float(F16), Type::Float(BF16), Type::Float(F32), Type::Float(F64));
    let form = |m, k, a, b, c| Form { m, k, a, b, c, target: Target::Sm80, satfinite: false, real: false };
    let mut forms = Vec::new();
    for k in [8, 16] {
        forms.extend([form(16, k, f16, f16, f32), form(16, k, f16, f16, f16), form(16, k, bf16, bf16, f32)]);
        forms.push(form(16, k / 2, Type::Tf32, Type::Tf32, f32));
    }
    for form in forms.clone() {
        forms.push(Form { real: true, ..form });
    }
    for (m, k) in [(16, 16), (16, 32), (8, 16)] {
        for (a, b) in [(true, true), (true, false), (false, true), (false, false)] {
            for satfinite in [false, true] {
                forms.push(Form { satfinite, ..form(m, k, Type::Int8(a), Type::Int8(b), Type::Int32) });
            }
        }
    }
    forms.push(form(8, 4, f64, f64, f64));
    forms.extend([4, 8, 16].map(|k| Form { target: Target::Sm90, ..form(16, k, f64, f64, f64) }));
    let mut cases: Vec<Case> = forms.into_iter().map(case).collect();
    cases.push(low_bits());
    cases
}

/// Elements of each matrix that a lane holds.
fn counts(form: &Form) -> [usize; 3] {
    [form.m * form.k / 32, form.k * 8 / 32, form.m * 8 / 32]
}

fn case(form: Form) -> Case {
    let Form { m, k, a, b, c, target, satfinite, real } = form;
    let types = if a == b && a != Type::Int8(true) && a != Type::Int8(false) {
        format!("{}-{}", c.name(), a.name())
    } else {
        format!("{}-{}-{}", c.name(), a.name(), b.name())
    };
    let name = format!(
        "mma/m{m}n8k{k}/{types}{}{}",
        if satfinite { "-satfinite" } else { "" },
        if real { "-real" } else { "" }
    );
    let mut random = Random::new(&name);
    let mut input = |t: Type, count: usize, accumulator: bool| -> Vec<u8> {
        let near_limit = |random: &mut Random| {
            let limit = if random.below(2) == 0 { i32::MAX } else { i32::MIN };
            (limit as i64 - i64::from(limit.signum()) * random.below(100_000) as i64) as u64 & 0xffff_ffff
        };
        (0..32 * count)
            .flat_map(|_| {
                let bits = if accumulator && t == Type::Int32 {
                    near_limit(&mut random)
                } else {
                    t.random(&mut random, real)
                };
                bits.to_le_bytes()[..t.bytes()].to_vec()
            })
            .collect()
    };
    let [na, nb, nc] = counts(&form);
    let inputs = [input(a, na, false), input(b, nb, false), input(c, nc, true)];
    let class = if a == Type::Float(F64) { "x" } else { "r" };
    let width = if class == "x" { 8 } else { 4 };
    let registers = |n: usize, t: Type| n * t.bytes() / width;
    let (ra, rb, rc) = (registers(na, a), registers(nb, b), registers(nc, c));
    let mut body = String::new();
    let (first_a, first_b, first_c, first_d) = (10, 20, 30, 40);
    for (input, first, n) in [(0, first_a, ra), (1, first_b, rb), (2, first_c, rc)] {
        body += &format!("mul.wide.u32 x90, lane, {};\nadd.s64 x90, in{input}, x90;\n", n * width);
        for r in 0..n {
            body += &format!("ld.global.b{} {class}{}, [x90+{}];\n", 8 * width, first + r, r * width);
        }
    }
    body += &format!(
        "mma.sync.aligned.m{m}n8k{k}.row.col{}.{}.{}.{}.{} {{{}}}, {{{}}}, {{{}}}, {{{}}};\n",
        if satfinite { ".satfinite" } else { "" },
        c.name(),
        a.name(),
        b.name(),
        c.name(),
        ptx::list(class, first_d, rc),
        ptx::list(class, first_a, ra),
        ptx::list(class, first_b, rb),
        ptx::list(class, first_c, rc),
    );
    body += &format!("mul.wide.u32 x91, lane, {};\nadd.s64 x91, out, x91;\n", rc * width);
    for r in 0..rc {
        body += &format!("st.global.b{} [x91+{}], {class}{};\n", 8 * width, r * width, first_d + r);
    }
    let mut case = Case::new(name, target, 32).writes(32 * rc * width);
    case.inputs = inputs.to_vec();
    if real && let Type::Float(format) = c {
        // Products are up to 2^8, sums up to 2^12; the hardware aligns and truncates the addends, so the
        // error is a few units in the last place of the largest of them.
        let absolute = if format == F16 { 1.0 } else { f64::exp2(-8.0) };
        case.agreement = Agreement::Within { format, relative: 0.0, absolute };
    }
    case.body(&body).expects(move |inputs, _| product(&form, inputs))
}

/// The product by the definition, in doubles, which hold all sums here exactly or far better than the bound.
fn product(form: &Form, inputs: &[Vec<u8>]) -> Vec<u8> {
    let Form { m, k, a, b, c, satfinite, .. } = *form;
    let [na, nb, nc] = counts(form);
    let mut matrices = [vec![0.0; m * k], vec![0.0; k * 8], vec![0.0; m * 8]];
    let parts = [(Matrix::A, a, na, k), (Matrix::B, b, nb, 8), (Matrix::C, c, nc, 8)];
    for (index, (matrix, t, count, columns)) in parts.into_iter().enumerate() {
        for (at, bits) in inputs[index].chunks_exact(t.bytes()).enumerate() {
            let (row, column) = place(matrix, m, t.bytes(), at / count, at % count);
            matrices[index][row * columns + column] = t.decode(word(bits));
        }
    }
    let [a, b, mut d] = matrices;
    for row in 0..m {
        for column in 0..8 {
            d[row * 8 + column] += (0..k).map(|j| a[row * k + j] * b[j * 8 + column]).sum::<f64>();
        }
    }
    let mut out = Vec::new();
    for at in 0..32 * nc {
        let (row, column) = place(Matrix::C, m, c.bytes(), at / nc, at % nc);
        let value = d[row * 8 + column];
        let value = if satfinite { value.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) } else { value };
        out.extend(&c.encode(value).to_le_bytes()[..c.bytes()]);
    }
    out
}

/// tf32 operands whose low 13 bits are set: the ISA leaves open whether they count.
fn low_bits() -> Case {
    let mut case = case(Form {
        m: 16,
        k: 8,
        a: Type::Tf32,
        b: Type::Tf32,
        c: Type::Float(F32),
        target: Target::Sm80,
        satfinite: false,
        real: false,
    });
    case.name = "mma/m16n8k8/f32-tf32-low-bits".to_owned();
    for input in &mut case.inputs[..2] {
        input.chunks_exact_mut(4).for_each(|word| {
            word[0] = 0xff;
            word[1] |= 0x1f;
        });
    }
    case.unknown = true;
    case
}
