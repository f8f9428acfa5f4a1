//! The projections of the heads at the paper's batch: 128 videos, 2 slots of 512 channels to 128.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use hdc::models::PROJECTION;
use hdc::ops::linear::Problem;
use hdc::tensor::Shape;
use support::Bound;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    for (videos, slots, channels) in [(128, 2, 512), (128, 8, 256)] {
        let shape = Shape::new([videos, slots, channels]);
        let layer = shape.to_string();
        let op = Problem::new(shape, PROJECTION).expect("no extent is zero");
        support::measure(&mut group, &layer, &op, true, Bound::Arithmetic);
    }
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
