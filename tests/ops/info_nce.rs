//! InfoNCE, and the heads that feed it.

mod on_device;

use hdc::eval::selftest::contrast::TERMS;
use hdc::ops::info_nce::{Io, NORM_FLOOR, Problem, reference};
use hdc::ops::linear;
use hdc::ops::slot_pool;
use hdc::ops::{Gradient, Op, WriteMode};
use hdc::tensor::{Real, Shape};

use crate::contract::{self, Feed};
use crate::data::{Kind, assert_close, assert_same_bits, random, to_f64};
use crate::golden;

const TAU: f64 = 0.07;

struct Outcome<T> {
    loss: f64,
    da: Vec<T>,
    db: Vec<T>,
}

/// Runs with outputs and workspace full of NaN, or adding to `before`.
fn run<T: Real>(p: &Problem, a: &[T], b: &[T], scale: f64, before: Option<&[T]>) -> Outcome<T> {
    let mut workspace = vec![f64::NAN; p.workspace_bytes() / 8 + 1];
    let (mode, fresh) = match before {
        Some(v) => (WriteMode::Accumulate, v.to_vec()),
        None => (WriteMode::Overwrite, vec![T::NAN; a.len()]),
    };
    let (mut da, mut db) = (fresh.clone(), fresh);
    let (last, used) = workspace.split_last_mut().unwrap();
    let loss = p.run(Io {
        a,
        b,
        scale,
        da: Some(Gradient { data: &mut da, mode }),
        db: Some(Gradient { data: &mut db, mode }),
        workspace: bytemuck::cast_slice_mut(used),
    });
    assert!(last.is_nan(), "{p:?}: wrote past its workspace");
    Outcome { loss, da, db }
}

fn golden_case<T: Real>(name: &str, tolerance: f64) {
    let case = golden::case(name);
    let label = &format!("{name} {:?}", T::DTYPE);
    let shape = case.shape("a");
    let [b, s, d] = if shape.len() == 3 { [shape[0], shape[1], shape[2]] } else { [shape[0], 1, shape[1]] };
    let p = Problem::new(b, s, d, case.number("tau")).unwrap();
    let (va, vb) = (case.values::<T>("a"), case.values::<T>("b"));
    let got = run(&p, &va, &vb, 1.0, None);
    // A single video has no negatives: its loss and gradients are 0.
    let scale = if b == 1 { 1.0 } else { 0.0 };
    assert_close(label, &[got.loss], &case.values("loss"), tolerance, scale);
    assert_close(label, &[got.loss / b as f64], &case.values("loss_mean"), tolerance, scale);
    assert_close(&format!("{label} da"), &got.da, &case.values("da"), tolerance, scale);
    assert_close(&format!("{label} db"), &got.db, &case.values("db"), tolerance, scale);
}

#[test]
fn agrees_with_pytorch() {
    let names = [golden::cases("infonce/"), golden::cases("slot_infonce/")].concat();
    assert_eq!(names.len(), 12);
    for name in names {
        golden_case::<f64>(&name, 1e-6);
        golden_case::<f32>(&name, 1e-6);
    }
}

#[test]
fn agrees_with_the_specification_and_accumulates() {
    for [b, s, d] in TERMS {
        let label = &format!("info_nce {b}×{s}×{d}");
        let p = Problem::new(b, s, d, TAU).unwrap();
        let [va, vb, before] = ["a", "b", "c"].map(|n| random::<f64>(Kind::Real, n, 1, b * s * d));
        let (mut da, mut db) = (vec![0.0; va.len()], vec![0.0; va.len()]);
        let mode = WriteMode::Overwrite;
        let loss = reference::run(
            &p,
            Io {
                a: &va,
                b: &vb,
                scale: 0.5,
                da: Some(Gradient { data: &mut da, mode }),
                db: Some(Gradient { data: &mut db, mode }),
                workspace: &mut [],
            },
        );
        let got = run(&p, &va, &vb, 0.5, None);
        assert_close(label, &[got.loss], &[loss], 1e-12, 1e-3);
        // p − 1 loses digits in the specification where a positive is nearly certain.
        assert_close(&format!("{label} da"), &got.da, &da, 1e-11, 1e-2);
        assert_close(&format!("{label} db"), &got.db, &db, 1e-11, 1e-2);
        let added = run(&p, &va, &vb, 0.5, Some(&before));
        for (sum, d) in [(added.da, got.da), (added.db, got.db)] {
            let want: Vec<f64> = before.iter().zip(d).map(|(b, d)| b + d).collect();
            assert_same_bits(&format!("{label} accumulated"), &sum, &want);
        }
    }
}

#[test]
fn gives_the_same_bits_with_any_number_of_threads() {
    for [b, s, d] in [[33, 3, 128], [261, 1, 9]] {
        let p = Problem::new(b, s, d, TAU).unwrap();
        let [va, vb] = ["a", "b"].map(|n| random::<f32>(Kind::Real, n, 2, b * s * d));
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&p, &va, &vb, 1.0, None))
        };
        let (one, two) = (with(1), with(2));
        assert_eq!(one.loss.to_bits(), two.loss.to_bits());
        assert_same_bits("da", &one.da, &two.da);
        assert_same_bits("db", &one.db, &two.db);
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    let more = [[2, 8, 16], [2, 1, 128], [33, 1, 16]];
    for [b, s, d] in TERMS.into_iter().take(6).chain(more) {
        let p = Problem::new(b, s, d, 0.5).unwrap();
        let mut v = ["a", "b"].map(|n| random::<f64>(Kind::Real, n, 3, b * s * d));
        let got = run(&p, &v[0], &v[1], 1.0, None);
        for (which, analytic) in [got.da, got.db].into_iter().enumerate() {
            let mut numerical = vec![];
            for i in 0..b * s * d {
                let kept = v[which][i];
                let step = 1e-5;
                let mut at = |x: f64| {
                    v[which][i] = x;
                    run(&p, &v[0], &v[1], 1.0, None).loss
                };
                let slope = (at(kept + step) - at(kept - step)) / (2.0 * step);
                v[which][i] = kept;
                numerical.push(slope);
            }
            assert_close(&format!("info_nce {b}×{s}×{d} {which}"), &analytic, &numerical, 1e-6, 1e-3);
        }
    }
}

#[test]
fn alike_vectors_cost_ln_b_and_short_ones_are_floored() {
    let p = Problem::new(4, 1, 3, TAU).unwrap();
    let alike = [0.3_f64; 12];
    let got = run(&p, &alike, &alike, 1.0, None);
    assert_close("ln B", &[got.loss], &[4.0 * 4_f64.ln()], 1e-12, 0.0);

    let zero = [0.0_f64; 12];
    let got = run(&p, &zero, &alike, 1.0, None);
    assert_close("zero anchors", &[got.loss], &[4.0 * 4_f64.ln()], 1e-12, 0.0);
    assert!(got.da.iter().all(|v| v.is_finite() && v.abs() < 1.0 / NORM_FLOOR / TAU));

    let mut nan = alike;
    nan[4] = f64::NAN;
    assert!(run(&p, &nan, &alike, 1.0, None).loss.is_nan(), "a NaN must reach the loss");
    assert!(run(&p, &alike, &nan, 1.0, None).loss.is_nan(), "a NaN must reach the loss");
}

/// Powers of two scale without rounding, so that the same bits must come out.
#[test]
fn only_directions_count_from_tiny_vectors_to_huge_ones() {
    fn scaled<T: Real>(exponent: i32) {
        let label = &format!("info_nce of vectors times 2^{exponent} {:?}", T::DTYPE);
        let factor = T::from_f64(f64::from(exponent).exp2());
        let p = Problem::new(9, 3, 16, TAU).unwrap();
        let [a, b] = ["a", "b"].map(|n| random::<T>(Kind::Real, n, 4, 9 * 3 * 16));
        let big: Vec<T> = a.iter().map(|&v| v * factor).collect();
        let (plain, got) = (run(&p, &a, &b, 1.0, None), run(&p, &big, &b, 1.0, None));
        assert_eq!(got.loss.to_bits(), plain.loss.to_bits(), "{label}");
        let back: Vec<T> = got.da.iter().map(|&v| v * factor).collect();
        assert_same_bits(&format!("{label} da"), &back, &plain.da);
        assert_same_bits(&format!("{label} db"), &got.db, &plain.db);
    }
    for exponent in [-30, 1, 60] {
        scaled::<f32>(exponent);
        scaled::<f64>(exponent);
    }
    scaled::<f64>(400);
}

#[test]
fn gradients_are_orthogonal_to_their_vectors() {
    for [b, s, d] in TERMS {
        let p = Problem::new(b, s, d, TAU).unwrap();
        let [va, vb] = ["a", "b"].map(|n| random::<f64>(Kind::Real, n, 5, b * s * d));
        let got = run(&p, &va, &vb, 1.0, None);
        for (which, vectors, gradients) in [("a", &va, &got.da), ("b", &vb, &got.db)] {
            for (i, (v, g)) in vectors.chunks_exact(d).zip(gradients.chunks_exact(d)).enumerate() {
                let dot: f64 = v.iter().zip(g).map(|(v, g)| v * g).sum();
                assert!(dot.abs() < 1e-12 / TAU, "{b}×{s}×{d} {which}[{i}]: {dot}");
            }
        }
    }
}

#[test]
fn the_order_of_videos_does_not_matter() {
    let (b, s, d) = (19, 2, 8);
    let p = Problem::new(b, s, d, TAU).unwrap();
    let [va, vb] = ["a", "b"].map(|n| random::<f64>(Kind::Real, n, 6, b * s * d));
    let reversed = |v: &[f64]| -> Vec<f64> { v.chunks_exact(s * d).rev().flatten().copied().collect() };
    let (plain, got) = (run(&p, &va, &vb, 1.0, None), run(&p, &reversed(&va), &reversed(&vb), 1.0, None));
    assert_close("loss", &[got.loss], &[plain.loss], 1e-13, 0.0);
    assert_close("da", &reversed(&got.da), &plain.da, 1e-12, 0.0);
    assert_close("db", &reversed(&got.db), &plain.db, 1e-12, 0.0);
}

#[test]
fn a_loss_alone_is_that_of_a_run_with_gradients() {
    let p = Problem::new(33, 3, 16, TAU).unwrap();
    let [a, b] = ["a", "b"].map(|n| random::<f32>(Kind::Real, n, 7, 33 * 3 * 16));
    let mut workspace = vec![f64::NAN; p.workspace_bytes() / 8];
    let workspace = bytemuck::cast_slice_mut(&mut workspace);
    let loss = p.run(Io { a: &a, b: &b, scale: 1.0, da: None, db: None, workspace });
    assert_eq!(loss.to_bits(), run(&p, &a, &b, 1.0, None).loss.to_bits());
}

#[test]
fn nearly_certain_positives_keep_their_digits() {
    // Two orthogonal pairs: the loss is ln(1 + e^(−1/τ)) each, far below the precision of 1.
    let tau = 0.03;
    let p = Problem::new(2, 1, 2, tau).unwrap();
    let v = [1.0_f64, 0.0, 0.0, 1.0];
    let got = run(&p, &v, &v, 1.0, None);
    let small = (-1.0 / tau).exp();
    assert_close("loss", &[got.loss], &[2.0 * small.ln_1p()], 1e-12, 0.0);
    // d loss / d (cosine to the other) = probability / τ, along the other's direction.
    let share = small / (1.0 + small) / tau;
    assert_close("da", &got.da, &[0.0, share, share, 0.0], 1e-12, 0.0);
    assert_close("db", &got.db, &[0.0, share, share, 0.0], 1e-12, 0.0);
}

/// Heads, global pool and both kinds of contrast at three scales, with default weights.
fn heads<T: Real>(tolerance: f64) {
    let case = golden::case("heads");
    let mut total = 0.0;
    for (k, weight) in [(3, 0.25), (4, 0.5), (5, 1.0)] {
        let label = &format!("heads block {k} {:?}", T::DTYPE);
        let shape = case.shape(&format!("slot.o.{k}"));
        let (b, s, c) = (shape[0], shape[1], shape[2]);
        let pool = slot_pool::Problem::global(Shape::new([b, s, c])).unwrap();
        let head = |role: &str, rows: usize, x: Vec<T>, dy: Vec<T>| {
            let p = linear::Problem::new(Shape::new([rows, c]), 128).unwrap();
            let param = |name: &str| case.values::<T>(&format!("param.{role}{k}.{name}"));
            (p, Feed { inputs: vec![x], params: vec![param("weight"), param("bias")], dy })
        };
        let project = |role: &str, rows: usize, x: &[T]| {
            let (op, feed) = head(role, rows, x.to_vec(), vec![]);
            contract::forward(label, &op, &feed, &|io| op.forward(io)).output
        };
        let slots = |role: &str| case.values::<T>(&format!("slot.{role}.{k}"));
        let global = |x: &[T]| {
            let feed = Feed { inputs: vec![x.to_vec()], params: vec![], dy: vec![] };
            contract::forward(label, &pool, &feed, &|io| pool.forward(io))
        };
        let [o, s_, t] = ["o", "s", "t"].map(slots);
        let (go, gt) = (global(&o), global(&t));

        let spatial = Problem::new(b, s, 128, TAU).unwrap();
        let temporal = Problem::new(b, 1, 128, TAU).unwrap();
        let ls = run(&spatial, &project("o", b * s, &o), &project("s", b * s, &s_), weight, None);
        let (po, pt) = (project("o", b, &go.output), project("t", b, &gt.output));
        let lt = run(&temporal, &po, &pt, weight, None);
        assert_close(label, &[ls.loss], &case.values(&format!("loss.s.{k}")), tolerance, 0.0);
        assert_close(label, &[lt.loss], &case.values(&format!("loss.t.{k}")), tolerance, 0.0);
        total += weight * (ls.loss + lt.loss);

        let back = |role: &str, rows: usize, x: &[T], dy: Vec<T>| {
            let (op, feed) = head(role, rows, x.to_vec(), dy);
            let y = contract::forward(label, &op, &feed, &|io| op.forward(io));
            contract::backward(label, &op, &feed, &y, &|io| op.backward(io))
        };
        let to_slots = |x: &[T], forwarded: &contract::Forwarded<T>, dy: Vec<T>| {
            let feed = Feed { inputs: vec![x.to_vec()], params: vec![], dy };
            to_f64(&contract::backward(label, &pool, &feed, forwarded, &|io| pool.backward(io)).dx[0])
        };
        let [os, ss] = [("o", &o, ls.da), ("s", &s_, ls.db)].map(|(r, x, d)| back(r, b * s, x, d));
        let [ot, tt] = [("o", &go, lt.da), ("t", &gt, lt.db)].map(|(r, x, d)| back(r, b, &x.output, d));
        let sum = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f64>>();
        let dslot = |role: &str, got: Vec<f64>| {
            let want = case.values(&format!("dslot.{role}.{k}"));
            assert_close(&format!("{label} dslot.{role}"), &got, &want, tolerance, 0.0);
        };
        dslot("o", sum(to_f64(&os.dx[0]), to_slots(&o, &go, ot.dx[0].clone())));
        dslot("s", to_f64(&ss.dx[0]));
        dslot("t", to_slots(&t, &gt, tt.dx[0].clone()));
        for (i, name) in ["weight", "bias"].into_iter().enumerate() {
            let grad = |role: &str, got: Vec<f64>| {
                let want = case.values(&format!("grad.{role}{k}.{name}"));
                assert_close(&format!("{label} grad.{role}.{name}"), &got, &want, tolerance, 0.0);
            };
            grad("o", sum(to_f64(&os.dparams[i]), to_f64(&ot.dparams[i])));
            grad("s", to_f64(&ss.dparams[i]));
            grad("t", to_f64(&tt.dparams[i]));
        }
    }
    assert_close("heads total", &[total], &case.values("total"), tolerance, 0.0);
}

#[test]
fn heads_and_loss_agree_with_pytorch() {
    heads::<f64>(1e-6);
    // Projections rounded to f32 (6e-8) reach the gradient through 1/τ = 14.
    heads::<f32>(3e-6);
}
