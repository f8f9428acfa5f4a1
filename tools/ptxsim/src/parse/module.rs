//! Module scope: the header, variables and functions (PTX ISA, sections 5.4 "Variables", 7.1 "Function
//! declarations and definitions" and 11 "Directives").

use super::ParseError;
use super::ast::{Function, Module, Space, Variable};
use super::cursor::Cursor;
use super::lexer::Token;
use super::variable::space;

/// How many `.alias` a module may have; each copies a function.
const MAX_ALIASES: usize = 64;

impl Cursor<'_> {
    /// A module.
    pub(super) fn module(&mut self) -> Result<Module, ParseError> {
        let mut module = self.header()?;
        let mut aliases = 0;
        while self.token != Token::End {
            let line = self.line();
            let Token::Directive(name) = self.token else { return Err(self.unexpected("a directive")) };
            self.advance()?;
            match name {
                ".file" => module.files.push(self.file()?),
                ".section" => self.section()?,
                ".pragma" => self.pragma()?,
                ".alias" if aliases == MAX_ALIASES => {
                    return Err(Self::error(line, format!("more than {MAX_ALIASES} `.alias` directives")));
                }
                ".alias" => {
                    aliases += 1;
                    self.alias(&mut module.functions)?;
                }
                ".visible" | ".weak" | ".common" => self.declaration(&mut module, false)?,
                ".extern" => self.declaration(&mut module, true)?,
                _ => self.declared(name, line, &mut module, false)?,
            }
        }
        Ok(module)
    }

    /// `.version`, `.target` and `.address_size`.
    fn header(&mut self) -> Result<Module, ParseError> {
        self.expect_directive(".version")?;
        let version = match self.token {
            Token::Number(text) => {
                text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))
            }
            _ => None,
        };
        let Some(version) = version else { return Err(self.unexpected("a version such as `8.4`")) };
        self.advance()?;
        self.expect_directive(".target")?;
        let target = self.name("a target such as `sm_90a`")?.to_string();
        while self.accept(',')? {
            self.name("an option of `.target`")?;
        }
        if self.accept_directive(".address_size")? {
            let line = self.line();
            let bits = self.unsigned("an address size")?;
            if bits != 64 {
                return Err(Self::error(
                    line,
                    format!("addresses of {bits} bits are not supported, only of 64"),
                ));
            }
        }
        Ok(Module { version, target, ..Module::default() })
    }

    /// `.file index "path"`, with an optional time and size, which are dropped.
    fn file(&mut self) -> Result<(u32, String), ParseError> {
        let index = self.small("a file's index")?;
        let path = self.text("a path")?.into();
        if self.accept(',')? {
            self.unsigned("a time")?;
            self.expect(',')?;
            self.unsigned("a size")?;
        }
        Ok((index, path))
    }

    /// A debug section, which is skipped.
    fn section(&mut self) -> Result<(), ParseError> {
        match self.token {
            Token::Directive(name) if name.starts_with(".debug") => self.advance()?,
            _ => return Err(self.unexpected("a debug section")),
        }
        self.expect('{')?;
        let mut depth = 1_u32;
        while depth > 0 {
            match self.token {
                Token::Symbol('{') => depth = depth.saturating_add(1),
                Token::Symbol('}') => depth -= 1,
                Token::End => return Err(self.unexpected("`}`")),
                _ => {}
            }
            self.advance()?;
        }
        Ok(())
    }

    /// The strings of `.pragma`, which are dropped: all that exist advise the optimiser.
    pub(super) fn pragma(&mut self) -> Result<(), ParseError> {
        self.text("a string")?;
        while self.accept(',')? {
            self.text("a string")?;
        }
        self.expect(';')
    }

    /// `.alias name, of;`: gives the declared function `name` the parameters and body of `of`, as defined so far.
    fn alias(&mut self, functions: &mut [Function]) -> Result<(), ParseError> {
        let line = self.line();
        let name = self.name("a function")?;
        self.expect(',')?;
        let of = self.name("a function")?;
        self.expect(';')?;
        let aliased = functions.iter().find(|f| f.name == of && f.body.is_some() && !f.entry).cloned();
        let Some(aliased) = aliased else {
            return Err(Self::error(
                line,
                format!("`.alias` of `{of}`, which is no device function defined above"),
            ));
        };
        let Some(declared) = functions.iter_mut().find(|f| f.name == name && f.body.is_none() && !f.entry)
        else {
            return Err(Self::error(
                line,
                format!("`.alias` for `{name}`, which no `.func` above declares only"),
            ));
        };
        *declared = Function { name: name.into(), line: declared.line, ..aliased };
        Ok(())
    }

    /// What follows a linkage directive.
    fn declaration(&mut self, module: &mut Module, external: bool) -> Result<(), ParseError> {
        let line = self.line();
        let Token::Directive(name) = self.token else {
            return Err(self.unexpected("a function or a variable"));
        };
        self.advance()?;
        self.declared(name, line, module, external)
    }

    /// A function or variables, after the directive that says which.
    fn declared(
        &mut self,
        name: &str,
        line: u32,
        module: &mut Module,
        external: bool,
    ) -> Result<(), ParseError> {
        match name {
            ".entry" => module.functions.push(self.function(true, line)?),
            ".func" => module.functions.push(self.function(false, line)?),
            _ => match space(name) {
                Some(space @ (Space::Global | Space::Const | Space::Shared)) => {
                    self.variables(space, external, |variable| module.variables.push(variable))?;
                }
                _ => {
                    return Err(Self::error(
                        line,
                        format!("directive `{name}` is not supported at module scope"),
                    ));
                }
            },
        }
        Ok(())
    }

    /// A kernel or device function, after `.entry` or `.func`.
    fn function(&mut self, entry: bool, line: u32) -> Result<Function, ParseError> {
        let returns =
            if !entry && self.token == Token::Symbol('(') { self.parameters()? } else { Vec::new() };
        let name = self.name("a function's name")?.to_string();
        let params = if self.token == Token::Symbol('(') { self.parameters()? } else { Vec::new() };
        let mut directives = Vec::new();
        while let Token::Directive(name) = self.token {
            let at = self.line();
            self.advance()?;
            if name == ".pragma" {
                self.pragma()?;
            } else {
                directives.push((name.into(), self.performance(name, at)?));
            }
        }
        let body = if self.accept('{')? {
            Some(self.block(0)?)
        } else if self.accept(';')? {
            None
        } else {
            return Err(self.unexpected("`{`, `;` or a performance directive"));
        };
        Ok(Function { name, entry, returns, params, directives, body, line })
    }

    /// The numbers of a directive between a function's parameters and its body.
    fn performance(&mut self, name: &str, line: u32) -> Result<Vec<u32>, ParseError> {
        let most = match name {
            ".noreturn" | ".explicitcluster" | ".blocksareclusters" => 0,
            ".maxnreg"
            | ".minnctapersm"
            | ".maxnctapersm"
            | ".maxclusterrank"
            | ".abi_preserve"
            | ".abi_preserve_control" => 1,
            ".maxntid" | ".reqntid" | ".reqnctapercluster" => 3,
            _ => return Err(Self::error(line, format!("directive `{name}` of a function is not supported"))),
        };
        let mut numbers = Vec::new();
        while numbers.len() < most && (numbers.is_empty() || self.accept(',')?) {
            numbers.push(self.small("a number")?);
        }
        Ok(numbers)
    }

    /// `.callprototype`, which is dropped: the call's own arguments say as much.
    pub(super) fn prototype(&mut self) -> Result<(), ParseError> {
        if self.token == Token::Symbol('(') {
            self.parameters()?;
        }
        if !self.accept_word("_")? {
            return Err(self.unexpected("`_`"));
        }
        if self.token == Token::Symbol('(') {
            self.parameters()?;
        }
        while let Token::Directive(name) = self.token {
            let line = self.line();
            self.advance()?;
            self.performance(name, line)?;
        }
        self.expect(';')
    }

    /// Formal parameters in parentheses.
    fn parameters(&mut self) -> Result<Vec<Variable>, ParseError> {
        self.expect('(')?;
        let mut parameters = Vec::new();
        if self.accept(')')? {
            return Ok(parameters);
        }
        loop {
            parameters.push(self.parameter()?);
            if self.accept(')')? {
                return Ok(parameters);
            }
            if !self.accept(',')? {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
    }

    /// A formal parameter. `.ptr` describes what a pointer points to, and is dropped.
    fn parameter(&mut self) -> Result<Variable, ParseError> {
        let element = if self.accept_directive(".param")? {
            self.memory_element()?
        } else if self.accept_directive(".reg")? {
            self.element()?
        } else {
            return Err(self.unexpected("`.param` or `.reg`"));
        };
        if self.accept_directive(".ptr")? {
            if let Token::Directive(".global" | ".const" | ".local" | ".shared" | ".param" | ".generic") =
                self.token
            {
                self.advance()?;
            }
            self.align()?;
        }
        Ok(self.declarator(Space::Param, &element)?.0)
    }
}
