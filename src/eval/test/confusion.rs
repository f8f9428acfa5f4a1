//! The confusion matrix as a picture.

use std::path::Path;

use super::TestReport;
use crate::data::atomic;
use crate::eval::canvas::{Area, Canvas, Colour, LINE};
use crate::{Error, Result};

/// Pixels for the names of classes, and around all.
const NAMES: usize = 170;
const MARGIN: usize = 12;
/// Sides of a cell: large enough for two digits, if the matrix then is no larger than this.
const LARGE: usize = 30;
const WIDEST: usize = 1600;

const PAPER: Colour = [255, 255, 255];
const EMPTY: Colour = [240, 240, 240];
const INK: Colour = [25, 25, 25];
const GREY: Colour = [120, 120, 120];
const RIGHT: Colour = [20, 150, 60];
const WRONG: Colour = [205, 40, 40];

/// Draws videos by class (rows) and the class that they are taken for (columns), as shares of their row: right ones green,
/// wrong ones red, none grey.
///
/// # Errors
/// [`Error::Io`].
pub fn write_confusion(path: &Path, report: &TestReport) -> Result<()> {
    let classes = report.classes.len();
    let cell = if classes * LARGE <= WIDEST { LARGE } else { (WIDEST / classes).max(2) };
    let (left, top) = (MARGIN + NAMES, MARGIN + 3 * LINE);
    let side = classes * cell;
    let mut canvas = Canvas::new((left + side + MARGIN).max(640), top + side + MARGIN, PAPER);
    let line = |n: usize| Area { x: MARGIN, y: MARGIN + n * LINE, width: left + side, height: LINE };
    canvas.text(line(0), &report.network, INK);
    canvas.text(line(1), &format!("{} on {}", report.figures, report.list), GREY);
    canvas.text(
        line(2),
        "rows: the class of a video; columns: what it is taken for, in the same order",
        GREY,
    );
    for (row, counts) in report.confusion.iter().enumerate() {
        let (y, videos) = (top + row * cell, counts.iter().sum::<usize>());
        if cell >= LINE {
            let name = Area { x: MARGIN, y: y + (cell - LINE) / 2, width: NAMES - 8, height: LINE };
            canvas.text(name, &report.classes[row].class, INK);
        }
        for (column, &count) in counts.iter().enumerate() {
            let area = Area { x: left + column * cell, y, width: cell - 1, height: cell - 1 };
            let colour = if row == column { RIGHT } else { WRONG };
            let share = if videos == 0 { 0.0 } else { count as f64 / videos as f64 };
            canvas.fill(area, mix(colour, share));
            if count > 0 && cell == LARGE {
                let ink = if share > 0.6 { PAPER } else { INK };
                let text = Area { x: area.x + 3, y: area.y + (cell - LINE) / 2, width: cell, height: LINE };
                canvas.text(text, &count.to_string(), ink);
            }
        }
    }
    let png = canvas.png().map_err(|e| Error::io("write", path, std::io::Error::other(e)))?;
    atomic::write(path, &png)
}

/// From empty to the full colour.
fn mix(colour: Colour, share: f64) -> Colour {
    let blend =
        |from: u8, to: u8| (f64::from(from) + share * (f64::from(to) - f64::from(from))).round() as u8;
    [0, 1, 2].map(|i| blend(EMPTY[i], colour[i]))
}
