//! Values of 32 lanes: registers, and the arithmetic, one table row an instruction.

pub mod alu;
pub mod arithmetic;
mod common;
mod rare;
pub mod registers;
mod table;
pub mod test;
