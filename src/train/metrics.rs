//! `metrics.jsonl`: one JSON object a step.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::step::StepReport;
use crate::data::atomic;
use crate::{Error, Result};

/// Figures of one step. Terms that are switched off are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Completed steps, this one included: the first has 1.
    pub step: u64,
    /// Which pass over the data, from 0.
    pub epoch: u64,
    /// The weighted sum of the contrastive terms, or the mean cross-entropy; the L2 term is apart.
    pub loss: f64,
    /// Fraction of the clips that were classified right, in fine-tuning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Unweighted spatial contrast at block 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_s3: Option<f64>,
    /// Unweighted spatial contrast at block 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_s4: Option<f64>,
    /// Unweighted spatial contrast at block 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_s5: Option<f64>,
    /// Unweighted temporal contrast at block 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_t3: Option<f64>,
    /// Unweighted temporal contrast at block 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_t4: Option<f64>,
    /// Unweighted temporal contrast at block 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_t5: Option<f64>,
    /// `l2·Σw²`.
    pub l2: f64,
    /// Learning rate used.
    pub lr: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Clips encoded a second, over step and wait.
    pub clips_per_s: f64,
    /// Seconds of computing.
    pub step_s: f64,
    /// Seconds of waiting for data.
    pub data_wait_s: f64,
    /// Seconds of training since the run began, interruptions left out.
    pub elapsed_s: f64,
}

impl Record {
    /// The record of a step; the times are left at 0.
    pub fn new(step: u64, epoch: u64, report: &StepReport) -> Self {
        let [loss_s3, loss_s4, loss_s5] = report.spatial;
        let [loss_t3, loss_t4, loss_t5] = report.temporal;
        Self {
            step,
            epoch,
            loss: report.loss,
            accuracy: report.accuracy,
            loss_s3,
            loss_s4,
            loss_s5,
            loss_t3,
            loss_t4,
            loss_t5,
            l2: report.l2,
            lr: report.lr,
            grad_norm: report.grad_norm,
            ..Self::default()
        }
    }

    /// The unweighted terms that are switched on, with their names.
    pub fn terms(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("s3", self.loss_s3),
            ("s4", self.loss_s4),
            ("s5", self.loss_s5),
            ("t3", self.loss_t3),
            ("t4", self.loss_t4),
            ("t5", self.loss_t5),
        ]
        .into_iter()
        .filter_map(|(name, term)| Some((name, term?)))
    }
}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens `path` to continue after `step`: what an interrupted run wrote of later steps, or wrote by half,
    /// is cut off. `each` sees what is kept, in order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resume(path: &Path, step: u64, mut each: impl FnMut(Record)) -> Result<Self> {
        match File::open(path) {
            Ok(old) => atomic::write_with(path, |out| {
                let mut last = 0;
                for line in BufReader::new(old).split(b'\n') {
                    let line = line?;
                    let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
                    if record.step > last && record.step <= step {
                        last = record.step;
                        out.write_all(&line)?;
                        out.write_all(b"\n")?;
                        each(record);
                    }
                }
                Ok(())
            })?,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read", path, e)),
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|e| Error::io("open", path, e))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends one record, in one write.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).expect("a record of numbers is JSON");
        line.push(b'\n');
        self.file.write_all(&line).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Waits until all records are on disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("write", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record(step: u64) -> Record {
        let report = StepReport {
            loss: 1.0 / step as f64,
            spatial: [None, Some(0.25), None],
            temporal: [Some(0.1), None, Some(2.0)],
            ..StepReport::default()
        };
        Record::new(step, 0, &report)
    }

    #[test]
    fn names_are_those_of_the_contract_and_off_terms_are_left_out() {
        let json = serde_json::to_value(record(2)).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        names.sort();
        let expect = "clips_per_s data_wait_s elapsed_s epoch grad_norm l2 loss loss_s4 loss_t3 loss_t5 lr step step_s";
        assert_eq!(names, expect.split(' ').collect::<Vec<_>>());
        assert_eq!(record(2).terms().collect::<Vec<_>>(), [("s4", 0.25), ("t3", 0.1), ("t5", 2.0)]);
    }

    #[test]
    fn resuming_cuts_back_to_the_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut metrics = Metrics::resume(&path, 0, |_| panic!("nothing there")).unwrap();
        for step in 1..=9 {
            metrics.write(&record(step)).unwrap();
        }
        metrics.file.write_all(b"{\"step\": 10, \"epo").unwrap();
        let mut seen = Vec::new();
        let mut metrics = Metrics::resume(&path, 6, |r| seen.push(r)).unwrap();
        assert_eq!(seen, (1..=6).map(record).collect::<Vec<_>>());
        metrics.write(&record(7)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let steps: Vec<u64> = text.lines().map(|l| serde_json::from_str::<Record>(l).unwrap().step).collect();
        assert_eq!(steps, (1..=7).collect::<Vec<_>>());
    }

    #[test]
    fn junk_and_repeated_lines_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let line = |s| serde_json::to_string(&record(s)).unwrap();
        fs::write(&path, format!("{}\n\u{1}\n\n{}\n{}\n{}", line(1), line(1), line(2), line(3))).unwrap();
        let mut seen = Vec::new();
        Metrics::resume(&path, 3, |r| seen.push(r.step)).unwrap();
        assert_eq!(seen, [1, 2, 3]);
        assert!(fs::read_to_string(&path).unwrap().ends_with("}\n"));
    }
}
