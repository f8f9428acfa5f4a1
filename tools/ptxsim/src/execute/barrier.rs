//! Barriers of a block and of a warp, and fences (PTX ISA, "Parallel synchronization and communication").

use crate::check::clock::Clock;
use crate::check::finding::Kind;
use crate::program::form::{Barrier, BarrierReduce, Fence};

use super::block::Block;
use super::warp::{Flow, Wait, Warp};
use crate::lanes::alu::Operands;
use crate::lanes::registers::{LANES, Reg, lanes};

/// Named barriers of a block; the last is that of the cluster, which is the block.
const COUNT: usize = 17;
/// See [`COUNT`].
const CLUSTER: usize = 16;

#[derive(Debug, Default)]
struct Named {
    generation: u64,
    /// Lanes that have arrived, by warp.
    arrived: Vec<u32>,
    /// Of those, the ones that do not wait.
    passing: bool,
    /// Threads asked for; `None`: all of the block.
    count: Option<u32>,
    /// What the arrivals know.
    clock: Clock,
    /// What those of the last generation knew; `None` if they all waited and know it already.
    done: Option<Clock>,
    /// Count, conjunction and disjunction of `barrier.red`.
    reduce: (u32, bool, bool),
    reduced: (u32, bool, bool),
}

impl Named {
    fn empty(&self) -> bool {
        self.arrived.iter().all(|a| *a == 0)
    }
}

/// The barriers of a block.
#[derive(Debug)]
pub struct Barriers {
    named: Vec<Named>,
}

impl Barriers {
    /// Barriers at which nobody has arrived.
    pub fn new(warps: usize) -> Barriers {
        let fresh = || Named { arrived: vec![0; warps], reduce: (0, true, false), ..Named::default() };
        Barriers { named: (0..COUNT).map(|_| fresh()).collect() }
    }

    /// How often a barrier has completed.
    pub fn generation(&self, id: usize) -> u64 {
        self.named[id].generation
    }

    /// For a report.
    pub fn describe(&self, id: usize) -> String {
        let barrier = &self.named[id];
        let arrived: u32 = barrier.arrived.iter().map(|a| a.count_ones()).sum();
        let wanted = barrier.count.map_or("all".to_owned(), |count| count.to_string());
        match id {
            CLUSTER => format!("the cluster barrier, {arrived} threads arrived"),
            _ => format!("barrier {id}, {arrived} of {wanted} threads arrived"),
        }
    }
}

impl Block<'_> {
    /// `barrier.sync`, `barrier.arrive`, `barrier.red`, `barrier.cluster`.
    pub(super) fn barrier(
        &mut self,
        warp: &mut Warp,
        op: &Barrier,
        operands: Operands,
        pc: u32,
        active: u32,
    ) -> Flow {
        let live = self.live[warp.id];
        if op.wait_only {
            let generation = warp.cluster_generation;
            return Flow::After(Wait::Barrier { id: CLUSTER, generation, reduce: None });
        }
        if op.aligned && active != live {
            // Lanes that are elsewhere come here too, or the program is wrong: then nobody ever goes on.
            return Flow::Again(Wait::Lanes(!0));
        }
        let first = active.trailing_zeros() as usize;
        let id = if op.cluster { CLUSTER } else { warp.lane32(operands.s[0], first) as usize };
        let count = op.counted.then(|| warp.lane32(operands.s[1], first));
        let fault = |this: &Block, text: String| {
            this.report(pc, warp.id, Some(active), Kind::Barrier, text);
            Flow::Stop
        };
        if id >= CLUSTER && !op.cluster {
            return fault(self, format!("barrier {id} of 16"));
        }
        if let Some(count) = count
            && (count == 0 || !count.is_multiple_of(32) || count as usize > self.live.len() * LANES)
        {
            return fault(self, format!("barrier {id} for {count} threads, of a block of {}", self.threads));
        }
        let barrier = &self.barriers.named[id];
        if !barrier.empty() && barrier.count != count {
            return fault(self, format!("barrier {id} asked for with different numbers of threads"));
        }
        if barrier.arrived[warp.id] & active != 0 {
            return fault(self, format!("a thread arrives again at barrier {id} before it completes"));
        }
        let generation = barrier.generation;
        let barrier = &mut self.barriers.named[id];
        barrier.count = count;
        barrier.arrived[warp.id] |= active;
        barrier.passing |= op.arrive_only;
        if let Some((_, condition)) = op.reduce {
            let bits = warp.condition(condition) & active;
            barrier.reduce.0 += bits.count_ones();
            barrier.reduce.1 &= bits == active;
            barrier.reduce.2 |= bits != 0;
        }
        if op.arrive_only || count.is_some() || op.cluster {
            if let Some(checker) = &mut self.checker {
                for lane in lanes(active) {
                    checker.clocks.release(warp.id * LANES + lane, &mut barrier.clock);
                }
            }
            // The clocks of those who wait are joined when they leave.
            barrier.passing = true;
        }
        if op.cluster {
            warp.cluster_generation = generation;
        }
        self.complete(id);
        if op.arrive_only {
            return Flow::Next;
        }
        let reduce = op.reduce.map(|(reduce, _)| (reduce, operands.d));
        Flow::After(Wait::Barrier { id, generation, reduce })
    }

    /// Ends a barrier's generation if all have arrived.
    fn complete(&mut self, id: usize) {
        let barrier = &mut self.barriers.named[id];
        if barrier.empty() {
            return;
        }
        let whole = |(arrived, live): (&u32, &u32)| *arrived & live == *live;
        let done = match barrier.count {
            None => barrier.arrived.iter().zip(&self.live).all(whole),
            // A whole warp counts as 32 threads, even if some never were.
            Some(count) => {
                let arrived = |(arrived, live): (&u32, &u32)| match (*arrived, whole((arrived, live))) {
                    (0, _) => 0,
                    (_, true) => LANES as u32,
                    (some, false) => some.count_ones(),
                };
                barrier.arrived.iter().zip(&self.live).map(arrived).sum::<u32>() >= count
            }
        };
        if !done {
            return;
        }
        barrier.generation += 1;
        if let Some(checker) = &mut self.checker {
            if barrier.passing {
                barrier.done = Some(std::mem::take(&mut barrier.clock));
            } else {
                let threads: Vec<u32> = barrier
                    .arrived
                    .iter()
                    .enumerate()
                    .flat_map(|(warp, arrived)| lanes(*arrived).map(move |lane| (warp * LANES + lane) as u32))
                    .collect();
                checker.clocks.meet(&threads, true);
                barrier.done = None;
            }
        }
        barrier.passing = false;
        barrier.arrived.fill(0);
        barrier.reduced = std::mem::replace(&mut barrier.reduce, (0, true, false));
    }

    /// Some lanes have ended: barriers need no longer wait for them.
    pub(super) fn exited(&mut self) {
        for id in 0..COUNT {
            if self.barriers.named[id].count.is_none() {
                self.complete(id);
            }
        }
    }

    /// Lanes go on after a barrier.
    pub(super) fn leave_barrier(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        id: usize,
        reduce: Option<(BarrierReduce, Reg)>,
    ) {
        let barrier = &self.barriers.named[id];
        if let (Some(checker), Some(done)) = (&mut self.checker, &barrier.done) {
            for lane in lanes(mask) {
                checker.clocks.acquire(warp.id * LANES + lane, done);
            }
        }
        let (count, all, any) = barrier.reduced;
        match reduce {
            Some((BarrierReduce::Popc, d)) => {
                for lane in lanes(mask) {
                    warp.registers[d.0 as usize].0[lane] = count;
                }
            }
            Some((BarrierReduce::And, d)) => warp.set_predicate(d.0, if all { !0 } else { 0 }, mask),
            Some((BarrierReduce::Or, d)) => warp.set_predicate(d.0, if any { !0 } else { 0 }, mask),
            None => {}
        }
    }

    /// `bar.warp.sync`
    pub(super) fn warp_sync(&mut self, warp: &mut Warp, members: Reg, active: u32) -> Flow {
        let members = warp.lane32(members, active.trailing_zeros() as usize) & self.live[warp.id];
        if members & !active != 0 {
            return Flow::After(Wait::WarpSync(members));
        }
        self.meet_warp(warp.id, active);
        Flow::Next
    }

    /// Lanes of a warp learn of each other.
    pub(super) fn meet_warp(&mut self, warp: usize, lanes_met: u32) {
        let Some(checker) = &mut self.checker else { return };
        let threads: Vec<u32> = lanes(lanes_met).map(|lane| (warp * LANES + lane) as u32).collect();
        let others_ended = self.live.iter().enumerate().all(|(w, live)| w == warp || *live == 0);
        checker.clocks.meet(&threads, others_ended && lanes_met == self.live[warp]);
    }

    /// `fence`, `membar`
    pub(super) fn fence(&mut self, warp: &Warp, fence: Fence, active: u32) {
        if matches!(fence, Fence::MbarrierInit | Fence::ProxyAsync) {
            self.fence_mbarriers(warp, active);
        }
        let Some(checker) = &mut self.checker else { return };
        for lane in lanes(active) {
            let thread = warp.id * LANES + lane;
            match fence {
                Fence::Block | Fence::Device => checker.clocks.fence(thread),
                Fence::ProxyAsync => checker.clocks.proxy_fence(thread),
                Fence::MbarrierInit | Fence::OtherProxy => {}
            }
        }
    }
}
