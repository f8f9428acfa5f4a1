//! The contrastive loss with both gradients, at the paper's batch and at one 16 times as large.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hdc::models::PROJECTION;
use hdc::ops::info_nce::{Io, Problem};
use hdc::ops::{Gradient, WriteMode};
use support::{Bytes, random};

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("info_nce");
    for (videos, slots) in [(128, 1), (128, 8), (2048, 1)] {
        let problem =
            Problem::new(videos, slots, PROJECTION, 0.07).expect("extents and temperature are positive");
        let len = videos * slots * PROJECTION;
        let (a, b) = (random("a", len), random("b", len));
        let (mut da, mut db) = (vec![0.0; len], vec![0.0; len]);
        let bytes = problem.workspace_bytes();
        let mut workspace = Bytes::new(bytes);
        // Similarities, and the two products that their gradient takes.
        group.throughput(Throughput::Elements(3 * 2 * (slots * videos * videos * PROJECTION) as u64));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{videos} videos x {slots} slots")),
            |bench| {
                bench.iter(|| {
                    let gradient = |data| Some(Gradient { data, mode: WriteMode::Overwrite });
                    let (da, db) = (gradient(&mut da[..]), gradient(&mut db[..]));
                    problem.run(Io { a: &a, b: &b, scale: 1.0, da, db, workspace: workspace.get(bytes) })
                });
            },
        );
    }
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
