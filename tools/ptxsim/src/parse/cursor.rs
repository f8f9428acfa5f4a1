//! A cursor over the tokens of a text, one ahead, and the rules that every part of the grammar uses.

use super::ParseError;
use super::constant::Constant;
use super::lexer::{Lexer, Token};

/// How many zero elements the nested initialisers of a module may leave out before a later element, all together.
/// It bounds the tree's size: `x[1000][1000000] = {{1}, {2}}` is a short text.
const PADDING: u64 = 1 << 20;

/// The parser's state: the next token, and the tokens after it.
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    /// The next token.
    pub(super) token: Token<'a>,
    /// Elements that initialisers may still leave out.
    pub(super) padding: u64,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `text`.
    pub(super) fn new(text: &'a str) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self { lexer, token, padding: PADDING })
    }

    /// The line of the next token.
    pub(super) fn line(&self) -> u32 {
        self.lexer.line()
    }

    /// Goes one token ahead.
    pub(super) fn advance(&mut self) -> Result<(), ParseError> {
        self.token = self.lexer.next()?;
        Ok(())
    }

    /// Whether the next token is `symbol`; goes past it if so.
    pub(super) fn accept(&mut self, symbol: char) -> Result<bool, ParseError> {
        self.accept_token(Token::Symbol(symbol))
    }

    /// Whether the next token is the directive `name`, with its dot; goes past it if so.
    pub(super) fn accept_directive(&mut self, name: &str) -> Result<bool, ParseError> {
        self.accept_token(Token::Directive(name))
    }

    /// Whether the next token is the word `name`; goes past it if so.
    pub(super) fn accept_word(&mut self, name: &str) -> Result<bool, ParseError> {
        self.accept_token(Token::Word(name))
    }

    fn accept_token(&mut self, token: Token<'_>) -> Result<bool, ParseError> {
        let same = self.token == token;
        if same {
            self.advance()?;
        }
        Ok(same)
    }

    /// Goes past `symbol`.
    pub(super) fn expect(&mut self, symbol: char) -> Result<(), ParseError> {
        if self.accept(symbol)? { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    /// Goes past the directive `name`, given with its dot.
    pub(super) fn expect_directive(&mut self, name: &str) -> Result<(), ParseError> {
        if self.accept_directive(name)? { Ok(()) } else { Err(self.unexpected(&format!("`{name}`"))) }
    }

    /// An identifier without modifiers: a name that a declaration or label gives.
    pub(super) fn name(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.token {
            Token::Word(name) if name != "_" && !name.contains('.') => {
                self.advance()?;
                Ok(name)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// A string.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.token {
            Token::Text(text) => {
                self.advance()?;
                Ok(text)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// An integer without a sign.
    pub(super) fn unsigned(&mut self, what: &str) -> Result<u64, ParseError> {
        match self.token {
            Token::Number(text) => match Constant::read(text) {
                Some(Constant::Integer(value)) => {
                    self.advance()?;
                    Ok(value.cast_unsigned())
                }
                _ => Err(self.unexpected(what)),
            },
            _ => Err(self.unexpected(what)),
        }
    }

    /// An integer without a sign, of 32 bits.
    pub(super) fn small(&mut self, what: &str) -> Result<u32, ParseError> {
        let line = self.line();
        let value = self.unsigned(what)?;
        u32::try_from(value).map_err(|_| Self::error(line, format!("{value} is too large for {what}")))
    }

    /// A constant with an optional `-`, `+` or (an integer) `~`.
    pub(super) fn constant(&mut self) -> Result<Constant, ParseError> {
        let (line, sign) = (self.line(), self.token);
        if matches!(sign, Token::Symbol('-' | '+' | '~')) {
            self.advance()?;
        }
        let Token::Number(text) = self.token else { return Err(self.unexpected("a number")) };
        let Some(value) = Constant::read(text) else {
            return Err(self.refuse(&format!("the number {} is malformed or out of range", self.token)));
        };
        self.advance()?;
        match (sign, value) {
            (Token::Symbol('-'), value) => Ok(value.negative()),
            (Token::Symbol('~'), Constant::Integer(value)) => Ok(Constant::Integer(!value)),
            (Token::Symbol('~'), _) => Err(Self::error(line, "`~` before a floating-point constant".into())),
            (_, value) => Ok(value),
        }
    }

    /// Bytes added to an address: `+8`, `+-8`, or nothing.
    pub(super) fn offset(&mut self) -> Result<Option<i64>, ParseError> {
        if !self.accept('+')? {
            return Ok(None);
        }
        let line = self.line();
        match self.constant()? {
            Constant::Integer(value) => Ok(Some(value)),
            _ => Err(Self::error(line, "a floating-point constant as an offset".into())),
        }
    }

    /// The error of a next token that is not `wanted`.
    pub(super) fn unexpected(&self, wanted: &str) -> ParseError {
        self.refuse(&format!("expected {wanted}, found {}", self.token))
    }

    /// An error on the line of the next token.
    pub(super) fn refuse(&self, message: &str) -> ParseError {
        Self::error(self.line(), message.into())
    }

    /// An error on a line.
    pub(super) fn error(line: u32, message: String) -> ParseError {
        ParseError { line, message }
    }
}
