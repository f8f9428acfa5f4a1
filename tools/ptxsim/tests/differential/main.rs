//! The machine against independent models of it: random programs in PTX run on the machine and in evaluators that
//! are written from the PTX ISA alone, by other methods, and every result is compared. `PTXSIM_PROGRAMS` sets the
//! number of straight-line programs, `PTXSIM_PROGRAM_SEED` where they start.

#![allow(clippy::precedence)] // shifts, masks and ors read as in C

#[path = "../common/mod.rs"]
mod common;
#[path = "../fragments/mod.rs"]
mod fragments;

mod convert;
mod exact;
mod float;
mod flow;
mod form;
mod integer;
mod memory;
mod straight;
mod tensor;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|_| panic!("{name} is {text}")),
        _ => default,
    }
}
