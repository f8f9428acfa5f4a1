//! The parts of an instruction: modifiers, ticked off as they are understood, and operands as registers.

use crate::lanes::registers::Reg;
use crate::parse::ast::{Instruction, Operand};

use super::scope::Binding;
use super::{DecodeError, Decoder};
use crate::program::form::{Address, Window};
use crate::program::{Condition, Special};
use crate::program::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};

/// An instruction's opcode with the modifiers not yet understood.
pub struct Parts<'a> {
    instruction: &'a Instruction,
    used: Vec<bool>,
}

impl<'a> Parts<'a> {
    pub fn new(instruction: &'a Instruction) -> Parts<'a> {
        let mut used = vec![false; instruction.opcode.len()];
        if let Some(first) = used.first_mut() {
            *first = true;
        }
        Parts { instruction, used }
    }

    /// The opcode without modifiers.
    pub fn base(&self) -> &'a str {
        self.instruction.opcode.first().map_or("", String::as_str)
    }

    /// The opcode as written.
    pub fn name(&self) -> String {
        self.instruction.opcode.join(".")
    }

    /// Operands as written.
    pub fn operands(&self) -> &'a [Operand] {
        &self.instruction.operands
    }

    /// Ticks off a modifier; true if it was there.
    pub fn take(&mut self, modifier: &str) -> bool {
        let at = (0..self.used.len()).find(|&i| !self.used[i] && self.instruction.opcode[i] == modifier);
        if let Some(i) = at {
            self.used[i] = true;
        }
        at.is_some()
    }

    /// Ticks off the first of several modifiers that is there.
    pub fn take_one(&mut self, modifiers: &[&'static str]) -> Option<&'static str> {
        modifiers.iter().copied().find(|m| self.take(m))
    }

    /// Ticks off the first modifier not yet understood, whatever it is.
    pub fn take_next(&mut self) -> Option<&'a str> {
        let i = self.used.iter().position(|used| !used)?;
        self.used[i] = true;
        Some(self.instruction.opcode[i].as_str())
    }

    /// The modifiers left, which are thereby understood.
    pub fn take_rest(&mut self) -> Vec<&'a str> {
        std::iter::from_fn(|| self.take_next()).collect()
    }

    /// A modifier that was not understood.
    pub fn unused(&self) -> Option<&'a str> {
        let i = self.used.iter().position(|used| !used)?;
        Some(self.instruction.opcode[i].as_str())
    }
}

impl Decoder<'_> {
    /// Checks the number of operands.
    pub(super) fn count<'p>(
        &self,
        parts: &Parts<'p>,
        allowed: std::ops::RangeInclusive<usize>,
    ) -> Result<&'p [Operand], DecodeError> {
        let operands = parts.operands();
        if allowed.contains(&operands.len()) {
            return Ok(operands);
        }
        self.error(format!("{}: {} operands", parts.name(), operands.len()))
    }

    /// An operand read as a value of a width (16, 32 or 64 bits).
    pub(super) fn value(&mut self, operand: &Operand, bits: u32) -> Result<Reg, DecodeError> {
        let wide = bits > 32;
        match operand {
            Operand::Integer(value) => {
                let value = if bits == 16 { *value as u64 & 0xffff } else { *value as u64 };
                Ok(self.constant(value, wide))
            }
            Operand::Single(value) if bits == 32 => Ok(self.constant(u64::from(*value), false)),
            Operand::Double(value) if wide => Ok(self.constant(*value, true)),
            // A decimal constant takes the type of the instruction.
            Operand::Double(value) if bits == 32 => {
                Ok(self.constant(u64::from((f64::from_bits(*value) as f32).to_bits()), false))
            }
            Operand::Name(name) if name.starts_with('%') && self.scopes.find(name).is_none() => {
                let special = special(name).map_or_else(|| self.error(format!("unknown name {name}")), Ok)?;
                let reg = self.special(special);
                let special_wide =
                    matches!(special, Special::Clock64 | Special::GlobalTimer | Special::GridId);
                if wide == special_wide {
                    return Ok(reg);
                }
                let other = self.scopes.register(bits);
                self.step(if wide { "ext.u32" } else { "low.b32" }, other, &[reg])?;
                Ok(other)
            }
            Operand::Name(name) => match self.find(name)? {
                Binding::Register(reg, have) if (have > 32) == wide => Ok(reg),
                Binding::Register(_, have) => {
                    self.error(format!("{name} has {have} bits where {bits} are needed"))
                }
                Binding::Variable(_, address) => Ok(self.constant(address, wide)),
                Binding::DynamicShared => Ok(self.special(Special::DynamicShared(wide))),
                Binding::Predicate(_) => self.error(format!("{name} is a predicate, not a value")),
                Binding::Label(_) => self.error(format!("{name} is a label, not a value")),
            },
            Operand::NameOffset(name, offset) => match self.find(name)? {
                Binding::Variable(_, address) => {
                    Ok(self.constant(address.wrapping_add_signed(*offset), wide))
                }
                Binding::DynamicShared => {
                    let base = self.special(Special::DynamicShared(wide));
                    let reg = self.scopes.register(bits);
                    let offset = self.constant(*offset as u64, wide);
                    self.step(if wide { "add.u64" } else { "add.u32" }, reg, &[base, offset])?;
                    Ok(reg)
                }
                _ => self.error(format!("{name} is not a variable")),
            },
            other => self.error(format!("{other:?} is not a value of {bits} bits")),
        }
    }

    /// An operand that is written: a register and its width.
    pub(super) fn destination(&mut self, operand: &Operand) -> Result<(Reg, u32), DecodeError> {
        match operand {
            Operand::Name(name) => match self.find(name)? {
                Binding::Register(reg, bits) => Ok((reg, bits)),
                _ => self.error(format!("{name} is not a register")),
            },
            Operand::Sink => {
                let reg = self.scopes.register(64);
                Ok((reg, 64))
            }
            other => self.error(format!("{other:?} is not a register")),
        }
    }

    /// A register of a width to write to.
    pub(super) fn destination_of(&mut self, operand: &Operand, bits: u32) -> Result<Reg, DecodeError> {
        let (reg, have) = self.destination(operand)?;
        if matches!(operand, Operand::Sink) || (have > 32) == (bits > 32) {
            return Ok(reg);
        }
        self.error(format!("a register of {have} bits where {bits} are written"))
    }

    /// A predicate that is written; `None` for `_`.
    pub(super) fn predicate(&mut self, operand: &Operand) -> Result<Option<u32>, DecodeError> {
        match operand {
            Operand::Name(name) => match self.find(name)? {
                Binding::Predicate(predicate) => Ok(Some(predicate)),
                _ => self.error(format!("{name} is not a predicate")),
            },
            Operand::Sink => Ok(None),
            other => self.error(format!("{other:?} is not a predicate")),
        }
    }

    /// A predicate that is read.
    pub(super) fn condition(&mut self, operand: &Operand) -> Result<Condition, DecodeError> {
        match operand {
            Operand::Integer(value) => Ok(Condition::Constant(*value != 0)),
            Operand::Not(name) => match self.find(name)? {
                Binding::Predicate(predicate) => Ok(Condition::Predicate(predicate, true)),
                _ => self.error(format!("{name} is not a predicate")),
            },
            other => match self.predicate(other)? {
                Some(predicate) => Ok(Condition::Predicate(predicate, false)),
                None => self.error("_ is read"),
            },
        }
    }

    /// A bracketed address and the state space of the variable it names, if it names one.
    pub(super) fn address(&mut self, operand: &Operand) -> Result<(Address, Option<Window>), DecodeError> {
        let (base, offset) = match operand {
            Operand::Address(base, offset) => (base.as_ref(), *offset),
            Operand::Tensor(base, _) => (base.as_ref(), 0),
            other => return self.error(format!("{other:?} is not an address")),
        };
        match base {
            Operand::Integer(value) => {
                let base = self.constant(*value as u64, true);
                Ok((Address { base, wide: true, offset }, None))
            }
            Operand::Name(name) => match self.find(name)? {
                Binding::Register(base, bits) if bits >= 32 => {
                    Ok((Address { base, wide: bits > 32, offset }, None))
                }
                Binding::Variable(window, address) => {
                    let base = self.constant(address, true);
                    Ok((Address { base, wide: true, offset }, Some(window)))
                }
                Binding::DynamicShared => {
                    let base = self.special(Special::DynamicShared(true));
                    Ok((Address { base, wide: true, offset }, Some(Window::Shared)))
                }
                _ => self.error(format!("{name} is not an address")),
            },
            other => self.error(format!("{other:?} is not an address")),
        }
    }

    /// An integer constant.
    pub(super) fn integer(&self, operand: &Operand) -> Result<i64, DecodeError> {
        match operand {
            Operand::Integer(value) => Ok(*value),
            other => self.error(format!("{other:?} is not a constant")),
        }
    }

    /// The elements of a vector operand, or the operand itself.
    pub(super) fn elements<'o>(&self, operand: &'o Operand) -> &'o [Operand] {
        match operand {
            Operand::Vector(elements) => elements,
            single => std::slice::from_ref(single),
        }
    }
}

/// Bits that mark generic addresses of a state space.
pub fn window_bits(window: Window) -> u64 {
    match window {
        Window::Shared => SHARED_WINDOW,
        Window::Local => LOCAL_WINDOW,
        Window::Param => PARAM_WINDOW,
        Window::Global | Window::Generic => 0,
    }
}

/// A special register by name (PTX ISA, section "Special registers"). A cluster is one block.
fn special(name: &str) -> Option<Special> {
    use std::cmp::Ordering;
    let axis = |tail: &str| match tail {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    if let Some((register, tail)) = name.rsplit_once('.') {
        let axis = axis(tail)?;
        return Some(match register {
            "%tid" => Special::Tid(axis),
            "%ntid" => Special::Ntid(axis),
            "%ctaid" | "%clusterid" => Special::Ctaid(axis),
            "%nctaid" | "%nclusterid" => Special::Nctaid(axis),
            "%cluster_ctaid" => Special::Zero,
            "%cluster_nctaid" => Special::One,
            _ => return None,
        });
    }
    Some(match name {
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::NwarpId,
        "%lanemask_eq" => Special::LaneMask(Ordering::Equal, false),
        "%lanemask_lt" => Special::LaneMask(Ordering::Less, false),
        "%lanemask_le" => Special::LaneMask(Ordering::Less, true),
        "%lanemask_gt" => Special::LaneMask(Ordering::Greater, false),
        "%lanemask_ge" => Special::LaneMask(Ordering::Greater, true),
        "%smid" => Special::SmId,
        "%nsmid" => Special::NsmId,
        "%gridid" => Special::GridId,
        "%clock" => Special::Clock,
        "%clock64" => Special::Clock64,
        "%globaltimer" => Special::GlobalTimer,
        "%dynamic_smem_size" => Special::DynamicSharedSize,
        "%total_smem_size" | "%aggr_smem_size" => Special::TotalSharedSize,
        "%cluster_ctarank" | "%is_explicit_cluster" => Special::Zero,
        "%cluster_nctarank" => Special::One,
        _ => return None,
    })
}
