//! Capture of streams into graphs (driver API, "Stream Management", `cuStreamBeginCapture` and after).

use std::cell::Cell;
use std::thread::{self, ThreadId};

use super::api::{api, refuse};
use super::argument::{In, Out};
use super::graph::Graph;
use super::schedule::Op;
use super::state::{Handle, State};
use super::status::{Result, Status};
use super::work::Work;

/// `CU_STREAM_CAPTURE_MODE_*`.
const GLOBAL: i32 = 0;
const THREAD_LOCAL: i32 = 1;
const RELAXED: i32 = 2;

thread_local! {
    /// What this thread lets captures forbid it (`cuThreadExchangeStreamCaptureMode`).
    static MODE: Cell<i32> = const { Cell::new(GLOBAL) };
}

/// A capture in progress.
#[derive(Debug)]
pub(super) struct Capture {
    graph: Handle,
    /// The stream that it began in.
    pub(super) origin: Handle,
    mode: i32,
    thread: ThreadId,
    /// Something forbidden happened; it can only be ended.
    invalid: bool,
}

/// A place in a capture: what the next node depends on.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) capture: Handle,
    /// Indices of nodes of the graph.
    pub(super) tips: Vec<usize>,
}

impl State {
    /// Spoils a capture.
    pub(super) fn invalidate(&mut self, capture: Handle) {
        if let Some(capture) = self.captures.get_mut(&capture) {
            capture.invalid = true;
        }
    }

    /// The stream's place in a capture, if it takes part in one.
    ///
    /// # Errors
    /// `CUDA_ERROR_STREAM_CAPTURE_INVALIDATED` if that is spoiled.
    pub(super) fn membership(&mut self, stream: Handle) -> Result<Option<Membership>> {
        let Some(member) = self.stream(stream)?.capture.clone() else { return Ok(None) };
        match self.captures.get(&member.capture) {
            Some(capture) if capture.invalid => Err(Status::STREAM_CAPTURE_INVALIDATED),
            Some(_) => Ok(Some(member)),
            None => Ok(None),
        }
    }

    /// Makes the work a node if the stream is capturing; whether it did.
    pub(super) fn capture_node(&mut self, context: Handle, stream: Handle, work: &Work) -> Result<bool> {
        self.forbid_implicit(context, stream)?;
        let Some(member) = self.membership(stream)? else { return Ok(false) };
        if matches!(work, Work::Free(_)) {
            self.invalidate(member.capture);
            return Err(refuse(Status::NOT_SUPPORTED, "frees in captured graphs are not simulated"));
        }
        let graph = self.captures.get(&member.capture).ok_or(Status::UNKNOWN)?.graph;
        let index = self.add_node(graph, work.clone(), member.tips)?;
        self.stream(stream)?.capture = Some(Membership { capture: member.capture, tips: vec![index] });
        Ok(true)
    }

    /// Makes a stream wait for an event if one of them is in a capture; whether that was so.
    pub(super) fn join_capture(
        &mut self,
        stream: Handle,
        event: Option<Membership>,
        recorded: Option<Op>,
    ) -> Result<bool> {
        let member = self.membership(stream)?;
        let joined = match (member, event) {
            (None, None) => return Ok(false),
            (Some(member), None) => {
                // An event that was never recorded is nothing to wait for, in a capture too.
                if recorded.is_none() {
                    return Ok(true);
                }
                self.invalidate(member.capture);
                return Err(refuse(
                    Status::STREAM_CAPTURE_ISOLATION,
                    "a capturing stream would wait for an event recorded outside the capture",
                ));
            }
            (None, Some(event)) => match self.captures.get(&event.capture) {
                Some(capture) if capture.invalid => return Err(Status::STREAM_CAPTURE_INVALIDATED),
                Some(_) => event,
                None => return Err(Status::CAPTURED_EVENT), // the capture has ended
            },
            (Some(member), Some(event)) if member.capture != event.capture => {
                self.invalidate(member.capture);
                self.invalidate(event.capture);
                return Err(Status::STREAM_CAPTURE_MERGE);
            }
            (Some(mut member), Some(event)) => {
                member.tips.extend(event.tips);
                member.tips.sort_unstable();
                member.tips.dedup();
                member
            }
        };
        self.stream(stream)?.capture = Some(joined);
        Ok(true)
    }

    /// Captures of the context's streams that fit.
    fn captures_in(&self, context: Handle, blocking_only: bool) -> Vec<Handle> {
        let fits = |s: &&super::stream::Stream| s.context == context && (s.is_blocking() || !blocking_only);
        self.streams.values().filter(fits).filter_map(|s| s.capture.as_ref()).map(|m| m.capture).collect()
    }

    fn spoil(&mut self, captures: Vec<Handle>, status: Status, why: &str) -> Result<()> {
        if captures.is_empty() {
            return Ok(());
        }
        captures.into_iter().for_each(|c| self.invalidate(c));
        Err(refuse(status, why))
    }

    /// Fails if the stream is the legacy one and a blocking stream is capturing.
    fn forbid_implicit(&mut self, context: Handle, stream: Handle) -> Result<()> {
        if self.context(context)?.legacy != stream {
            return Ok(());
        }
        let captures = self.captures_in(context, true);
        self.spoil(
            captures,
            Status::STREAM_CAPTURE_IMPLICIT,
            "the legacy default stream would wait for a blocking stream that is capturing",
        )
    }

    /// Fails if the stream is capturing: it cannot be waited for.
    pub(super) fn forbid_in_capturing(&mut self, context: Handle, stream: Handle) -> Result<()> {
        self.forbid_implicit(context, stream)?;
        let captures = self.stream(stream)?.capture.as_ref().map(|m| m.capture).into_iter().collect();
        self.spoil(captures, Status::STREAM_CAPTURE_UNSUPPORTED, "the stream is capturing, so nothing runs")
    }

    /// Fails if any stream of the context is capturing: it cannot be waited for.
    pub(super) fn forbid_capturing(&mut self, context: Handle) -> Result<()> {
        let captures = self.captures_in(context, false);
        self.spoil(captures, Status::STREAM_CAPTURE_UNSUPPORTED, "a stream of the context is capturing")
    }

    /// Fails if a capture forbids this thread calls that may synchronise, such as allocations.
    pub(super) fn forbid_unsafe(&mut self) -> Result<()> {
        let (mode, thread) = (MODE.get(), thread::current().id());
        let forbids = |c: &Capture| {
            let own = c.thread == thread && c.mode != RELAXED;
            match mode {
                GLOBAL => own || c.mode == GLOBAL,
                THREAD_LOCAL => own,
                _ => false,
            }
        };
        let captures = self.captures.iter().filter(|(_, c)| forbids(c)).map(|(h, _)| *h).collect();
        self.spoil(
            captures,
            Status::STREAM_CAPTURE_UNSUPPORTED,
            "the call may synchronise, which a capture in progress forbids (its mode is not relaxed)",
        )
    }

    /// Ends a capture: its streams capture no more. Gives it and the streams' last nodes.
    fn end_capture(&mut self, handle: Handle) -> Option<(Capture, Vec<usize>)> {
        let capture = self.captures.remove(&handle)?;
        let mut tips = Vec::new();
        for stream in self.streams.values_mut() {
            if let Some(member) = stream.capture.take_if(|m| m.capture == handle) {
                tips.extend(member.tips);
            }
        }
        Some((capture, tips))
    }
}

fn info(s: &mut State, context: Handle, stream: Handle) -> Result<(i32, Option<(Handle, Membership)>)> {
    let stream = s.resolve(context, stream)?;
    s.forbid_implicit(context, stream)?;
    let Some(member) = s.stream(stream)?.capture.clone() else { return Ok((0, None)) };
    Ok(match s.captures.get(&member.capture) {
        None => (0, None),
        Some(capture) if capture.invalid => (2, None),
        Some(capture) => (1, Some((capture.graph, member))),
    })
}

api! {
    /// Begins a capture: work of the stream becomes nodes of a graph.
    fn cuStreamBeginCapture_v2(s, c; stream: Handle, mode: i32) {
        if !(GLOBAL..=RELAXED).contains(&mode) {
            return Err(Status::INVALID_VALUE);
        }
        let stream = s.resolve(c, stream)?;
        if s.context(c)?.legacy == stream {
            return Err(refuse(Status::STREAM_CAPTURE_UNSUPPORTED, "the legacy default stream cannot be captured"));
        }
        if s.stream(stream)?.capture.is_some() {
            return Err(refuse(Status::ILLEGAL_STATE, "the stream is capturing already"));
        }
        let (handle, graph) = (s.new_handle(), s.new_handle());
        s.graphs.insert(graph, Graph::default());
        let thread = thread::current().id();
        s.captures.insert(handle, Capture { graph, origin: stream, mode, thread, invalid: false });
        s.stream(stream)?.capture = Some(Membership { capture: handle, tips: Vec::new() });
        Ok(())
    }

    /// Ends a capture and gives its graph.
    fn cuStreamEndCapture(s, c; stream: Handle, graph: Out<Handle>) {
        let stream = s.resolve(c, stream)?;
        let none = || refuse(Status::ILLEGAL_STATE, "the stream is not capturing");
        let member = s.stream(stream)?.capture.clone().ok_or_else(none)?;
        let capture = s.captures.get(&member.capture).ok_or_else(none)?;
        if capture.mode != RELAXED && capture.thread != thread::current().id() {
            return Err(refuse(Status::STREAM_CAPTURE_WRONG_THREAD, "the capture began in another thread"));
        }
        if capture.origin != stream {
            s.invalidate(member.capture);
            return Err(refuse(Status::STREAM_CAPTURE_UNMATCHED, "the capture began in another stream"));
        }
        let (capture, tips) = s.end_capture(member.capture).ok_or_else(none)?;
        let failure = if capture.invalid {
            Some(refuse(Status::STREAM_CAPTURE_INVALIDATED, "an earlier error invalidated the capture"))
        } else {
            let joined = s.graphs.get(&capture.graph).map(|g| g.ancestors(&member.tips)).unwrap_or_default();
            tips.iter().any(|t| !joined.contains(t)).then(|| {
                refuse(
                    Status::STREAM_CAPTURE_UNJOINED,
                    "another stream has captured work for which this one does not wait",
                )
            })
        };
        if let Some(failure) = failure {
            s.remove_graph(capture.graph);
            graph.put_if_wanted(Handle::NONE);
            return Err(failure);
        }
        graph.put(capture.graph)
    }

    /// Whether a stream is capturing (1) or its capture was invalidated (2).
    fn cuStreamIsCapturing(s, c; stream: Handle, status: Out<i32>) {
        status.put(info(&mut s, c, stream)?.0)
    }

    /// Status, number, graph and last nodes of a stream's capture.
    fn cuStreamGetCaptureInfo_v2(
        s, c;
        stream: Handle,
        status: Out<i32>,
        id: Out<u64>,
        graph: Out<Handle>,
        dependencies: Out<In<Handle>>,
        count: Out<usize>,
    ) {
        capture_info(&mut s, c, stream, (status, id, graph, dependencies, count))
    }

    /// Status, number, graph and last nodes of a stream's capture. Edges carry no data.
    fn cuStreamGetCaptureInfo_v3(
        s, c;
        stream: Handle,
        status: Out<i32>,
        id: Out<u64>,
        graph: Out<Handle>,
        dependencies: Out<In<Handle>>,
        edges: Out<usize>,
        count: Out<usize>,
    ) {
        edges.put_if_wanted(0);
        capture_info(&mut s, c, stream, (status, id, graph, dependencies, count))
    }

    /// Exchanges what this thread lets captures forbid it.
    fn cuThreadExchangeStreamCaptureMode(mode: Out<i32>) {
        let new = mode.get()?;
        if !(GLOBAL..=RELAXED).contains(&new) {
            return Err(Status::INVALID_VALUE);
        }
        mode.put(MODE.replace(new))
    }
}

type InfoOut = (Out<i32>, Out<u64>, Out<Handle>, Out<In<Handle>>, Out<usize>);

fn capture_info(s: &mut State, context: Handle, stream: Handle, out: InfoOut) -> Result<()> {
    let (status, id, graph, dependencies, count) = out;
    if !dependencies.is_null() {
        return Err(refuse(Status::NOT_SUPPORTED, "a capture's nodes are not given out while it lasts"));
    }
    let (state, found) = info(s, context, stream)?;
    status.put(state)?;
    if let Some((handle, member)) = found {
        id.put_if_wanted(member.capture.0 as u64);
        graph.put_if_wanted(handle);
        count.put_if_wanted(member.tips.len());
    }
    Ok(())
}
