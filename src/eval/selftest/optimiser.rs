//! The optimiser: two updates on a device against those of the CPU in f64.

use std::sync::Arc;

use half::bf16;

use super::subject::{Fault, run};
use super::values::{close, contents, fault, holding, random, wide};
use crate::device::{Address, Device};
use crate::ops::ParamKind;
use crate::optim::{self, CudaOptimiser, Figures, FlatArrays, KerasSgd, OptimConfig};

/// Parameters of one vector, of several rounds of a block, of several segments; with gaps between them.
const LENS: [usize; 6] = [4, 8, 88, 1024, 4100, 9216];

/// Settings, and what spoils one gradient of some: an update that must be left out.
pub fn cases() -> Vec<(OptimConfig, Option<f32>)> {
    let plain = OptimConfig { l2: 0.01, ..Default::default() };
    vec![
        (plain.clone(), None),
        (OptimConfig { clip_norm: 1.5, warmup_steps: 3, ..plain.clone() }, None),
        (OptimConfig { lars: 0.02, ..plain.clone() }, None),
        (OptimConfig { lars: 0.02, clip_norm: 1.5, ..plain.clone() }, None),
        (OptimConfig { lars: 0.02, clip_norm: 0.5, l2: 0.0, ..plain.clone() }, None),
        (plain.clone(), Some(f32::NAN)),
        (plain, Some(f32::INFINITY)),
    ]
}

/// Two updates of kernels, scales and shifts, the first with copies in bf16.
///
/// # Errors
/// What does not hold, or what the device says.
pub fn check(device: &Arc<Device>, config: &OptimConfig, spoil: Option<f32>) -> Result<(), Fault> {
    let label = format!("sgd {config:?} {spoil:?}");
    let ensure = |holds: bool, what: &dyn std::fmt::Debug| {
        if holds { Ok(()) } else { Err(format!("{label}: {what:?}")) }
    };
    let kinds = [ParamKind::Kernel, ParamKind::Scale, ParamKind::Shift];
    let mut end = 0;
    let mut ranges = Vec::new();
    for (len, kind) in LENS.into_iter().zip(kinds.into_iter().cycle()) {
        ranges.push((end..end + len, kind));
        end = (end + len).next_multiple_of(64);
    }
    let [w, v, mut g] = ["w", "v", "g"].map(|name| random(name, end));
    if let Some(value) = spoil {
        g[ranges[3].0.start + 77] = value;
    }
    let optimiser = CudaOptimiser::new(config, ranges.iter().cloned());
    let buffer = holding(device, &optimiser.initial())?;
    let [dw, dv, dg] = [holding(device, &w)?, holding(device, &v)?, holding(device, &g)?];
    let copies = holding(device, &vec![0xFFFF_u16; end])?;
    let terms = [0.5_f64, 0.0, 1.0, 0.25, 0.0, 2.0];
    let losses = holding(device, &terms)?;
    let flat = FlatArrays {
        weights: dw.address(),
        momentum: dv.address(),
        gradients: dg.address(),
        copies: copies.address(),
    };
    let sgd = KerasSgd::new(config.clone(), 10);
    let (mut w, mut v, g) = (wide(&w), wide(&v), wide(&g));
    for step in 0..2 {
        let lr = holding(device, &[optim::learning_rate(config, step, 10)])?;
        let flat = if step == 0 { flat } else { FlatArrays { copies: Address::NULL, ..flat } };
        let mut commands = vec![];
        optimiser.update(buffer.address(), flat, losses.address(), lr.address(), &mut commands);
        run(device, &commands)?;

        let squares: Vec<_> =
            ranges.iter().map(|(r, kind)| sgd.squares(*kind, &w[r.clone()], &g[r.clone()])).collect();
        let norm = squares.iter().map(|s| s.gradient).sum::<f64>().sqrt();
        let l2: f64 = ranges.iter().zip(&squares).map(|((_, kind), s)| sgd.penalty(*kind, *s)).sum();
        let rates = sgd.rates(step, norm);
        let mut figures = [Figures::default()];
        buffer.download(optimiser.figures(), &mut figures).map_err(fault)?;
        let [figures] = figures;
        let finite = u64::from(spoil.is_none());
        ensure(figures.losses == terms && figures.lr == rates.lr, &figures)?;
        ensure((figures.finite, figures.updates) == (finite, finite * (step + 1)), &figures)?;
        if spoil.is_some() {
            ensure(!figures.gradient_norm.is_finite(), &figures)?;
        } else {
            close(&label, &[figures.gradient_norm, figures.l2], &[norm, l2], 1e-6, 0.0)?;
            for ((r, kind), squares) in ranges.iter().zip(squares) {
                let (w, v) = (&mut w[r.clone()], &mut v[r.clone()]);
                sgd.update(*kind, rates, squares, w, v, &g[r.clone()]);
            }
        }
        let (got_w, got_v): (Vec<f32>, Vec<f32>) = (contents(&dw, end)?, contents(&dv, end)?);
        let tolerance = if spoil.is_some() { 0.0 } else { 1e-6 };
        for (what, got, want) in [("weights", &got_w, &w), ("momentum", &got_v, &v)] {
            close(&format!("{label}: {what} of step {step}"), &wide(got), want, tolerance, 0.0)?;
        }
        let got: Vec<u16> = contents(&copies, end)?;
        let copied = |i: usize| if spoil.is_some() { 0xFFFF } else { bf16::from_f32(got_w[i]).to_bits() };
        for (r, _) in ranges.iter().filter(|_| step == 0) {
            ensure(r.clone().all(|i| got[i] == copied(i)), &format!("copies of {r:?}"))?;
        }
    }
    Ok(())
}
