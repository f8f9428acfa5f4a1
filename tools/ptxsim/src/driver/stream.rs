//! Streams (driver API, "Stream Management").

use std::ffi::c_void;

use super::api::{api, refuse, say};
use super::argument::Out;
use super::capture::Membership;
use super::schedule::Op;
use super::state::{Handle, Locked, State, advance, finish};
use super::status::{Result, Status};
use super::work::{HostFunction, Work};

/// Priorities of streams; they are kept, and have no effect.
pub(super) const LEAST_PRIORITY: i32 = 0;
/// See [`LEAST_PRIORITY`].
pub(super) const GREATEST_PRIORITY: i32 = -5;

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) context: Handle,
    flags: u32,
    priority: i32,
    /// Its last operation.
    pub(super) last: Option<Op>,
    /// The capture that it takes part in.
    pub(super) capture: Option<Membership>,
}

impl Stream {
    pub(super) fn new(context: Handle, flags: u32, priority: i32) -> Stream {
        Stream { context, flags, priority, last: None, capture: None }
    }

    /// Whether it and the legacy default stream wait for each other.
    pub(super) fn is_blocking(&self) -> bool {
        self.flags & NON_BLOCKING == 0
    }
}

impl State {
    /// The stream that a handle means in a context: 0 and 1 are the legacy default stream, 2 is the thread's.
    pub(super) fn resolve(&mut self, context: Handle, stream: Handle) -> Result<Handle> {
        match stream.0 {
            0 | 1 => Ok(self.context(context)?.legacy),
            2 => {
                let thread = std::thread::current().id();
                if let Some(stream) = self.context(context)?.per_thread.get(&thread) {
                    return Ok(*stream);
                }
                let handle = self.new_handle();
                self.streams.insert(handle, Stream::new(context, 0, 0));
                self.context(context)?.per_thread.insert(thread, handle);
                Ok(handle)
            }
            _ => match self.streams.get(&stream) {
                Some(found) if found.context == context => Ok(stream),
                Some(_) => Err(refuse(Status::INVALID_HANDLE, "the stream is of another context")),
                None => Err(refuse(Status::INVALID_HANDLE, "there is no such stream (was it destroyed?)")),
            },
        }
    }

    /// The stream behind a resolved handle.
    pub(super) fn stream(&mut self, stream: Handle) -> Result<&mut Stream> {
        self.streams.get_mut(&stream).ok_or(Status::INVALID_HANDLE)
    }

    fn is_legacy(&self, context: Handle, stream: Handle) -> bool {
        self.contexts.get(&context).is_some_and(|c| c.legacy == stream)
    }

    /// What work that is queued on a stream now has to wait for.
    fn predecessors(&self, context: Handle, stream: Handle) -> Vec<Op> {
        let Some(c) = self.contexts.get(&context) else { return Vec::new() };
        let last = |s: &Stream| s.last;
        if c.legacy == stream {
            let blocking = self.streams.values().filter(|s| s.context == context && s.is_blocking());
            blocking.filter_map(last).chain(c.orphans.iter().copied()).collect()
        } else {
            let own = self.streams.get(&stream);
            let legacy = self.streams.get(&c.legacy).filter(|_| own.is_some_and(Stream::is_blocking));
            [own, legacy].into_iter().flatten().filter_map(last).collect()
        }
    }

    /// What has to finish for a stream to be idle.
    pub(super) fn tail(&self, context: Handle, stream: Handle) -> Vec<Op> {
        if self.is_legacy(context, stream) {
            self.predecessors(context, stream)
        } else {
            self.streams.get(&stream).and_then(|s| s.last).into_iter().collect()
        }
    }

    /// Queues work on a (resolved) stream. If the stream is capturing, it becomes a node of the graph instead, and
    /// there is no operation.
    pub(super) fn submit(&mut self, context: Handle, stream: Handle, work: Work) -> Result<Option<Op>> {
        self.submit_after(context, stream, work, &[])
    }

    /// [`submit`](State::submit), waiting for `also` too.
    pub(super) fn submit_after(
        &mut self,
        context: Handle,
        stream: Handle,
        work: Work,
        also: &[Op],
    ) -> Result<Option<Op>> {
        if self.capture_node(context, stream, &work)? {
            return Ok(None);
        }
        let waits = self.predecessors(context, stream).into_iter().chain(also.iter().copied());
        let op = self.enqueue(context, work, waits);
        self.stream(stream)?.last = Some(op);
        Ok(Some(op))
    }
}

/// Makes a stream.
fn create(mut s: Locked, context: Handle, out: Out<Handle>, flags: u32, priority: i32) -> Result<()> {
    if flags & !NON_BLOCKING != 0 || out.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    let handle = s.new_handle();
    let priority = priority.clamp(GREATEST_PRIORITY, LEAST_PRIORITY);
    s.streams.insert(handle, Stream::new(context, flags, priority));
    out.put(handle)
}

api! {
    /// Makes a stream.
    fn cuStreamCreate(s, c; stream: Out<Handle>, flags: u32) {
        create(s, c, stream, flags, LEAST_PRIORITY)
    }

    /// Makes a stream with a priority.
    fn cuStreamCreateWithPriority(s, c; stream: Out<Handle>, flags: u32, priority: i32) {
        create(s, c, stream, flags, priority)
    }

    /// Destroys a stream; work queued on it still runs.
    fn cuStreamDestroy_v2(s; stream: Handle) {
        let found = s.streams.remove(&stream).ok_or(Status::INVALID_HANDLE)?;
        let context = s.context(found.context)?;
        if context.legacy == stream {
            s.streams.insert(stream, found);
            return Err(Status::INVALID_HANDLE);
        }
        if found.is_blocking() {
            context.orphans.extend(found.last);
        }
        let State { contexts, schedule, .. } = &mut *s;
        if let Some(context) = contexts.get_mut(&found.context) {
            context.orphans.retain(|op| schedule.is_pending(*op));
        }
        if let Some(member) = found.capture {
            say("the stream is destroyed while it is capturing, which invalidates the capture");
            s.invalidate(member.capture);
        }
        Ok(())
    }

    /// Waits for a stream.
    fn cuStreamSynchronize(s, c; stream: Handle) {
        let stream = s.resolve(c, stream)?;
        s.forbid_in_capturing(c, stream)?;
        let tail = s.tail(c, stream);
        finish(s, c, tail).map(drop)
    }

    /// Whether a stream is idle. Runs one operation that it waits for, so that polling comes to an end.
    fn cuStreamQuery(s, c; stream: Handle) {
        let stream = s.resolve(c, stream)?;
        s.forbid_in_capturing(c, stream)?;
        let tail = s.tail(c, stream);
        let s = advance(s, tail.iter().copied());
        s.check(c)?;
        if tail.iter().any(|op| s.schedule.is_pending(*op)) { Err(Status::NOT_READY) } else { Ok(()) }
    }

    /// Makes later work of a stream wait for an event.
    fn cuStreamWaitEvent(s, c; stream: Handle, event: Handle, flags: u32) {
        if flags > 1 {
            return Err(Status::INVALID_VALUE);
        }
        let stream = s.resolve(c, stream)?;
        let found = s.event(event)?;
        let (last, captured) = (found.last, found.captured.clone());
        if flags != 0
            && let Some(member) = s.membership(stream)?
        {
            s.invalidate(member.capture);
            return Err(refuse(Status::NOT_SUPPORTED, "waits for external events in a capture are not simulated"));
        }
        if s.join_capture(stream, captured, last)? {
            return Ok(());
        }
        match last {
            Some(op) => s.submit_after(c, stream, Work::Nothing, &[op]).map(drop),
            None => Ok(()),
        }
    }

    /// Queues a host function.
    fn cuLaunchHostFunc(s, c; stream: Handle, function: Option<HostFunction>, data: *mut c_void) {
        let stream = s.resolve(c, stream)?;
        let function = function.ok_or(Status::INVALID_VALUE)?;
        s.submit(c, stream, Work::Host(function, data.addr())).map(drop)
    }

    /// A stream's priority.
    fn cuStreamGetPriority(s, c; stream: Handle, priority: Out<i32>) {
        let stream = s.resolve(c, stream)?;
        priority.put(s.stream(stream)?.priority)
    }

    /// A stream's flags.
    fn cuStreamGetFlags(s, c; stream: Handle, flags: Out<u32>) {
        let stream = s.resolve(c, stream)?;
        flags.put(s.stream(stream)?.flags)
    }

    /// A number that no other stream of the process has.
    fn cuStreamGetId(s, c; stream: Handle, id: Out<u64>) {
        id.put(s.resolve(c, stream)?.0 as u64)
    }

    /// A stream's context.
    fn cuStreamGetCtx(s, c; stream: Handle, context: Out<Handle>) {
        let stream = s.resolve(c, stream)?;
        context.put(s.stream(stream)?.context)
    }

    /// A stream's device.
    fn cuStreamGetDevice(s, c; stream: Handle, device: Out<i32>) {
        s.resolve(c, stream)?;
        device.put(0)
    }

    /// Ties managed memory to a stream; here every stream and the host may use it at any time.
    fn cuStreamAttachMemAsync(s, c; stream: Handle, address: u64, length: usize, flags: u32) {
        s.resolve(c, stream)?;
        if !matches!(flags, 1 | 2 | 4) {
            return Err(Status::INVALID_VALUE);
        }
        s.memory().region(address, length.max(1)).map_err(|e| refuse(Status::INVALID_VALUE, e)).map(drop)
    }
}
