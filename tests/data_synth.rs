//! The synthetic set: the same bytes for the same seed, factors that do not leak into each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use hdc::data::lists::{Part, Split};
use hdc::data::synth::{APPEARANCES, MOTIONS, SynthOptions, synth};
use hdc::data::{Dataset, FrameReader, Window};

fn options(videos: usize) -> SynthOptions {
    SynthOptions { videos, frames: 12, height: 32, ..SynthOptions::default() }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(root).unwrap().map(|e| e.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

fn pixels(set: &Dataset, video: usize, frames: &[usize]) -> Vec<f64> {
    let mut window = Window::default();
    FrameReader::default().read(set, video, frames, 1024, &mut window).unwrap();
    window.rgb.iter().map(|&p| f64::from(p)).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_for_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let render = |name: &str, threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let out = dir.path().join(name);
        pool.install(|| synth(&out, &SynthOptions { seed, ..options(70) }, |_| {})).unwrap();
        files(&out)
    };
    let one = render("one", 1, 3);
    assert_eq!(render("four", 4, 3), one);
    assert_ne!(render("other", 2, 4), one);
}

#[test]
fn the_set_is_intact_labelled_and_split() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(synth(dir.path(), &options(128), |_| {}).unwrap(), 128);
    let set = Dataset::open(dir.path()).unwrap();
    assert!(set.verify().is_empty());
    let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for video in set.videos() {
        assert_eq!((video.frames, video.height, video.width), (12, 32, 40));
        *pairs.entry((&video.labels["appearance"], &video.labels["motion"])).or_default() += 1;
    }
    assert_eq!(pairs.len(), APPEARANCES.len() * MOTIONS.len());
    assert!(pairs.values().all(|&n| n == 2));
    let mut named = 0;
    for (list, size) in [("trainlist.txt", 96), ("testlist.txt", 32)] {
        let split = Split::read(&dir.path().join(list), Part::All).unwrap();
        for label in ["appearance", "motion"] {
            let found = split.resolve(&set, label).unwrap();
            assert_eq!(found.len(), size);
            let classes: std::collections::BTreeSet<_> = found.iter().map(|f| f.label.clone()).collect();
            assert_eq!(classes.len(), 8, "every class of {label} is in {list}");
        }
        named += split.entries.len();
    }
    assert_eq!(named, 128);
    assert_eq!(synth(dir.path(), &options(128), |_| {}).unwrap(), 0, "a second run has nothing to do");
    let e = synth(dir.path(), &options(64), |_| {}).unwrap_err();
    assert!(e.to_string().contains("videos=128") && e.exit_code() == 2, "{e}");
}

/// Share of test videos whose class a nearest-centroid rule on `features` finds.
fn accuracy(set: &Dataset, label: &str, features: &dyn Fn(usize) -> Vec<f64>) -> f64 {
    let all: Vec<(Vec<f64>, &String)> =
        (0..set.len()).map(|v| (features(v), &set.video(v).labels[label])).collect();
    let (train, test) = all.split_at(set.len() * 3 / 4);
    let mut sums: BTreeMap<&String, (Vec<f64>, f64)> = BTreeMap::new();
    for (f, class) in train {
        let (sum, n) = sums.entry(class).or_insert_with(|| (vec![0.0; f.len()], 0.0));
        sum.iter_mut().zip(f).for_each(|(s, v)| *s += v);
        *n += 1.0;
    }
    let distance = |f: &[f64], (sum, n): &(Vec<f64>, f64)| -> f64 {
        f.iter().zip(sum).map(|(v, s)| (v - s / n).powi(2)).sum()
    };
    let hits = test.iter().filter(|(f, class)| {
        let nearest = sums.iter().min_by(|a, b| distance(f, a.1).total_cmp(&distance(f, b.1))).unwrap();
        nearest.0 == class
    });
    hits.count() as f64 / test.len() as f64
}

/// Spread over time of where the change between frames is, which no single frame has.
fn change(set: &Dataset, video: usize) -> Vec<f64> {
    let frames: Vec<usize> = (0..12).collect();
    let p = pixels(set, video, &frames);
    let size = 32 * 40 * 3;
    let mut path = Vec::new();
    for t in 1..12 {
        let (mut x, mut y, mut all) = (0.0, 0.0, 1e-9);
        for i in 0..size {
            let d = (p[t * size + i] - p[(t - 1) * size + i]).abs();
            let d = if d > 25.0 { d } else { 0.0 };
            x += d * (i / 3 % 40) as f64;
            y += d * (i / 120) as f64;
            all += d;
        }
        path.push((x / all, y / all, all / 2000.0));
    }
    let spread = |f: &dyn Fn(&(f64, f64, f64)) -> f64| {
        let mean = path.iter().map(f).sum::<f64>() / path.len() as f64;
        (path.iter().map(|p| (f(p) - mean).powi(2)).sum::<f64>() / path.len() as f64).sqrt()
    };
    let energy = path.iter().map(|p| p.2).sum::<f64>() / path.len() as f64;
    vec![spread(&|p| p.0), spread(&|p| p.1), energy / 4.0, spread(&|p| p.2) / 2.0]
}

#[test]
fn motion_is_in_time_and_not_in_a_frame() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), &options(512), |_| {}).unwrap();
    let set = Dataset::open(dir.path()).unwrap();
    let chance = 1.0 / 8.0;
    let thumbnail = |v: usize| pixels(&set, v, &[6]);
    let still = accuracy(&set, "motion", &thumbnail);
    let moving = accuracy(&set, "motion", &|v| change(&set, v));
    assert!(still < chance + 0.1, "one frame tells the motion: {still}");
    assert!(moving > chance + 0.15, "the change between frames does not tell the motion: {moving}");
}

#[test]
fn the_command_reports_json_and_refuses_bad_values() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a set");
    let hdc =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_hdc")).arg("synth").arg(&out).args(args).output();
    let bad = hdc(&["--frames", "0"]).unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("--frames from 1"));
    let good = hdc(&["--videos", "8", "--frames", "3", "--size", "16", "--json"]).unwrap();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let report: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!((report["videos"].as_u64(), report["width"].as_u64()), (Some(8), Some(20)));
    assert!(good.stderr.is_empty(), "no progress bar where there is no terminal");
}
