//! The paper's tables on one's own videos, beside the paper's figures.

use std::path::PathBuf;

use serde::Serialize;

use super::classify::{Tuning, classify};
use super::options::utf8;
use super::picture::{Panel, Series, bars};
use super::report::{Column, every_seed, markdown};
use super::runs::Runs;
use super::tables::TableRow;
use super::{Cell, Figures, Outcome, Row, Settings, StudyOptions, Table, study};
use crate::data::evaluate::Clips;
use crate::data::{Dataset, atomic};
use crate::eval::retrieve::{TOP, chance_at, hits};
use crate::eval::{EmbedOptions, Embedder, Pool, RetrievalSplit, Weights, linear_probe, probe};
use crate::train::{Config, Place, Resume};
use crate::{Error, Result};

/// The figure of classification.
const TOP_1: &str = "top-1";

/// The lists of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    /// Of its training part.
    pub train: PathBuf,
    /// Of its test part.
    pub test: PathBuf,
}

/// What to study.
#[derive(Clone, Debug)]
pub struct AblateOptions {
    /// What every study is told.
    pub study: StudyOptions,
    /// Which table.
    pub table: Table,
    /// Folder of shards.
    pub data: PathBuf,
    /// Each row is pretrained on each split's training part; figures are means over the splits.
    pub splits: Vec<Lists>,
    /// The name of the classes.
    pub label: String,
    /// How rows are fine-tuned.
    pub tuning: Tuning,
    /// The command, for the report.
    pub command: String,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct AblateReport {
    /// Which table.
    pub table: Table,
    /// How many splits each figure is a mean of.
    pub splits: usize,
    /// The rows; figures are `top-1`, or `top 1` to `top 50` of retrieval, fractions of the test videos.
    pub rows: Vec<Outcome>,
    /// The paper's figures of each row, in percent: one a data set, or of retrieval one a depth.
    pub paper: Vec<&'static [f64]>,
    /// What knowing nothing would reach: a random ranking, or always naming the most frequent class.
    pub chance: Figures,
    #[serde(skip)]
    text: String,
}

impl std::fmt::Display for AblateReport {
    /// The report as Markdown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs the study, or what is left of it; `say` gets a line for each row.
///
/// # Errors
/// Options, data or labels that cannot be used; a folder that holds rows of other settings; a run that fails.
pub fn ablate(options: &AblateOptions, say: impl Fn(&str)) -> Result<AblateReport> {
    options.study.check()?;
    options.study.config(&[], 0)?;
    if options.splits.is_empty() {
        return Err(Error::usage("no split is given", "give --train and --test"));
    }
    let dataset = Dataset::open(&options.data)?;
    let split = |lists: &Lists| RetrievalSplit::lists(&dataset, &lists.train, &lists.test, &options.label);
    let splits = options.splits.iter().map(split).collect::<Result<Vec<_>>>()?;
    let bench = Bench { options, dataset, splits, runs: Runs::new(&options.study)? };
    let rows = bench.rows()?;
    let out = &options.study.out;
    let found = study(out, &rows, &say, |row| bench.figures(row), |found| bench.report(found).save(options))?;
    Ok(bench.report(&found.into_iter().map(Some).collect::<Vec<_>>()))
}

/// A row on one split with one seed.
struct Task {
    row: TableRow,
    split: usize,
    config: Config,
}

/// The study with what it works on.
struct Bench<'a> {
    options: &'a AblateOptions,
    dataset: Dataset,
    splits: Vec<RetrievalSplit>,
    runs: Runs<'a>,
}

impl Bench<'_> {
    /// Seed by seed, split by split, so that what is there is comparable when the study is stopped.
    fn rows(&self) -> Result<Vec<Row<Task>>> {
        let AblateOptions { study, table, splits, .. } = self.options;
        let mut rows = Vec::new();
        for &seed in &study.seeds {
            for (split, lists) in splits.iter().enumerate() {
                for row in table.rows() {
                    let mut config = study.config(row.sets, seed)?;
                    config.data.shards = utf8(&self.options.data)?;
                    config.data.lists = vec![utf8(&lists.train)?];
                    let queries = self.splits[split].queries().iter().map(|v| v.video);
                    let mut settings = self
                        .run_settings(&config, split)
                        .with("pretrained", row.pretrained)
                        .with_videos("test.videos", &self.dataset, queries)
                        .with("test.label", &self.options.label);
                    settings = if table.retrieves() || row.probed {
                        settings.with("test.clips", study.clips)
                    } else {
                        settings.with_all("finetune", Settings::of(&self.tuning(&config)?))
                    };
                    let name = format!("{}-{}-seed{seed}-split{}", table.id(), row.id, split + 1);
                    rows.push(Row { name, settings, task: Task { row: *row, split, config } });
                }
            }
        }
        Ok(rows)
    }

    /// How a row is fine-tuned.
    fn tuning(&self, row: &Config) -> Result<Config> {
        self.options.tuning.config(row, &self.options.label)
    }

    /// What determines a pretraining run.
    fn run_settings(&self, config: &Config, split: usize) -> Settings {
        Settings::of(config)
            .with("precision", self.options.study.precision())
            .with_recipe(&self.dataset)
            .with_videos("train.videos", &self.dataset, self.splits[split].gallery.iter().map(|v| v.video))
    }

    fn figures(&self, row: &Row<Task>) -> Result<Figures> {
        let Task { row: TableRow { pretrained, probed, .. }, split, config } = &row.task;
        let (study, retrieves) = (&self.options.study, self.options.table.retrieves());
        let pretrain = || self.runs.pretrain(config, &self.run_settings(config, *split));
        let run = pretrained.then(pretrain).transpose()?;
        if !retrieves && !probed {
            let place = Place {
                out: study.out.join("finetune").join(&row.name),
                resume: Resume::Auto,
                threads: study.threads,
                backend: study.backend.clone(),
            };
            let (lists, tuning) = (&self.options.splits[*split], self.tuning(config)?);
            let act = || classify(run.as_deref(), &tuning, lists, &self.dataset, &place);
            let top = self.runs.saving(|| study.on_threads(act))?;
            return Ok(Figures::from([(TOP_1.to_owned(), top)]));
        }
        let weights = match run {
            Some(run) => Weights::load(&run)?,
            None => Weights::random(config, config.train.seed)?,
        };
        study.on_threads(|| {
            // A probe is of what the classifier of fine-tuning sees.
            let pool = if *probed { Pool::Gavg } else { EmbedOptions::default().pool };
            let embed = EmbedOptions { pool, clips: Clips::Spread(study.clips), ..EmbedOptions::default() };
            let mut embedder = Embedder::new(&weights, embed, &study.backend)?;
            let split = &self.splits[*split];
            let vectors = embedder.embed(&self.dataset, &split.videos(), |_, _| {})?;
            if *probed {
                return Ok(Figures::from([(TOP_1.to_owned(), linear_probe(&vectors, split))]));
            }
            Ok(hits(&vectors, split).top.into_iter().map(|(k, v)| (format!("top {k}"), v)).collect())
        })
    }

    fn report(&self, found: &[Option<Figures>]) -> AblateReport {
        let AblateOptions { study, table, splits, .. } = self.options;
        let (table_rows, parts) = (table.rows(), splits.len());
        let outcome = |(r, row): (usize, &TableRow)| {
            let of = |seed: usize, split: usize| found[(seed * parts + split) * table_rows.len() + r].clone();
            let seeds = study.seeds.iter().enumerate().filter_map(|(s, &seed)| {
                let all = (0..parts).map(|split| of(s, split)).collect::<Option<Vec<_>>>()?;
                Some((seed, mean(&all)))
            });
            Outcome::new(row.name, seeds.collect())
        };
        let mut report = AblateReport {
            table: *table,
            splits: parts,
            rows: table_rows.iter().enumerate().map(outcome).collect(),
            paper: table_rows.iter().map(|row| row.paper).collect(),
            chance: self.chance(),
            text: String::new(),
        };
        report.text = report.markdown(self.options);
        report
    }

    fn chance(&self) -> Figures {
        let of = |split: &RetrievalSplit| {
            if self.options.table.retrieves() {
                TOP.map(|k| (format!("top {k}"), chance_at(split, k))).into()
            } else {
                Figures::from([(TOP_1.to_owned(), probe::majority(split))])
            }
        };
        mean(&self.splits.iter().map(of).collect::<Vec<_>>())
    }
}

/// Means over the splits.
fn mean(all: &[Figures]) -> Figures {
    let mut means = Figures::new();
    for (name, value) in all.iter().flatten() {
        *means.entry(name.clone()).or_default() += value / all.len() as f64;
    }
    means
}

impl AblateReport {
    fn columns(&self) -> Vec<Column> {
        if self.table.retrieves() {
            TOP.map(|k| Column::new(format!("top {k}"), format!("top {k}"))).into()
        } else {
            vec![Column::new(TOP_1, "top-1")]
        }
    }

    fn markdown(&self, options: &AblateOptions) -> String {
        let AblateOptions { study, table, data, command, .. } = options;
        let what = if table.retrieves() {
            format!(
                "Test videos, of which one of the k nearest training videos shares the class: block 5, max-pooled map, \
                 {} clips a video, cosine distance.",
                study.clips
            )
        } else {
            let probes = if table.rows().iter().any(|row| row.probed) {
                let clips = study.clips;
                format!(
                    " Linear probe: fitted to the pooled block 5 of training videos, {clips} clips a video."
                )
            } else {
                String::new()
            };
            format!(
                "Test videos whose class is the most probable one, clips and five crops averaged, after fine-tuning on the \
                 training part ({}).{probes}",
                options.tuning
            )
        };
        format!(
            "# {}\n\n`{command}`\n\n{what} In percent, mean ± standard deviation over seeds {:?}, each a mean over {} \
             split(s) of {}; pretrained without labels on the split's training part, preset {}, {}. The paper's \
             figures: {}.\n\n{}\n## Every seed\n\n{}",
            table.title(),
            study.seeds,
            self.splits,
            data.display(),
            study.preset.name(),
            study.precision(),
            table.paper_note(),
            self.means(),
            every_seed(&self.rows, &self.columns()),
        )
    }

    /// The table: of retrieval the paper's figures are a line, otherwise columns.
    fn means(&self) -> String {
        let (columns, retrieves) = (self.columns(), self.table.retrieves());
        let percent = |v: &f64| format!("{v:.1}");
        let paper = if retrieves { &[] } else { self.table.paper_headings() };
        let headings = std::iter::once("row").chain(columns.iter().map(|c| c.heading.as_str()));
        let headings: Vec<String> = headings.chain(paper.iter().copied()).map(String::from).collect();
        let mut lines: Vec<Vec<String>> = Vec::new();
        for (outcome, figures) in self.rows.iter().zip(&self.paper) {
            let cell = |c: &Column| outcome.means.get(&c.figure).map_or("–".into(), Cell::percent);
            let mut line: Vec<String> =
                std::iter::once(outcome.name.clone()).chain(columns.iter().map(cell)).collect();
            if !retrieves {
                line.extend(figures.iter().map(percent));
            }
            lines.push(line);
            if retrieves && !figures.is_empty() {
                let name = format!("{}, the paper", outcome.name);
                lines.push(std::iter::once(name).chain(figures.iter().map(percent)).collect());
            }
        }
        let cell = |c: &Column| percent(&(100.0 * self.chance.get(&c.figure).copied().unwrap_or_default()));
        let blank = paper.iter().map(|_| String::new());
        lines.push(std::iter::once("chance".into()).chain(columns.iter().map(cell)).chain(blank).collect());
        markdown(&headings, &lines)
    }

    fn save(&self, options: &AblateOptions) -> Result<()> {
        let series = |(i, column): (usize, Column)| Series {
            name: column.heading,
            chance: None,
            paper: self.paper.iter().map(|p| p.get(i).map(|v| v / 100.0)).collect(),
            figure: column.figure,
        };
        let series = self.columns().into_iter().enumerate().map(series).collect();
        let panel = Panel { title: self.table.title().into(), series };
        atomic::write(&options.study.out.join("report.svg"), bars(&self.rows, &[panel]).as_bytes())?;
        atomic::write(&options.study.out.join("report.md"), self.text.as_bytes())
    }
}
