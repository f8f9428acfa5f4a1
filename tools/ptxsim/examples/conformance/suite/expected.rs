//! What each case is expected to give, and which machine said so.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::case::{Agreement, Case};
use super::machine::Machine;

/// Outputs of at most this many bytes are kept whole.
const SMALL: usize = 256;

/// A recorded output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The device and its driver, or `ptxsim`.
    pub source: String,
    /// `exact`; or `bound`: then the digest tells only whether anything changed; or `unknown`: a simulator's
    /// guess at what the PTX ISA leaves open.
    pub compare: String,
    /// First half of the SHA-256 of the output, NaNs made canonical.
    pub digest: String,
    /// The output in hexadecimal digits, if small.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bytes: String,
}

impl Entry {
    /// What a machine gave.
    pub fn new(case: &Case, machine: &Machine, output: &[u8]) -> Entry {
        let compare = match case.agreement {
            _ if case.unknown && machine.is_simulator() => "unknown",
            Agreement::Within { .. } => "bound",
            _ => "exact",
        };
        let output = case.agreement.normalised(output.to_vec());
        let bytes = if output.len() <= SMALL { hex(&output) } else { String::new() };
        Entry { source: machine.source(), compare: compare.to_owned(), digest: digest(&output), bytes }
    }

    /// Whether a GPU gave it.
    pub fn gpu(&self) -> bool {
        self.source != "ptxsim"
    }

    /// The whole output, if it is kept.
    pub fn output(&self) -> Option<Vec<u8>> {
        let digits = self.bytes.as_bytes();
        let bytes = digits.chunks(2).map(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok());
        if digits.is_empty() { None } else { bytes.collect() }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

/// Entries by the cases' names.
#[derive(Default)]
pub struct Expected(pub BTreeMap<String, Entry>);

impl Expected {
    /// From the text of the expectations' file.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Expected, String> {
        serde_json::from_str(text).map(Expected).map_err(|e| format!("expectations: {e}"))
    }

    /// One line a case.
    pub fn to_text(&self) -> String {
        let lines = self.0.iter().filter_map(|(name, entry)| {
            Some(format!("{}:{}", serde_json::to_string(name).ok()?, serde_json::to_string(entry).ok()?))
        });
        format!("{{\n{}\n}}\n", lines.collect::<Vec<_>>().join(",\n"))
    }

    /// Takes an entry, unless a GPU's would give way to a simulator's; tells whether it was taken.
    pub fn record(&mut self, name: &str, entry: Entry) -> bool {
        if !entry.gpu() && self.0.get(name).is_some_and(Entry::gpu) {
            return false;
        }
        self.0.insert(name.to_owned(), entry);
        true
    }
}

/// How a case's output compares.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What differs; empty if all agrees.
    pub differences: Vec<String>,
    /// Nothing decides: no GPU recorded a case that the ISA leaves open.
    pub open: bool,
    /// No expectation is recorded.
    pub unrecorded: bool,
}

/// Compares an output with the independent truth and with what is recorded.
pub fn judge(case: &Case, output: &[u8], machine: &Machine, expected: &Expected) -> Verdict {
    let mut verdict = Verdict::default();
    let entry = expected.0.get(&case.name);
    verdict.unrecorded = entry.is_none();
    // A GPU need not do what a simulator guessed.
    let entry = entry.filter(|e| e.gpu() || machine.is_simulator() && !case.unknown);
    if case.unknown && entry.is_none() {
        verdict.open = true;
        return verdict;
    }
    let mut report = |truth: &str, other: &[u8]| {
        let all = case.agreement.differences(output, other);
        verdict.differences.extend(all.iter().take(3).map(|d| format!("{d}, {truth}")));
        if all.len() > 3 {
            verdict.differences.push(format!("and {} more, {truth}", all.len() - 3));
        }
        all.is_empty()
    };
    let mut agrees = true;
    if let Some(reference) = case.reference.as_ref().filter(|_| !case.unknown) {
        agrees = report("by definition", &reference(&case.inputs, &case.output));
    }
    let Some(entry) = entry else { return verdict };
    let truth = format!("recorded from {}", entry.source);
    if let Some(other) = entry.output() {
        report(&truth, &other);
    } else if agrees && case.agreement.is_exact() && entry.digest != Entry::new(case, machine, output).digest
    {
        verdict.differences.push(format!("other bytes than {truth}"));
    }
    verdict
}
