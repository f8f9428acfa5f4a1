//! Names of registers, variables and labels, by scope.

use std::collections::HashMap;

use crate::lanes::registers::Reg;
use crate::parse::ast::{Statement, Type};

use crate::program::form::Window;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A register and its width in bits (16, 32 or 64; narrower ones have 16).
    Register(Reg, u32),
    /// A predicate.
    Predicate(u32),
    /// A variable at an address.
    Variable(Window, u64),
    /// Dynamic shared memory.
    DynamicShared,
    /// A label, by number.
    Label(u32),
}

/// Registers declared as a range: `%r<5>`.
#[derive(Debug)]
struct Range {
    first: u32,
    count: u32,
    ty: Type,
}

/// The names of one scope.
#[derive(Debug, Default)]
struct Scope {
    names: HashMap<String, Binding>,
    ranges: HashMap<String, Range>,
}

/// The scopes around an instruction, innermost last, and the supply of registers, predicates and labels.
#[derive(Debug, Default)]
pub struct Scopes {
    stack: Vec<Scope>,
    /// Cells given out.
    pub cells: u32,
    /// Predicates given out.
    pub predicates: u32,
    /// Labels given out.
    pub labels: u32,
}

impl Scopes {
    /// Enters a scope that declares the labels among its own statements.
    pub fn enter(&mut self, statements: &[Statement]) {
        let mut scope = Scope::default();
        for statement in statements {
            if let Statement::Label(name) = statement {
                scope.names.insert(name.clone(), Binding::Label(self.labels));
                self.labels += 1;
            }
        }
        self.stack.push(scope);
    }

    /// Leaves the innermost scope.
    pub fn leave(&mut self) {
        self.stack.pop();
    }

    /// Hides all scopes, for the body of a function; give them back with [`restore`](Scopes::restore).
    pub fn hide(&mut self) -> Hidden {
        Hidden(std::mem::take(&mut self.stack))
    }

    /// Undoes [`hide`](Scopes::hide).
    pub fn restore(&mut self, hidden: Hidden) {
        self.stack = hidden.0;
    }

    /// A register of a width.
    pub fn register(&mut self, bits: u32) -> Reg {
        let reg = Reg(self.cells);
        self.cells += if bits > 32 { 2 } else { 1 };
        reg
    }

    /// A predicate.
    pub fn predicate(&mut self) -> u32 {
        self.predicates += 1;
        self.predicates - 1
    }

    /// A label that has no name.
    pub fn label(&mut self) -> u32 {
        self.labels += 1;
        self.labels - 1
    }

    /// Binds a name in the innermost scope.
    pub fn bind(&mut self, name: &str, binding: Binding) {
        if let Some(scope) = self.stack.last_mut() {
            scope.names.insert(name.to_owned(), binding);
        }
    }

    /// Declares registers of a type: one, or `count` with numbers appended. False if there are too many.
    pub fn declare(&mut self, ty: Type, name: &str, count: Option<u32>) -> bool {
        const MOST: u32 = 1 << 20;
        let each = if ty.bits > 32 { 2 } else { 1 };
        let total = count.unwrap_or(1);
        if total > MOST || self.cells + self.predicates + total * each > MOST {
            return false;
        }
        let first = if ty.kind == 'p' { self.predicates } else { self.cells };
        if ty.kind == 'p' {
            self.predicates += total
        } else {
            self.cells += total * each
        }
        if let Some(scope) = self.stack.last_mut() {
            match count {
                Some(count) => {
                    scope.ranges.insert(name.to_owned(), Range { first, count, ty });
                }
                None => {
                    scope.names.insert(name.to_owned(), element(ty, first, 0));
                }
            }
        }
        true
    }

    /// What a name stands for.
    pub fn find(&self, name: &str) -> Option<Binding> {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        self.stack.iter().rev().find_map(|scope| {
            scope.names.get(name).copied().or_else(|| {
                // The number may be any tail of the digits: `%r1<5>` declares %r10.
                (1..=digits).rev().find_map(|n| {
                    let (prefix, number) = name.split_at(name.len() - n);
                    let range = scope.ranges.get(prefix)?;
                    let number: u32 = number.parse().ok()?;
                    (number < range.count).then(|| element(range.ty, range.first, number))
                })
            })
        })
    }
}

/// Scopes put aside.
#[derive(Debug)]
pub struct Hidden(Vec<Scope>);

/// The binding of an element of a range.
fn element(ty: Type, first: u32, number: u32) -> Binding {
    match (ty.kind, ty.bits) {
        ('p', _) => Binding::Predicate(first + number),
        (_, 64) => Binding::Register(Reg(first + 2 * number), 64),
        (_, 32) => Binding::Register(Reg(first + number), 32),
        _ => Binding::Register(Reg(first + number), 16),
    }
}
