//! The arguments of every study.

use std::path::PathBuf;

use super::compute::Compute;
use crate::Result;
use crate::eval::study::StudyOptions;
use crate::train::Preset;

/// Where, with which settings, how often.
#[derive(Debug, clap::Args)]
pub struct Study {
    /// The study's folder; the same command again goes on where it stopped
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Named settings to start from
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    preset: Preset,
    /// One setting of all rows, such as clip.stride=2 (repeatable); a row's own settings go over it
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Each row is done with each of these
    #[arg(long, value_name = "N,…", default_value = "0,1,2", value_delimiter = ',',
          value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seeds: Vec<u64>,
    /// Steps of pretraining instead of the preset's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    steps: Option<u64>,
    /// Clips of a video, evenly spread; the mean of their vectors stands for it
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    clips: u16,
    #[command(flatten)]
    compute: Compute,
    /// Threads that compute; 0: one a core. The result is the same with any number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
}

impl Study {
    /// Opens the device.
    pub fn options(self) -> Result<StudyOptions> {
        Ok(StudyOptions {
            out: self.out,
            preset: self.preset,
            sets: self.set,
            seeds: self.seeds,
            steps: self.steps,
            clips: self.clips.into(),
            threads: self.threads.into(),
            backend: self.compute.backend()?,
        })
    }
}

/// The command as it was given, for reports.
pub fn command() -> String {
    let quote = |word: String| if word.contains([' ', '*']) { format!("\"{word}\"") } else { word };
    let words = std::env::args_os().skip(1).map(|word| quote(word.to_string_lossy().into_owned()));
    std::iter::once("hdc".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The report for people, or as one JSON object.
pub fn print<R: std::fmt::Display + serde::Serialize>(report: &R, json: bool) -> Result<()> {
    let text = if json {
        serde_json::to_string(report).expect("text and numbers are JSON") + "\n"
    } else {
        report.to_string()
    };
    super::print(&text)
}
