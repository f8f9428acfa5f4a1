//! Softmax cross-entropy and dropout, which end a fine-tuned network.

use hdc::device::{Command, Memory};
use hdc::graph::cuda_tensor::{from_device, to_device};
use hdc::ops::cross_entropy::{CudaIo, Io, Outcome, Problem, softmax};
use hdc::ops::{Precision, dropout, pitch};
use hdc::tensor::Real;
use hdc::tensor::random::Stream;

use crate::data::{Kind, assert_close, random, to_f64};
use crate::device::{device, run as run_commands};

/// (rows, classes): fewer than a warp, its tails, more rows than a block, many classes.
const HOSTILE: [[usize; 2]; 7] = [[1, 2], [3, 5], [8, 32], [9, 33], [17, 101], [261, 7], [2, 400]];

fn labels([rows, classes]: [usize; 2]) -> Vec<u32> {
    let mut stream = Stream::new("labels", 1);
    (0..rows).map(|_| stream.next_below(classes as u64) as u32).collect()
}

fn run<T: Real>(p: &Problem, logits: &[T], labels: &[u32], scale: f64) -> (Outcome, Vec<T>) {
    let mut d_logits = vec![T::NAN; logits.len()];
    let outcome = p.run(Io { logits, labels, scale, d_logits: &mut d_logits });
    (outcome, d_logits)
}

#[test]
fn gradients_are_differences_of_the_loss() {
    for extents @ [rows, classes] in HOSTILE {
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
    let holding = |bytes: &[u8]| Memory::holding(&device, "test data", bytes).unwrap();
    for extents @ [rows, classes] in HOSTILE {
        let p = Problem::new(rows, classes).unwrap();
        // Integers have ties: the same one must win.
        for kind in [Kind::Real, Kind::Integer] {
            let (mut z, labels) = (random::<f32>(kind, "z", 2, p.len()), labels(extents));
            z.iter_mut().for_each(|z| *z *= 2.0);
            let logits = holding(&to_device(&z, classes, Precision::F32));
            let held_labels = holding(bytemuck::cast_slice(&labels));
            let (d_logits, losses) = (holding(&vec![0xFF; logits.bytes()]), holding(&[0xFF; 16]));
            let workspace = Memory::new(&device, "test data", p.cuda_workspace_bytes()).unwrap();
            let io = CudaIo {
                logits: logits.address(),
                labels: held_labels.address(),
                d_logits: d_logits.address(),
                losses: losses.address(),
                workspace: workspace.address(),
            };
            let mut commands = vec![];
            p.launch(&io, &mut commands);
            let outcome = || {
                run_commands(&device, &commands);
                let (mut bytes, mut figures) = (vec![0; d_logits.bytes()], [f64::NAN; 2]);
                d_logits.download(0, &mut bytes).unwrap();
                losses.download(0, &mut figures).unwrap();
                (bytes, figures)
            };
            let (bytes, [loss, right]) = outcome();
            assert_eq!(outcome(), (bytes.clone(), [loss, right]), "the same bits twice");
            let mut got = vec![f32::NAN; z.len()];
            from_device(&bytes, classes, Precision::F32, &mut got);
            for row in bytes.chunks_exact(4 * pitch(classes)) {
                assert!(row[4 * classes..].iter().all(|&b| b == 0), "{extents:?}: padding is not 0");
            }
            let (want, d_want) = run(&p, &to_f64(&z), &labels, 1.0 / rows as f64);
            let label = format!("{extents:?} {kind:?}");
            assert_eq!(right, want.right as f64 / rows as f64, "{label}");
            assert_close(&label, &[loss], &[want.loss / rows as f64], 3e-6, 0.1);
            assert_close(&label, &got, &d_want, 3e-6, 1e-3);
        }
    }
}

#[test]
fn dropout_multiplies_exactly() {
    let Some(device) = device() else { return };
    for len in [4, 8, 1020, 1024, 16 * 512] {
        let x = random::<f32>(Kind::Real, "x", 1, len);
        let mask: Vec<f32> =
            random::<f32>(Kind::Real, "m", 1, len).iter().map(|m| if *m < 0.0 { 0.0 } else { 2.0 }).collect();
        let mut want = vec![f32::NAN; len];
        dropout::apply(&x, &mask, &mut want);
        let held = [&x, &mask].map(|v| Memory::holding(&device, "test data", v).unwrap());
        let y = Memory::holding(&device, "test data", &vec![f32::NAN; len]).unwrap();
        let command: Command = dropout::launch(len, held[0].address(), held[1].address(), y.address()).into();
        run_commands(&device, &[command]);
        let mut got = vec![f32::NAN; len];
        y.download(0, &mut got).unwrap();
        assert_eq!(got, want, "{len} numbers");
    }
}
