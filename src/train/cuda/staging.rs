//! A batch on its way to the device: its windows and transforms in page-locked memory, copied while a step runs.

use std::sync::Arc;

use crate::data::Batch;
use crate::device::{Address, Device, Event, Memory, Pinned, Stream};
use crate::ops::augment::{self, CudaClip};
use crate::{Error, Result};

/// Windows start at multiples of this many bytes.
const ALIGNMENT: usize = 256;

/// Room for batches of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Clips of a batch.
    pub clips: usize,
    /// Windows of a batch.
    pub windows: usize,
    /// Bytes of its largest window.
    pub window_bytes: usize,
    /// Frames of a clip.
    pub frames: usize,
    /// Side of a clip.
    pub crop: usize,
    /// Bytes of what the criterion must know of a batch.
    pub facts: usize,
}

impl Shape {
    fn clips_at(self) -> usize {
        ALIGNMENT
    }

    fn facts_at(self) -> usize {
        self.clips_at() + (self.clips * size_of::<CudaClip>()).next_multiple_of(ALIGNMENT)
    }

    fn windows_at(self) -> usize {
        self.facts_at() + self.facts.next_multiple_of(ALIGNMENT)
    }

    /// Bytes, on the host and on the device: the learning rate, the clips' transforms, what the criterion must know, the
    /// windows.
    pub fn bytes(self) -> usize {
        self.windows_at() + self.windows * self.window_bytes.next_multiple_of(ALIGNMENT)
    }
}

/// One of the two places where batches wait for their step.
#[derive(Debug)]
pub(super) struct Staging {
    shape: Shape,
    host: Pinned,
    memory: Memory,
    /// The copy to the device is done.
    copied: Event,
    /// The step that reads it is done.
    read: Event,
    /// The step that it holds the batch of.
    step: Option<u64>,
}

impl Staging {
    pub fn new(device: &Arc<Device>, shape: Shape) -> Result<Self> {
        Ok(Self {
            shape,
            host: Pinned::new(device, shape.bytes())?,
            memory: Memory::new(device, "a batch of windows", shape.bytes())?,
            copied: Event::new(device, false)?,
            read: Event::new(device, false)?,
            step: None,
        })
    }

    /// Where the optimiser reads the step's learning rate.
    pub fn rate(&self) -> Address {
        self.memory.address()
    }

    /// The clips' transforms, from clip `first` on.
    pub fn clips(&self, first: usize) -> Address {
        self.memory.address().offset(self.shape.clips_at() + first * size_of::<CudaClip>())
    }

    /// What the criterion must know of the batch.
    pub fn facts(&self) -> Address {
        self.memory.address().offset(self.shape.facts_at())
    }

    /// The windows.
    pub fn windows(&self) -> Address {
        self.memory.address().offset(self.shape.windows_at())
    }

    /// The step whose batch it holds.
    pub fn step(&self) -> Option<u64> {
        self.step
    }

    /// Appends to `stream` the copy of a batch and its learning rate; `facts` writes what the criterion must know of it.
    ///
    /// # Errors
    /// A batch of another shape, a device that fails, and those of `facts`.
    pub fn fill(
        &mut self,
        stream: &Stream,
        batch: &Batch,
        rate: f64,
        facts: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let shape = self.shape;
        if batch.clips.len() != shape.clips || batch.windows.len() > shape.windows {
            return Err(Error::shape(
                "step",
                format!(
                    "a batch of {} clips of {} windows, planned were {} of {}",
                    batch.clips.len(),
                    batch.windows.len(),
                    shape.clips,
                    shape.windows
                ),
                "plan for the batch that the loader makes",
            ));
        }
        if self.step.take().is_some() {
            self.copied.synchronise()?; // the copy before may still read the host's memory
        }
        let bytes = self.host.as_mut_slice::<u8>();
        bytes[..size_of::<f64>()].copy_from_slice(bytemuck::bytes_of(&rate));
        let (head, windows) = bytes.split_at_mut(shape.windows_at());
        facts(&mut head[shape.facts_at()..])?;
        let clips: &mut [CudaClip] =
            bytemuck::cast_slice_mut(&mut head[shape.clips_at()..][..shape.clips * size_of::<CudaClip>()]);
        let pitch = shape.window_bytes.next_multiple_of(ALIGNMENT);
        for (to, clip) in clips.iter_mut().zip(&batch.clips) {
            let w = &batch.windows[clip.window];
            debug_assert_eq!(w.frames, shape.frames, "the loader cuts windows of one length");
            let problem = augment::Problem::new(w.frames, w.height, w.width, shape.crop)?;
            *to = CudaClip::new(&problem, &clip.transform, clip.window * pitch)?;
        }
        if let Some(large) = batch.windows.iter().find(|w| w.rgb.len() > shape.window_bytes) {
            return Err(Error::shape(
                "step",
                format!(
                    "a window of {}×{}×{}, larger than any planned",
                    large.frames, large.height, large.width
                ),
                "plan for the data set that the loader reads",
            ));
        }
        for (to, window) in windows.chunks_exact_mut(pitch).zip(&batch.windows) {
            to[..window.rgb.len()].copy_from_slice(&window.rgb);
        }
        stream.wait_for(&self.read)?;
        let used = shape.windows_at() + batch.windows.len() * pitch;
        self.memory.upload_async(stream, 0, &self.host, used)?;
        self.copied.record(stream)?;
        self.step = Some(batch.step);
        Ok(())
    }

    /// Lets `stream` begin to read it.
    pub fn begin(&self, stream: &Stream) -> Result<()> {
        stream.wait_for(&self.copied)
    }

    /// Marks that `stream` has read it.
    pub fn end(&self, stream: &Stream) -> Result<()> {
        self.read.record(stream)
    }
}
