//! What kernels do to a GPU, counted by the simulator.

use arrayvec::ArrayVec;
use hdc::device::{Address, Command, Launch, kernels};
use hdc::ops::{
    CudaBackward, CudaForward, CudaGradient, CudaNormBelow, CudaParam, Op, Pass, Precision, WriteMode, pitch,
    statistics,
};
use ptxsim::counters::Counters;
use ptxsim::cuda::Cuda;
use ptxsim::device::{Architecture, Device};
use ptxsim::launch::{Config, Options, launch};
use ptxsim::memory::{Kind, Memory};
use ptxsim::module::Module;

/// The smallest GPU that kernels are made for.
pub fn a100() -> Device {
    Device { architecture: Architecture::Sm80, memory: 1 << 30, cuda: Cuda::default() }
}

/// A simulated device with all kernels.
pub struct Machine {
    memory: Memory,
    modules: Vec<Module>,
}

impl Machine {
    /// `None`, with a line that says so, if no kernels were built in.
    pub fn new() -> Option<Self> {
        let device = a100();
        let memory = Memory::new(device.memory).unwrap();
        let modules: Vec<_> =
            kernels().iter().map(|k| Module::load(k.ptx, &device, &memory).unwrap()).collect();
        if modules.is_empty() {
            assert!(std::env::var_os("HDC_REQUIRE_KERNELS").is_none(), "no kernels: run tools/setup");
            println!("skipped: no nvcc at build time");
            return None;
        }
        Some(Self { memory, modules })
    }

    fn room(&self, bytes: usize) -> Address {
        Address::new(self.memory.allocate(bytes, Kind::Device).unwrap())
    }

    fn run(&self, launched: &Launch, grid: [u32; 3]) -> Counters {
        let kernel = self.modules.iter().find_map(|m| m.kernel(launched.kernel)).unwrap();
        let config = Config { grid, block: [launched.threads, 1, 1], dynamic_shared: launched.shared };
        // Only counted: what is computed is what memory happens to hold.
        let options = Options { check: false, count: true, ..Options::default() };
        let args = bytemuck::cast_slice(launched.args());
        let outcome = launch(&kernel, &config, args, &self.memory, &options);
        assert!(outcome.findings.is_empty(), "{}: {:?}", launched.kernel, outcome.findings);
        outcome.counters
    }

    /// What each kernel of both passes is and did, in their order.
    pub fn count(&self, op: &dyn Op<f32>, precision: Precision) -> Vec<(Launch, Counters)> {
        self.count_blocks(op, precision, &|launched| launched.grid)
    }

    /// The same of the first blocks alone, as many of each kernel as `grid` says.
    pub fn count_blocks(
        &self,
        op: &dyn Op<f32>,
        precision: Precision,
        grid: &dyn Fn(&Launch) -> [u32; 3],
    ) -> Vec<(Launch, Counters)> {
        let plan = op.cuda(precision);
        let before = self.memory.free_bytes();
        let mut held = vec![];
        let mut room = |bytes: usize| {
            let at = if bytes == 0 { Address::NULL } else { self.room(bytes) };
            held.push(at);
            at
        };
        let stored = |dims: &[usize]| {
            let c = dims[dims.len() - 1];
            dims.iter().product::<usize>() / c * pitch(c)
        };
        let inputs: Vec<_> = op.input_shapes().iter().map(|s| stored(s.dims()) * precision.size()).collect();
        let params: Vec<_> = op
            .params()
            .iter()
            .map(|p| match p.shape.dims() {
                [c] => pitch(*c),
                dims => stored(dims) / dims[0] * pitch(dims[0]),
            })
            .collect();
        let x: ArrayVec<_, 2> = inputs.iter().map(|&bytes| room(bytes)).collect();
        let places: ArrayVec<_, 2> = params
            .iter()
            .map(|&n| CudaParam { master: room(n * size_of::<f32>()), compute: room(n * precision.size()) })
            .collect();
        let (output, saved) = (room(plan.output_bytes()), room(plan.saved_bytes()));
        let mut commands = vec![];
        plan.forward(
            &CudaForward {
                inputs: x.clone(),
                statistics: Address::NULL,
                params: places.clone(),
                output,
                output_statistics: room(plan.statistics_bytes()),
                saved,
                workspace: room(plan.workspace_bytes(Pass::Forward)),
            },
            &mut commands,
        );
        let shape = op.input_shapes()[0].clone();
        let (n, c) = (shape.dims()[0], shape.dims()[shape.dims().len() - 1]);
        let sums = statistics::bytes(n, shape.numel() / n / c, c);
        // As if the input came of a norm with a ReLU, where there would be sums of its gradient.
        let norm_below = (plan.sums_norm_below() && sums > 0).then(|| CudaNormBelow {
            x: room(inputs[0]),
            gamma: room(pitch(c) * size_of::<f32>()),
            beta: room(pitch(c) * size_of::<f32>()),
            saved: room(n * pitch(c) * 2 * size_of::<f32>()),
            sums: room(sums),
        });
        let mut gradient = |bytes| CudaGradient { at: room(bytes), mode: WriteMode::Overwrite };
        let dx = inputs.iter().map(|&bytes| Some(gradient(bytes))).collect();
        let dparams = params.iter().map(|&n| gradient(n * size_of::<f32>())).collect();
        plan.backward(
            &CudaBackward {
                inputs: x,
                params: places,
                output,
                saved,
                dy: room(plan.output_bytes()),
                dy_sums: Address::NULL,
                norm_below,
                dx,
                dparams,
                workspace: room(plan.workspace_bytes(Pass::Backward)),
            },
            &mut commands,
        );
        let run = |command| match command {
            Command::Kernel(launched) => {
                let counters = self.run(&launched, grid(&launched));
                (launched, counters)
            }
            other => panic!("{other:?}"),
        };
        let counted = commands.into_iter().map(run).collect();
        held.iter().filter(|&&at| at != Address::NULL).for_each(|at| self.memory.free(at.value()).unwrap());
        assert_eq!(self.memory.free_bytes(), before);
        counted
    }
}
