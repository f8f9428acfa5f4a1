//! The kernels of `kernels/sgd.cu`, launched through cudarc on ptxsim, with its checker on, against the formula.
//!
//! The driver of a process is loaded once, so the test runs itself again in a process that has `HDC_CUDA_DRIVER` set.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg};
use half::bf16;
use hdc::device::{driver, kernels};

/// As the kernel takes it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Problem {
    lr: f32,
    momentum: f32,
    l2: f32,
}

// SAFETY: laid out as `SgdProblem` in kernels/sgd.cu.
unsafe impl DeviceRepr for Problem {}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Segment {
    begin: u64,
    count: u32,
    is_kernel: u32,
}

// SAFETY: laid out as `SgdSegment` in kernels/sgd.cu.
unsafe impl DeviceRepr for Segment {}

/// The simulator, if the workspace has been built: cargo puts it beside the tests.
fn simulator() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let folders = test.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join("libptxsim.so")).find(|library| library.is_file())
}

#[test]
fn sgd_on_the_simulated_gpu_is_the_formula() {
    if std::env::var_os("HDC_CUDA_DRIVER").is_some() {
        return on_the_device();
    }
    let required = std::env::var_os("HDC_REQUIRE_KERNELS").is_some();
    let Some(library) = simulator().filter(|_| !kernels().is_empty()) else {
        assert!(
            !required,
            "no libptxsim.so beside the tests, or no kernels: run tools/setup, then tools/test"
        );
        println!("skipped: no libptxsim.so (cargo build --workspace), or no nvcc at build time");
        return;
    };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sgd_on_the_simulated_gpu_is_the_formula", "--nocapture"])
        .env("HDC_CUDA_DRIVER", library)
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].concat();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn on_the_device() {
    let found = driver().unwrap().expect("the driver that HDC_CUDA_DRIVER names");
    println!("{:?}", found.gpus);
    assert_eq!(found.gpus.len(), 1);
    let context = CudaContext::new(0).unwrap();
    let ptx = kernels().iter().find(|k| k.name == "sgd").unwrap().ptx;
    let module = context.load_module(ptx.into()).unwrap();
    let stream = context.default_stream();
    let (f32s, bf16s) = (module.load_function("sgd_f32").unwrap(), module.load_function("sgd_bf16").unwrap());
    assert_eq!(f32s.get_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES).unwrap(), 0);

    // Parameters that start and end anywhere, one without a whole vector, one of several rounds of a block.
    let lengths = [1u32, 2, 3, 5, 83, 1024, 4099, 7];
    let mut begin = 0;
    let segments: Vec<Segment> = (0..)
        .zip(lengths)
        .map(|(i, count)| {
            let segment = Segment { begin, count, is_kernel: i % 2 };
            begin += u64::from(count);
            segment
        })
        .collect();
    let total = begin as usize;
    let value = |i: usize, salt: usize| ((i * 7919 + salt * 104_729) % 2001) as f32 / 1000.0 - 1.0;
    let w: Vec<f32> = (0..total).map(|i| value(i, 1)).collect();
    let v: Vec<f32> = (0..total).map(|i| value(i, 2)).collect();
    let g: Vec<f32> = (0..total).map(|i| value(i, 3)).collect();
    let problem = Problem { lr: 0.1, momentum: 0.9, l2: 0.005 };
    let (mut wanted_w, mut wanted_v) = (w.clone(), v.clone());
    for segment in &segments {
        let two_l2 = if segment.is_kernel == 1 { 2.0 * problem.l2 } else { 0.0 };
        for i in segment.begin as usize..segment.begin as usize + segment.count as usize {
            let slope = two_l2.mul_add(w[i], g[i]);
            wanted_v[i] = problem.momentum.mul_add(v[i], -problem.lr * slope);
            wanted_w[i] = w[i] + wanted_v[i];
        }
    }

    for with_copy in [false, true] {
        let function = if with_copy { &bf16s } else { &f32s };
        let (got_w, got_v, copy) = step(&stream, function, problem, &segments, (&w, &v, &g), with_copy);
        assert!(got_w == wanted_w, "weights differ (copy: {with_copy})");
        assert!(got_v == wanted_v, "velocities differ (copy: {with_copy})");
        if with_copy {
            let rounded: Vec<u16> = wanted_w.iter().map(|w| bf16::from_f32(*w).to_bits()).collect();
            assert!(copy == rounded, "the bf16 copy differs");
        }
    }
}

/// One launch; weights, velocities and the copy after it. A report of the checker fails the synchronisation.
fn step(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    problem: Problem,
    segments: &[Segment],
    (w, v, g): (&[f32], &[f32], &[f32]),
    with_copy: bool,
) -> (Vec<f32>, Vec<f32>, Vec<u16>) {
    let segments_there = stream.clone_htod(segments).unwrap();
    let (mut w, mut v) = (stream.clone_htod(w).unwrap(), stream.clone_htod(v).unwrap());
    let g = stream.clone_htod(g).unwrap();
    let mut copy = stream.alloc_zeros::<u16>(w.len()).unwrap();
    let config =
        LaunchConfig { grid_dim: (segments.len() as u32, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
    let mut launch = stream.launch_builder(function);
    launch.arg(&problem).arg(&segments_there).arg(&mut w).arg(&mut v).arg(&g);
    if with_copy {
        launch.arg(&mut copy);
    }
    // SAFETY: the arguments are those of the kernel, and the buffers as long as the segments say.
    unsafe { launch.launch(config) }.unwrap();
    stream.synchronize().unwrap();
    (stream.clone_dtoh(&w).unwrap(), stream.clone_dtoh(&v).unwrap(), stream.clone_dtoh(&copy).unwrap())
}
