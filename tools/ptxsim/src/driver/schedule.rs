//! Which operation runs next.
//!
//! Operations form a directed acyclic graph: each waits for some that were added before it. Streams, events and graphs
//! are nothing but ways to say for which.

use std::collections::{BTreeSet, HashMap};

/// An operation. Later ones have higher numbers.
pub(super) type Op = u64;

/// Operations that have not finished, each with work `W`.
#[derive(Debug)]
pub(super) struct Schedule<W> {
    next: Op,
    pending: HashMap<Op, Pending<W>>,
    /// Those that wait for nothing and do not run yet.
    ready: BTreeSet<Op>,
    /// State of the random order, if that is wanted.
    random: Option<u64>,
}

#[derive(Debug)]
struct Pending<W> {
    waits: Vec<Op>,
    /// How many of `waits` have not finished.
    unmet: usize,
    /// Operations that wait for this one.
    dependents: Vec<Op>,
    /// `None` while it runs.
    work: Option<W>,
}

impl<W> Schedule<W> {
    /// An empty schedule; in order of adding, or in a random order.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Schedule { next: 1, pending: HashMap::new(), ready: BTreeSet::new(), random: seed }
    }

    /// Adds an operation that starts after all of `waits` have finished.
    pub(super) fn add(&mut self, work: W, waits: impl IntoIterator<Item = Op>) -> Op {
        let op = self.next;
        self.next += 1;
        let mut waits: Vec<Op> = waits.into_iter().collect();
        waits.sort_unstable();
        waits.dedup();
        waits.retain(|w| match self.pending.get_mut(w) {
            Some(earlier) => {
                earlier.dependents.push(op);
                true
            }
            None => false,
        });
        if waits.is_empty() {
            self.ready.insert(op);
        }
        let unmet = waits.len();
        self.pending.insert(op, Pending { waits, unmet, dependents: Vec::new(), work: Some(work) });
        op
    }

    /// Whether it has not finished.
    pub(super) fn is_pending(&self, op: Op) -> bool {
        self.pending.contains_key(&op)
    }

    /// Those of `goals` that have not finished, and what they wait for, directly or not.
    pub(super) fn closure(&self, goals: impl IntoIterator<Item = Op>) -> BTreeSet<Op> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Op> = goals.into_iter().collect();
        while let Some(op) = open.pop() {
            if let Some(pending) = self.pending.get(&op)
                && found.insert(op)
            {
                open.extend(&pending.waits);
            }
        }
        found
    }

    /// The operations whose work fits.
    pub(super) fn matching(&self, fits: impl Fn(&W) -> bool) -> Vec<Op> {
        let running_or_fits = |p: &Pending<W>| p.work.as_ref().is_none_or(&fits);
        self.pending.iter().filter(|(_, p)| running_or_fits(p)).map(|(op, _)| *op).collect()
    }

    /// Takes an operation to run: the first ready one of `wanted`, or any ready one in a random order. `None` if
    /// all of `wanted` wait for operations that run already.
    pub(super) fn take(&mut self, wanted: &BTreeSet<Op>) -> Option<(Op, W)> {
        let op = match &mut self.random {
            None => *self.ready.iter().find(|op| wanted.contains(op))?,
            Some(state) => {
                let index = next_random(state) % self.ready.len().max(1) as u64;
                *self.ready.iter().nth(index as usize)?
            }
        };
        self.ready.remove(&op);
        let work = self.pending.get_mut(&op)?.work.take()?;
        Some((op, work))
    }

    /// Notes that it has finished.
    pub(super) fn finish(&mut self, op: Op) {
        let Some(finished) = self.pending.remove(&op) else { return };
        for dependent in finished.dependents {
            if let Some(pending) = self.pending.get_mut(&dependent) {
                pending.unmet -= 1;
                if pending.unmet == 0 {
                    self.ready.insert(dependent);
                }
            }
        }
    }
}

/// SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(schedule: &mut Schedule<char>, goals: &[Op]) -> String {
        let mut wanted = schedule.closure(goals.iter().copied());
        let mut order = String::new();
        while let Some(first) = wanted.first().copied() {
            if !schedule.is_pending(first) {
                wanted.remove(&first);
                continue;
            }
            let (op, work) = schedule.take(&wanted).unwrap();
            order.push(work);
            schedule.finish(op);
        }
        order
    }

    #[test]
    fn only_what_is_needed_runs_and_in_order() {
        let mut s = Schedule::new(None);
        let a = s.add('a', []);
        let b = s.add('b', []);
        let c = s.add('c', [a]);
        let d = s.add('d', [b]);
        let e = s.add('e', [c, d, c]);
        assert_eq!(drain(&mut s, &[c]), "ac");
        assert!(s.is_pending(b) && !s.is_pending(a));
        assert_eq!(drain(&mut s, &[e]), "bde");
        assert_eq!(drain(&mut s, &[e]), "");
        let f = s.add('f', [e]);
        assert_eq!(drain(&mut s, &[f]), "f");
    }

    #[test]
    fn a_random_order_keeps_dependencies_and_varies() {
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let mut s = Schedule::new(Some(seed));
            let a = s.add('a', []);
            s.add('x', []);
            let b = s.add('b', [a]);
            let order = drain(&mut s, &[b]);
            assert!(order.find('a') < order.find('b'), "{order}");
            seen.insert(order);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["ab", "axb", "xab"]);
    }

    #[test]
    fn running_operations_are_waited_for() {
        let mut s = Schedule::new(None);
        let a = s.add('a', []);
        let b = s.add('b', [a]);
        let wanted = s.closure([b]);
        assert_eq!(s.take(&wanted), Some((a, 'a')));
        assert_eq!(s.take(&wanted), None);
        assert_eq!(s.matching(|_| false), [a]);
        s.finish(a);
        assert_eq!(s.take(&wanted), Some((b, 'b')));
    }
}
