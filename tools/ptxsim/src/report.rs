//! The report: one JSON object a line for each launch, appended to the file that `PTXSIM_REPORT` names.
//!
//! ```json
//! {"kernel":"copy","grid":[4,1,1],"block":[256,1,1],"dynamic_shared":0,"warp_instructions":352,
//!  "counters":{…},"findings":[{"kind":"race","kernel":"copy","block":[0,0,0],"thread":[3,0,0],"line":41,
//!  "source":"copy.cu:12","text":"…"}]}
//! ```
//!
//! Lines rather than one document, so that the report of a program that ends in the middle is whole.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use serde::Serialize;

use crate::check::finding::Finding;
use crate::counters::Counters;
use crate::launch::{Config, Outcome};
use crate::module::Kernel;

#[derive(Serialize)]
struct Line<'a> {
    kernel: &'a str,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    warp_instructions: u64,
    counters: &'a Counters,
    findings: &'a [Finding],
}

/// The file, opened at the first launch; nothing if there is to be no report, or it cannot be written.
fn file() -> Option<&'static Mutex<File>> {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let open = || {
        let path = PathBuf::from(std::env::var_os("PTXSIM_REPORT").filter(|v| !v.is_empty())?);
        match File::options().create(true).append(true).open(&path) {
            Ok(file) => Some(Mutex::new(file)),
            Err(e) => {
                eprintln!("ptxsim: no report: cannot write {}: {e}; correct PTXSIM_REPORT", path.display());
                None
            }
        }
    };
    FILE.get_or_init(open).as_ref()
}

/// Adds a launch to the report.
pub fn launched(kernel: &Kernel, config: &Config, outcome: &Outcome) {
    let Some(file) = file() else { return };
    let line = Line {
        kernel: &kernel.name,
        grid: config.grid,
        block: config.block,
        dynamic_shared: config.dynamic_shared,
        warp_instructions: outcome.instructions,
        counters: &outcome.counters,
        findings: &outcome.findings,
    };
    let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let written = serde_json::to_vec(&line).map_err(std::io::Error::from).and_then(|mut text| {
        text.push(b'\n');
        file.write_all(&text)
    });
    if let Err(e) = written {
        eprintln!("ptxsim: the report misses a launch of {}: {e}", kernel.name);
    }
}
