//! Where arithmetic runs: what this machine offers, and which kernels were built in. With `ops/*/cuda.rs` the
//! only place that names cudarc.

mod cuda;
mod driver;
mod host;
mod kernels;
mod launch;
mod memory;
mod status;
mod stream;

use crate::Error;

pub use cuda::{Device, Properties};
pub use driver::{Driver, Gpu, driver, use_driver};
pub use host::{Host, host, require_memory};
pub use kernels::{Kernel, kernels};
pub use launch::{Address, Command, Launch};
pub use memory::{Memory, Pinned};
pub use stream::{Event, Recording, Stream};

/// Why `--device cuda` cannot be used here, and what to install.
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
    Error::device(
        format!("CUDA cannot be used: {}", lacks.join("\n  also: ")),
        "mend that, or use --device cpu",
    )
}
