//! Augmentation of one clip of 16 frames, plain and with every transform; figures per second count bytes read
//! (8-bit frames) and written (f32).

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hdc::data::AugmentConfig;
use hdc::data::augment::{draw, plain};
use hdc::data::sampler::Role;
use hdc::ops::augment::Problem;
use hdc::tensor::random::Stream;

fn bench(c: &mut Criterion) {
    let (frames, height, width, crop) = (support::CLIP[0], 128, 171, support::CLIP[1]);
    let mut stream = Stream::new("frames", 1);
    let rgb: Vec<u8> = (0..frames * height * width * 3).map(|_| stream.next_below(256) as u8).collect();
    let mut out = vec![0.0_f32; frames * crop * crop * 3];
    let always = AugmentConfig { flip_p: 1.0, colour_p: 1.0, replicate_p: 1.0, ..Default::default() };
    let problem = Problem::new(frames, height, width, crop).expect("no extent is zero");
    let mut group = c.benchmark_group("augment");
    group.throughput(Throughput::BytesDecimal((rgb.len() + size_of_val(&out[..])) as u64));
    for (name, transform) in
        [("plain", plain(height, width)), ("all", draw(&always, (height, width), 1, 0, 0, Role::Anchor))]
    {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| problem.run(&transform, &rgb, &mut out).expect("the transform is for these frames"));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
