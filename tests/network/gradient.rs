//! The derived reverse pass of whole networks against central differences, in f64.

use hdc::graph::{Executor, ParamLayout};
use hdc::models::{self, Backbone, PROJECTION};
use hdc::tensor::random::Stream;
use hdc::train::Criterion;
use hdc::train::objective::{LossConfig, Objective, Reduction};

use crate::Net;
use crate::tiny;

/// Allowed error, relative to the derivative along a random direction of this length.
const TOLERANCE: f64 = 1e-6;

/// Perturbations, relative to the parameters' size. The loss has kinks: some 10⁵ activations pass a ReLU or a
/// max-pool, and a perturbation of 10⁻⁵ of a whole layer moves about one of them across. The difference
/// quotient then errs by that activation's share, far above the tolerance. So a derivative may be met at any of
/// these steps: a right one is met as soon as no kink lies within the step, which the first allows nine times
/// in ten and the last nearly always; a wrong one would need a stroke of luck of 10⁻⁶ at each. Rounding, 10⁻¹⁵ of
/// a loss near 5, stays below the tolerance even at the last, since derivatives are 1 to 100 here.
const STEPS: [f64; 5] = [3e-5, 1e-5, 1e-6, 1e-7, 1e-8];

/// Videos of a batch: each has two negatives.
const VIDEOS: usize = 3;

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Which parameters.
    only: fn(&str) -> bool,
    /// Directions of random signs, in which every element takes part.
    directions: usize,
    /// Single elements.
    elements: usize,
}

/// A network in general position: scales, shifts and biases differ from each other as kernels do. Biases then
/// centre each head's projections. Otherwise all are nearly parallel, since of most clips an instance norm and
/// a mean leave about the same; the loss is flat, and differences drown in its rounding.
fn net(backbone: Backbone, loss: &LossConfig, seed: u64) -> Net<f64> {
    let [frames, height, width] = tiny::extents(backbone);
    let mut net = Net::new(&tiny::model(backbone), loss, VIDEOS, [frames, height, width + 3], None, seed);
    let mut stream = Stream::new("general position", seed);
    net.network.params.iter_mut().for_each(|p| *p += stream.next_in(-0.1, 0.1));
    net.run();
    let layout = net.network.layout().clone();
    for k in 0..3 {
        let [anchor, spatial, _, temporal] = net.network.criterion().projections(k).map(<[f64]>::to_vec);
        for (role, projections) in [('o', anchor), ('s', spatial), ('t', temporal)] {
            let name = format!("heads.{role}{}.bias", k + 3);
            let bias = layout.params().iter().find(|p| p.name == name).unwrap().range.clone();
            let rows = projections.len() / PROJECTION;
            for row in projections.chunks_exact(PROJECTION) {
                net.network.params[bias.clone()].iter_mut().zip(row).for_each(|(b, v)| *b -= v / rows as f64);
            }
        }
    }
    net
}

/// The loss alone, by a plan for forward: a third of the time, and nothing of the reverse pass takes part.
struct Forward {
    encoder: Executor<f64>,
    objective: Objective<f64>,
    input: Vec<f64>,
    /// Gradients that the objective writes and nobody reads.
    unused: [Vec<f64>; 4],
}

impl Forward {
    fn new(net: &Net<f64>, loss: &LossConfig) -> Self {
        let (graph, layout) = (net.network.encoder().graph(), net.network.layout());
        let (slots, channels) = (models::block_slots(graph), models::block_channels(graph));
        let dims = graph.nodes()[0].shape.dims();
        let graph = models::encoder(&net.model, dims[0], [dims[1], dims[2], dims[3]], false).unwrap();
        let unused = [0, 1, 2, 3].map(|k| match k {
            3 => vec![0.0; layout.len()],
            k => vec![0.0; net.network.output(k).len()],
        });
        Self {
            encoder: Executor::new(graph, layout, false),
            objective: Objective::new(loss, VIDEOS, slots, channels, layout).unwrap(),
            input: net.input.clone(),
            unused,
        }
    }

    fn loss(&mut self, params: &[f64]) -> f64 {
        self.encoder.input_mut().copy_from_slice(&self.input);
        self.encoder.forward(params);
        let slots = [0, 1, 2].map(|k| self.encoder.output(k).to_vec());
        let (d_slots, gradients) = self.unused.split_at_mut(3);
        self.objective.evaluate(params, &slots, d_slots, &mut gradients[0]).total
    }
}

/// Compares `gradients` with differences of the loss, parameter by parameter; one line for each that misses.
fn misses(
    net: &Net<f64>,
    objective: &LossConfig,
    gradients: &[f64],
    effort: Effort,
    seed: u64,
) -> Vec<String> {
    let mut forward = Forward::new(net, objective);
    let (layout, params) = (net.network.layout(), &net.network.params);
    differences(layout, params, gradients, effort, seed, |params| forward.loss(params))
}

/// The same for any loss of flat parameters.
pub fn differences(
    layout: &ParamLayout,
    values: &[f64],
    gradients: &[f64],
    effort: Effort,
    seed: u64,
    mut loss: impl FnMut(&[f64]) -> f64,
) -> Vec<String> {
    let mut stream = Stream::new("directions", seed);
    let mut moved = values.to_vec();
    let mut misses = vec![];
    let mut params = layout.params().to_vec();
    params.retain(|p| (effort.only)(&p.name));
    for param in params {
        let start = values[param.range.clone()].to_vec();
        let gradient = &gradients[param.range.clone()];
        let size = rms(&start);
        for i in 0..effort.directions + effort.elements {
            let mut direction = vec![0.0; start.len()];
            if i < effort.directions {
                direction.fill_with(|| if stream.next_bool(0.5) { size } else { -size });
            } else {
                direction[stream.next_below(start.len() as u64) as usize] = size;
            }
            let derivative = dot(gradient, &direction);
            // What to expect of a direction of this length; a derivative that is 0 by chance must not count.
            let expected = rms(gradient) * dot(&direction, &direction).sqrt();
            let mut at = |step: f64| {
                let params = &mut moved[param.range.clone()];
                for ((to, from), d) in params.iter_mut().zip(&start).zip(&direction) {
                    *to = from + step * d;
                }
                loss(&moved)
            };
            let mut closest = f64::INFINITY;
            let meets = STEPS.iter().any(|&step| {
                let numerical = (at(step) - at(-step)) / (2.0 * step);
                let error = (numerical - derivative).abs();
                let relative = error / expected.max(numerical.abs()).max(f64::MIN_POSITIVE);
                closest = closest.min(relative);
                relative <= TOLERANCE
            });
            if !meets {
                misses.push(format!("{}: {derivative:e} is off by {closest:.1e}", param.name));
            }
        }
        moved[param.range].copy_from_slice(&start);
    }
    misses
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn rms(v: &[f64]) -> f64 {
    (dot(v, v) / v.len() as f64).sqrt()
}

fn check(backbone: Backbone, loss: &LossConfig, effort: Effort, seed: u64) {
    let mut net = net(backbone, loss, seed);
    let label = format!("{backbone:?} seed={seed} {loss:?}");
    let total = net.run().total;
    assert_eq!(Forward::new(&net, loss).loss(&net.network.params), total, "{label}");
    let misses = misses(&net, loss, &net.network.gradients, effort, seed);
    assert!(misses.is_empty(), "{label}:\n{}", misses.join("\n"));
}

pub const THOROUGH: Effort = Effort { only: |_| true, directions: 1, elements: 1 };

#[test]
fn every_parameter_of_c3d() {
    check(Backbone::C3d, &LossConfig::default(), THOROUGH, 1);
}

#[test]
fn every_parameter_of_r3d18() {
    check(Backbone::R3d18, &LossConfig::default(), THOROUGH, 2);
}

#[test]
fn every_parameter_of_r21d10() {
    check(Backbone::R21d10, &LossConfig::default(), THOROUGH, 3);
}

/// {SC}, {TC}, both × scales × weights × reductions.
#[test]
fn every_subset_of_the_objective() {
    let all = LossConfig::default();
    let (five, upper, ones) = ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0; 3]);
    let weights = |alpha, beta| LossConfig { alpha, beta, ..all.clone() };
    let spatial = |alpha| LossConfig { temporal: false, alpha, ..all.clone() };
    let temporal = |beta| LossConfig { spatial: false, beta, ..all.clone() };
    let subsets = [
        spatial(five),
        temporal(five),
        weights(five, five),
        weights(upper, upper),
        weights([0.0, 0.5, 1.0], [0.0, 0.5, 1.0]),
        weights(ones, ones),
        spatial(all.alpha),
        temporal(all.beta),
        spatial([1.0, 0.0, 0.0]),
        temporal([0.0, 1.0, 0.0]),
        weights([0.3, 0.0, 2.0], [0.0, 0.7, 0.0]),
        LossConfig { reduction: Reduction::Sum, tau: 0.2, ..all.clone() },
    ];
    // The gradients of all three taps meet in the stem.
    let only = |name: &str| name.starts_with("heads.") || name.starts_with("backbone.stem.");
    let effort = Effort { only, directions: 1, elements: 0 };
    for (i, loss) in subsets.iter().enumerate() {
        check(Backbone::R21d10, loss, effort, 10 + i as u64);
        let mut net = net(Backbone::R21d10, loss, 10 + i as u64);
        let losses = net.run();
        let on = |switch: bool, weights: [f64; 3]| weights.map(|w| switch && w != 0.0);
        let (s, t) = (on(loss.spatial, loss.alpha), on(loss.temporal, loss.beta));
        assert_eq!((losses.spatial.map(|v| v.is_some()), losses.temporal.map(|v| v.is_some())), (s, t));
        for k in 0..3 {
            for (role, used) in [('o', s[k] || t[k]), ('s', s[k]), ('t', t[k])] {
                for part in ["weight", "bias"] {
                    let name = format!("heads.{role}{}.{part}", k + 3);
                    let layout = net.network.layout();
                    let param = layout.params().iter().find(|p| p.name == name).unwrap();
                    let gradient = &net.network.gradients[param.range.clone()];
                    assert_eq!(gradient.iter().any(|g| *g != 0.0), used, "{name} of {loss:?}");
                }
            }
        }
    }
}

/// The check itself: it finds an error of 10⁻⁵ in the gradient of one parameter, or of one element, and there.
#[test]
fn a_wrong_gradient_is_found() {
    let loss = &LossConfig::default();
    let mut net = net(Backbone::R21d10, loss, 5);
    net.run();
    let right = net.network.gradients.clone();
    let effort = Effort { only: |name| name.starts_with("backbone.block4.conv"), directions: 3, elements: 0 };
    let layout = net.network.layout().clone();
    let wrong = layout.params().iter().find(|p| p.name == "backbone.block4.conv2.norm.weight").unwrap();
    let largest = wrong.range.clone().max_by(|&i, &j| right[i].abs().total_cmp(&right[j].abs())).unwrap();
    for elements in [wrong.range.clone(), largest..largest + 1] {
        let mut gradients = right.clone();
        gradients[elements].iter_mut().for_each(|g| *g *= 1.0 + 1e-5);
        let found = misses(&net, loss, &gradients, effort, 6);
        assert!(!found.is_empty() && found.iter().all(|miss| miss.starts_with(&wrong.name)), "{found:?}");
    }
    assert!(misses(&net, loss, &right, effort, 6).is_empty());
}
