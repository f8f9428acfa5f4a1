//! Loss curves as SVG.

use std::collections::BTreeMap;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::metrics::Record;

/// Points of a curve; beyond this, neighbours are averaged.
const POINTS: usize = 1000;
/// What is larger is drawn as this: a diverging run would overflow the arithmetic of the axes.
const LARGEST: f64 = 1e12;
/// Spatial terms in blues, temporal ones in oranges, darker for later blocks.
const COLOURS: [(&str, RGBColor); 6] = [
    ("s3", RGBColor(158, 202, 225)),
    ("s4", RGBColor(66, 146, 198)),
    ("s5", RGBColor(8, 69, 148)),
    ("t3", RGBColor(253, 190, 133)),
    ("t4", RGBColor(241, 105, 19)),
    ("t5", RGBColor(140, 45, 4)),
];
const SIZE: (u32, u32) = (900, 960);
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Fault<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// A curve of bounded size: means of runs of equal length.
#[derive(Clone, Debug, Default)]
struct Curve {
    run: usize, // steps a point; 0 before the first
    points: Vec<(f64, f64)>,
    open: (usize, f64, f64), // how many, Σ step, Σ value
}

impl Curve {
    fn add(&mut self, step: f64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        self.run = self.run.max(1);
        self.open = (self.open.0 + 1, self.open.1 + step, self.open.2 + value);
        if self.open.0 == self.run {
            self.points.push(self.mean());
            self.open = (0, 0.0, 0.0);
        }
        if self.points.len() == 2 * POINTS {
            self.points = self
                .points
                .chunks_exact(2)
                .map(|p| ((p[0].0 + p[1].0) / 2.0, (p[0].1 + p[1].1) / 2.0))
                .collect();
            self.run *= 2;
        }
    }

    fn mean(&self) -> (f64, f64) {
        let n = self.open.0 as f64;
        (self.open.1 / n, self.open.2 / n)
    }

    fn line(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.iter().copied().chain((self.open.0 > 0).then(|| self.mean()))
    }
}

/// The history of a run, of bounded size.
#[derive(Clone, Debug, Default)]
pub(super) struct Curves {
    total: Curve,
    terms: BTreeMap<&'static str, Curve>,
    accuracy: Curve,
    lr: Curve,
}

/// A reference: the loss of a network that tells nothing apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chance {
    /// In pretraining: of one contrastive term, and of their weighted sum.
    Terms { term: f64, total: f64 },
    /// In fine-tuning: this many classes.
    Classes(usize),
}

impl Curves {
    /// Adds a step.
    pub fn add(&mut self, record: &Record) {
        let step = record.step as f64;
        self.total.add(step, record.loss);
        self.lr.add(step, record.lr);
        self.accuracy.add(step, record.accuracy.unwrap_or(f64::NAN));
        for (name, value) in record.terms() {
            self.terms.entry(name).or_default().add(step, value);
        }
    }

    /// The picture: loss, its terms or the accuracy, learning rate, one above the other over the same steps.
    pub fn svg(&self, chance: Chance) -> String {
        let mut svg = String::new();
        self.draw(&mut svg, chance).expect("drawing into memory cannot fail");
        svg
    }

    fn draw<'a>(&self, svg: &'a mut String, chance: Chance) -> Result<(), Fault<'a>> {
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (total, rest) = root.split_vertically(370);
        let (terms, lr) = rest.split_vertically(370);
        let black = RGBColor(40, 40, 40);
        let reference = |label, value| Some((label, value, GREEN_GREY));
        match chance {
            Chance::Terms { term, total: sum } => {
                Panel { title: "Contrastive loss, weighted sum", y: "loss (nats)", tall: true }.draw(
                    &total,
                    &[("sum", &self.total, black)],
                    reference("chance: ln B times the weights", sum),
                )?;
                let lines: Vec<_> = COLOURS
                    .iter()
                    .filter_map(|(name, colour)| Some((*name, self.terms.get(name)?, *colour)))
                    .collect();
                Panel {
                    title: "Terms: spatial (s) and temporal (t) contrast at blocks 3, 4, 5",
                    y: "loss (nats)",
                    tall: true,
                }
                .draw(&terms, &lines, reference("chance: ln B", term))?;
            }
            Chance::Classes(classes) => {
                Panel { title: "Cross-entropy", y: "loss (nats)", tall: true }.draw(
                    &total,
                    &[("mean over clips", &self.total, black)],
                    reference("chance: ln of the number of classes", (classes as f64).ln()),
                )?;
                Panel { title: "Clips of the batch that are classified right", y: "fraction", tall: true }
                    .draw(
                        &terms,
                        &[("accuracy", &self.accuracy, black)],
                        reference("chance: one class in so many", 1.0 / classes as f64),
                    )?;
            }
        }
        Panel { title: "Learning rate", y: "learning rate", tall: false }.draw(
            &lr,
            &[("lr", &self.lr, black)],
            None,
        )?;
        root.present()
    }
}

const GREEN_GREY: RGBColor = RGBColor(110, 140, 110);

struct Panel {
    title: &'static str,
    y: &'static str,
    tall: bool,
}

impl Panel {
    fn draw<'a>(
        &self,
        area: &Area<'a>,
        lines: &[(&str, &Curve, RGBColor)],
        reference: Option<(&str, f64, RGBColor)>,
    ) -> Result<(), Fault<'a>> {
        let points = || lines.iter().flat_map(|(_, curve, _)| curve.line());
        let steps = points().map(|(step, _)| step).fold(1.0, f64::max);
        let values =
            points().map(|(_, value)| value).chain(reference.map(|(_, value, _)| value.min(LARGEST)));
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, (FONT, 17))
            .margin(12)
            .x_label_area_size(38)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..steps, range(values))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .axis_style(RGBColor(120, 120, 120))
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14))
            .x_desc("step")
            .y_desc(self.y)
            .x_labels(10)
            .y_labels(if self.tall { 8 } else { 4 })
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| tidy(*y))
            .draw()?;
        for (name, curve, colour) in lines {
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(curve.line(), style))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        }
        if let Some((name, value, colour)) = reference {
            let style = colour.stroke_width(2);
            chart
                .draw_series(DashedLineSeries::new([(0.0, value), (steps, value)], 6, 4, style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        }
        if reference.is_some() || lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerLeft)
                .background_style(WHITE.mix(0.85))
                .border_style(RGBColor(200, 200, 200))
                .label_font((FONT, 13))
                .draw()?;
        }
        Ok(())
    }
}

/// From 0 to a little above the largest value.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let top = values.fold(0.0, f64::max);
    0.0..if top > 0.0 { 1.05 * top } else { 1.0 }
}

/// A number without trailing zeros.
fn tidy(value: f64) -> String {
    let text = if value.abs() >= 0.01 || value == 0.0 {
        format!("{value:.3}")
    } else {
        return format!("{value:.1e}");
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(steps: u64) -> Curves {
        let mut curves = Curves::default();
        for step in 1..=steps {
            let fall = |from: f64, rate: f64| Some(from * (-(step as f64) * rate / steps as f64).exp());
            curves.add(&Record {
                step,
                loss: 1.75 * 3.0 * fall(1.0, 1.0).unwrap(),
                lr: 0.1 / (1.0 + 1e-4 * step as f64),
                loss_s3: fall(3.17, 3.0),
                loss_s4: fall(3.17, 2.0),
                loss_t5: fall(3.17, 0.2),
                ..Record::default()
            });
        }
        curves
    }

    const CHANCE: Chance = Chance::Terms { term: 3.178, total: 5.56 };

    #[test]
    fn the_picture_has_axes_legend_and_only_the_terms_that_are_on() {
        let svg = history(557).svg(CHANCE);
        for text in ["step", "loss (nats)", "learning rate", "chance: ln B", "s3", "s4", "t5"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("\ns5\n") && !svg.contains("\nt3\n"));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn any_history_can_be_drawn() {
        Curves::default().svg(CHANCE);
        history(1).svg(CHANCE);
        history(9).svg(Chance::Classes(15));
        let mut odd = history(3);
        odd.add(&Record { step: 4, loss: f64::NAN, lr: f64::INFINITY, ..Record::default() });
        odd.add(&Record { step: 5, loss: -1e300, lr: 1e300, ..Record::default() });
        odd.svg(Chance::Terms { term: 0.0, total: f64::NAN });
    }

    #[test]
    fn a_long_history_stays_small_and_keeps_its_mean() {
        let mut curve = Curve::default();
        for step in 1..=100_000 {
            curve.add(f64::from(step), f64::from(step % 2));
        }
        let points: Vec<_> = curve.line().collect();
        assert!(points.len() <= 2 * POINTS, "{}", points.len());
        assert!(points[1..].iter().all(|(_, v)| (v - 0.5).abs() < 1e-12));
        assert!(points.is_sorted_by(|a, b| a.0 < b.0));
    }
}
