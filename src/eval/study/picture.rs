//! A study as a picture: a bar for each row and series, the seeds as dots on it, chance and the paper's figure as lines.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Outcome;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);
const COLOURS: [RGBColor; 5] = [
    RGBColor(66, 146, 198),
    RGBColor(241, 105, 19),
    RGBColor(65, 150, 90),
    RGBColor(120, 100, 170),
    RGBColor(150, 150, 150),
];
/// Pixels: of the picture's width, of the names beside the bars, of the margin, of a bar, between rows, above and below
/// the bars of a panel.
const WIDTH: i32 = 900;
const NAMES: i32 = 290;
const MARGIN: i32 = 24;
const BAR: i32 = 12;
const GAP: i32 = 9;
const HEAD: i32 = 52;
const FOOT: i32 = 36;

type Fault<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What a colour stands for.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub name: String,
    /// The figure of a row that its bar shows, 0 to 1.
    pub figure: String,
    /// What knowing nothing would reach.
    pub chance: Option<f64>,
    /// The paper's figure of each row, where it has one.
    pub paper: Vec<Option<f64>>,
}

/// Bars over one axis, from 0 to 100%.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub title: String,
    pub series: Vec<Series>,
}

impl Panel {
    fn height(&self, rows: usize) -> i32 {
        HEAD + rows as i32 * self.row() + FOOT
    }

    fn row(&self) -> i32 {
        self.series.len() as i32 * BAR + GAP
    }
}

/// The panels one above the other, as SVG.
pub(super) fn bars(outcomes: &[Outcome], panels: &[Panel]) -> String {
    let height: i32 = panels.iter().map(|p| p.height(outcomes.len())).sum();
    let mut svg = String::new();
    draw(&mut svg, outcomes, panels, height.max(1) as u32).expect("drawing into memory cannot fail");
    svg
}

fn draw<'a>(
    svg: &'a mut String,
    outcomes: &[Outcome],
    panels: &[Panel],
    height: u32,
) -> Result<(), Fault<'a>> {
    let root = SVGBackend::with_string(svg, (WIDTH as u32, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut top = 0;
    for panel in panels {
        draw_panel(&root, outcomes, panel, top)?;
        top += panel.height(outcomes.len());
    }
    root.present()
}

fn draw_panel<'a>(root: &Area<'a>, outcomes: &[Outcome], panel: &Panel, top: i32) -> Result<(), Fault<'a>> {
    let x = |value: f64| NAMES + (value.clamp(0.0, 1.0) * f64::from(WIDTH - NAMES - MARGIN)).round() as i32;
    let (first, last) = (top + HEAD, top + HEAD + outcomes.len() as i32 * panel.row());
    let style = |size: i32, h, v| (FONT, size).into_font().color(&INK).pos(Pos::new(h, v));
    let write = |text: &str, at: (i32, i32), size: i32, h: HPos| {
        root.draw(&Text::new(text.to_owned(), at, style(size, h, VPos::Center)))
    };
    let line = |at: i32, from: i32, to: i32, colour: ShapeStyle| {
        root.draw(&PathElement::new([(at, from), (at, to)], colour))
    };

    write(&panel.title, (MARGIN, top + 16), 19, HPos::Left)?;
    let mut legend = NAMES;
    for (series, colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
        root.draw(&Rectangle::new([(legend, top + 31), (legend + 12, top + 43)], colour.filled()))?;
        write(&series.name, (legend + 17, top + 37), 16, HPos::Left)?;
        legend += 40 + 8 * series.name.chars().count() as i32;
    }
    for tick in 0..=5 {
        let value = f64::from(tick) / 5.0;
        line(x(value), first, last, FAINT.stroke_width(1))?;
        write(&format!("{}%", 20 * tick), (x(value), last + 14), 15, HPos::Center)?;
    }
    for (r, outcome) in outcomes.iter().enumerate() {
        let from = first + r as i32 * panel.row() + GAP / 2;
        let middle = from + panel.series.len() as i32 * BAR / 2;
        write(&outcome.name, (NAMES - 8, middle), 16, HPos::Right)?;
        for (s, (series, colour)) in panel.series.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let y = from + s as i32 * BAR;
            if let Some(cell) = outcome.means.get(&series.figure) {
                let bar = [(x(0.0), y + 1), (x(cell.mean), y + BAR - 1)];
                root.draw(&Rectangle::new(bar, colour.mix(0.75).filled()))?;
            }
            for value in outcome.values(&series.figure) {
                root.draw(&Circle::new((x(value), y + BAR / 2), 2, INK.filled()))?;
            }
            if let Some(paper) = series.paper.get(r).copied().flatten() {
                line(x(paper), y, y + BAR, INK.stroke_width(3))?;
            }
        }
    }
    for (series, colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
        let Some(chance) = series.chance else { continue };
        for y in (first..last).step_by(8) {
            line(x(chance), y, (y + 4).min(last), colour.stroke_width(2))?;
        }
    }
    let lines = [
        panel.series.iter().any(|s| s.chance.is_some()).then_some("dashed: chance"),
        panel.series.iter().any(|s| s.paper.iter().any(Option::is_some)).then_some("thick line: the paper"),
    ];
    let note = ["dots: seeds"].into_iter().chain(lines.into_iter().flatten()).collect::<Vec<_>>().join(" · ");
    write(&note, (MARGIN, last + 14), 15, HPos::Left)
}

#[cfg(test)]
mod tests {
    use super::super::Figures;
    use super::*;

    #[test]
    fn rows_seeds_chance_and_paper_are_drawn_and_nothing_that_is_not_there() {
        let figures = |v: f64| Figures::from([("x".to_owned(), v)]);
        let full = Outcome::new("SC < TC", vec![(0, figures(0.5)), (1, figures(f64::NAN))]);
        let outcomes = [full, Outcome::new("nothing yet", Vec::new())];
        let series = |chance, paper| Series { name: "appearance".into(), figure: "x".into(), chance, paper };
        let panel = |series| Panel { title: "probe".into(), series: vec![series] };
        let svg = bars(&outcomes, &[panel(series(Some(0.125), vec![Some(0.69), None]))]);
        for text in
            ["SC &lt; TC", "nothing yet", "appearance", "60%", "dashed: chance", "thick line: the paper"]
        {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 2);
        let plain = bars(&outcomes, &[panel(series(None, Vec::new()))]);
        assert!(!plain.contains("dashed") && !plain.contains("the paper"));
        assert!(bars(&[], &[]).starts_with("<svg"));
    }
}
