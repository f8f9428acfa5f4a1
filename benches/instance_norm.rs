//! Instance norms, with the ReLU and residual that are fused into them.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use support::Bound;

fn bench(c: &mut Criterion) {
    support::layers(c, "instance_norm", Bound::Memory);
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
