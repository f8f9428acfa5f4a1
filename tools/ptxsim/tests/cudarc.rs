//! The driver as cudarc finds and uses it: a shared library loaded under the driver's name.

use std::path::PathBuf;
use std::sync::{Arc, Once};

use cudarc::driver::sys::{self, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DevicePtr, DeviceRepr, DriverError, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use libloading::Library;

const PTX: &str = include_str!("add_one.ptx");

/// The shared library of this package, beside the test.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let deps = test.parent().unwrap();
    let candidates = [deps.join("libptxsim.so"), deps.parent().unwrap().join("libptxsim.so")];
    candidates.into_iter().find(|path| path.exists()).expect("libptxsim.so is built with the tests")
}

/// A context of the test's own, so that an error in it is no other test's.
fn context() -> Arc<CudaContext> {
    static LOAD: Once = Once::new();
    LOAD.call_once(|| {
        // SAFETY: no other thread reads the environment: all tests wait here first.
        unsafe {
            std::env::set_var("PTXSIM_MEMORY", "64M");
            std::env::remove_var("PTXSIM_DEVICE");
        }
        // SAFETY: the library has no initialisers that could do harm.
        let library = unsafe { Library::new(library()) }.unwrap();
        std::mem::forget(library); // stays loaded, so that looking libcuda.so up by name finds it
    });
    let context = CudaContext::new_non_primary(0, 0).unwrap();
    assert!(context.name().unwrap().contains("not a GPU"), "a real driver was loaded");
    context
}

fn kernel(context: &Arc<CudaContext>) -> (Arc<CudaModule>, CudaFunction) {
    let module = context.load_module(Ptx::from_src(PTX)).unwrap();
    let function = module.load_function("add_one").unwrap();
    (module, function)
}

fn launch<T: DeviceRepr>(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    data: &cudarc::driver::CudaSlice<T>,
    count: u32,
) -> Result<(), DriverError> {
    let mut builder = stream.launch_builder(function);
    builder.arg(data).arg(&count);
    // SAFETY: the kernel takes a pointer and a count; going past the end is what some tests are about.
    unsafe { builder.launch(LaunchConfig::for_num_elems(count)) }.map(drop)
}

fn code<T>(result: Result<T, DriverError>) -> Option<CUresult> {
    result.err().map(|e| e.0)
}

#[test]
fn the_device_looks_like_a_gpu_and_says_that_it_is_none() {
    let context = context();
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
    assert_eq!(context.attribute(attribute).unwrap(), 227 << 10);
    assert_eq!(context.total_mem().unwrap(), 64 << 20);
    assert!(context.has_async_alloc());
    assert_eq!(&context.uuid().unwrap().bytes.map(|b| b as u8), b"ptxsim-simulated");
}

#[test]
fn memory_is_allocated_and_copied() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let host: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let a = stream.clone_htod(&host).unwrap();
    let mut b = stream.alloc_zeros::<f32>(1000).unwrap();
    assert_eq!(stream.clone_dtoh(&b).unwrap(), vec![0.0; 1000]);
    stream.memcpy_dtod(&a.slice(100..200), &mut b.slice_mut(..100)).unwrap();
    let back = stream.clone_dtoh(&b).unwrap();
    assert_eq!((back[0], back[99], back[100]), (100.0, 199.0, 0.0));

    // SAFETY: written below, before it is read.
    let mut pinned = unsafe { context.alloc_pinned::<f32>(1000) }.unwrap();
    stream.memcpy_dtoh(&a, &mut pinned).unwrap();
    assert_eq!(pinned.as_slice().unwrap(), &host[..]);
    let (free, total) = context.mem_get_info().unwrap();
    assert!(free < total && total == 64 << 20);
}

#[test]
fn managed_memory_is_the_hosts_too() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let (_module, function) = kernel(&context);
    // SAFETY: managed memory starts as zeros here, and zeros are numbers.
    let mut data = unsafe { context.alloc_unified::<u32>(100, true) }.unwrap();
    data.as_mut_slice().unwrap().fill(3);
    data.prefetch().unwrap();
    let mut builder = stream.launch_builder(&function);
    builder.arg(&mut data).arg(&100u32);
    // SAFETY: the kernel takes a pointer and a count, and the memory holds as many numbers.
    unsafe { builder.launch(LaunchConfig::for_num_elems(100)) }.unwrap();
    stream.synchronize().unwrap();
    assert_eq!(data.as_slice().unwrap(), [4; 100]);
}

#[test]
fn a_kernel_runs_and_events_take_its_time() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let (_module, function) = kernel(&context);
    let data = stream.clone_htod(&vec![7u32; 5000]).unwrap();
    let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(timed).unwrap();
    launch(&stream, &function, &data, 4999).unwrap();
    let end = stream.record_event(timed).unwrap();
    assert!(start.elapsed_ms(&end).unwrap() >= 0.0);
    let back = stream.clone_dtoh(&data).unwrap();
    assert!(back[..4999].iter().all(|v| *v == 8) && back[4999] == 7);
    let (blocks, threads) =
        (function.occupancy_max_active_blocks_per_multiprocessor(256, 0, None).unwrap(), 256);
    assert!((1..=2048 / threads).contains(&blocks), "{blocks}");
}

#[test]
fn a_second_stream_waits_for_the_first() {
    let context = context();
    let (_module, function) = kernel(&context);
    let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let data = first.clone_htod(&vec![0u32; 256]).unwrap();
    for _ in 0..10 {
        launch(&first, &function, &data, 256).unwrap();
        second.join(&first).unwrap();
        launch(&second, &function, &data, 256).unwrap();
        first.join(&second).unwrap();
    }
    assert_eq!(second.clone_dtoh(&data).unwrap(), vec![20; 256]);
}

#[test]
fn a_graph_is_captured_and_replayed() {
    let context = context();
    // SAFETY: one stream uses all memory here; cudarc's own events would be recorded outside the capture.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let (_module, function) = kernel(&context);
    let data = stream.clone_htod(&vec![0u32; 100]).unwrap();
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    launch(&stream, &function, &data, 100).unwrap();
    launch(&stream, &function, &data, 50).unwrap();
    let graph = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), vec![0; 100]);
    graph.upload().unwrap();
    for _ in 0..100 {
        graph.launch().unwrap();
    }
    let back = stream.clone_dtoh(&data).unwrap();
    assert_eq!((back[0], back[49], back[50], back[99]), (200, 200, 100, 100));
}

#[test]
fn a_kernel_that_leaves_its_memory_poisons_the_context() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let (_module, function) = kernel(&context);
    let data = stream.clone_htod(&vec![0u32; 64]).unwrap();
    launch(&stream, &function, &data, 65).unwrap();
    let illegal = Some(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(code(stream.synchronize()), illegal);
    assert_eq!(code(stream.alloc_zeros::<u32>(1)), illegal);
    assert_eq!(code(launch(&stream, &function, &data, 1)), illegal);
}

#[test]
fn freed_memory_is_not_used_unnoticed() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let (_module, function) = kernel(&context);
    let data = stream.clone_htod(&vec![0u32; 64]).unwrap();
    let address = data.device_ptr(&stream).0;
    drop(data);
    let mut builder = stream.launch_builder(&function);
    builder.arg(&address).arg(&64u32);
    // SAFETY: the pointer is stale on purpose; the driver checks.
    unsafe { builder.launch(LaunchConfig::for_num_elems(64)) }.unwrap();
    assert_eq!(code(stream.synchronize()), Some(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
}

#[test]
fn a_full_device_and_wrong_modules_are_reported() {
    let context = context();
    let stream = context.new_stream().unwrap();
    // SAFETY: never read.
    let too_much = unsafe { stream.alloc::<u8>(65 << 20) };
    assert_eq!(code(too_much), Some(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
    let newer = PTX.replace(".version 8.0", ".version 9.9");
    let refused = context.load_module(Ptx::from_src(newer));
    assert_eq!(code(refused), Some(CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
    let (module, _) = kernel(&context);
    assert_eq!(code(module.load_function("none")), Some(CUresult::CUDA_ERROR_NOT_FOUND));
}
