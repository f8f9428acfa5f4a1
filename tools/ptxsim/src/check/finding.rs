//! Findings: what the checker reports.

use std::collections::HashSet;
use std::fmt;
use std::sync::Mutex;

use serde::Serialize;

use crate::program::{Program, Source};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An access outside any allocation, or to one that was freed.
    OutOfBounds,
    /// An address that is not a multiple of the access's width.
    Misaligned,
    /// A read of memory that nothing wrote.
    Uninitialised,
    /// Two accesses, at least one a write, that nothing orders.
    Race,
    /// An asynchronous access after an ordinary write without `fence.proxy.async`.
    ProxyFence,
    /// Use of what an asynchronous operation may not have finished.
    UnwaitedAsync,
    /// A barrier or mbarrier used against its rules.
    Barrier,
    /// No thread can go on.
    Deadlock,
    /// The kernel gave up: `trap`.
    Trap,
    /// Something that this machine does not do.
    Unsupported,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Kind::OutOfBounds => "out of bounds",
            Kind::Misaligned => "misaligned",
            Kind::Uninitialised => "uninitialised",
            Kind::Race => "race",
            Kind::ProxyFence => "proxy fence",
            Kind::UnwaitedAsync => "unwaited async",
            Kind::Barrier => "barrier",
            Kind::Deadlock => "deadlock",
            Kind::Trap => "trap",
            Kind::Unsupported => "unsupported",
        })
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What went wrong.
    pub kind: Kind,
    /// Kernel.
    pub kernel: String,
    /// `blockIdx` (x, y, z).
    pub block: [u32; 3],
    /// `threadIdx` (x, y, z) of the first thread concerned; `None` if it is the block's or an asynchronous copy's.
    pub thread: Option<[u32; 3]>,
    /// Line of the PTX text.
    pub line: u32,
    /// Source file and line, if the PTX has line information, and where the function is called if it is inlined:
    /// `tile.cuh:12, called at conv.cu:64`.
    pub source: Option<String>,
    /// The details.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [x, y, z] = self.block;
        write!(f, "{}: {} in {} block ({x},{y},{z})", self.kind, self.text, self.kernel)?;
        if let Some([x, y, z]) = self.thread {
            write!(f, " thread ({x},{y},{z})")?;
        }
        write!(f, ", PTX line {}", self.line)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

/// Findings of a launch: one for each kind and instruction, and not more than a few in all.
#[derive(Debug, Default)]
pub struct Findings {
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    seen: HashSet<(Kind, u32)>,
    list: Vec<Finding>,
}

/// Findings kept.
const MOST: usize = 32;

impl Findings {
    /// Adds one, unless the like is there.
    pub fn add(&self, finding: Finding) {
        let mut found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if found.list.len() < MOST && found.seen.insert((finding.kind, finding.line)) {
            found.list.push(finding);
        }
    }

    /// All, in order of block and PTX line, so that the order does not depend on the machine's threads.
    pub fn take(self) -> Vec<Finding> {
        let found = self.found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut findings = found.list;
        findings.sort_by_key(|f| (f.block[2], f.block[1], f.block[0], f.line, f.kind as u32));
        findings
    }
}

/// The source file and line of an instruction, and those of the call if it is in a function that was inlined:
/// `tile.cuh:12, called at conv.cu:64`.
pub fn place(program: &Program, source: Source) -> Option<String> {
    let path = |file| program.files.iter().find(|(index, _)| *index == file).map(|(_, path)| path);
    let mut place = format!("{}:{}", path(source.file)?, source.file_line);
    if let Some((file, line)) = source.caller
        && let Some(path) = path(file)
    {
        place += &format!(", called at {path}:{line}");
    }
    Some(place)
}
