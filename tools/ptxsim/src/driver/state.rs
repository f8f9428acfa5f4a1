//! Everything the driver knows, and how queued work is run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::device::Device;
use crate::launch::Options;
use crate::memory::Memory;

use super::api::{refuse, say};
use super::capture::Capture;
use super::context::Context;
use super::event::Event;
use super::fault::Fault;
use super::function::Function;
use super::graph::{Exec, Graph};
use super::module::LoadedModule;
use super::pool::Pool;
use super::schedule::{Op, Schedule};
use super::status::{Result, Status};
use super::stream::Stream;
use super::trace;
use super::work::{Task, Work};

/// A handle of any kind, as the caller holds it: a number that names an entry of one table. 0 is none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub usize);

impl Handle {
    /// No object.
    pub const NONE: Handle = Handle(0);
}

/// The first handle. Not a place in memory: a client that follows it faults.
const FIRST: usize = 0x5054_5800_0000_0010;

/// What running an operation needs.
pub(super) struct Machine {
    pub(super) device: Device,
    pub(super) memory: Memory,
    pub(super) options: Options,
    /// The launch that is to fail, if one is.
    pub(super) fault: Option<Fault>,
}

/// The tables. One lock guards them; it is open while an operation runs.
pub struct State {
    pub(super) machine: Arc<Machine>,
    pub(super) schedule: Schedule<Task>,
    pub(super) contexts: HashMap<Handle, Context>,
    pub(super) primary: Primary,
    pub(super) streams: HashMap<Handle, Stream>,
    pub(super) events: HashMap<Handle, Event>,
    pub(super) modules: HashMap<Handle, LoadedModule>,
    pub(super) functions: HashMap<Handle, Function>,
    pub(super) graphs: HashMap<Handle, Graph>,
    /// Graph and index of each node.
    pub(super) nodes: HashMap<Handle, (Handle, usize)>,
    pub(super) execs: HashMap<Handle, Exec>,
    pub(super) captures: HashMap<Handle, Capture>,
    pub(super) pools: HashMap<Handle, Pool>,
    /// The device's default and current pool.
    pub(super) default_pool: Handle,
    pub(super) current_pool: Handle,
    /// Context, and pool if there is one, of each allocation.
    pub(super) owners: HashMap<u64, Owner>,
    last_handle: usize,
}

/// Whose an allocation is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) context: Handle,
    pub(super) pool: Option<Handle>,
    /// A stream-ordered free is queued.
    pub(super) freeing: bool,
    /// Flags that it was allocated or registered with.
    pub(super) flags: u32,
}

/// The primary context of the device.
#[derive(Debug, Default)]
pub(super) struct Primary {
    pub(super) context: Option<Handle>,
    pub(super) count: u32,
    pub(super) flags: u32,
}

struct Driver {
    state: Mutex<State>,
    /// An operation has finished.
    progress: Condvar,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

thread_local! {
    /// Contexts that this thread pushed; the last is current.
    static CONTEXTS: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

/// Reads or changes the thread's contexts, the current one last.
///
/// # Errors
/// `CUDA_ERROR_DEINITIALIZED` when the thread is ending and its variables are gone.
pub(super) fn with_contexts<R>(f: impl FnOnce(&mut Vec<Handle>) -> R) -> Result<R> {
    CONTEXTS.try_with(|c| f(&mut c.borrow_mut())).map_err(|_| Status::DEINITIALIZED)
}

/// The state, locked.
pub struct Locked {
    driver: &'static Driver,
    guard: MutexGuard<'static, State>,
}

impl Deref for Locked {
    type Target = State;
    fn deref(&self) -> &State {
        &self.guard
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.guard
    }
}

impl Driver {
    fn lock(&'static self) -> Locked {
        // A panic under the lock is a bug that was reported; the tables stay usable.
        Locked { driver: self, guard: self.state.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// Makes the driver ready, once.
pub(super) fn initialise() -> Result<()> {
    if DRIVER.get().is_some() {
        return Ok(());
    }
    let failed = |why: String| refuse(Status::UNKNOWN, why);
    let device = Device::from_env().map_err(failed)?;
    let mut options = Options::from_env().map_err(failed)?;
    options.multiprocessors = device.limits().multiprocessors;
    let fault = Fault::from_env().map_err(failed)?;
    let seed = options.seed;
    let memory = Memory::new(device.memory).map_err(|e| {
        refuse(Status::OUT_OF_MEMORY, format_args!("{e}; PTXSIM_MEMORY makes the device smaller"))
    })?;
    let mut state = State {
        machine: Arc::new(Machine { device, memory, options, fault }),
        schedule: Schedule::new(seed),
        contexts: HashMap::new(),
        primary: Primary::default(),
        streams: HashMap::new(),
        events: HashMap::new(),
        modules: HashMap::new(),
        functions: HashMap::new(),
        graphs: HashMap::new(),
        nodes: HashMap::new(),
        execs: HashMap::new(),
        captures: HashMap::new(),
        pools: HashMap::new(),
        default_pool: Handle::NONE,
        current_pool: Handle::NONE,
        owners: HashMap::new(),
        last_handle: FIRST,
    };
    state.default_pool = state.new_handle();
    state.current_pool = state.default_pool;
    state.pools.insert(state.default_pool, Pool::default());
    // Another thread may have been faster; then its driver is the one.
    let _ = DRIVER.set(Driver { state: Mutex::new(state), progress: Condvar::new() });
    Ok(())
}

/// The state.
///
/// # Errors
/// `CUDA_ERROR_NOT_INITIALIZED` before `cuInit`.
pub(super) fn lock() -> Result<Locked> {
    DRIVER.get().map(Driver::lock).ok_or(Status::NOT_INITIALIZED)
}

impl State {
    /// A handle that was never given out.
    pub(super) fn new_handle(&mut self) -> Handle {
        self.last_handle += 16;
        Handle(self.last_handle)
    }

    /// The device's memory.
    pub(super) fn memory(&self) -> &Memory {
        &self.machine.memory
    }

    /// Handle of the current context.
    pub(super) fn current(&self) -> Result<Handle> {
        let context = with_contexts(|c| c.last().copied())?.ok_or(Status::INVALID_CONTEXT)?;
        if self.contexts.contains_key(&context) { Ok(context) } else { Err(Status::CONTEXT_IS_DESTROYED) }
    }

    /// Fails as the context does, if something in it has failed.
    pub(super) fn check(&self, context: Handle) -> Result<()> {
        let context = self.contexts.get(&context).ok_or(Status::INVALID_CONTEXT)?;
        context.error.map_or(Ok(()), Err)
    }

    /// Queues work after operations.
    pub(super) fn enqueue(&mut self, context: Handle, work: Work, waits: impl IntoIterator<Item = Op>) -> Op {
        let work = match &self.machine.fault {
            Some(fault) => fault.queued(work),
            None => work,
        };
        self.schedule.add(Task { context, work }, waits)
    }

    /// Operations of a context that have not finished.
    pub(super) fn pending_in(&self, context: Handle) -> Vec<Op> {
        self.schedule.matching(|task| task.context == context)
    }
}

/// Runs operations until all of `goals` have finished.
pub(super) fn force(mut s: Locked, goals: impl IntoIterator<Item = Op>) -> Locked {
    let mut wanted = s.schedule.closure(goals);
    while let Some(first) = wanted.first().copied() {
        if !s.schedule.is_pending(first) {
            wanted.remove(&first);
            continue;
        }
        s = match s.schedule.take(&wanted) {
            Some((op, task)) => run(s, op, task),
            None => {
                // Another thread runs what is needed.
                let Locked { driver, guard } = s;
                let guard = driver.progress.wait(guard).unwrap_or_else(PoisonError::into_inner);
                Locked { driver, guard }
            }
        };
    }
    s
}

/// Runs operations until all of `goals` have finished; fails if the context has.
pub(super) fn finish(s: Locked, context: Handle, goals: impl IntoIterator<Item = Op>) -> Result<Locked> {
    trace::waits();
    let s = force(s, goals);
    s.check(context)?;
    Ok(s)
}

/// Runs one operation that the goals need, if one is ready.
pub(super) fn advance(mut s: Locked, goals: impl IntoIterator<Item = Op>) -> Locked {
    let wanted = s.schedule.closure(goals);
    if wanted.is_empty() {
        return s;
    }
    match s.schedule.take(&wanted) {
        Some((op, task)) => run(s, op, task),
        None => s,
    }
}

/// Runs an operation, with the state unlocked meanwhile.
fn run(s: Locked, op: Op, task: Task) -> Locked {
    // After an error, what is left in a context is dropped.
    let dead = s.check(task.context).is_err();
    let (driver, machine) = (s.driver, s.machine.clone());
    drop(s);
    let outcome = if dead {
        Ok(())
    } else {
        catch_unwind(AssertUnwindSafe(|| task.work.run(&machine))).unwrap_or_else(|_| {
            say("the simulator itself failed on queued work; this is a bug of ptxsim");
            Err(Status::LAUNCH_FAILED)
        })
    };
    let mut s = driver.lock();
    s.schedule.finish(op);
    if let (Err(status), Some(context)) = (outcome, s.contexts.get_mut(&task.context)) {
        context.error.get_or_insert(status);
    }
    match task.work {
        Work::Record(event) => {
            if let Some(event) = s.events.get_mut(&event).filter(|e| e.last == Some(op)) {
                event.time = Some(Instant::now());
            }
        }
        Work::Free(address) if !dead => s.release(address),
        _ => {}
    }
    driver.progress.notify_all();
    s
}
