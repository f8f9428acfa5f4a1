//! The CPU and its memory.

use std::fs;

use crate::{Error, Result};

/// What the CPU side of this machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Model name of the CPU, where the system tells.
    pub cpu: Option<String>,
    /// Threads that this process may run at once.
    pub threads: usize,
    /// Instruction sets that the kernels know, narrowest first.
    pub features: Vec<&'static str>,
    /// Bytes that a new allocation may take without swapping, within the limit of the container; `None` where
    /// the system does not tell.
    pub available_memory: Option<u64>,
}

/// Looks at this machine.
pub fn host() -> Host {
    let read = |path: &str| fs::read_to_string(path).ok();
    Host {
        cpu: read("/proc/cpuinfo").as_deref().and_then(|text| field(text, "model name")).map(str::to_owned),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        features: features(),
        available_memory: available(
            read("/proc/meminfo").as_deref(),
            read("/sys/fs/cgroup/memory.max").as_deref(),
            read("/sys/fs/cgroup/memory.current").as_deref(),
        ),
    }
}

/// Checks that there is memory for `what`, which needs `bytes`: an allocation that fails ends the process, and
/// one that only seems to succeed lets the system end it later.
///
/// # Errors
/// [`Error::Device`] if there is not, with the figures; `hint` says what makes it smaller.
pub fn require_memory(what: &str, bytes: usize, hint: &str) -> Result<()> {
    match host().available_memory {
        Some(free) if bytes as u64 > free => {
            let gb = |bytes: f64| bytes / 1e9;
            let (needs, free) = (gb(bytes as f64), gb(free as f64));
            Err(Error::device(
                format!("{what} needs {needs:.1} GB of memory, {free:.1} GB are available"),
                hint,
            ))
        }
        _ => Ok(()),
    }
}

/// The smaller of what the kernel says is available and what the container has left of its limit.
fn available(meminfo: Option<&str>, limit: Option<&str>, used: Option<&str>) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let free = meminfo
        .and_then(|text| field(text, "MemAvailable"))
        .and_then(|v| number(v.trim_end_matches("kB")))
        .map(|kib| kib * 1024);
    let left =
        limit.and_then(number).zip(used.and_then(number)).map(|(limit, used)| limit.saturating_sub(used));
    free.into_iter().chain(left).min()
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    known.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    vec!["neon"] // part of the architecture
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_what_the_kernel_and_the_container_both_allow() {
        let meminfo = Some("MemTotal:  24000 kB\nMemFree: 10 kB\nMemAvailable:   2000 kB\n");
        assert_eq!(available(meminfo, None, None), Some(2_048_000));
        assert_eq!(available(meminfo, Some("max\n"), Some("5\n")), Some(2_048_000));
        assert_eq!(available(meminfo, Some("1000000\n"), Some("400000\n")), Some(600_000));
        assert_eq!(available(meminfo, Some("10\n"), Some("11\n")), Some(0));
        assert_eq!(available(None, None, None), None);
        assert_eq!(available(Some("MemAvailable: lots\n"), None, None), None);
    }

    #[test]
    fn what_does_not_fit_the_memory_is_refused_with_the_figures() {
        require_memory("a byte", 1, "").unwrap();
        let e = require_memory("a step", usize::MAX, "use less").unwrap_err().to_string();
        assert!(e.starts_with("a step needs 18446744073.7 GB") && e.ends_with("help: use less"), "{e}");
    }

    #[test]
    fn this_machine_has_a_thread() {
        assert!(host().threads >= 1);
    }
}
