//! A warp: lanes in lock step, split into groups where they took different branches.
//!
//! The group with the lowest program counter runs, so that groups meet again where the code joins; a group that
//! waits lets the others run, as independent thread scheduling promises.

use crate::program::form::BarrierReduce;
use crate::program::{Code, Condition, Logic, Op};

use super::block::Block;
use super::copy::CopyState;
use super::wgmma::WgmmaState;
use crate::lanes::alu::Alu;
use crate::lanes::registers::{Cell, Cells, LANES, Reg};

/// What a group of lanes waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    Ready,
    /// These lanes to come to the same instruction.
    Lanes(u32),
    /// These lanes to come to a `bar.warp.sync` with the same members, wherever it is.
    WarpSync(u32),
    /// A barrier.
    Barrier {
        /// Its number.
        id: usize,
        /// The generation that shall end.
        generation: u64,
        /// What `barrier.red` then writes, and where.
        reduce: Option<(BarrierReduce, Reg)>,
    },
    /// An mbarrier's phase to end.
    Mbarrier {
        /// Shared address.
        address: u32,
        /// The phase's parity.
        parity: u32,
    },
    /// The other warps of the warpgroup to have committed so many groups of products.
    Warpgroup {
        /// How many.
        groups: usize,
    },
    /// Its turn, having had one.
    Turn,
}

/// Lanes that share a program counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Next instruction.
    pub pc: u32,
    /// Lanes.
    pub mask: u32,
    /// What for.
    pub wait: Wait,
}

/// A warp.
#[derive(Debug)]
pub struct Warp {
    /// Its number in the block.
    pub id: usize,
    /// Registers.
    pub registers: Vec<Cells>,
    /// Predicates, a bit a lane.
    pub predicates: Vec<u32>,
    /// Groups, those that run or wait.
    pub groups: Vec<Group>,
    /// Asynchronous copies of its lanes.
    pub copies: CopyState,
    /// Its asynchronous matrix products.
    pub wgmma: WgmmaState,
    /// Generation of the cluster barrier at its arrival.
    pub cluster_generation: u64,
}

/// What becomes of a group after an instruction that the loop does not do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Goes on with the next instruction.
    Next,
    /// Does this instruction again after a wait.
    Again(Wait),
    /// Goes on after a wait.
    After(Wait),
    /// These lanes have ended, or stand elsewhere now; the others go on.
    Leave(u32),
    /// The block cannot go on.
    Stop,
}

/// How a run of a group ended.
enum End {
    /// The group's new state; no lane left if the mask is 0.
    Group(Group),
    /// Two groups.
    Split(Group, Group),
    /// The block cannot go on.
    Stop,
}

impl Warp {
    /// A predicate as an operand.
    #[inline(always)]
    pub fn condition(&self, condition: Condition) -> u32 {
        match condition {
            Condition::Predicate(p, false) => self.predicates[p as usize],
            Condition::Predicate(p, true) => !self.predicates[p as usize],
            Condition::Constant(true) => !0,
            Condition::Constant(false) => 0,
        }
    }

    /// Writes lanes of a predicate.
    #[inline(always)]
    pub fn set_predicate(&mut self, predicate: u32, bits: u32, mask: u32) {
        let old = &mut self.predicates[predicate as usize];
        *old = (*old & !mask) | (bits & mask);
    }

    /// A lane of a 32-bit register.
    pub fn lane32(&self, reg: Reg, lane: usize) -> u32 {
        self.registers[reg.0 as usize].0[lane]
    }

    /// Lanes of this warp that still live.
    pub fn live(&self) -> u32 {
        self.groups.iter().fold(0, |all, g| all | g.mask)
    }

    /// Merges groups that have met, and takes the ready one with the lowest program counter, with what it waited
    /// for.
    fn take_ready(&mut self, block: &mut Block) -> Option<Group> {
        if let [only] = &mut self.groups[..] {
            // The usual case.
            let mut group = *only;
            if group.wait == Wait::Turn {
                group.wait = Wait::Ready;
            }
            if !block.ready(self, group) {
                return None;
            }
            self.groups.clear();
            return Some(group);
        }
        let mut i = 0;
        while i < self.groups.len() {
            let joins = |w: Wait| matches!(w, Wait::Ready | Wait::Turn | Wait::Lanes(_));
            let (pc, wait) = (self.groups[i].pc, self.groups[i].wait);
            let twin = (i + 1..self.groups.len()).find(|&j| {
                let other = self.groups[j];
                other.pc == pc && (other.wait == wait || joins(other.wait) && joins(wait))
            });
            match twin {
                Some(j) => {
                    let other = self.groups.swap_remove(j);
                    self.groups[i].mask |= other.mask;
                    if other.wait != wait {
                        self.groups[i].wait = Wait::Ready;
                    }
                }
                None => i += 1,
            }
        }
        self.complete_warp_syncs(block);
        for pass in 0..2 {
            let mut best: Option<usize> = None;
            for i in 0..self.groups.len() {
                let group = self.groups[i];
                let lower = best.is_none_or(|b| group.pc < self.groups[b].pc);
                if lower && group.wait != Wait::Turn && block.ready(self, group) {
                    best = Some(i);
                }
            }
            if let Some(i) = best {
                return Some(self.groups.swap_remove(i));
            }
            if pass == 0 {
                // All that could run had their turn.
                let mut any = false;
                for group in &mut self.groups {
                    if group.wait == Wait::Turn {
                        group.wait = Wait::Ready;
                        any = true;
                    }
                }
                if !any {
                    return None;
                }
            }
        }
        None
    }

    /// Lets groups go on that have met at `bar.warp.sync` in different branches.
    fn complete_warp_syncs(&mut self, block: &mut Block) {
        for i in 0..self.groups.len() {
            let wait = self.groups[i].wait;
            let Wait::WarpSync(members) = wait else { continue };
            let met = self.groups.iter().filter(|g| g.wait == wait).fold(0, |all, g| all | g.mask);
            if members & block.live(self.id) & !met == 0 {
                block.meet_warp(self.id, met);
                for group in self.groups.iter_mut().filter(|g| g.wait == wait) {
                    group.wait = Wait::Ready;
                }
            }
        }
    }

    /// Runs for up to `budget` instructions, or until all groups wait. True if anything ran.
    pub fn run(&mut self, block: &mut Block, budget: u64) -> bool {
        let until = block.executed + budget;
        let mut ran = false;
        while let Some(group) = self.take_ready(block) {
            block.resume(self, group);
            let others = self.groups.iter().map(|g| g.pc).filter(|&pc| pc > group.pc);
            let stop = others.min().unwrap_or(u32::MAX);
            let arch = block.arch;
            let end = arch.dispatch(Walk { block, warp: self, group, stop, until });
            ran = true;
            match end {
                End::Group(group) => {
                    if group.mask != 0 {
                        self.groups.push(group);
                    }
                }
                End::Split(a, b) => self.groups.extend([a, b]),
                End::Stop => return true,
            }
            if block.executed >= until {
                break;
            }
        }
        ran
    }
}

/// The walk of one group through the program.
struct Walk<'w, 'b, 'l> {
    block: &'w mut Block<'l>,
    warp: &'b mut Warp,
    group: Group,
    /// Another group waits at this instruction.
    stop: u32,
    /// Instruction count at which the turn ends.
    until: u64,
}

impl pulp::WithSimd for Walk<'_, '_, '_> {
    type Output = End;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> End {
        let Walk { block, warp, group, stop, until } = self;
        let Group { mut pc, mut mask, .. } = group;
        let program = block.program;
        let alone = warp.groups.is_empty();
        let counting = block.counters.is_some();
        let at = |pc, mask, wait| End::Group(Group { pc, mask, wait });
        let again = |block: &mut Block, pc, mask, active, wait| {
            if let Some(counters) = &mut block.counters {
                counters.withdrawn(pc, active);
            }
            at(pc, mask, wait)
        };
        loop {
            if pc >= stop {
                return at(pc, mask, Wait::Ready);
            }
            if block.executed >= until {
                return at(pc, mask, Wait::Turn);
            }
            block.executed += 1;
            let op: &Op = &program.ops[pc as usize];
            let active = match op.guard {
                None => mask,
                Some(guard) => {
                    let bits = warp.predicates[guard.predicate as usize];
                    mask & if guard.negated { !bits } else { bits }
                }
            };
            if counting && let Some(counters) = &mut block.counters {
                counters.issued(pc, active);
            }
            if warp.wgmma.in_flight() {
                block.check_in_flight(warp, op, pc);
            }
            match &op.code {
                Code::Alu(Alu::Common(alu)) => {
                    if active != 0 {
                        alu.run(simd, &mut warp.registers, &op.operands, active);
                    }
                }
                Code::Test(test) => {
                    let bits = test.run(simd, &warp.registers, op.operands.s[0], op.operands.s[1]);
                    warp.set_predicate(op.operands.d.0, bits, active);
                }
                Code::Select(condition, wide) => {
                    let chosen = warp.condition(*condition);
                    if *wide {
                        select::<u64>(&mut warp.registers, op, chosen, active);
                    } else {
                        select::<u32>(&mut warp.registers, op, chosen, active);
                    }
                }
                Code::Predicate(logic, a, b) => {
                    let bits = combine(*logic, warp.condition(*a), warp.condition(*b));
                    warp.set_predicate(op.operands.d.0, bits, active);
                }
                Code::TestCombine(test, logic, with, other) => {
                    let bits = test.run(simd, &warp.registers, op.operands.s[0], op.operands.s[1]);
                    let with = warp.condition(*with);
                    warp.set_predicate(op.operands.d.0, combine(*logic, bits, with), active);
                    if let Some(other) = other {
                        warp.set_predicate(*other, combine(*logic, !bits, with), active);
                    }
                }
                Code::Branch(target) => {
                    if active == mask {
                        let back = *target <= pc;
                        pc = *target;
                        if back && !alone {
                            // Another group may be in between now.
                            return at(pc, mask, Wait::Ready);
                        }
                        continue;
                    }
                    if active != 0 {
                        if let Some(counters) = &mut block.counters {
                            counters.diverged();
                        }
                        let taken = Group { pc: *target, mask: active, wait: Wait::Ready };
                        return End::Split(
                            taken,
                            Group { pc: pc + 1, mask: mask & !active, wait: Wait::Ready },
                        );
                    }
                }
                Code::Mma(mma) => {
                    if mask != block.live(warp.id) {
                        return again(block, pc, mask, active, Wait::Lanes(!0));
                    }
                    if active != 0 {
                        simd.vectorize(super::matrix::MmaLanes(mma, &mut warp.registers));
                        if let Some(counters) = &mut block.counters {
                            counters.macs(mma.mma.macs());
                        }
                    }
                }
                Code::Wgmma(wgmma) => {
                    if mask != block.live(warp.id) {
                        return again(block, pc, mask, active, Wait::Lanes(!0));
                    }
                    if active != 0 {
                        block.start_wgmma(warp, wgmma, pc);
                        simd.vectorize(super::wgmma::WgmmaLanes(wgmma, &mut block.operands, warp));
                    }
                }
                _ => match block.other(warp, op, pc, mask, active) {
                    Flow::Next => {}
                    Flow::Again(wait) => return again(block, pc, mask, active, wait),
                    Flow::After(wait) => return at(pc + 1, mask, wait),
                    Flow::Leave(lanes) => {
                        mask &= !lanes;
                        if mask == 0 {
                            return at(pc, 0, Wait::Ready);
                        }
                    }
                    Flow::Stop => return End::Stop,
                },
            }
            pc += 1;
        }
    }
}

#[inline(always)]
fn combine(logic: Logic, a: u32, b: u32) -> u32 {
    match logic {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
        Logic::First => a,
    }
}

#[inline(always)]
fn select<C: Cell>(registers: &mut [Cells], op: &Op, chosen: u32, mask: u32) {
    let mut a = C::load(registers, op.operands.s[0]);
    let b = C::load(registers, op.operands.s[1]);
    for lane in 0..LANES {
        if chosen >> lane & 1 == 0 {
            a[lane] = b[lane];
        }
    }
    C::store(registers, op.operands.d, a, mask);
}
