//! Tokens of PTX text (PTX ISA, section 4.1 "Source format", 4.4 "Identifiers" and 4.5 "Constants").

use std::fmt;

use super::ParseError;

/// A token; its text borrows from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An identifier and the modifiers that follow without a blank: `%r1`, `%tid.x`, `ld.shared::cta.b32`, `_`.
    Word(&'a str),
    /// A directive or type with its dot: `.reg`, `.b32`, `.shared::cta`.
    Directive(&'a str),
    /// A number as written, of any of the forms in [`super::constant`]; its sign is a symbol before it.
    Number(&'a str),
    /// What stands between the quotation marks.
    Text(&'a str),
    /// A punctuation mark.
    Symbol(char),
    /// The end of the source.
    End,
}

/// How much of a token a message quotes, in characters.
const QUOTED: usize = 60;

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Directive(text) | Token::Number(text) => {
                let more = if text.chars().nth(QUOTED).is_some() { "…" } else { "" };
                write!(f, "`{}{more}`", text.chars().take(QUOTED).collect::<String>())
            }
            Token::Text(_) => f.write_str("a string"),
            Token::Symbol(c) => write!(f, "`{c}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// Cuts PTX text into tokens.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// The line of the token last returned, from 1.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>, ParseError> {
        self.skip_blanks()?;
        let bytes = self.rest.as_bytes();
        let Some(&first) = bytes.first() else { return Ok(Token::End) };
        let second = bytes.get(1).copied().unwrap_or(b' ');
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Ok(Token::Word(self.word())),
            b'$' | b'%' if is_name(second) => Ok(Token::Word(self.word())),
            b'0'..=b'9' => Ok(Token::Number(self.number())),
            b'.' if second.is_ascii_digit() => Ok(Token::Number(self.number())),
            b'.' if second.is_ascii_alphabetic() || second == b'_' => {
                let end = modifier(bytes, 1);
                Ok(Token::Directive(self.take(end)))
            }
            b'"' => self.text(),
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b',' | b';' | b':' | b'=' | b'+'
            | b'-' | b'!' | b'|' | b'@' | b'~' | b'*' | b'/' | b'&' | b'^' | b'?' => {
                self.take(1);
                Ok(Token::Symbol(char::from(first)))
            }
            _ => {
                let character = self.rest.chars().next().unwrap_or_default();
                Err(self.error(format!("unexpected character {character:?}")))
            }
        }
    }

    /// Cuts off the first `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            let blank = self.rest.bytes().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
            self.skip(blank);
            if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(self.error("the comment that begins here does not end".into()));
                };
                self.skip(length + 4);
            } else {
                return Ok(());
            }
        }
    }

    /// Drops `length` bytes, counting lines; only blanks and comments span lines.
    fn skip(&mut self, length: usize) {
        let lines = self.take(length).bytes().filter(|&b| b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
    }

    /// An identifier with its modifiers.
    fn word(&mut self) -> &'a str {
        let bytes = self.rest.as_bytes();
        let mut end = name(bytes, 1);
        while bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(|&b| is_name(b)) {
            end = modifier(bytes, end + 1);
        }
        self.take(end)
    }

    /// A number: digits, letters and dots, and a sign where it belongs to a decimal exponent.
    fn number(&mut self) -> &'a str {
        let bytes = self.rest.as_bytes();
        // In `0x1e+4` and `0f3F80000E` the `e` is a digit.
        let decimal = !(bytes.first() == Some(&b'0') && bytes.get(1).is_some_and(u8::is_ascii_alphabetic));
        let mut end = 1;
        while let Some(&b) = bytes.get(end) {
            let exponent =
                decimal && matches!(bytes.get(end - 1), Some(b'e' | b'E')) && matches!(b, b'+' | b'-');
            if !(is_name(b) || b == b'.' || exponent) {
                break;
            }
            end += 1;
        }
        self.take(end)
    }

    /// A string, on one line. A backslash keeps the quotation mark after it from ending the string.
    fn text(&mut self) -> Result<Token<'a>, ParseError> {
        let mut escaped = true; // The first byte is the opening mark.
        let length = self.rest.bytes().position(|b| {
            let end = b == b'\n' || (b == b'"' && !escaped);
            escaped = b == b'\\' && !escaped;
            end
        });
        match length.filter(|&n| self.rest.as_bytes().get(n) == Some(&b'"')) {
            Some(length) => {
                let text = self.take(length + 1);
                Ok(Token::Text(text.get(1..length).unwrap_or_default()))
            }
            None => Err(self.error("the string that begins here does not end on its line".into())),
        }
    }

    fn error(&self, message: String) -> ParseError {
        ParseError { line: self.line, message }
    }
}

/// Whether a byte can follow in an identifier.
fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$'
}

/// The end of the run of identifier bytes from `at` on.
fn name(bytes: &[u8], at: usize) -> usize {
    at + bytes.iter().skip(at).take_while(|&&b| is_name(b)).count()
}

/// The end of the modifier whose first byte after the dot is at `at`; `::` and what follows belongs to it.
fn modifier(bytes: &[u8], at: usize) -> usize {
    let mut end = name(bytes, at);
    while bytes.get(end) == Some(&b':')
        && bytes.get(end + 1) == Some(&b':')
        && bytes.get(end + 2).is_some_and(|&b| is_name(b))
    {
        end = name(bytes, end + 2);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
        let mut lexer = Lexer::new(text);
        let mut all = Vec::new();
        loop {
            match lexer.next()? {
                Token::End => return Ok(all),
                token => all.push(token),
            }
        }
    }

    #[test]
    fn words_keep_their_modifiers() {
        let text = "W:ld.shared::cta.L2::128B.5d %tid.x, _";
        let want = [
            Token::Word("W"),
            Token::Symbol(':'),
            Token::Word("ld.shared::cta.L2::128B.5d"),
            Token::Word("%tid.x"),
            Token::Symbol(','),
            Token::Word("_"),
        ];
        assert_eq!(tokens(text).unwrap(), want);
    }

    #[test]
    fn glued_directives_come_apart() {
        let want =
            [Token::Directive(".reg"), Token::Directive(".b32"), Token::Word("$a"), Token::Word("_b$1")];
        assert_eq!(tokens(".reg.b32 $a _b$1").unwrap(), want);
    }

    #[test]
    fn numbers_take_the_sign_of_an_exponent_alone() {
        let want = [Token::Number("1.5e-3"), Token::Symbol('+'), Token::Number("0x1e"), Token::Symbol('+')];
        assert_eq!(tokens("1.5e-3+0x1e+").unwrap(), want);
        assert_eq!(tokens(".5").unwrap(), [Token::Number(".5")]);
    }

    #[test]
    fn comments_and_blanks_count_lines() {
        let mut lexer = Lexer::new("// é\n/* a\n/*/\r\n\t\x0ba");
        assert_eq!(lexer.next().unwrap(), Token::Word("a"));
        assert_eq!(lexer.line(), 4);
    }

    #[test]
    fn strings_may_hold_escaped_quotes() {
        assert_eq!(tokens(r#""a\"é" "" "\\""#).unwrap(), [r#"a\"é"#, "", r"\\"].map(Token::Text));
    }

    #[test]
    fn what_is_no_token_is_named_with_its_line() {
        for (text, line, message) in [
            ("\n#", 2, "unexpected character '#'"),
            ("é", 1, "unexpected character 'é'"),
            ("% ", 1, "unexpected character '%'"),
            ("a .", 1, "unexpected character '.'"),
            ("a\0", 1, "unexpected character '\\0'"),
            ("\n\"a\n\"", 2, "the string that begins here does not end on its line"),
            ("\"a\\\"", 1, "the string that begins here does not end on its line"),
            ("a\n /*/", 2, "the comment that begins here does not end"),
        ] {
            assert_eq!(tokens(text), Err(ParseError { line, message: message.into() }), "{text:?}");
        }
    }
}
