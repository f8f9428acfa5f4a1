//! Studies: many runs of which each is cheap to lose and the whole is not. A study is a folder:
//!
//! ```text
//! rows/<name>.json   a finished row: its settings and its figures; enough to go on from, without anything else
//! runs/<name>/       pretraining runs, named by their settings, for rows may share them
//! report.md  report.svg   what the rows say, drawn anew after each
//! ```
//!
//! The same command again takes finished rows as they are and goes on with the others.

mod ablate;
mod classify;
mod decouple;
mod options;
mod picture;
mod report;
mod runs;
mod settings;
mod tables;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::data::atomic;
use crate::{Error, Result};

pub use ablate::{AblateOptions, AblateReport, Lists, ablate};
pub use classify::Tuning;
pub use decouple::{DecoupleOptions, DecoupleReport, decouple};
pub use options::StudyOptions;
pub use report::{Cell, Outcome};
pub use settings::Settings;
pub use tables::Table;
pub use verdict::{Statement, Verdict};

/// What came out of a row: numbers by name.
pub type Figures = BTreeMap<String, f64>;

/// A row that is to be there.
#[derive(Clone, Debug)]
pub struct Row<T> {
    /// Its file's name, without `.json`.
    pub name: String,
    /// All that determines its figures.
    pub settings: Settings,
    /// What to do for it.
    pub task: T,
}

/// A row's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finished {
    settings: Settings,
    figures: Figures,
}

/// Brings all `rows` about: takes those that lie finished in `out`, and lets `act` do the others, in order. `each` sees
/// what is there after every row, the taken ones first; `say` gets a line for each that was done. Returns the figures in
/// the order of `rows`.
///
/// # Errors
/// A finished row of other settings or a damaged one, before anything is done; the first error of `act` or `each`.
pub fn study<T>(
    out: &Path,
    rows: &[Row<T>],
    say: impl Fn(&str),
    mut act: impl FnMut(&Row<T>) -> Result<Figures>,
    mut each: impl FnMut(&[Option<Figures>]) -> Result<()>,
) -> Result<Vec<Figures>> {
    let folder = out.join("rows");
    fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    let mut found = rows.iter().map(|row| taken(&folder, row)).collect::<Result<Vec<_>>>()?;
    let there = found.iter().flatten().count();
    if there > 0 {
        say(&format!("{there} of {} rows are there already", rows.len()));
    }
    each(&found)?;
    for (i, row) in rows.iter().enumerate() {
        if found[i].is_some() {
            continue;
        }
        let begin = Instant::now();
        let finished = Finished { settings: row.settings.clone(), figures: act(row)? };
        let text = serde_json::to_string_pretty(&finished).expect("text and numbers are JSON") + "\n";
        atomic::write(&path(&folder, row), text.as_bytes())?;
        // As read back, so that a study that went on from the file says the same to the last digit.
        found[i] = taken(&folder, row)?;
        say(&format!(
            "row {} of {}: {}, {:.0} s",
            i + 1,
            rows.len(),
            row.name,
            begin.elapsed().as_secs_f64()
        ));
        each(&found)?;
    }
    Ok(found.into_iter().map(|figures| figures.expect("each was taken or done")).collect())
}

fn path<T>(folder: &Path, row: &Row<T>) -> PathBuf {
    folder.join(format!("{}.json", row.name))
}

/// The figures of a row that is finished.
fn taken<T>(folder: &Path, row: &Row<T>) -> Result<Option<Figures>> {
    let path = path(folder, row);
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| Error::io("read", &path, e))?,
    };
    let finished: Finished = serde_json::from_slice(&bytes).map_err(|e| {
        Error::data(&path, format!("is no row of a study: {e}"), "remove it; the row is then done again")
    })?;
    let differences = row.settings.differences(&finished.settings);
    if differences.is_empty() {
        return Ok(Some(finished.figures));
    }
    let what = format!("row {} was made with other settings:\n  - {}", row.name, differences.join("\n  - "));
    Err(Error::data(&path, what, "give the same settings, or another --out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(setting: &str) -> Vec<Row<f64>> {
        let row = |(name, task): (&str, f64)| Row {
            name: name.into(),
            settings: Settings::default().with("a.b", setting).with("name", name),
            task,
        };
        [("one", 1.0 / 3.0), ("two", 0.1 + 0.2), ("three", 3.0)].map(row).into()
    }

    fn run(out: &Path, rows: &[Row<f64>], stop_at: usize) -> (Result<Vec<Figures>>, usize) {
        let mut done = 0;
        let act = |row: &Row<f64>| {
            if done == stop_at {
                return Err(Error::Interrupted { signal: 2 });
            }
            done += 1;
            Ok(Figures::from([("x".into(), row.task)]))
        };
        (study(out, rows, |_| {}, act, |_| Ok(())), done)
    }

    #[test]
    fn what_was_stopped_goes_on_and_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        let (expect, _) = run(&whole, &rows("1"), 9);
        assert!(matches!(run(&parts, &rows("1"), 1), (Err(Error::Interrupted { .. }), 1)));
        // Only the rows are copied elsewhere.
        let copy = dir.path().join("copy");
        fs::create_dir_all(copy.join("rows")).unwrap();
        fs::copy(parts.join("rows/one.json"), copy.join("rows/one.json")).unwrap();
        let (found, done) = run(&copy, &rows("1"), 9);
        let bits =
            |all: Result<Vec<Figures>>| all.unwrap().iter().map(|f| f["x"].to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(found), done), (bits(expect), 2));
        assert_eq!(run(&copy, &rows("1"), 0).1, 0);
    }

    #[test]
    fn other_settings_and_damage_are_refused_before_anything_is_done() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run(dir.path(), &rows("1")[2..], 9).1, 1);
        let (refused, done) = run(dir.path(), &rows("2"), 9);
        let refused = refused.unwrap_err().to_string();
        assert_eq!(done, 0);
        for part in ["rows/three.json", "row three", "a.b: 1 there, 2 now", "another --out"] {
            assert!(refused.contains(part), "{part} in {refused}");
        }
        assert!(!refused.contains("name:"), "{refused}");
        fs::write(dir.path().join("rows/three.json"), "{}").unwrap();
        let damaged = run(dir.path(), &rows("1"), 9).0.unwrap_err().to_string();
        assert!(damaged.contains("rows/three.json: is no row") && damaged.contains("remove it"), "{damaged}");
    }
}
