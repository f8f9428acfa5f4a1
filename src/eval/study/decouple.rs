//! Decoupling as a number: what spatial contrast, temporal contrast and their sum teach of appearance and of motion, on
//! a set of videos that has a label for each.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::options::utf8;
use super::picture::{Panel, Series, bars};
use super::report::{Column, every_seed, means};
use super::runs::{Runs, losses};
use super::verdict::{self, Statement};
use super::{Cell, Figures, Outcome, Row, Settings, StudyOptions, study};
use crate::data::evaluate::Clips;
use crate::data::synth::{SynthOptions, synth};
use crate::data::{Dataset, atomic};
use crate::eval::{EmbedOptions, Embedder, Pool, RetrievalSplit, Weights, linear_probe, probe, retrieve};
use crate::models::BLOCKS;
use crate::train::Config;
use crate::{Error, Result};

/// Figures of a label at a block: nearest neighbour, and linear classifier.
const MEASURES: [&str; 2] = ["retrieval", "probe"];
/// A row: its name and its settings.
type Arm = (&'static str, &'static [&'static str]);
/// The row that is not trained.
const UNTRAINED: &str = "untrained";
/// All rows.
const ARMS: [Arm; 7] = [
    (UNTRAINED, &[]),
    ("SC at 5", &["loss.temporal=false", "loss.alpha=[0,0,1]"]),
    ("TC at 5", &["loss.spatial=false", "loss.beta=[0,0,1]"]),
    ("SC+TC at 5", &["loss.alpha=[0,0,1]", "loss.beta=[0,0,1]"]),
    ("SC at 3-4-5", &["loss.temporal=false", "loss.alpha=[0.25,0.5,1]"]),
    ("TC at 3-4-5", &["loss.spatial=false", "loss.beta=[0.25,0.5,1]"]),
    ("SC+TC at 3-4-5", &["loss.alpha=[0.25,0.5,1]", "loss.beta=[0.25,0.5,1]"]),
];

/// What to study.
#[derive(Clone, Debug)]
pub struct DecoupleOptions {
    /// What every study is told.
    pub study: StudyOptions,
    /// Folder of shards, list of its training part, list of its test part; `None`: a synthetic set of its own.
    pub data: Option<[PathBuf; 3]>,
    /// Videos of the synthetic set.
    pub videos: usize,
    /// Seed of the synthetic set.
    pub data_seed: u64,
    /// Names of labels. Of two the first is what a single frame shows, the second what only time shows, and a verdict
    /// is given.
    pub labels: Vec<String>,
    /// Names of the rows to do, with spaces or hyphens; none: all.
    pub rows: Vec<String>,
    /// The block of the picture.
    pub block: usize,
    /// The command, for the report.
    pub command: String,
}

impl DecoupleOptions {
    /// The rows to do.
    ///
    /// # Errors
    /// A name that no row has.
    fn arms(&self) -> Result<Vec<Arm>> {
        let asked = |arm: &Arm, row: &String| row.replace(' ', "-") == slug(arm.0);
        if let Some(unknown) = self.rows.iter().find(|row| !ARMS.iter().any(|arm| asked(arm, row))) {
            return Err(Error::usage(
                format!("there is no row {unknown:?}"),
                format!("give --rows some of: {}", ARMS.map(|(name, _)| slug(name)).join(", ")),
            ));
        }
        let wanted = |arm: &Arm| self.rows.is_empty() || self.rows.iter().any(|row| asked(arm, row));
        Ok(ARMS.into_iter().filter(wanted).collect())
    }
}

/// A row's name in names of files and on the command line.
fn slug(name: &str) -> String {
    name.replace(' ', "-")
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct DecoupleReport {
    /// Videos that were trained on, and that figures are of.
    pub videos: [usize; 2],
    /// What knowing nothing would reach: `retrieval motion`, `probe motion`.
    pub chance: Figures,
    /// The rows; figures are `retrieval motion 4` and `probe motion 4` (label, block), fractions of the test videos, and
    /// `loss s3` to `loss t5`.
    pub rows: Vec<Outcome>,
    /// What follows for the paper's claim.
    pub verdict: Vec<Statement>,
    #[serde(skip)]
    text: String,
}

impl std::fmt::Display for DecoupleReport {
    /// The report as Markdown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs the study, or what is left of it; `say` gets a line for each row.
///
/// # Errors
/// Options, data or labels that cannot be used; a folder that holds rows of other settings; a run that fails.
pub fn decouple(options: &DecoupleOptions, say: impl Fn(&str)) -> Result<DecoupleReport> {
    options.study.check()?;
    let base = options.study.config(&[], 0)?;
    if options.labels.is_empty() {
        return Err(Error::usage("no label is named", "give --labels, as in --labels appearance,motion"));
    }
    if !BLOCKS.contains(&options.block) {
        return Err(Error::usage(format!("there is no block {}", options.block), "give block 3, 4 or 5"));
    }
    let arms = options.arms()?;
    let place = match &options.data {
        Some(place) => place.clone(),
        None => own_set(options, &base, &say)?,
    };
    let set = Set::open(options, arms, &place)?;
    let rows = set.rows(options)?;
    let runs = Runs::new(&options.study)?;
    let report = |found: &[Option<Figures>]| set.report(options, &base, found);
    let act = |row: &Row<Task>| set.figures(options, &runs, row);
    let found = study(&options.study.out, &rows, &say, act, |found| report(found)?.save(options))?;
    report(&found.into_iter().map(Some).collect::<Vec<_>>())
}

/// Renders the study's own set. Its videos are as long as two clips, so that the two that temporal contrast compares
/// differ in time.
fn own_set(options: &DecoupleOptions, config: &Config, say: impl Fn(&str)) -> Result<[PathBuf; 3]> {
    let set = SynthOptions {
        videos: options.videos,
        frames: 2 * config.clip.span(),
        height: config.clip.short_side,
        seed: options.data_seed,
        ..SynthOptions::default()
    };
    let folder = options.study.out.join("data");
    say(&format!("the set: {} videos of {} frames in {}", set.videos, set.frames, folder.display()));
    options.study.on_threads(|| synth(&folder, &set, |_| {}))?;
    let [train, test] = ["trainlist.txt", "testlist.txt"].map(|name| folder.join(name));
    Ok([folder, train, test])
}

/// A row: a training or none.
struct Task {
    config: Config,
    trained: bool,
}

/// What is to be done, over which videos and labels.
struct Set {
    arms: Vec<Arm>,
    dataset: Dataset,
    /// One a label: the training part is the gallery, the test part the queries.
    splits: Vec<RetrievalSplit>,
    shards: String,
    list: String,
}

impl Set {
    fn open(options: &DecoupleOptions, arms: Vec<Arm>, [shards, train, test]: &[PathBuf; 3]) -> Result<Self> {
        let dataset = Dataset::open(shards)?;
        let split = |label: &String| RetrievalSplit::lists(&dataset, train, test, label);
        let splits = options.labels.iter().map(split).collect::<Result<Vec<_>>>()?;
        Ok(Self { arms, splits, shards: utf8(shards)?, list: utf8(train)?, dataset })
    }

    /// Every row with every seed: seed by seed, so that what is there is comparable when the study is stopped.
    fn rows(&self, options: &DecoupleOptions) -> Result<Vec<Row<Task>>> {
        let study = &options.study;
        let split = &self.splits[0];
        let mut rows = Vec::new();
        for &seed in &study.seeds {
            for &(name, sets) in &self.arms {
                let mut config = study.config(sets, seed)?;
                config.data.shards = self.shards.clone();
                config.data.lists = vec![self.list.clone()];
                let settings = self
                    .run_settings(options, &config)
                    .with_videos("test.videos", &self.dataset, split.queries().iter().map(|v| v.video))
                    .with("test.clips", study.clips)
                    .with("test.labels", options.labels.join(", "));
                let trained = name != UNTRAINED;
                let name = format!("{}-seed{seed}", slug(name));
                rows.push(Row { name, settings, task: Task { config, trained } });
            }
        }
        Ok(rows)
    }

    /// What determines a run.
    fn run_settings(&self, options: &DecoupleOptions, config: &Config) -> Settings {
        Settings::of(config)
            .with("precision", options.study.precision())
            .with_recipe(&self.dataset)
            .with_videos("train.videos", &self.dataset, self.splits[0].gallery.iter().map(|v| v.video))
    }

    fn figures(&self, options: &DecoupleOptions, runs: &Runs<'_>, row: &Row<Task>) -> Result<Figures> {
        let config = &row.task.config;
        let (weights, mut figures) = if row.task.trained {
            let run = runs.pretrain(config, &self.run_settings(options, config))?;
            (Weights::load(&run)?, losses(&run)?)
        } else {
            (Weights::random(config, config.train.seed)?, Figures::new())
        };
        options.study.on_threads(|| {
            let clips = Clips::Spread(options.study.clips);
            let embed = EmbedOptions { pool: Pool::Gavg, clips, ..EmbedOptions::default() };
            let mut embedder = Embedder::with_blocks(&weights, embed, &BLOCKS, &options.study.backend)?;
            let all = embedder.embed(&self.dataset, &self.splits[0].videos(), |_, _| {})?;
            for (block, vectors) in BLOCKS.iter().zip(embedder.each_block(&all)) {
                for split in &self.splits {
                    let found = [retrieve::hits(&vectors, split).top[&1], linear_probe(&vectors, split)];
                    for (measure, value) in MEASURES.iter().zip(found) {
                        figures.insert(figure(measure, &split.label, *block), value);
                    }
                }
            }
            Ok(figures)
        })
    }

    fn chance(&self) -> Figures {
        let mut chance = Figures::new();
        for split in &self.splits {
            chance.insert(format!("retrieval {}", split.label), retrieve::chance_at(split, 1));
            chance.insert(format!("probe {}", split.label), probe::majority(split));
        }
        chance
    }

    fn report(
        &self,
        options: &DecoupleOptions,
        config: &Config,
        found: &[Option<Figures>],
    ) -> Result<DecoupleReport> {
        let outcome = |(arm, (name, _)): (usize, &Arm)| {
            let seeds = options.study.seeds.iter().enumerate();
            let finished =
                seeds.filter_map(|(s, &seed)| Some((seed, found[s * self.arms.len() + arm].clone()?)));
            Outcome::new(name, finished.collect())
        };
        let rows: Vec<Outcome> = self.arms.iter().enumerate().map(outcome).collect();
        let mut verdict = Vec::new();
        if let [still, moving] = options.labels.as_slice() {
            let labels = [still.as_str(), moving.as_str()];
            for (block, measure) in BLOCKS.iter().flat_map(|b| MEASURES.map(|m| (*b, m))) {
                let figure = |label: &str| figure(measure, label, block);
                verdict.extend(verdict::statements(&rows, labels, measure, block, figure));
            }
        }
        let videos = [self.splits[0].gallery.len(), self.splits[0].queries().len()];
        let mut report = DecoupleReport { videos, chance: self.chance(), rows, verdict, text: String::new() };
        report.text = report.markdown(options, config, self.dataset.root());
        Ok(report)
    }
}

/// The name of a figure.
fn figure(measure: &str, label: &str, block: usize) -> String {
    format!("{measure} {label} {block}")
}

/// Columns of one block: each measure of each label.
fn columns(options: &DecoupleOptions, block: usize) -> Vec<Column> {
    let pairs = MEASURES.iter().flat_map(|m| options.labels.iter().map(move |label| (m, label)));
    pairs.map(|(m, label)| Column::new(figure(m, label, block), format!("{label}, {m}"))).collect()
}

impl DecoupleReport {
    fn markdown(&self, options: &DecoupleOptions, config: &Config, data: &Path) -> String {
        let [train, test] = self.videos;
        let steps = config.total_steps(train);
        let study = &options.study;
        let mut text = format!(
            "# Decoupling\n\n`{}`\n\nSpatial contrast (SC), temporal contrast (TC) and their sum, preset {} with \
             {}, {steps} steps of {} videos in {}, without labels, on the {train} training videos of {}. Figures \
             are percentages of its {test} test videos, mean ± standard deviation over seeds {:?}: *retrieval*, \
             those whose nearest training video shares the label; *probe*, those that a linear classifier fitted \
             to the training videos names rightly. Features: G-Avg, {} clips a video.\n",
            options.command,
            study.preset.name(),
            config.model.backbone.name(),
            config.train.batch,
            study.precision(),
            data.display(),
            study.seeds,
            study.clips,
        );
        for block in BLOCKS {
            let columns = columns(options, block);
            let chance = |c: &Column| {
                let name = c.figure.rsplit_once(' ').map_or("", |(name, _)| name);
                self.chance.get(name).map_or("–".into(), |v| format!("{:.1}", 100.0 * v))
            };
            let chance = std::iter::once("chance".to_owned()).chain(columns.iter().map(chance)).collect();
            text += &format!("\n## Block {block}\n\n{}", means(&self.rows, &columns, &[chance]));
            let statements: Vec<_> = self.verdict.iter().filter(|s| s.block == block).cloned().collect();
            if !statements.is_empty() {
                text += &format!(
                    "\nThe paper's claim here, as differences by seed in points, mean ± standard deviation. It holds where \
                     the difference's 95% confidence interval is above 0, is reversed where it is below, and is undecided \
                     with fewer than three seeds; of forty claims about nothing one would hold and one be \
                     reversed.\n\n{}",
                    verdict::table(&statements)
                );
            }
        }
        if self.trained().next().is_some() {
            text += &format!(
                "\n## Losses\n\nMeans of the last 50 steps; embeddings that tell nothing apart give ln {} = {:.2}.\n\n{}",
                config.train.batch,
                (config.train.batch as f64).ln(),
                self.losses()
            );
        }
        for block in BLOCKS {
            let seeds = every_seed(&self.rows, &columns(options, block));
            text += &format!("\n## Every seed, block {block}\n\n{seeds}");
        }
        text
    }

    fn trained(&self) -> impl Iterator<Item = &Outcome> {
        self.rows.iter().filter(|o| o.name != UNTRAINED)
    }

    fn losses(&self) -> String {
        let terms = ["s3", "s4", "s5", "t3", "t4", "t5"];
        let headings: Vec<String> = std::iter::once("row").chain(terms).map(String::from).collect();
        let cell = |cell: &Cell| {
            format!("{:.2}{}", cell.mean, cell.spread.map_or(String::new(), |s| format!(" ± {s:.2}")))
        };
        let row = |o: &Outcome| {
            let terms = terms.map(|t| o.means.get(&format!("loss {t}")).map_or(String::new(), cell));
            std::iter::once(o.name.clone()).chain(terms).collect()
        };
        super::report::markdown(&headings, &self.trained().map(row).collect::<Vec<Vec<String>>>())
    }

    fn save(&self, options: &DecoupleOptions) -> Result<()> {
        let panel = |measure: &&str| Panel {
            title: format!("{measure}, block {}", options.block),
            series: options.labels.iter().map(|label| self.series(measure, label, options.block)).collect(),
        };
        let panels: Vec<Panel> = MEASURES.iter().map(panel).collect();
        atomic::write(&options.study.out.join("report.svg"), bars(&self.rows, &panels).as_bytes())?;
        atomic::write(&options.study.out.join("report.md"), self.text.as_bytes())
    }

    fn series(&self, measure: &str, label: &str, block: usize) -> Series {
        Series {
            name: label.into(),
            figure: figure(measure, label, block),
            chance: self.chance.get(&format!("{measure} {label}")).copied(),
            paper: Vec::new(),
        }
    }
}
