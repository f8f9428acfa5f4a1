//! The runs of a study.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::{Figures, Settings, StudyOptions};
use crate::train::{Config, Place, Record, Resume, pretrain};
use crate::{Error, Result};

/// Steps at the end whose mean loss is reported.
const LAST: usize = 50;

/// The pretraining runs of a study, each in a folder that its settings name.
pub(super) struct Runs<'a> {
    options: &'a StudyOptions,
    /// Whether a signal ends the process at once: it does but during a run, which saves first.
    at_once: Arc<AtomicBool>,
    /// The last signal that came and did not end the process.
    signal: Arc<AtomicUsize>,
}

impl<'a> Runs<'a> {
    /// # Errors
    /// A system that does not let signals be handled.
    pub fn new(options: &'a StudyOptions) -> Result<Self> {
        let runs = Self { options, at_once: Arc::new(AtomicBool::new(true)), signal: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // Pretraining takes signals and, when it is over, leaves them without effect; rows need no saving.
            flag::register_conditional_default(signal, runs.at_once.clone())
                .and_then(|_| flag::register_usize(signal, runs.signal.clone(), signal as usize))
                .map_err(|e| {
                    Error::device(format!("signals cannot be handled: {e}"), "run in an ordinary process")
                })?;
        }
        Ok(runs)
    }

    /// Pretrains, goes on with what was stopped, or finds it done: the run's folder.
    ///
    /// # Errors
    /// As [`pretrain`].
    pub fn pretrain(&self, config: &Config, settings: &Settings) -> Result<PathBuf> {
        let (backbone, seed) = (config.model.backbone.name(), config.train.seed);
        let name = format!("{backbone}-seed{seed}-{}", settings.digest());
        let place = Place {
            out: self.options.out.join("runs").join(name),
            resume: Resume::Auto,
            threads: self.options.threads,
            backend: self.options.backend.clone(),
        };
        self.saving(|| pretrain(config, &place)).map(|done| done.run)
    }

    /// Runs what saves on a signal by itself.
    ///
    /// # Errors
    /// That of `act`; [`Error::Interrupted`] after a signal that came too early or too late for `act` to heed it.
    pub fn saving<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.at_once.store(false, Ordering::SeqCst);
        let done = act();
        self.at_once.store(true, Ordering::SeqCst);
        match (done, self.signal.load(Ordering::SeqCst)) {
            (Ok(_), signal) if signal != 0 => Err(Error::Interrupted { signal: signal as i32 }),
            (done, _) => done,
        }
    }
}

/// The terms of the loss, means over a run's last steps: `loss s3` to `loss t5`, those that are on.
///
/// # Errors
/// Records that cannot be read.
pub(super) fn losses(run: &Path) -> Result<Figures> {
    let path = run.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST)..];
    let mut means = Figures::new();
    for line in last {
        let record: Record = serde_json::from_str(line).map_err(|e| {
            Error::data(&path, format!("holds a line that is no record: {e}"), "remove the run's folder")
        })?;
        for (term, value) in record.terms() {
            *means.entry(format!("loss {term}")).or_default() += value / last.len() as f64;
        }
    }
    Ok(means)
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::raise;

    use super::*;
    use crate::graph::Backend;
    use crate::train::Preset;

    #[test]
    fn a_signal_that_a_run_does_not_heed_stops_the_study() {
        let options = StudyOptions {
            out: PathBuf::new(),
            preset: Preset::Small,
            sets: Vec::new(),
            seeds: vec![0],
            steps: None,
            clips: 1,
            threads: 1,
            backend: Backend::Cpu,
        };
        let runs = Runs::new(&options).unwrap();
        assert_eq!(runs.saving(|| Ok(7)).unwrap(), 7);
        let late = runs.saving(|| {
            raise(SIGTERM).unwrap();
            Ok(7)
        });
        assert!(matches!(late, Err(Error::Interrupted { signal: SIGTERM })), "{late:?}");
    }
}
