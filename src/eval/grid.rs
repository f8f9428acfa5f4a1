//! A picture of queries with their nearest neighbours, and its legend.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;

use super::canvas::{Area, Canvas, Colour, LINE};
use super::{Retrieval, RetrievalSplit};
use crate::data::lists::Labelled;
use crate::data::{Dataset, FrameReader, Window, atomic};
use crate::{Error, Result};

const CELL_W: usize = 144;
const CELL_H: usize = 108;
/// Width of the frame around a picture.
const BORDER: usize = 5;
const GAP: usize = 10;
const MARGIN: usize = 12;
const HEAD: usize = 2 * LINE + GAP;

const PAPER: Colour = [255, 255, 255];
const INK: Colour = [25, 25, 25];
const QUERY: Colour = [120, 120, 120];
const RIGHT: Colour = [20, 150, 60];
const WRONG: Colour = [205, 40, 40];

/// Draws `rows` queries, spread evenly over all in order of label and key, each with its `columns` nearest
/// neighbours, as the middle frames of the videos: framed green and marked `=` if the label is the query's,
/// else red and `x`. Writes `path` (PNG), and beside it a legend with all keys (JSON).
///
/// # Errors
/// A damaged shard; [`Error::Io`].
pub fn write_grid(
    path: &Path,
    dataset: &Dataset,
    split: &RetrievalSplit,
    retrieval: &Retrieval,
    rows: usize,
    columns: usize,
) -> Result<()> {
    let chosen = chosen(split.queries(), rows);
    let mut canvas = Canvas::new(
        2 * MARGIN + (columns + 1) * (CELL_W + GAP) + GAP,
        2 * MARGIN + HEAD + chosen.len() * row_height(),
        PAPER,
    );
    let head =
        |line| Area { x: MARGIN, y: MARGIN + line * LINE, width: CELL_W * (columns + 1), height: LINE };
    let r = &retrieval.report;
    let at_1 = |map: &BTreeMap<usize, f64>| 100.0 * map.get(&1).copied().unwrap_or(0.0);
    let title = format!(
        "{}: query, then nearest · block {} {} · top-1 {:.1}% (chance {:.1}%)",
        r.label,
        r.block,
        r.pool.name(),
        at_1(&r.top),
        at_1(&r.chance)
    );
    canvas.text(head(0), &title, INK);
    canvas.text(head(1), &r.network, QUERY);

    let shown = chosen.iter().flat_map(|&q| {
        let neighbours = retrieval.neighbours[q].iter().take(columns).map(|n| split.gallery[n.index].video);
        neighbours.chain([split.queries()[q].video])
    });
    let mut painter = Painter { canvas, stills: stills(dataset, shown.collect())? };
    let mut legend = Vec::new();
    for (row, &q) in chosen.iter().enumerate() {
        let query = &split.queries()[q];
        painter.cell(row, 0, query, QUERY, "query");
        let mut neighbours = Vec::new();
        for (column, found) in retrieval.neighbours[q].iter().take(columns).enumerate() {
            let item = &split.gallery[found.index];
            let hit = item.label == query.label;
            let (colour, mark) = if hit { (RIGHT, '=') } else { (WRONG, 'x') };
            painter.cell(row, column + 1, item, colour, &format!("{mark} {:.4}", found.similarity));
            neighbours.push(json!({
                "key": dataset.video(item.video).key,
                "label": item.label,
                "similarity": found.similarity,
                "hit": hit,
            }));
        }
        let key = &dataset.video(query.video).key;
        legend.push(json!({"query": key, "label": query.label, "neighbours": neighbours}));
    }
    let png = painter.canvas.png().map_err(|e| Error::io("write", path, std::io::Error::other(e)))?;
    atomic::write(path, &png)?;
    let legend = serde_json::to_vec_pretty(&legend).expect("text and numbers are JSON");
    atomic::write(&path.with_extension("json"), &legend)
}

/// Numbers of at most `rows` queries, spread over all in order of label, then of key.
fn chosen(queries: &[Labelled], rows: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..queries.len()).collect();
    order.sort_by_key(|&q| (&queries[q].label, queries[q].video));
    let rows = rows.min(order.len());
    (0..rows).map(|i| order[(2 * i + 1) * order.len() / (2 * rows)]).collect()
}

fn row_height() -> usize {
    CELL_H + 2 * LINE + GAP
}

/// Where a cell's picture lies, without its frame.
fn picture(row: usize, column: usize) -> Area {
    let apart = if column == 0 { 0 } else { GAP }; // the query stands off
    Area {
        x: MARGIN + column * (CELL_W + GAP) + apart + BORDER,
        y: MARGIN + HEAD + row * row_height() + BORDER,
        width: CELL_W - 2 * BORDER,
        height: CELL_H - 2 * BORDER,
    }
}

/// The middle frame of each video, scaled for a cell. A video near many queries is decoded once.
fn stills(dataset: &Dataset, videos: BTreeSet<usize>) -> Result<BTreeMap<usize, Canvas>> {
    let videos: Vec<usize> = videos.into_iter().collect();
    let still = |(reader, window): &mut (FrameReader, Window), &video: &usize| -> Result<(usize, Canvas)> {
        let middle = dataset.video(video).frames / 2;
        reader.read(dataset, video, &[middle], CELL_W, window)?;
        let area = Area { x: 0, y: 0, ..picture(0, 0) };
        let mut still = Canvas::new(area.width, area.height, PAPER);
        still.frame(area, window);
        Ok((video, still))
    };
    videos.par_iter().map_init(Default::default, still).collect()
}

struct Painter {
    canvas: Canvas,
    stills: BTreeMap<usize, Canvas>, // by video
}

impl Painter {
    /// The still of a video, framed, with its label and a note below.
    fn cell(&mut self, row: usize, column: usize, item: &Labelled, frame: Colour, note: &str) {
        let inner = picture(row, column);
        let outer = Area { x: inner.x - BORDER, y: inner.y - BORDER, width: CELL_W, height: CELL_H };
        self.canvas.fill(outer, frame);
        self.canvas.paste(inner.x, inner.y, &self.stills[&item.video]);
        let line = |n: usize| Area { y: outer.y + CELL_H + 1 + n * (LINE - 2), height: LINE, ..outer };
        self.canvas.text(line(0), &item.label, INK);
        self.canvas.text(line(1), note, frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_spread_over_the_labels() {
        let item = |video, label: &str| Labelled { video, label: label.into() };
        let queries: Vec<_> = (0..40).map(|i| item(i, ["b", "a", "d", "c"][i % 4])).collect();
        let labels: Vec<_> = chosen(&queries, 4).iter().map(|&q| queries[q].label.as_str()).collect();
        assert_eq!(labels, ["a", "b", "c", "d"]);
        assert_eq!(chosen(&queries[..2], 9).len(), 2);
        assert!(chosen(&queries, 0).is_empty());
    }

    #[test]
    fn cells_do_not_overlap() {
        let (a, b, c) = (picture(0, 0), picture(0, 1), picture(1, 0));
        assert!(a.x + a.width + 2 * BORDER < b.x);
        assert!(a.y + a.height + 2 * LINE < c.y - BORDER);
    }
}
