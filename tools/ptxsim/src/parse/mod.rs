//! PTX text to a syntax tree (PTX ISA, section 4 "Syntax" and section 5 "State spaces, types and variables").

pub mod ast;

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
    let _ = text;
    todo!()
}
