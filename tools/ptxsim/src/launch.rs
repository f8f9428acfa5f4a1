//! Launches: the blocks of a grid, on the machine's cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::check::finding::Findings;
pub use crate::check::finding::{Finding, Kind};
use crate::check::global::GlobalShadow;
use crate::counters::{Counters, Touched};
use crate::execute::block::{Block, Grid};
use crate::memory::Memory;
use crate::module::Kernel;

/// Shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Blocks (x, y, z).
    pub grid: [u32; 3],
    /// Threads of a block (x, y, z).
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
}

/// How to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Races, uninitialised reads and the like are looked for (`PTXSIM_CHECK`, on unless 0). Bounds and alignment
    /// always are.
    pub check: bool,
    /// Counters are kept (on if `PTXSIM_REPORT` names a file).
    pub count: bool,
    /// Seed of random schedules (`PTXSIM_SEED`); without one warps take turns.
    pub seed: Option<u64>,
    /// Warp instructions of a block after which it is taken to hang (`PTXSIM_WATCHDOG`).
    pub watchdog: u64,
    /// Multiprocessors that `%nsmid` tells.
    pub multiprocessors: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { check: true, count: false, seed: None, watchdog: 1 << 32, multiprocessors: 132 }
    }
}

impl Options {
    /// As the environment says.
    ///
    /// # Errors
    /// The variable and its value, if it is not what it should be.
    pub fn from_env() -> Result<Options, String> {
        let number = |name: &str| match std::env::var(name) {
            Err(_) => Ok(None),
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => match text.parse::<u64>() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(format!("{name} is {text}, which is not a number: correct or unset it")),
            },
        };
        let default = Options::default();
        Ok(Options {
            check: number("PTXSIM_CHECK")? != Some(0),
            count: std::env::var_os("PTXSIM_REPORT").is_some_and(|v| !v.is_empty()),
            seed: number("PTXSIM_SEED")?,
            watchdog: number("PTXSIM_WATCHDOG")?.unwrap_or(default.watchdog),
            multiprocessors: default.multiprocessors,
        })
    }
}

/// What came of a launch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What the checker found; nothing if all is well.
    pub findings: Vec<Finding>,
    /// Counters, if they were wanted.
    pub counters: Counters,
    /// Warp instructions, those of lanes that came to a meeting too early too.
    pub instructions: u64,
}

/// Runs a kernel. `params` holds its parameters, laid out as [`Kernel::params`] says.
pub fn launch(
    kernel: &Kernel,
    config: &Config,
    params: &[u8],
    memory: &Memory,
    options: &Options,
) -> Outcome {
    let view = memory.view();
    let program = &kernel.program;
    let shadow = options.check.then(|| GlobalShadow::new(&view, program.global_granule));
    let touched = options.count.then(|| Touched::new(&view));
    let grid = Grid {
        kernel: &kernel.name,
        program,
        grid: config.grid,
        block: config.block,
        dynamic_shared: config.dynamic_shared,
        params,
        memory,
        view,
        findings: Findings::default(),
        shadow,
        touched,
        seed: options.seed,
        watchdog: options.watchdog,
        multiprocessors: options.multiprocessors,
    };
    let blocks: u64 = config.grid.iter().map(|n| u64::from(*n)).product();
    let total = Mutex::new(None);
    let executed = AtomicU64::new(0);
    (0..blocks).into_par_iter().for_each(|index| {
        let mut block = Block::new(&grid, index, options.count);
        block.run();
        executed.fetch_add(block.executed, Ordering::Relaxed);
        if let Some(counters) = block.counters.take() {
            let mut total = total.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match &mut *total {
                None => *total = Some(counters),
                Some(sum) => sum.add(&counters),
            }
        }
    });
    let Grid { findings, touched, .. } = grid;
    let total = total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let counters = match (total, &touched) {
        (Some(total), Some(touched)) => total.finish(program, touched),
        _ => Counters::default(),
    };
    Outcome { findings: findings.take(), counters, instructions: executed.into_inner() }
}
