//! Contexts (driver API, "Context Management", "Primary Context Management").

use std::collections::HashMap;
use std::thread::ThreadId;

use super::api::{api, refuse};
use super::argument::{In, Out};
use super::schedule::Op;
use super::state::{Handle, Locked, State, finish, force, with_contexts};
use super::status::{Result, Status};
use super::stream::Stream;
use super::trace;

/// A context.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) flags: u32,
    /// What failed in it, for good.
    pub(super) error: Option<Status>,
    /// The legacy default stream.
    pub(super) legacy: Handle,
    /// The per-thread default streams.
    pub(super) per_thread: HashMap<ThreadId, Handle>,
    /// Last operations of blocking streams that were destroyed since.
    pub(super) orphans: Vec<Op>,
    /// Values of `CUlimit` that were set.
    limits: HashMap<i32, usize>,
    cache_config: i32,
    shared_config: i32,
}

/// `CUlimit`: bytes of a thread's stack, of the printf buffer and of the heap, two numbers of device-side launches,
/// L2 fetch granularity, persisting L2 size.
const LIMITS: [(i32, usize); 7] =
    [(0, 1024), (1, 1 << 20), (2, 8 << 20), (3, 2), (4, 2048), (5, 128), (6, 0)];

/// Flags that `cuCtxCreate` and `cuCtxSetFlags` know (`CU_CTX_FLAGS_MASK`).
const FLAGS: u32 = 0xff;

/// Version of the API that contexts speak.
const API_VERSION: u32 = 3020;

impl State {
    fn new_context(&mut self, flags: u32) -> Handle {
        let (handle, legacy) = (self.new_handle(), self.new_handle());
        self.streams.insert(legacy, Stream::new(handle, 0, 0));
        let context = Context {
            flags,
            error: None,
            legacy,
            per_thread: HashMap::new(),
            orphans: Vec::new(),
            limits: HashMap::new(),
            cache_config: 0,
            shared_config: 0,
        };
        self.contexts.insert(handle, context);
        handle
    }

    /// The context itself; one that failed, too.
    pub(super) fn context(&mut self, handle: Handle) -> Result<&mut Context> {
        self.contexts.get_mut(&handle).ok_or(Status::INVALID_CONTEXT)
    }

    fn known(&self, context: Handle) -> Result<()> {
        if self.contexts.contains_key(&context) { Ok(()) } else { Err(Status::INVALID_CONTEXT) }
    }

    fn limit(&mut self, context: Handle, limit: i32) -> Result<usize> {
        let default = LIMITS.iter().find(|(l, _)| *l == limit).ok_or(Status::UNSUPPORTED_LIMIT)?.1;
        Ok(self.context(context)?.limits.get(&limit).copied().unwrap_or(default))
    }
}

/// Runs what is queued in a context, then frees all that belongs to it.
fn destroy(s: Locked, context: Handle) -> Locked {
    let pending = s.pending_in(context);
    trace::waits();
    let mut s = force(s, pending);
    s.streams.retain(|_, stream| stream.context != context);
    s.events.retain(|_, event| event.context != context);
    s.execs.retain(|_, exec| exec.context != context);
    let State { captures, streams, .. } = &mut *s;
    captures.retain(|_, capture| streams.contains_key(&capture.origin));
    let modules: Vec<Handle> =
        s.modules.iter().filter(|(_, m)| m.context == context).map(|(h, _)| *h).collect();
    for module in modules {
        s.unload(module);
    }
    let owned: Vec<u64> = s.owners.iter().filter(|(_, o)| o.context == context).map(|(a, _)| *a).collect();
    for address in owned {
        s.release(address);
    }
    s.contexts.remove(&context);
    s
}

/// Makes a context and makes it current.
fn create(mut s: Locked, out: Out<Handle>, flags: u32, device: i32) -> Result<()> {
    s.check_device(device)?;
    if flags & !FLAGS != 0 || out.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    let context = s.new_context(flags);
    with_contexts(|c| c.push(context))?;
    out.put(context)
}

/// Waits for all work of a context.
fn synchronize(mut s: Locked, context: Handle) -> Result<()> {
    s.forbid_capturing(context)?;
    let pending = s.pending_in(context);
    finish(s, context, pending).map(drop)
}

api! {
    /// Makes a context.
    fn cuCtxCreate_v2(s; context: Out<Handle>, flags: u32, device: i32) {
        create(s, context, flags, device)
    }

    /// Makes a context; execution affinity is not simulated.
    fn cuCtxCreate_v3(s; context: Out<Handle>, affinity: In<u8>, count: i32, flags: u32, device: i32) {
        if count != 0 && !affinity.is_null() {
            return Err(refuse(Status::NOT_SUPPORTED, "execution affinity is not simulated"));
        }
        create(s, context, flags, device)
    }

    /// Makes a context; its parameters (execution affinity, graphics) are not simulated.
    fn cuCtxCreate_v4(s; context: Out<Handle>, params: In<u8>, flags: u32, device: i32) {
        if !params.is_null() {
            return Err(refuse(Status::NOT_SUPPORTED, "context parameters are not simulated"));
        }
        create(s, context, flags, device)
    }

    /// Destroys a context and all that is in it.
    fn cuCtxDestroy_v2(s; context: Handle) {
        s.known(context)?;
        if s.primary.context == Some(context) {
            return Err(Status::INVALID_CONTEXT);
        }
        destroy(s, context);
        with_contexts(|c| c.pop_if(|top| *top == context)).map(drop)
    }

    /// Makes a context current, above the one that was.
    fn cuCtxPushCurrent_v2(s; context: Handle) {
        s.known(context)?;
        with_contexts(|c| c.push(context))
    }

    /// Makes the context current that was before.
    fn cuCtxPopCurrent_v2(s; context: Out<Handle>) {
        let _ = s;
        let top = with_contexts(Vec::pop)?.ok_or(Status::INVALID_CONTEXT)?;
        context.put_if_wanted(top);
        Ok(())
    }

    /// Makes a context current, in place of the one that was; none if it is null.
    fn cuCtxSetCurrent(s; context: Handle) {
        if context != Handle::NONE {
            s.known(context)?;
        }
        with_contexts(|c| {
            c.pop();
            if context != Handle::NONE {
                c.push(context);
            }
        })
    }

    /// The current context, or null.
    fn cuCtxGetCurrent(s; context: Out<Handle>) {
        let _ = s;
        context.put(with_contexts(|c| c.last().copied())?.unwrap_or(Handle::NONE))
    }

    /// The current context's device.
    fn cuCtxGetDevice(s; device: Out<i32>) {
        s.current()?;
        device.put(0)
    }

    /// A context's device.
    fn cuCtxGetDevice_v2(s; device: Out<i32>, context: Handle) {
        if context == Handle::NONE { s.current()?; } else { s.known(context)?; }
        device.put(0)
    }

    /// The current context's flags.
    fn cuCtxGetFlags(s; flags: Out<u32>) {
        let context = s.current()?;
        flags.put(s.context(context)?.flags)
    }

    /// Sets the current context's flags.
    fn cuCtxSetFlags(s; flags: u32) {
        let context = s.current()?;
        if flags & !FLAGS != 0 {
            return Err(Status::INVALID_VALUE);
        }
        s.context(context)?.flags = flags;
        Ok(())
    }

    /// A number that no other context of the process has.
    fn cuCtxGetId(s; context: Handle, id: Out<u64>) {
        let context = if context == Handle::NONE { s.current()? } else { context };
        s.known(context)?;
        id.put(context.0 as u64)
    }

    /// Version of the API that a context speaks.
    fn cuCtxGetApiVersion(s; context: Handle, version: Out<u32>) {
        let context = if context == Handle::NONE { s.current()? } else { context };
        s.known(context)?;
        version.put(API_VERSION)
    }

    /// Waits for all work of the current context.
    fn cuCtxSynchronize(s, c;) {
        synchronize(s, c)
    }

    /// Waits for all work of a context.
    fn cuCtxSynchronize_v2(s; context: Handle) {
        let context = if context == Handle::NONE { s.current()? } else { context };
        s.check(context)?;
        synchronize(s, context)
    }

    /// Sets a limit. It is kept, and has no effect.
    fn cuCtxSetLimit(s, c; limit: i32, value: usize) {
        s.limit(c, limit)?;
        s.context(c)?.limits.insert(limit, value);
        Ok(())
    }

    /// A limit.
    fn cuCtxGetLimit(s, c; value: Out<usize>, limit: i32) {
        value.put(s.limit(c, limit)?)
    }

    /// The preferred split of cache and shared memory.
    fn cuCtxGetCacheConfig(s, c; config: Out<i32>) {
        config.put(s.context(c)?.cache_config)
    }

    /// Sets the preferred split of cache and shared memory. It is kept, and has no effect.
    fn cuCtxSetCacheConfig(s, c; config: i32) {
        if !(0..=3).contains(&config) {
            return Err(Status::INVALID_VALUE);
        }
        s.context(c)?.cache_config = config;
        Ok(())
    }

    /// The preferred width of shared memory banks.
    fn cuCtxGetSharedMemConfig(s, c; config: Out<i32>) {
        config.put(s.context(c)?.shared_config)
    }

    /// Sets the preferred width of shared memory banks. It is kept, and has no effect.
    fn cuCtxSetSharedMemConfig(s, c; config: i32) {
        if !(0..=2).contains(&config) {
            return Err(Status::INVALID_VALUE);
        }
        s.context(c)?.shared_config = config;
        Ok(())
    }

    /// Least and greatest stream priority.
    fn cuCtxGetStreamPriorityRange(s, c; least: Out<i32>, greatest: Out<i32>) {
        let _ = (s, c);
        least.put_if_wanted(super::stream::LEAST_PRIORITY);
        greatest.put_if_wanted(super::stream::GREATEST_PRIORITY);
        Ok(())
    }

    /// There is no persisting cache to reset.
    fn cuCtxResetPersistingL2Cache(s, c;) {
        let _ = (s, c);
        Ok(())
    }

    /// Access between contexts of different devices; there is one device.
    fn cuCtxEnablePeerAccess(s, c; peer: Handle, flags: u32) {
        let _ = (c, flags);
        s.known(peer)?;
        Err(Status::PEER_ACCESS_UNSUPPORTED)
    }

    /// The primary context, made if need be; one more user of it.
    fn cuDevicePrimaryCtxRetain(s; context: Out<Handle>, device: i32) {
        s.check_device(device)?;
        if context.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let handle = match s.primary.context {
            Some(handle) => handle,
            None => {
                let flags = s.primary.flags;
                s.new_context(flags)
            }
        };
        s.primary.context = Some(handle);
        s.primary.count += 1;
        context.put(handle)
    }

    /// One user of the primary context less; the last destroys it.
    fn cuDevicePrimaryCtxRelease_v2(s; device: i32) {
        s.check_device(device)?;
        let handle = s.primary.context.ok_or(Status::INVALID_CONTEXT)?;
        s.primary.count = s.primary.count.saturating_sub(1);
        if s.primary.count == 0 {
            s.primary.context = None;
            destroy(s, handle);
        }
        Ok(())
    }

    /// Destroys the primary context, whoever uses it.
    fn cuDevicePrimaryCtxReset_v2(s; device: i32) {
        s.check_device(device)?;
        s.primary.count = 0;
        if let Some(handle) = s.primary.context.take() {
            destroy(s, handle);
        }
        Ok(())
    }

    /// Sets the flags of the primary context.
    fn cuDevicePrimaryCtxSetFlags_v2(s; device: i32, flags: u32) {
        s.check_device(device)?;
        if flags & !FLAGS != 0 {
            return Err(Status::INVALID_VALUE);
        }
        s.primary.flags = flags;
        if let Some(handle) = s.primary.context {
            s.context(handle)?.flags = flags;
        }
        Ok(())
    }

    /// Flags of the primary context, and whether it exists.
    fn cuDevicePrimaryCtxGetState(s; device: i32, flags: Out<u32>, active: Out<i32>) {
        s.check_device(device)?;
        flags.put(s.primary.flags)?;
        active.put(i32::from(s.primary.context.is_some()))
    }
}
