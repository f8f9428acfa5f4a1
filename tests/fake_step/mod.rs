//! A deterministic stand-in for the network and the loader, so that the loop can be tested in milliseconds:
//! its state depends on every batch and on their order.

use std::path::Path;
use std::time::Duration;

use hdc::data::Batch;
use hdc::tensor::NamedTensor;
use hdc::tensor::random::Stream;
use hdc::train::{
    Batches, Config, DataIdentity, Resume, Run, RunFolder, Sources, Start, Step, StepReport, Summary,
    TrainState,
};
use hdc::{Error, Result};

pub const KEYS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

pub struct FakeStep {
    state: TrainState,
    pub non_finite_at: Option<u64>,
    pub sleep: Duration,
}

impl FakeStep {
    pub fn new(seed: u64, size: usize) -> Self {
        let mut stream = Stream::new("fake.init", seed);
        let mut tensor = |name: &str, n: usize| NamedTensor {
            name: name.into(),
            shape: vec![n],
            data: (0..n).map(|_| stream.next_in(-1.0, 1.0) as f32).collect(),
        };
        let weights = vec![tensor("w", size), tensor("b", 3)];
        let zero = |t: &NamedTensor| NamedTensor { data: vec![0.0; t.data.len()], ..t.clone() };
        let momentum = weights.iter().map(zero).collect();
        let state = TrainState { step: 0, weights, momentum };
        Self { state, non_finite_at: None, sleep: Duration::ZERO }
    }
}

impl Step for FakeStep {
    fn finish(&mut self, batch: &Batch) -> Result<StepReport> {
        assert_eq!(batch.step, self.state.step, "batches come in order");
        std::thread::sleep(self.sleep);
        if self.non_finite_at == Some(batch.step) {
            return Err(Error::NonFinite { what: "the loss is NaN".into(), hint: "lower optim.lr".into() });
        }
        let mut gradient = Stream::new(&batch.videos.concat(), batch.step);
        let mut sum = 0.0;
        for (w, m) in self.state.weights.iter_mut().zip(&mut self.state.momentum) {
            for (w, m) in w.data.iter_mut().zip(&mut m.data) {
                *m = 0.9 * *m - 0.1 * (gradient.next_unit() as f32 - 0.5 + 0.1 * *w);
                *w += *m;
                sum += f64::from(*w).abs();
            }
        }
        self.state.step += 1;
        Ok(StepReport { loss: sum, spatial: [Some(sum), None, None], lr: 0.1, ..StepReport::default() })
    }

    fn state(&self) -> Result<TrainState> {
        Ok(self.state.clone())
    }

    fn restore(&mut self, state: &TrainState) -> Result<()> {
        self.state = state.clone();
        Ok(())
    }

    fn peak_bytes(&self) -> usize {
        1234
    }
}

pub struct FakeBatches {
    pub next: u64,
    pub seed: u64,
    pub fail_at: Option<u64>,
}

impl Batches for FakeBatches {
    fn next_into(&mut self, batch: &mut Batch) -> Result<Duration> {
        if self.fail_at == Some(self.next) {
            return Err(Error::data(
                "shard-3.tar",
                "video c: frame 2: its checksum does not hold",
                "restore it",
            ));
        }
        let mut stream = Stream::new("fake.order", self.seed).fork(self.next);
        let videos = (0..4).map(|_| KEYS[stream.next_below(9) as usize].to_owned()).collect();
        *batch = Batch { step: self.next, epoch: self.next / 2, videos, ..Batch::default() };
        self.next += 1;
        Ok(Duration::from_micros(10))
    }
}

pub fn config(sets: &[&str]) -> Config {
    let base =
        ["train.batch=4", "train.steps=30", "checkpoint.every=7", "checkpoint.keep=2", "log.every=1000"];
    base.iter().chain(sets).fold(Sources::default(), |s, set| s.set(set)).resolve().unwrap()
}

pub fn data() -> DataIdentity {
    DataIdentity::of(KEYS)
}

/// Opens the folder, finds the start, and hands the parts of a run to `with`.
pub fn prepare<T>(
    path: &Path,
    resume: &Resume,
    config: &Config,
    with: impl FnOnce(&RunFolder, &Start, FakeStep, FakeBatches) -> Result<T>,
) -> Result<T> {
    let folder = RunFolder::open(path)?;
    let start = folder.start(resume, config, data())?;
    let step = FakeStep::new(config.train.seed, 5000);
    let batches = FakeBatches { next: start.step(), seed: config.train.seed, fail_at: None };
    with(&folder, &start, step, batches)
}

pub fn train(path: &Path, resume: &Resume, config: &Config) -> Result<Summary> {
    prepare(path, resume, config, |folder, start, step, batches| {
        Run { folder, start, config, data: data(), step, batches, note: None }.train()
    })
}
