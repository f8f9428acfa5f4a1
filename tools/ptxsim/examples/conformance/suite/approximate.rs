//! Approximate functions (PTX ISA 9.7.3, 9.7.4): compared within the error that the ISA documents.

use super::case::{Agreement, Case, Target};
use super::data::Random;
use super::element::{Element, Scalar};
use super::exact::{BF16, F16, F32, F64, Format};
use super::float::packed;

/// The function in doubles.
type Truth = fn(&[f64]) -> f64;

/// A function with its documented error and a domain in which it holds.
struct Function {
    text: &'static str,
    format: Format,
    arity: usize,
    target: Target,
    domain: (f64, f64),
    relative: f64,
    absolute: f64,
    truth: Truth,
    specials: &'static [f64],
}

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
/// The reference itself is rounded to the format.
const HALF_ULP: f64 = 1.0 / 16_777_216.0;

fn functions() -> Vec<Function> {
    let f32_function = |text, domain, relative: f64, absolute: f64, truth, specials| Function {
        text,
        format: F32,
        arity: 1,
        target: Target::Sm80,
        domain,
        relative: relative + HALF_ULP,
        absolute,
        truth,
        specials,
    };
    let pow = f64::exp2;
    let pi = std::f64::consts::PI;
    let mut all = vec![
        f32_function(
            "ex2.approx.f32",
            (-120.0, 120.0),
            pow(-22.0),
            0.0,
            |v| v[0].exp2(),
            &[0.0, -0.0, INF, -INF, NAN, 1000.0, -1000.0],
        ),
        f32_function(
            "ex2.approx.ftz.f32",
            (-120.0, 120.0),
            pow(-22.0),
            0.0,
            |v| v[0].exp2(),
            &[0.0, -0.0, INF, -INF, NAN, 1000.0, -1000.0],
        ),
        f32_function("lg2.approx.f32", (0.5, 2.0), 0.0, pow(-22.0), |v| v[0].log2(), &[]),
        f32_function("lg2.approx.ftz.f32", (0.5, 2.0), 0.0, pow(-22.0), |v| v[0].log2(), &[]),
        // Outside (0.5, 2): relative error 2^-22.6.
        f32_function(
            "lg2.approx.f32 ",
            (2.0, 1e30),
            pow(-22.6),
            0.0,
            |v| v[0].log2(),
            &[0.0, -0.0, INF, -INF, NAN, -1.0, 1e-30],
        ),
        f32_function(
            "rcp.approx.f32",
            (-1e30, 1e30),
            pow(-23.0),
            0.0,
            |v| 1.0 / v[0],
            &[0.0, -0.0, INF, -INF, NAN],
        ),
        f32_function(
            "rcp.approx.ftz.f32",
            (-1e30, 1e30),
            pow(-23.0),
            0.0,
            |v| 1.0 / v[0],
            &[0.0, -0.0, INF, -INF, NAN],
        ),
        f32_function(
            "rsqrt.approx.f32",
            (1e-30, 1e30),
            pow(-22.9),
            0.0,
            |v| 1.0 / v[0].sqrt(),
            &[0.0, -0.0, INF, -INF, NAN, -1.0],
        ),
        f32_function(
            "rsqrt.approx.ftz.f32",
            (1e-30, 1e30),
            pow(-22.9),
            0.0,
            |v| 1.0 / v[0].sqrt(),
            &[0.0, -0.0, INF, -INF, NAN, -1.0],
        ),
        f32_function(
            "sqrt.approx.f32",
            (0.0, 1e30),
            pow(-22.9),
            0.0,
            |v| v[0].sqrt(),
            &[0.0, -0.0, INF, -INF, NAN, -1.0],
        ),
        f32_function(
            "sqrt.approx.ftz.f32",
            (1e-30, 1e30),
            pow(-22.9),
            0.0,
            |v| v[0].sqrt(),
            &[0.0, -0.0, INF, -INF, NAN, -1.0],
        ),
        f32_function(
            "sin.approx.f32",
            (-2.0 * pi, 2.0 * pi),
            0.0,
            pow(-20.5),
            |v| v[0].sin(),
            &[0.0, -0.0, INF, NAN],
        ),
        f32_function(
            "sin.approx.ftz.f32",
            (-100.0 * pi, 100.0 * pi),
            0.0,
            pow(-14.7),
            |v| v[0].sin(),
            &[0.0, -0.0, INF, NAN],
        ),
        f32_function(
            "cos.approx.f32",
            (-2.0 * pi, 2.0 * pi),
            0.0,
            pow(-20.5),
            |v| v[0].cos(),
            &[0.0, -0.0, INF, NAN],
        ),
        f32_function(
            "cos.approx.ftz.f32",
            (-100.0 * pi, 100.0 * pi),
            0.0,
            pow(-14.7),
            |v| v[0].cos(),
            &[0.0, -0.0, INF, NAN],
        ),
        f32_function(
            "tanh.approx.f32",
            (-10.0, 10.0),
            pow(-11.0),
            0.0,
            |v| v[0].tanh(),
            &[0.0, -0.0, INF, -INF, NAN],
        ),
    ];
    for text in ["div.full.f32", "div.full.ftz.f32", "div.approx.f32", "div.approx.ftz.f32"] {
        // Two ulps are up to 2^-22 of the value.
        let mut divide = f32_function(
            text,
            (-1e15, 1e15),
            pow(-22.0),
            0.0,
            |v| v[0] / v[1],
            &[0.0, -0.0, INF, -INF, NAN, 1.0],
        );
        divide.arity = 2;
        all.push(divide);
    }
    for text in ["rcp.approx.ftz.f64", "rsqrt.approx.ftz.f64"] {
        let truth: Truth = if text.starts_with("rcp") { |v| 1.0 / v[0] } else { |v| 1.0 / v[0].sqrt() };
        // The ISA documents no bound; the result's lower word is zero, so 20 bits of the significand are left.
        let mut f = f32_function(text, (1e-30, 1e30), pow(-17.0), 0.0, truth, &[0.0, INF, NAN]);
        f.format = F64;
        all.push(f);
    }
    let half = |text, format, target, domain, relative, absolute, truth, specials| Function {
        text,
        format,
        arity: 1,
        target,
        domain,
        relative,
        absolute,
        truth,
        specials,
    };
    let specials: &[f64] = &[0.0, -0.0, INF, -INF, NAN];
    let tanh: Truth = |v| v[0].tanh();
    let ex2: Truth = |v| v[0].exp2();
    all.push(half(
        "tanh.approx.f16",
        F16,
        Target::Sm80,
        (-6.0, 6.0),
        pow(-11.0),
        pow(-10.987),
        tanh,
        specials,
    ));
    all.push(half(
        "ex2.approx.f16",
        F16,
        Target::Sm80,
        (-13.0, 15.0),
        pow(-9.9) + pow(-11.0),
        0.0,
        ex2,
        specials,
    ));
    all.push(half("tanh.approx.bf16", BF16, Target::Sm90, (-6.0, 6.0), pow(-8.0), pow(-8.0), tanh, specials));
    all.push(half(
        "ex2.approx.ftz.bf16",
        BF16,
        Target::Sm90,
        (-100.0, 100.0),
        pow(-7.0) + pow(-8.0),
        0.0,
        ex2,
        specials,
    ));
    all
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    functions()
        .into_iter()
        .flat_map(|function| {
            let pair = function.format.width() == 16;
            let mut cases = vec![case(&function, false)];
            if pair {
                cases.push(case(&function, true));
            }
            cases
        })
        .collect()
}

fn case(function: &Function, pair: bool) -> Case {
    let Function { text, format, arity, target, domain, relative, absolute, truth, specials } = *function;
    let suffix = if text.ends_with(' ') { "-wide" } else { "" };
    let name = format!("approximate/{}{suffix}{}", text.trim(), if pair { "x2" } else { "" });
    let mut random = Random::new(&name);
    let mut value = |_| {
        let share = random.below(1 << 40) as f64 / (1u64 << 40) as f64;
        let (low, high) = domain;
        // Wide domains are sampled by magnitude, narrow ones evenly.
        let number = if high < 1e10 {
            low + share * (high - low)
        } else {
            let least = if low > 0.0 { low } else { 1.0 / high };
            let magnitude = (least.ln() + share * (high.ln() - least.ln())).exp();
            if low < 0.0 && random.below(2) == 0 { -magnitude } else { magnitude }
        };
        format.encode_f64(number)
    };
    let mut rows: Vec<Vec<u64>> = Vec::new();
    let encode = |x: &f64| format.encode_f64(*x);
    match arity {
        1 => rows.extend(specials.iter().map(|x| vec![encode(x)])),
        _ => rows
            .extend(specials.iter().flat_map(|x| specials.iter().map(move |y| vec![encode(x), encode(y)]))),
    }
    while rows.len() < 512 {
        rows.push((0..arity).map(&mut value).collect());
    }
    if pair {
        let count = rows.len();
        rows = (0..count).map(|i| vec![rows[i][0] | rows[(i * 7 + 3) % count][0] << 16]).collect();
    }
    let scalar: Scalar = Box::new(move |v| {
        format.encode_f64(truth(&v.iter().map(|bits| format.to_f64(*bits)).collect::<Vec<_>>()))
    });
    let width = if pair { 32 } else { format.width() };
    let operands = vec![width; arity];
    let statements =
        format!("{}{} $d, {};", text.trim(), if pair { "x2" } else { "" }, ["$a", "$b"][..arity].join(", "));
    let agreement = Agreement::Within { format, relative, absolute };
    Element { name, target, operands: &operands, result: width, statements, rows, agreement }
        .case(Some(if pair { packed(scalar) } else { scalar }))
}
