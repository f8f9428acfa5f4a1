//! What must not change a single bit: chunks, threads, repetition.

use hdc::models::Backbone;
use hdc::optim::OptimConfig;
use hdc::train::{Losses, objective::LossConfig};
use hdc::train::{NetworkPlan, StepReport, TrainState, TrainStep};
use hdc::{data::ClipConfig, models::Init};

use crate::Net;
use crate::tiny::{self, BACKBONES};

const VIDEOS: usize = 3;

fn net(backbone: Backbone, chunk: Option<usize>, seed: u64) -> Net<f32> {
    let (model, loss) = (tiny::model(backbone), LossConfig::default());
    Net::new(&model, &loss, VIDEOS, tiny::extents(backbone), chunk, seed)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Losses and gradients of a batch, once they are seen to be something.
fn outcome(mut net: Net<f32>) -> (Losses, Vec<u32>) {
    let losses = net.run();
    let params = net.network.layout().params();
    let dead = params.iter().find(|p| net.network.gradients[p.range.clone()].iter().all(|g| *g == 0.0));
    assert!(losses.total > 0.0 && dead.is_none(), "{losses:?}, no gradient at {dead:?}");
    (losses, bits(&net.network.gradients))
}

fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn the_chunk_changes_nothing() {
    for backbone in BACKBONES {
        let whole = outcome(net(backbone, None, 1));
        for chunk in 1..=3 * VIDEOS {
            assert!(outcome(net(backbone, Some(chunk), 1)) == whole, "{backbone:?}, {chunk} clips at a time");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for backbone in BACKBONES {
        for chunk in [None, Some(2)] {
            let here = outcome(net(backbone, chunk, 2));
            for threads in [1, 2, 3, 5] {
                let label = format!("{backbone:?}, chunk {chunk:?}, {threads} threads");
                assert!(with_threads(threads, || outcome(net(backbone, chunk, 2))) == here, "{label}");
                // Memory planned under one number of threads must do for any other.
                let planned = with_threads(threads, || net(backbone, chunk, 2));
                assert!(outcome(planned) == here, "{label}, planned there and run here");
                let planned = net(backbone, chunk, 2);
                assert!(with_threads(threads, || outcome(planned)) == here, "{label}, planned here");
            }
        }
    }
}

/// Three steps of training.
fn train(backbone: Backbone, chunk: Option<usize>, seed: u64, data: u64) -> (Vec<StepReport>, TrainState) {
    let [frames, crop, _] = tiny::extents(backbone);
    let (model, loss) = (tiny::model(backbone), LossConfig::default());
    let plan = NetworkPlan::new(&model, &loss, VIDEOS, [frames, crop, crop], chunk).unwrap();
    let clip = ClipConfig { frames, crop, ..Default::default() };
    let mut step = TrainStep::new(plan, &clip, Init::Glorot, &OptimConfig::default(), 3, seed);
    let batch = |i| tiny::batch(VIDEOS, 3 * VIDEOS, [frames, crop, crop], data + i);
    ((0..3).map(|i| step.run(&batch(i)).unwrap()).collect(), step.state())
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_seed_another() {
    for backbone in BACKBONES {
        let run = train(backbone, None, 7, 0);
        assert!(train(backbone, None, 7, 0) == run, "{backbone:?} again");
        assert!(train(backbone, Some(4), 7, 0) == run, "{backbone:?} in chunks");
        let (other_seed, other_data) = (train(backbone, None, 8, 0), train(backbone, None, 7, 9));
        for (other, what) in [(other_seed, "seed"), (other_data, "data")] {
            assert_ne!(other.0[0].loss, run.0[0].loss, "{backbone:?}, another {what}");
            for (other, run) in other.1.weights.iter().zip(&run.1.weights) {
                assert_ne!(other.data, run.data, "{backbone:?}, another {what}: {}", run.name);
            }
        }
    }
}
