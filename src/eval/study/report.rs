//! Rows with all their seeds, and the tables that a report makes of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Figures;

/// A mean over seeds (or splits) with its spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The mean.
    pub mean: f64,
    /// Standard deviation of one value, from n − 1; `None` of a single one.
    pub spread: Option<f64>,
    /// How many values.
    pub count: usize,
}

/// Student's t, two-sided 95%, for 2 to 10 degrees of freedom; beyond, the last is on the safe side.
const STUDENT: [f64; 9] = [4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

impl Cell {
    /// Of some values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let spread = (n > 1.0).then(|| (squares / (n - 1.0)).sqrt());
        (n > 0.0).then_some(Self { mean, spread, count: values.len() })
    }

    /// Half the width of the mean's 95% confidence interval; `None` of fewer than three values, which say too little of
    /// their spread.
    pub fn margin(&self) -> Option<f64> {
        let t = STUDENT[self.count.checked_sub(3)?.min(STUDENT.len() - 1)];
        self.spread.map(|spread| t * spread / (self.count as f64).sqrt())
    }

    /// In percent: `45.3 ± 2.1`.
    pub fn percent(&self) -> String {
        let spread = self.spread.map_or(String::new(), |s| format!(" ± {:.1}", 100.0 * s));
        format!("{:.1}{spread}", 100.0 * self.mean)
    }

    /// As [`Cell::percent`], with a sign: of a difference.
    pub fn signed(&self) -> String {
        format!("{}{}", if self.mean < 0.0 { "" } else { "+" }, self.percent())
    }
}

/// A row of a study with every seed that is finished.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What the row is.
    pub name: String,
    /// Its figures by seed, in order; with several splits, each a mean over them.
    pub seeds: Vec<(u64, Figures)>,
    /// Means over the seeds.
    pub means: BTreeMap<String, Cell>,
}

impl Outcome {
    /// A row's finished seeds.
    pub fn new(name: &str, seeds: Vec<(u64, Figures)>) -> Self {
        let names = seeds.iter().flat_map(|(_, figures)| figures.keys().cloned());
        let mut outcome = Self { name: name.into(), means: names.map(|n| (n, NOTHING)).collect(), seeds };
        for figure in outcome.means.keys().cloned().collect::<Vec<_>>() {
            outcome.means.extend(Cell::of(&outcome.values(&figure)).map(|cell| (figure, cell)));
        }
        outcome
    }

    /// A figure of every seed that has it.
    pub fn values(&self, figure: &str) -> Vec<f64> {
        self.seeds.iter().filter_map(|(_, figures)| figures.get(figure).copied()).collect()
    }

    /// This row's figure less another row's, seed by seed.
    pub fn less(&self, figure: &str, other: &Self) -> Option<Cell> {
        let of = |outcome: &Self, seed: u64| {
            outcome.seeds.iter().find(|(s, _)| *s == seed).and_then(|(_, f)| f.get(figure).copied())
        };
        let pair = |&(seed, _): &(u64, Figures)| Some(of(self, seed)? - of(other, seed)?);
        Cell::of(&self.seeds.iter().filter_map(pair).collect::<Vec<_>>())
    }
}

/// A column: the figure that it shows, and its heading.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub figure: String,
    pub heading: String,
}

impl Column {
    pub fn new(figure: impl Into<String>, heading: impl Into<String>) -> Self {
        Self { figure: figure.into(), heading: heading.into() }
    }
}

/// A Markdown table of cells, the first column to the left and the others to the right.
pub(super) fn markdown(headings: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---|{}\n", "---:|".repeat(headings.len().saturating_sub(1)));
    line(headings) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// Means in percent, one line a row; `extra` are lines below them, whose cells are given.
pub(super) fn means(outcomes: &[Outcome], columns: &[Column], extra: &[Vec<String>]) -> String {
    let cell = |outcome: &Outcome, column: &Column| {
        outcome.means.get(&column.figure).map_or("–".into(), Cell::percent)
    };
    let row = |outcome: &Outcome| {
        std::iter::once(outcome.name.clone()).chain(columns.iter().map(|c| cell(outcome, c))).collect()
    };
    let rows: Vec<Vec<String>> = outcomes.iter().map(row).chain(extra.iter().cloned()).collect();
    markdown(&headings("row", columns), &rows)
}

/// Each seed's figures in percent.
pub(super) fn every_seed(outcomes: &[Outcome], columns: &[Column]) -> String {
    let mut rows = Vec::new();
    for outcome in outcomes {
        for (seed, figures) in &outcome.seeds {
            let cell =
                |c: &Column| figures.get(&c.figure).map_or("–".into(), |v| format!("{:.1}", 100.0 * v));
            let name = format!("{}, seed {seed}", outcome.name);
            rows.push(std::iter::once(name).chain(columns.iter().map(cell)).collect());
        }
    }
    markdown(&headings("row", columns), &rows)
}

fn headings(first: &str, columns: &[Column]) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(columns.iter().map(|c| c.heading.clone())).collect()
}

const NOTHING: Cell = Cell { mean: 0.0, spread: None, count: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, seeds: &[(u64, f64)]) -> Outcome {
        let seeds = seeds.iter().map(|&(seed, v)| (seed, Figures::from([("x".into(), v)])));
        Outcome::new(name, seeds.collect())
    }

    #[test]
    fn means_spreads_and_differences_by_seed() {
        let (a, b) = (outcome("a", &[(0, 0.5), (1, 0.7), (3, 0.9)]), outcome("b", &[(1, 0.6), (0, 0.5)]));
        let cell = a.means["x"];
        assert!((cell.mean - 0.7).abs() < 1e-12 && (cell.spread.unwrap() - 0.2).abs() < 1e-12);
        assert_eq!(
            (cell.percent().as_str(), outcome("c", &[(0, 0.25)]).means["x"].spread),
            ("70.0 ± 20.0", None)
        );
        // 4.303 · 0.2 / √3
        assert!((cell.margin().unwrap() - 0.4969).abs() < 1e-4);
        let less = a.less("x", &b).unwrap();
        assert_eq!(less.margin(), None);
        assert!(
            (less.mean - 0.05).abs() < 1e-12 && (less.spread.unwrap() - 0.1 / 2_f64.sqrt()).abs() < 1e-12
        );
        assert_eq!(less.signed(), "+5.0 ± 7.1");
        assert_eq!(a.less("y", &b), None);
        assert!(outcome("d", &[]).means.is_empty());
    }

    #[test]
    fn tables_have_a_cell_for_everything() {
        let all = [outcome("a", &[(0, 0.5), (1, 0.7)]), outcome("b", &[])];
        let columns = [Column::new("x", "X"), Column::new("y", "Y")];
        let expect =
            "| row | X | Y |\n|---|---:|---:|\n| a | 60.0 ± 14.1 | – |\n| b | – | – |\n| chance | 1 | 2 |\n";
        assert_eq!(means(&all, &columns, &[["chance", "1", "2"].map(String::from).into()]), expect);
        assert!(every_seed(&all, &columns).ends_with("| a, seed 0 | 50.0 | – |\n| a, seed 1 | 70.0 | – |\n"));
    }
}
