//! Feature files: against a forward pass in f64 with plain pooling, whatever the threads and the chunk.

use super::*;
use hdc::data::evaluate::{Clips, Crops, read_clips};
use hdc::data::{Dataset, FrameReader};
use hdc::eval::Weights;
use hdc::graph::Executor;
use hdc::models;
use hdc::ops::augment;

const CLIPS: usize = 3;

/// The maps `(T, H, W, C)` of block `3 + scale`, one a clip.
fn maps(set: &Dataset, video: usize, scale: usize) -> (Vec<Vec<f64>>, [usize; 4]) {
    let config = config();
    let weights = Weights::random(&config, 3).unwrap();
    let graph = models::encoder::<f64>(&config.model, 1, weights.extents(), true).unwrap();
    let extents = graph.node(graph.outputs()[3 + scale]).shape.dims()[1..].try_into().unwrap();
    let layout = models::param_layout(&graph);
    let params: Vec<f64> = weights.params.iter().map(|&w| f64::from(w)).collect();
    let mut executor = Executor::new(graph, &layout, false);
    let windows =
        read_clips(&mut FrameReader::default(), set, video, Clips::Spread(CLIPS), &config.clip).unwrap();
    let maps = windows.iter().map(|w| {
        let problem = augment::Problem::new(w.frames, w.height, w.width, config.clip.crop).unwrap();
        let centre = &Crops::Centre.transforms(w.height, w.width)[0];
        problem.run(centre, &w.rgb, executor.input_mut()).unwrap();
        executor.forward(&params);
        executor.output(3 + scale).to_vec()
    });
    (maps.collect(), extents)
}

/// The pooling as its documentation says it.
fn pool(name: &str, map: &[f64], [t, h, w, c]: [usize; 4]) -> Vec<f64> {
    let at = |n: usize, y: usize, x: usize, j: usize| map[((n * h + y) * w + x) * c + j];
    let places = || (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
    let mut out = Vec::new();
    let slot = |n, j| places().map(|(y, x)| at(n, y, x, j)).sum::<f64>() / (h * w) as f64;
    match name {
        "gavg" => (0..c).for_each(|j| out.push((0..t).map(|n| slot(n, j)).sum::<f64>() / t as f64)),
        "savg" => (0..t).for_each(|n| (0..c).for_each(|j| out.push(slot(n, j)))),
        "vcop" => {
            for n in 0..t {
                for (y, x) in places().filter(|(y, x)| y % 2 == 0 && x % 2 == 0 && y + 1 < h && x + 1 < w) {
                    for j in 0..c {
                        let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| at(n, y + a, x + b, j));
                        out.push(window.into_iter().fold(f64::MIN, f64::max));
                    }
                }
            }
        }
        other => panic!("{other}"),
    }
    out
}

#[test]
fn a_file_holds_the_means_of_the_pooled_maps_of_all_videos_in_order() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 7);
    let set = Dataset::open(dir.path().join("set")).unwrap();
    for (block, name) in [(3, "savg"), (4, "vcop"), (5, "gavg"), (5, "vcop")] {
        let options = format!("--block {block} --pool {name} --clips {CLIPS}");
        let said =
            hdc(dir.path(), &format!("features {} --data set --out f {options} --json", look())).json();
        let file = Features::read(&dir.path().join("f"));
        assert_eq!(file.keys, set.videos().map(|v| v.key.clone()).collect::<Vec<_>>());
        assert_eq!((said["videos"].as_u64(), said["dim"].as_u64()), (Some(7), Some(file.dim as u64)));
        for (key, value) in [("network", "random:3"), ("pool", name), ("block", &block.to_string())] {
            assert_eq!(file.metadata[key], value);
        }
        let labels: Value = serde_json::from_str(file.metadata["labels"].as_str().unwrap()).unwrap();
        for (video, row) in file.rows.iter().enumerate() {
            for label in ["appearance", "motion"] {
                assert_eq!(labels[label][video], set.video(video).labels[label]);
            }
            let (maps, extents) = maps(&set, video, block - 3);
            let pooled: Vec<_> = maps.iter().map(|map| pool(name, map, extents)).collect();
            assert_eq!(pooled[0].len(), file.dim, "{options}");
            let mean = |i: usize| pooled.iter().map(|p| p[i]).sum::<f64>() / CLIPS as f64;
            let (mut error, mut norm) = (0.0, 0.0);
            for (i, &value) in row.iter().enumerate() {
                error += (value - mean(i)).powi(2);
                norm += mean(i).powi(2);
            }
            assert!(norm > 0.0 && error.sqrt() <= 1e-5 * norm.sqrt(), "{options}: {error:e} of {norm:e}");
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_chunk_and_change_with_the_network() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 7);
    let file = |options: &str| {
        hdc(dir.path(), &format!("features --data set --out f --clips 3 {options}")).ok();
        std::fs::read(dir.path().join("f")).unwrap()
    };
    let one = file(&format!("{} --threads 1", look()));
    for options in ["--threads 3 --chunk 1", "--threads 2 --chunk 5", "--chunk 16"] {
        assert!(file(&format!("{} {options}", look())) == one, "{options}");
    }
    assert!(file(&look().replace("random:3", "random:4")) != one);
}

#[test]
fn a_run_stands_for_its_newest_checkpoint_and_a_missing_label_is_null() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &[("a", Some("x"), 1), ("b", None, 2), ("c", Some("y"), 3), ("d", None, 4)]);
    let train = format!("pretrain --data set --out run {TINY} --set checkpoint.every=1 --steps");
    hdc(dir.path(), &format!("{train} 2")).ok();
    let file = |checkpoint: &str| {
        hdc(
            dir.path(),
            &format!("features --checkpoint {checkpoint} --data set --out f --clips 1 --block 3"),
        )
        .ok();
        Features::read(&dir.path().join("f"))
    };
    let [run, last, first] =
        ["run", "run/checkpoints/step-2.safetensors", "run/checkpoints/step-1.safetensors"].map(file);
    assert_eq!(run.rows, last.rows);
    assert_ne!(run.rows, first.rows);
    assert_eq!(run.metadata["network"], "run/checkpoints/step-2.safetensors");
    assert_eq!(run.metadata["labels"], r#"{"label":["x",null,"y",null]}"#);
}
