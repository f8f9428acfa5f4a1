//! `hdc doctor`.

use std::fmt::Write as _;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::device;
use crate::tensor::simd;
use crate::{Error, Result};

/// Say what this machine offers, what is missing, and how to get it
///
/// Nothing that is missing here stops training on the CPU; ffmpeg is needed to
/// ingest videos.
///
/// Example:
///   hdc doctor
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    cpu: Cpu,
    /// Bytes that may be allocated without swapping.
    memory_available: Option<u64>,
    /// Bytes free on the file system of the current folder.
    disk_free: Option<u64>,
    /// First line of `ffmpeg -version`.
    ffmpeg: Option<String>,
    ffprobe: Option<String>,
    cuda: Cuda,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Cpu {
    name: Option<String>,
    threads: usize,
    features: Vec<&'static str>,
    /// The instruction set that the kernels take: `V4` is AVX-512, `V3` AVX2 with FMA.
    kernels: String,
    /// f32 lanes of a vector.
    lanes: usize,
}

#[derive(Debug, Serialize)]
struct Cuda {
    /// Newest CUDA version that the driver runs.
    driver: Option<String>,
    gpus: Vec<Gpu>,
    /// Kernels compiled into this program.
    kernels: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Gpu {
    name: String,
    capability: String,
    memory: usize,
}

#[derive(Debug, Serialize)]
struct Missing {
    what: String,
    how: String,
}

/// Runs `hdc doctor`.
pub fn run(args: Args) -> Result<()> {
    let report = examine();
    let text = if args.json {
        let json = serde_json::to_string(&report).expect("text and numbers are JSON");
        format!("{json}\n")
    } else {
        describe(&report)
    };
    write!(std::io::stdout(), "{text}").map_err(|e| Error::io("write", "standard output", e))
}

fn examine() -> Report {
    let mut missing = Vec::new();
    let mut lacks = |what: String, how: &str| missing.push(Missing { what, how: how.into() });
    let host = device::host();
    let arch = format!("{:?}", pulp::Arch::new());
    let kernels = arch.split(['(', ' ']).next().unwrap_or_default().to_owned();
    if kernels == "Scalar" {
        lacks("vector instructions of the CPU".into(), "use a CPU with AVX2 and FMA, AVX-512 or NEON");
    }
    let mut program = |name: &str| {
        let version = version(name);
        if version.is_none() {
            let how = "needed by `hdc ingest` only: `apt install ffmpeg` or `conda install ffmpeg`";
            lacks(format!("{name} on PATH"), how);
        }
        version
    };
    let (ffmpeg, ffprobe) = (program("ffmpeg"), program("ffprobe"));
    let driver = match device::driver() {
        Ok(None) => {
            lacks("an NVIDIA driver".into(), "install one, release 580 or later; the CPU needs none");
            None
        }
        Ok(Some(driver)) => {
            if driver.gpus.is_empty() {
                lacks("an NVIDIA GPU".into(), "the driver is there and finds none; the CPU needs none");
            }
            Some(driver)
        }
        Err(Error::Device { what, hint }) => {
            lacks(format!("a working NVIDIA driver: {what}"), &hint);
            None
        }
        Err(e) => {
            lacks(format!("a working NVIDIA driver: {e}"), "see the message");
            None
        }
    };
    if device::kernels().is_empty() {
        let how = "run tools/setup, or set HDC_NVCC to the path of nvcc, then build again";
        lacks("CUDA kernels in this program".into(), how);
    }
    let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
    Report {
        version: env!("CARGO_PKG_VERSION"),
        cpu: Cpu {
            name: host.cpu,
            threads: host.threads,
            features: host.features,
            kernels,
            lanes: simd::registers::<f32>().0,
        },
        memory_available: host.available_memory,
        disk_free: rustix::fs::statvfs(".").ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize)),
        ffmpeg,
        ffprobe,
        cuda: Cuda {
            driver: driver.as_ref().map(|d| version(d.cuda)),
            gpus: driver
                .into_iter()
                .flat_map(|d| d.gpus)
                .map(|g| Gpu { name: g.name, capability: version(g.capability), memory: g.memory })
                .collect(),
            kernels: device::kernels().iter().map(|k| k.name).collect(),
        },
        missing,
    }
}

/// The first line of what a program says of its version; `None` if it cannot be run.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("-version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn describe(r: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<12}{value}").expect("writing to a String cannot fail");
    };
    let gib =
        |bytes: Option<u64>| bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / 1.074e9));
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "not found".into());
    line("hdc", r.version.into());
    line("CPU", r.cpu.name.clone().unwrap_or_else(|| "unknown".into()));
    line("threads", r.cpu.threads.to_string());
    let features = if r.cpu.features.is_empty() { "none".into() } else { r.cpu.features.join(", ") };
    line("vectors", format!("{} ({} f32 lanes); has {features}", r.cpu.kernels, r.cpu.lanes));
    line("memory", format!("{} available", gib(r.memory_available)));
    line("disk", format!("{} free here", gib(r.disk_free)));
    line("ffmpeg", or_none(&r.ffmpeg));
    line("ffprobe", or_none(&r.ffprobe));
    line("driver", r.cuda.driver.as_ref().map_or("not found".into(), |v| format!("CUDA {v}")));
    for gpu in &r.cuda.gpus {
        let memory = gib(Some(gpu.memory as u64));
        line("GPU", format!("{}, compute capability {}, {memory}", gpu.name, gpu.capability));
    }
    let kernels = if r.cuda.kernels.is_empty() { "none".into() } else { r.cuda.kernels.join(", ") };
    line("kernels", kernels);
    for Missing { what, how } in &r.missing {
        line("missing", format!("{what}\n{:<12}help: {how}", ""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_none_and_is_no_failure() {
        assert_eq!(version("hdc-no-such-program"), None);
    }

    #[test]
    fn whatever_is_missing_comes_with_a_remedy() {
        let report = examine();
        assert!(report.cpu.threads >= 1 && report.cpu.lanes >= 1);
        assert!(report.missing.iter().all(|m| !m.what.is_empty() && !m.how.is_empty()));
        assert_eq!(report.ffmpeg.is_none(), report.missing.iter().any(|m| m.what == "ffmpeg on PATH"));
        assert_eq!(report.cuda.kernels.is_empty(), report.missing.iter().any(|m| m.what.contains("kernels")));
        let text = describe(&report);
        assert!(text.contains("threads") && text.contains("kernels"), "{text}");
    }
}
