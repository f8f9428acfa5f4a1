//! Arithmetic instructions by name.

use super::common::Common;
use super::rare::Rare;
pub use super::table::{Operands, Signature};

/// An arithmetic instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alu {
    /// Of the table that is compiled with the walk.
    Common(Common),
    /// Of the other one.
    Rare(Rare),
}

impl Alu {
    /// By PTX name, as the tables spell it.
    pub fn named(name: &str) -> Option<Alu> {
        Common::named(name).map(Alu::Common).or_else(|| Rare::named(name).map(Alu::Rare))
    }

    /// What it reads and writes.
    pub fn signature(self) -> Signature {
        match self {
            Alu::Common(common) => common.signature(),
            Alu::Rare(rare) => rare.signature(),
        }
    }
}
