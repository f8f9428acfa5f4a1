//! Collective instructions of a warp, barriers and fences.

use crate::lanes::alu::Operands;
use crate::lanes::registers::Reg;
use crate::parse::ast::Operand;

use super::instruction::Parts;
use super::{DecodeError, Decoder};
use crate::program::Code;
use crate::program::form::{Barrier, BarrierReduce, Collective, CollectiveKind, Fence, Shuffle, ShuffleMode};

impl Decoder<'_> {
    pub(super) fn warp(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        match parts.base() {
            "shfl" => self.shuffle(parts),
            "vote" | "match" | "redux" | "activemask" | "elect" => self.collective(parts),
            "bar" | "barrier" => self.barrier(parts),
            "membar" | "fence" => self.fence(parts),
            _ => {
                // nanosleep, griddepcontrol, setmaxnreg, pmevent: time and resources, which this machine has not.
                parts.take_rest();
                self.emit(Code::Nothing, Operands::default());
                Ok(())
            }
        }
    }

    fn shuffle(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        if !parts.take("sync") {
            return self.error("shfl without .sync ended with sm_70");
        }
        let mode = match parts.take_one(&["up", "down", "bfly", "idx"]) {
            Some("up") => ShuffleMode::Up,
            Some("down") => ShuffleMode::Down,
            Some("bfly") => ShuffleMode::Butterfly,
            Some(_) => ShuffleMode::Index,
            None => return self.error(format!("unknown instruction {}", parts.name())),
        };
        parts.take("b32");
        let operands = self.count(parts, 5..=5)?;
        let (d, in_range) = match &operands[0] {
            Operand::Pair(d, p) => (self.destination_of(d, 32)?, self.predicate(p)?),
            single => (self.destination_of(single, 32)?, None),
        };
        let mut s = [Reg(0); 4];
        for (s, operand) in s.iter_mut().zip(&operands[1..]) {
            *s = self.value(operand, 32)?;
        }
        self.emit(Code::Shuffle(Box::new(Shuffle { mode, in_range })), Operands { d, s });
        Ok(())
    }

    fn collective(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        use CollectiveKind::*;
        let base = parts.base();
        parts.take("sync");
        let wanted: &[(&'static str, CollectiveKind)] = match base {
            "vote" => &[("all", All), ("any", Any), ("uni", Uniform), ("ballot", Ballot)],
            "match" => &[("any", MatchAny), ("all", MatchAll)],
            "redux" => &[
                ("add", ReduxAdd),
                ("min", ReduxMinU),
                ("max", ReduxMaxU),
                ("and", ReduxAnd),
                ("or", ReduxOr),
                ("xor", ReduxXor),
            ],
            "elect" => &[("elect", Elect)],
            _ => &[("activemask", ActiveMask)],
        };
        let found = wanted.iter().find(|(name, _)| *name == base || parts.take(name));
        let Some(&(_, mut kind)) = found else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let ty = parts.take_next().unwrap_or("");
        if ty == "s32" {
            kind = match kind {
                ReduxMinU => ReduxMinS,
                ReduxMaxU => ReduxMaxS,
                other => other,
            };
        }
        let operands = self.count(parts, 1..=3)?;
        let mut collective =
            Collective { kind, members: None, predicate: None, result: None, value: None, condition: None };
        let missing = || DecodeError { line: self.source.line, message: format!("{base}: too few operands") };
        let operand = |i: usize| operands.get(i).ok_or_else(missing);
        match kind {
            All | Any | Uniform => {
                let (d, a, members) = (operand(0)?, operand(1)?, operand(2)?);
                collective.predicate = self.predicate(d)?;
                collective.condition = Some(self.condition(a)?);
                collective.members = Some(self.value(members, 32)?);
            }
            Ballot => {
                let (d, a, members) = (operand(0)?, operand(1)?, operand(2)?);
                collective.result = Some(self.destination_of(d, 32)?);
                collective.condition = Some(self.condition(a)?);
                collective.members = Some(self.value(members, 32)?);
            }
            MatchAny | MatchAll => {
                let (d, a, members) = (operand(0)?, operand(1)?, operand(2)?);
                let d = match d {
                    Operand::Pair(d, p) => {
                        collective.predicate = self.predicate(p)?;
                        d
                    }
                    single => single,
                };
                let wide = ty == "b64";
                collective.result = Some(self.destination_of(d, 32)?);
                collective.value = Some((self.value(a, if wide { 64 } else { 32 })?, wide));
                collective.members = Some(self.value(members, 32)?);
            }
            ActiveMask => collective.result = Some(self.destination_of(operand(0)?, 32)?),
            Elect => {
                let (d, members) = (operand(0)?, operand(1)?);
                match d {
                    Operand::Pair(d, p) => {
                        collective.predicate = self.predicate(p)?;
                        if !matches!(**d, Operand::Sink) {
                            collective.result = Some(self.destination_of(d, 32)?);
                        }
                    }
                    _ => return self.error("elect.sync writes d|p"),
                }
                collective.members = Some(self.value(members, 32)?);
            }
            _ => {
                let (d, a, members) = (operand(0)?, operand(1)?, operand(2)?);
                collective.result = Some(self.destination_of(d, 32)?);
                collective.value = Some((self.value(a, 32)?, false));
                collective.members = Some(self.value(members, 32)?);
            }
        }
        self.emit(Code::Collective(Box::new(collective)), Operands::default());
        Ok(())
    }

    fn barrier(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        // `bar` means `barrier.aligned`.
        let aligned = parts.take("aligned") || parts.base() == "bar";
        parts.take("cta");
        if parts.take("warp") {
            parts.take("sync");
            let operands = self.count(parts, 1..=1)?;
            let members = self.value(&operands[0], 32)?;
            let s = [members, Reg(0), Reg(0), Reg(0)];
            self.emit(Code::WarpSync, Operands { d: Reg(0), s });
            return Ok(());
        }
        let cluster = parts.take("cluster");
        let red = parts.take("red");
        let kind = if red { Some("red") } else { parts.take_one(&["sync", "arrive", "wait"]) };
        let Some(kind) = kind else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let mut barrier = Barrier {
            arrive_only: kind == "arrive",
            aligned,
            counted: false,
            reduce: None,
            cluster,
            wait_only: kind == "wait",
        };
        if cluster {
            parts.take_one(&["acquire", "release", "relaxed"]);
            self.emit(Code::Barrier(Box::new(barrier)), Operands::default());
            return Ok(());
        }
        let mut operands = parts.operands();
        let mut d = Reg(0);
        if red {
            let reduce = match parts.take_one(&["popc", "and", "or"]) {
                Some("popc") => BarrierReduce::Popc,
                Some("and") => BarrierReduce::And,
                Some(_) => BarrierReduce::Or,
                None => return self.error(format!("unknown instruction {}", parts.name())),
            };
            parts.take_one(&["u32", "pred"]);
            let [to, middle @ .., condition] = operands else {
                return self.error(format!("{}: too few operands", parts.name()));
            };
            d = match reduce {
                BarrierReduce::Popc => self.destination_of(to, 32)?,
                _ => match self.predicate(to)? {
                    Some(predicate) => Reg(predicate),
                    None => Reg(self.scopes.predicate()),
                },
            };
            barrier.reduce = Some((reduce, self.condition(condition)?));
            operands = middle;
        }
        let mut s = [Reg(0); 4];
        match operands {
            [id] => s[0] = self.value(id, 32)?,
            [id, threads] => {
                s[0] = self.value(id, 32)?;
                s[1] = self.value(threads, 32)?;
                barrier.counted = true;
            }
            _ => return self.error(format!("{}: {} operands", parts.name(), operands.len())),
        }
        self.emit(Code::Barrier(Box::new(barrier)), Operands { d, s });
        Ok(())
    }

    fn fence(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let rest = parts.take_rest();
        let fence = match rest.as_slice() {
            ["cta"] | [_, "cta"] => Fence::Block,
            ["gl" | "sys" | "gpu" | "cluster"] => Fence::Device,
            ["sc" | "acq_rel" | "acquire" | "release", "gpu" | "sys" | "cluster"] => Fence::Device,
            ["mbarrier_init", ..] => Fence::MbarrierInit,
            ["proxy", "async" | "async.shared::cta" | "async.global" | "async.shared::cluster", ..] => {
                Fence::ProxyAsync
            }
            // Generic to tensor-map proxy and back: this machine reads maps when an instruction uses them.
            ["proxy", "alias" | "tensormap::generic", ..] => Fence::OtherProxy,
            _ => return self.error(format!("unknown instruction {}", parts.name())),
        };
        self.emit(Code::Fence(fence), Operands::default());
        Ok(())
    }
}
