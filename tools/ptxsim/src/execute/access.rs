//! Loads and stores in all state spaces.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::check::finding::Kind;
use crate::check::global::{Does, acquire, release};
use crate::program::form::{Access, Address, Order, Window};
use crate::program::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, WINDOW_MASK};

use super::block::Block;
use super::warp::Warp;
use crate::lanes::registers::{LANES, Reg, lanes, wide, wide_mut};

/// What is done to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Read.
    Read,
    /// Read by a strong load.
    StrongRead,
    /// Written.
    Write,
    /// Written by a strong store.
    StrongWrite,
    /// Updated atomically.
    Atomic,
}

/// Reads one element of 1, 2, 4 or 8 bytes. Blocks run at the same time, so that it is atomic.
///
/// # Safety
/// `bytes` bytes at `at` can be read, and `at` is a multiple of `bytes`.
pub(super) unsafe fn read_element(at: *mut u8, bytes: u32) -> u64 {
    // SAFETY: valid and aligned, as the caller promises; atomics may share memory with other threads.
    unsafe {
        match bytes {
            1 => u64::from(AtomicU8::from_ptr(at).load(Relaxed)),
            2 => u64::from(AtomicU16::from_ptr(at.cast()).load(Relaxed)),
            4 => u64::from(AtomicU32::from_ptr(at.cast()).load(Relaxed)),
            _ => AtomicU64::from_ptr(at.cast()).load(Relaxed),
        }
    }
}

/// Writes one element of 1, 2, 4 or 8 bytes.
///
/// # Safety
/// As [`read_element`], for writing.
pub(super) unsafe fn write_element(at: *mut u8, bytes: u32, value: u64) {
    // SAFETY: as in `read_element`.
    unsafe {
        match bytes {
            1 => AtomicU8::from_ptr(at).store(value as u8, Relaxed),
            2 => AtomicU16::from_ptr(at.cast()).store(value as u16, Relaxed),
            4 => AtomicU32::from_ptr(at.cast()).store(value as u32, Relaxed),
            _ => AtomicU64::from_ptr(at.cast()).store(value, Relaxed),
        }
    }
}

/// Reads the element of 1, 2, 4 or 8 bytes that starts `bytes`.
#[inline(always)]
pub(super) fn read_slice(bytes: &[u8], width: usize) -> u64 {
    // Each width by itself: a copy of a length that only the running program knows goes through memory, and what
    // reads it back waits for that.
    match width {
        1 => u64::from(bytes[0]),
        2 => u64::from(u16::from_le_bytes(*bytes.first_chunk().expect("two bytes"))),
        4 => u64::from(u32::from_le_bytes(*bytes.first_chunk().expect("four bytes"))),
        _ => u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes")),
    }
}

/// The lanes of a mask by the window of their generic addresses.
fn by_window(addresses: &[u64; LANES], active: u32) -> Vec<(Window, u32)> {
    let mut masks: Vec<(Window, u32)> = Vec::with_capacity(1);
    for lane in lanes(active) {
        let window = match addresses[lane] & WINDOW_MASK {
            SHARED_WINDOW => Window::Shared,
            LOCAL_WINDOW => Window::Local,
            PARAM_WINDOW => Window::Param,
            _ => Window::Global,
        };
        match masks.iter_mut().find(|(w, _)| *w == window) {
            Some((_, mask)) => *mask |= 1 << lane,
            None => masks.push((window, 1 << lane)),
        }
    }
    masks
}

impl Block<'_> {
    /// The address of each lane.
    #[inline]
    pub(super) fn addresses(&self, warp: &Warp, address: Address) -> [u64; LANES] {
        let mut out = if address.wide {
            *wide(&warp.registers, address.base)
        } else {
            warp.registers[address.base.0 as usize].0.map(u64::from)
        };
        for a in &mut out {
            *a = a.wrapping_add_signed(address.offset);
        }
        if !address.wide {
            // Addresses of 32 bits wrap as such.
            for a in &mut out {
                *a &= 0xffff_ffff;
            }
        }
        out
    }

    /// Lanes by state space: all in the one that the instruction names, or by their addresses.
    pub(super) fn windows(
        &self,
        window: Window,
        addresses: &[u64; LANES],
        active: u32,
    ) -> Vec<(Window, u32)> {
        match window {
            Window::Generic => by_window(addresses, active),
            named => vec![(named, active)],
        }
    }

    /// The host address of global memory, checked; `None` after a report.
    #[inline]
    pub(super) fn global_pointer(
        &mut self,
        warp: &Warp,
        pc: u32,
        lane: usize,
        address: u64,
        bytes: u32,
        does: Does,
    ) -> Option<*mut u8> {
        let region = match self.region {
            Some(region) if region.contains(address, bytes as usize) => region,
            _ => {
                let grid = self.grid;
                match grid.view.find(address).filter(|r| r.contains(address, bytes as usize)) {
                    Some(region) => region,
                    None => {
                        let verb =
                            if matches!(does, Does::Read | Does::StrongRead) { "read" } else { "write" };
                        let text = format!(
                            "{verb} of {bytes} bytes at {address:#x}: {}",
                            grid.memory.describe(address)
                        );
                        self.report(pc, warp.id, Some(1 << lane), Kind::OutOfBounds, text);
                        return None;
                    }
                }
            }
        };
        self.region = Some(region);
        if address & u64::from(bytes - 1) != 0 {
            let text = format!("{bytes} bytes at {address:#x}");
            self.report(pc, warp.id, Some(1 << lane), Kind::Misaligned, text);
            return None;
        }
        if let (Some(checker), Some(shadow)) = (&self.checker, &self.grid.shadow) {
            let thread = warp.id * LANES + lane;
            if !matches!(does, Does::Write) && !region.is_initialised(address, bytes as usize) {
                let text = format!("read of {bytes} bytes at {address:#x} that nothing wrote");
                self.report(pc, warp.id, Some(1 << lane), Kind::Uninitialised, text);
            }
            if let Err((kind, text)) = shadow.access(&checker.clocks, thread, address, bytes, does) {
                self.report(pc, warp.id, Some(1 << lane), kind, text);
            }
        }
        if matches!(does, Does::Write | Does::Atomic) {
            region.set_initialised(address, bytes as usize);
        }
        if let Some(touched) = &self.grid.touched {
            match does {
                Does::Read | Does::StrongRead => touched.loaded.mark(address, bytes),
                Does::Write | Does::Atomic => touched.stored.mark(address, bytes),
            }
        }
        Some(region.host(address))
    }

    /// Checks an access to shared memory.
    #[inline(always)]
    pub(super) fn shared_access(
        &mut self,
        warp: &Warp,
        pc: u32,
        lane: usize,
        offset: u32,
        bytes: u32,
        touch: Touch,
    ) {
        if self.checker.is_some() {
            self.check_shared(warp, pc, lane, offset, bytes, touch);
        }
    }

    fn check_shared(&mut self, warp: &Warp, pc: u32, lane: usize, offset: u32, bytes: u32, touch: Touch) {
        let Some(checker) = &mut self.checker else { return };
        let thread = warp.id * LANES + lane;
        let clocks = &checker.clocks;
        let checked = match touch {
            Touch::Read => checker.shadow.read(clocks, thread, offset, bytes),
            Touch::StrongRead => checker.shadow.strong_read(clocks, thread, offset, bytes),
            Touch::StrongWrite => checker.shadow.strong_write(clocks, thread, offset, bytes),
            Touch::Write => checker.shadow.write(clocks, thread, offset, bytes),
            Touch::Atomic => checker.shadow.atomic(clocks, thread, offset, bytes),
        };
        if let Err((kind, text)) = checked {
            self.report(pc, warp.id, Some(1 << lane), kind, format!("{text}, shared offset {offset:#x}"));
        }
    }

    /// What a thread releases by a strong write, which follows.
    pub(super) fn release(
        &mut self,
        thread: usize,
        window: Window,
        address: u64,
        order: Order,
        modifies: bool,
    ) {
        let Some(checker) = &mut self.checker else { return };
        if window == Window::Shared {
            // The generic and the shared address of a location are one.
            let address = address & !WINDOW_MASK;
            release(&mut checker.released, &mut checker.clocks, thread, address, order, modifies);
        } else if let Some(shadow) = &self.grid.shadow {
            let mut released = shadow.released(address);
            release(&mut released, &mut checker.clocks, thread, address, order, modifies);
        }
    }

    /// What a thread acquires by a strong read, which came before.
    pub(super) fn acquire(&mut self, thread: usize, window: Window, address: u64, order: Order) {
        let Some(checker) = &mut self.checker else { return };
        if window == Window::Shared {
            acquire(&checker.released, &mut checker.clocks, thread, address & !WINDOW_MASK, order);
        } else if let Some(shadow) = &self.grid.shadow {
            acquire(&shadow.released(address), &mut checker.clocks, thread, address, order);
        }
    }

    /// `ld`
    pub(super) fn load(&mut self, warp: &mut Warp, access: &Access, pc: u32, active: u32) {
        let addresses = self.addresses(warp, access.address);
        let total = access.bytes * access.registers.len() as u32;
        let strong = access.order != Order::Weak;
        for (window, mask) in self.windows(access.window, &addresses, active) {
            self.count_access(pc, window, false, &addresses, mask, total);
            if window == Window::Shared && !strong {
                self.load_shared(warp, access, &addresses, pc, mask);
                continue;
            }
            for lane in lanes(mask) {
                let mut values = [!0u64; 8];
                match window {
                    Window::Global | Window::Generic => {
                        let does = if strong { Does::StrongRead } else { Does::Read };
                        if let Some(at) = self.global_pointer(warp, pc, lane, addresses[lane], total, does) {
                            for i in 0..access.registers.len() {
                                let at = at.wrapping_add(i * access.bytes as usize);
                                // SAFETY: within the region, aligned to the whole vector, both just checked.
                                values[i] = unsafe { read_element(at, access.bytes) };
                            }
                        }
                    }
                    Window::Shared => {
                        if let Some(offset) = self.shared_offset(addresses[lane], total, pc, warp.id, lane) {
                            self.shared_access(warp, pc, lane, offset, total, Touch::StrongRead);
                            elements(&self.shared[offset as usize..], access, &mut values);
                        }
                    }
                    Window::Local => {
                        if let Some(at) = self.local_offset(warp, addresses[lane], total, pc, lane) {
                            elements(&self.local[at..], access, &mut values);
                        }
                    }
                    Window::Param => {
                        let offset = (addresses[lane] & !WINDOW_MASK) as usize;
                        match self.grid.params.get(offset..offset.saturating_add(total as usize)) {
                            Some(bytes) => elements(bytes, access, &mut values),
                            None => {
                                let text = format!("{total} bytes at parameter offset {offset}");
                                self.report(pc, warp.id, Some(1 << lane), Kind::OutOfBounds, text);
                            }
                        }
                    }
                }
                if strong {
                    self.acquire(self.thread(warp, lane), window, addresses[lane], access.order);
                }
                for (register, value) in access.registers.iter().zip(values) {
                    if let Some((reg, bits)) = register {
                        write_lane(warp, *reg, *bits, lane, access.extended(value));
                    }
                }
            }
        }
    }

    /// `st`
    pub(super) fn store(&mut self, warp: &mut Warp, access: &Access, pc: u32, active: u32) {
        let addresses = self.addresses(warp, access.address);
        let total = access.bytes * access.registers.len() as u32;
        let strong = access.order != Order::Weak;
        for (window, mask) in self.windows(access.window, &addresses, active) {
            self.count_access(pc, window, true, &addresses, mask, total);
            for lane in lanes(mask) {
                if strong {
                    self.release(self.thread(warp, lane), window, addresses[lane], access.order, false);
                }
                let mut values = [0u64; 8];
                for (value, register) in values.iter_mut().zip(&access.registers) {
                    if let Some((reg, bits)) = register {
                        *value = read_lane(warp, *reg, *bits, lane);
                    }
                }
                let count = access.registers.len();
                let width = access.bytes as usize;
                match window {
                    Window::Global | Window::Generic => {
                        let does = if strong { Does::Atomic } else { Does::Write };
                        if let Some(at) = self.global_pointer(warp, pc, lane, addresses[lane], total, does) {
                            for (i, value) in values[..count].iter().enumerate() {
                                // SAFETY: within the region, aligned to the whole vector, both just checked.
                                unsafe { write_element(at.wrapping_add(i * width), access.bytes, *value) };
                            }
                        }
                    }
                    Window::Shared => {
                        if let Some(offset) = self.shared_offset(addresses[lane], total, pc, warp.id, lane) {
                            let touch = if strong { Touch::StrongWrite } else { Touch::Write };
                            self.shared_access(warp, pc, lane, offset, total, touch);
                            for (i, value) in values[..count].iter().enumerate() {
                                let at = offset as usize + i * width;
                                self.shared[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                            }
                        }
                    }
                    Window::Local => {
                        if let Some(offset) = self.local_offset(warp, addresses[lane], total, pc, lane) {
                            for (i, value) in values[..count].iter().enumerate() {
                                let at = offset + i * width;
                                self.local[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                            }
                        }
                    }
                    Window::Param => {
                        let text = "write to a kernel's parameters";
                        self.report(pc, warp.id, Some(1 << lane), Kind::OutOfBounds, text);
                    }
                }
            }
        }
    }

    /// The position of a thread's local memory, checked.
    pub(super) fn local_offset(
        &self,
        warp: &Warp,
        address: u64,
        bytes: u32,
        pc: u32,
        lane: usize,
    ) -> Option<usize> {
        let each = u64::from(self.program.local_bytes);
        let offset = address & !WINDOW_MASK;
        let fault = |kind| {
            let text = format!("{bytes} bytes at local address {offset:#x} of {each:#x}");
            self.report(pc, warp.id, Some(1 << lane), kind, text);
            None
        };
        if offset.saturating_add(u64::from(bytes)) > each {
            return fault(Kind::OutOfBounds);
        }
        if offset & u64::from(bytes - 1) != 0 {
            return fault(Kind::Misaligned);
        }
        Some((warp.id * LANES + lane) * each as usize + offset as usize)
    }

    /// `isspacep`
    pub(super) fn is_space(&mut self, warp: &mut Warp, window: Window, address: Reg, d: Reg, active: u32) {
        let addresses = *wide(&warp.registers, address);
        let windows = by_window(&addresses, active);
        let bits = windows.iter().filter(|(w, _)| *w == window).fold(0, |all, (_, mask)| all | mask);
        warp.set_predicate(d.0, bits, active);
    }

    /// Counts an access.
    #[inline]
    pub(super) fn count_access(
        &mut self,
        pc: u32,
        window: Window,
        store: bool,
        addresses: &[u64; LANES],
        mask: u32,
        bytes: u32,
    ) {
        let Some(counters) = &mut self.counters else { return };
        match window {
            Window::Global | Window::Generic => counters.global(pc, store, addresses, mask, bytes),
            Window::Shared => counters.shared(pc, &addresses.map(|a| a as u32), mask, bytes),
            Window::Local | Window::Param => {}
        }
    }
}

/// Elements of an access from bytes that are long enough.
fn elements(bytes: &[u8], access: &Access, values: &mut [u64; 8]) {
    let width = access.bytes as usize;
    for (value, element) in values.iter_mut().zip(bytes.chunks_exact(width)).take(access.registers.len()) {
        *value = read_slice(element, width);
    }
}

/// Writes a lane of a register of 16, 32 or 64 bits.
pub(super) fn write_lane(warp: &mut Warp, reg: Reg, bits: u32, lane: usize, value: u64) {
    match bits {
        64 => wide_mut(&mut warp.registers, reg)[lane] = value,
        16 => warp.registers[reg.0 as usize].0[lane] = u32::from(value as u16),
        _ => warp.registers[reg.0 as usize].0[lane] = value as u32,
    }
}

/// Reads a lane of a register.
pub(super) fn read_lane(warp: &Warp, reg: Reg, bits: u32, lane: usize) -> u64 {
    if bits == 64 { wide(&warp.registers, reg)[lane] } else { u64::from(warp.lane32(reg, lane)) }
}
