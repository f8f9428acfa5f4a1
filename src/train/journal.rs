//! All that a run writes about itself: records, events, curves, log and progress.

use std::time::Instant;

use super::config::Config;
use super::metrics::{Metrics, Record};
use super::plots::{Chance, Curves};
use super::progress::Progress;
use super::run_folder::RunFolder;
use super::tensorboard::Events;
use crate::Result;
use crate::data::atomic;

/// Open for one start of a run.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    folder: &'a RunFolder,
    metrics: Metrics,
    events: Option<Events>,
    curves: Option<(Curves, Chance)>,
    progress: Progress,
    every: u64,
    before_s: f64, // of earlier starts
    begin: Instant,
}

impl<'a> Journal<'a> {
    /// Goes on after `step` of `total`.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn open(folder: &'a RunFolder, config: &Config, step: u64, total: u64) -> Result<Self> {
        let mut curves = config.log.plots.then(|| (Curves::default(), chance(config)));
        let mut before_s = 0.0;
        let metrics = Metrics::resume(&folder.metrics(), step, |record| {
            before_s = record.elapsed_s;
            if let Some((curves, _)) = &mut curves {
                curves.add(&record);
            }
        })?;
        let events = if config.log.tensorboard { Some(Events::create(folder.path(), step)?) } else { None };
        let progress = Progress::new(step, total, config.log.every);
        Ok(Self {
            folder,
            metrics,
            events,
            curves,
            progress,
            every: config.log.every,
            before_s,
            begin: Instant::now(),
        })
    }

    /// Records a finished step; fills in `elapsed_s`.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn step(&mut self, record: &mut Record) -> Result<()> {
        record.elapsed_s = self.before_s + self.begin.elapsed().as_secs_f64();
        self.metrics.write(record)?;
        if let Some((curves, _)) = &mut self.curves {
            curves.add(record);
        }
        if let Some(events) = self.events.as_mut().filter(|_| record.step.is_multiple_of(self.every)) {
            let accuracy = record.accuracy.map(|a| ("accuracy", a));
            let terms: Vec<_> = record.terms().map(|(name, term)| (format!("loss/{name}"), term)).collect();
            let mut scalars: Vec<_> = terms.iter().map(|(tag, term)| (tag.as_str(), *term)).collect();
            scalars.extend(accuracy);
            scalars.extend([
                ("loss/total", record.loss),
                ("loss/l2", record.l2),
                ("optim/lr", record.lr),
                ("optim/grad_norm", record.grad_norm),
                ("speed/clips_per_s", record.clips_per_s),
                ("speed/step_s", record.step_s),
                ("speed/data_wait_s", record.data_wait_s),
            ]);
            events.scalars(record.step, &scalars)?;
        }
        self.progress.step(record);
        Ok(())
    }

    /// Waits until the records are on disk.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.metrics.sync()
    }

    /// Draws the curves.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn draw(&self) -> Result<()> {
        let Some((curves, chance)) = &self.curves else { return Ok(()) };
        let svg = curves.svg(*chance);
        atomic::write_with(&self.folder.path().join("loss.svg"), |out| out.write_all(svg.as_bytes()))
    }

    /// A line for the log and for whoever watches.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn say(&self, line: &str) -> Result<()> {
        self.progress.say(line);
        self.folder.log(line)
    }
}

/// Embeddings that tell nothing apart give ln B a term (times B where terms are summed), equal logits ln C.
fn chance(config: &Config) -> Chance {
    if let Some(classify) = &config.classify {
        return Chance::Classes(classify.classes.len());
    }
    let loss = &config.loss;
    let videos = config.train.batch as f64;
    let term = match loss.reduction {
        super::objective::Reduction::Mean => videos.ln(),
        super::objective::Reduction::Sum => videos * videos.ln(),
    };
    let sum = |on: bool, weights: &[f64; 3]| if on { weights.iter().sum() } else { 0.0 };
    Chance::Terms { term, total: term * (sum(loss.spatial, &loss.alpha) + sum(loss.temporal, &loss.beta)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_figure_of_the_paper_settings() {
        let mut config = Config::default();
        let is = |config: &Config, weights: f64| {
            let Chance::Terms { term, total } = chance(config) else { panic!("a pretraining has terms") };
            assert!((term - 128_f64.ln()).abs() < 1e-12 && (total - weights * term).abs() < 1e-12);
        };
        is(&config, 3.5);
        config.loss.temporal = false;
        is(&config, 1.75);
    }
}
