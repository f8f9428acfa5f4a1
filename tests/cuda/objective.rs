//! The objective on a device against the CPU's in f64.

use hdc::device::{Address, Command, Memory, kernels};
use hdc::eval::selftest::run;
use hdc::graph::ParamLayout;
use hdc::graph::cuda_tensor::{from_device, to_device};
use hdc::models::head_params;
use hdc::ops::{Precision, pitch};
use hdc::tensor::random::Stream;
use hdc::train::Criterion;
use hdc::train::objective::{CudaHeads, CudaObjective, LossConfig, Objective, Reduction, roles};
use ptxsim::device::{Architecture, Device as Gpu};
use ptxsim::launch::{Config, Options, launch};
use ptxsim::memory::{Kind, Memory as Simulated};
use ptxsim::module::Module;

use crate::simulator::device;

const VIDEOS: usize = 5;
const SLOTS: [usize; 3] = [4, 2, 1];
const CHANNELS: [usize; 3] = [6, 16, 33];

fn random(name: &str, len: usize) -> Vec<f32> {
    let mut stream = Stream::new(name, 1);
    (0..len).map(|_| stream.next_in(-1.0, 1.0) as f32).collect()
}

fn distance(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let error = got.iter().zip(want).map(|(&g, w)| (f64::from(g) - w).powi(2)).sum::<f64>().sqrt();
    let norm = want.iter().map(|w| w * w).sum::<f64>().sqrt();
    if norm == 0.0 { error } else { error / norm }
}

fn check(config: &LossConfig) {
    let Some(device) = device() else { return };
    let label = format!("{config:?}");
    let clips = VIDEOS * roles(config).count();
    let mut layout = ParamLayout::default();
    layout.extend("heads.", &head_params(CHANNELS));

    // On the CPU.
    let params = random("heads", layout.len());
    let slots = [0, 1, 2].map(|k| random(&format!("slots {k}"), clips * SLOTS[k] * CHANNELS[k]));
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let mut objective = Objective::<f64>::new(config, VIDEOS, SLOTS, CHANNELS, &layout).unwrap();
    let mut d_slots = slots.each_ref().map(|v| vec![f64::NAN; v.len()]);
    let mut gradients = vec![0.0; layout.len()];
    let wide_slots = slots.each_ref().map(|v| wide(v));
    let want = objective.evaluate(&wide(&params), &wide_slots, &mut d_slots, &mut gradients);

    // On the device: parameters one after the other, each in an allocation of its own.
    let holding = |bytes: &[u8]| Memory::holding(&device, "test data", bytes).unwrap();
    let pack = |values: &[f32], dims: &[usize]| to_device(values, dims[dims.len() - 1], Precision::F32);
    let heads: Vec<_> = layout
        .params()
        .iter()
        .map(|p| {
            let bytes = pack(&params[p.range.clone()], p.shape.dims());
            (holding(&bytes), holding(&vec![0xFF; bytes.len()]))
        })
        .collect();
    let on_device = [0, 1, 2].map(|k| holding(&pack(&slots[k], &[CHANNELS[k]])));
    let d_on_device = on_device.each_ref().map(|m| holding(&vec![0xFF; m.bytes()]));
    let plan = CudaObjective::new(config, VIDEOS, SLOTS, CHANNELS).unwrap();
    let buffers = Memory::new(&device, "test data", plan.bytes()).unwrap();
    let losses = holding(&[0xFF; 48]);
    let addresses = CudaHeads {
        params: heads.iter().map(|h| h.0.address()).collect(),
        gradients: heads.iter().map(|h| h.1.address()).collect(),
    };
    let at = |m: &[Memory; 3]| -> [Address; 3] { m.each_ref().map(Memory::address) };
    let mut commands = vec![];
    plan.plan(
        buffers.address(),
        &addresses,
        at(&on_device),
        at(&d_on_device),
        losses.address(),
        &mut commands,
    )
    .unwrap();
    run(&device, &commands).unwrap();

    let mut terms = [f64::NAN; 6];
    losses.download(0, &mut terms).unwrap();
    let got = plan.losses(terms);
    assert!((got.total - want.total).abs() < 1e-5 * want.total.abs().max(1e-3), "{label}: {got:?}, {want:?}");
    for (got, want) in [got.spatial, got.temporal].concat().iter().zip([want.spatial, want.temporal].concat())
    {
        assert_eq!(got.is_some(), want.is_some(), "{label}");
        let difference = got.unwrap_or(0.0) - want.unwrap_or(0.0);
        assert!(difference.abs() <= 1e-5 * want.unwrap_or(0.0).abs(), "{label}: {got:?}, {want:?}");
    }
    let values = |m: &Memory, channels: usize, rows: usize| {
        let mut bytes = vec![0; rows * pitch(channels) * 4];
        m.download(0, &mut bytes).unwrap();
        let mut values = vec![f32::NAN; rows * channels];
        from_device(&bytes, channels, Precision::F32, &mut values);
        values
    };
    for k in 0..3 {
        let got = values(&d_on_device[k], CHANNELS[k], clips * SLOTS[k]);
        let error = distance(&got, &d_slots[k]);
        assert!(error <= 1e-5, "{label}: d_slots at block {}: {error:.1e}", 3 + k);
    }
    for (p, (_, gradient)) in layout.params().iter().zip(&heads) {
        let channels = p.shape.dims()[p.shape.dims().len() - 1];
        let got = values(gradient, channels, p.range.len() / channels);
        let error = distance(&got, &gradients[p.range.clone()]);
        assert!(error <= 1e-5, "{label}: gradient of {}: {error:.1e}", p.name);
    }
}

#[test]
fn every_choice_of_terms_gives_the_losses_and_gradients_of_the_cpu() {
    let all = LossConfig::default();
    check(&all);
    check(&LossConfig { reduction: Reduction::Sum, tau: 0.5, ..all.clone() });
    check(&LossConfig { temporal: false, ..all.clone() });
    check(&LossConfig { spatial: false, ..all.clone() });
    check(&LossConfig { alpha: [0.0, 0.0, 1.0], beta: [0.0, 0.5, 0.0], ..all.clone() });
    check(&LossConfig { spatial: false, beta: [0.0, 0.0, 1.0], ..all });
}

/// The objective at the paper's extents, but for fewer videos, counted by the simulator.
#[test]
fn nine_launches_without_a_bank_conflict() {
    let (videos, slots, channels) = (72, [4, 2, 1], [256, 512, 512]);
    let gpu = Gpu { architecture: Architecture::Sm80, memory: 1 << 30, cuda: ptxsim::cuda::Cuda::default() };
    let memory = Simulated::new(gpu.memory).unwrap();
    let ours = ["linear", "info_nce", "slot_pool"];
    let texts = kernels().iter().filter(|k| ours.iter().any(|name| k.name.starts_with(name)));
    let modules: Vec<_> = texts.map(|k| Module::load(k.ptx, &gpu, &memory).unwrap()).collect();
    if modules.is_empty() {
        assert!(std::env::var_os("HDC_REQUIRE_KERNELS").is_none(), "no kernels: run tools/setup");
        println!("skipped: no nvcc at build time");
        return;
    }
    let room = |bytes: usize| Address::new(memory.allocate(bytes, Kind::Device).unwrap());
    let plan = CudaObjective::new(&LossConfig::default(), videos, slots, channels).unwrap();
    let of_heads = || head_params(channels).iter().map(|p| room(p.1.shape.numel() * 4)).collect();
    let heads = CudaHeads { params: of_heads(), gradients: of_heads() };
    let vectors = || [0, 1, 2].map(|k| room(3 * videos * slots[k] * channels[k] * 4));
    let (slots, d_slots) = (vectors(), vectors());
    let mut commands = vec![];
    plan.plan(room(plan.bytes()), &heads, slots, d_slots, room(48), &mut commands).unwrap();

    let mut launched = vec![];
    for command in &commands {
        let Command::Kernel(l) = command else {
            panic!("all heads are used, so nothing is cleared: {command:?}")
        };
        let kernel = modules.iter().find_map(|m| m.kernel(l.kernel)).unwrap();
        let config = Config { grid: l.grid, block: [l.threads, 1, 1], dynamic_shared: l.shared };
        // Only counted: what is multiplied is what memory happens to hold.
        let options = Options { check: false, count: true, ..Options::default() };
        let outcome = launch(&kernel, &config, bytemuck::cast_slice(l.args()), &memory, &options);
        assert!(outcome.findings.is_empty(), "{}: {:?}", l.kernel, outcome.findings);
        let shared = &outcome.counters.shared;
        assert!(shared.requests > 0 || l.kernel == "slot_pool_backward_f32", "{}: not counted", l.kernel);
        assert_eq!(shared.conflicts, 0, "{}", l.kernel);
        launched.push(l.kernel);
    }
    let want = [
        "slot_pool_forward_f32", // of the temporal variant's slot vectors
        "linear_forward",
        "slot_pool_forward_f32", // of the anchor's projections
        "info_nce_softmax",
        "info_nce_gradient",
        "slot_pool_backward_f32",
        "linear_wgrad",
        "linear_dgrad",
        "slot_pool_backward_f32",
    ];
    assert_eq!(launched, want);
}
