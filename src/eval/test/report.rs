//! Figures of a test: over all videos, and class by class.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Prediction, Tester, rank};
use crate::Result;
use crate::data::{Dataset, atomic};

/// Fractions that were classified right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Clips, each averaged over its crops, whose class is the most probable one.
    pub clip_top1: f64,
    /// Clips whose class is among the five most probable ones.
    pub clip_top5: f64,
    /// Videos whose class is the most probable one.
    pub video_top1: f64,
    /// Videos whose class is among the five most probable ones.
    pub video_top5: f64,
}

/// Figures of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Videos of it.
    pub videos: usize,
    /// Fraction of them whose class is the most probable one; `None` without videos.
    pub top1: Option<f64>,
    /// Fraction of them whose class is among the five most probable ones.
    pub top5: Option<f64>,
    /// The other class that its videos are taken for most often, and how many are.
    pub mistaken_for: Option<(String, usize)>,
}

/// The test of one network on one list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// The network.
    pub network: String,
    /// The list of the videos, or the data set.
    pub list: String,
    /// The label.
    pub label: String,
    /// Videos tested.
    pub videos: usize,
    /// Their clips.
    pub clips: usize,
    /// Crops of each clip.
    pub crops: usize,
    /// Over all videos and clips.
    #[serde(flatten)]
    pub figures: Figures,
    /// Class by class, in the order of the network's outputs.
    pub classes: Vec<ClassFigures>,
    /// Videos by their class and the class that they are taken for.
    pub confusion: Vec<Vec<usize>>,
}

impl TestReport {
    /// Counts. `list` names where the videos come from.
    pub fn new(tester: &Tester, list: &str, predictions: &[Prediction]) -> Self {
        let names = tester.classes();
        let mut confusion = vec![vec![0; names.len()]; names.len()];
        let mut right = vec![[0_usize; 2]; names.len()];
        let (mut clips, mut clips_right) = (0, [0; 2]);
        for p in predictions {
            confusion[p.class][p.ranking()[0]] += 1;
            let rank = rank(&p.probabilities, p.class);
            for (i, k) in [1, 5].into_iter().enumerate() {
                right[p.class][i] += usize::from(rank < k);
                clips_right[i] += p.clips_right[i];
            }
            clips += p.clips;
        }
        let classes = names
            .iter()
            .enumerate()
            .map(|(class, name)| {
                let videos: usize = confusion[class].iter().sum();
                let share = |n: usize| (videos > 0).then(|| n as f64 / videos as f64);
                let others = (0..names.len()).filter(|&c| c != class && confusion[class][c] > 0);
                // Of equal ones the first, whatever `max_by_key` prefers.
                let worst = others.rev().max_by_key(|&c| confusion[class][c]);
                ClassFigures {
                    class: name.clone(),
                    videos,
                    top1: share(right[class][0]),
                    top5: share(right[class][1]),
                    mistaken_for: worst.map(|c| (names[c].clone(), confusion[class][c])),
                }
            })
            .collect();
        let of = |i: usize| right.iter().map(|r| r[i]).sum::<usize>() as f64 / predictions.len() as f64;
        let of_clips = |i: usize| clips_right[i] as f64 / clips as f64;
        Self {
            network: tester.name().into(),
            list: list.into(),
            label: tester.label().into(),
            videos: predictions.len(),
            clips,
            crops: tester.protocol.crops.transforms(1, 1).len(),
            figures: Figures {
                clip_top1: of_clips(0),
                clip_top5: of_clips(1),
                video_top1: of(0),
                video_top5: of(1),
            },
            classes,
            confusion,
        }
    }

    /// What guessing any class would reach at 1.
    pub fn chance(&self) -> f64 {
        1.0 / self.classes.len() as f64
    }
}

/// The mean over splits.
pub fn mean(reports: &[TestReport]) -> Figures {
    let of =
        |f: fn(&Figures) -> f64| reports.iter().map(|r| f(&r.figures)).sum::<f64>() / reports.len() as f64;
    Figures {
        clip_top1: of(|f| f.clip_top1),
        clip_top5: of(|f| f.clip_top5),
        video_top1: of(|f| f.video_top1),
        video_top5: of(|f| f.video_top5),
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = [self.clip_top1, self.clip_top5, self.video_top1, self.video_top5].map(|v| 100.0 * v);
        let [clip1, clip5, video1, video5] = percent;
        write!(
            f,
            "videos: top-1 {video1:.1}%, top-5 {video5:.1}%; clips: top-1 {clip1:.1}%, top-5 {clip5:.1}%"
        )
    }
}

impl fmt::Display for TestReport {
    /// A few lines for people, and a table of the classes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.network, self.list)?;
        writeln!(
            f,
            "{} videos of {} classes of {:?}, {} clips of {} crops; chance {:.1}%",
            self.videos,
            self.classes.iter().filter(|c| c.videos > 0).count(),
            self.label,
            self.clips,
            self.crops,
            100.0 * self.chance()
        )?;
        let width = self.classes.iter().map(|c| c.class.chars().count()).max().unwrap_or(0).max(5);
        writeln!(f, "{:width$}  videos  top-1  top-5  most often taken for", "class")?;
        for c in &self.classes {
            let percent = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{:.0}%", 100.0 * v));
            let other = c.mistaken_for.as_ref().map_or_else(String::new, |(name, n)| format!("{name} ({n})"));
            writeln!(
                f,
                "{:width$}  {:>6}  {:>5}  {:>5}  {other}",
                c.class,
                c.videos,
                percent(c.top1),
                percent(c.top5)
            )?;
        }
        writeln!(f, "{}", self.figures)
    }
}

/// Writes a JSON object a line for each video: its key and class, the five most probable classes with their probabilities,
/// most probable first, and whether the first is right.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_predictions(
    path: &Path,
    dataset: &Dataset,
    tester: &Tester,
    predictions: &[Prediction],
) -> Result<()> {
    let names = tester.classes();
    atomic::write_with(path, |out| {
        for p in predictions {
            let ranking = p.ranking();
            let top: Vec<_> = ranking
                .iter()
                .take(5)
                .map(|&c| json!({"class": names[c], "p": p.probabilities[c]}))
                .collect();
            let line = json!({
                "key": dataset.video(p.video).key,
                "class": names[p.class],
                "right": ranking[0] == p.class,
                "clips": p.clips,
                "top": top,
            });
            writeln!(out, "{line}")?;
        }
        Ok(())
    })
}
