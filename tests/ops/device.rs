//! The device that operations are tested on: the simulated one, whose checker makes any race, stray access or read of memory
//! that nothing wrote an error, or with HDC_TEST_GPU that of the machine.

use std::sync::Arc;

use hdc::device::{Command, Device};
use hdc::eval::selftest;
use hdc::ops::{Op, Precision};

use crate::contract::Reference;
use crate::data::Kind;

#[path = "../simulator/mod.rs"]
mod simulator;

pub use simulator::device;

/// An operation with its types on the device, as the self-test has it.
pub struct Subject<'a> {
    pub label: String,
    pub op: &'a dyn Op<f64>,
    pub precision: Precision,
    pub input: Precision,
    pub output: Precision,
}

impl Subject<'_> {
    /// Fails unless the operation keeps the contract of a device; without one, says so and passes.
    pub fn check(self, reference: &Reference<'_, f64>, kind: Kind) {
        let Some(device) = device() else { return };
        let Self { label, op, precision, input, output } = self;
        let kind = match kind {
            Kind::Real => selftest::Kind::Real,
            Kind::Integer => selftest::Kind::Integer,
            Kind::Coarse => selftest::Kind::Coarse,
        };
        let reference = selftest::Reference { forward: reference.forward, backward: reference.backward };
        let subject = selftest::Subject { label, op, precision, input, output };
        if let Err(fault) = subject.check(&device, &reference, kind) {
            panic!("{fault}");
        }
    }
}

/// Runs commands to their end; fails with what the device says.
pub fn run(device: &Arc<Device>, commands: &[Command]) {
    selftest::run(device, commands).unwrap();
}
