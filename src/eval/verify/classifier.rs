//! Fine-tuning against a golden file: logits, pooled vectors, losses, every gradient, and the weights after three steps.

use super::compare::Group;
use super::engine::{Tensors, add_flat, to_f64};
use super::golden::GoldenFile;
use super::model::{clips, extents, groups, model, optim, stored};
use crate::Result;
use crate::optim::Optimiser;
use crate::tensor::Real;
use crate::train::{Classifier, ClassifyConfig, Network, NetworkPlan};

/// Compares in precision `T`.
///
/// # Errors
/// A file that lacks something.
pub(super) fn verify<T: Real>(file: &GoldenFile) -> Result<Vec<Group>> {
    groups(file, &run::<T>(file)?, T::DTYPE)
}

fn run<T: Real>(file: &GoldenFile) -> Result<Tensors> {
    let (extents, optim) = (extents(file)?, optim(file)?);
    let (videos, steps) = (file.number("videos")? as usize, file.number("steps")? as usize);
    let (classes, seed) = (file.number("classes")? as usize, file.number("seed")? as u64);
    let classify = ClassifyConfig {
        classes: (0..classes).map(|class| class.to_string()).collect(),
        ..ClassifyConfig::default()
    };
    let plan = NetworkPlan::<T, Classifier<T>>::classifier(&model(file)?, &classify, videos, extents, None)?;
    let mut network = Network::new(plan);
    let (layout, params, _) = network.parts_mut();
    layout.import(&stored(file, layout, seed), params)?;
    let mut optimiser = Optimiser::<T>::new(&optim, steps as u64, layout, 0);

    let input: Vec<T> =
        clips(file, "input", videos, extents)?.into_iter().map(|v| T::from_f64(v.into())).collect();
    let labels: Vec<u32> = file.get("labels")?.data.iter().map(|&label| label as u32).collect();
    let masks: Vec<T> = file.get("masks")?.data.iter().map(|&v| T::from_f64(v)).collect();
    if labels.len() != videos || masks.len() != (steps + 1) * network.output(0).len() {
        return Err(file.lacks("labels and masks of the stated extents"));
    }

    let (mut out, mut losses) = (Tensors::new(), Vec::new());
    for (step, mask) in masks.chunks_exact(masks.len() / (steps + 1)).enumerate() {
        network.criterion_mut().set_batch(&labels, mask);
        let clip = input.len() / videos;
        let parts = network.forward_backward(|clips, to| {
            to.copy_from_slice(&input[clips.start * clip..clips.end * clip]);
            Ok(())
        })?;
        losses.push(parts.total);
        if step == 0 {
            out.insert("logits".into(), to_f64(network.criterion().logits()));
            out.insert("pooled".into(), to_f64(network.output(0)));
            add_flat("grad", network.layout(), &network.gradients, &mut out);
        }
        if step < steps {
            let (layout, params, gradients) = network.parts_mut();
            optimiser.measure(layout, params, gradients);
            optimiser.update(step as u64, layout, params, gradients);
        }
    }
    out.insert("loss.step".into(), losses);
    add_flat(&format!("after{steps}"), network.layout(), &network.params, &mut out);
    Ok(out)
}
