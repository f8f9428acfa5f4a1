//! Operations on a CUDA device, timed by its own events: a `Measurement` for criterion, and a line for each layer that says
//! what bounds it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use hdc::device::{Address, Command, Device, Event, Memory, Stream};
use hdc::graph::cuda_tensor::to_device;
use hdc::models::{self, Backbone, ModelConfig};
use hdc::ops::{
    Cost, CudaBackward, CudaForward, CudaGradient, CudaParam, Op, Pass, Precision, WriteMode, pitch,
};

use super::counters::{self, Report};

/// Time between two events of a stream.
#[derive(Clone)]
pub struct CudaTime(pub Arc<Stream>);

impl Measurement for CudaTime {
    type Intermediate = Event;
    type Value = Duration;

    fn start(&self) -> Event {
        let event = Event::new(self.0.device(), true).expect("the device works");
        event.record(&self.0).expect("the device works");
        event
    }

    fn end(&self, start: Event) -> Duration {
        let end = self.start();
        end.synchronise().expect("the device works");
        end.elapsed(&start).expect("both were recorded with timing")
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// What the machine can do at most, measured in this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceilings {
    /// Bytes read and written a second by a copy within the device.
    pub copy: f64,
    /// FLOP/s of a library's large matrix product in the same precision, given as HDC_MATMUL_TFLOPS; 0 if unknown.
    pub matmul: f64,
}

impl Ceilings {
    /// Copies 1 GiB until it is warm, and ten times more.
    pub fn measure(device: &Arc<Device>, stream: &Arc<Stream>) -> hdc::Result<Self> {
        let bytes = 1 << 30;
        let [from, to] = [(); 2].map(|()| Memory::new(device, "a copy", bytes));
        let (from, to) = (from?, to?);
        let commands = vec![Command::Copy { from: from.address(), to: to.address(), bytes }; 10];
        device.enqueue(stream, &commands)?;
        let time = CudaTime(stream.clone());
        let start = time.start();
        device.enqueue(stream, &commands)?;
        let seconds = time.end(start).as_secs_f64();
        let matmul =
            std::env::var("HDC_MATMUL_TFLOPS").ok().and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(Self { copy: 2.0 * bytes as f64 * commands.len() as f64 / seconds, matmul: matmul * 1e12 })
    }
}

/// One pass of a layer, ready to be enqueued.
struct Layer {
    commands: Vec<Vec<Command>>, // one a set of buffers
    memory: Vec<Memory>,
}

/// Sets of buffers are used in turn, so that one is no longer in a cache of this size when it comes again.
const CACHE: usize = 128 << 20;

/// Sets of buffers of a layer.
fn sets(op: &dyn Op<f32>, precision: Precision) -> usize {
    CACHE.div_ceil(op.cuda(precision).output_bytes().max(1)).clamp(1, 8)
}

impl Layer {
    fn new(
        device: &Arc<Device>,
        op: &dyn Op<f32>,
        precision: Precision,
        pass: Pass,
        input_gradient: bool,
        sets: usize,
    ) -> hdc::Result<Self> {
        let plan = op.cuda(precision);
        let mut layer = Self { commands: Vec::new(), memory: Vec::new() };
        for _ in 0..sets {
            let mut place = |bytes: usize| -> hdc::Result<Address> {
                if bytes == 0 {
                    return Ok(Address::NULL);
                }
                let memory = Memory::new(device, "a layer", bytes)?;
                let address = memory.address();
                layer.memory.push(memory);
                Ok(address)
            };
            let mut inputs = ArrayVec::<Address, 2>::new();
            let mut dx = ArrayVec::<_, 2>::new();
            let mode = WriteMode::Overwrite;
            for shape in op.input_shapes() {
                let (c, numel) = (shape.dims()[shape.dims().len() - 1], shape.numel());
                let bytes = numel / c * pitch(c) * precision.size();
                inputs.push(place(bytes)?);
                let at = place(bytes)?;
                dx.push((input_gradient).then_some(CudaGradient { at, mode }));
            }
            let (mut params, mut dparams) = (ArrayVec::<CudaParam, 2>::new(), ArrayVec::<_, 2>::new());
            for p in op.params() {
                let dims = p.shape.dims();
                let rows = if dims.len() > 1 { p.shape.numel() / dims[0] * pitch(dims[0]) } else { dims[0] };
                let len = rows / dims[dims.len() - 1] * pitch(dims[dims.len() - 1]);
                let master = place(len * 4)?;
                let compute = if precision == Precision::F32 { master } else { place(len * 2)? };
                params.push(CudaParam { master, compute });
                dparams.push(CudaGradient { at: place(len * 4)?, mode });
            }
            let (output, dy) = (place(plan.output_bytes())?, place(plan.output_bytes())?);
            let (saved, statistics) = (place(plan.saved_bytes())?, place(plan.statistics_bytes())?);
            let scratch = plan.workspace_bytes(Pass::Forward).max(plan.workspace_bytes(Pass::Backward));
            let workspace = place(scratch)?;
            for memory in &layer.memory[layer.memory.len().saturating_sub(16)..] {
                fill(memory, precision)?;
            }
            let mut commands = Vec::new();
            plan.forward(
                &CudaForward {
                    inputs: inputs.clone(),
                    statistics: Address::NULL,
                    params: params.clone(),
                    output,
                    output_statistics: statistics,
                    saved,
                    workspace,
                },
                &mut commands,
            );
            if pass == Pass::Backward {
                let stream = Stream::new(device)?;
                device.enqueue(&stream, &commands)?; // fills what backward reads
                stream.synchronise()?;
                commands.clear();
                let (dy_sums, norm_below) = (Address::NULL, None); // as at the end of a graph
                let io = CudaBackward {
                    inputs,
                    params,
                    output,
                    saved,
                    dy,
                    dy_sums,
                    norm_below,
                    dx,
                    dparams,
                    workspace,
                };
                plan.backward(&io, &mut commands);
            }
            device.prepare(&commands)?;
            layer.commands.push(commands);
        }
        Ok(layer)
    }
}

/// Random numbers: hardware that switches fewer bits is faster than it would be.
fn fill(memory: &Memory, precision: Precision) -> hdc::Result<()> {
    let block = to_device(&super::random("a layer", 1 << 16), 8, precision);
    for at in (0..memory.bytes()).step_by(block.len()) {
        memory.upload(at, &block[..block.len().min(memory.bytes() - at)])?;
    }
    Ok(())
}

/// Calls `visit` with every distinct layer of one kind of the three backbones on `clips` clips: its name, itself, and whether
/// backward makes a gradient of its input.
fn distinct(
    kind: &str,
    (clips, clip): (usize, [usize; 3]),
    mut visit: impl FnMut(&str, &dyn Op<f32>, bool) -> hdc::Result<()>,
) -> hdc::Result<()> {
    let mut seen = HashSet::new();
    for backbone in [Backbone::C3d, Backbone::R3d18, Backbone::R21d10] {
        let config = ModelConfig { backbone, ..Default::default() };
        let graph = models::encoder::<f32>(&config, clips, clip, false)?;
        for node in graph.nodes() {
            let Some(op) = node.op.as_deref().filter(|op| op.kind() == kind) else { continue };
            let input_gradient = node.inputs.iter().any(|&i| graph.node(i).needs_gradient);
            // Otherwise the same layer under another name.
            if seen.insert(format!("{input_gradient} {op:?}")) {
                visit(&format!("{}/{}", backbone.name(), node.name), op, input_gradient)?;
            }
        }
    }
    Ok(())
}

/// Both precisions, and what they are called.
const PRECISIONS: [(Precision, &str); 2] = [(Precision::F32, "f32"), (Precision::Bf16, "bf16")];
/// Both passes, and what they are called.
const PASSES: [(Pass, &str); 2] = [(Pass::Forward, "forward"), (Pass::Backward, "backward")];

/// Counts what every distinct layer of one kind does on the simulated device whose name, as criterion has it, contains
/// `filter`; if `quick`, the first alone of each precision and pass. Returns how many there were.
pub fn count_layers(
    kind: &str,
    device: &Arc<Device>,
    report: &mut Report,
    filter: &str,
    quick: bool,
    extents: (usize, [usize; 3]),
) -> hdc::Result<usize> {
    let io = |e| hdc::Error::io("read", "the report of ptxsim", e);
    let mut counted = HashSet::new();
    let stream = Stream::new(device)?;
    for (precision, name) in PRECISIONS {
        for (pass, which) in PASSES {
            distinct(kind, extents, |label, op, input_gradient| {
                let label = format!("{kind}_{name}/{which}/{label}");
                let first =
                    !counted.iter().any(|l: &String| l.starts_with(&format!("{kind}_{name}/{which}/")));
                if !label.contains(filter) || quick && !first {
                    return Ok(());
                }
                let layer = Layer::new(device, op, precision, pass, input_gradient, 1)?;
                report.take().map_err(io)?; // what it took to prepare it
                device.enqueue(&stream, &layer.commands[0])?;
                stream.synchronise()?;
                counters::print(&label, &report.take().map_err(io)?);
                counted.insert(label);
                Ok(())
            })?;
        }
    }
    Ok(counted.len())
}

/// Measures every distinct layer of one kind.
pub fn layers(
    c: &mut Criterion<CudaTime>,
    kind: &str,
    device: &Arc<Device>,
    stream: &Arc<Stream>,
    ceilings: Ceilings,
    extents: (usize, [usize; 3]),
) -> hdc::Result<()> {
    for (precision, name) in PRECISIONS {
        let mut group = c.benchmark_group(format!("{kind}_{name}"));
        group.sampling_mode(SamplingMode::Flat);
        distinct(kind, extents, |label, op, input_gradient| {
            for (pass, which) in PASSES {
                let layer = RefCell::new(None);
                let samples = RefCell::new(Vec::new());
                group.bench_function(BenchmarkId::new(which, label), |b| {
                    // Made when criterion's filter has let it through.
                    let mut layer = layer.borrow_mut();
                    let layer = layer.get_or_insert_with(|| {
                        let sets = sets(op, precision);
                        Layer::new(device, op, precision, pass, input_gradient, sets).expect("the layer fits")
                    });
                    b.iter_custom(|iterations| {
                        let time = CudaTime(stream.clone());
                        let start = time.start();
                        for i in 0..iterations as usize {
                            let commands = &layer.commands[i % layer.commands.len()];
                            device.enqueue(stream, commands).expect("the device works");
                        }
                        let total = time.end(start);
                        samples.borrow_mut().push(total.as_secs_f64() / iterations as f64);
                        total
                    });
                });
                let mut cost = op.cost(pass);
                if pass == Pass::Backward && kind == "conv3d" && !input_gradient {
                    cost = op.cost(Pass::Forward); // wgrad alone
                }
                report(&format!("{kind} {name} {which} {label}"), cost, precision, ceilings, samples.take());
            }
            Ok(())
        })?;
        group.finish();
    }
    Ok(())
}

/// One line: median with the tenth and ninetieth percentile, rates, their share of what the machine can do, and which bounds.
fn report(label: &str, cost: Cost, precision: Precision, ceilings: Ceilings, mut samples: Vec<f64>) {
    if samples.is_empty() {
        return; // filtered out
    }
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
    let median = at(0.5);
    let (flops, bytes) =
        (cost.flops as f64 / median, (cost.elements * precision.size() as u64) as f64 / median);
    let share = |of: f64, ceiling: f64| {
        if ceiling > 0.0 { format!("{:5.1}%", 100.0 * of / ceiling) } else { "    -".into() }
    };
    let memory_bound = bytes / ceilings.copy;
    let bound =
        if ceilings.matmul > 0.0 && flops / ceilings.matmul > memory_bound { "arithmetic" } else { "memory" };
    println!(
        "{label:<60} {:10.1} us ({:.1} to {:.1}) {:8.2} TFLOP/s {} {:8.1} GB/s {} {bound}",
        median * 1e6,
        at(0.1) * 1e6,
        at(0.9) * 1e6,
        flops / 1e12,
        share(flops, ceilings.matmul),
        bytes / 1e9,
        share(bytes, ceilings.copy),
    );
}
