//! The contract of an operation on a CUDA device, checked for any `dyn CudaOp`: launches write all of their outputs,
//! padding included, and nothing else, read only what they are given, give the same bits again, add where told to, and
//! agree with the specification in float64.

use std::sync::Arc;

use super::norm_below::{HeldNorm, NormBelow};
use crate::device::{Address, Command, Device, Memory, Stream};
use crate::graph::cuda_tensor::{from_device, to_device};
use crate::ops::{
    Backward, CudaBackward, CudaForward, CudaGradient, CudaParam, Forward, Gradient, Op, Pass, Precision,
    WriteMode, pitch, statistics,
};
use crate::tensor::random::Stream as Random;

/// What random data look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Uniform in [−1, 1).
    Real,
    /// −2, −1, 0, 1, 2: sums and products are exact, so every order of summation gives the same bits.
    Integer,
    /// The same data, but results are real numbers: which of several is the largest does not depend on the precision.
    Coarse,
}

/// An operation's specification, on the same buffers in f64.
pub struct Reference<'a> {
    /// Writes the output.
    pub forward: &'a dyn Fn(Forward<'_, f64>),
    /// Writes the gradients; given inputs and output.
    pub backward: &'a dyn Fn(Backward<'_, f64>),
}

/// An operation with its types on the device.
pub struct Subject<'a> {
    /// Says what failed.
    pub label: String,
    /// The operation: its plan for a device, and its extents.
    pub op: &'a dyn Op<f64>,
    /// Of activations.
    pub precision: Precision,
    /// Of the inputs: `precision`, or f32 for an operation on pooled vectors.
    pub input: Precision,
    /// Of the output.
    pub output: Precision,
}

/// A check that failed: what, and both values.
pub type Fault = String;

/// What goes into an operation, or a gradient of each.
struct Feed {
    inputs: Vec<Vec<f64>>,
    params: Vec<Vec<f64>>,
    dy: Vec<f64>,
}

/// What a run of an operation left on the device.
#[derive(PartialEq)]
struct Outcome {
    output: Vec<u8>,
    statistics: Vec<u8>,
    /// Of a norm below, if the operation makes them and its first gradient is written.
    norm_sums: Vec<u8>,
    dx: Vec<Vec<u8>>,
    dparams: Vec<Vec<u8>>,
}

/// Runs commands to their end.
///
/// # Errors
/// What the device says, and the kernels that it may be about.
pub fn run(device: &Arc<Device>, commands: &[Command]) -> Result<(), Fault> {
    let all = || -> crate::Result<()> {
        let stream = Stream::new(device)?;
        device.enqueue(&stream, commands)?;
        stream.synchronise()
    };
    all().map_err(|e| {
        let names: Vec<_> = commands
            .iter()
            .map(|c| match c {
                Command::Kernel(launch) => launch.kernel,
                Command::Copy { .. } | Command::Zero { .. } => "a copy",
            })
            .collect();
        format!("{e}\n  among {}", names.join(", "))
    })
}

/// `v` rounded to this precision.
pub fn round(precision: Precision, v: f64) -> f64 {
    match precision {
        Precision::F32 => f64::from(v as f32),
        Precision::Bf16 => f64::from(half::bf16::from_f32(v as f32).to_f32()),
    }
}

/// Values as a device holds them: the last axis, and the first one of a parameter with several, at their pitch.
pub(super) fn encode(values: &[f64], dims: &[usize], param: bool, precision: Precision) -> Vec<u8> {
    let mut values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    if param && dims.len() > 1 {
        values.resize(values.len() / dims[0] * pitch(dims[0]), 0.0);
    }
    to_device(&values, dims[dims.len() - 1], precision)
}

/// The inverse of [`encode`].
fn decode(bytes: &[u8], dims: &[usize], param: bool, precision: Precision) -> Result<Vec<f64>, Fault> {
    let (c, rows) = (dims[dims.len() - 1], bytes.len() / pitch(dims[dims.len() - 1]) / precision.size());
    let mut stored = vec![0.0; rows * pitch(c)];
    from_device(bytes, pitch(c), precision, &mut stored);
    let used = dims[..dims.len() - 1].iter().product::<usize>();
    let mut out = Vec::with_capacity(used * c);
    for (i, row) in stored.chunks_exact(pitch(c)).enumerate() {
        let (values, padding) = row.split_at(if i < used { c } else { 0 });
        debug_assert!(i < used || param, "only a parameter has rows of padding");
        out.extend(values.iter().map(|&v| f64::from(v)));
        if let Some(at) = padding.iter().position(|&v| v != 0.0) {
            return Err(format!("padding {at} of row {i} is {} instead of 0", padding[at]));
        }
    }
    Ok(out)
}

impl Subject<'_> {
    /// Checks the whole contract on one kind of data.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self, device: &Arc<Device>, reference: &Reference<'_>, kind: Kind) -> Result<(), Fault> {
        self.try_check(device, reference, kind).map_err(|fault| format!("{} {kind:?}: {fault}", self.label))
    }

    fn try_check(&self, device: &Arc<Device>, reference: &Reference<'_>, kind: Kind) -> Result<(), Fault> {
        let (feed, before) = (self.draw(kind, 1), self.draw(kind, 7));
        let got = self.run(device, &feed, true, None)?;
        if got != self.run(device, &feed, true, None)? {
            return Err("other bits the second time".into());
        }

        let shape = self.op.output_shape();
        let output =
            decode(&got.output, shape.dims(), false, self.output).map_err(|f| format!("output: {f}"))?;
        let (wanted, dx, dparams) = self.specified(&feed, reference);
        self.compare("output", &output, &wanted, self.output, kind, 0.0)?;
        self.check_statistics(&output, &got.statistics)?;

        self.check_gradients("", &got, (&dx, &dparams), None, kind)?;
        self.check_norm_sums(&got, kind)?;
        let added = self.run(device, &feed, true, Some(&before))?;
        self.check_gradients("accumulated ", &added, (&dx, &dparams), Some(&before), kind)?;

        let without = self.run(device, &feed, false, None)?;
        if without.dx[1..] != got.dx[1..] || without.dparams != got.dparams {
            return Err("other gradients when the first input wants none".into());
        }
        Ok(())
    }

    fn draw(&self, kind: Kind, seed: u64) -> Feed {
        let op = self.op;
        let values = |name: String, precision, n| -> Vec<f64> {
            let mut stream = Random::new(&name, seed);
            let mut draw = || match kind {
                Kind::Real => stream.next_in(-1.0, 1.0),
                Kind::Integer | Kind::Coarse => stream.next_below(5) as f64 - 2.0,
            };
            (0..n).map(|_| round(precision, draw())).collect()
        };
        let (shapes, params) = (op.input_shapes(), op.params());
        Feed {
            inputs: (0..).zip(&shapes).map(|(i, s)| values(format!("x{i}"), self.input, s.numel())).collect(),
            params: (0..)
                .zip(&params)
                .map(|(i, p)| values(format!("w{i}"), self.precision, p.shape.numel()))
                .collect(),
            dy: values("dy".into(), self.output, op.output_shape().numel()),
        }
    }

    /// Forward, then backward, which adds to `before` if that is given.
    fn run(
        &self,
        device: &Arc<Device>,
        feed: &Feed,
        first_input: bool,
        before: Option<&Feed>,
    ) -> Result<Outcome, Fault> {
        let (op, plan) = (self.op, self.op.cuda(self.precision));
        let fault = |e: crate::Error| e.to_string();
        let holding = |bytes: &[u8]| Memory::holding(device, "test data", bytes).map_err(fault);
        let unwritten = |bytes: usize| holding(&vec![0xFF; bytes]); // NaN in both precisions
        let scratch = |bytes: usize| Memory::new(device, "test data", bytes).map_err(fault);
        let address = |m: &Memory| if m.bytes() == 0 { Address::NULL } else { m.address() };
        let contents = |m: &Memory| {
            let mut bytes = vec![0; m.bytes()];
            m.download(0, &mut bytes).map_err(fault)?;
            Ok(bytes)
        };

        let (shapes, specs) = (op.input_shapes(), op.params());
        let input = |v: &Vec<f64>, i: usize| holding(&encode(v, shapes[i].dims(), false, self.input));
        let param =
            |v: &Vec<f64>, i: usize, precision| holding(&encode(v, specs[i].shape.dims(), true, precision));
        let inputs =
            feed.inputs.iter().enumerate().map(|(i, v)| input(v, i)).collect::<Result<Vec<_>, Fault>>()?;
        let mut params = Vec::new();
        for (i, v) in feed.params.iter().enumerate() {
            params.push([param(v, i, Precision::F32)?, param(v, i, self.precision)?]);
        }
        let cuda_params =
            || params.iter().map(|[m, c]| CudaParam { master: m.address(), compute: c.address() }).collect();

        let output = unwritten(plan.output_bytes())?;
        let output_statistics = unwritten(plan.statistics_bytes())?;
        let saved = scratch(plan.saved_bytes())?;
        let workspace = scratch(plan.workspace_bytes(Pass::Forward))?;
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
        run(device, &commands)?;

        let reads = plan.backward_reads();
        let dy = holding(&encode(&feed.dy, op.output_shape().dims(), false, self.output))?;
        let mode = if before.is_some() { WriteMode::Accumulate } else { WriteMode::Overwrite };
        let mut dx = Vec::new();
        for (i, x) in inputs.iter().enumerate() {
            dx.push(before.map_or_else(|| unwritten(x.bytes()), |b| input(&b.inputs[i], i))?);
        }
        let mut dparams = Vec::new();
        for (i, [master, _]) in params.iter().enumerate() {
            let given = |b: &Feed| param(&b.params[i], i, Precision::F32);
            dparams.push(before.map_or_else(|| unwritten(master.bytes()), given)?);
        }
        let workspace = scratch(plan.workspace_bytes(Pass::Backward))?;
        let gradient = |m: &Memory| CudaGradient { at: m.address(), mode };
        let wanted = |i: usize| i > 0 || first_input;
        let summed = plan.sums_norm_below() && first_input && before.is_none();
        let below = summed
            .then(|| NormBelow::draw(shapes[0].dims()).hold(device, self.input))
            .transpose()
            .map_err(fault)?;
        let given = |wanted: bool, m: &Memory| if wanted { m.address() } else { Address::NULL };
        let mut commands = vec![];
        plan.backward(
            &CudaBackward {
                inputs: inputs.iter().map(|m| given(reads.inputs, m)).collect(),
                params: cuda_params(),
                output: given(reads.output, &output),
                saved: address(&saved),
                dy: dy.address(),
                dy_sums: Address::NULL,
                norm_below: below.as_ref().and_then(HeldNorm::wanted),
                dx: dx.iter().enumerate().map(|(i, m)| wanted(i).then(|| gradient(m))).collect(),
                dparams: dparams.iter().map(gradient).collect(),
                workspace: address(&workspace),
            },
            &mut commands,
        );
        run(device, &commands)?;
        let written = |(i, m): (usize, &Memory)| if wanted(i) { contents(m) } else { Ok(vec![]) };
        Ok(Outcome {
            output: contents(&output)?,
            statistics: contents(&output_statistics)?,
            norm_sums: below.as_ref().map_or(Ok(vec![]), |b| contents(&b.sums))?,
            dx: dx.iter().enumerate().map(written).collect::<Result<_, Fault>>()?,
            dparams: dparams.iter().map(contents).collect::<Result<_, Fault>>()?,
        })
    }

    /// Output, gradients of the inputs and of the parameters, as specified.
    fn specified(&self, feed: &Feed, reference: &Reference<'_>) -> (Vec<f64>, Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let op = self.op;
        let mode = WriteMode::Overwrite;
        let nan = |v: &Vec<f64>| vec![f64::NAN; v.len()];
        let mut output = vec![f64::NAN; op.output_shape().numel()];
        let mut dx: Vec<_> = feed.inputs.iter().map(nan).collect();
        let mut dparams: Vec<_> = feed.params.iter().map(nan).collect();
        let mut saved = vec![0u8; op.saved_bytes()];
        let scratch = op.workspace_bytes(Pass::Forward).max(op.workspace_bytes(Pass::Backward));
        let mut scratch = vec![0u64; scratch.div_ceil(8)];
        let inputs = || feed.inputs.iter().map(Vec::as_slice).collect();
        let params = || feed.params.iter().map(Vec::as_slice).collect();
        (reference.forward)(Forward {
            inputs: inputs(),
            params: params(),
            output: &mut output,
            saved: &mut saved,
            workspace: bytemuck::cast_slice_mut(&mut scratch),
        });
        (reference.backward)(Backward {
            inputs: inputs(),
            params: params(),
            output: &output,
            saved: &saved,
            dy: &feed.dy,
            dx: dx.iter_mut().map(|data| Some(Gradient { data, mode })).collect(),
            dparams: dparams.iter_mut().map(|data| Gradient { data, mode }).collect(),
            workspace: bytemuck::cast_slice_mut(&mut scratch),
        });
        (output, dx, dparams)
    }

    fn check_gradients(
        &self,
        how: &str,
        got: &Outcome,
        (dx, dparams): (&[Vec<f64>], &[Vec<f64>]),
        before: Option<&Feed>,
        kind: Kind,
    ) -> Result<(), Fault> {
        let plus = |v: &[f64], b: Option<&Vec<f64>>| match b {
            Some(b) => v.iter().zip(b).map(|(v, b)| v + b).collect(),
            None => v.to_vec(),
        };
        for (i, (bytes, shape)) in got.dx.iter().zip(self.op.input_shapes()).enumerate() {
            let what = format!("{how}dx{i}");
            let got = decode(bytes, shape.dims(), false, self.input).map_err(|f| format!("{what}: {f}"))?;
            // A dx may be a small difference of terms of the size of dy, which is about 0.5.
            let scale = 0.5 * (got.len() as f64).sqrt();
            let want = plus(&dx[i], before.map(|b| &b.inputs[i]));
            self.compare(&what, &got, &want, self.input, kind, scale)?;
        }
        for (i, (bytes, p)) in got.dparams.iter().zip(self.op.params()).enumerate() {
            let what = format!("{how}dparam{i}");
            let got =
                decode(bytes, p.shape.dims(), true, Precision::F32).map_err(|f| format!("{what}: {f}"))?;
            let want = plus(&dparams[i], before.map(|b| &b.params[i]));
            self.compare(&what, &got, &want, Precision::F32, kind, 0.0)?;
        }
        Ok(())
    }

    /// `got` is as near to `want` as 1.5 roundings of it, or exactly its rounding for integers. `scale` is a norm below
    /// which an error is not relative to the result.
    fn compare(
        &self,
        what: &str,
        got: &[f64],
        want: &[f64],
        precision: Precision,
        kind: Kind,
        scale: f64,
    ) -> Result<(), Fault> {
        let rounded: Vec<f64> = want.iter().map(|&v| round(precision, v)).collect();
        if kind == Kind::Integer {
            // == and not bits: a zero may have either sign.
            return match (0..got.len()).find(|&i| got[i] != rounded[i]) {
                Some(i) => Err(format!("{what}: [{i}] is {} instead of {}", got[i], rounded[i])),
                None => Ok(()),
            };
        }
        let norm = want.iter().map(|v| v * v).sum::<f64>().sqrt().max(scale);
        let distance = |a: &[f64]| a.iter().zip(want).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let tolerance = match precision {
            Precision::F32 => self.f32_tolerance(),
            Precision::Bf16 => (1.5 * distance(&rounded) / norm.max(f64::MIN_POSITIVE)).clamp(1e-6, 8e-3),
        };
        let total = distance(got);
        if total <= tolerance * norm {
            return Ok(()); // written so that NaN fails
        }
        let error = |i: usize| (got[i] - want[i]).abs();
        let worst = (0..got.len()).max_by(|&i, &j| error(i).total_cmp(&error(j))).unwrap_or(0);
        Err(format!(
            "{what}: relative L2 error {:.3e} > {tolerance:.1e}; worst at [{worst}]: {} instead of {}",
            total / norm,
            got[worst],
            want[worst]
        ))
    }

    /// 1e-6; of long sums what rounding their terms costs, about a quarter of √n roundings.
    fn f32_tolerance(&self) -> f64 {
        let op = self.op;
        let lens = op.input_shapes().into_iter().chain([op.output_shape()]).map(|s| s.numel());
        let smallest = lens.chain(op.params().into_iter().map(|p| p.shape.numel())).min().unwrap_or(1);
        let terms = op.cost(Pass::Forward).flops as f64 / 2.0 / smallest as f64;
        let rounding = f64::from(f32::EPSILON) / 2.0;
        if op.kind() == "conv3d" { (0.25 * rounding * terms.sqrt()).max(1e-6) } else { 1e-6 }
    }

    /// Partial statistics must be those of the stored values.
    fn check_statistics(&self, output: &[f64], partials: &[u8]) -> Result<(), Fault> {
        let mean_and_squares = |column: &[(usize, f64)], _: usize| {
            let mean = column.iter().map(|(_, v)| v).sum::<f64>() / column.len() as f64;
            [mean, column.iter().map(|(_, v)| (v - mean).powi(2)).sum()]
        };
        self.check_partials(
            "statistics",
            self.op.output_shape().dims(),
            output,
            partials,
            Kind::Real,
            mean_and_squares,
        )
    }

    /// A norm's partial sums must be those of the stored gradient.
    fn check_norm_sums(&self, got: &Outcome, kind: Kind) -> Result<(), Fault> {
        if got.norm_sums.is_empty() {
            return Ok(());
        }
        let shape = &self.op.input_shapes()[0];
        let dims = shape.dims();
        let dx = decode(&got.dx[0], dims, false, self.input)?;
        let below = NormBelow::draw(dims);
        let sums = |column: &[(usize, f64)], clip: usize| below.sums(column, clip);
        self.check_partials("sums of a norm below", dims, &dx, &got.norm_sums, kind, sums)
    }

    /// Pairs of partial results of each clip, run of positions and channel, against `pair` of the places and values of the
    /// channel's column of `(N, …, C)` values in that run, and the clip.
    fn check_partials(
        &self,
        what: &str,
        dims: &[usize],
        values: &[f64],
        partials: &[u8],
        kind: Kind,
        pair: impl Fn(&[(usize, f64)], usize) -> [f64; 2],
    ) -> Result<(), Fault> {
        if partials.is_empty() {
            return Ok(());
        }
        let (n, c) = (dims[0], dims[dims.len() - 1]);
        let positions = values.len() / n / c;
        let (tiles, width) = (statistics::tiles(positions), 2 * pitch(c));
        let mut got = vec![0.0_f32; n * tiles * width];
        from_device(partials, width, Precision::F32, &mut got);
        let mut wanted = vec![0.0; got.len()];
        for (run, wanted) in wanted.chunks_exact_mut(width).enumerate() {
            let (clip, tile) = (run / tiles, run % tiles);
            let rows = tile * statistics::TILE..((tile + 1) * statistics::TILE).min(positions);
            for (channel, wanted) in wanted.as_chunks_mut::<2>().0.iter_mut().take(c).enumerate() {
                let at = |row: usize| (clip * positions + row) * c + channel;
                let column: Vec<_> = rows.clone().map(|row| (at(row), values[at(row)])).collect();
                *wanted = pair(&column, clip);
            }
        }
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        self.compare(what, &got, &wanted, Precision::F32, kind, 0.0)
    }
}
