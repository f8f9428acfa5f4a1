//! Nearest neighbours at the size of a public data set: by default 4,000 queries among 10,000 videos of 9,216 numbers
//! (C3D's block 5, max-pooled). Three runs.
//!
//! `cargo bench --bench neighbours [-- QUERIES GALLERY NUMBERS]`

use std::time::Instant;

use hdc::eval::neighbours::{Unit, nearest};
use hdc::tensor::random::Stream;

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [queries, gallery, dim] = given.try_into().unwrap_or([4_000, 10_000, 9_216]);
    let begin = Instant::now();
    let [a, b] = [("queries", queries), ("gallery", gallery)].map(|(name, rows)| {
        let mut stream = Stream::new(name, 1);
        // Features come after a ReLU.
        let data: Vec<f32> = (0..rows * dim).map(|_| stream.next_in(-1.0, 1.0).max(0.0) as f32).collect();
        data
    });
    println!(
        "{queries} × {gallery} × {dim}, {} threads, drawn in {:.1} s",
        rayon::current_num_threads(),
        since(begin)
    );
    for run in 1..=3 {
        let begin = Instant::now();
        let [q, g] = [&a, &b].map(|data| Unit::new(dim, data.chunks_exact(dim)));
        let normalised = since(begin);
        let begin = Instant::now();
        let found = nearest(&q, &g, 50, |_, _| false);
        let seconds = since(begin);
        let rate = 2e-9 * (queries * gallery * dim) as f64 / seconds;
        println!(
            "run {run}: normalised in {normalised:.2} s, nearest in {seconds:.2} s, {rate:.1} GFLOP/s; load {}; first {:?}",
            std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
            found[0][0]
        );
    }
}

fn since(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64()
}
