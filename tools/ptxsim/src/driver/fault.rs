//! A launch that fails on purpose: `PTXSIM_FAULT=kernel:n` fails the n-th launch of a kernel as an access outside any
//! allocation would.
//!
//! Launches are counted over the process, from 1, as they are queued: those of a graph each time that it is launched,
//! those that a capture records not at all. The one that fails does not run, so its memory stays as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::api::refuse;
use super::status::Status;
use super::work::{Launch, Work};

/// Which launch fails.
#[derive(Debug)]
pub(super) struct Fault {
    kernel: String,
    nth: u64,
    /// Launches of the kernel so far.
    launches: AtomicU64,
}

impl Fault {
    /// As `PTXSIM_FAULT` says, if it does.
    ///
    /// # Errors
    /// The variable and its value, if it is not a kernel and a number.
    pub(super) fn from_env() -> Result<Option<Fault>, String> {
        std::env::var("PTXSIM_FAULT")
            .ok()
            .filter(|v| !v.is_empty())
            .map(|text| Fault::parse(&text))
            .transpose()
    }

    fn parse(text: &str) -> Result<Fault, String> {
        let parts = text.rsplit_once(':').and_then(|(kernel, n)| Some((kernel, n.parse::<u64>().ok()?)));
        match parts {
            Some((kernel, nth)) if !kernel.is_empty() && nth > 0 => {
                Ok(Fault { kernel: kernel.to_owned(), nth, launches: AtomicU64::new(0) })
            }
            _ => Err(format!(
                "PTXSIM_FAULT is {text}; it is a kernel's name and which of its launches fails, from 1: kernel:n"
            )),
        }
    }

    /// What is queued for this work: itself, or its failure. Counts launches of the kernel.
    pub(super) fn queued(&self, work: Work) -> Work {
        match work {
            Work::Launch(launch) if launch.kernel.name == self.kernel => {
                let before = self.launches.fetch_add(1, Ordering::Relaxed);
                if before + 1 == self.nth { Work::Fault(launch) } else { Work::Launch(launch) }
            }
            other => other,
        }
    }

    /// Fails the launch.
    pub(super) fn fail(&self, launch: &Arc<Launch>) -> Status {
        let (name, nth) = (&launch.kernel.name, self.nth);
        refuse(
            Status::ILLEGAL_ADDRESS,
            format_args!("launch {nth} of {name} fails with an illegal address, injected by PTXSIM_FAULT"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_kernel_and_a_number() {
        let fault = Fault::parse("slot_pool_f32:3").unwrap();
        assert_eq!((fault.kernel.as_str(), fault.nth), ("slot_pool_f32", 3));
        for bad in
            ["slot_pool", "slot_pool:", ":1", "slot_pool:0", "slot_pool:-1", "slot_pool:x", "a:1:b", ":"]
        {
            let why = Fault::parse(bad).unwrap_err();
            assert!(why.starts_with(&format!("PTXSIM_FAULT is {bad}; ")) && !why.contains('\n'), "{why}");
        }
    }
}
