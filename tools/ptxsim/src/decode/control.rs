//! Branches and calls.

use crate::lanes::alu::Operands;
use crate::lanes::registers::Reg;
use crate::parse::ast::{Function, Operand, Variable};

use super::instruction::Parts;
use super::scope::Binding;
use super::{DecodeError, Decoder};
use crate::program::form::Window;
use crate::program::{Code, Guard};

/// Calls expanded within calls.
const DEEPEST: usize = 32;
/// Instructions of a kernel, calls expanded.
const MOST: usize = 1 << 20;

impl Decoder<'_> {
    pub(super) fn control(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        parts.take("uni");
        match parts.base() {
            "bra" => {
                let [Operand::Name(name)] = self.count(parts, 1..=1)? else {
                    return self.error("bra needs a label");
                };
                let label = self.label(name)?;
                self.emit(Code::Branch(label), Operands::default());
                Ok(())
            }
            "brx" => {
                parts.take("idx");
                let [index, Operand::Name(name)] = self.count(parts, 2..=2)? else {
                    return self.error("brx.idx needs a table of targets");
                };
                let s0 = self.value(index, 32)?;
                let found = self.branch_targets.iter().rev().find(|(table, _)| table == name);
                let Some((_, targets)) = found else {
                    return self.error(format!("unknown table of targets {name}"));
                };
                let code = Code::Switch(targets.clone().into_boxed_slice());
                self.emit(code, Operands { d: Reg(0), s: [s0, Reg(0), Reg(0), Reg(0)] });
                Ok(())
            }
            "call" => self.call(parts),
            "ret" => {
                match self.returns.last() {
                    Some(&end) => self.emit(Code::Branch(end), Operands::default()),
                    None => self.emit(Code::Exit, Operands::default()),
                }
                Ok(())
            }
            "exit" => {
                self.emit(Code::Exit, Operands::default());
                Ok(())
            }
            _ => {
                self.emit(Code::Trap, Operands::default());
                Ok(())
            }
        }
    }

    /// Expands a function in place: its parameters are the caller's variables.
    fn call(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let operands = parts.operands();
        let (results, rest) = match operands {
            [Operand::List(results), rest @ ..] if matches!(rest.first(), Some(Operand::Name(_))) => {
                (results.as_slice(), rest)
            }
            all => (&[][..], all),
        };
        let (name, arguments) = match rest {
            [Operand::Name(name)] => (name, &[][..]),
            [Operand::Name(name), Operand::List(arguments), ..] => (name, arguments.as_slice()),
            _ => return self.error("call needs a function"),
        };
        if name == "__assertfail" {
            self.emit(Code::Trap, Operands::default());
            return Ok(());
        }
        let module = self.surroundings.module;
        let with_body = module.functions.iter().find(|f| f.name == *name && f.body.is_some());
        let Some(function) = with_body else {
            return self.error(if self.scopes.find(name).is_some() {
                format!("indirect call through {name}")
            } else {
                format!("call of {name}, which has no body in this module")
            });
        };
        if self.calls.iter().any(|caller| caller == name) {
            return self.error(format!("recursive call of {name}"));
        }
        if self.calls.len() >= DEEPEST || self.program.ops.len() > MOST {
            return self.error(format!("calls expand to too much ({name})"));
        }
        if function.params.len() != arguments.len() || function.returns.len() != results.len() {
            return self.error(format!(
                "{name} takes {} and returns {}, the call has {} and {}",
                function.params.len(),
                function.returns.len(),
                arguments.len(),
                results.len()
            ));
        }
        self.expand(name, function, arguments, results)
    }

    fn expand(
        &mut self,
        name: &str,
        function: &Function,
        arguments: &[Operand],
        results: &[Operand],
    ) -> Result<(), DecodeError> {
        // Lanes that the call's guard leaves out jump over the body.
        let end = self.scopes.label();
        if let Some(Guard { predicate, negated }) = self.guard {
            self.guard = Some(Guard { predicate, negated: !negated });
            self.emit(Code::Branch(end), Operands::default());
        }
        self.guard = None;
        let bound = function.params.iter().zip(arguments).chain(function.returns.iter().zip(results));
        let bindings = bound
            .map(|(formal, actual)| Ok((formal, self.argument(formal, actual)?)))
            .collect::<Result<Vec<(&Variable, Binding)>, DecodeError>>()?;
        let body = function.body.as_deref().unwrap_or_default();
        let hidden = self.scopes.hide();
        let location = self.location;
        self.scopes.enter(body);
        for (formal, binding) in bindings {
            self.scopes.bind(&formal.name, binding);
        }
        self.calls.push(name.to_owned());
        self.returns.push(end);
        self.statements(body)?;
        self.returns.pop();
        self.calls.pop();
        self.scopes.leave();
        self.scopes.restore(hidden);
        self.location = location;
        self.place(end);
        Ok(())
    }

    /// What a formal parameter stands for.
    fn argument(&mut self, formal: &Variable, actual: &Operand) -> Result<Binding, DecodeError> {
        match actual {
            Operand::Name(name) => match self.find(name)? {
                binding @ (Binding::Variable(Window::Local | Window::Param, _)
                | Binding::Register(..)
                | Binding::Predicate(_)) => Ok(binding),
                _ => self.error(format!("{name} cannot be passed as {}", formal.name)),
            },
            constant => {
                let bits = u32::from(formal.ty.bits);
                let reg = self.value(constant, bits)?;
                Ok(Binding::Register(reg, bits))
            }
        }
    }
}
