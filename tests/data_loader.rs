//! The loader: the same batches for any number of threads and from any step; errors arrive; no hang.

mod data_support;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_support::{flat_video, recipe, write_set};
use hdc::data::shard::ShardWriter;
use hdc::data::{AugmentConfig, Batch, ClipConfig, Dataset, Loader, LoaderOptions};

fn options() -> LoaderOptions {
    LoaderOptions {
        clip: ClipConfig { frames: 4, stride: 2, crop: 16, short_side: 20, temporal_offset: 0 },
        augment: AugmentConfig::default(),
        batch: 4,
        seed: 9,
        spatial: true,
        temporal: true,
        videos: None,
        threads: 2,
        ahead: 2,
    }
}

fn open(root: &Path) -> Arc<Dataset> {
    Arc::new(Dataset::open(root).unwrap())
}

fn batches(dataset: &Arc<Dataset>, options: LoaderOptions, first: u64, count: usize) -> Vec<Batch> {
    let mut loader = Loader::new(Arc::clone(dataset), options, first).unwrap();
    let mut batch = Batch::default();
    (0..count)
        .map(|_| {
            loader.next_into(&mut batch).unwrap();
            batch.clone()
        })
        .collect()
}

#[test]
fn batches_depend_on_the_step_alone() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 11);
    let dataset = open(dir.path());
    let reference = batches(&dataset, LoaderOptions { threads: 1, ahead: 1, ..options() }, 0, 9);
    for threads in [2, 5] {
        assert_eq!(batches(&dataset, LoaderOptions { threads, ahead: 4, ..options() }, 0, 9), reference);
    }
    for first in [1, 3, 7] {
        assert_eq!(batches(&dataset, options(), first, 9 - first as usize), reference[first as usize..]);
    }
    for (step, batch) in reference.iter().enumerate() {
        assert_eq!((batch.step, batch.epoch), (step as u64, step as u64 / 2));
        assert_eq!(batch.videos.iter().collect::<HashSet<_>>().len(), 4);
    }
    let other = batches(&dataset, LoaderOptions { seed: 10, ..options() }, 0, 9);
    assert_ne!(other, reference);
}

#[test]
fn clips_are_role_major_and_the_right_frames() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 11);
    let dataset = open(dir.path());
    for batch in batches(&dataset, options(), 0, 6) {
        assert_eq!((batch.windows.len(), batch.clips.len()), (8, 12));
        for slot in 0..4 {
            let [o, s, t] = [0, 4, 8].map(|role| batch.clips[role + slot]);
            assert_eq!((o.window, s.window, t.window), (slot, slot, 4 + slot));
            assert_ne!(o.transform, s.transform);
            let n: usize = batch.videos[slot][batch.videos[slot].len() - 3..].parse().unwrap();
            for window in [&batch.windows[o.window], &batch.windows[t.window]] {
                assert_eq!((window.frames, window.height, window.width), (4, 20, 27), "scaled to short_side");
                let greys: Vec<i32> =
                    (0..4).map(|f| i32::from(window.rgb[f * 20 * 27 * 3]) - 40 * (n as i32 % 5)).collect();
                let start = (greys[0] + 1) / 2;
                assert!((0..=13).contains(&start), "{greys:?}");
                for (f, grey) in greys.iter().enumerate() {
                    assert!(
                        (grey - 2 * (start + 2 * f as i32)).abs() <= 2,
                        "stride 2 from {start}: {greys:?}"
                    );
                }
            }
            let crop = s.transform.crop;
            assert!(crop.y + crop.height <= 20 && crop.x + crop.width <= 27);
        }
    }
}

#[test]
fn only_the_wanted_roles_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 5);
    let dataset = open(dir.path());
    let one = |spatial, temporal| {
        batches(&dataset, LoaderOptions { spatial, temporal, ..options() }, 0, 1).remove(0)
    };
    let (both, sc, tc) = (one(true, true), one(true, false), one(false, true));
    assert_eq!((sc.windows.len(), sc.clips.len()), (4, 8));
    assert_eq!((tc.windows.len(), tc.clips.len()), (8, 8));
    assert_eq!(sc.clips, both.clips[..8], "the draws of a role do not depend on the others");
    assert_eq!(tc.clips[4..], both.clips[8..]);
    assert_eq!(sc.windows, both.windows[..4]);
    assert_eq!(tc.windows, both.windows);
}

#[test]
fn a_subset_uses_only_its_videos_and_small_sets_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 7);
    let dataset = open(dir.path());
    let subset = LoaderOptions { videos: Some(vec![1, 2, 4, 6, 5]), ..options() };
    let allowed: HashSet<_> = [1, 2, 4, 6, 5].iter().map(|&v| dataset.video(v).key.clone()).collect();
    for batch in batches(&dataset, subset, 0, 5) {
        assert!(batch.videos.iter().all(|v| allowed.contains(v)));
    }
    let e = Loader::new(Arc::clone(&dataset), LoaderOptions { batch: 24, ..options() }, 0).unwrap_err();
    assert!(e.to_string().contains("24") && e.to_string().contains("7 videos"), "{e}");
    let wrong = LoaderOptions { videos: Some(vec![99; 8]), ..options() };
    assert!(Loader::new(Arc::clone(&dataset), wrong, 0).unwrap_err().to_string().contains("99"));
    let faulty = LoaderOptions { clip: ClipConfig { frames: 0, ..options().clip }, ..options() };
    assert!(Loader::new(dataset, faulty, 0).unwrap_err().to_string().contains("clip.frames"));
}

#[test]
fn a_video_damaged_while_training_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap();
    for n in 0..8 {
        writer.append(&flat_video(n, 20, 24, 32)).unwrap();
    }
    writer.finish().unwrap();
    let dataset = open(dir.path());
    let mut loader = Loader::new(dataset, options(), 0).unwrap();
    let mut batch = Batch::default();
    loader.next_into(&mut batch).unwrap();
    std::fs::write(dir.path().join("shard-00000.tar"), b"gone").unwrap();
    let begin = Instant::now();
    let error = loop {
        if let Err(e) = loader.next_into(&mut batch) {
            break e.to_string();
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "what was decoded ahead runs out");
    };
    assert!(error.contains("shard-00000.tar") && error.contains("video class"), "{error}");
    let again = loader.next_into(&mut batch).unwrap_err().to_string();
    assert!(again.contains("ended with an error before"), "{again}");
}

#[test]
fn dropping_the_loader_ends_its_threads() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 8);
    let dataset = open(dir.path());
    for taken in 0..3 {
        let wide = LoaderOptions { threads: 4, ahead: 50, ..options() };
        let mut loader = Loader::new(Arc::clone(&dataset), wide, 0).unwrap();
        let mut batch = Batch::default();
        for _ in 0..taken {
            loader.next_into(&mut batch).unwrap();
        }
        drop(loader);
        assert_eq!(Arc::strong_count(&dataset), 1, "no thread holds the data set any more");
    }
}

#[test]
fn waiting_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 8);
    let mut loader = Loader::new(open(dir.path()), options(), 0).unwrap();
    let mut batch = Batch::default();
    let begin = Instant::now();
    let first = loader.next_into(&mut batch).unwrap();
    assert!(first <= begin.elapsed());
    std::thread::sleep(Duration::from_secs(1)); // plenty to decode two batches of tiny frames
    let second = loader.next_into(&mut batch).unwrap();
    assert!(second < Duration::from_millis(250), "a batch that is ready is not waited for: {second:?}");
}
