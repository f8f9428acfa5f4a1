//! The poolings over height and width that the heads read.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use support::Bound;

fn bench(c: &mut Criterion) {
    support::layers(c, "slot_pool", Bound::Memory);
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
