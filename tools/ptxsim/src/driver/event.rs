//! Events (driver API, "Event Management").

use std::time::Instant;

use super::api::{api, refuse};
use super::argument::Out;
use super::capture::Membership;
use super::schedule::Op;
use super::state::{Handle, Locked, State, advance, finish};
use super::status::{Result, Status};
use super::work::Work;

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: u32 = 2;

/// An event.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) context: Handle,
    flags: u32,
    /// The operation that records it, if it was recorded.
    pub(super) last: Option<Op>,
    /// When that ran.
    pub(super) time: Option<Instant>,
    /// Where in a capture it was recorded, if that came last.
    pub(super) captured: Option<Membership>,
}

impl State {
    /// The event behind a handle.
    pub(super) fn event(&mut self, event: Handle) -> Result<&mut Event> {
        self.events
            .get_mut(&event)
            .ok_or_else(|| refuse(Status::INVALID_HANDLE, "there is no such event (was it destroyed?)"))
    }

    /// The operation to wait for; fails if the event is part of a capture.
    fn recorded(&mut self, event: Handle) -> Result<Option<Op>> {
        let found = self.event(event)?;
        let last = found.last;
        if let Some(member) = found.captured.clone() {
            self.invalidate(member.capture);
            return Err(refuse(Status::CAPTURED_EVENT, "the event was last recorded in a capturing stream"));
        }
        Ok(last)
    }
}

fn record(mut s: Locked, context: Handle, event: Handle, stream: Handle, flags: u32) -> Result<()> {
    if flags > 1 {
        return Err(Status::INVALID_VALUE);
    }
    let stream = s.resolve(context, stream)?;
    if s.event(event)?.context != context {
        return Err(refuse(Status::INVALID_HANDLE, "the event is of another context"));
    }
    if let Some(member) = s.membership(stream)? {
        if flags != 0 {
            s.invalidate(member.capture);
            return Err(refuse(
                Status::NOT_SUPPORTED,
                "records of external events in a capture are not simulated",
            ));
        }
        s.event(event)?.captured = Some(member);
        return Ok(());
    }
    let op = s.submit(context, stream, Work::Record(event))?;
    let found = s.event(event)?;
    (found.last, found.time, found.captured) = (op, None, None);
    Ok(())
}

fn elapsed(mut s: Locked, start: Handle, end: Handle) -> Result<f32> {
    let mut times = [None; 2];
    for (time, event) in times.iter_mut().zip([start, end]) {
        s.recorded(event)?;
        let found = s.event(event)?;
        if found.flags & DISABLE_TIMING != 0 {
            return Err(refuse(Status::INVALID_HANDLE, "an event was made with CU_EVENT_DISABLE_TIMING"));
        }
        found.last.ok_or_else(|| refuse(Status::INVALID_HANDLE, "an event was never recorded"))?;
        *time = found.time;
    }
    let [Some(start), Some(end)] = times else { return Err(Status::NOT_READY) };
    let milliseconds = |d: std::time::Duration| d.as_secs_f32() * 1e3;
    Ok(match end.checked_duration_since(start) {
        Some(after) => milliseconds(after),
        None => -milliseconds(start.duration_since(end)),
    })
}

api! {
    /// Makes an event.
    fn cuEventCreate(s, c; event: Out<Handle>, flags: u32) {
        // Blocking synchronisation (1), no timing (2); interprocess events (4) are not simulated.
        if flags & !3 != 0 || event.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let handle = s.new_handle();
        s.events.insert(handle, Event { context: c, flags, last: None, time: None, captured: None });
        event.put(handle)
    }

    /// Destroys an event. Who waits for it still does.
    fn cuEventDestroy_v2(s; event: Handle) {
        s.events.remove(&event).map(drop).ok_or(Status::INVALID_HANDLE)
    }

    /// Records an event: it is complete when what is queued on the stream now has run.
    fn cuEventRecord(s, c; event: Handle, stream: Handle) {
        record(s, c, event, stream, 0)
    }

    /// Records an event.
    fn cuEventRecordWithFlags(s, c; event: Handle, stream: Handle, flags: u32) {
        record(s, c, event, stream, flags)
    }

    /// Whether an event is complete. Runs one operation that it waits for, so that polling comes to an end.
    fn cuEventQuery(s, c; event: Handle) {
        let Some(op) = s.recorded(event)? else { return Ok(()) };
        let s = advance(s, [op]);
        s.check(c)?;
        if s.schedule.is_pending(op) { Err(Status::NOT_READY) } else { Ok(()) }
    }

    /// Waits for an event.
    fn cuEventSynchronize(s, c; event: Handle) {
        let op = s.recorded(event)?;
        finish(s, c, op).map(drop)
    }

    /// Milliseconds of host time from when one event completed to when another did.
    fn cuEventElapsedTime(s, c; milliseconds: Out<f32>, start: Handle, end: Handle) {
        let _ = c;
        milliseconds.put(elapsed(s, start, end)?)
    }

    /// Milliseconds of host time from when one event completed to when another did.
    fn cuEventElapsedTime_v2(s, c; milliseconds: Out<f32>, start: Handle, end: Handle) {
        let _ = c;
        milliseconds.put(elapsed(s, start, end)?)
    }
}
