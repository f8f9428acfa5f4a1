//! The main job from end to end on the synthetic set: render, pretrain, and retrieve with the untrained and the
//! trained network by both labels.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::{
    EmbedOptions, Embedder, Embeddings, Pool, Retrieval, RetrievalSplit, Weights, retrieve, write_grid,
};
use crate::data::synth::{SynthOptions, synth};
use crate::data::{Dataset, atomic};
use crate::graph::Backend;
use crate::train::{Config, Place, Preset, Resume, Sources, pretrain};
use crate::{Error, Result};

/// Labels of the synthetic set: what one frame shows, and what only time shows.
const LABELS: [&str; 2] = ["appearance", "motion"];
/// The block whose features are compared.
const BLOCK: usize = 4;
/// Rows and columns of a picture grid.
const GRID: (usize, usize) = (8, 6);

/// What to run.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Folder of everything that the demo writes.
    pub out: PathBuf,
    /// Steps of pretraining; `None`: the preset's.
    pub steps: Option<u64>,
    /// Seed of the set, the weights and the order.
    pub seed: u64,
    /// Threads; 0: one a core.
    pub threads: usize,
}

/// One label's figures: the fraction of videos whose nearest, or one of whose five nearest, has the same class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelFigures {
    /// Which label.
    pub label: &'static str,
    /// What a random order would reach, at 1 and at 5.
    pub chance: [f64; 2],
    /// The untrained network.
    pub untrained: [f64; 2],
    /// The trained network.
    pub trained: [f64; 2],
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Folder of the shards.
    pub data: PathBuf,
    /// The run's folder.
    pub run: PathBuf,
    /// The loss curve.
    pub curve: PathBuf,
    /// Picture grids, one a label.
    pub grids: Vec<PathBuf>,
    /// Videos of the set.
    pub videos: usize,
    /// Steps of pretraining.
    pub steps: u64,
    /// The loss of the last step.
    pub loss: Option<f64>,
    /// Seconds of pretraining in this process.
    pub train_seconds: f64,
    /// Seconds in all.
    pub seconds: f64,
    /// Retrieval by each label.
    pub labels: Vec<LabelFigures>,
}

/// Runs the demo; `say` gets a line before each stage. A demo that was stopped goes on where it was.
///
/// # Errors
/// A folder that cannot be written, or one that holds something else.
pub fn demo(options: &DemoOptions, say: impl Fn(&str)) -> Result<DemoReport> {
    let begin = Instant::now();
    let (data, run) = (options.out.join("data"), options.out.join("run"));
    let set = SynthOptions { seed: options.seed, ..SynthOptions::default() };
    say(&format!("rendering {} videos of moving figures into {}", set.videos, data.display()));
    synth(&data, &set, |_| {})?;
    let dataset = Dataset::open(&data)?;
    let config = config(options, &data)?;

    say("features of the untrained network");
    let untrained = Weights::random(&config, options.seed)?;
    let before = evaluate(options.threads, &dataset, &untrained)?;

    let steps = config.total_steps(dataset.len());
    say(&format!(
        "pretraining {steps} steps of {} videos without labels, into {}",
        config.train.batch,
        run.display()
    ));
    let start = Instant::now();
    let place =
        Place { out: run.clone(), resume: Resume::Auto, threads: options.threads, backend: Backend::Cpu };
    let summary = pretrain(&config, &place)?;
    let train_seconds = start.elapsed().as_secs_f64();

    say("features of the trained network");
    let after = evaluate(options.threads, &dataset, &Weights::load(&run)?)?;

    let mut labels = Vec::new();
    let mut grids = Vec::new();
    for (label, ((split, before), (_, after))) in LABELS.into_iter().zip(before.iter().zip(&after)) {
        let at = |map: &std::collections::BTreeMap<usize, f64>| {
            [1, 5].map(|k| map.get(&k).copied().unwrap_or(0.0))
        };
        labels.push(LabelFigures {
            label,
            chance: at(&before.report.chance),
            untrained: at(&before.report.top),
            trained: at(&after.report.top),
        });
        let grid = options.out.join(format!("nearest-by-{label}.png"));
        write_grid(&grid, &dataset, split, after, GRID.0, GRID.1)?;
        grids.push(grid);
    }
    let report = DemoReport {
        data,
        curve: run.join("loss.svg"),
        run,
        grids,
        videos: dataset.len(),
        steps: summary.steps,
        loss: summary.last.as_ref().map(|r| r.loss),
        train_seconds,
        seconds: begin.elapsed().as_secs_f64(),
        labels,
    };
    atomic::write(&options.out.join("report.md"), report.to_string().as_bytes())?;
    Ok(report)
}

fn config(options: &DemoOptions, data: &Path) -> Result<Config> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let shards = data.to_str().ok_or_else(|| {
        Error::usage(
            format!("{} is not UTF-8, which a configuration cannot hold", data.display()),
            "give another --out",
        )
    })?;
    Sources::default()
        .preset(Preset::Demo)
        .flag("data.shards", Some(shards), "--out")
        .flag("train.steps", options.steps.map(number), "--steps")
        .flag("train.seed", Some(number(options.seed)), "--seed")
        .resolve()
}

/// Each video looked for among all others, by both labels.
fn evaluate(
    threads: usize,
    dataset: &Dataset,
    weights: &Weights,
) -> Result<Vec<(RetrievalSplit, Retrieval)>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| {
        Error::device(format!("{threads} threads cannot be started: {e}"), "give --threads a smaller number")
    })?;
    pool.install(|| {
        let options = EmbedOptions { block: BLOCK, pool: Pool::Gavg, ..EmbedOptions::default() };
        let mut embedder = Embedder::new(weights, options, &Backend::Cpu)?;
        let all: Vec<usize> = (0..dataset.len()).collect();
        let embeddings: Embeddings = embedder.embed(dataset, &all, |_, _| {})?;
        LABELS
            .into_iter()
            .map(|label| {
                let split = RetrievalSplit::whole(dataset, label)?;
                let found = retrieve(&embeddings, &embedder, &split);
                Ok((split, found))
            })
            .collect()
    })
}

impl fmt::Display for DemoReport {
    /// The report as Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Demo\n")?;
        writeln!(
            f,
            "{} synthetic videos; {} steps of pretraining without labels in {:.0} s ({:.0} s in all){}.\n",
            self.videos,
            self.steps,
            self.train_seconds,
            self.seconds,
            self.loss.map_or(String::new(), |l| format!("; last loss {l:.3}"))
        )?;
        writeln!(
            f,
            "How often the nearest video (one of the five nearest) shares the label, by block {BLOCK}:\n"
        )?;
        writeln!(f, "| label      |         chance |      untrained |        trained |")?;
        writeln!(f, "|------------|---------------:|---------------:|---------------:|")?;
        for l in &self.labels {
            let cell = |[one, five]: [f64; 2]| format!("{:5.1}% ({:5.1}%)", 100.0 * one, 100.0 * five);
            let (chance, untrained, trained) = (cell(l.chance), cell(l.untrained), cell(l.trained));
            writeln!(f, "| {:<10} | {chance} | {untrained} | {trained} |", l.label)?;
        }
        writeln!(f)?;
        for (name, path) in [("run", &self.run), ("loss curve", &self.curve)] {
            writeln!(f, "- {name}: {}", path.display())?;
        }
        for grid in &self.grids {
            writeln!(f, "- pictures: {}", grid.display())?;
        }
        Ok(())
    }
}
