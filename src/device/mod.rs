//! Where arithmetic runs: what this machine offers, and which kernels were built in. With `ops/*/cuda.rs` the
//! only place that names cudarc.

mod driver;
mod host;
mod kernels;

use crate::Error;

pub use driver::{Driver, Gpu, driver};
pub use host::{Host, host, require_memory};
pub use kernels::{Kernel, kernels};

/// Why `--device cuda` cannot be used here: the engine that launches kernels is not part of this version. The
/// text also says what a GPU would want besides, so that it can be installed meanwhile.
pub fn no_cuda() -> Error {
    let mut lacks = Vec::new();
    match driver() {
        Ok(Some(driver)) if driver.gpus.is_empty() => lacks.push("the driver finds no GPU".to_owned()),
        Ok(Some(_)) => {}
        Ok(None) => lacks.push("there is no NVIDIA driver; install release 580 or later".to_owned()),
        Err(e) => lacks.push(e.to_string()),
    }
    if kernels().is_empty() {
        lacks.push("no kernels were built in; run tools/setup, or set HDC_NVCC, and build again".to_owned());
    }
    let mut what = "this version computes on the CPU only; the engine for CUDA is still to come".to_owned();
    for lack in lacks {
        what += &format!("\n  also: {lack}");
    }
    Error::device(what, "use --device cpu")
}

#[cfg(test)]
mod tests {
    #[test]
    fn asking_for_cuda_says_what_to_do_instead() {
        let text = super::no_cuda().to_string();
        assert!(text.contains("--device cpu") && text.contains("CUDA"), "{text}");
    }
}
