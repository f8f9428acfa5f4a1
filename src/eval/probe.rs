//! Linear probe: how well a linear classifier on frozen features names the classes of videos it was not fitted to.
//!
//! Multinomial logistic regression on features standardised by the training part, with scikit-learn's default penalty
//! (C = 1), fitted to convergence by L-BFGS (Nocedal & Wright, *Numerical Optimization*, algorithm 7.5) in f64.

use std::collections::{BTreeMap, VecDeque};

use rayon::prelude::*;

use super::{Embeddings, RetrievalSplit};
use crate::data::lists::Labelled;

/// Rows that one task sums: fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 128;
/// Steps whose curvature L-BFGS remembers.
const MEMORY: usize = 10;
/// Iterations at most; the penalty keeps the problem well conditioned, and tens are usual.
const ITERATIONS: usize = 1000;
/// Converged: no component of the gradient is larger.
const TOLERANCE: f64 = 1e-7;

/// Fits a probe to the gallery's vectors and labels; the fraction of queries that it names rightly. A query whose
/// class the gallery lacks counts as a miss. The result is the same for any number of threads.
///
/// # Panics
/// If a video of `split` has no vector.
pub fn linear_probe(embeddings: &Embeddings, split: &RetrievalSplit) -> f64 {
    let mut classes = BTreeMap::new();
    for video in &split.gallery {
        let next = classes.len();
        classes.entry(video.label.as_str()).or_insert(next);
    }
    let rows = |videos: &[Labelled]| -> Vec<f64> {
        let row = |v: &Labelled| embeddings.of(v.video).expect("every video of the split has a vector");
        videos.iter().flat_map(row).map(|&v| f64::from(v)).collect()
    };
    let (mut x, mut queries) = (rows(&split.gallery), rows(split.queries()));
    let scaling = Scaling::of(&x, embeddings.dim);
    scaling.apply(&mut x);
    scaling.apply(&mut queries);
    let y: Vec<usize> = split.gallery.iter().map(|v| classes[v.label.as_str()]).collect();
    let problem = Problem { x: &x, y: &y, dim: embeddings.dim, classes: classes.len() };
    let weights = minimise(vec![0.0; problem.parameters()], |w| problem.loss(w));
    let right = split.queries().iter().zip(queries.chunks_exact(embeddings.dim));
    let right = right.filter(|(v, x)| classes.get(v.label.as_str()) == Some(&problem.best(&weights, x)));
    right.count() as f64 / split.queries().len() as f64
}

/// What always naming the gallery's most frequent class (the first of equals) would reach.
pub(super) fn majority(split: &RetrievalSplit) -> f64 {
    let mut sizes = BTreeMap::<&str, usize>::new();
    split.gallery.iter().for_each(|v| *sizes.entry(&v.label).or_default() += 1);
    let most = sizes.iter().rev().max_by_key(|(_, n)| **n).map(|(label, _)| *label);
    let right = split.queries().iter().filter(|q| Some(q.label.as_str()) == most).count();
    right as f64 / split.queries().len() as f64
}

/// Mean 0 and deviation 1, as measured on the training part; a feature without deviation becomes 0.
struct Scaling {
    mean: Vec<f64>,  // (dim)
    scale: Vec<f64>, // (dim)
}

impl Scaling {
    fn of(x: &[f64], dim: usize) -> Self {
        let n = (x.len() / dim) as f64;
        let column = |j: usize| x.iter().skip(j).step_by(dim);
        let mean: Vec<f64> = (0..dim).map(|j| column(j).sum::<f64>() / n).collect();
        let scale = |j: usize| {
            let deviation = (column(j).map(|v| (v - mean[j]).powi(2)).sum::<f64>() / n).sqrt();
            if deviation > 1e-9 * mean[j].abs().max(1e-30) { 1.0 / deviation } else { 0.0 }
        };
        Self { scale: (0..dim).map(scale).collect(), mean }
    }

    fn apply(&self, x: &mut [f64]) {
        for row in x.chunks_exact_mut(self.mean.len()) {
            let moments = self.mean.iter().zip(&self.scale);
            row.iter_mut().zip(moments).for_each(|(v, (mean, scale))| *v = (*v - mean) * scale);
        }
    }
}

/// `L(W, b) = (Σ_i −ln softmax(W x_i + b)[y_i] + ½‖W‖²) / n`.
struct Problem<'a> {
    x: &'a [f64],   // (n, dim)
    y: &'a [usize], // (n)
    dim: usize,
    classes: usize,
}

impl Problem<'_> {
    /// Of `(classes, dim + 1)`: each class's weights, then its bias.
    fn parameters(&self) -> usize {
        self.classes * (self.dim + 1)
    }

    fn score(&self, w: &[f64], class: usize, x: &[f64]) -> f64 {
        let w = &w[class * (self.dim + 1)..][..self.dim + 1];
        x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + w[self.dim]
    }

    /// The class of the largest score, the first of equals.
    fn best(&self, w: &[f64], x: &[f64]) -> usize {
        let mut best = (f64::NEG_INFINITY, 0);
        for class in 0..self.classes {
            let score = self.score(w, class, x);
            best = if score > best.0 { (score, class) } else { best };
        }
        best.1
    }

    /// The loss and its gradient.
    fn loss(&self, w: &[f64]) -> (f64, Vec<f64>) {
        let n = self.y.len() as f64;
        let rows = self.x.par_chunks(ROWS * self.dim).zip(self.y.par_chunks(ROWS));
        let parts: Vec<_> = rows.map(|(x, y)| self.part(w, x, y)).collect();
        let (mut loss, mut gradient) = (0.0, vec![0.0; w.len()]);
        for (part, d) in parts {
            loss += part;
            gradient.iter_mut().zip(d).for_each(|(g, d)| *g += d);
        }
        for (i, (g, w)) in gradient.iter_mut().zip(w).enumerate() {
            let penalised = if (i + 1) % (self.dim + 1) == 0 { 0.0 } else { *w };
            loss += 0.5 * penalised * penalised;
            *g = (*g + penalised) / n;
        }
        (loss / n, gradient)
    }

    /// The sum over some rows, without the penalty.
    fn part(&self, w: &[f64], x: &[f64], y: &[usize]) -> (f64, Vec<f64>) {
        let (mut loss, mut gradient) = (0.0, vec![0.0; w.len()]);
        let mut p = vec![0.0; self.classes];
        for (x, &y) in x.chunks_exact(self.dim).zip(y) {
            (0..self.classes).for_each(|k| p[k] = self.score(w, k, x));
            let largest = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log = p.iter().map(|s| (s - largest).exp()).sum::<f64>().ln() + largest;
            loss += log - p[y];
            for (k, (p, d)) in p.iter().zip(gradient.chunks_exact_mut(self.dim + 1)).enumerate() {
                let error = (p - log).exp() - f64::from(u8::from(k == y));
                d.iter_mut().zip(x).for_each(|(d, x)| *d += error * x);
                d[self.dim] += error;
            }
        }
        (loss, gradient)
    }
}

/// The minimum of a smooth convex function, from `w` on.
fn minimise(mut w: Vec<f64>, f: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let (mut value, mut gradient) = f(&w);
    let mut pairs: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new(); // (step, change of the gradient), newest last
    for _ in 0..ITERATIONS {
        if gradient.iter().all(|g| g.abs() <= TOLERANCE) {
            break;
        }
        let direction = direction(&pairs, &gradient);
        let slope = dot(&direction, &gradient);
        // The first direction is the gradient, whose length says nothing of the step's.
        let mut rate = if pairs.is_empty() { dot(&gradient, &gradient).sqrt().recip().min(1.0) } else { 1.0 };
        let (next, next_value, next_gradient) = loop {
            let next: Vec<f64> = w.iter().zip(&direction).map(|(w, d)| w + rate * d).collect();
            let (next_value, next_gradient) = f(&next);
            if next_value <= value + 1e-4 * rate * slope {
                break (next, next_value, next_gradient);
            }
            rate /= 2.0;
            if rate < 1e-12 {
                return w; // rounding hides what is left to gain
            }
        };
        let change = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        let (s, y) = (change(&next, &w), change(&next_gradient, &gradient));
        if dot(&s, &y) > 1e-12 * dot(&y, &y) {
            pairs.push_back((s, y));
            if pairs.len() > MEMORY {
                pairs.pop_front();
            }
        }
        (w, value, gradient) = (next, next_value, next_gradient);
    }
    w
}

/// `−H g`, H the inverse Hessian as the pairs show it.
fn direction(pairs: &VecDeque<(Vec<f64>, Vec<f64>)>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let add = |q: &mut [f64], v: &[f64], by: f64| q.iter_mut().zip(v).for_each(|(q, v)| *q += by * v);
    let mut shares = Vec::with_capacity(pairs.len());
    for (s, y) in pairs.iter().rev() {
        let share = dot(s, &q) / dot(s, y);
        add(&mut q, y, -share);
        shares.push(share);
    }
    if let Some((s, y)) = pairs.back() {
        let scale = dot(s, y) / dot(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y), share) in pairs.iter().zip(shares.into_iter().rev()) {
        let by = share - dot(y, &q) / dot(s, y);
        add(&mut q, s, by);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::random::Stream;

    /// `n` training and `n` test videos of four classes; the class moves the vector by `signal`.
    fn set(n: usize, dim: usize, signal: f64) -> (Embeddings, RetrievalSplit) {
        let mut stream = Stream::new("probe", 7);
        let mut data = Vec::new();
        for video in 0..2 * n {
            data.extend((0..dim).map(|j| {
                let noise: f64 = (0..4).map(|_| stream.next_in(-1.0, 1.0)).sum();
                (noise + if j == video % 4 { signal } else { 0.0 }) as f32 * 100.0 + 5e3
            }));
        }
        let labelled = |video: usize| Labelled { video, label: format!("class {}", video % 4) };
        let split = RetrievalSplit {
            label: "label".into(),
            gallery: (0..n).map(labelled).collect(),
            queries: Some((n..2 * n).map(labelled).collect()),
        };
        (Embeddings { videos: (0..2 * n).collect(), dim, data }, split)
    }

    #[test]
    fn separable_classes_are_told_apart_and_noise_is_not() {
        let (vectors, split) = set(200, 6, 12.0);
        assert_eq!(linear_probe(&vectors, &split), 1.0);
        let (vectors, split) = set(800, 6, 0.0);
        let found = linear_probe(&vectors, &split);
        // Five standard deviations of 800 guesses among four.
        assert!((found - 0.25).abs() < 5.0 * (0.25_f64 * 0.75 / 800.0).sqrt(), "{found}");
        assert_eq!(majority(&split), 0.25);
    }

    #[test]
    fn features_that_never_change_and_unknown_classes_do_no_harm() {
        let (mut vectors, mut split) = set(80, 6, 12.0);
        vectors.data.iter_mut().skip(5).step_by(6).for_each(|v| *v = 0.1);
        split.queries.as_mut().unwrap()[0].label = "of no gallery".into();
        assert_eq!(linear_probe(&vectors, &split), 79.0 / 80.0);
    }

    #[test]
    fn the_gradient_is_the_slope_and_vanishes_at_the_minimum() {
        let (vectors, split) = set(300, 5, 1.0);
        let mut x: Vec<f64> = vectors.data[..1500].iter().map(|&v| f64::from(v)).collect();
        Scaling::of(&x, 5).apply(&mut x);
        let y: Vec<usize> = split.gallery.iter().map(|v| v.video % 4).collect();
        let problem = Problem { x: &x, y: &y, dim: 5, classes: 4 };
        let mut stream = Stream::new("weights", 1);
        let w: Vec<f64> = (0..problem.parameters()).map(|_| stream.next_in(-1.0, 1.0)).collect();
        let (_, gradient) = problem.loss(&w);
        for i in 0..w.len() {
            let at = |by: f64| {
                let mut moved = w.clone();
                moved[i] += by;
                problem.loss(&moved).0
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient[i] - numeric).abs() < 1e-8, "{i}: {} and {numeric}", gradient[i]);
        }
        let best = minimise(w, |w| problem.loss(w));
        let (value, gradient) = problem.loss(&best);
        assert!(gradient.iter().all(|g| g.abs() <= TOLERANCE), "{gradient:?}");
        // Strictly convex but for the biases' common offset: one minimum from anywhere.
        let other = minimise(vec![0.0; problem.parameters()], |w| problem.loss(w));
        assert!((problem.loss(&other).0 - value).abs() < 1e-12);
    }

    #[test]
    fn threads_change_no_bit() {
        let (vectors, split) = set(700, 5, 1.0);
        let mut x: Vec<f64> = vectors.data[..3500].iter().map(|&v| f64::from(v)).collect();
        Scaling::of(&x, 5).apply(&mut x);
        let y: Vec<usize> = split.gallery.iter().map(|v| v.video % 4).collect();
        let problem = Problem { x: &x, y: &y, dim: 5, classes: 4 };
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| minimise(vec![0.0; problem.parameters()], |w| problem.loss(w)))
        };
        assert_eq!(fit(1), fit(3));
    }
}
