//! Statements of a function's body (PTX ISA, sections 4.3 "Statements" and 11 "Directives").

use super::ParseError;
use super::ast::{Instruction, Space, Statement};
use super::cursor::Cursor;
use super::lexer::Token;
use super::variable::space;

/// How deep blocks may nest. nvcc nests two or three deep.
const MAX_DEPTH: u32 = 64;

impl Cursor<'_> {
    /// The statements of a block, after its `{` and up to its `}`. `depth` is the number of blocks around it.
    pub(super) fn block(&mut self, depth: u32) -> Result<Vec<Statement>, ParseError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(&format!("blocks nest more than {MAX_DEPTH} deep")));
        }
        let mut statements = Vec::new();
        while !self.accept('}')? {
            match self.token {
                Token::Symbol('{') => {
                    self.advance()?;
                    statements.push(Statement::Block(self.block(depth + 1)?));
                }
                Token::Directive(name) => {
                    let line = self.line();
                    self.advance()?;
                    self.directive(name, line, &mut statements)?;
                }
                Token::Symbol('@') => {
                    self.advance()?;
                    let negated = self.accept('!')?;
                    let guard = (self.register()?, negated);
                    statements.push(Statement::Instruction(self.instruction(Some(guard))?));
                }
                Token::Word(name) if !name.contains('.') => {
                    self.label_or_instruction(name, &mut statements)?
                }
                Token::Word(_) => statements.push(Statement::Instruction(self.instruction(None)?)),
                _ => return Err(self.unexpected("a statement or `}`")),
            }
        }
        Ok(statements)
    }

    /// A directive in a body, after its name.
    fn directive(
        &mut self,
        name: &str,
        line: u32,
        statements: &mut Vec<Statement>,
    ) -> Result<(), ParseError> {
        match name {
            ".reg" => self.registers(statements),
            ".loc" => {
                statements.push(self.location()?);
                Ok(())
            }
            ".pragma" => self.pragma(),
            ".branchtargets" | ".calltargets" | ".callprototype" => {
                Err(Self::error(line, format!("`{name}` needs a label")))
            }
            _ => match space(name) {
                Some(space @ (Space::Shared | Space::Local | Space::Param)) => {
                    self.variables(space, false, |variable| statements.push(Statement::Variable(variable)))
                }
                _ => Err(Self::error(line, format!("directive `{name}` is not supported in a function"))),
            },
        }
    }

    /// A statement that begins with an identifier.
    fn label_or_instruction(
        &mut self,
        name: &str,
        statements: &mut Vec<Statement>,
    ) -> Result<(), ParseError> {
        let line = self.line();
        self.advance()?;
        if !self.accept(':')? {
            statements.push(Statement::Instruction(self.operands(None, name, line)?));
            return Ok(());
        }
        if self.accept_directive(".branchtargets")? {
            statements.push(Statement::BranchTargets(name.into(), self.names("a label")?));
        } else if self.accept_directive(".calltargets")? {
            self.names("a function")?;
        } else if self.accept_directive(".callprototype")? {
            self.prototype()?;
        } else {
            statements.push(Statement::Label(name.into()));
        }
        Ok(())
    }

    /// `.reg`: a type and names. A vector register is declared as its components.
    fn registers(&mut self, statements: &mut Vec<Statement>) -> Result<(), ParseError> {
        let element = self.element()?;
        let components = ["x", "y", "z", "w"].into_iter().take(element.lanes as usize);
        let mut names = Vec::new();
        loop {
            let name = self.name("a register's name")?;
            let count = if self.token == Token::Symbol('<') { Some(self.register_count()?) } else { None };
            match (element.lanes, count) {
                (1, count) => names.push((name.into(), count)),
                (_, None) => {
                    names.extend(components.clone().map(|component| (format!("{name}.{component}"), None)))
                }
                (_, Some(_)) => {
                    return Err(self.refuse(&format!("`{name}<n>` of vector registers is not supported")));
                }
            }
            if !self.accept(',')? {
                break;
            }
        }
        self.expect(';')?;
        statements.push(Statement::Registers(element.ty, names));
        Ok(())
    }

    /// `<n>`
    fn register_count(&mut self) -> Result<u32, ParseError> {
        self.expect('<')?;
        let count = self.small("a number of registers")?;
        self.expect('>')?;
        Ok(count)
    }

    /// `.loc file line column`, and where that is inlined: `, function_name label+bytes, inlined_at file line column`.
    fn location(&mut self) -> Result<Statement, ParseError> {
        let file = self.small("a file's index")?;
        let line = self.small("a line")?;
        self.small("a column")?;
        let mut caller = None;
        while self.accept(',')? {
            if self.accept_word("function_name")? {
                self.name("the label of a function's name")?;
                self.offset()?;
            } else if self.accept_word("inlined_at")? {
                caller = Some((self.small("a file's index")?, self.small("a line")?));
                self.small("a column")?;
            } else {
                return Err(self.unexpected("`function_name` or `inlined_at`"));
            }
        }
        Ok(Statement::Location { file, line, caller })
    }

    /// Names up to `;`; at least one.
    fn names(&mut self, what: &str) -> Result<Vec<String>, ParseError> {
        let mut names = vec![self.name(what)?.into()];
        while self.accept(',')? {
            names.push(self.name(what)?.into());
        }
        self.expect(';')?;
        Ok(names)
    }

    /// An instruction, from its opcode on.
    fn instruction(&mut self, guard: Option<(String, bool)>) -> Result<Instruction, ParseError> {
        let line = self.line();
        let Token::Word(opcode) = self.token else { return Err(self.unexpected("an instruction")) };
        self.advance()?;
        self.operands(guard, opcode, line)
    }

    /// An instruction, after the opcode and its modifiers so far.
    fn operands(
        &mut self,
        guard: Option<(String, bool)>,
        opcode: &str,
        line: u32,
    ) -> Result<Instruction, ParseError> {
        if !opcode.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(Self::error(line, format!("expected an instruction, found {}", Token::Word(opcode))));
        }
        let mut opcode: Vec<String> = opcode.split('.').map(Into::into).collect();
        // A blank may stand before a modifier.
        while let Token::Directive(modifier) = self.token {
            opcode.push(modifier.trim_start_matches('.').into());
            self.advance()?;
        }
        let mut operands = Vec::new();
        if !self.accept(';')? {
            operands.push(self.operand()?);
            while !self.accept(';')? {
                if !self.accept(',')? {
                    return Err(self.unexpected("`,` or `;`"));
                }
                operands.push(self.operand()?);
            }
        }
        Ok(Instruction { guard, opcode, operands, line })
    }
}
