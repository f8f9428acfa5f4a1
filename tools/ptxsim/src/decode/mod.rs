//! Syntax tree to [`Program`]: names resolved, constants in registers, calls expanded in place, and each
//! instruction checked against what the machine knows. What it does not know is an error that names it.

mod arithmetic;
mod asynchronous;
mod control;
mod convert;
mod instruction;
mod memory;
mod scope;
mod warp;

use std::collections::HashMap;

use crate::lanes::alu::{Alu, Operands};
use crate::lanes::registers::Reg;
use crate::parse::ast::{self, Function, Space, Statement, Variable};

use crate::program::form::Window;
use crate::program::{Code, Guard, Op, Program, SHARED_BASE, Source, Special};
use instruction::Parts;
use scope::{Binding, Scopes};

/// PTX that this machine cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DecodeError {
    /// Line in the PTX text.
    pub line: u32,
    /// What it is.
    pub message: String,
}

/// What a kernel may refer to outside itself.
pub struct Surroundings<'a> {
    /// The module.
    pub module: &'a ast::Module,
    /// Device addresses of the variables in global and constant memory.
    pub addresses: &'a HashMap<String, u64>,
}

/// Decodes a kernel.
///
/// # Errors
/// The first instruction, operand or name that is not known, with its line.
pub fn decode(kernel: &Function, surroundings: &Surroundings) -> Result<Program, DecodeError> {
    let mut decoder = Decoder {
        surroundings,
        program: Program {
            files: surroundings.module.files.clone(),
            dynamic_align: 16,
            shared_granule: 8,
            global_granule: 8,
            ..Program::default()
        },
        scopes: Scopes::default(),
        constants: HashMap::new(),
        specials: HashMap::new(),
        shared: HashMap::new(),
        labels: Vec::new(),
        calls: Vec::new(),
        returns: Vec::new(),
        carry: None,
        branch_targets: Vec::new(),
        source: Source { line: kernel.line, ..Source::default() },
        guard: None,
        location: (0, 0, None),
    };
    let body = kernel.body.as_deref().unwrap_or_default();
    decoder.scopes.enter(body);
    let mut offset = 0u64;
    for param in &kernel.params {
        offset = offset.next_multiple_of(u64::from(param.align.max(1)));
        decoder.scopes.bind(&param.name, Binding::Variable(Window::Param, offset));
        offset += size(param);
    }
    decoder.statements(body)?;
    decoder.emit(Code::Exit, Operands::default());
    decoder.link()?;
    let mut program = decoder.program;
    program.cells = decoder.scopes.cells;
    program.predicates = decoder.scopes.predicates;
    Ok(program)
}

/// Bytes of a variable; 0 if it has no extent.
pub fn size(variable: &Variable) -> u64 {
    u64::from(variable.ty.bits).div_ceil(8).saturating_mul(variable.count.unwrap_or(0))
}

struct Decoder<'a> {
    surroundings: &'a Surroundings<'a>,
    program: Program,
    scopes: Scopes,
    constants: HashMap<(u64, bool), Reg>,
    specials: HashMap<Special, Reg>,
    /// Static shared variables of the module that have been placed.
    shared: HashMap<String, u64>,
    /// Where each label is, once known.
    labels: Vec<Option<u32>>,
    /// Functions being expanded.
    calls: Vec<String>,
    /// Label behind each expanded function.
    returns: Vec<u32>,
    /// The predicate that carries, once used.
    carry: Option<u32>,
    branch_targets: Vec<(String, Vec<u32>)>,
    source: Source,
    guard: Option<Guard>,
    location: (u32, u32, Option<(u32, u32)>),
}

impl Decoder<'_> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T, DecodeError> {
        Err(DecodeError { line: self.source.line, message: message.into() })
    }

    fn statements(&mut self, statements: &[Statement]) -> Result<(), DecodeError> {
        // Tables of targets may stand behind their use.
        for statement in statements {
            if let Statement::BranchTargets(name, targets) = statement {
                let labels = targets.iter().map(|t| self.label(t)).collect::<Result<_, _>>()?;
                self.branch_targets.push((name.clone(), labels));
            }
        }
        for statement in statements {
            match statement {
                Statement::Block(inner) => {
                    self.scopes.enter(inner);
                    self.statements(inner)?;
                    self.scopes.leave();
                }
                Statement::Registers(ty, names) => {
                    for (name, count) in names {
                        if ty.bits > 64 {
                            return self.error(format!("registers of {} bits ({name})", ty.bits));
                        }
                        if !self.scopes.declare(*ty, name, *count) {
                            return self.error(format!("too many registers ({name})"));
                        }
                        self.program.registers += u32::from(ty.kind != 'p') * count.unwrap_or(1);
                    }
                }
                Statement::Variable(variable) => self.variable(variable)?,
                Statement::Label(name) => {
                    let label = self.label(name)?;
                    self.place(label);
                }
                Statement::Location { file, line, caller } => self.location = (*file, *line, *caller),
                Statement::BranchTargets(..) => {}
                Statement::Instruction(instruction) => {
                    self.source = Source {
                        line: instruction.line,
                        file: self.location.0,
                        file_line: self.location.1,
                        caller: self.location.2,
                        first: true,
                    };
                    self.instruction(instruction)?;
                }
            }
        }
        Ok(())
    }

    /// Declares a variable of the function.
    fn variable(&mut self, variable: &Variable) -> Result<(), DecodeError> {
        let binding = match variable.space {
            Space::Shared => self.place_shared(variable),
            Space::Local | Space::Param => Binding::Variable(Window::Local, self.place_local(variable)),
            Space::Global | Space::Const => {
                return self.error(format!("{} in global memory, within a function", variable.name));
            }
        };
        self.scopes.bind(&variable.name, binding);
        Ok(())
    }

    fn place_local(&mut self, variable: &Variable) -> u64 {
        let at = u64::from(self.program.local_bytes).next_multiple_of(u64::from(variable.align.max(1)));
        self.program.local_bytes = u32::try_from(at + size(variable)).unwrap_or(u32::MAX);
        at
    }

    fn place_shared(&mut self, variable: &Variable) -> Binding {
        if variable.count.is_none() {
            self.program.dynamic_align = self.program.dynamic_align.max(variable.align);
            return Binding::DynamicShared;
        }
        let at = u64::from(SHARED_BASE + self.program.static_shared)
            .next_multiple_of(u64::from(variable.align.max(1)));
        self.program.static_shared =
            u32::try_from(at + size(variable)).unwrap_or(u32::MAX).saturating_sub(SHARED_BASE);
        Binding::Variable(Window::Shared, at)
    }

    /// What a name stands for, in the function or the module.
    fn find(&mut self, name: &str) -> Result<Binding, DecodeError> {
        if let Some(binding) = self.scopes.find(name) {
            return Ok(binding);
        }
        if let Some(&address) = self.surroundings.addresses.get(name) {
            return Ok(Binding::Variable(Window::Global, address));
        }
        if let Some(&address) = self.shared.get(name) {
            return Ok(Binding::Variable(Window::Shared, address));
        }
        let module = self.surroundings.module;
        match module.variables.iter().find(|v| v.name == name) {
            Some(variable) if variable.space == Space::Shared => {
                let binding = self.place_shared(variable);
                if let Binding::Variable(_, at) = binding {
                    self.shared.insert(name.to_owned(), at);
                }
                Ok(binding)
            }
            Some(variable) if variable.external => self.error(format!("{name} is defined in another module")),
            _ => self.error(format!("unknown name {name}")),
        }
    }

    fn label(&mut self, name: &str) -> Result<u32, DecodeError> {
        match self.scopes.find(name) {
            Some(Binding::Label(label)) => Ok(label),
            _ => self.error(format!("unknown label {name}")),
        }
    }

    /// Puts a label before the next instruction.
    fn place(&mut self, label: u32) {
        let label = label as usize;
        if self.labels.len() <= label {
            self.labels.resize(label + 1, None);
        }
        self.labels[label] = Some(self.program.ops.len() as u32);
    }

    /// Turns the labels in branches into positions.
    fn link(&mut self) -> Result<(), DecodeError> {
        let labels = &self.labels;
        let find = |label: u32| labels.get(label as usize).copied().flatten();
        for (op, source) in self.program.ops.iter_mut().zip(&self.program.sources) {
            let missing = DecodeError { line: source.line, message: "a label is never placed".to_owned() };
            match &mut op.code {
                Code::Branch(target) => *target = find(*target).ok_or(missing)?,
                Code::Switch(targets) => {
                    for target in targets.iter_mut() {
                        *target = find(*target).ok_or_else(|| missing.clone())?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends an instruction; the first one of a PTX instruction is the one counted.
    fn emit(&mut self, code: Code, operands: Operands) {
        self.program.ops.push(Op { code, guard: self.guard, operands });
        self.program.sources.push(self.source);
        self.source.first = false;
    }

    fn alu(&mut self, alu: Alu, d: Reg, sources: &[Reg]) {
        let mut s = [Reg(0); 4];
        for (to, from) in s.iter_mut().zip(sources) {
            *to = *from;
        }
        self.emit(Code::Alu(alu), Operands { d, s });
    }

    /// An arithmetic instruction that the table must have.
    fn step(&mut self, name: &str, d: Reg, sources: &[Reg]) -> Result<(), DecodeError> {
        match Alu::named(name) {
            Some(alu) => {
                self.alu(alu, d, sources);
                Ok(())
            }
            None => self.error(format!("no instruction {name}")),
        }
    }

    /// The register that holds a constant.
    fn constant(&mut self, bits: u64, wide: bool) -> Reg {
        let bits = if wide { bits } else { bits & 0xffff_ffff };
        if let Some(&reg) = self.constants.get(&(bits, wide)) {
            return reg;
        }
        let reg = self.scopes.register(if wide { 64 } else { 32 });
        self.constants.insert((bits, wide), reg);
        self.program.constants.push((reg, bits, wide));
        reg
    }

    /// The register that holds a special value.
    fn special(&mut self, special: Special) -> Reg {
        if let Some(&reg) = self.specials.get(&special) {
            return reg;
        }
        let wide = matches!(
            special,
            Special::DynamicShared(true) | Special::Clock64 | Special::GlobalTimer | Special::GridId
        );
        let reg = self.scopes.register(if wide { 64 } else { 32 });
        self.specials.insert(special, reg);
        self.program.specials.push((reg, special));
        reg
    }

    fn instruction(&mut self, instruction: &ast::Instruction) -> Result<(), DecodeError> {
        self.guard = match &instruction.guard {
            None => None,
            Some((name, negated)) => match self.find(name)? {
                Binding::Predicate(predicate) => Some(Guard { predicate, negated: *negated }),
                _ => return self.error(format!("the guard {name} is not a predicate")),
            },
        };
        let before = self.program.ops.len();
        let mut parts = Parts::new(instruction);
        self.dispatch(&mut parts)?;
        if let Some(unknown) = parts.unused() {
            return self.error(format!("{}: unknown modifier .{unknown}", parts.name()));
        }
        self.guard = None;
        debug_assert!(self.program.ops.len() >= before);
        Ok(())
    }

    /// Sends an instruction to what knows it.
    fn dispatch(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        match parts.base() {
            "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "brkpt" => self.control(parts),
            "mov" | "selp" | "setp" | "set" | "testp" | "addc" | "subc" => self.arithmetic_special(parts),
            "cvt" => self.convert(parts),
            "ld" | "ldu" | "st" | "atom" | "red" | "cvta" | "isspacep" | "prefetch" | "prefetchu"
            | "discard" | "applypriority" | "createpolicy" | "mapa" => self.memory(parts),
            "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" | "bar" | "barrier" | "membar"
            | "fence" | "nanosleep" | "griddepcontrol" | "setmaxnreg" | "pmevent" => self.warp(parts),
            "cp" | "mbarrier" | "ldmatrix" | "stmatrix" | "movmatrix" | "mma" | "wgmma" => {
                self.asynchronous(parts)
            }
            _ => self.arithmetic(parts),
        }
    }
}
