//! Weak loads from shared memory, by all lanes of a warp at once: much of a tiled product's time goes by here.

use crate::lanes::registers::{LANES, lanes};
use crate::program::form::Access;

use super::access::{Touch, read_slice, write_lane};
use super::block::{Block, Checker};
use super::warp::Warp;

impl Block<'_> {
    /// A weak `ld` by the lanes of `active`.
    pub(super) fn load_shared(
        &mut self,
        warp: &mut Warp,
        access: &Access,
        addresses: &[u64; LANES],
        pc: u32,
        active: u32,
    ) {
        let width = access.bytes as usize;
        let bytes = access.bytes * access.registers.len() as u32;
        let (mut offsets, mut there) = ([0; LANES], 0);
        for lane in lanes(active) {
            if let Some(offset) = self.shared_offset(addresses[lane], bytes, pc, warp.id, lane) {
                offsets[lane] = offset;
                there |= 1 << lane;
            }
        }
        self.check_reads(warp, pc, there, &offsets, bytes);
        for (i, register) in access.registers.iter().enumerate() {
            let Some((reg, bits)) = *register else { continue };
            let element = |offset: u32| read_slice(&self.shared[offset as usize + i * width..], width);
            if (width, bits, there) == (4, 32, !0) {
                // The usual case, of which nothing is decided lane by lane.
                let cells = &mut warp.registers[reg.0 as usize].0;
                for (cell, offset) in cells.iter_mut().zip(offsets) {
                    *cell = element(offset) as u32;
                }
                continue;
            }
            for lane in lanes(active) {
                let value = if there >> lane & 1 == 1 { element(offsets[lane]) } else { !0 };
                write_lane(warp, reg, bits, lane, access.extended(value));
            }
        }
    }

    /// Checks reads at the offsets of lanes, those of one address together.
    fn check_reads(&mut self, warp: &Warp, pc: u32, active: u32, offsets: &[u32; LANES], bytes: u32) {
        let Some(checker) = &self.checker else { return };
        // What a barrier ordered for all of them is ordered for each.
        let floor = |lane| checker.clocks.of(warp.id * LANES + lane).floor;
        let floor = lanes(active).map(floor).min().unwrap_or(0);
        let mut left = active;
        while left != 0 {
            let offset = offsets[left.trailing_zeros() as usize];
            let together =
                left & (0..LANES).fold(0, |bits, lane| bits | u32::from(offsets[lane] == offset) << lane);
            left &= !together;
            let Some(Checker { shadow, clocks, .. }) = &mut self.checker else { return };
            if !shadow.read_together(clocks, warp.id, together, floor, offset, bytes) {
                for lane in lanes(together) {
                    self.shared_access(warp, pc, lane, offset, bytes, Touch::Read);
                }
            }
        }
    }
}
