//! PTX text to a syntax tree (PTX ISA, section 4 "Syntax" and section 5 "State spaces, types and variables").
//!
//! The parser takes what nvcc emits and what inline assembly adds to it. It checks the grammar only: names,
//! opcodes and types of operands are the business of who reads the tree. It runs in linear time, and its stack and
//! the memory of the tree are bounded by the length of the text.

pub mod ast;
mod body;
mod constant;
mod cursor;
mod lexer;
mod module;
mod operand;
mod variable;

/// A mistake in PTX text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong, naming what stands there.
    pub message: String,
}

/// Parses a module.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(text: &str) -> Result<ast::Module, ParseError> {
    cursor::Cursor::new(text)?.module()
}
