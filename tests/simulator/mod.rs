//! Finds the simulated GPU, which is built with the tests.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use hdc::device::{Device, kernels, use_driver};

/// The simulator's library, which cargo puts beside the tests; `None`, with a line that says so, if it or the kernels are
/// missing.
pub fn library() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let folders = test.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("libptxsim.so")).find(|library| library.is_file());
    let found = found.filter(|_| !kernels().is_empty());
    if found.is_none() {
        let required = std::env::var_os("HDC_REQUIRE_KERNELS").is_some();
        assert!(
            !required,
            "no libptxsim.so beside the tests, or no kernels: run tools/setup, then tools/test"
        );
        println!("skipped: no libptxsim.so (cargo build --workspace), or no nvcc at build time");
    }
    found
}

/// The device, opened once: the simulated one, or with HDC_TEST_GPU that of the machine.
pub fn device() -> Option<Arc<Device>> {
    static DEVICE: OnceLock<Option<Arc<Device>>> = OnceLock::new();
    let open = || {
        if std::env::var_os("HDC_TEST_GPU").is_none() {
            use_driver(&library()?).unwrap();
        }
        Some(Device::open(0).unwrap())
    };
    DEVICE.get_or_init(open).clone()
}
