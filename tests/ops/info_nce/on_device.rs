//! InfoNCE on a device.

use hdc::device::{Address, Memory};
use hdc::eval::selftest::contrast::{self, AT_ONCE, Outcome, TERMS, TILES, Term};
use hdc::eval::selftest::run as run_commands;
use hdc::ops::info_nce::{CudaTerm, Problem, launch};

use super::{TAU, run};
use crate::data::{Kind, assert_close, assert_same_bits, random, to_f64};
use crate::device::device;

/// All terms at once on a device: losses, and both gradients of each.
fn run_on_a_device(terms: &[Term]) -> Option<Vec<Outcome>> {
    Some(contrast::run(&device()?, terms).unwrap())
}

#[test]
fn a_device_agrees_with_the_specification() {
    let Some(device) = device() else { return };
    for terms in [&TERMS[..], &TILES].concat().chunks(AT_ONCE) {
        contrast::check(&device, terms).unwrap();
    }
}

#[test]
fn a_device_keeps_the_digits_of_nearly_certain_positives_and_passes_on_nan() {
    let tau = 0.03;
    let p = Problem::new(2, 1, 4, tau).unwrap();
    let v = vec![1.0_f32, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let mut nan = v.clone();
    nan[5] = f32::NAN;
    let pair = |a: &Vec<f32>, b: &Vec<f32>| Term { problem: p, dim: 4, a: a.clone(), b: b.clone() };
    let zero = vec![0.0; 8];
    let Some(got) = run_on_a_device(&[pair(&v, &v), pair(&nan, &v), pair(&v, &nan), pair(&zero, &v)]) else {
        return;
    };
    let small = (-1.0 / tau).exp();
    assert_close("loss", &[got[0].loss], &[2.0 * small.ln_1p()], 1e-5, 0.0);
    let share = 0.5 * small / (1.0 + small) / tau;
    assert_close("da", &got[0].da, &[0.0, share, 0.0, 0.0, share, 0.0, 0.0, 0.0], 1e-5, 0.0);
    assert!(got[1].loss.is_nan() && got[2].loss.is_nan(), "a NaN must reach the loss");
    assert_close("zero anchors", &[got[3].loss], &[2.0 * 2_f64.ln()], 1e-6, 0.0);
    assert!(got[3].da.iter().all(|v| v.is_finite()), "{:?}", got[3].da);
}

/// Neighbouring rows that take different ways: zero vectors, which are divided by a constant, among others.
#[test]
fn a_device_takes_short_vectors_among_others() {
    let (b, s, d) = (70, 2, 12);
    let p = Problem::new(b, s, d, TAU).unwrap();
    let mut v = ["a", "b"].map(|n| random::<f32>(Kind::Real, n, 8, b * s * d));
    for i in [0, 3, 17, 64, 69] {
        v[0][i * s * d..][..d].fill(0.0);
        v[1][(i * s + 1) * d..][..d].fill(0.0);
    }
    let [va, vb] = v;
    let Some(got) = run_on_a_device(&[Term { problem: p, dim: d, a: va.clone(), b: vb.clone() }]) else {
        return;
    };
    let [va, vb] = [va, vb].map(|v| to_f64(&v));
    let want = run(&p, &va, &vb, 0.5, None);
    assert_close("loss", &[got[0].loss], &[want.loss], 3e-6, 1e-3);
    // A zero vector's gradient is 1/NORM_FLOOR times another's: compared vector by vector.
    for (name, got, want) in [("da", &got[0].da, &want.da), ("db", &got[0].db, &want.db)] {
        for (i, (got, want)) in got.chunks_exact(d).zip(want.chunks_exact(d)).enumerate() {
            assert_close(&format!("{name} of vector {i}"), got, want, 1e-5, 1e-2);
        }
    }
}

#[test]
fn a_device_refuses_vectors_that_are_too_long() {
    let p = Problem::new(2, 1, 129, TAU).unwrap();
    let at = Address::NULL;
    let term = CudaTerm { problem: p, a: at, b: at, da: at, db: at, scale: 1.0, factor: 1.0, place: 0 };
    assert!(launch(&[term], at, at, &mut vec![]).unwrap_err().to_string().contains("129"));
}

#[test]
fn without_terms_a_device_has_losses_of_zero() {
    let Some(device) = device() else { return };
    let losses = Memory::holding(&device, "test data", &[f64::NAN; 6]).unwrap();
    let mut commands = vec![];
    launch(&[], Address::NULL, losses.address(), &mut commands).unwrap();
    run_commands(&device, &commands).unwrap();
    let mut found = [f64::NAN; 6];
    losses.download(0, &mut found).unwrap();
    assert_eq!(found, [0.0; 6]);
}

/// Powers of two scale without rounding, so that the same bits must come out.
#[test]
fn on_a_device_too_only_directions_count() {
    let [b, s, d] = [9, 3, 16];
    let p = Problem::new(b, s, d, TAU).unwrap();
    let [a, other] = ["a", "b"].map(|n| random::<f32>(Kind::Real, n, 4, b * s * d));
    let exponents = [0, -30, 1, 60];
    let scaled = |e: i32| a.iter().map(|&v| v * (e as f32).exp2()).collect::<Vec<_>>();
    let cases = exponents.map(|e| Term { problem: p, dim: d, a: scaled(e), b: other.clone() });
    let Some(got) = run_on_a_device(&cases) else { return };
    for (outcome, e) in got.iter().zip(exponents) {
        let label = &format!("info_nce on a device of vectors times 2^{e}");
        assert_eq!(outcome.loss.to_bits(), got[0].loss.to_bits(), "{label}");
        let back: Vec<f32> = outcome.da.iter().map(|&v| v * (e as f32).exp2()).collect();
        assert_same_bits(&format!("{label} da"), &back, &got[0].da);
        assert_same_bits(&format!("{label} db"), &outcome.db, &got[0].db);
    }
}
