//! mbarriers (PTX ISA, section "mbarrier").

use crate::check::clock::Clock;
use crate::check::finding::Kind;
use crate::program::SHARED_BASE;
use crate::program::form::{Mbarrier, MbarrierKind};

use super::access::Touch;
use super::block::Block;
use super::warp::{Flow, Group, Wait, Warp};
use crate::lanes::registers::{LANES, Reg, lanes, wide, wide_mut};

/// An mbarrier object.
#[derive(Debug, Default)]
pub struct State {
    /// Arrivals of each phase.
    count: i64,
    /// Arrivals that this phase still expects.
    pending: i64,
    /// Bytes that this phase still expects.
    bytes: i64,
    /// Phases that have ended.
    phase: u64,
    /// What arrivals know so far.
    clock: Clock,
    /// What those of the ended phases knew.
    done: Clock,
    /// Who made it, and when.
    made: (usize, u32),
    /// The asynchronous proxy sees that it was made.
    fenced: bool,
}

impl State {
    /// Ends the phase if nothing is expected any more.
    fn settle(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.phase += 1;
            self.pending = self.count;
            self.done = self.clock.clone();
        }
    }
}

/// Most arrivals and bytes of a phase (PTX ISA, "mbarrier: supported operations").
const MOST: i64 = (1 << 20) - 1;

impl Block<'_> {
    /// Whether the phase of a parity has ended. An mbarrier that is not there holds nobody up: its use is reported.
    pub(super) fn mbarrier_passed(&self, address: u32, parity: u32) -> bool {
        self.mbarriers.get(&address).is_none_or(|b| b.phase as u32 & 1 != parity)
    }

    /// For a report.
    pub(super) fn describe_mbarrier(&self, address: u32, parity: u32) -> String {
        match self.mbarriers.get(&address) {
            None => format!("waiting on shared address {address:#x}, where no mbarrier is"),
            Some(b) => format!(
                "waiting for the phase of parity {parity} of the mbarrier at {address:#x}, which lacks {} of {} \
                 arrivals and {} bytes",
                b.pending, b.count, b.bytes
            ),
        }
    }

    /// `fence.mbarrier_init`, `fence.proxy.async`: the asynchronous proxy sees the mbarriers that a thread made.
    pub(super) fn fence_mbarriers(&mut self, warp: &Warp, active: u32) {
        for barrier in self.mbarriers.values_mut() {
            let (thread, _) = barrier.made;
            let own = thread / LANES == warp.id && active >> (thread % LANES) & 1 == 1;
            let known = self.checker.as_ref().is_some_and(|c| {
                lanes(active).any(|l| c.clocks.ordered(warp.id * LANES + l, thread as u32, barrier.made.1))
            });
            barrier.fenced |= own || known;
        }
    }

    /// The mbarrier that a bulk copy names, or a report.
    pub(super) fn copy_mbarrier(
        &mut self,
        address: u32,
        pc: u32,
        warp: usize,
        lane: usize,
    ) -> Option<&mut State> {
        let fault = match self.mbarriers.get(&address) {
            None => Some((Kind::Barrier, format!("no mbarrier at shared address {address:#x}"))),
            Some(b) if !b.fenced && self.checker.is_some() => Some((
                Kind::ProxyFence,
                "mbarrier used by an asynchronous copy without fence.mbarrier_init after its init".to_owned(),
            )),
            Some(_) => None,
        };
        if let Some((kind, text)) = fault {
            self.report(pc, warp, Some(1 << lane), kind, text);
        }
        self.mbarriers.get_mut(&address)
    }

    /// Bytes of a bulk copy have arrived.
    pub(super) fn complete_bytes(&mut self, address: u32, bytes: u32) {
        let Some(barrier) = self.mbarriers.get_mut(&address) else { return };
        barrier.bytes -= i64::from(bytes);
        if let Some(checker) = &mut self.checker {
            barrier.clock.note_copies(copy_id(address), checker.clocks.now);
            // Copies of the next phase are later than this.
            checker.clocks.now += 1;
        }
        barrier.settle();
    }

    /// An arrival without a thread waiting: a thread's earlier `cp.async` have completed.
    pub(super) fn arrive(&mut self, address: u32, thread: usize, count: i64) -> Result<u64, String> {
        let Some(barrier) = self.mbarriers.get_mut(&address) else {
            return Err(format!("no mbarrier at shared address {address:#x}"));
        };
        if barrier.pending < count {
            return Err(format!(
                "{count} arrivals at the mbarrier at {address:#x}, which expects {} more of {} in this phase",
                barrier.pending, barrier.count
            ));
        }
        let state = (barrier.phase << 32) | barrier.pending as u64;
        if let Some(checker) = &mut self.checker {
            checker.clocks.release(thread, &mut barrier.clock);
        }
        barrier.pending -= count;
        barrier.settle();
        Ok(state)
    }

    /// All `mbarrier.*` instructions.
    pub(super) fn mbarrier(&mut self, warp: &mut Warp, op: &Mbarrier, pc: u32, active: u32) -> Flow {
        if op.kind == MbarrierKind::PendingCount {
            if let (Some(d), Some(state)) = (op.value, op.state) {
                for lane in lanes(active) {
                    warp.registers[d.0 as usize].0[lane] =
                        wide(&warp.registers, state)[lane] as u32 & 0xf_ffff;
                }
            }
            return Flow::Next;
        }
        let addresses = self.addresses(warp, op.address);
        let (mut waiting, mut waits) = (0, None);
        for lane in lanes(active) {
            let Some(offset) = self.shared_offset(addresses[lane], 8, pc, warp.id, lane) else { continue };
            let address = offset + SHARED_BASE;
            match self.mbarrier_lane(warp, op, pc, lane, address) {
                Ok(None) => {}
                Ok(Some(parity)) => {
                    waiting |= 1u32 << lane;
                    waits.get_or_insert(Wait::Mbarrier { address, parity });
                }
                Err(text) => self.report(pc, warp.id, Some(1 << lane), Kind::Barrier, text),
            }
        }
        match waits {
            None => Flow::Next,
            Some(wait) if waiting == active => Flow::Again(wait),
            // The others go on without these.
            Some(wait) => {
                warp.groups.push(Group { pc, mask: waiting, wait });
                Flow::Leave(waiting)
            }
        }
    }

    /// One lane's part; `Some(parity)` if it must wait.
    fn mbarrier_lane(
        &mut self,
        warp: &mut Warp,
        op: &Mbarrier,
        pc: u32,
        lane: usize,
        address: u32,
    ) -> Result<Option<u32>, String> {
        use MbarrierKind::*;
        let thread = self.thread(warp, lane);
        let value = |warp: &Warp| op.value.map(|reg| warp.lane32(reg, lane));
        if op.kind == Init {
            let count = i64::from(value(warp).unwrap_or(0));
            if !(1..=MOST).contains(&count) {
                return Err(format!("mbarrier.init with a count of {count}"));
            }
            self.shared_access(warp, pc, lane, address - SHARED_BASE, 8, Touch::Write);
            let now = self.checker.as_ref().map_or(0, |c| c.clocks.now);
            let state = State { count, pending: count, made: (thread, now), ..State::default() };
            self.mbarriers.insert(address, state);
            return Ok(None);
        }
        let Some(barrier) = self.mbarriers.get_mut(&address) else {
            return Err(format!("no mbarrier at shared address {address:#x}"));
        };
        if let Some(checker) = &self.checker
            && !checker.clocks.ordered(thread, barrier.made.0 as u32, barrier.made.1)
        {
            let text =
                format!("mbarrier used without being ordered after its init by thread {}", barrier.made.0);
            self.report(pc, warp.id, Some(1 << lane), Kind::Race, text);
            return Ok(None);
        }
        match op.kind {
            Init | PendingCount => {}
            Invalidate => {
                self.mbarriers.remove(&address);
            }
            ExpectTx | ArriveExpectTx => {
                barrier.bytes += i64::from(value(warp).unwrap_or(0));
                if barrier.bytes > MOST {
                    return Err(format!("an mbarrier expects {} bytes, more than {MOST}", barrier.bytes));
                }
                if op.kind == ArriveExpectTx {
                    let state = self.arrive(address, thread, 1)?;
                    self.set_state(warp, op.state, lane, state);
                }
            }
            CompleteTx => {
                let bytes = value(warp).unwrap_or(0);
                self.complete_bytes(address, bytes);
            }
            Arrive => {
                let count = i64::from(value(warp).unwrap_or(1));
                let state = self.arrive(address, thread, count)?;
                self.set_state(warp, op.state, lane, state);
            }
            ArriveDrop => {
                let count = i64::from(value(warp).unwrap_or(1));
                if barrier.count < count {
                    return Err(format!("mbarrier.arrive_drop of {count}, of {} expected", barrier.count));
                }
                barrier.count -= count;
                let state = self.arrive(address, thread, count)?;
                self.set_state(warp, op.state, lane, state);
            }
            CopyArrive | CopyArriveNoInc => {
                if op.kind == CopyArrive {
                    barrier.pending += 1;
                }
                // The thread's copies are taken to complete now, which they may.
                self.copy_wait(warp, None, 1 << lane);
                self.arrive(address, thread, 1)?;
            }
            TestState | TryState | TestParity | TryParity => {
                let parity = match (op.kind, op.state) {
                    (TestState | TryState, Some(state)) => {
                        (wide(&warp.registers, state)[lane] >> 32) as u32 & 1
                    }
                    _ => value(warp).unwrap_or(0) & 1,
                };
                let passed = barrier.phase as u32 & 1 != parity;
                if !passed && matches!(op.kind, TryState | TryParity) {
                    return Ok(Some(parity));
                }
                if passed && let Some(checker) = &mut self.checker {
                    checker.clocks.acquire(thread, &barrier.done);
                }
                if let Some(p) = op.predicate {
                    warp.set_predicate(p, if passed { !0 } else { 0 }, 1 << lane);
                }
            }
        }
        Ok(None)
    }

    fn set_state(&self, warp: &mut Warp, reg: Option<Reg>, lane: usize, state: u64) {
        if let Some(reg) = reg {
            wide_mut(&mut warp.registers, reg)[lane] = state;
        }
    }
}

/// The number by which shadow cells know the copies of an mbarrier.
pub(super) fn copy_id(address: u32) -> u32 {
    (address / 8) & 0xffff
}
