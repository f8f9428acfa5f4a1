//! What a study of decoupling says of the paper's claim: spatial contrast (SC) teaches appearance, temporal contrast (TC)
//! teaches motion, and their hierarchical sum both.

use serde::Serialize;

use super::report::markdown;
use super::{Cell, Outcome};

/// What the seeds say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The difference's 95% confidence interval is above 0.
    Holds,
    /// It is below 0.
    Reversed,
    /// It holds 0, or there are fewer than three seeds.
    Undecided,
}

impl Verdict {
    fn of(difference: Option<Cell>) -> Self {
        let Some((mean, margin)) = difference.and_then(|d| Some((d.mean, d.margin()?))) else {
            return Self::Undecided;
        };
        match mean {
            above if above > margin => Self::Holds,
            below if below < -margin => Self::Reversed,
            _ => Self::Undecided,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Reversed => "reversed",
            Self::Undecided => "undecided",
        }
    }
}

/// A part of the claim, by one measure at one block.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// What is claimed.
    pub claim: String,
    /// `retrieval` or `probe`.
    pub measure: &'static str,
    /// The block whose features were judged.
    pub block: usize,
    /// By how much it is so, seed by seed; `None` while rows are missing.
    pub difference: Option<Cell>,
    /// What follows.
    pub verdict: Verdict,
}

/// The statements for features of `block` by `measure` about rows that are among `outcomes`; `figure(label)` names a row's
/// figure. `labels` are what a frame shows and what only time shows.
pub(super) fn statements(
    outcomes: &[Outcome],
    labels: [&str; 2],
    measure: &'static str,
    block: usize,
    figure: impl Fn(&str) -> String,
) -> Vec<Statement> {
    let row = |name: &str| outcomes.iter().find(|o| o.name == name);
    let mut all = Vec::new();
    let mut state = |above: &str, below: &str, label: &str| {
        if let (Some(a), Some(b)) = (row(above), row(below)) {
            let difference = a.less(&figure(label), b);
            let claim = format!("{above} is above {below} on {label}");
            all.push(Statement { claim, measure, block, difference, verdict: Verdict::of(difference) });
        }
    };
    for scales in ["5", "3-4-5"] {
        let (sc, tc) = (format!("SC at {scales}"), format!("TC at {scales}"));
        for (above, below, label) in [(&sc, &tc, labels[0]), (&tc, &sc, labels[1])] {
            state(above, below, label);
        }
    }
    for label in labels {
        let mean = |name: &str| row(name).and_then(|o| o.means.get(&figure(label))).map(|c| c.mean);
        let better = if mean("SC at 3-4-5") >= mean("TC at 3-4-5") { "SC at 3-4-5" } else { "TC at 3-4-5" };
        for below in ["untrained", better] {
            state("SC+TC at 3-4-5", below, label);
        }
    }
    all
}

/// The statements of one block as a Markdown table, measures side by side.
pub(super) fn table(statements: &[Statement]) -> String {
    let measures: Vec<&str> = ["retrieval", "probe"].into();
    let headings =
        std::iter::once("claim").chain(measures.iter().copied()).map(String::from).collect::<Vec<_>>();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for s in statements {
        let at = rows.iter().position(|row| row[0] == s.claim).unwrap_or_else(|| {
            rows.push(std::iter::once(s.claim.clone()).chain(measures.iter().map(|_| "–".into())).collect());
            rows.len() - 1
        });
        let column = 1 + measures.iter().position(|m| *m == s.measure).expect("there are two measures");
        let difference = s.difference.map_or("–".into(), |d| d.signed());
        rows[at][column] = format!("{difference}: {}", s.verdict.name());
    }
    markdown(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::super::Figures;
    use super::*;

    #[test]
    fn verdicts_follow_from_differences_and_their_intervals() {
        let row = |name: &str, a: [f64; 3], m: [f64; 3]| {
            let seed = |s: usize| Figures::from([("a".to_owned(), a[s]), ("m".to_owned(), m[s])]);
            Outcome::new(name, (0..3).map(|s| (s as u64, seed(s))).collect())
        };
        let outcomes = [
            row("untrained", [0.1, 0.2, 0.1], [0.1, 0.1, 0.2]),
            row("SC at 5", [0.5, 0.6, 0.55], [0.5, 0.6, 0.5]),
            row("TC at 5", [0.3, 0.4, 0.32], [0.3, 0.2, 0.1]),
            row("SC at 3-4-5", [0.5, 0.6, 0.4], [0.3, 0.3, 0.3]),
            row("TC at 3-4-5", [0.4, 0.7, 0.4], [0.6, 0.5, 0.7]),
            row("SC+TC at 3-4-5", [0.5, 0.6, 0.5], [0.4, 0.2, 0.4]),
        ];
        let found = statements(&outcomes, ["a", "m"], "probe", 4, str::to_owned);
        let verdicts: Vec<Verdict> = found.iter().map(|s| s.verdict).collect();
        use Verdict::{Holds, Reversed, Undecided};
        let expect = [Holds, Reversed, Undecided, Holds, Holds, Undecided, Undecided, Reversed];
        assert_eq!(verdicts, expect);
        assert!((found[1].difference.unwrap().mean + 1.0 / 3.0).abs() < 1e-12);
        let text = table(&found);
        assert!(text.contains("| SC at 5 is above TC at 5 on a | – | +21.0 ± 1.7: holds |"), "{text}");
        let one = Outcome::new("SC at 5", outcomes[1].seeds[..1].to_vec());
        let none = statements(&[one], ["a", "m"], "probe", 4, str::to_owned);
        assert_eq!(none, [], "nothing is said of rows that are not asked for");
        let begun = ["SC at 5", "TC at 5"].map(|name| Outcome::new(name, Vec::new()));
        let waiting = statements(&begun, ["a", "m"], "probe", 4, str::to_owned);
        assert_eq!(waiting.len(), 2);
        assert!(waiting.iter().all(|s| s.verdict == Undecided && s.difference.is_none()));
    }
}
