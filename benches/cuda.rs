//! Operations on a CUDA device. A line for each layer says time, useful FLOP/s, the share of the matrix product that
//! HDC_MATMUL_TFLOPS gives (a library's, measured on the same machine), the bytes a second that must move at least, their share
//! of a copy measured here, and which of the two bounds it.
//!
//! `cargo bench --bench cuda -- [FILTER] [--quick]`; HDC_BENCH_CLIPS (default 32) clips a layer. Without a driver it says so.
//!
//! On the simulated device (HDC_CUDA_DRIVER) there is no time: each layer whose name contains FILTER runs once, on one small
//! clip, and a line for each of its kernels says what it did; with `--quick` the first alone of each operation, precision and
//! pass.

mod support;

use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use hdc::device::{Device, Stream};
use support::counters::{Report, is_simulated};
use support::cuda::{Ceilings, CudaTime, count_layers, layers};

const KINDS: [&str; 5] = ["conv3d", "instance_norm", "norm_pool", "max_pool3d", "slot_pool"];

/// Frames, height, width of a clip on the simulated device: the least that all pools of C3D and strides of the others halve.
const SMALL: [usize; 3] = [8, 32, 32];

fn main() -> hdc::Result<()> {
    let report = Report::start();
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(e) if std::env::var_os("HDC_CUDA_DRIVER").is_none() => {
            println!("skipped: {e}");
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    println!("{}", device.properties().name);
    if is_simulated(&device) {
        return count(&device, report.map_err(|e| hdc::Error::io("make", "a report for ptxsim", e))?);
    }
    let stream = Arc::new(Stream::new(&device)?);
    let clips = std::env::var("HDC_BENCH_CLIPS").ok().and_then(|v| v.parse().ok()).unwrap_or(32);
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
        .with_measurement(CudaTime(stream.clone()))
        .configure_from_args();
    let ceilings = Ceilings::measure(&device, &stream)?;
    println!(
        "copy {:.0} GB/s; matrix product {:.0} TFLOP/s (0: not given)",
        ceilings.copy / 1e9,
        ceilings.matmul / 1e12
    );
    for kind in KINDS {
        layers(&mut criterion, kind, &device, &stream, ceilings, (clips, support::CLIP))?;
    }
    criterion.final_summary();
    Ok(())
}

fn count(device: &Arc<Device>, mut report: Report) -> hdc::Result<()> {
    println!("simulated: no times; what kernels did on one clip of {SMALL:?}");
    let args: Vec<_> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|a| !a.starts_with('-')).map_or("", String::as_str);
    let quick = args.iter().any(|a| a == "--quick");
    let mut counted = 0;
    for kind in KINDS {
        counted += count_layers(kind, device, &mut report, filter, quick, (1, SMALL))?;
    }
    println!("{counted} layers and passes");
    Ok(())
}
