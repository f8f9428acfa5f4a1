//! The device that operations are tested on: the simulated one, whose checker makes any race, stray access or read of memory
//! that nothing wrote an error, or with HDC_TEST_GPU that of the machine.

use std::sync::Arc;

use hdc::device::{Command, Device};
use hdc::eval::selftest;
use hdc::eval::selftest::problems::Case;
use hdc::ops::Precision;

#[path = "../simulator/mod.rs"]
mod simulator;

pub use simulator::device;

/// Both precisions of what runs on a device.
pub const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// Fails unless a problem keeps the contract of a device in both precisions, by the self-test's own check; without a
/// device, says so and passes.
pub fn check(case: &Case) {
    let Some(device) = device() else { return };
    for precision in PRECISIONS {
        let faults = selftest::try_case(&device, case, &*case.op(), precision);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

/// Runs commands to their end; fails with what the device says.
pub fn run(device: &Arc<Device>, commands: &[Command]) {
    selftest::run(device, commands).unwrap();
}
