//! The loop: steps, records, checkpoints, and every way to stop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::checkpoint::{self, Checkpoint, DataIdentity};
use super::config::Config;
use super::criterion::Criterion;
use super::journal::Journal;
use super::metrics::Record;
use super::run_folder::{RunFolder, Start};
use super::signals::Stop;
use super::step::{StepReport, TrainState, TrainStep};
use crate::data::{Batch, Loader};
use crate::{Error, Result};

/// What the loop asks of a training step: `start`, perhaps `stage` of the batch after it, `finish`. A device works from
/// `start` on, so that the host fetches and stages the next batch meanwhile; the CPU does everything in `finish`.
pub trait Step: Send {
    /// Starts a step.
    ///
    /// # Errors
    /// A device that fails.
    fn start(&mut self, _batch: &Batch) -> Result<()> {
        Ok(())
    }

    /// Brings the batch of the next step nearer while this one runs.
    ///
    /// # Errors
    /// A device that fails.
    fn stage(&mut self, _next: &Batch) -> Result<()> {
        Ok(())
    }

    /// Finishes the step that was started on `batch`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the loss or the gradient is not finite; then nothing was updated.
    fn finish(&mut self, batch: &Batch) -> Result<StepReport>;
    /// A copy of the state.
    ///
    /// # Errors
    /// A device that fails.
    fn state(&self) -> Result<TrainState>;
    /// Takes over a state.
    ///
    /// # Errors
    /// A state of another network.
    fn restore(&mut self, state: &TrainState) -> Result<()>;
    /// Bytes allocated for a step.
    fn peak_bytes(&self) -> usize;
}

impl<C: Criterion<f32>> Step for TrainStep<C> {
    fn finish(&mut self, batch: &Batch) -> Result<StepReport> {
        self.run(batch)
    }

    fn state(&self) -> Result<TrainState> {
        Ok(Self::state(self))
    }

    fn restore(&mut self, state: &TrainState) -> Result<()> {
        Self::restore(self, state)
    }

    fn peak_bytes(&self) -> usize {
        Self::peak_bytes(self)
    }
}

/// What the loop asks of a loader: the batches from the start's step on, in order, without end.
pub trait Batches: Send {
    /// Puts the next batch into `batch`, whose buffers are used again; returns how long it had to be waited for.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn next_into(&mut self, batch: &mut Batch) -> Result<Duration>;
}

impl Batches for Loader {
    fn next_into(&mut self, batch: &mut Batch) -> Result<Duration> {
        Self::next_into(self, batch)
    }
}

impl<S: Step + ?Sized> Step for Box<S> {
    fn start(&mut self, batch: &Batch) -> Result<()> {
        (**self).start(batch)
    }

    fn stage(&mut self, next: &Batch) -> Result<()> {
        (**self).stage(next)
    }

    fn finish(&mut self, batch: &Batch) -> Result<StepReport> {
        (**self).finish(batch)
    }

    fn state(&self) -> Result<TrainState> {
        (**self).state()
    }

    fn restore(&mut self, state: &TrainState) -> Result<()> {
        (**self).restore(state)
    }

    fn peak_bytes(&self) -> usize {
        (**self).peak_bytes()
    }
}

/// The batch at hand and, once it has been fetched, the next one.
#[derive(Default)]
struct Feed {
    current: Batch,
    next: Batch,
    /// How long the next one was waited for, or why there is none.
    fetched: Option<Result<Duration>>,
}

impl Feed {
    /// Fetches the next batch, if that has not been done.
    fn fetch(&mut self, batches: &mut impl Batches) -> &Result<Duration> {
        let next = &mut self.next;
        self.fetched.get_or_insert_with(|| batches.next_into(next))
    }

    /// Makes the next batch the one at hand; returns how long it was waited for.
    fn advance(&mut self, batches: &mut impl Batches) -> Result<Duration> {
        self.fetch(batches);
        let waited = self.fetched.take().expect("fetched above")?;
        std::mem::swap(&mut self.current, &mut self.next);
        Ok(waited)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its folder.
    pub run: PathBuf,
    /// Completed steps.
    pub steps: u64,
    /// The step at which this process began.
    pub resumed_at: u64,
    /// The last record; `None` if there was nothing left to do.
    pub last: Option<Record>,
    /// The newest checkpoint.
    pub checkpoint: PathBuf,
    /// Bytes allocated for a step.
    pub peak_bytes: usize,
}

/// What a dry run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rehearsal {
    /// Always `true`; anything else is an error.
    pub ok: bool,
    /// Its folder.
    pub run: PathBuf,
    /// The step at which the run would begin.
    pub start: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Bytes allocated for a step.
    pub peak_bytes: usize,
    /// Seconds of computing in the one step.
    pub step_s: f64,
    /// Seconds that it waited for data.
    pub data_wait_s: f64,
    /// Clips encoded a second in the one step.
    pub clips_per_s: f64,
    /// Size of a checkpoint.
    pub checkpoint_bytes: u64,
}

/// Everything a run works with.
#[derive(Debug)]
pub struct Run<'a, S, B> {
    /// Where it writes.
    pub folder: &'a RunFolder,
    /// Where it begins.
    pub start: &'a Start,
    /// What it does.
    pub config: &'a Config,
    /// What it draws from.
    pub data: DataIdentity,
    /// The network and its optimiser, as initialised from the seed.
    pub step: S,
    /// The batches from the start's step on.
    pub batches: B,
    /// What is said of how it was made, when it starts at step 0.
    pub note: Option<String>,
}

impl<S: Step, B: Batches> Run<'_, S, B> {
    /// Trains to the end, saving on the way.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal, [`Error::NonFinite`] from the guard, [`Error::Data`] from the
    /// start's checkpoint or the data, [`Error::Io`] as on a full disk. The newest checkpoint is intact in
    /// every case, and of the last completed step unless the disk or the arithmetic failed.
    pub fn train(mut self) -> Result<Summary> {
        self.restore()?;
        let stop = Stop::listen()?;
        self.folder.begin(self.start, self.config)?;
        let total = self.config.total_steps(self.data.videos);
        let first = self.start.step();
        let mut journal = Journal::open(self.folder, self.config, first, total)?;
        journal.say(&match &self.start.checkpoint {
            Some((path, _)) => format!("going on after step {first} of {total}, from {}", path.display()),
            None => format!("starting, {total} steps"),
        })?;
        if let Some(note) = self.note.as_deref().filter(|_| first == 0) {
            journal.say(note)?;
        }

        let mut saved = self.start.saved();
        let mut done = first;
        let mut last = None;
        let mut feed = Feed::default();
        while done < total {
            let mut record = match stop.check().and_then(|()| self.advance(done, total, &mut feed)) {
                Ok(record) => record,
                Err(e) => return Err(self.give_up(e, done, saved, &journal)),
            };
            done += 1;
            journal.step(&mut record)?;
            last = Some(record);
            if done.is_multiple_of(self.config.checkpoint.every) || done == total {
                self.save(&journal)?;
                saved = Some(done);
            }
        }
        if saved != Some(done) {
            self.save(&journal)?;
        } else if last.is_none() {
            // The process that saved the last step may have been killed before this.
            self.tidy(done, &journal)?;
        }
        journal.say(&format!("finished after step {done}"))?;
        Ok(Summary {
            run: self.folder.path().to_path_buf(),
            steps: done,
            resumed_at: first,
            last,
            checkpoint: self.folder.checkpoints().join(checkpoint::file_name(done)),
            peak_bytes: self.step.peak_bytes(),
        })
    }

    /// Saves what was reached before `error`, unless the guard stopped the run: then the last checkpoint is the
    /// one to go back to. Returns the error to report.
    fn give_up(&mut self, error: Error, done: u64, saved: Option<u64>, journal: &Journal) -> Error {
        let guard = matches!(error, Error::NonFinite { .. });
        let saving = if guard || saved == Some(done) || done == 0 { Ok(()) } else { self.save(journal) };
        // A failing log must not hide the error itself.
        let _ = self.folder.log(&format!("stopped after step {done}: {error}"));
        match (error, saving) {
            // "Stopped after saving" would be untrue.
            (Error::Interrupted { .. }, Err(unsaved)) => unsaved,
            (error, _) => error,
        }
    }

    /// Does everything but the run: takes the start, makes one step, saves it and removes it again. Leaves the
    /// folder's contents as they were.
    ///
    /// # Errors
    /// As [`train`](Self::train).
    pub fn rehearse(mut self) -> Result<Rehearsal> {
        self.restore()?;
        let mut batch = Batch::default();
        let wait = self.batches.next_into(&mut batch)?;
        let begin = Instant::now();
        self.step.start(&batch)?;
        checked(self.step.finish(&batch), self.start.step() + 1, &batch)?;
        let step_s = begin.elapsed().as_secs_f64();
        let probe = self.folder.path().join(".rehearsal");
        std::fs::create_dir_all(&probe).map_err(|e| Error::io("create", &probe, e))?;
        let saved = self.checkpoint()?.save(&probe).and_then(|path| {
            let file = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?;
            Ok(file.len())
        });
        std::fs::remove_dir_all(&probe).map_err(|e| Error::io("remove", &probe, e))?;
        let data_wait_s = wait.as_secs_f64();
        Ok(Rehearsal {
            ok: true,
            run: self.folder.path().to_path_buf(),
            start: self.start.step(),
            steps: self.config.total_steps(self.data.videos),
            peak_bytes: self.step.peak_bytes(),
            step_s,
            data_wait_s,
            clips_per_s: batch.clips.len() as f64 / step_s.max(1e-9),
            checkpoint_bytes: saved?,
        })
    }

    fn restore(&mut self) -> Result<()> {
        let Some((path, checkpoint)) = &self.start.checkpoint else { return Ok(()) };
        checkpoint.fits(path, &self.step.state()?)?;
        self.step.restore(&checkpoint.state)
    }

    /// One step and its record. The next batch is fetched while the step runs; if that fails, it is reported when
    /// that batch is asked for, after this step.
    fn advance(&mut self, done: u64, total: u64, feed: &mut Feed) -> Result<Record> {
        let waited = feed.advance(&mut self.batches)?;
        let mut begin = Instant::now();
        self.step.start(&feed.current)?;
        if done + 1 < total
            && let Ok(waited) = feed.fetch(&mut self.batches)
        {
            begin += *waited; // accounted to the step that it delays
            self.step.stage(&feed.next)?;
        }
        let report = checked(self.step.finish(&feed.current), done + 1, &feed.current)?;
        let mut record = Record::new(done + 1, feed.current.epoch, &report);
        record.step_s = begin.elapsed().as_secs_f64();
        record.data_wait_s = waited.as_secs_f64();
        record.clips_per_s = feed.current.clips.len() as f64 / (record.step_s + record.data_wait_s).max(1e-9);
        Ok(record)
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        Ok(Checkpoint {
            version: self.config.version.clone(),
            config: self.config.clone(),
            data: self.data,
            state: self.step.state()?,
        })
    }

    /// Saves, and only then removes what is no longer kept. The records go first: a checkpoint never runs ahead
    /// of them.
    fn save(&mut self, journal: &Journal) -> Result<()> {
        journal.sync()?;
        let checkpoint = self.checkpoint()?;
        checkpoint.save(&self.folder.checkpoints())?;
        self.tidy(checkpoint.state.step, journal)
    }

    /// What follows the saving of a step.
    fn tidy(&self, step: u64, journal: &Journal) -> Result<()> {
        checkpoint::prune(&self.folder.checkpoints(), step, self.config.checkpoint.keep)?;
        journal.draw()
    }
}

/// Names the samples if the guard stopped the step.
fn checked(report: Result<StepReport>, step: u64, batch: &Batch) -> Result<StepReport> {
    let (what, hint) = match report {
        Err(Error::NonFinite { what, hint }) => (what, hint),
        Ok(report) if !(report.loss.is_finite() && report.l2.is_finite() && report.grad_norm.is_finite()) => {
            (
                format!("loss {}, L2 {}, gradient norm {}", report.loss, report.l2, report.grad_norm),
                "lower optim.lr, set optim.clip_norm, or look at these videos".into(),
            )
        }
        other => return other,
    };
    let what = format!("step {step}: {what}; the videos of its batch are {}", batch.videos.join(", "));
    Err(Error::NonFinite { what, hint })
}
