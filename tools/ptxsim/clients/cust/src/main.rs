//! A program written with cust: it allocates, loads a module, launches on two streams, reads back and checks. Run it
//! by `./run`, which links it with ptxsim as the driver.

use cust::context::CurrentContext;
use cust::error::{CudaError, CudaResult};
use cust::event::{Event, EventFlags};
use cust::prelude::*;
use cust::stream::StreamWaitEventFlags;

const PTX: &str = include_str!("../../../tests/add_one.ptx");
const COUNT: usize = 10_000;

fn main() -> CudaResult<()> {
    let _context = cust::quick_init()?;
    let name = CurrentContext::get_device()?.name()?;
    println!("device: {name}");
    assert!(name.contains("ptxsim"), "this is to run on ptxsim");

    let module = Module::from_ptx(PTX, &[])?;
    let add_one = module.get_function("add_one")?;
    let (_, threads) = add_one.suggested_launch_configuration(0, 0.into())?;
    let blocks = (COUNT as u32).div_ceil(threads);
    println!("add_one: {blocks} blocks of {threads} threads");

    let first = Stream::new(StreamFlags::NON_BLOCKING, None)?;
    let second = Stream::new(StreamFlags::NON_BLOCKING, None)?;
    let done = Event::new(EventFlags::DEFAULT)?;
    let input: Vec<u32> = (0..COUNT as u32).collect();
    let data = DeviceBuffer::from_slice(&input)?;
    // SAFETY: the kernel takes a pointer and a count, and the buffer holds as many numbers.
    unsafe { launch!(add_one<<<blocks, threads, 0, first>>>(data.as_device_ptr(), COUNT as u32))? };
    done.record(&first)?;
    second.wait_event(done, StreamWaitEventFlags::DEFAULT)?;
    // SAFETY: as above; the second launch waits for the first.
    unsafe { launch!(add_one<<<blocks, threads, 0, second>>>(data.as_device_ptr(), COUNT as u32))? };
    second.synchronize()?;
    let mut output = vec![0; COUNT];
    data.copy_to(&mut output)?;
    for (i, (input, output)) in input.iter().zip(&output).enumerate() {
        assert_eq!(*output, input + 2, "element {i}");
    }
    println!("{COUNT} numbers are right");

    let refused = Module::from_ptx(PTX.replace(".target sm_80", ".target sm_100"), &[]).err();
    assert!(matches!(refused, Some(CudaError::NoBinaryForGpu)), "{refused:?}");
    let none = module.get_function("none").err();
    assert!(matches!(none, Some(CudaError::NotFound)), "{none:?}");
    println!("what cannot be loaded is refused");
    Ok(())
}
