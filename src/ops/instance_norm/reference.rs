//! The specification: serial loops in f64, rounded once.

use super::{Activation, Pooled, Problem};
use crate::ops::{Backward, Forward};
use crate::tensor::Real;

/// Mean and reciprocal standard deviation of channel `c` of a clip.
fn statistics<T: Real>(p: &Problem, clip: &[T], c: usize) -> (f64, f64) {
    let count = p.positions as f64;
    let column = || clip.iter().skip(c).step_by(p.channels).map(|v| v.to_f64());
    let mean = column().sum::<f64>() / count;
    let variance = column().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
    (mean, 1.0 / (variance + p.eps).sqrt())
}

/// The value before the ReLU, if there is one.
fn before_relu(x_hat: f64, gamma: f64, beta: f64, residual: f64) -> f64 {
    x_hat * gamma + beta + residual
}

fn residual_at<T: Real>(p: &Problem, inputs: &[&[T]], i: usize) -> f64 {
    if p.activation == Activation::AddRelu { inputs[1][i].to_f64() } else { 0.0 }
}

/// Writes the output; saves nothing.
pub fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    for n in 0..p.clips {
        let clip = &io.inputs[0][n * p.clip()..][..p.clip()];
        for c in 0..p.channels {
            let (mean, rstd) = statistics(p, clip, c);
            for i in (n * p.clip() + c..(n + 1) * p.clip()).step_by(p.channels) {
                let x_hat = (io.inputs[0][i].to_f64() - mean) * rstd;
                let (gamma, beta) = (io.params[0][c].to_f64(), io.params[1][c].to_f64());
                let z = before_relu(x_hat, gamma, beta, residual_at(p, &io.inputs, i));
                let y = if p.activation != Activation::Plain && z <= 0.0 { 0.0 } else { z };
                io.output[i] = T::from_f64(y);
            }
        }
    }
}

/// Writes all gradients; needs the inputs (the residual too) and reads neither output nor what was saved.
pub fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let count = p.positions as f64;
    for c in 0..p.channels {
        let (gamma, beta) = (io.params[0][c].to_f64(), io.params[1][c].to_f64());
        let (mut dgamma, mut dbeta) = (0.0, 0.0);
        for n in 0..p.clips {
            let (mean, rstd) = statistics(p, &io.inputs[0][n * p.clip()..][..p.clip()], c);
            let indices = || (n * p.clip() + c..(n + 1) * p.clip()).step_by(p.channels);
            let x_hat = |i: usize| (io.inputs[0][i].to_f64() - mean) * rstd;
            let g = |i: usize| {
                let z = before_relu(x_hat(i), gamma, beta, residual_at(p, &io.inputs, i));
                if p.activation != Activation::Plain && z <= 0.0 { 0.0 } else { io.dy[i].to_f64() }
            };
            let sum_g: f64 = indices().map(g).sum();
            let sum_gx: f64 = indices().map(|i| g(i) * x_hat(i)).sum();
            dgamma += sum_gx;
            dbeta += sum_g;
            for i in indices() {
                let dx = gamma * rstd * (g(i) - sum_g / count - x_hat(i) * sum_gx / count);
                for (slot, value) in io.dx.iter_mut().zip([dx, g(i)]) {
                    if let Some(slot) = slot {
                        slot.mode.store(&mut slot.data[i..=i], |_| T::from_f64(value));
                    }
                }
            }
        }
        for (slot, value) in io.dparams.iter_mut().zip([dgamma, dbeta]) {
            slot.mode.store(&mut slot.data[c..=c], |_| T::from_f64(value));
        }
    }
}

/// The places of winners in what [`Pooled`] saves.
fn places(p: &Pooled, saved_bytes: usize) -> std::ops::Range<usize> {
    saved_bytes - p.norm.clips * p.clip()..saved_bytes
}

/// The norm, stored, then the pool. Writes the output and saves the winners' places.
pub fn pooled_forward<T: Real>(p: &Pooled, io: Forward<'_, T>) {
    let mut z = vec![T::ZERO; p.norm.shape.numel()];
    let (inputs, params) = (io.inputs, io.params);
    forward(&p.norm, Forward { inputs, params, output: &mut z, saved: &mut [], workspace: &mut [] });
    let places = places(p, io.saved.len());
    p.windows.largest(p.norm.clips, p.norm.channels, &z, io.output, &mut io.saved[places]);
}

/// The pool's gradient, stored, then the norm's. Writes all gradients; needs the input and the winners' places.
pub fn pooled_backward<T: Real>(p: &Pooled, io: Backward<'_, T>) {
    let won = &io.saved[places(p, io.saved.len())];
    let dz = p.windows.hand_back(p.norm.clips, p.norm.channels, io.dy, won);
    backward(&p.norm, Backward { dy: &dz, ..io });
}
