//! `cvt`, as steps: a value is widened exactly, rounded or clamped once, and narrowed.

use crate::lanes::registers::Reg;
use crate::parse::ast::Operand;

use super::arithmetic::width;
use super::instruction::Parts;
use super::{DecodeError, Decoder};

impl Decoder<'_> {
    pub(super) fn convert(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        if parts.take("pack") {
            return self.convert_pack(parts);
        }
        let rounding = parts.take_one(&["rni", "rzi", "rmi", "rpi", "rn", "rna", "rz", "rm", "rp"]);
        let flush = parts.take("ftz");
        let saturate = parts.take("sat");
        let finite = parts.take("satfinite");
        let relu = parts.take("relu");
        let (to, from) = match parts.take_rest()[..] {
            [to, from] => (to, from),
            _ => return self.error(format!("unknown instruction {}", parts.name())),
        };
        let operands = parts.operands();
        let unknown = |this: &Self| this.error(format!("unknown instruction {}", parts.name()));

        if let Some(element) = to.strip_suffix("x2").filter(|_| from == "f32") {
            let operands = self.count(parts, 3..=3)?;
            let mut halves = [Reg(0); 2];
            for (half, operand) in halves.iter_mut().zip([&operands[2], &operands[1]]) {
                let value = self.value(operand, 32)?;
                *half = self.scopes.register(16);
                self.round_float(rounding, "f32", element, value, *half, parts)?;
            }
            let d = self.destination_of(&operands[0], 32)?;
            self.step("pack.b32.b16", d, &halves)?;
            if finite {
                self.step(&format!("finite.{to}"), d, &[d])?;
            }
            return if relu { self.step(&format!("relu.{to}"), d, &[d]) } else { Ok(()) };
        }
        let operands = if operands.len() == 2 { operands } else { self.count(parts, 2..=2)? };
        let (Some(to_bits), Some(from_bits)) = (width(to), width(from)) else { return unknown(self) };
        let mut a = self.source(&operands[1], from_bits)?;
        if flush && from == "f32" {
            let flushed = self.scopes.register(32);
            self.step("flush.f32", flushed, &[a])?;
            a = flushed;
        }
        let (d, d_bits) = self.destination(&operands[0])?;
        if (d_bits > 32) != (to_bits > 32) && !(is_integer(to) && d_bits > to_bits) {
            return self.error(format!("{}: a register of {d_bits} bits", parts.name()));
        }
        match (is_integer(to), is_integer(from)) {
            (true, true) => {
                let wide = self.widen_integer(a, from, from_bits)?;
                let wide = if saturate { self.clamp(wide, to, from)? } else { wide };
                self.narrow_integer(wide, to, d, d_bits)
            }
            (true, false) => {
                let value = self.widen_float(a, from)?;
                let mode = match rounding {
                    Some(mode @ ("rni" | "rzi" | "rmi" | "rpi")) => mode,
                    _ => return unknown(self),
                };
                let integral = self.scopes.register(64);
                self.step(&format!("integral.{mode}"), integral, &[value])?;
                let wide = self.scopes.register(64);
                let name = if from == "f64" { format!("int.{to}.f64") } else { format!("int.{to}") };
                self.step(&name, wide, &[integral])?;
                self.narrow_integer(wide, to, d, d_bits)
            }
            (false, true) => {
                let wide = self.widen_integer(a, from, from_bits)?;
                let sign = if from.starts_with('s') { "s64" } else { "u64" };
                match (to, rounding) {
                    ("f32" | "f64", Some("rn")) => self.step(&format!("float.{to}.{sign}"), d, &[wide])?,
                    // Exact in a double up to 53 bits.
                    ("f64", Some("rz" | "rm" | "rp")) if from_bits <= 32 => {
                        self.step(&format!("float.f64.{sign}"), d, &[wide])?;
                    }
                    (_, Some(mode @ ("rn" | "rz" | "rm" | "rp"))) if to != "f64" => {
                        let value = self.scopes.register(64);
                        self.step(&format!("odd.{sign}"), value, &[wide])?;
                        self.step(&format!("round.{mode}.{to}"), d, &[value])?;
                    }
                    _ => return unknown(self),
                }
                if saturate { self.step(&format!("saturate.{to}"), d, &[d]) } else { Ok(()) }
            }
            (false, false) => {
                if let Some(mode @ ("rni" | "rzi" | "rmi" | "rpi")) = rounding {
                    let value = self.widen_float(a, from)?;
                    let integral = self.scopes.register(64);
                    self.step(&format!("integral.{mode}"), integral, &[value])?;
                    if to == "f64" {
                        self.step("mov.b64", d, &[integral])?;
                    } else {
                        self.step(&format!("round.rn.{to}"), d, &[integral])?;
                    }
                } else {
                    self.round_float(rounding, from, to, a, d, parts)?;
                }
                if flush && to == "f32" {
                    self.step("flush.f32", d, &[d])?;
                }
                if finite {
                    self.step(&format!("finite.{to}"), d, &[d])?;
                }
                if saturate {
                    self.step(&format!("saturate.{to}"), d, &[d])?;
                }
                if relu {
                    self.step(&format!("relu.{to}"), d, &[d])?;
                }
                Ok(())
            }
        }
    }

    /// A source whose register may be wider than its type.
    fn source(&mut self, operand: &Operand, bits: u32) -> Result<Reg, DecodeError> {
        if let Operand::Name(name) = operand
            && let Some((reg, 64)) = self.register_of(name)
            && bits < 64
        {
            let low = self.scopes.register(32);
            self.step("low.b32", low, &[reg])?;
            return Ok(low);
        }
        self.value(operand, bits.max(16))
    }

    fn round_float(
        &mut self,
        rounding: Option<&str>,
        from: &str,
        to: &str,
        a: Reg,
        d: Reg,
        parts: &Parts,
    ) -> Result<(), DecodeError> {
        match (from, to, rounding) {
            ("f32", "tf32", Some(mode @ ("rna" | "rn" | "rz"))) => {
                self.step(&format!("round.{mode}.tf32"), d, &[a])
            }
            ("f32", "bf16", Some("rn")) => self.step("cvt.bf16.f32", d, &[a]),
            ("f16" | "bf16", "f32", None) => self.step(&format!("cvt.f32.{from}"), d, &[a]),
            ("f32", "f32", None) => self.step("mov.b32", d, &[a]),
            ("f64", "f64", None) => self.step("mov.b64", d, &[a]),
            ("f16" | "bf16" | "f32", "f64", _) => {
                let value = self.widen_float(a, from)?;
                self.step("mov.b64", d, &[value])
            }
            (
                "f16" | "bf16" | "f32" | "f64",
                "f16" | "bf16" | "f32",
                Some(mode @ ("rn" | "rz" | "rm" | "rp")),
            ) => {
                let value = self.widen_float(a, from)?;
                self.step(&format!("round.{mode}.{to}"), d, &[value])
            }
            _ => self.error(format!("unknown instruction {}", parts.name())),
        }
    }

    /// As a double, exactly.
    fn widen_float(&mut self, a: Reg, from: &str) -> Result<Reg, DecodeError> {
        if from == "f64" {
            return Ok(a);
        }
        let value = self.scopes.register(64);
        self.step(&format!("widen.{from}"), value, &[a])?;
        Ok(value)
    }

    /// As 64 bits, by sign.
    fn widen_integer(&mut self, a: Reg, from: &str, bits: u32) -> Result<Reg, DecodeError> {
        if bits == 64 {
            return Ok(a);
        }
        let wide = self.scopes.register(64);
        self.step(&format!("ext.{from}"), wide, &[a])?;
        Ok(wide)
    }

    fn clamp(&mut self, wide: Reg, to: &str, from: &str) -> Result<Reg, DecodeError> {
        let sign = if from.starts_with('s') { "s64" } else { "u64" };
        if to == sign {
            return Ok(wide);
        }
        let clamped = self.scopes.register(64);
        self.step(&format!("clamp.{to}.{sign}"), clamped, &[wide])?;
        Ok(clamped)
    }

    /// The low bits as a type, extended to the register by its sign.
    fn narrow_integer(&mut self, wide: Reg, to: &str, d: Reg, d_bits: u32) -> Result<(), DecodeError> {
        let to = to.replace('b', "u");
        match (d_bits, to.as_str()) {
            (64, "u64" | "s64") => self.step("mov.b64", d, &[wide]),
            (64, _) => {
                let low = self.scopes.register(32);
                self.step(&format!("narrow.{to}"), low, &[wide])?;
                self.step(&format!("ext.{to}"), d, &[low])
            }
            (_, _) => {
                self.step(&format!("narrow.{to}"), d, &[wide])?;
                if d_bits == 16 && to.starts_with('s') { self.step("truncate.b16", d, &[d]) } else { Ok(()) }
            }
        }
    }

    /// `cvt.pack.sat.u8.s32.b32 d, a, b, c`: two values clamped to bytes below the upper half of c; or to halves.
    fn convert_pack(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        parts.take("sat");
        let rest = parts.take_rest();
        let (to, from) = match rest[..] {
            [to @ ("u8" | "s8"), "s32", "b32"] | [to @ ("u16" | "s16"), "s32"] => (to, "s32"),
            _ => return self.error(format!("unknown instruction {}", parts.name())),
        };
        let operands = self.count(parts, if rest.len() == 3 { 4..=4 } else { 3..=3 })?;
        let mut halves = [Reg(0); 2];
        for (half, operand) in halves.iter_mut().zip([&operands[2], &operands[1]]) {
            let a = self.value(operand, 32)?;
            let wide = self.widen_integer(a, from, 32)?;
            let clamped = self.clamp(wide, to, from)?;
            *half = self.scopes.register(32);
            self.step("low.b32", *half, &[clamped])?;
        }
        let d = self.destination_of(&operands[0], 32)?;
        if rest.len() == 2 {
            return self.step("pack.b32.b16", d, &halves);
        }
        let low = self.scopes.register(16);
        self.step("pack.b16.b8", low, &halves)?;
        let c = self.value(&operands[3], 32)?;
        self.step("pack.b32.b16", d, &[low, c])
    }
}

/// An integer type, by name.
fn is_integer(ty: &str) -> bool {
    !ty.contains('f')
}
