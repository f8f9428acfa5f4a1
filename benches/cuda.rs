//! Operations on a CUDA device. A line for each layer says time, useful FLOP/s, the share of the matrix product that
//! HDC_MATMUL_TFLOPS gives (a library's, measured on the same machine), the bytes a second that must move at least, their share
//! of a copy measured here, and which of the two bounds it.
//!
//! `cargo bench --bench cuda -- [FILTER]`; HDC_BENCH_CLIPS (default 32) clips a layer. Without a device it says so. On the
//! simulated one there is no time: it runs each layer once, small, and PTXSIM_REPORT has the counters.

mod support;

use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use hdc::device::{Device, Stream};
use support::cuda::{Ceilings, CudaTime, layers};

const KINDS: [&str; 5] = ["conv3d", "instance_norm", "norm_pool", "max_pool3d", "slot_pool"];

fn main() -> hdc::Result<()> {
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(e) => {
            println!("skipped: {e}");
            return Ok(());
        }
    };
    let stream = Arc::new(Stream::new(&device)?);
    let simulated = device.properties().name.contains("ptxsim");
    let clips = std::env::var("HDC_BENCH_CLIPS").ok().and_then(|v| v.parse().ok()).unwrap_or(32);
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
        .with_measurement(CudaTime(stream.clone()))
        .configure_from_args();
    println!("{}", device.properties().name);
    if simulated {
        println!("simulated: no times; PTXSIM_REPORT=FILE has the counters of every launch");
        criterion = criterion.sample_size(10).nresamples(1).measurement_time(Duration::from_millis(1));
        criterion = criterion.warm_up_time(Duration::from_millis(1));
    }
    let ceilings = if simulated { Ceilings::default() } else { Ceilings::measure(&device, &stream)? };
    println!(
        "copy {:.0} GB/s; matrix product {:.0} TFLOP/s (0: not given)",
        ceilings.copy / 1e9,
        ceilings.matmul / 1e12
    );
    let extents = if simulated { (1, [4, 28, 28]) } else { (clips, support::CLIP) };
    for kind in KINDS {
        layers(&mut criterion, kind, &device, &stream, ceilings, extents)?;
    }
    criterion.final_summary();
    Ok(())
}
