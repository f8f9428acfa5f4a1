//! Gradients against central differences in f64.

use hdc::ops::Op;
use hdc::tensor::random::Stream;

use crate::contract::{Feed, backward, forward};
use crate::data::{Kind, assert_close};

/// Elements of each tensor that are perturbed.
const SAMPLES: usize = 48;
/// Half the distance between the two evaluations: the error of second order is then about 1e-10, and that
/// of rounding 1e-11 of the loss.
const STEP: f64 = 1e-5;

/// Checks every gradient of `op` for the loss Σ dy·y at sampled elements, to 1e-6.
pub fn check(label: &str, op: &dyn Op<f64>, seed: u64) {
    let label = &format!("{} {label} numerical gradient seed={seed}", op.kind());
    let mut feed = Feed::random(op, Kind::Real, seed);
    let y = forward(label, op, &feed, &|io| op.forward(io));
    let d = backward(label, op, &feed, &y, &|io| op.backward(io));
    let loss = |feed: &Feed<f64>| -> f64 {
        let y = forward(label, op, feed, &|io| op.forward(io));
        y.output.iter().zip(&feed.dy).map(|(y, dy)| y * dy).sum()
    };
    let tensors = feed.inputs.len() + feed.params.len();
    for t in 0..tensors {
        let inputs = feed.inputs.len();
        let analytic = if t < inputs { &d.dx[t] } else { &d.dparams[t - inputs] };
        let picks = pick(analytic.len(), seed + t as u64);
        let mut numerical = vec![];
        for &i in &picks {
            let at = |delta: f64, feed: &mut Feed<f64>| {
                let tensor = if t < inputs { &mut feed.inputs[t] } else { &mut feed.params[t - inputs] };
                let kept = tensor[i];
                tensor[i] = kept + delta;
                let loss = loss(feed);
                let tensor = if t < inputs { &mut feed.inputs[t] } else { &mut feed.params[t - inputs] };
                tensor[i] = kept;
                loss
            };
            numerical.push((at(STEP, &mut feed) - at(-STEP, &mut feed)) / (2.0 * STEP));
        }
        let analytic: Vec<f64> = picks.iter().map(|&i| analytic[i]).collect();
        let scale = 1e-3 * (picks.len() as f64).sqrt();
        assert_close(&format!("{label}, tensor {t}"), &analytic, &numerical, 1e-6, scale);
    }
}

fn pick(len: usize, seed: u64) -> Vec<usize> {
    if len <= SAMPLES {
        return (0..len).collect();
    }
    let mut stream = Stream::new("pick", seed);
    (0..SAMPLES).map(|_| stream.next_below(len as u64) as usize).collect()
}
