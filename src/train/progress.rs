//! How a run is doing, on standard error: a bar on a terminal, else a plain line every so often.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::metrics::Record;

/// Weight of the newest step in the moving figures.
const NEWEST: f64 = 0.1;

/// Seconds a step and clips a second, exponentially averaged.
#[derive(Debug, Default)]
struct Moving {
    step_s: Option<f64>,
    wait_s: f64,
    clips: f64,
}

impl Moving {
    fn add(&mut self, record: &Record) {
        let seconds = record.step_s + record.data_wait_s;
        let clips = record.clips_per_s * seconds;
        let mix = |old: f64, new: f64| old + NEWEST * (new - old);
        (self.step_s, self.wait_s, self.clips) = match self.step_s {
            None => (Some(seconds), record.data_wait_s, clips),
            Some(old) => {
                (Some(mix(old, seconds)), mix(self.wait_s, record.data_wait_s), mix(self.clips, clips))
            }
        };
    }

    fn line(&self, record: &Record, total: u64) -> String {
        let step_s = self.step_s.unwrap_or_default().max(1e-9);
        let mut terms: String = record.terms().map(|(name, term)| format!(" {name} {term:.2}")).collect();
        if let Some(accuracy) = record.accuracy {
            terms = format!(" {:.0}% right", 100.0 * accuracy);
        }
        let left = Duration::from_secs_f64((step_s * total.saturating_sub(record.step) as f64).min(1e9));
        let left = Duration::from_secs(left.as_secs_f64().round() as u64);
        // The terms come last: a narrow terminal cuts there.
        format!(
            "loss {:.3} · {:.1} clips/s · {} left · data wait {:.0}% ·{terms}",
            record.loss,
            self.clips / step_s,
            humantime::format_duration(left),
            100.0 * self.wait_s / step_s,
        )
    }
}

/// The progress of one run.
#[derive(Debug)]
pub(super) struct Progress {
    total: u64,
    every: u64,
    moving: Moving,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// From `step` to `total`; without a terminal a line each `every` steps.
    pub fn new(step: u64, total: u64, every: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}");
            bar.set_style(style.expect("the template is valid"));
            bar.with_position(step)
        });
        Self { total, every, moving: Moving::default(), bar }
    }

    /// A finished step.
    pub fn step(&mut self, record: &Record) {
        self.moving.add(record);
        if let Some(bar) = &self.bar {
            bar.set_position(record.step);
            bar.set_message(self.moving.line(record, self.total));
        } else if record.step.is_multiple_of(self.every) || record.step == self.total {
            self.say(&format!(
                "step {}/{} · {}",
                record.step,
                self.total,
                self.moving.line(record, self.total)
            ));
        }
    }

    /// A line of its own.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => drop(writeln!(io::stderr(), "{line}")), // nobody may be listening any more
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon(); // leaves the last line on the screen
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_parts_speed_wait_and_time_left() {
        let record = Record {
            step: 10,
            loss: 1.23456,
            loss_s3: Some(0.5),
            step_s: 1.5,
            data_wait_s: 0.5,
            clips_per_s: 36.0,
            ..Record::default()
        };
        let mut moving = Moving::default();
        for _ in 0..50 {
            moving.add(&record);
        }
        let line = moving.line(&record, 70);
        assert_eq!(line, "loss 1.235 · 36.0 clips/s · 2m left · data wait 25% · s3 0.50");
        moving.add(&Record { step_s: 11.5, ..record });
        assert!((moving.step_s.unwrap() - 3.0).abs() < 1e-9, "one slow step counts a tenth");
    }

    #[test]
    fn extreme_figures_do_not_panic() {
        let mut moving = Moving::default();
        let record = Record { step: 1, step_s: 1e12, ..Record::default() };
        moving.line(&record, u64::MAX);
        moving.add(&record);
        moving.line(&record, u64::MAX);
    }
}
