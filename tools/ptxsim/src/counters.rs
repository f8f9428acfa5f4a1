//! Counters: what a launch did, for claims such as "no bank conflict" and "each byte is moved once".

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::lanes::registers::lanes;
use crate::memory::View;
use crate::program::form::Window;
use crate::program::{Code, Program};

/// Bytes of a sector, the unit in which memory is moved.
const SECTOR: u64 = 32;
/// Banks of shared memory, four bytes wide each.
const BANKS: u32 = 32;

/// Counters of a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// PTX instructions by class: warps that issued one, and threads that took part.
    pub instructions: BTreeMap<&'static str, Issued>,
    /// Multiply-adds of tensor cores, times two.
    pub mma_flops: u64,
    /// Branches at which the lanes of a warp parted.
    pub divergent_branches: u64,
    /// Loads from global memory, asynchronous ones too.
    pub global_load: Traffic,
    /// Stores to global memory, atomic operations too.
    pub global_store: Traffic,
    /// Accesses to shared memory.
    pub shared: Banks,
    /// Each instruction that accesses memory.
    pub accesses: Vec<AccessSite>,
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// Warps.
    pub warps: u64,
    /// Threads.
    pub threads: u64,
}

/// Traffic of global memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Requests: one a warp and instruction.
    pub requests: u64,
    /// Sectors of 32 bytes moved.
    pub sectors: u64,
    /// Bytes that threads asked for.
    pub bytes: u64,
    /// Bytes of memory touched at least once.
    pub unique_bytes: u64,
}

/// Traffic of shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Banks {
    /// Requests: one a warp and instruction (a matrix each of `ldmatrix`).
    pub requests: u64,
    /// Passes needed: without conflicts one for each 128 bytes.
    pub passes: u64,
    /// Passes beyond those.
    pub conflicts: u64,
}

/// Counters of one instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessSite {
    /// Line of the PTX text.
    pub line: u32,
    /// Source file and line, if known.
    pub source: Option<String>,
    /// `global` or `shared`.
    pub space: &'static str,
    /// Requests.
    pub requests: u64,
    /// Sectors, or passes.
    pub moved: u64,
    /// Bank conflicts.
    pub conflicts: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Site {
    requests: u64,
    moved: u64,
    conflicts: u64,
}

/// Counters of a block, before they are summed up.
#[derive(Debug)]
pub struct BlockCounters {
    warps: Vec<u64>,
    threads: Vec<u64>,
    global: HashMap<u32, Site>,
    shared: HashMap<u32, Site>,
    load: Traffic,
    store: Traffic,
    banks: Banks,
    mma_flops: u64,
    divergent_branches: u64,
}

impl BlockCounters {
    /// Zero.
    pub fn new(program: &Program) -> BlockCounters {
        BlockCounters {
            warps: vec![0; program.ops.len()],
            threads: vec![0; program.ops.len()],
            global: HashMap::new(),
            shared: HashMap::new(),
            load: Traffic::default(),
            store: Traffic::default(),
            banks: Banks::default(),
            mma_flops: 0,
            divergent_branches: 0,
        }
    }

    /// An instruction was issued for some lanes.
    #[inline]
    pub fn issued(&mut self, pc: u32, active: u32) {
        self.warps[pc as usize] += 1;
        self.threads[pc as usize] += u64::from(active.count_ones());
    }

    /// An instruction was issued in vain: its lanes wait for others, and issue it again.
    pub fn withdrawn(&mut self, pc: u32, active: u32) {
        self.warps[pc as usize] -= 1;
        self.threads[pc as usize] -= u64::from(active.count_ones());
    }

    /// Lanes of a warp parted.
    pub fn diverged(&mut self) {
        self.divergent_branches += 1;
    }

    /// Multiply-adds of a tensor core.
    pub fn macs(&mut self, macs: u64) {
        self.mma_flops += 2 * macs;
    }

    /// Lanes accessed global memory.
    pub fn global(&mut self, pc: u32, store: bool, addresses: &[u64; 32], active: u32, bytes: u32) {
        let mut sectors: Vec<u64> = lanes(active)
            .flat_map(|l| addresses[l] / SECTOR..=(addresses[l] + u64::from(bytes) - 1) / SECTOR)
            .collect();
        sectors.sort_unstable();
        sectors.dedup();
        let moved = sectors.len() as u64;
        let traffic = if store { &mut self.store } else { &mut self.load };
        traffic.requests += 1;
        traffic.sectors += moved;
        traffic.bytes += u64::from(active.count_ones() * bytes);
        let site = self.global.entry(pc).or_default();
        site.requests += 1;
        site.moved += moved;
    }

    /// A bulk copy moved a run of global memory.
    pub fn global_bulk(
        &mut self,
        pc: u32,
        store: bool,
        requests: u64,
        runs: impl Iterator<Item = (u64, u32)>,
    ) {
        let mut sectors: Vec<u64> = Vec::new();
        let mut bytes = 0;
        for (address, len) in runs {
            sectors.extend(address / SECTOR..(address + u64::from(len)).div_ceil(SECTOR));
            bytes += u64::from(len);
        }
        sectors.sort_unstable();
        sectors.dedup();
        let traffic = if store { &mut self.store } else { &mut self.load };
        traffic.requests += requests;
        traffic.sectors += sectors.len() as u64;
        traffic.bytes += bytes;
        let site = self.global.entry(pc).or_default();
        site.requests += requests;
        site.moved += sectors.len() as u64;
    }

    /// Lanes accessed shared memory, each `bytes` bytes: as many lanes at a time as make 128 bytes.
    pub fn shared(&mut self, pc: u32, addresses: &[u32; 32], active: u32, bytes: u32) {
        let at_once = (32 * 4 / bytes.max(4)).max(1) as usize;
        let (mut passes, mut needed) = (0, 0);
        for first in (0..32).step_by(at_once) {
            let mut words: Vec<u32> = (first..first + at_once)
                .filter(|l| active >> l & 1 == 1)
                .flat_map(|l| addresses[l] / 4..=(addresses[l] + bytes - 1) / 4)
                .collect();
            words.sort_unstable();
            words.dedup();
            let mut banks = [0u64; BANKS as usize];
            for word in &words {
                banks[(word % BANKS) as usize] += 1;
            }
            passes += banks.iter().max().copied().unwrap_or(0);
            needed += u64::from(!words.is_empty());
        }
        self.banks.requests += 1;
        self.banks.passes += passes;
        self.banks.conflicts += passes - needed;
        let site = self.shared.entry(pc).or_default();
        site.requests += 1;
        site.moved += passes;
        site.conflicts += passes - needed;
    }

    /// Adds another block's.
    pub fn add(&mut self, other: &BlockCounters) {
        for (a, b) in self.warps.iter_mut().zip(&other.warps) {
            *a += b;
        }
        for (a, b) in self.threads.iter_mut().zip(&other.threads) {
            *a += b;
        }
        for (into, from) in [(&mut self.global, &other.global), (&mut self.shared, &other.shared)] {
            for (pc, site) in from {
                let sum = into.entry(*pc).or_default();
                sum.requests += site.requests;
                sum.moved += site.moved;
                sum.conflicts += site.conflicts;
            }
        }
        for (into, from) in [(&mut self.load, &other.load), (&mut self.store, &other.store)] {
            into.requests += from.requests;
            into.sectors += from.sectors;
            into.bytes += from.bytes;
        }
        self.banks.requests += other.banks.requests;
        self.banks.passes += other.banks.passes;
        self.banks.conflicts += other.banks.conflicts;
        self.mma_flops += other.mma_flops;
        self.divergent_branches += other.divergent_branches;
    }

    /// The launch's counters.
    pub fn finish(self, program: &Program, touched: &Touched) -> Counters {
        let mut counters = Counters {
            mma_flops: self.mma_flops,
            divergent_branches: self.divergent_branches,
            global_load: Traffic { unique_bytes: touched.loaded.count(), ..self.load },
            global_store: Traffic { unique_bytes: touched.stored.count(), ..self.store },
            shared: self.banks,
            ..Counters::default()
        };
        for (i, source) in program.sources.iter().enumerate() {
            if source.first && self.warps[i] > 0 {
                let issued = counters.instructions.entry(class(&program.ops[i].code)).or_default();
                issued.warps += self.warps[i];
                issued.threads += self.threads[i];
            }
        }
        for (space, sites) in [("global", &self.global), ("shared", &self.shared)] {
            for (pc, site) in sites {
                let source = program.sources[*pc as usize];
                counters.accesses.push(AccessSite {
                    line: source.line,
                    source: crate::check::finding::place(program, source),
                    space,
                    requests: site.requests,
                    moved: site.moved,
                    conflicts: site.conflicts,
                });
            }
        }
        counters.accesses.sort_by_key(|a| (a.line, a.space));
        counters
    }
}

/// The class of an instruction, for the counters.
fn class(code: &Code) -> &'static str {
    match code {
        Code::Alu(alu) => match format!("{alu:?}").as_str() {
            name if ["Mov", "Pack", "Low", "High"].iter().any(|part| name.contains(part)) => "move",
            name if ["Ext", "Narrow", "From", "Tf32", "ToIntegral"]
                .iter()
                .any(|part| name.contains(part)) =>
            {
                "convert"
            }
            name if name.contains("F64") => "float64",
            name if name.contains("F16") || name.contains("Bf16") => "float16",
            name if name.contains("F32") => "float32",
            _ => "integer",
        },
        Code::Test(_) | Code::TestCombine(..) | Code::Predicate(..) | Code::Select(..) => "compare",
        Code::Carry { .. } => "integer",
        Code::Branch(_) | Code::Switch(_) | Code::Exit | Code::Trap => "control",
        Code::Load(access) | Code::Store(access) => match access.window {
            Window::Global => "global",
            Window::Shared => "shared",
            Window::Local => "local",
            Window::Param => "param",
            Window::Generic => "generic",
        },
        Code::Atomic(_) => "atomic",
        Code::IsSpace(_) | Code::Nothing => "other",
        Code::Shuffle(_) | Code::Collective(_) => "collective",
        Code::Barrier(_) | Code::WarpSync => "barrier",
        Code::Fence(_) => "fence",
        Code::CopyAsync(_) | Code::CopyCommit | Code::CopyWait(_) => "copy_async",
        Code::Bulk(_) | Code::BulkCommit | Code::BulkWait(..) => "copy_bulk",
        Code::Mbarrier(_) => "mbarrier",
        Code::LoadMatrix(_) | Code::StoreMatrix(_) | Code::MoveMatrix => "matrix",
        Code::Mma(_) => "mma",
        Code::Wgmma(_) | Code::WgmmaFence | Code::WgmmaCommit | Code::WgmmaWait(_) => "wgmma",
    }
}

/// Bytes of memory that a launch touched.
#[derive(Debug)]
pub struct Touched {
    /// Loaded.
    pub loaded: Bytes,
    /// Stored.
    pub stored: Bytes,
}

impl Touched {
    /// Nothing yet.
    pub fn new(view: &View) -> Touched {
        Touched { loaded: Bytes::new(view), stored: Bytes::new(view) }
    }
}

/// A bit for each byte of the regions of a view.
#[derive(Debug)]
pub struct Bytes {
    bases: Vec<(u64, usize)>,
    bits: Vec<OnceLock<Vec<AtomicU64>>>,
}

impl Bytes {
    fn new(view: &View) -> Bytes {
        let bases: Vec<_> = view.regions().iter().map(|r| (r.base, r.len)).collect();
        Bytes { bits: bases.iter().map(|_| OnceLock::new()).collect(), bases }
    }

    /// Marks a run of bytes within one region.
    pub fn mark(&self, address: u64, bytes: u32) {
        let after = self.bases.partition_point(|(base, _)| *base <= address);
        let Some(index) = after.checked_sub(1) else { return };
        let (base, len) = self.bases[index];
        let bits = self.bits[index]
            .get_or_init(|| std::iter::repeat_with(AtomicU64::default).take(len.div_ceil(64)).collect());
        for byte in address - base..address - base + u64::from(bytes) {
            let (Some(word), mask) = (bits.get(byte as usize / 64), 1 << (byte % 64)) else { return };
            if word.load(Relaxed) & mask == 0 {
                word.fetch_or(mask, Relaxed);
            }
        }
    }

    fn count(&self) -> u64 {
        let bits = self.bits.iter().filter_map(OnceLock::get).flatten();
        bits.map(|word| u64::from(word.load(Relaxed).count_ones())).sum()
    }
}
