//! Prefetches the batches of pretraining: worker threads decode the windows of single videos, the consumer
//! puts them together in order. What a batch holds depends on its step alone, never on the threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::augment;
use super::batch::{Batch, Clip, Window};
use super::config::{AugmentConfig, ClipConfig};
use super::sampler::{Role, Sampler, frame_indices, window_start};
use super::shard::{Dataset, FrameReader};
use crate::{Error, Result};

/// What the batches are made of.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// How clips are cut.
    pub clip: ClipConfig,
    /// How they are augmented.
    pub augment: AugmentConfig,
    /// Videos a batch.
    pub batch: usize,
    /// Seed of order, windows and augmentation.
    pub seed: u64,
    /// Whether spatial variants are wanted.
    pub spatial: bool,
    /// Whether temporal variants are wanted.
    pub temporal: bool,
    /// Which videos of the data set to use; `None`: all.
    pub videos: Option<Vec<usize>>,
    /// Decoding threads; at least one is used.
    pub threads: usize,
    /// Batches to decode ahead of the consumer.
    pub ahead: usize,
}

/// The running loader. Dropping it stops and joins its threads.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    tasks: Option<Sender<Task>>,
    queue: Receiver<Task>, // the threads' end, to empty it on drop
    results: Receiver<Done>,
    spare: Sender<Vec<u8>>,
    threads: Vec<JoinHandle<()>>,
    batches: VecDeque<Assembly>, // from `step` on
    step: u64,
    order: (u64, Vec<usize>), // epoch and its permutation
    failed: bool,
}

#[derive(Debug)]
struct Shared {
    dataset: Arc<Dataset>,
    options: LoaderOptions,
    sampler: Sampler,
    videos: Vec<usize>,
}

/// One video of one step.
#[derive(Clone, Copy, Debug)]
struct Task {
    step: u64,
    epoch: u64,
    slot: usize,
    video: usize,
}

struct Done {
    task: Task,
    windows: Result<Decoded>,
}

/// The anchor's window, and the temporal variant's if wanted.
type Decoded = (Window, Option<Window>);

/// A batch on its way: the videos of its slots, and what has been decoded of them.
#[derive(Debug)]
struct Assembly {
    epoch: u64,
    videos: Vec<usize>,
    decoded: Vec<Option<Decoded>>,
    missing: usize,
}

impl Loader {
    /// Starts loading at `first_step`.
    ///
    /// # Errors
    /// Fewer videos than the batch, naming both numbers; a video or configuration that is out of range; or
    /// threads that cannot be started.
    pub fn new(dataset: Arc<Dataset>, options: LoaderOptions, first_step: u64) -> Result<Self> {
        let faults = [options.clip.faults(), options.augment.faults()].concat();
        if !faults.is_empty() {
            return Err(Error::Config { source_name: "of the loader".into(), faults });
        }
        let videos = options.videos.clone().unwrap_or_else(|| (0..dataset.len()).collect());
        if let Some(&v) = videos.iter().find(|&&v| v >= dataset.len()) {
            let what = format!("video number {v} was asked for, the data set has {}", dataset.len());
            return Err(Error::usage(what, "give numbers of its videos"));
        }
        let sampler = Sampler::new(videos.len(), options.batch, options.seed)?;
        let count = options.threads.max(1);
        let ahead = options.ahead.max(1);
        let shared = Arc::new(Shared { dataset, options, sampler, videos });
        let (tasks, task_queue) = unbounded();
        let (result_queue, results) = unbounded();
        let (spare, spares) = unbounded();
        let epoch = shared.sampler.epoch(first_step);
        let order = (epoch, shared.sampler.order(epoch));
        let mut loader = Self {
            shared,
            tasks: Some(tasks),
            queue: task_queue.clone(),
            results,
            spare,
            threads: Vec::with_capacity(count),
            batches: VecDeque::new(),
            step: first_step,
            order,
            failed: false,
        };
        for n in 0..count {
            let (shared, tasks) = (Arc::clone(&loader.shared), task_queue.clone());
            let (results, spares) = (result_queue.clone(), spares.clone());
            let thread = std::thread::Builder::new()
                .name(format!("loader-{n}"))
                .spawn(move || work(&shared, &tasks, &results, &spares))
                .map_err(|e| {
                    Error::device(
                        format!("cannot start loader thread {n}: {e}"),
                        "lower the number of threads",
                    )
                })?;
            loader.threads.push(thread);
        }
        for _ in 0..=ahead {
            loader.request();
        }
        Ok(loader)
    }

    /// Steps of one pass over the data.
    pub fn steps_per_epoch(&self) -> u64 {
        self.shared.sampler.steps_per_epoch()
    }

    /// Puts the next batch into `batch`, whose old buffers are used again, and returns how long it had to be
    /// waited for.
    ///
    /// # Errors
    /// A damaged or unreadable shard; the loader is then at its end.
    pub fn next_into(&mut self, batch: &mut Batch) -> Result<Duration> {
        if self.failed {
            let root = self.shared.dataset.root();
            return Err(Error::data(root, "loading ended with an error before", "see that error"));
        }
        for window in batch.windows.drain(..) {
            // Fails only when no thread is left to use it, which the receive below reports.
            let _ = self.spare.send(window.rgb);
        }
        let begin = Instant::now();
        while self.batches.front().is_none_or(|b| b.missing > 0) {
            if let Err(e) = self.receive() {
                self.failed = true;
                return Err(e);
            }
        }
        let waited = begin.elapsed();
        if let Some(assembly) = self.batches.pop_front() {
            self.fill(assembly, batch);
        }
        self.step += 1;
        self.request();
        Ok(waited)
    }

    /// Queues the videos of the first step that is not yet queued.
    fn request(&mut self) {
        let Shared { sampler, videos, options, .. } = &*self.shared;
        let step = self.step + self.batches.len() as u64;
        let epoch = sampler.epoch(step);
        if self.order.0 != epoch {
            self.order = (epoch, sampler.order(epoch));
        }
        let chosen: Vec<usize> = self.order.1[sampler.slots(step)].iter().map(|&i| videos[i]).collect();
        for (slot, &video) in chosen.iter().enumerate() {
            if let Some(tasks) = &self.tasks {
                // Fails only when no thread is left, which `receive` reports.
                let _ = tasks.send(Task { step, epoch, slot, video });
            }
        }
        let decoded = (0..options.batch).map(|_| None).collect();
        self.batches.push_back(Assembly { epoch, videos: chosen, decoded, missing: options.batch });
    }

    fn receive(&mut self) -> Result<()> {
        let gone = |_| Error::device("the loader's threads have ended", "run the same command again");
        let Done { task, windows } = self.results.recv().map_err(gone)?;
        let assembly = &mut self.batches[(task.step - self.step) as usize];
        assembly.decoded[task.slot] = Some(windows?);
        assembly.missing -= 1;
        Ok(())
    }

    /// Lays windows and clips out role-major.
    fn fill(&self, assembly: Assembly, batch: &mut Batch) {
        let Shared { dataset, options, .. } = &*self.shared;
        let epoch = assembly.epoch;
        (batch.step, batch.epoch) = (self.step, epoch);
        batch.videos.clear();
        batch.videos.extend(assembly.videos.iter().map(|&v| dataset.video(v).key.clone()));
        batch.numbers.clone_from(&assembly.videos);
        let (anchors, temporals): (Vec<Window>, Vec<Option<Window>>) =
            assembly.decoded.into_iter().flatten().unzip();
        batch.windows.extend(anchors);
        batch.windows.extend(temporals.into_iter().flatten());
        let roles =
            [(Role::Anchor, true), (Role::Spatial, options.spatial), (Role::Temporal, options.temporal)];
        batch.clips.clear();
        for (role, _) in roles.into_iter().filter(|(_, wanted)| *wanted) {
            let first = if role == Role::Temporal { options.batch } else { 0 };
            for (slot, &video) in assembly.videos.iter().enumerate() {
                let window = &batch.windows[first + slot];
                let size = (window.height, window.width);
                let transform =
                    augment::draw(&options.augment, size, options.seed, epoch, video as u64, role);
                batch.clips.push(Clip { window: first + slot, transform });
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.tasks = None;
        // What is still queued is not needed; without this the threads would decode it all first.
        while self.queue.try_recv().is_ok() {}
        for thread in self.threads.drain(..) {
            // A thread cannot panic outside `catch_unwind`; if it did, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// A worker: decodes until the queue closes.
fn work(shared: &Shared, tasks: &Receiver<Task>, results: &Sender<Done>, spares: &Receiver<Vec<u8>>) {
    let mut reader = FrameReader::default();
    for task in tasks {
        // A bug in decoding one video must reach the consumer as an error; a thread that just died would leave
        // it waiting for ever.
        let attempt = catch_unwind(AssertUnwindSafe(|| decode(shared, &task, &mut reader, spares)));
        let windows = attempt.unwrap_or_else(|_| {
            let key = &shared.dataset.video(task.video).key;
            let what = format!("video {key}: the decoder stopped by a bug");
            Err(Error::data(shared.dataset.root(), what, "check it with `hdc inspect`, and report this"))
        });
        if results.send(Done { task, windows }).is_err() {
            return;
        }
    }
}

fn decode(
    shared: &Shared,
    task: &Task,
    reader: &mut FrameReader,
    spares: &Receiver<Vec<u8>>,
) -> Result<Decoded> {
    let Shared { dataset, options, .. } = shared;
    let length = dataset.video(task.video).frames;
    let mut read = |role| {
        let start = window_start(options.seed, task.epoch, task.video as u64, role, length, &options.clip);
        let frames = frame_indices(start, length, &options.clip);
        let mut window = Window { rgb: spares.try_recv().unwrap_or_default(), ..Window::default() };
        reader.read(dataset, task.video, &frames, options.clip.short_side, &mut window)?;
        Ok(window)
    };
    let anchor = read(Role::Anchor)?;
    Ok((anchor, if options.temporal { Some(read(Role::Temporal)?) } else { None }))
}
