//! Arithmetic, logic, comparison and movement.

use crate::lanes::alu::{Alu, Operands};
use crate::lanes::registers::Reg;
use crate::lanes::test::Test;
use crate::parse::ast::Operand;

use super::instruction::Parts;
use super::scope::Binding;
use super::{DecodeError, Decoder};
use crate::program::{Code, Condition, Guard, Logic};

/// A comparison, from the modifiers of `setp` or `set`.
struct Comparison<'p> {
    test: Test,
    logic: Option<Logic>,
    /// Type of the result, where one stands before that of the sources.
    result: Option<&'p str>,
    sources: [Reg; 4],
    /// Of both halves of packed pairs.
    pair: bool,
}

impl Decoder<'_> {
    /// An instruction of the table, with what `.ftz`, `.sat` and `.relu` add before and after it.
    pub(super) fn arithmetic(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let base = parts.base();
        let operands = parts.operands();
        if matches!(base, "and" | "or" | "xor" | "not") && parts.take("pred") {
            return self.predicate_logic(parts);
        }
        if base == "add" && parts.take("cc") || base == "sub" && parts.take("cc") {
            return self.carry(parts, base == "sub", false, true);
        }
        parts.take("rn");
        let flush = parts.take("ftz");
        let relu = parts.take("relu");
        let mut rest = parts.take_rest();
        let ty = *rest.last().unwrap_or(&"");
        let float = ty.contains('f');
        // Saturation of integers is another sum; that of floats clamps the result.
        let saturate = float && rest.contains(&"sat");
        rest.retain(|part| !(float && *part == "sat"));
        let key = format!("{base}.{}", rest.join("."));
        let Some(alu) = Alu::named(&key) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let signature = alu.signature();
        if operands.len() != signature.sources + 1 {
            return self.error(format!("{}: {} operands", parts.name(), operands.len()));
        }
        let half = ty.ends_with("16") || ty.ends_with("16x2");
        let mut sources = [Reg(0); 4];
        for i in 0..signature.sources {
            // Constants of 16-bit types are cut to their width; the addend of a widening product is wider.
            let narrow = half && ty.ends_with("16") && !(i == 2 && rest.contains(&"wide"));
            let bits = if narrow && signature.bits[i] == 32 { 16 } else { signature.bits[i] };
            sources[i] = self.value(&operands[i + 1], bits)?;
            // Of what `slct` reads, only the number that it tests is a float of the last type.
            if flush && ty != "f64" && (base != "slct" || i == 2) {
                let flushed = self.scopes.register(32);
                self.step(&format!("flush.{ty}"), flushed, &[sources[i]])?;
                sources[i] = flushed;
            }
        }
        let d = self.destination_of(&operands[0], signature.out)?;
        self.alu(alu, d, &sources[..signature.sources]);
        if flush && ty != "f64" && base != "slct" {
            self.step(&format!("flush.{ty}"), d, &[d])?;
        }
        if saturate {
            self.step(&format!("saturate.{ty}"), d, &[d])?;
        }
        if relu {
            self.step(&format!("relu.{ty}"), d, &[d])?;
        }
        Ok(())
    }

    /// What does not fit the table.
    pub(super) fn arithmetic_special(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        match parts.base() {
            "mov" => self.mov(parts),
            "selp" => self.select(parts),
            "setp" => self.setp(parts),
            "set" => self.set(parts),
            "testp" => self.testp(parts),
            base => {
                let out = parts.take("cc");
                self.carry(parts, base == "subc", true, out)
            }
        }
    }

    fn predicate_logic(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let base = parts.base();
        let operands = self.count(parts, if base == "not" { 2..=2 } else { 3..=3 })?;
        let Some(d) = self.predicate(&operands[0])? else { return Ok(()) };
        let a = self.condition(&operands[1])?;
        let (logic, a, b) = match base {
            "not" => (Logic::First, not(a), a),
            "and" => (Logic::And, a, self.condition(&operands[2])?),
            "or" => (Logic::Or, a, self.condition(&operands[2])?),
            _ => (Logic::Xor, a, self.condition(&operands[2])?),
        };
        self.emit(Code::Predicate(logic, a, b), Operands { d: Reg(d), s: [Reg(0); 4] });
        Ok(())
    }

    fn carry(
        &mut self,
        parts: &mut Parts,
        subtract: bool,
        carry_in: bool,
        carry_out: bool,
    ) -> Result<(), DecodeError> {
        let operands = self.count(parts, 3..=3)?;
        let ty = parts.take_next().unwrap_or("");
        let Some(bits @ (32 | 64)) = width(ty).filter(|_| !ty.contains('f')) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let carry = match self.carry {
            Some(carry) => carry,
            None => *self.carry.insert(self.scopes.predicate()),
        };
        let a = self.value(&operands[1], bits)?;
        let b = self.value(&operands[2], bits)?;
        let d = self.destination_of(&operands[0], bits)?;
        let code = Code::Carry {
            subtract,
            carry_in: carry_in.then_some(carry),
            carry_out: carry_out.then_some(carry),
            wide: bits == 64,
        };
        self.emit(code, Operands { d, s: [a, b, Reg(0), Reg(0)] });
        Ok(())
    }

    fn mov(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let operands = self.count(parts, 2..=2)?;
        let ty = parts.take_next().unwrap_or("");
        if ty == "pred" {
            let Some(d) = self.predicate(&operands[0])? else { return Ok(()) };
            let a = self.condition(&operands[1])?;
            self.emit(Code::Predicate(Logic::First, a, a), Operands { d: Reg(d), s: [Reg(0); 4] });
            return Ok(());
        }
        let bits = match ty {
            "b16" | "u16" | "s16" => 16,
            "b32" | "u32" | "s32" | "f32" => 32,
            "b64" | "u64" | "s64" | "f64" => 64,
            _ => return self.error(format!("unknown instruction {}", parts.name())),
        };
        match (&operands[0], &operands[1]) {
            (Operand::Vector(to), from) => {
                let from = self.value(from, bits)?;
                self.unpack(to, from, bits)
            }
            (to, Operand::Vector(from)) => {
                let d = self.destination_of(to, bits)?;
                self.pack(d, from, bits)
            }
            (to, from) => {
                let a = self.value(from, bits)?;
                let d = self.destination_of(to, bits)?;
                self.step(if bits == 64 { "mov.b64" } else { "mov.b32" }, d, &[a])
            }
        }
    }

    /// `mov.b64 {a, b}, from`: halves until the parts are as many as the destinations.
    fn unpack(&mut self, to: &[Operand], from: Reg, bits: u32) -> Result<(), DecodeError> {
        if let [single] = to {
            if matches!(single, Operand::Sink) {
                return Ok(());
            }
            let d = self.destination_of(single, bits)?;
            return self.step(if bits == 64 { "mov.b64" } else { "mov.b32" }, d, &[from]);
        }
        if !matches!(to.len(), 2 | 4) || bits == 8 {
            return self.error(format!("{} parts of {bits} bits", to.len()));
        }
        let half = bits / 2;
        let (low, high) = to.split_at(to.len() / 2);
        let parts = [self.scopes.register(half), self.scopes.register(half)];
        self.step(&format!("low.b{half}"), parts[0], &[from])?;
        self.step(&format!("high.b{half}"), parts[1], &[from])?;
        self.unpack(low, parts[0], half)?;
        self.unpack(high, parts[1], half)
    }

    /// `mov.b64 to, {a, b}`
    fn pack(&mut self, d: Reg, from: &[Operand], bits: u32) -> Result<(), DecodeError> {
        if let [single] = from {
            let a = self.value(single, bits)?;
            return self.step(if bits == 64 { "mov.b64" } else { "mov.b32" }, d, &[a]);
        }
        if !matches!(from.len(), 2 | 4) || bits == 8 {
            return self.error(format!("{} parts of {bits} bits", from.len()));
        }
        let half = bits / 2;
        let (low, high) = from.split_at(from.len() / 2);
        let parts = [self.scopes.register(half), self.scopes.register(half)];
        self.pack(parts[0], low, half)?;
        self.pack(parts[1], high, half)?;
        self.step(&format!("pack.b{bits}.b{half}"), d, &parts)
    }

    fn select(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let operands = self.count(parts, 4..=4)?;
        let Some(bits) = parts.take_next().and_then(width) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let a = self.value(&operands[1], bits)?;
        let b = self.value(&operands[2], bits)?;
        let condition = self.condition(&operands[3])?;
        let d = self.destination_of(&operands[0], bits)?;
        self.emit(Code::Select(condition, bits == 64), Operands { d, s: [a, b, Reg(0), Reg(0)] });
        Ok(())
    }

    fn setp(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let operands = self.count(parts, 3..=4)?;
        let (d, other) = match &operands[0] {
            Operand::Pair(d, other) => (self.predicate(d)?, self.predicate(other)?),
            single => (self.predicate(single)?, None),
        };
        let Comparison { test, logic, result, sources, pair } = self.comparison(parts, &operands[1..3])?;
        if result.is_some() {
            return self.error(format!("unknown instruction {}", parts.name()));
        }
        let with = match operands.get(3) {
            Some(operand) => self.condition(operand)?,
            None => Condition::Constant(true),
        };
        if pair {
            // The low halves make the first predicate, the high ones the second.
            let mut high = [Reg(0); 4];
            for (high, source) in high.iter_mut().zip(&sources[..2]) {
                *high = self.scopes.register(16);
                self.step("high.b16", *high, &[*source])?;
            }
            // Two steps: the second must not see what the first has written over the guard or the operand.
            if let Some(guard) = self.guard.take() {
                let predicate = self.copy_condition(Condition::Predicate(guard.predicate, false));
                self.guard = Some(Guard { predicate, ..guard });
            }
            let with = Condition::Predicate(self.copy_condition(with), false);
            for (d, s) in [(d, sources), (other, high)] {
                if let Some(d) = d {
                    let code = Code::TestCombine(test, logic.unwrap_or(Logic::And), with, None);
                    self.emit(code, Operands { d: Reg(d), s });
                }
            }
            return Ok(());
        }
        let plain = logic.is_none() && other.is_none();
        if let (Some(d), true) = (d, plain) {
            self.emit(Code::Test(test), Operands { d: Reg(d), s: sources });
            return Ok(());
        }
        let d = match d {
            Some(d) => d,
            None => self.scopes.predicate(),
        };
        let code = Code::TestCombine(test, logic.unwrap_or(Logic::And), with, other);
        self.emit(code, Operands { d: Reg(d), s: sources });
        Ok(())
    }

    /// A predicate that keeps what a condition is now.
    fn copy_condition(&mut self, condition: Condition) -> u32 {
        let copy = self.scopes.predicate();
        let code = Code::Predicate(Logic::First, condition, condition);
        self.emit(code, Operands { d: Reg(copy), s: [Reg(0); 4] });
        copy
    }

    /// The comparison that modifiers name.
    fn comparison<'p>(
        &mut self,
        parts: &mut Parts<'p>,
        operands: &[Operand],
    ) -> Result<Comparison<'p>, DecodeError> {
        let flush = parts.take("ftz");
        let logic = match parts.take_one(&["and", "or", "xor"]) {
            Some("and") => Some(Logic::And),
            Some("or") => Some(Logic::Or),
            Some(_) => Some(Logic::Xor),
            None => None,
        };
        let mut key = parts.take_rest();
        let result = if key.len() == 3 { Some(key.remove(1)) } else { None };
        let ty = *key.last().unwrap_or(&"");
        let name = key.join(".");
        let element = name.strip_suffix("x2").filter(|_| parts.base() == "setp");
        let Some(test) = Test::named(element.unwrap_or(&name)) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let bits = if ty.ends_with("16") { 16 } else { test.signature().bits[0] };
        let mut sources = [Reg(0); 4];
        for i in 0..2 {
            sources[i] = self.value(&operands[i], bits)?;
            if flush && ty != "f64" {
                let flushed = self.scopes.register(32);
                self.step(&format!("flush.{ty}"), flushed, &[sources[i]])?;
                sources[i] = flushed;
            }
        }
        Ok(Comparison { test, logic, result, sources, pair: element.is_some() })
    }

    /// `set`: a comparison as all ones, or 1.0.
    fn set(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let operands = self.count(parts, 3..=4)?;
        let Comparison { test, logic, result, sources, .. } = self.comparison(parts, &operands[1..3])?;
        let yes = match result {
            Some("f32") => 1f32.to_bits(),
            Some("u32" | "s32") => !0,
            _ => return self.error(format!("unknown instruction {}", parts.name())),
        };
        let with = match operands.get(3) {
            Some(operand) => self.condition(operand)?,
            None => Condition::Constant(true),
        };
        let predicate = self.scopes.predicate();
        let code = Code::TestCombine(test, logic.unwrap_or(Logic::And), with, None);
        self.emit(code, Operands { d: Reg(predicate), s: sources });
        let (yes, no) = (self.constant(u64::from(yes), false), self.constant(0, false));
        let d = self.destination_of(&operands[0], 32)?;
        let select = Code::Select(Condition::Predicate(predicate, false), false);
        self.emit(select, Operands { d, s: [yes, no, Reg(0), Reg(0)] });
        Ok(())
    }

    fn testp(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let operands = self.count(parts, 2..=2)?;
        let key = parts.take_rest().join(".");
        let Some(test) = Test::named(&key) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let a = self.value(&operands[1], test.signature().bits[0])?;
        if let Some(d) = self.predicate(&operands[0])? {
            self.emit(Code::Test(test), Operands { d: Reg(d), s: [a, a, Reg(0), Reg(0)] });
        }
        Ok(())
    }

    /// The register bound to a name, whatever its width.
    pub(super) fn register_of(&mut self, name: &str) -> Option<(Reg, u32)> {
        match self.scopes.find(name) {
            Some(Binding::Register(reg, bits)) => Some((reg, bits)),
            _ => None,
        }
    }
}

/// The opposite condition.
fn not(condition: Condition) -> Condition {
    match condition {
        Condition::Predicate(predicate, negated) => Condition::Predicate(predicate, !negated),
        Condition::Constant(value) => Condition::Constant(!value),
    }
}

/// Bits of a fundamental type by name.
pub(super) fn width(ty: &str) -> Option<u32> {
    match ty {
        "b8" | "u8" | "s8" => Some(8),
        "b16" | "u16" | "s16" | "f16" | "bf16" => Some(16),
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" | "tf32" => Some(32),
        "b64" | "u64" | "s64" | "f64" => Some(64),
        _ => None,
    }
}
