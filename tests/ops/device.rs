//! The contract of an operation on a CUDA device, checked for any `dyn CudaOp`: launches write all of their outputs, padding
//! included, and nothing else, read only what they are given, give the same bits again, add where told to, and agree
//! with the specification. The device is the simulated one, whose checker makes any race, stray access or read of
//! memory that nothing wrote an error, unless `HDC_CUDA_DRIVER` names another driver.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use half::bf16;
use hdc::device::{Address, Command, Device, Memory, Stream, kernels, use_driver};
use hdc::ops::{
    Backward, CudaBackward, CudaForward, CudaGradient, CudaParam, Forward, Gradient, Op, Pass, Precision,
    WriteMode, pitch, statistics,
};

use crate::contract::{Feed, Reference};
use crate::data::{Kind, assert_close};

/// The device, opened once; `None`, with a line that says so, if there is none.
pub fn device() -> Option<Arc<Device>> {
    static DEVICE: OnceLock<Option<Arc<Device>>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        if std::env::var_os("HDC_CUDA_DRIVER").is_none() {
            use_driver(&simulator()?).unwrap();
        }
        (!kernels().is_empty()).then(|| Device::open(0).unwrap())
    });
    if device.is_none() {
        let required = std::env::var_os("HDC_REQUIRE_KERNELS").is_some();
        assert!(
            !required,
            "no libptxsim.so beside the tests, or no kernels: run tools/setup, then tools/test"
        );
        println!("skipped: no libptxsim.so (cargo build --workspace), or no nvcc at build time");
    }
    device.clone()
}

/// The simulator's library, which cargo puts beside the tests.
fn simulator() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let folders = test.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join("libptxsim.so")).find(|library| library.is_file())
}

/// Runs commands to their end.
pub fn run(device: &Arc<Device>, commands: &[Command]) {
    let stream = Stream::new(device).unwrap();
    device.enqueue(&stream, commands).unwrap();
    if let Err(e) = stream.synchronise() {
        let names = commands.iter().map(|c| match c {
            Command::Kernel(launch) => launch.kernel,
            _ => "a copy",
        });
        panic!("{e}\namong {:?}", names.collect::<Vec<_>>());
    }
}

/// `v` in this precision.
pub fn round(precision: Precision, v: f64) -> f64 {
    match precision {
        Precision::F32 => f64::from(v as f32),
        Precision::Bf16 => f64::from(bf16::from_f32(v as f32).to_f32()),
    }
}

/// Values with the last axis, and the first of a parameter with more than one, put at their pitch.
fn padded(values: &[f64], dims: &[usize], param: bool) -> Vec<f64> {
    let c = dims[dims.len() - 1];
    let rows = values.len() / c;
    let all = if param && dims.len() > 1 { rows / dims[0] * pitch(dims[0]) } else { rows };
    let mut out = vec![0.0; all * pitch(c)];
    for (to, from) in out.chunks_exact_mut(pitch(c)).zip(values.chunks_exact(c)) {
        to[..c].copy_from_slice(from);
    }
    out
}

/// The inverse of [`padded`]; fails unless the padding is 0.
fn unpadded(label: &str, stored: &[f64], dims: &[usize]) -> Vec<f64> {
    let c = dims[dims.len() - 1];
    let rows = dims[..dims.len() - 1].iter().product::<usize>();
    let mut out = Vec::with_capacity(rows * c);
    for (i, row) in stored.chunks_exact(pitch(c)).enumerate() {
        let used = if i < rows { c } else { 0 };
        out.extend(&row[..used]);
        assert!(
            row[used..].iter().all(|&v| v == 0.0),
            "{label}: padding of row {i} is not 0: {:?}",
            &row[used..]
        );
    }
    out
}

fn encoded(values: &[f64], precision: Precision) -> Vec<u8> {
    match precision {
        Precision::F32 => values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
        Precision::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v as f32).to_le_bytes()).collect(),
    }
}

fn decoded(bytes: &[u8], precision: Precision) -> Vec<f64> {
    match precision {
        Precision::F32 => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        Precision::Bf16 => {
            bytes.as_chunks().0.iter().map(|&b| f64::from(bf16::from_le_bytes(b).to_f32())).collect()
        }
    }
}

fn contents(memory: &Memory) -> Vec<u8> {
    let mut bytes = vec![0; memory.bytes()];
    memory.download(0, &mut bytes).unwrap();
    bytes
}

/// An operation with its types on the device.
pub struct Subject<'a> {
    /// Says what failed.
    pub label: String,
    /// The operation, for its plan; the same in f64, for the extents of the reference.
    pub op: &'a dyn Op<f64>,
    /// Of activations.
    pub precision: Precision,
    /// Of the inputs: `precision`, or f32 for an operation on pooled vectors.
    pub input: Precision,
    /// Of the output.
    pub output: Precision,
}

/// What a run of an operation left on the device.
struct Outcome {
    output: Vec<u8>,
    statistics: Vec<u8>,
    dx: Vec<Vec<u8>>,
    dparams: Vec<Vec<u8>>,
}

impl Subject<'_> {
    /// Forward, then backward, which adds to `before` (inputs' then parameters' gradients) if there is one.
    fn run(
        &self,
        device: &Arc<Device>,
        feed: &Feed<f64>,
        first_input: bool,
        before: Option<&Feed<f64>>,
    ) -> Outcome {
        let (op, plan) = (self.op, self.op.cuda(self.precision));
        let holding = |bytes: &[u8]| Memory::holding(device, "test data", bytes).unwrap();
        let unwritten = |bytes: usize| holding(&vec![0xFF; bytes]); // NaN in both precisions
        let scratch = |bytes: usize| Memory::new(device, "test data", bytes).unwrap();
        let address = |m: &Memory| if m.bytes() == 0 { Address::NULL } else { m.address() };

        let (shapes, params) = (op.input_shapes(), op.params());
        let values =
            |v: &Vec<f64>, dims: &[usize], precision| holding(&encoded(&padded(v, dims, false), precision));
        let inputs: Vec<_> =
            feed.inputs.iter().zip(&shapes).map(|(v, s)| values(v, s.dims(), self.input)).collect();
        let masters: Vec<_> = feed
            .params
            .iter()
            .zip(&params)
            .map(|(v, p)| padded(v, p.shape.dims(), true))
            .map(|v| [Precision::F32, self.precision].map(|p| holding(&encoded(&v, p))))
            .collect();
        let cuda_params =
            || masters.iter().map(|[m, c]| CudaParam { master: m.address(), compute: c.address() }).collect();

        let output = unwritten(plan.output_bytes());
        let output_statistics = unwritten(plan.statistics_bytes());
        let saved = scratch(plan.saved_bytes());
        let workspace = scratch(plan.workspace_bytes(Pass::Forward));
        let mut commands = vec![];
        plan.forward(
            &CudaForward {
                inputs: inputs.iter().map(Memory::address).collect(),
                statistics: Address::NULL,
                params: cuda_params(),
                output: output.address(),
                output_statistics: address(&output_statistics),
                saved: address(&saved),
                workspace: address(&workspace),
            },
            &mut commands,
        );
        run(device, &commands);

        let reads = plan.backward_reads();
        let dy = values(&feed.dy, op.output_shape().dims(), self.output);
        let mode = if before.is_some() { WriteMode::Accumulate } else { WriteMode::Overwrite };
        let dx: Vec<_> = shapes
            .iter()
            .zip(&inputs)
            .enumerate()
            .map(|(i, (s, input))| match before {
                Some(b) => values(&b.inputs[i], s.dims(), self.input),
                None => unwritten(input.bytes()),
            })
            .collect();
        let dparams: Vec<_> = params
            .iter()
            .zip(&masters)
            .enumerate()
            .map(|(i, (p, [master, _]))| match before {
                Some(b) => holding(&encoded(&padded(&b.params[i], p.shape.dims(), true), Precision::F32)),
                None => unwritten(master.bytes()),
            })
            .collect();
        let workspace = scratch(plan.workspace_bytes(Pass::Backward));
        let gradient = |m: &Memory| CudaGradient { at: m.address(), mode };
        let mut commands = vec![];
        plan.backward(
            &CudaBackward {
                inputs: inputs
                    .iter()
                    .map(|m| if reads.inputs { m.address() } else { Address::NULL })
                    .collect(),
                params: cuda_params(),
                output: if reads.output { output.address() } else { Address::NULL },
                saved: address(&saved),
                dy: dy.address(),
                dx: dx.iter().enumerate().map(|(i, m)| (i > 0 || first_input).then(|| gradient(m))).collect(),
                dparams: dparams.iter().map(gradient).collect(),
                workspace: address(&workspace),
            },
            &mut commands,
        );
        run(device, &commands);
        Outcome {
            output: contents(&output),
            statistics: contents(&output_statistics),
            dx: dx
                .iter()
                .enumerate()
                .map(|(i, m)| if i > 0 || first_input { contents(m) } else { vec![] })
                .collect(),
            dparams: dparams.iter().map(contents).collect(),
        }
    }

    /// Fails unless `got` is as near to `want` as one rounding of it, or exactly its rounding for integers. `scale` is a
    /// norm below which an error is not relative to the result.
    fn compare(&self, what: &str, got: &[f64], want: &[f64], precision: Precision, kind: Kind, scale: f64) {
        let label = format!("{} {what}", self.label);
        let rounded: Vec<f64> = want.iter().map(|&v| round(precision, v)).collect();
        if kind == Kind::Integer {
            let plain = |v: &[f64]| v.iter().map(|v| v + 0.0).collect::<Vec<_>>(); // −0 is 0
            return crate::data::assert_same_bits(&label, &plain(got), &plain(&rounded));
        }
        let norm = want.iter().map(|v| v * v).sum::<f64>().sqrt().max(scale);
        let cost =
            want.iter().zip(&rounded).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / norm.max(1e-300);
        let tolerance = match precision {
            Precision::F32 => 1e-6,
            Precision::Bf16 => (1.5 * cost).clamp(1e-6, 8e-3),
        };
        assert_close(&label, got, want, tolerance, scale);
    }

    /// Checks the whole contract on one kind of data.
    pub fn check(&self, reference: &Reference<'_, f64>, kind: Kind) {
        let Some(device) = &device() else { return };
        let op = self.op;
        let rounded = |v: &mut Vec<f64>, p| v.iter_mut().for_each(|v| *v = round(p, *v));
        let draw = |seed| {
            let mut feed = Feed::<f64>::random(op, kind, seed);
            feed.inputs.iter_mut().for_each(|v| rounded(v, self.input));
            feed.params.iter_mut().for_each(|v| rounded(v, self.precision));
            rounded(&mut feed.dy, self.output);
            feed
        };
        let (feed, before) = (draw(1), draw(7));
        let got = self.run(device, &feed, true, None);
        let again = self.run(device, &feed, true, None);
        assert!(got.output == again.output, "{}: other bits the second time", self.label);
        assert!(got.statistics == again.statistics, "{}: other statistics the second time", self.label);
        assert!(
            got.dx == again.dx && got.dparams == again.dparams,
            "{}: other gradients the second time",
            self.label
        );

        let output = unpadded(&self.label, &decoded(&got.output, self.output), op.output_shape().dims());
        let wanted = specified_forward(op, &feed, reference);
        self.compare("output", &output, &wanted, self.output, kind, 0.0);
        self.check_statistics(&output, &decoded(&got.statistics, Precision::F32));

        let specified = specified_backward(op, &feed, &wanted, reference);
        self.check_gradients("", &got, &specified, None, kind);
        let added = self.run(device, &feed, true, Some(&before));
        self.check_gradients("accumulated ", &added, &specified, Some(&before), kind);

        let without = self.run(device, &feed, false, None);
        assert!(without.dx[1..] == got.dx[1..], "{}: other dx1 without dx0", self.label);
        assert!(without.dparams == got.dparams, "{}: other dparams without dx0", self.label);
    }

    fn check_gradients(
        &self,
        how: &str,
        got: &Outcome,
        wanted: &(Vec<Vec<f64>>, Vec<Vec<f64>>),
        before: Option<&Feed<f64>>,
        kind: Kind,
    ) {
        let plus = |v: &[f64], b: Option<&Vec<f64>>| match b {
            Some(b) => v.iter().zip(b).map(|(v, b)| v + b).collect(),
            None => v.to_vec(),
        };
        for (i, (bytes, shape)) in got.dx.iter().zip(self.op.input_shapes()).enumerate() {
            let what = format!("{how}dx{i}");
            let got = unpadded(&format!("{} {what}", self.label), &decoded(bytes, self.input), shape.dims());
            // A dx may be a small difference of terms of the size of dy, which is about 0.5.
            let scale = 0.5 * (got.len() as f64).sqrt();
            self.compare(
                &what,
                &got,
                &plus(&wanted.0[i], before.map(|b| &b.inputs[i])),
                self.input,
                kind,
                scale,
            );
        }
        for (i, (bytes, p)) in got.dparams.iter().zip(self.op.params()).enumerate() {
            let what = format!("{how}dparam{i}");
            let got =
                unpadded(&format!("{} {what}", self.label), &decoded(bytes, Precision::F32), p.shape.dims());
            let want = plus(&wanted.1[i], before.map(|b| &b.params[i]));
            self.compare(&what, &got, &want, Precision::F32, kind, 0.0);
        }
    }

    /// Partial statistics must be those of the stored values.
    fn check_statistics(&self, output: &[f64], partials: &[f64]) {
        if partials.is_empty() {
            return;
        }
        let shape = self.op.output_shape();
        let (n, c) = (shape.dims()[0], shape.dims()[4]);
        let positions = output.len() / n / c;
        let tiles = statistics::tiles(positions);
        assert_eq!(partials.len(), n * tiles * pitch(c) * 2, "{}: statistics", self.label);
        let mut wanted = vec![0.0; partials.len()];
        for clip in 0..n {
            for tile in 0..tiles {
                let rows = tile * statistics::TILE..((tile + 1) * statistics::TILE).min(positions);
                for channel in 0..c {
                    let column = || rows.clone().map(|r| output[(clip * positions + r) * c + channel]);
                    let mean = column().sum::<f64>() / rows.len() as f64;
                    let m2 = column().map(|v| (v - mean).powi(2)).sum::<f64>();
                    let at = ((clip * tiles + tile) * pitch(c) + channel) * 2;
                    (wanted[at], wanted[at + 1]) = (mean, m2);
                }
            }
        }
        assert_close(&format!("{} statistics", self.label), partials, &wanted, 1e-6, 0.0);
    }
}

fn specified_forward(op: &dyn Op<f64>, feed: &Feed<f64>, reference: &Reference<'_, f64>) -> Vec<f64> {
    let mut output = vec![f64::NAN; op.output_shape().numel()];
    let mut scratch = vec![0u64; op.saved_bytes().max(op.workspace_bytes(Pass::Forward)).div_ceil(8)];
    let mut saved = vec![0u8; op.saved_bytes()];
    (reference.forward)(Forward {
        inputs: feed.inputs.iter().map(Vec::as_slice).collect(),
        params: feed.params.iter().map(Vec::as_slice).collect(),
        output: &mut output,
        saved: &mut saved,
        workspace: bytemuck::cast_slice_mut(&mut scratch),
    });
    output
}

fn specified_backward(
    op: &dyn Op<f64>,
    feed: &Feed<f64>,
    output: &[f64],
    reference: &Reference<'_, f64>,
) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mode = WriteMode::Overwrite;
    let nan = |v: &Vec<f64>| vec![f64::NAN; v.len()];
    let mut dx: Vec<_> = feed.inputs.iter().map(nan).collect();
    let mut dparams: Vec<_> = feed.params.iter().map(nan).collect();
    let mut forwarded = vec![f64::NAN; output.len()];
    let mut saved = vec![0u8; op.saved_bytes()];
    let mut scratch =
        vec![0u64; op.workspace_bytes(Pass::Forward).max(op.workspace_bytes(Pass::Backward)).div_ceil(8)];
    let inputs = || feed.inputs.iter().map(Vec::as_slice).collect();
    let params = || feed.params.iter().map(Vec::as_slice).collect();
    (reference.forward)(Forward {
        inputs: inputs(),
        params: params(),
        output: &mut forwarded,
        saved: &mut saved,
        workspace: bytemuck::cast_slice_mut(&mut scratch),
    });
    (reference.backward)(Backward {
        inputs: inputs(),
        params: params(),
        output,
        saved: &saved,
        dy: &feed.dy,
        dx: dx.iter_mut().map(|data| Some(Gradient { data, mode })).collect(),
        dparams: dparams.iter_mut().map(|data| Gradient { data, mode }).collect(),
        workspace: bytemuck::cast_slice_mut(&mut scratch),
    });
    (dx, dparams)
}
