//! Operands (PTX ISA, section 6 "Instruction operands").

use super::ParseError;
use super::ast::Operand;
use super::constant::Constant;
use super::cursor::Cursor;
use super::lexer::Token;

impl Cursor<'_> {
    /// An operand of an instruction.
    pub(super) fn operand(&mut self) -> Result<Operand, ParseError> {
        if self.accept('{')? {
            return Ok(Operand::Vector(self.elements('}')?));
        }
        if self.accept('(')? {
            let empty = self.accept(')')?;
            return Ok(Operand::List(if empty { Vec::new() } else { self.elements(')')? }));
        }
        if self.accept('[')? {
            return self.address();
        }
        if self.accept('!')? {
            return Ok(Operand::Not(self.register()?));
        }
        let first = self.scalar()?;
        if !self.accept('|')? {
            return Ok(first);
        }
        Ok(Operand::Pair(Box::new(first), Box::new(self.scalar()?)))
    }

    /// A name with its component, such as `v.x`.
    pub(super) fn register(&mut self) -> Result<String, ParseError> {
        match self.token {
            Token::Word(name) if name != "_" => {
                self.advance()?;
                Ok(name.into())
            }
            _ => Err(self.unexpected("a register")),
        }
    }

    /// Scalars up to the bracket that closes them; at least one.
    fn elements(&mut self, close: char) -> Result<Vec<Operand>, ParseError> {
        let mut elements = vec![self.scalar()?];
        while !self.accept(close)? {
            if !self.accept(',')? {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
            elements.push(self.scalar()?);
        }
        Ok(elements)
    }

    /// A name, a name plus bytes, a constant, or `_`.
    fn scalar(&mut self) -> Result<Operand, ParseError> {
        match self.token {
            Token::Word(name) => {
                self.advance()?;
                match name {
                    "_" => Ok(Operand::Sink),
                    "WARP_SZ" => Ok(Operand::Integer(32)),
                    _ => Ok(match self.offset()? {
                        None => Operand::Name(name.into()),
                        Some(bytes) => Operand::NameOffset(name.into(), bytes),
                    }),
                }
            }
            Token::Number(_) | Token::Symbol('-' | '+' | '~') => Ok(match self.constant()? {
                Constant::Integer(value) => Operand::Integer(value),
                Constant::Single(bits) => Operand::Single(bits),
                Constant::Double(bits) => Operand::Double(bits),
            }),
            _ => Err(self.unexpected("an operand")),
        }
    }

    /// What follows `[`: an address, or a tensor map with coordinates.
    fn address(&mut self) -> Result<Operand, ParseError> {
        let line = self.line();
        let (base, bytes) = match self.scalar()? {
            Operand::NameOffset(name, bytes) => (Operand::Name(name), bytes),
            name @ Operand::Name(_) => (name, 0),
            integer @ Operand::Integer(_) => (integer, self.offset()?.unwrap_or(0)),
            _ => {
                return Err(Self::error(
                    line,
                    "an address begins with a register, a variable or an integer".into(),
                ));
            }
        };
        if self.accept(']')? {
            return Ok(Operand::Address(Box::new(base), bytes));
        }
        if !self.accept(',')? {
            return Err(self.unexpected("`]`, or `,` and coordinates"));
        }
        let map = match base {
            Operand::Name(name) if bytes != 0 => Operand::NameOffset(name, bytes),
            base => base,
        };
        self.expect('{')?;
        let mut coordinates = self.elements('}')?;
        if self.accept(',')? {
            self.expect('{')?;
            coordinates.push(Operand::Vector(self.elements('}')?));
        }
        self.expect(']')?;
        Ok(Operand::Tensor(Box::new(map), coordinates))
    }
}
