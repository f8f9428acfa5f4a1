//! Every conformance case on the simulator, through cudarc and the built library; and the truths that the
//! cases are held to, against the host's own arithmetic.

#[path = "../examples/conformance/suite/mod.rs"]
mod suite;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use suite::case::{Agreement, Case, Target};
use suite::data::{Random, random_float, special_floats};
use suite::exact::{F16, F32, F64, Format, Number, Rounding};
use suite::expected::{Entry, Expected, judge};
use suite::machine::{Failure, Machine, load_driver};

const EXPECTED: &str = include_str!("../conformance/expected.json");
/// Cases that the simulator refuses by name: what it does not implement.
const UNSUPPORTED: &str = include_str!("../conformance/unsupported.txt");

/// The library that this package builds, in the folder of the test's executable or the one above.
fn library() -> PathBuf {
    let executable = std::env::current_exe().expect("a test has an executable");
    let folders = executable.ancestors().skip(1).take(2);
    let mut files = folders.map(|folder| folder.join("libptxsim.so"));
    files.find(|file| file.exists()).expect("cargo builds the library before the test")
}

/// Longer than this no case takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_case_agrees() {
    load_driver(&library()).expect("the library loads");
    let machine = Arc::new(Machine::open().expect("the simulator has a device"));
    assert!(machine.is_simulator(), "{} is no simulator", machine.name);
    let cases: Vec<Case> =
        suite::cases().into_iter().filter(|case| case.target.runs_on(machine.capability)).collect();
    let cases = Arc::new(cases);
    // They run in a thread of their own, so that one that hangs is named.
    let (sender, outcomes) = channel();
    let (runner, ours) = (machine.clone(), cases.clone());
    std::thread::spawn(move || {
        runner.enter().expect("a context");
        ours.iter().try_for_each(|case| sender.send(runner.run(case)))
    });
    let expected = Expected::parse(EXPECTED).expect("expectations");
    let unsupported: BTreeSet<&str> = UNSUPPORTED.lines().collect();
    let mut failures = Vec::new();
    for case in cases.iter() {
        let Ok(outcome) = outcomes.recv_timeout(PATIENCE) else {
            failures.push(format!("{}: does not end, so nothing after it ran", case.name));
            break;
        };
        match (outcome, unsupported.contains(case.name.as_str())) {
            (Ok(_), true) => failures.push(format!("{}: runs, so unlist and record it", case.name)),
            (Ok(output), false) => {
                let verdict = judge(case, &output, &machine, &expected);
                failures.extend(verdict.differences.iter().map(|d| format!("{}: {d}", case.name)));
                if verdict.unrecorded && verdict.differences.is_empty() {
                    failures.push(format!("{}: not recorded", case.name));
                }
            }
            (Err(Failure::Refused(_)), true) => {}
            (Err(Failure::Refused(what) | Failure::Case(what) | Failure::Machine(what)), _) => {
                failures.push(format!("{}: {what}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn names_are_unique_and_every_expectation_has_a_case() {
    let cases = suite::cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    let expected = Expected::parse(EXPECTED).expect("expectations");
    let listed = expected.0.keys().map(String::as_str).chain(UNSUPPORTED.lines());
    let stale: Vec<_> = listed.filter(|name| !names.contains(name)).collect();
    assert!(stale.is_empty(), "no case is named {stale:?}");
    assert_eq!(expected.to_text(), EXPECTED, "the file is as `record` writes it");
}

#[test]
fn a_simulator_never_overwrites_a_gpu() {
    let entry = |source: &str, digest: &str| Entry {
        source: source.to_owned(),
        compare: "exact".to_owned(),
        digest: digest.to_owned(),
        bytes: String::new(),
    };
    let mut expected = Expected::default();
    assert!(expected.record("case", entry("ptxsim", "1")));
    assert!(expected.record("case", entry("ptxsim", "2")), "a simulator's entry may be replaced");
    assert!(expected.record("case", entry("NVIDIA H100", "3")));
    assert!(!expected.record("case", entry("ptxsim", "4")));
    assert_eq!(expected.0["case"].digest, "3");
    assert!(expected.record("case", entry("NVIDIA H200", "5")), "a GPU may correct a GPU");
}

#[test]
fn agreements_tell_apart_what_they_must() {
    let nans = [0x7fc0_0001u32, 0x3f80_0000].map(u32::to_le_bytes).concat();
    let other = [0xffff_ffffu32, 0x3f80_0001].map(u32::to_le_bytes).concat();
    let within = |relative| Agreement::Within { format: F32, relative, absolute: 0.0 };
    let count = |agreement: Agreement| agreement.differences(&nans, &other).len();
    assert_eq!(count(Agreement::Bits(4)), 2);
    assert_eq!(count(Agreement::Numbers(F32)), 1);
    assert_eq!(count(within(1e-8)), 1);
    assert_eq!(count(within(1e-6)), 0);
    assert_eq!(Agreement::Numbers(F32).differences(&nans, &other[..4]).len(), 1, "lengths differ");
}

#[test]
fn targets_run_where_they_should() {
    assert!(Target::Sm80.runs_on((8, 6)) && Target::Sm80.runs_on((12, 0)));
    assert!(
        Target::Sm90a.runs_on((9, 0)) && !Target::Sm90a.runs_on((10, 0)) && !Target::Sm90.runs_on((8, 9))
    );
}

fn decoded(bits: u64, format: Format) -> Number {
    Number::decode(bits, format)
}

#[test]
fn exact_arithmetic_rounds_to_nearest_as_the_host_does() {
    let mut random = Random::new("host");
    let mut values = special_floats(F64);
    values.extend((0..200).map(|_| random_float(&mut random, F64)));
    let same = |ours: u64, host: f64| ours == host.to_bits() || host.is_nan() && F64.to_f64(ours).is_nan();
    let round = |n: Number| n.encode(F64, Rounding::Nearest);
    for a in &values {
        let (x, n) = (f64::from_bits(*a), decoded(*a, F64));
        assert!(same(round(n.root()), x.sqrt()), "sqrt {x:e}");
        let single = n.encode(F32, Rounding::Nearest) as u32;
        let host = x as f32;
        assert!(single == host.to_bits() || host.is_nan() && x.is_nan(), "{x:e} as f32");
        for b in &values {
            let (y, m) = (f64::from_bits(*b), decoded(*b, F64));
            assert!(same(round(n.plus(&m, Rounding::Nearest)), x + y), "{x:e} + {y:e}");
            assert!(same(round(n.times(&m)), x * y), "{x:e} * {y:e}");
            assert!(same(round(n.over(&m)), x / y), "{x:e} / {y:e}");
            let c = f64::from_bits(random_float(&mut random, F64));
            let sum = n.times(&m).plus(&decoded(c.to_bits(), F64), Rounding::Nearest);
            assert!(same(round(sum), x.mul_add(y, c)), "{x:e} * {y:e} + {c:e}");
        }
    }
}

/// Directed results bracket the exact one: they are neighbours, or equal where it is representable.
#[test]
fn directed_rounding_brackets() {
    for bits in special_floats(F32) {
        let number = decoded(bits, F32);
        let (down, up) = (number.encode(F16, Rounding::Down), number.encode(F16, Rounding::Up));
        let (low, high) = (F16.to_f64(down), F16.to_f64(up));
        let value = F32.to_f64(bits);
        if value.is_nan() {
            assert!(low.is_nan() && high.is_nan());
            continue;
        }
        assert!(low <= value && value <= high, "{value:e}: {low:e} {high:e}");
        assert!(
            down == up || down.abs_diff(up) == 1 || value.abs() < 6e-8,
            "{value:e} lies between {down:#x} and {up:#x}"
        );
        let zero = F16.to_f64(number.encode(F16, Rounding::Zero));
        assert_eq!(zero, if value < 0.0 { high } else { low });
        let nearest = F16.to_f64(number.encode(F16, Rounding::Nearest));
        assert!(nearest == low || nearest == high);
        if nearest.is_finite() {
            assert!((nearest - value).abs() <= (low - value).abs().min((high - value).abs()), "{value:e}");
        }
    }
}

/// The rule in `fragment::place` against the tables of the PTX ISA, "Matrix fragments for mma".
#[test]
fn fragments_lie_as_the_manual_says() {
    use suite::fragment::{Matrix, place};
    for lane in 0..32 {
        let (group, t) = (lane / 4, lane % 4);
        for i in 0..8 {
            let row = if matches!(i, 0 | 1 | 4 | 5) { group } else { group + 8 };
            let column = t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
            assert_eq!(place(Matrix::A, 16, 2, lane, i), (row, column), "m16n8k16 .f16 A");
            let row = if i < 4 { group } else { group + 8 };
            assert_eq!(place(Matrix::A, 16, 1, lane, i), (row, t * 4 + (i & 3)), "m16n8k16 .s8 A");
            let row = t * 4 + (i & 3) + if i >= 4 { 16 } else { 0 };
            assert_eq!(place(Matrix::B, 16, 1, lane, i), (row, group), "m16n8k32 .s8 B");
            let row = if i % 2 == 0 { group } else { group + 8 };
            let column = if i % 2 == 0 { i * 2 + t } else { i * 2 - 2 + t };
            assert_eq!(place(Matrix::A, 16, 8, lane, i), (row, column), "m16n8k16 .f64 A");
        }
        for i in 0..16 {
            let row = if i < 4 || (8..12).contains(&i) { group } else { group + 8 };
            let column = t * 4 + (i & 3) + if i >= 8 { 16 } else { 0 };
            assert_eq!(place(Matrix::A, 16, 1, lane, i), (row, column), "m16n8k32 .s8 A");
        }
        for i in 0..4 {
            let row = t * 2 + (i & 1) + if i >= 2 { 8 } else { 0 };
            assert_eq!(place(Matrix::B, 16, 2, lane, i), (row, group), "m16n8k16 .f16 B");
            let row = if i % 2 == 0 { group } else { group + 8 };
            let column = if i < 2 { t } else { t + 4 };
            assert_eq!(place(Matrix::A, 16, 4, lane, i), (row, column), "m16n8k8 .tf32 A");
            let row = if i < 2 { group } else { group + 8 };
            assert_eq!(place(Matrix::C, 16, 4, lane, i), (row, t * 2 + (i & 1)), "m16n8 C");
            assert_eq!(place(Matrix::A, 8, 1, lane, i), (group, t * 4 + i), "m8n8k16 .s8 A");
        }
        assert_eq!(place(Matrix::B, 16, 4, lane, 1), (t + 4, group), "m16n8k8 .tf32 B");
        assert_eq!(place(Matrix::A, 8, 8, lane, 0), (group, t), "m8n8k4 .f64 A");
    }
}
