//! A training step allocates nothing: what it needs is what its plan says, allocated before the first.
//!
//! A binary of its own, with a single test, since the allocator counts for the whole process.

#[path = "tiny/mod.rs"]
mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use hdc::data::ClipConfig;
use hdc::graph::{Executor, MemoryPlan};
use hdc::models::{self, Backbone, Init};
use hdc::optim::OptimConfig;
use hdc::tensor::transform::ColourStep::{Brightness, Contrast, Hue, Saturation};
use hdc::train::objective::LossConfig;
use hdc::train::{NetworkPlan, TrainStep};
use tiny::BACKBONES;

/// Allocations, reallocations and frees so far.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Bytes in use.
static LIVE: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: i64) {
    CALLS.fetch_add(1, SeqCst);
    LIVE.fetch_add(bytes, SeqCst);
}

// SAFETY: every call goes on to the system's allocator as it came; counting touches nothing but two atomics and
// does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: `ptr` came from `System` through the methods here, with this layout.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

const VIDEOS: usize = 2;

fn clip_config([frames, crop, _]: [usize; 3]) -> ClipConfig {
    ClipConfig { frames, crop, ..Default::default() }
}

/// The arena is the planned peak to the byte.
fn the_arena_is_as_planned(backbone: Backbone) {
    let graph = models::encoder::<f32>(&tiny::model(backbone), 4, tiny::extents(backbone), false).unwrap();
    let (layout, params) = (models::param_layout(&graph), graph.params().len());
    let plan = MemoryPlan::new(&graph, true);
    let peak = plan.peak();
    let before = LIVE.load(SeqCst);
    let executor = Executor::with_plan(graph, plan, &layout);
    let grown = LIVE.load(SeqCst) - before;
    let places = params * size_of::<Range<usize>>();
    assert_eq!(grown, (peak + places) as i64, "{backbone:?}: {executor:?}");
}

/// What a step of `videos` videos holds beyond its planned bytes.
fn unplanned(backbone: Backbone, videos: usize) -> i64 {
    let (model, extents) = (tiny::model(backbone), tiny::extents(backbone));
    let before = LIVE.load(SeqCst);
    let plan = NetworkPlan::new(&model, &LossConfig::default(), videos, extents, None).unwrap();
    let planned = plan.bytes().total() as i64;
    let step = TrainStep::new(plan, &clip_config(extents), Init::Glorot, &OptimConfig::default(), 4, 1);
    let held = LIVE.load(SeqCst) - before;
    drop(step);
    assert_eq!(LIVE.load(SeqCst), before, "{backbone:?}: all is given back");
    held - planned
}

/// Calls of the allocator in each of the steps after the first, in which threads set up what they keep.
fn calls_of_steps(backbone: Backbone, chunk: Option<usize>) -> Vec<u64> {
    let extents = tiny::extents(backbone);
    let mut batch = tiny::batch(VIDEOS, 3 * VIDEOS, extents, 1);
    for (i, clip) in batch.clips.iter_mut().enumerate() {
        let mut steps = [Brightness(1.2), Contrast(0.7), Saturation(1.3), Hue(0.05)];
        steps.rotate_left(i % 4);
        (clip.transform.colour, clip.transform.replicate) = (Some(steps), (i % 2 == 0).then_some(1));
    }
    let plan = NetworkPlan::new(&tiny::model(backbone), &LossConfig::default(), VIDEOS, extents, chunk);
    let optim = OptimConfig { clip_norm: 1.0, lars: 0.01, ..Default::default() };
    let mut step = TrainStep::new(plan.unwrap(), &clip_config(extents), Init::Glorot, &optim, 20, 1);
    step.run(&batch).unwrap();
    let mut calls = vec![0; 6];
    for calls in &mut calls {
        let before = CALLS.load(SeqCst);
        let report = step.run(&batch);
        *calls = CALLS.load(SeqCst) - before;
        assert!(report.unwrap().grad_norm > 0.0);
    }
    calls
}

#[test]
fn a_step_holds_what_was_planned_and_allocates_nothing() {
    // The counter is held to notice.
    let before = (CALLS.load(SeqCst), LIVE.load(SeqCst));
    let mut some = Vec::<u8>::with_capacity(10);
    some.reserve_exact(20);
    drop(std::hint::black_box(some));
    assert_eq!((CALLS.load(SeqCst), LIVE.load(SeqCst)), (before.0 + 3, before.1));

    // Threads that start or end allocate and free at a time of their own: all start here and none ends.
    rayon::broadcast(|_| ());
    let pools = [1, 2].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    pools.iter().for_each(|pool| drop(pool.broadcast(|_| ())));
    for backbone in BACKBONES {
        the_arena_is_as_planned(backbone);
        // Names and index tables remain, which more videos do not change by a byte.
        let rest = unplanned(backbone, VIDEOS);
        assert!((0..1 << 18).contains(&rest), "{backbone:?}: {rest} bytes beyond those planned");
        assert_eq!(unplanned(backbone, 4 * VIDEOS), rest, "{backbone:?}: memory that no plan shows");
        for chunk in [None, Some(4)] {
            for pool in &pools {
                // From inside the pool, as `hdc pretrain` does: from outside, each parallel loop would pass
                // through rayon's queue of foreign jobs, which takes a new block every 63 jobs.
                let calls = pool.install(|| calls_of_steps(backbone, chunk));
                let threads = pool.current_num_threads();
                assert!(
                    calls.iter().all(|&n| n == 0),
                    "{backbone:?}, chunk {chunk:?}, {threads} threads: calls of the allocator {calls:?}"
                );
            }
        }
    }
}
