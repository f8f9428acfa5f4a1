//! Vector clocks of a block's threads.
//!
//! Time is the block's own: it advances with every release by any thread, so that everything a thread did before a
//! release is stamped at most with the release's time. A full barrier then needs one number, the *floor*: all threads
//! are known up to it. What is known beyond the floor stands in a row of stamps, shared between the threads that
//! learnt it together.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// What is known of another block's threads, up to a time of that block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    floor: u32,
    row: Option<Arc<[u32]>>,
}

impl Known {
    fn covers(&self, thread: u32, time: u32) -> bool {
        time <= self.floor
            || self.row.as_ref().and_then(|r| r.get(thread as usize)).is_some_and(|known| time <= *known)
    }

    fn join(&mut self, other: &Known) {
        self.floor = self.floor.max(other.floor);
        match (&mut self.row, &other.row) {
            (_, None) => {}
            (mine @ None, theirs) => *mine = theirs.clone(),
            (Some(mine), Some(theirs)) => {
                if !Arc::ptr_eq(mine, theirs) {
                    *mine = mine.iter().zip(theirs.iter()).map(|(a, b)| *a.max(b)).collect();
                }
            }
        }
    }
}

/// What is known of blocks, by their index in the grid.
pub type Blocks = BTreeMap<u64, Known>;

/// Joins what is known of blocks.
pub fn join_blocks(into: &mut Blocks, from: &Blocks) {
    for (block, known) in from {
        into.entry(*block).or_default().join(known);
    }
}

/// What one thread, or a barrier, knows.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// All threads of the block are known up to this time.
    pub floor: u32,
    /// Times up to which single threads are known.
    row: Option<Rc<[u32]>>,
    /// Times up to which asynchronous copies are known, by their mbarrier.
    copies: Option<Rc<BTreeMap<u32, u32>>>,
    /// The part of `floor` and `row` that the asynchronous proxy sees, since a proxy fence.
    proxy_floor: u32,
    proxy_row: Option<Rc<[u32]>>,
    /// What is known of other blocks.
    blocks: Option<Rc<Blocks>>,
}

fn join_row(into: &mut Option<Rc<[u32]>>, from: &Option<Rc<[u32]>>) {
    match (into, from) {
        (_, None) => {}
        (mine @ None, theirs) => *mine = theirs.clone(),
        (Some(mine), Some(theirs)) => {
            if Rc::ptr_eq(mine, theirs) {
                return;
            }
            for (a, b) in Rc::make_mut(mine).iter_mut().zip(theirs.iter()) {
                *a = (*a).max(*b);
            }
        }
    }
}

impl Clock {
    /// Learns what another clock knows.
    pub fn join(&mut self, other: &Clock) {
        self.floor = self.floor.max(other.floor);
        join_row(&mut self.row, &other.row);
        self.proxy_floor = self.proxy_floor.max(other.proxy_floor);
        join_row(&mut self.proxy_row, &other.proxy_row);
        match (&mut self.copies, &other.copies) {
            (_, None) => {}
            (mine @ None, theirs) => *mine = theirs.clone(),
            (Some(mine), Some(theirs)) => {
                if !Rc::ptr_eq(mine, theirs) {
                    let mine = Rc::make_mut(mine);
                    for (barrier, time) in theirs.iter() {
                        let known = mine.entry(*barrier).or_default();
                        *known = (*known).max(*time);
                    }
                }
            }
        }
        match (&mut self.blocks, &other.blocks) {
            (_, None) => {}
            (mine @ None, theirs) => *mine = theirs.clone(),
            (Some(mine), Some(theirs)) => {
                if !Rc::ptr_eq(mine, theirs) {
                    join_blocks(Rc::make_mut(mine), theirs);
                }
            }
        }
    }

    /// Learns of a thread up to a time.
    fn note(&mut self, thread: usize, time: u32, threads: usize) {
        let row = self.row.get_or_insert_with(|| vec![0; threads].into());
        if let Some(known) = Rc::make_mut(row).get_mut(thread) {
            *known = time;
        }
    }

    /// Learns of the copies that completed on an mbarrier up to a time.
    pub fn note_copies(&mut self, barrier: u32, time: u32) {
        let copies = Rc::make_mut(self.copies.get_or_insert_with(Rc::default));
        let known = copies.entry(barrier).or_default();
        *known = (*known).max(time);
    }

    /// A thread's access at a time happened before.
    #[inline]
    pub fn covers(&self, thread: u32, time: u32) -> bool {
        time <= self.floor
            || self.row.as_ref().and_then(|r| r.get(thread as usize)).is_some_and(|known| time <= *known)
    }

    /// A thread's access at a time happened before, and the asynchronous proxy sees it.
    pub fn proxy_covers(&self, thread: u32, time: u32) -> bool {
        time <= self.proxy_floor
            || self
                .proxy_row
                .as_ref()
                .and_then(|r| r.get(thread as usize))
                .is_some_and(|known| time <= *known)
    }

    /// A copy that completes on an mbarrier, issued at a time, happened before.
    pub fn covers_copy(&self, barrier: u32, time: u32) -> bool {
        self.copies.as_ref().and_then(|c| c.get(&barrier)).is_some_and(|known| time <= *known)
    }

    /// Anything is known of a block other than this one.
    pub fn knows_others(&self, block: u64) -> bool {
        self.blocks.as_ref().is_some_and(|blocks| blocks.keys().any(|other| *other != block))
    }

    /// Another block's access happened before.
    pub fn covers_block(&self, block: u64, thread: u32, time: u32) -> bool {
        self.blocks.as_ref().and_then(|b| b.get(&block)).is_some_and(|known| known.covers(thread, time))
    }
}

/// The clocks of a block's threads.
#[derive(Debug)]
pub struct Clocks {
    /// The block's index in the grid.
    pub block: u64,
    /// The block's time, from 1.
    pub now: u32,
    threads: Vec<Clock>,
    /// What a later relaxed store releases: the clock at the thread's last fence.
    fenced: Vec<Option<Rc<Blocks>>>,
    /// What a later fence acquires: seen by relaxed loads since.
    seen: Vec<Option<Blocks>>,
}

impl Clocks {
    /// Clocks at the start of a block.
    pub fn new(block: u64, threads: usize) -> Clocks {
        Clocks {
            block,
            now: 1,
            threads: vec![Clock::default(); threads],
            fenced: vec![None; threads],
            seen: vec![None; threads],
        }
    }

    /// A thread's clock.
    #[inline]
    pub fn of(&self, thread: usize) -> &Clock {
        &self.threads[thread]
    }

    /// A thread's access happened before what `thread` does now.
    #[inline]
    pub fn ordered(&self, thread: usize, other: u32, time: u32) -> bool {
        other as usize == thread || self.threads[thread].covers(other, time)
    }

    /// As [`ordered`](Clocks::ordered), for what the asynchronous proxy does on behalf of `thread`.
    pub fn proxy_ordered(&self, thread: usize, other: u32, time: u32) -> bool {
        self.threads[thread].proxy_covers(other, time)
    }

    /// Adds what a thread has done and knows to a barrier's clock.
    pub fn release(&mut self, thread: usize, into: &mut Clock) {
        into.join(&self.threads[thread]);
        into.note(thread, self.now, self.threads.len());
        self.now += 1;
    }

    /// A thread learns what a barrier's clock holds.
    pub fn acquire(&mut self, thread: usize, from: &Clock) {
        self.threads[thread].join(from);
    }

    /// Threads learn of what others did themselves, each up to a time.
    pub fn learn_of(&mut self, threads: std::ops::Range<usize>, others: &[(usize, u32)]) {
        let mut told = Clock::default();
        for &(other, time) in others {
            told.note(other, time, self.threads.len());
        }
        for thread in threads {
            self.threads[thread].join(&told);
        }
    }

    /// All of some threads learn of each other; `all` if no other thread of the block lives.
    pub fn meet(&mut self, threads: &[u32], all: bool) {
        let mut joined = Clock::default();
        for &thread in threads {
            joined.join(&self.threads[thread as usize]);
        }
        if all {
            joined.floor = self.now;
            joined.row = None;
        } else {
            let count = self.threads.len();
            for &thread in threads {
                joined.note(thread as usize, self.now, count);
            }
        }
        for &thread in threads {
            self.threads[thread as usize] = joined.clone();
        }
        self.now += 1;
    }

    /// `fence.proxy.async`: the asynchronous proxy sees what the thread has done and knows.
    pub fn proxy_fence(&mut self, thread: usize) {
        let (now, count) = (self.now, self.threads.len());
        let clock = &mut self.threads[thread];
        clock.proxy_floor = clock.proxy_floor.max(clock.floor);
        let row = clock.row.clone();
        join_row(&mut clock.proxy_row, &row);
        let row = clock.proxy_row.get_or_insert_with(|| vec![0; count].into());
        if let Some(known) = Rc::make_mut(row).get_mut(thread) {
            *known = now;
        }
        self.now += 1;
    }

    /// What a thread may tell other threads, of this block too, through memory.
    fn published(&mut self, thread: usize) -> Blocks {
        let clock = &self.threads[thread];
        let mut blocks = clock.blocks.as_deref().cloned().unwrap_or_default();
        let mut row: Vec<u32> = match &clock.row {
            Some(row) => row.to_vec(),
            None => vec![0; self.threads.len()],
        };
        row[thread] = self.now;
        let own = Known { floor: clock.floor, row: Some(row.into()) };
        blocks.entry(self.block).or_default().join(&own);
        self.now += 1;
        blocks
    }

    /// What a thread learns of other threads through memory.
    fn learn(&mut self, thread: usize, blocks: &Blocks) {
        if let Some(own) = blocks.get(&self.block) {
            let row = own.row.as_ref().map(|row| row.iter().copied().collect());
            let clock = Clock { floor: own.floor, row, ..Clock::default() };
            self.threads[thread].join(&clock);
        }
        let clock = Clock { blocks: Some(Rc::new(blocks.clone())), ..Clock::default() };
        self.threads[thread].join(&clock);
    }

    /// `fence` or `membar`: later relaxed stores release what came before; what relaxed loads saw is acquired.
    pub fn fence(&mut self, thread: usize) {
        if let Some(seen) = self.seen[thread].take() {
            self.learn(thread, &seen);
        }
        self.fenced[thread] = Some(Rc::new(self.published(thread)));
    }

    /// What a strong store by a thread leaves in its location: all it knows, or what its last fence covered.
    pub fn stored(&mut self, thread: usize, releases: bool) -> Option<Rc<Blocks>> {
        if releases { Some(Rc::new(self.published(thread))) } else { self.fenced[thread].clone() }
    }

    /// A strong load by a thread found in its location what an earlier store had left.
    pub fn loaded(&mut self, thread: usize, blocks: &Blocks, acquires: bool) {
        if acquires {
            self.learn(thread, blocks);
        } else {
            join_blocks(self.seen[thread].get_or_insert_with(Blocks::new), blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_orders_what_came_before_it_and_nothing_after() {
        let mut clocks = Clocks::new(0, 64);
        let early = clocks.now;
        assert!(!clocks.ordered(1, 0, early));
        clocks.meet(&(0..64).collect::<Vec<_>>(), true);
        assert!(clocks.ordered(1, 0, early));
        assert!(!clocks.ordered(1, 0, clocks.now));
    }

    #[test]
    fn knowledge_passes_on_through_a_third_thread() {
        let mut clocks = Clocks::new(0, 96);
        let early = clocks.now;
        clocks.meet(&[0, 1], false);
        clocks.meet(&[1, 2], false);
        assert!(clocks.ordered(2, 0, early));
        assert!(!clocks.ordered(3, 0, early));
        let mut barrier = Clock::default();
        clocks.release(2, &mut barrier);
        clocks.acquire(50, &barrier);
        assert!(clocks.ordered(50, 0, early));
        assert!(!clocks.ordered(50, 2, clocks.now));
    }

    #[test]
    fn the_proxy_sees_only_what_a_fence_covered() {
        let mut clocks = Clocks::new(0, 32);
        let early = clocks.now;
        clocks.meet(&(0..32).collect::<Vec<_>>(), true);
        assert!(!clocks.proxy_ordered(5, 4, early));
        clocks.proxy_fence(4);
        assert!(clocks.proxy_ordered(4, 4, early) && !clocks.proxy_ordered(5, 4, early));
        clocks.meet(&(0..32).collect::<Vec<_>>(), true);
        assert!(clocks.proxy_ordered(5, 4, early));
    }

    #[test]
    fn blocks_learn_of_each_other_through_fences_and_atomics() {
        let (mut a, mut b) = (Clocks::new(0, 32), Clocks::new(1, 32));
        let written = a.now;
        a.meet(&(0..32).collect::<Vec<_>>(), true);
        assert!(a.stored(0, false).is_none(), "a relaxed store without a fence releases nothing");
        a.fence(0);
        let left = a.stored(0, false).unwrap();
        b.loaded(7, &left, false);
        assert!(!b.of(7).covers_block(0, 3, written), "a relaxed load without a fence acquires nothing");
        b.fence(7);
        assert!(b.of(7).covers_block(0, 3, written));
        assert!(!b.of(8).covers_block(0, 3, written));
        b.meet(&(0..32).collect::<Vec<_>>(), true);
        assert!(b.of(8).covers_block(0, 3, written));
        assert!(!b.of(8).covers_block(0, 3, a.now));
    }
}
