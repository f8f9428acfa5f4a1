//! Fine-tuning: gradients against differences, the bits of a batch in chunks, and a backbone that is left alone.

use std::ops::Range;

use hdc::data::Batch;
use hdc::models::{self, Backbone, Init};
use hdc::tensor::Real;
use hdc::tensor::random::Stream;
use hdc::train::{Classifier, ClassifyConfig, Config, Criterion, Feed, Losses, Network, NetworkPlan};

use crate::gradient::{THOROUGH, differences};
use crate::tiny;

const CLIPS: usize = 5;

fn config(backbone: Backbone, frozen: bool) -> Config {
    let mut config = Config::fine_tuning();
    config.model = tiny::model(backbone);
    [config.clip.frames, config.clip.crop, _] = tiny::extents(backbone);
    config.train.batch = CLIPS;
    let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
    config.classify = Some(ClassifyConfig { frozen, classes, ..ClassifyConfig::default() });
    config
}

struct Net<T: Real> {
    network: Network<T, Classifier<T>>,
    /// `(clips, T, H, W, 3)`.
    input: Vec<T>,
}

impl<T: Real> Net<T> {
    /// With noise for parameters, clips, labels and dropout.
    fn new(config: &Config, chunk: Option<usize>) -> Self {
        let classify = config.classify.as_ref().unwrap();
        let plan = NetworkPlan::<T, _>::classifier(&config.model, classify, CLIPS, config.extents(), chunk);
        let plan = plan.unwrap();
        let mut network = Network::new(plan);
        let mut stream = Stream::new("noise", 7);
        let (layout, params, _) = network.parts_mut();
        models::initialise(layout, Init::Glorot, 7, params);
        params.iter_mut().for_each(|p| *p += T::from_f64(stream.next_in(-0.1, 0.1)));
        let numel = CLIPS * config.extents().iter().product::<usize>() * 3;
        let input = (0..numel).map(|_| T::from_f64(stream.next_in(-1.0, 1.0))).collect();
        let mut net = Self { network, input };
        let classes = vec![Some(2), None, Some(0), Some(3), Some(1), Some(2)];
        net.network.criterion_mut().set_feed(Feed::new(classes, classify.dropout, 7));
        net.network.criterion_mut().prepare(&batch(3)).unwrap();
        net
    }

    fn run(&mut self) -> Losses {
        let Self { network, input } = self;
        let clip = input.len() / CLIPS;
        network
            .forward_backward(|clips: Range<usize>, to| {
                to.copy_from_slice(&input[clips.start * clip..clips.end * clip]);
                Ok(())
            })
            .unwrap()
    }
}

fn batch(step: u64) -> Batch {
    let numbers = vec![0, 2, 3, 4, 5];
    let videos = numbers.iter().map(|n| format!("video {n}")).collect();
    Batch { step, videos, numbers, ..Batch::default() }
}

fn check(backbone: Backbone) {
    let config = config(backbone, false);
    let mut net = Net::<f64>::new(&config, None);
    let losses = net.run();
    assert!(losses.total > 0.5 && losses.accuracy.is_some(), "{losses:?}");
    let (layout, params) = (net.network.layout().clone(), net.network.params.clone());
    let gradients = net.network.gradients.clone();
    let mut loss = |params: &[f64]| {
        net.network.params.copy_from_slice(params);
        net.run().total
    };
    let misses = differences(&layout, &params, &gradients, THOROUGH, 1, &mut loss);
    assert!(misses.is_empty(), "{backbone:?}:\n{}", misses.join("\n"));

    // The check sees what is wrong.
    let mut wrong = gradients;
    let bias = layout.params().last().unwrap().range.clone();
    wrong[bias].iter_mut().for_each(|g| *g *= 1.0 + 1e-4);
    let misses = differences(&layout, &params, &wrong, THOROUGH, 1, loss);
    assert!(!misses.is_empty() && misses.iter().all(|m| m.starts_with("classifier.bias")), "{misses:?}");
}

#[test]
fn every_parameter_of_c3d() {
    check(Backbone::C3d);
}

#[test]
fn every_parameter_of_r3d18() {
    check(Backbone::R3d18);
}

#[test]
fn every_parameter_of_r21d10() {
    check(Backbone::R21d10);
}

#[test]
fn chunks_change_no_bit() {
    let bits = |chunk| {
        let mut net = Net::<f32>::new(&config(Backbone::R21d10, false), chunk);
        let losses = net.run();
        let bits: Vec<u32> = net.network.gradients.iter().map(|g| g.to_bits()).collect();
        (losses, bits)
    };
    let whole = bits(None);
    assert!(whole.1.iter().filter(|&&b| b != 0).count() > whole.1.len() / 2);
    for chunk in [1, 2, 3] {
        assert_eq!(bits(Some(chunk)), whole, "{chunk} clips at a time");
    }
}

#[test]
fn a_frozen_backbone_has_no_gradient_and_the_layer_the_same() {
    let mut trained = Net::<f32>::new(&config(Backbone::C3d, false), None);
    let mut frozen = Net::<f32>::new(&config(Backbone::C3d, true), None);
    assert_eq!(trained.run(), frozen.run());
    let layer = frozen.network.layout().params()[frozen.network.frozen()].range.start;
    assert!(frozen.network.gradients[..layer].iter().all(|&g| g == 0.0));
    assert!(trained.network.gradients[..layer].iter().any(|&g| g != 0.0));
    assert_eq!(frozen.network.gradients[layer..], trained.network.gradients[layer..]);
    assert_eq!(trained.network.frozen(), 0);
}

/// Dropout is a function of seed and step; it keeps about as many numbers as asked, scaled so that the mean stays.
#[test]
fn dropout_is_drawn_anew_each_step_and_the_same_again() {
    let mut config = config(Backbone::C3d, true);
    config.classify.as_mut().unwrap().dropout = 0.75;
    let mut net = Net::<f32>::new(&config, None);
    let mut loss = |step| {
        net.network.criterion_mut().prepare(&batch(step)).unwrap();
        net.run().total
    };
    let (first, second) = (loss(0), loss(1));
    assert_ne!(first, second);
    assert_eq!(loss(0), first);
    assert!((0..40).map(loss).all(f64::is_finite));
}

#[test]
fn a_video_without_a_class_is_refused_by_name() {
    let mut net = Net::<f32>::new(&config(Backbone::C3d, true), None);
    let mut other = batch(0);
    (other.numbers[2], other.videos[2]) = (1, "Run/v_Run_g01".into());
    let e = net.network.criterion_mut().prepare(&other).unwrap_err().to_string();
    assert!(e.contains("video Run/v_Run_g01 has no class") && e.contains("help"), "{e}");
}
