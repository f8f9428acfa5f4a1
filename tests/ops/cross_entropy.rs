//! Softmax cross-entropy and dropout, which end a fine-tuned network.

use hdc::eval::selftest::classification::{self, EXTENTS, LENGTHS, labels};
use hdc::ops::cross_entropy::{Io, Outcome, Problem, softmax};
use hdc::tensor::Real;

use crate::data::{Kind, random};
use crate::device::device;

fn run<T: Real>(p: &Problem, logits: &[T], labels: &[u32], scale: f64) -> (Outcome, Vec<T>) {
    let mut d_logits = vec![T::NAN; logits.len()];
    let outcome = p.run(Io { logits, labels, scale, d_logits: &mut d_logits });
    (outcome, d_logits)
}

#[test]
fn gradients_are_differences_of_the_loss() {
    for extents @ [rows, classes] in EXTENTS {
        let p = Problem::new(rows, classes).unwrap();
        let (mut z, labels) = (random::<f64>(Kind::Real, "z", 1, p.len()), labels(extents));
        z.iter_mut().for_each(|z| *z *= 3.0);
        let (outcome, dz) = run(&p, &z, &labels, 0.25);
        // The definition, in other words.
        let plain: f64 =
            z.chunks(classes).zip(&labels).map(|(z, &c)| -softmax(z).nth(c as usize).unwrap().ln()).sum();
        assert!((outcome.loss - plain).abs() <= 1e-12 * plain.abs(), "{extents:?}");
        for i in (0..z.len()).step_by(z.len().div_ceil(40)) {
            let at = |step: f64| {
                let mut moved = z.clone();
                moved[i] += step;
                0.25 * run(&p, &moved, &labels, 0.25).0.loss
            };
            let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numerical - dz[i]).abs() < 1e-7, "{extents:?} [{i}]: {numerical} and {}", dz[i]);
        }
    }
}

#[test]
fn the_first_of_equal_logits_is_the_answer() {
    let p = Problem::new(4, 3).unwrap();
    let z = [1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 5.0, 5.0, 5.0, f32::NAN, 0.0, 0.0];
    assert_eq!(run(&p, &z, &[0, 2, 0, 0], 1.0).0.right, 2);
    assert!(run(&p, &z, &[0, 2, 0, 0], 1.0).0.loss.is_nan(), "a diverged run is noticed");
}

#[test]
fn a_device_agrees() {
    let Some(device) = device() else { return };
    for extents in EXTENTS {
        classification::check(&device, extents).unwrap();
    }
}

#[test]
fn dropout_multiplies_exactly() {
    let Some(device) = device() else { return };
    for len in LENGTHS {
        classification::check_dropout(&device, len).unwrap();
    }
}
