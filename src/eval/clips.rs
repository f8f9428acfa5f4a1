//! Decodes, crops and normalises the clips of videos on threads of their own, ahead of the network.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::data::evaluate::{Clips, Crops};
use crate::data::sampler::frame_indices;
use crate::data::{ClipConfig, Dataset, FrameReader, Window};
use crate::ops::augment;
use crate::{Error, Result};

/// Which clips stand for a video.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// How a clip is cut.
    pub clip: ClipConfig,
    /// Which clips of a video.
    pub clips: Clips,
    /// Which parts of their frames.
    pub crops: Crops,
}

impl Protocol {
    /// Numbers of a clip, `(T, crop, crop, 3)`.
    pub fn clip_len(&self) -> usize {
        self.clip.frames * self.clip.crop * self.clip.crop * 3
    }

    /// Decodes a video into `out`: all its clips, each `(T, crop, crop, 3)`, from -1 to 1; all crops of a clip
    /// one after the other.
    fn prepare(
        &self,
        dataset: &Dataset,
        video: usize,
        reader: &mut FrameReader,
        window: &mut Window,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let length = dataset.video(video).frames;
        out.clear();
        for start in self.clips.starts(length, &self.clip) {
            let frames = frame_indices(start, length, &self.clip);
            reader.read(dataset, video, &frames, self.clip.short_side, window)?;
            let problem = augment::Problem::new(window.frames, window.height, window.width, self.clip.crop)?;
            for transform in self.crops.transforms(window.height, window.width) {
                let from = out.len();
                out.resize(from + self.clip_len(), 0.0);
                problem.run(&transform, &window.rgb, &mut out[from..])?;
            }
        }
        Ok(())
    }
}

/// A video to decode: its place in the order, and a buffer for its clips.
type Task = (usize, Vec<f32>);
type Done = (usize, Result<Vec<f32>>);

/// Calls `each(place, clips)` for every video in order, while `threads` threads decode the next ones.
pub(super) fn for_each_video(
    dataset: &Dataset,
    videos: &[usize],
    protocol: &Protocol,
    threads: usize,
    mut each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let threads = threads.max(1);
    std::thread::scope(|scope| {
        let (tasks, task_queue) = unbounded::<Task>();
        let (result_queue, results) = unbounded::<Done>();
        for n in 0..threads {
            let (tasks, results) = (task_queue.clone(), result_queue.clone());
            std::thread::Builder::new()
                .name(format!("decode-{n}"))
                .spawn_scoped(scope, move || work(dataset, videos, protocol, &tasks, &results))
                .map_err(|e| {
                    Error::device(format!("cannot start thread {n}: {e}"), "give --threads a smaller number")
                })?;
        }
        drop((task_queue, result_queue));
        let gone = || Error::device("the decoding threads have ended", "run the same command again");
        let mut early: BTreeMap<usize, Result<Vec<f32>>> = BTreeMap::new();
        let (mut asked, mut spare) = (0, Vec::new());
        for place in 0..videos.len() {
            while asked < videos.len().min(place + threads + 2) {
                let buffer = spare.pop().unwrap_or_default();
                tasks.send((asked, buffer)).map_err(|_| gone())?;
                asked += 1;
            }
            let clips = loop {
                if let Some(clips) = early.remove(&place) {
                    break clips?;
                }
                let (place, clips) = results.recv().map_err(|_| gone())?;
                early.insert(place, clips);
            };
            each(place, &clips)?;
            spare.push(clips);
        }
        Ok(())
    })
}

/// A thread: decodes until there are no more tasks, or nobody who wants the results.
fn work(
    dataset: &Dataset,
    videos: &[usize],
    protocol: &Protocol,
    tasks: &Receiver<Task>,
    results: &Sender<Done>,
) {
    let (mut reader, mut window) = (FrameReader::default(), Window::default());
    for (place, mut clips) in tasks {
        let video = videos[place];
        // A thread that dies of a bug in a decoder would take the process with it.
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            protocol.prepare(dataset, video, &mut reader, &mut window, &mut clips)
        }));
        let done = attempt.unwrap_or_else(|_| {
            let what = format!("video {}: the decoder stopped by a bug", dataset.video(video).key);
            Err(Error::data(dataset.root(), what, "check it with `hdc inspect`, and report this"))
        });
        if results.send((place, done.map(|()| clips))).is_err() {
            return;
        }
    }
}
