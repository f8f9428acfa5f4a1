//! Exchanges between the lanes of a warp (PTX ISA, sections "shfl.sync", "vote.sync", "match.sync", "redux.sync",
//! "activemask", "elect.sync"). None of them orders memory.

use crate::check::finding::Kind;
use crate::program::form::{Collective, CollectiveKind, Shuffle, ShuffleMode};

use super::block::Block;
use super::warp::{Flow, Wait, Warp};
use crate::lanes::alu::Operands;
use crate::lanes::registers::{lanes, wide};

impl Block<'_> {
    /// The members of a collective among the lanes that live; `Err` says what to do instead of going on.
    fn members(&self, warp: &Warp, given: u32, pc: u32, active: u32) -> Result<u32, Flow> {
        let members = given & self.live[warp.id];
        if active & !members != 0 {
            let text = format!("lanes {:#010x} are not in the member mask {given:#010x}", active & !members);
            self.report(pc, warp.id, Some(active & !members), Kind::Barrier, text);
        } else if members & !active != 0 {
            return Err(Flow::Again(Wait::Lanes(members)));
        }
        Ok(members)
    }

    /// `shfl.sync`
    pub(super) fn shuffle(
        &mut self,
        warp: &mut Warp,
        op: &Shuffle,
        operands: Operands,
        pc: u32,
        active: u32,
    ) -> Flow {
        let first = active.trailing_zeros() as usize;
        let members = match self.members(warp, warp.lane32(operands.s[3], first), pc, active) {
            Ok(members) => members,
            Err(flow) => return flow,
        };
        let row = |i: usize| warp.registers[operands.s[i].0 as usize].0;
        let (a, b, c) = (row(0), row(1), row(2));
        let (mut out, mut in_range) = (a, 0);
        for lane in lanes(active) {
            let (clamp, segment) = ((c[lane] & 31) as usize, (c[lane] >> 8 & 31) as usize);
            let b = (b[lane] & 31) as usize;
            // The segment that the lane is in runs from `least` to `most`.
            let most = (lane & segment) | (clamp & !segment);
            let least = lane & segment;
            let (from, inside) = match op.mode {
                ShuffleMode::Up => (lane.wrapping_sub(b), lane >= b && lane - b >= most),
                ShuffleMode::Down => (lane + b, lane + b <= most),
                ShuffleMode::Butterfly => (lane ^ b, lane ^ b <= most),
                ShuffleMode::Index => {
                    let from = least | (b & !segment);
                    (from, from <= most)
                }
            };
            let from = if inside { from } else { lane };
            if inside {
                in_range |= 1 << lane;
                if members >> from & 1 == 0 {
                    let text = format!("shfl.sync reads lane {from}, which does not take part");
                    self.report(pc, warp.id, Some(1 << lane), Kind::Uninitialised, text);
                }
            }
            out[lane] = a[from];
        }
        let d = &mut warp.registers[operands.d.0 as usize].0;
        for lane in lanes(active) {
            d[lane] = out[lane];
        }
        if let Some(p) = op.in_range {
            warp.set_predicate(p, in_range, active);
        }
        Flow::Next
    }

    /// The other collectives.
    pub(super) fn collective(&mut self, warp: &mut Warp, op: &Collective, pc: u32, active: u32) -> Flow {
        use CollectiveKind::*;
        let mut members = active;
        if let Some(reg) = op.members {
            let given = warp.lane32(reg, active.trailing_zeros() as usize);
            members = match self.members(warp, given, pc, active) {
                Ok(members) => members & active,
                Err(flow) => return flow,
            };
        }
        let bits = op.condition.map_or(0, |c| warp.condition(c)) & members;
        let value = |lane: usize| match op.value {
            Some((reg, true)) => wide(&warp.registers, reg)[lane],
            Some((reg, false)) => u64::from(warp.lane32(reg, lane)),
            None => 0,
        };
        let fold = |f: &dyn Fn(u32, u32) -> u32| {
            lanes(members).map(|lane| value(lane) as u32).reduce(f).unwrap_or(0)
        };
        let (mut result, mut predicate) = ([0u32; 32], 0u32);
        match op.kind {
            All => predicate = if bits == members { !0 } else { 0 },
            Any => predicate = if bits != 0 { !0 } else { 0 },
            Uniform => predicate = if bits == members || bits == 0 { !0 } else { 0 },
            Ballot => result = [bits; 32],
            ActiveMask => result = [active; 32],
            MatchAny => {
                for lane in lanes(members) {
                    let same = lanes(members).filter(|&other| value(other) == value(lane));
                    result[lane] = same.fold(0, |mask, other| mask | 1 << other);
                }
            }
            MatchAll => {
                let first = value(members.trailing_zeros() as usize);
                if lanes(members).all(|lane| value(lane) == first) {
                    result = [members; 32];
                    predicate = !0;
                }
            }
            Elect => {
                let leader = members.trailing_zeros();
                result = [leader; 32];
                predicate = 1 << leader;
            }
            ReduxAdd => result = [fold(&|a, b| a.wrapping_add(b)); 32],
            ReduxMinU => result = [fold(&|a, b| a.min(b)); 32],
            ReduxMaxU => result = [fold(&|a, b| a.max(b)); 32],
            ReduxMinS => result = [fold(&|a, b| (a as i32).min(b as i32) as u32); 32],
            ReduxMaxS => result = [fold(&|a, b| (a as i32).max(b as i32) as u32); 32],
            ReduxAnd => result = [fold(&|a, b| a & b); 32],
            ReduxOr => result = [fold(&|a, b| a | b); 32],
            ReduxXor => result = [fold(&|a, b| a ^ b); 32],
        }
        if let Some(d) = op.result {
            for lane in lanes(active) {
                warp.registers[d.0 as usize].0[lane] = result[lane];
            }
        }
        if let Some(p) = op.predicate {
            warp.set_predicate(p, predicate, active);
        }
        Flow::Next
    }
}
