//! Retrieval: how often the nearest videos share a query's class.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::neighbours::{Neighbour, Unit, nearest};
use super::{Embedder, Embeddings, RetrievalSplit, chance};
use crate::Result;
use crate::data::Dataset;
use crate::data::lists::Labelled;

/// A hit at k: one of the k nearest has the query's class.
pub const TOP: [usize; 5] = [1, 5, 10, 20, 50];

/// Figures of a retrieval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The network.
    pub network: String,
    /// The name of the label that makes a hit.
    pub label: String,
    /// The block that was tapped.
    pub block: usize,
    /// How its map became a vector.
    pub pool: super::Pool,
    /// Numbers a vector.
    pub dim: usize,
    /// Videos searched for.
    pub queries: usize,
    /// Videos searched.
    pub gallery: usize,
    /// Whether each video was searched for among all others, instead of queries in a gallery of their own.
    pub leave_one_out: bool,
    /// Classes among the queries.
    pub classes: usize,
    /// Queries whose class no other video of the gallery has: they cannot hit, and count as misses.
    pub without_match: usize,
    /// Fraction of queries with a hit at k.
    pub top: BTreeMap<usize, f64>,
    /// What a random ranking would reach on average, given the classes of queries and gallery.
    pub chance: BTreeMap<usize, f64>,
}

/// A retrieval with its neighbours.
#[derive(Clone, Debug)]
pub struct Retrieval {
    /// The figures.
    pub report: Report,
    /// For each query the nearest of the gallery, nearest first, at most 50.
    pub neighbours: Vec<Vec<Neighbour>>,
}

/// Embeds the videos of `split` and looks for its queries in its gallery. `progress(done, all)` is called after
/// each video.
///
/// # Errors
/// As [`Embedder::embed`].
pub fn retrieval(
    dataset: &Dataset,
    embedder: &mut Embedder,
    split: &RetrievalSplit,
    progress: impl FnMut(usize, usize),
) -> Result<Retrieval> {
    let embeddings = embedder.embed(dataset, &split.videos(), progress)?;
    Ok(retrieve(&embeddings, embedder, split))
}

/// Looks for the queries of `split` in its gallery; `embeddings` holds all its videos and came from `embedder`.
///
/// # Panics
/// If a video of `split` has no vector.
pub fn retrieve(embeddings: &Embeddings, embedder: &Embedder, split: &RetrievalSplit) -> Retrieval {
    let Hits { neighbours, top } = hits(embeddings, split);
    let queries = split.queries();
    let report = Report {
        network: embedder.name().into(),
        label: split.label.clone(),
        block: embedder.options().block,
        pool: embedder.options().pool,
        dim: embeddings.dim,
        queries: queries.len(),
        gallery: split.gallery.len(),
        leave_one_out: split.queries.is_none(),
        classes: queries.iter().map(|q| q.label.as_str()).collect::<BTreeSet<_>>().len(),
        without_match: candidates(split).iter().filter(|(_, same)| *same == 0).count(),
        top,
        chance: TOP.map(|k| (k, chance_at(split, k))).into(),
    };
    Retrieval { report, neighbours }
}

/// What a search finds, whatever made the vectors; fields as in [`Report`] and [`Retrieval`].
pub(super) struct Hits {
    pub neighbours: Vec<Vec<Neighbour>>,
    pub top: BTreeMap<usize, f64>,
}

/// Searches `embeddings`, which holds all videos of `split`.
pub(super) fn hits(embeddings: &Embeddings, split: &RetrievalSplit) -> Hits {
    let unit = |videos: &[Labelled]| {
        let rows =
            videos.iter().map(|v| embeddings.of(v.video).expect("every video of the split has a vector"));
        Unit::new(embeddings.dim, rows)
    };
    let (queries, gallery) = (split.queries(), split.gallery.as_slice());
    let vectors = unit(gallery);
    let query_vectors = split.queries.as_deref().map(unit);
    let itself = |q: usize, g: usize| queries[q].video == gallery[g].video;
    let deepest = TOP[TOP.len() - 1];
    let neighbours = nearest(query_vectors.as_ref().unwrap_or(&vectors), &vectors, deepest, itself);

    let mut top = BTreeMap::from(TOP.map(|k| (k, 0.0)));
    for (query, found) in queries.iter().zip(&neighbours) {
        let hit = found.iter().position(|n| gallery[n.index].label == query.label);
        for (k, hits) in &mut top {
            *hits += f64::from(u8::from(hit.is_some_and(|at| at < *k)));
        }
    }
    for hits in top.values_mut() {
        *hits /= queries.len() as f64;
    }
    Hits { neighbours, top }
}

/// What a random ranking would reach at `k` on average.
pub(super) fn chance_at(split: &RetrievalSplit, k: usize) -> f64 {
    let all = candidates(split);
    all.iter().map(|&(others, same)| chance::hit(others, same, k)).sum::<f64>() / all.len() as f64
}

/// For each query the videos of the gallery other than itself, and those of them that share its class.
fn candidates(split: &RetrievalSplit) -> Vec<(usize, usize)> {
    let mut sizes = BTreeMap::<&str, usize>::new();
    for item in &split.gallery {
        *sizes.entry(&item.label).or_default() += 1;
    }
    let held: BTreeSet<usize> = split.gallery.iter().map(|g| g.video).collect();
    let of = |query: &Labelled| {
        let own = usize::from(held.contains(&query.video));
        let same = sizes.get(query.label.as_str()).map_or(0, |&n| n - own.min(n));
        (split.gallery.len() - own, same)
    };
    split.queries().iter().map(of).collect()
}

impl std::fmt::Display for Report {
    /// A few lines for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how =
            if self.leave_one_out { "each among the others" } else { "queries in a gallery of their own" };
        writeln!(
            f,
            "{} · block {} · {} · {} numbers · label {}",
            self.network,
            self.block,
            self.pool.name(),
            self.dim,
            self.label
        )?;
        writeln!(
            f,
            "{} queries of {} classes, gallery of {} ({how})",
            self.queries, self.classes, self.gallery
        )?;
        if self.without_match > 0 {
            writeln!(f, "{} queries cannot hit: nothing else has their class", self.without_match)?;
        }
        let line = |f: &mut std::fmt::Formatter<'_>, name: &str, values: Vec<String>| {
            writeln!(f, "{name:<10}{}", values.iter().map(|v| format!("{v:>8}")).collect::<String>())
        };
        let percent =
            |map: &BTreeMap<usize, f64>| map.values().map(|v| format!("{:.1}%", 100.0 * v)).collect();
        line(f, "top", self.top.keys().map(usize::to_string).collect())?;
        line(f, "found", percent(&self.top))?;
        line(f, "chance", percent(&self.chance))
    }
}
