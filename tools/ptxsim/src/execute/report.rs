//! Findings of a block: where it stands when something is wrong.

use crate::check::finding::{Finding, Kind, place};
use crate::program::SHARED_BASE;

use super::block::Block;
use super::warp::{Wait, Warp};
use crate::lanes::registers::LANES;

impl Block<'_> {
    /// Reports a finding at an instruction, for the first lane of a mask.
    #[cold]
    pub(super) fn report(
        &self,
        pc: u32,
        warp: usize,
        active: Option<u32>,
        kind: Kind,
        text: impl Into<String>,
    ) {
        let source = self.program.sources.get(pc as usize).copied().unwrap_or_default();
        let [x, y, _] = self.grid.block;
        let thread = active.filter(|m| *m != 0).map(|m| {
            let thread = (warp * LANES) as u32 + m.trailing_zeros();
            [thread % x, thread / x % y, thread / x / y]
        });
        self.grid.findings.add(Finding {
            kind,
            kernel: self.grid.kernel.to_owned(),
            block: self.id,
            thread,
            line: source.line,
            source: place(self.program, source),
            text: text.into(),
        });
    }

    pub(super) fn report_deadlock(&mut self, warps: &[Warp], what: &str) {
        let mut text = what.to_owned();
        for warp in warps {
            for group in &warp.groups {
                let source = self.program.sources.get(group.pc as usize).copied().unwrap_or_default();
                let place = place(self.program, source).map_or(String::new(), |p| format!(" ({p})"));
                let reason = match group.wait {
                    Wait::Ready | Wait::Turn => "running".to_owned(),
                    Wait::Lanes(members) | Wait::WarpSync(members) => {
                        format!("waiting for the lanes {:#010x}", members & self.live[warp.id] & !group.mask)
                    }
                    Wait::Barrier { id, .. } => format!("waiting on {}", self.barriers.describe(id)),
                    Wait::Mbarrier { address, parity } => self.describe_mbarrier(address, parity),
                    Wait::Warpgroup { groups } => {
                        format!("waiting for {groups} groups of wgmma of the other warps of its warpgroup")
                    }
                };
                text += &format!(
                    "; warp {} lanes {:#010x} at PTX line {}{place} {reason}",
                    warp.id, group.mask, source.line
                );
            }
        }
        let (pc, warp, mask) =
            warps.iter().find_map(|w| w.groups.first().map(|g| (g.pc, w.id, g.mask))).unwrap_or((0, 0, 0));
        self.report(pc, warp, Some(mask), Kind::Deadlock, text);
        self.stopped = true;
    }

    #[cold]
    pub(super) fn report_shared(&self, address: u64, bytes: u32, pc: u32, warp: usize, lane: usize) {
        let end = SHARED_BASE as usize + self.shared.len();
        let inside =
            address >= u64::from(SHARED_BASE) && address.saturating_add(u64::from(bytes)) <= end as u64;
        let (kind, limits) = match inside {
            true => (Kind::Misaligned, String::new()),
            false => (Kind::OutOfBounds, format!(", of which the block has {SHARED_BASE:#x} to {end:#x}")),
        };
        let text = format!("{bytes} bytes at shared address {address:#x}{limits}");
        self.report(pc, warp, Some(1 << lane), kind, text);
    }
}
