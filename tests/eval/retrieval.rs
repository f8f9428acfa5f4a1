//! Retrieval against a full sort of cosines in f64, and its ties, chances and counts.

use super::*;
use hdc::data::Dataset;

/// What a retrieval of `queries` in `gallery` (numbers of videos) by `labels` must say.
struct Naive {
    /// For each query the gallery's videos, nearest first.
    order: Vec<Vec<(usize, f64)>>,
    top: Vec<f64>,
    chance: Vec<f64>,
}

const TOP: [usize; 5] = [1, 5, 10, 20, 50];

fn naive(rows: &[Vec<f64>], labels: &[String], queries: &[usize], gallery: &[usize]) -> Naive {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
    let cosine = |a: usize, b: usize| {
        let (a, b) = (&rows[a], &rows[b]);
        dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()).max(1e-300)
    };
    let order: Vec<Vec<_>> = queries
        .iter()
        .map(|&q| {
            let others = gallery.iter().filter(|&&g| g != q);
            let mut order: Vec<_> = others.map(|&g| (g, cosine(q, g))).collect();
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            order
        })
        .collect();
    let mean = |of: &dyn Fn(usize) -> f64| (0..queries.len()).map(of).sum::<f64>() / queries.len() as f64;
    let same = |q: usize| order[q].iter().filter(|(g, _)| labels[*g] == labels[queries[q]]).count();
    let choose = |n: usize, k: usize| -> f64 {
        if k > n { 0.0 } else { (0..k).map(|i| (n - i) as f64 / (k - i) as f64).product() }
    };
    Naive {
        top: TOP
            .map(|k| {
                mean(&|q| {
                    let hit = order[q].iter().take(k).any(|(g, _)| labels[*g] == labels[queries[q]]);
                    f64::from(u8::from(hit))
                })
            })
            .to_vec(),
        chance: TOP
            .map(|k| {
                mean(&|q| {
                    let (n, k) = (order[q].len(), k.min(order[q].len()));
                    1.0 - choose(n - same(q), k) / choose(n, k)
                })
            })
            .to_vec(),
        order,
    }
}

fn figures(report: &Value, name: &str) -> Vec<f64> {
    TOP.map(|k| report[name][k.to_string()].as_f64().unwrap()).to_vec()
}

#[track_caller]
fn assert_close(found: &[f64], expect: &[f64]) {
    let near = found.iter().zip(expect).all(|(f, e)| (f - e).abs() < 1e-9);
    assert!(near && found.len() == expect.len(), "{found:?}, expected {expect:?}");
}

/// A video's number, its similarity to the query, and whether it is marked as a hit.
type Neighbour = (usize, f64, bool);

/// The neighbours that `out/grid.json` names, by query.
fn grid(out: &Path, set: &Dataset) -> Vec<(usize, Vec<Neighbour>)> {
    let legend: Value = serde_json::from_slice(&std::fs::read(out.join("grid.json")).unwrap()).unwrap();
    let find = |key: &Value| set.find(key.as_str().unwrap()).unwrap();
    let row = |row: &Value| {
        let neighbours = row["neighbours"].as_array().unwrap().iter();
        let neighbours = neighbours
            .map(|n| (find(&n["key"]), n["similarity"].as_f64().unwrap(), n["hit"].as_bool().unwrap()));
        (find(&row["query"]), neighbours.collect())
    };
    legend.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn figures_and_neighbours_are_those_of_a_full_sort() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 60);
    let set = Dataset::open(dir.path().join("set")).unwrap();
    let which = format!("{} --data set --clips 2 --block 4 --pool gavg", look());
    hdc(dir.path(), &format!("features {which} --out f")).ok();
    let rows = Features::read(&dir.path().join("f")).rows;
    let listed = |name: &str| -> Vec<usize> {
        let text = std::fs::read_to_string(dir.path().join("set").join(name)).unwrap();
        text.lines().map(|key| set.find(key).unwrap()).collect()
    };
    let all: Vec<_> = (0..60).collect();
    let lists = "--train set/trainlist.txt --test set/testlist.txt";
    for (options, queries, gallery) in
        [("", all.clone(), all), (lists, listed("testlist.txt"), listed("trainlist.txt"))]
    {
        for label in ["appearance", "motion"] {
            let labels: Vec<String> = set.videos().map(|v| v.labels[label].clone()).collect();
            let expect = naive(&rows, &labels, &queries, &gallery);
            let line =
                format!("retrieve {which} {options} --label {label} --out out --rows 6 --columns 50 --json");
            let report = hdc(dir.path(), &line).json();
            assert_eq!(
                [&report["queries"], &report["gallery"]].map(|v| v.as_u64().unwrap() as usize),
                [queries.len(), gallery.len()],
                "no video is dropped"
            );
            assert_eq!(report["leave_one_out"], options.is_empty());
            assert_close(&figures(&report, "top"), &expect.top);
            assert_close(&figures(&report, "chance"), &expect.chance);
            let stored: Value =
                serde_json::from_slice(&std::fs::read(dir.path().join("out/report.json")).unwrap()).unwrap();
            assert_eq!(stored, report);

            let grid = grid(&dir.path().join("out"), &set);
            assert_eq!(grid.len(), 6);
            for (query, found) in &grid {
                let order = &expect.order[queries.iter().position(|q| q == query).expect("a query")];
                assert_eq!(found.len(), order.len().min(50));
                for (rank, (&(video, similarity, hit), &(_, value))) in found.iter().zip(order).enumerate() {
                    // Neighbours whose cosines differ by less than f32 tells may change places.
                    let own = order.iter().find(|(g, _)| *g == video).unwrap().1;
                    assert!(
                        (similarity - own).abs() < 1e-6 && (own - value).abs() < 1e-6,
                        "rank {rank} of {query}"
                    );
                    assert_eq!(hit, labels[video] == labels[*query]);
                }
            }
            let png = std::fs::read(dir.path().join("out/grid.png")).unwrap();
            assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        }
    }
}

#[test]
fn equal_videos_come_in_the_order_of_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let keys: Vec<String> = (0..12).map(|n| format!("v{n:02}")).collect();
    // Three of each kind, so that a video's two nearest are its equals.
    let videos: Vec<_> =
        keys.iter().enumerate().map(|(n, k)| (k.as_str(), Some("x"), n as u64 % 4)).collect();
    write_set(dir.path(), &videos);
    let set = Dataset::open(dir.path().join("set")).unwrap();
    for threads in [1, 3] {
        let line =
            format!("retrieve {} --data set --clips 1 --out out --rows 12 --threads {threads}", look());
        hdc(dir.path(), &line).ok();
        for (query, found) in grid(&dir.path().join("out"), &set) {
            let equals: Vec<_> = (0..12).filter(|&v| v % 4 == query % 4 && v != query).collect();
            assert_eq!([found[0].0, found[1].0], equals[..], "video {query}");
            assert!(found[0].1 == found[1].1 && found[1].1 > 0.999_999 && found[2].1 < found[1].1);
        }
    }
}

#[test]
fn videos_that_cannot_hit_are_counted_as_misses() {
    let dir = tempfile::tempdir().unwrap();
    let labels = ["a", "a", "b", "a", "c", "b"];
    let keys = ["v0", "v1", "v2", "v3", "v4", "v5"];
    let videos: Vec<_> = (0..6).map(|n| (keys[n], Some(labels[n]), n as u64)).collect();
    write_set(dir.path(), &videos);
    let line = format!("retrieve {} --data set --clips 1", look());
    let report = hdc(dir.path(), &format!("{line} --json")).json();
    assert_eq!([&report["queries"], &report["classes"], &report["without_match"]], [6, 3, 1]);
    // With 5 others and k = 5 everything that can hit does.
    let five_of_six = 5.0 / 6.0;
    assert_close(&figures(&report, "top")[1..], &[five_of_six; 4]);
    assert_close(&figures(&report, "chance")[1..], &[five_of_six; 4]);
    assert_close(&figures(&report, "chance")[..1], &[(3.0 * 2.0 + 2.0 * 1.0) / 5.0 / 6.0]);
    let text = hdc(dir.path(), &line).ok();
    for part in ["6 queries of 3 classes", "1 queries cannot hit", "83.3%", "chance"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn short_and_unusual_videos_are_searched_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::open(&dir.path().join("set"), &Recipe::from([]), 1 << 20).unwrap();
    // A single frame; a frame less than a clip; very long for their height, and the other way; a few pixels.
    for (n, (frames, height, width)) in
        [(1, 32, 40), (7, 32, 40), (9, 24, 300), (9, 300, 24), (3, 8, 8), (40, 33, 41)]
            .into_iter()
            .enumerate()
    {
        let key = format!("v{n}");
        let labels = [("label".to_owned(), "x".to_owned())].into();
        let mut video = EncodedVideo::new(VideoInfo { key, labels, height, width, ..VideoInfo::default() });
        let mut noise = Stream::new("frames", n as u64);
        for _ in 0..frames {
            let rgb: Vec<u8> = (0..height * width * 3).map(|_| noise.next_below(256) as u8).collect();
            video.push_frame(&rgb, 90).unwrap();
        }
        writer.append(&video).unwrap();
    }
    writer.finish().unwrap();
    hdc(dir.path(), &format!("features {} --data set --out f", look())).ok();
    let features = Features::read(&dir.path().join("f"));
    assert_eq!(features.keys, ["v0", "v1", "v2", "v3", "v4", "v5"]);
    assert!(features.rows.iter().all(|row| row.iter().any(|&v| v > 0.0)), "every vector says something");
    let line = format!("retrieve {} --data set --out out --rows 100 --columns 50 --json", look());
    let report = hdc(dir.path(), &line).json();
    assert_eq!([&report["queries"], &report["gallery"], &report["without_match"]], [6, 6, 0]);
    let set = Dataset::open(dir.path().join("set")).unwrap();
    let grid = grid(&dir.path().join("out"), &set);
    assert_eq!(grid.len(), 6);
    assert!(grid.iter().all(|(_, found)| found.len() == 5));
}
