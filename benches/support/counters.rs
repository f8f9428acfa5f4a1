//! What the simulated device did, in place of times: it counts every launch in a file that PTXSIM_REPORT names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use hdc::device::Device;
use serde_json::Value;

/// Whether there is no time on this device.
pub fn is_simulated(device: &Device) -> bool {
    device.properties().name.contains("ptxsim")
}

/// What the launches of one kernel did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Launches.
    pub launches: u64,
    /// PTX instructions of warps.
    pub instructions: u64,
    /// FLOPs of tensor cores.
    pub mma_flops: u64,
    /// Bytes of the sectors read.
    pub read: u64,
    /// Bytes of the sectors written.
    pub written: u64,
    /// Bank conflicts.
    pub conflicts: u64,
}

/// The file, and how far it was read.
pub struct Report {
    path: PathBuf,
    at: u64,
    _own: Option<tempfile::NamedTempFile>,
}

impl Report {
    /// Asks for the file, unless the user did. To be called before anything else: drivers look when they are loaded.
    pub fn start() -> io::Result<Self> {
        if let Some(path) = std::env::var_os("PTXSIM_REPORT").filter(|v| !v.is_empty()) {
            let path = PathBuf::from(path);
            let at = path.metadata().map_or(0, |m| m.len());
            return Ok(Self { path, at, _own: None });
        }
        let file = tempfile::NamedTempFile::new()?;
        // SAFETY: the process has no other thread yet that could read the environment meanwhile.
        unsafe { std::env::set_var("PTXSIM_REPORT", file.path()) };
        Ok(Self { path: file.path().to_owned(), at: 0, _own: Some(file) })
    }

    /// What was launched since the last call, by kernel.
    pub fn take(&mut self) -> io::Result<BTreeMap<String, Counters>> {
        let mut file = BufReader::new(File::open(&self.path)?);
        file.seek(SeekFrom::Start(self.at))?;
        let mut kernels: BTreeMap<String, Counters> = BTreeMap::new();
        let mut line = String::new();
        while file.read_line(&mut line)? > 0 {
            let launch: Value = serde_json::from_str(&line)?;
            let number = |path: &str| launch.pointer(path).and_then(Value::as_u64).unwrap_or(0);
            let counters = kernels.entry(launch["kernel"].as_str().unwrap_or("?").to_owned()).or_default();
            counters.launches += 1;
            counters.instructions += number("/warp_instructions");
            counters.mma_flops += number("/counters/mma_flops");
            counters.read += number("/counters/global_load/sectors") * 32;
            counters.written += number("/counters/global_store/sectors") * 32;
            counters.conflicts += number("/counters/shared/conflicts");
            line.clear();
        }
        self.at = file.stream_position()?;
        Ok(kernels)
    }
}

/// One line a kernel.
pub fn print(label: &str, kernels: &BTreeMap<String, Counters>) {
    for (kernel, c) in kernels {
        println!(
            "{label:<46} {kernel:<36} {:5} launches {:12} instructions {:9.3} MFLOP by mma {:9.3} MB read {:9.3} MB written {} conflicts",
            c.launches,
            c.instructions,
            c.mma_flops as f64 / 1e6,
            c.read as f64 / 1e6,
            c.written as f64 / 1e6,
            c.conflicts,
        );
    }
}
