//! One update of all parameters of each backbone: 20 bytes a parameter (weight, momentum and gradient read,
//! weight and momentum written).

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hdc::models::{self, Backbone, ModelConfig};
use hdc::optim::{OptimConfig, Optimiser};

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("sgd");
    for backbone in [Backbone::C3d, Backbone::R3d18, Backbone::R21d10] {
        let config = ModelConfig { backbone, ..Default::default() };
        let graph = models::encoder::<f32>(&config, support::CLIPS, support::CLIP, false)
            .expect("the paper's extents fit");
        let layout = models::param_layout(&graph);
        let mut params = support::random("w", layout.len());
        let gradients = support::random("g", layout.len());
        // A tiny rate: however often it runs, the numbers stay ordinary.
        let optim = OptimConfig { lr: 1e-6, ..Default::default() };
        let mut optimiser = Optimiser::new(&optim, 1, &layout, 0);
        optimiser.measure(&layout, &params, &gradients);
        group.throughput(Throughput::BytesDecimal(20 * layout.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(backbone.name()), |b| {
            b.iter(|| optimiser.update(0, &layout, &mut params, &gradients));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
