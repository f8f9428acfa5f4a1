//! Testing a classifier: the softmax of every clip and crop of a video, averaged.

mod confusion;
mod report;

use arrayvec::ArrayVec;

use super::Weights;
use super::clips::Protocol;
use super::encoder::{self, ClipOutputs, Encoder};
use crate::data::Dataset;
use crate::data::evaluate::{Clips, Crops};
use crate::data::lists::Labelled;
use crate::graph::Backend;
use crate::models;
use crate::ops::cross_entropy::softmax;
use crate::ops::{Forward, Op, Pass, linear};
use crate::tensor::Shape;
use crate::{Error, Result};

pub use confusion::write_confusion;
pub use report::{ClassFigures, Figures, TestReport, mean, write_predictions};

/// Which clips and crops of a video are averaged.
#[derive(Clone, Copy, Debug)]
pub struct TestOptions {
    /// Which clips.
    pub clips: Clips,
    /// Which parts of their frames.
    pub crops: Crops,
    /// Clips encoded at a time, which changes memory and time only; `None`: as many as take at most 1 GiB, and no more
    /// than 16.
    pub chunk: Option<usize>,
}

impl Default for TestOptions {
    /// The paper's: clips one after the other, the middle and the four corners.
    fn default() -> Self {
        Self { clips: Clips::All, crops: Crops::Five, chunk: None }
    }
}

/// A video with what the network says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Its number in the data set.
    pub video: usize,
    /// Its class.
    pub class: usize,
    /// Probability of each class: the mean over clips and crops.
    pub probabilities: Vec<f64>,
    /// Its clips.
    pub clips: usize,
    /// Of these the ones whose class is the most probable one, or among the five most probable ones, each averaged over
    /// its crops.
    pub clips_right: [usize; 2],
}

impl Prediction {
    /// The classes, most probable first; of equal ones the first.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]));
        order
    }
}

/// How many classes are more probable, or as probable and before it in their order.
pub(super) fn rank(probabilities: &[f64], class: usize) -> usize {
    let own = probabilities[class];
    probabilities.iter().enumerate().filter(|&(c, &p)| p > own || p == own && c < class).count()
}

/// A classifier that only looks, with every buffer that it needs.
#[derive(Debug)]
pub struct Tester {
    encoder: Encoder,
    name: String,
    classes: Vec<String>,
    label: String,
    protocol: Protocol,
    layer: linear::Problem,
    weight: Vec<f32>, // (classes, C)
    bias: Vec<f32>,   // (classes)
}

impl Tester {
    /// Plans and allocates.
    ///
    /// # Errors
    /// Weights of no classifier; clips that do not fit the memory.
    pub fn new(weights: &Weights, options: &TestOptions, backend: &Backend) -> Result<Self> {
        let Some(classify) = &weights.config.classify else {
            return Err(Error::data(
                &weights.name,
                "is of a pretraining, which knows no classes",
                "fine-tune it first: `hdc finetune --from` takes it",
            ));
        };
        let (model, extents) = (&weights.config.model, weights.extents());
        let graph = |chunk| models::pooled_encoder::<f32>(model, chunk, extents);
        let graph = graph(encoder::chunk(options.chunk, graph)?)?;
        let channels = graph.node(graph.outputs()[0]).shape.dims()[1];
        let [.., weight, bias] = weights.layout.params() else {
            panic!("a classifier's layout ends with its layer's weight and bias")
        };
        Ok(Self {
            layer: linear::Problem::new(Shape::new([1, channels]), classify.classes.len())?,
            weight: weights.params[weight.range.clone()].to_vec(),
            bias: weights.params[bias.range.clone()].to_vec(),
            encoder: Encoder::new(backend, graph, weights)?,
            name: weights.name.clone(),
            classes: classify.classes.clone(),
            label: classify.label.clone(),
            protocol: Protocol {
                clip: weights.config.clip.clone(),
                clips: options.clips,
                crops: options.crops,
            },
        })
    }

    /// What the network is, for reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The classes that it knows, in the order of its outputs.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The name of the label that it learned.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it says of these videos, in order of their numbers. `progress(done, all)` is called after each video. Uses
    /// the threads of the current rayon pool, and as many to decode; the result does not depend on them.
    ///
    /// # Errors
    /// No video; classes that it does not know, all at once; a damaged or unreadable shard; results that are not finite.
    pub fn test(
        &mut self,
        dataset: &Dataset,
        videos: &[Labelled],
        progress: impl FnMut(usize, usize),
    ) -> Result<Vec<Prediction>> {
        let mut predictions = self.expected(dataset, videos)?;
        let numbers: Vec<usize> = predictions.iter().map(|p| p.video).collect();
        let crops = self.protocol.crops.transforms(1, 1).len();
        let (layer, weight, bias) = (&self.layer, &self.weight, &self.bias);
        let mut workspace = vec![0_u64; Op::<f32>::workspace_bytes(layer, Pass::Forward).div_ceil(8)];
        let mut logits = vec![0.0_f32; self.classes.len()];
        let mut clip = vec![0.0; self.classes.len()];
        let mut seen = 0; // crops of the clip so far
        let each = |place: usize, outputs: ClipOutputs<'_>| {
            layer.forward(Forward {
                inputs: ArrayVec::from_iter([outputs.get(0)]),
                params: ArrayVec::from_iter([&weight[..], &bias[..]]),
                output: &mut logits,
                saved: &mut [],
                workspace: bytemuck::cast_slice_mut(&mut workspace),
            });
            clip.iter_mut().zip(softmax(&logits)).for_each(|(sum, p)| *sum += p);
            seen += 1;
            if seen == crops {
                predictions[place].add(&clip);
                clip.fill(0.0);
                seen = 0;
            }
        };
        self.encoder.each_clip(dataset, &numbers, &self.protocol, each, progress)?;
        for p in &mut predictions {
            let share = 1.0 / (p.clips * crops) as f64;
            p.probabilities.iter_mut().for_each(|probability| *probability *= share);
            if p.probabilities.iter().any(|probability| !probability.is_finite()) {
                let what = format!("its results for video {} are not finite", dataset.video(p.video).key);
                let hint = "use an earlier checkpoint; these weights have diverged";
                return Err(Error::data(&self.name, what, hint));
            }
        }
        Ok(predictions)
    }

    /// The videos with their classes, nothing seen of them yet.
    fn expected(&self, dataset: &Dataset, videos: &[Labelled]) -> Result<Vec<Prediction>> {
        let (mut all, mut unknown) = (Vec::new(), std::collections::BTreeSet::new());
        for item in videos {
            match self.classes.iter().position(|c| *c == item.label) {
                Some(class) => all.push(Prediction {
                    video: item.video,
                    class,
                    probabilities: vec![0.0; self.classes.len()],
                    clips: 0,
                    clips_right: [0; 2],
                }),
                None => drop(unknown.insert(item.label.as_str())),
            }
        }
        if let Some(first) = unknown.first() {
            let what = format!(
                "knows {} classes of {:?}, and {} of the videos' are not among them, such as {first:?}",
                self.classes.len(),
                self.label,
                unknown.len(),
            );
            let hint =
                "give the checkpoint that was fine-tuned on these classes, or the list that goes with it";
            return Err(Error::data(&self.name, what, hint));
        }
        if all.is_empty() {
            return Err(Error::data(
                dataset.root(),
                "no video is left to test",
                "give a list that names some",
            ));
        }
        all.sort_by_key(|p| p.video);
        all.dedup_by_key(|p| p.video);
        Ok(all)
    }
}

impl Prediction {
    /// Adds the sum of the probabilities over the crops of one clip.
    fn add(&mut self, clip: &[f64]) {
        self.probabilities.iter_mut().zip(clip).for_each(|(sum, p)| *sum += p);
        self.clips += 1;
        let rank = rank(clip, self.class);
        for (right, k) in self.clips_right.iter_mut().zip([1, 5]) {
            *right += usize::from(rank < k);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_probabilities_rank_in_the_order_of_the_classes() {
        let p = [0.2, 0.3, 0.3, 0.2];
        assert_eq!([0, 1, 2, 3].map(|c| rank(&p, c)), [2, 0, 1, 3]);
        let prediction =
            Prediction { video: 0, class: 0, probabilities: p.to_vec(), clips: 1, clips_right: [0; 2] };
        assert_eq!(prediction.ranking(), [1, 2, 0, 3]);
    }

    #[test]
    fn clips_count_by_the_rank_of_their_class() {
        let mut p =
            Prediction { video: 0, class: 2, probabilities: vec![0.0; 7], clips: 0, clips_right: [0; 2] };
        p.add(&[0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.0]);
        p.add(&[0.3, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1]);
        p.add(&[0.2, 0.2, 0.0, 0.2, 0.2, 0.1, 0.1]);
        assert_eq!((p.clips, p.clips_right), (3, [1, 2]));
    }
}
