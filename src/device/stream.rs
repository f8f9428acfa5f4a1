//! Streams, events, and a stream's work recorded as a CUDA graph.

use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::{result, sys};

use super::Device;
use super::status::During;
use crate::Result;

/// A queue of work on a device.
#[derive(Debug)]
pub struct Stream {
    device: Arc<Device>,
    handle: sys::CUstream,
}

// SAFETY: the driver API takes streams, events and graphs from any thread; every call binds the context first.
unsafe impl Send for Stream {}
// SAFETY: as above; no method changes the handle.
unsafe impl Sync for Stream {}

impl Stream {
    /// A queue of its own, not ordered with any other.
    ///
    /// # Errors
    /// A driver that fails.
    pub fn new(device: &Arc<Device>) -> Result<Self> {
        device.bind()?;
        let handle =
            result::stream::create(result::stream::StreamKind::NonBlocking).during("creating a stream")?;
        Ok(Self { device: device.clone(), handle })
    }

    /// Its device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    pub(super) fn handle(&self) -> sys::CUstream {
        self.handle
    }

    /// Waits until all of its work is done.
    ///
    /// # Errors
    /// What any of it failed with.
    pub fn synchronise(&self) -> Result<()> {
        self.device.bind()?;
        // SAFETY: the handle lives as long as `self`.
        unsafe { result::stream::synchronize(self.handle) }.during("waiting for the GPU")
    }

    /// Work that is enqueued from now on waits for `event`.
    ///
    /// # Errors
    /// A driver that fails.
    pub fn wait_for(&self, event: &Event) -> Result<()> {
        self.device.bind()?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both handles live as long as their owners.
        unsafe { result::stream::wait_event(self.handle, event.handle, flags) }.during("ordering streams")
    }

    /// Records what `enqueue` appends to this stream, instead of running it.
    ///
    /// # Errors
    /// Those of `enqueue`, or work that cannot be recorded.
    pub fn capture(&self, enqueue: impl FnOnce() -> Result<()>) -> Result<Recording> {
        self.device.bind()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the handle lives as long as `self`; the capture ends below whatever happens in between.
        unsafe { result::stream::begin_capture(self.handle, mode) }.during("recording a step")?;
        let enqueued = enqueue();
        // SAFETY: a capture was begun on this stream.
        let graph = unsafe { result::stream::end_capture(self.handle) };
        enqueued?;
        let graph = graph.during("recording a step")?;
        let mut executable = std::ptr::null_mut();
        // SAFETY: `graph` is one that the driver just returned; it is copied and then destroyed.
        let made = unsafe { sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0) }.result();
        // SAFETY: as above.
        let destroyed = unsafe { result::graph::destroy(graph) };
        made.during("recording a step")?;
        destroyed.during("recording a step")?;
        Ok(Recording { device: self.device.clone(), handle: executable })
    }

    /// Appends recorded work.
    ///
    /// # Errors
    /// A driver that fails, or what earlier work failed with.
    pub fn replay(&self, recording: &Recording) -> Result<()> {
        self.device.bind()?;
        // SAFETY: both handles live as long as their owners.
        unsafe { result::graph::launch(recording.handle, self.handle) }.during("running a step")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: created in `new`, used by nobody any more. An error can only repeat an earlier one.
            let _ = unsafe { result::stream::destroy(self.handle) };
        }
    }
}

/// Work recorded by [`Stream::capture`].
#[derive(Debug)]
pub struct Recording {
    device: Arc<Device>,
    handle: sys::CUgraphExec,
}

// SAFETY: as for `Stream`.
unsafe impl Send for Recording {}
// SAFETY: as for `Stream`.
unsafe impl Sync for Recording {}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: made in `capture`, used by nobody any more. An error can only repeat an earlier one.
            let _ = unsafe { result::graph::exec_destroy(self.handle) };
        }
    }
}

/// A point in a stream's work.
#[derive(Debug)]
pub struct Event {
    device: Arc<Device>,
    handle: sys::CUevent,
}

// SAFETY: as for `Stream`.
unsafe impl Send for Event {}
// SAFETY: as for `Stream`.
unsafe impl Sync for Event {}

impl Event {
    /// A point that nothing has reached. `timed` ones can be measured with [`Self::elapsed`].
    ///
    /// # Errors
    /// A driver that fails.
    pub fn new(device: &Arc<Device>, timed: bool) -> Result<Self> {
        device.bind()?;
        let flags = if timed {
            sys::CUevent_flags::CU_EVENT_DEFAULT
        } else {
            sys::CUevent_flags::CU_EVENT_DISABLE_TIMING
        };
        let handle = result::event::create(flags).during("creating an event")?;
        Ok(Self { device: device.clone(), handle })
    }

    /// Is reached when what `stream` holds now is done.
    ///
    /// # Errors
    /// A driver that fails.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        self.device.bind()?;
        // SAFETY: both handles live as long as their owners.
        unsafe { result::event::record(self.handle, stream.handle) }.during("marking a stream")
    }

    /// Waits until it is reached.
    ///
    /// # Errors
    /// What the work before it failed with.
    pub fn synchronise(&self) -> Result<()> {
        self.device.bind()?;
        // SAFETY: the handle lives as long as `self`.
        unsafe { result::event::synchronize(self.handle) }.during("waiting for the GPU")
    }

    /// Time from `earlier` to this; both timed and reached.
    ///
    /// # Errors
    /// Events that are not.
    pub fn elapsed(&self, earlier: &Self) -> Result<Duration> {
        self.device.bind()?;
        // SAFETY: both handles live as long as their owners.
        let ms = unsafe { result::event::elapsed(earlier.handle, self.handle) }.during("measuring time")?;
        Ok(Duration::from_secs_f64(f64::from(ms) / 1e3))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: created in `new`, used by nobody any more. An error can only repeat an earlier one.
            let _ = unsafe { result::event::destroy(self.handle) };
        }
    }
}
