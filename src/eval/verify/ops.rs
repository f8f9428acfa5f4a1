//! Single operations against a golden file, each through the same interface as in a graph.

use std::collections::BTreeMap;

use arrayvec::ArrayVec;

use super::compare::{Group, compare};
use super::golden::{Golden, GoldenFile};
use crate::graph::ParamLayout;
use crate::models::{self, BLOCKS, Role};
use crate::ops::conv3d::{self, Conv3d};
use crate::ops::instance_norm::{self, Activation};
use crate::ops::{
    Backward, Forward, Gradient, Op, ParamKind, ParamSpec, Pass, WriteMode, info_nce, linear, max_pool3d,
    slot_pool,
};
use crate::optim::{OptimConfig, Optimiser};
use crate::tensor::layout::{channels_first, channels_last};
use crate::tensor::random::Stream;
use crate::tensor::{Dtype, Real, Shape};
use crate::train::Criterion;
use crate::train::objective::{LossConfig, Objective, Reduction};
use crate::{Error, Result};

/// Everything computed, by the golden's name and in its layout.
type Computed = BTreeMap<String, Vec<f64>>;

/// Tensors that a case starts from; all others are compared.
const INPUTS: [&str; 16] = [
    "a", "b", "bias", "beta", "gamma", "res", "w", "x", "dy", "dy2d", "dy3d", "w0", "b0", "gw", "gb",
    "argmax",
];

/// Compares in precision `T`; one group a case.
///
/// # Errors
/// A file that lacks something, or has a case of an unknown operation.
pub(super) fn verify<T: Real>(file: &GoldenFile) -> Result<Vec<Group>> {
    let mut computed = Computed::new();
    for case in file.meta["cases"].as_array().ok_or_else(|| file.lacks("cases"))? {
        let name = case["case"].as_str().ok_or_else(|| file.lacks("case"))?;
        let case = Case { file, name, meta: case };
        match name.split('/').next().unwrap_or(name) {
            "conv" => case.conv::<T>(&mut computed),
            "norm" => case.norm::<T>(&mut computed),
            "maxpool" => case.max_pool::<T>(&mut computed),
            "avgpool" => case.average_pools::<T>(&mut computed),
            "linear" => case.linear::<T>(&mut computed),
            "infonce" | "slot_infonce" => case.info_nce::<T>(&mut computed),
            "heads" => case.heads::<T>(&mut computed),
            "sgd" => case.sgd::<T>(&mut computed),
            other => {
                let what = format!("case {name:?} is of an unknown operation {other:?}");
                Err(Error::data(&file.path, what, "use the tools/reference/golden.py of this version"))
            }
        }?;
    }
    generator(file, &mut computed);
    let group = |name: &str| {
        let (case, tensor) = name.rsplit_once('/')?;
        // In sgd cases `w` and `b` are results, and so is each head's gradient.
        let input = match case.split('/').next() {
            Some("sgd") => !matches!(tensor, "w" | "b"),
            Some("heads") => tensor.starts_with("slot.") || tensor.starts_with("param."),
            _ => INPUTS.contains(&tensor),
        };
        (!input).then(|| case.into())
    };
    let limit = |_: &str| match T::DTYPE {
        Dtype::F64 => 1e-6,
        // Sums of up to 3456 rounded products; ill-conditioned norm cases are allowed what they lose in f32.
        _ => 2e-6,
    };
    let limit = |case: &str| match (T::DTYPE, case) {
        // A mean of 1000 over a deviation of 1, and a deviation of 1e-3 beside √ε: f32 keeps four digits fewer.
        (Dtype::F32, "norm/offset1000") => 2e-4,
        (Dtype::F32, _) if case.starts_with("infonce/close") || case.starts_with("infonce/equal") => 2e-5,
        _ => limit(case),
    };
    compare(file, &computed, group, |_| true, limit)
}

/// The reference's random numbers are ours.
fn generator(file: &GoldenFile, out: &mut Computed) {
    let seed = file.meta["seed"].as_u64().unwrap_or(0);
    for (name, golden) in file.tensors.iter().filter(|(n, _)| n.starts_with("prng/")) {
        let stream = name.trim_start_matches("prng/").trim_end_matches("/r");
        let mut stream = Stream::new(stream, seed);
        out.insert(name.clone(), golden.data.iter().map(|_| 2.0 * stream.next_unit() - 1.0).collect());
    }
}

/// One case of the file.
struct Case<'a> {
    file: &'a GoldenFile,
    name: &'a str,
    meta: &'a serde_json::Value,
}

/// What a node computed.
struct NodeResult<T> {
    y: Vec<T>,
    dx: Vec<Vec<T>>,
    dparams: Vec<Vec<T>>,
}

/// Runs a node forward and backward.
fn run_node<T: Real>(op: &dyn Op<T>, inputs: &[&[T]], params: &[&[T]], dy: &[T]) -> NodeResult<T> {
    let words = |bytes: usize| vec![0_u64; bytes.div_ceil(8)];
    let mut saved = words(op.saved_bytes());
    let mut workspace = words(op.workspace_bytes(Pass::Forward).max(op.workspace_bytes(Pass::Backward)));
    let mut y = vec![T::NAN; op.output_shape().numel()];
    let size = |pass| op.workspace_bytes(pass);
    op.forward(Forward {
        inputs: inputs.iter().copied().collect(),
        params: params.iter().copied().collect(),
        output: &mut y,
        saved: &mut bytemuck::cast_slice_mut(&mut saved)[..op.saved_bytes()],
        workspace: &mut bytemuck::cast_slice_mut(&mut workspace)[..size(Pass::Forward)],
    });
    let mut dx: Vec<Vec<T>> = inputs.iter().map(|x| vec![T::NAN; x.len()]).collect();
    let mut dparams: Vec<Vec<T>> = params.iter().map(|p| vec![T::NAN; p.len()]).collect();
    let reads = op.backward_reads();
    let mode = WriteMode::Overwrite;
    op.backward(Backward {
        inputs: inputs.iter().map(|x| if reads.inputs { *x } else { &[] }).collect(),
        params: params.iter().copied().collect(),
        output: if reads.output { &y } else { &[] },
        saved: &bytemuck::cast_slice(&saved)[..op.saved_bytes()],
        dy,
        dx: dx.iter_mut().map(|data| Some(Gradient { data, mode })).collect(),
        dparams: dparams.iter_mut().map(|data| Gradient { data, mode }).collect::<ArrayVec<_, 2>>(),
        workspace: &mut bytemuck::cast_slice_mut(&mut workspace)[..size(Pass::Backward)],
    });
    NodeResult { y, dx, dparams }
}

impl Case<'_> {
    fn golden(&self, tensor: &str) -> Result<&Golden> {
        self.file.get(&format!("{}/{tensor}", self.name))
    }

    /// As stored.
    fn plain<T: Real>(&self, tensor: &str) -> Result<Vec<T>> {
        Ok(self.golden(tensor)?.data.iter().map(|&v| T::from_f64(v)).collect())
    }

    /// `NCTHW` or `OIDHW` to channels last.
    fn last<T: Real>(&self, tensor: &str) -> Result<Vec<T>> {
        let golden = self.golden(tensor)?;
        let data: Vec<T> = self.plain(tensor)?;
        let mut last = data.clone();
        channels_last(&data, golden.shape[1], golden.shape[2..].iter().product(), &mut last);
        Ok(last)
    }

    /// Extents of a `NCTHW` tensor as `(N, T, H, W, C)`.
    fn shape(&self, tensor: &str) -> Result<Shape> {
        match self.golden(tensor)?.shape[..] {
            [n, c, t, h, w] => Ok(Shape::new([n, t, h, w, c])),
            _ => Err(self.file.lacks(&format!("{}/{tensor} with five axes", self.name))),
        }
    }

    fn triple(&self, key: &str) -> Result<[usize; 3]> {
        let list = self.meta[key].as_array().map(|l| l.iter().filter_map(|v| v.as_u64()).map(|v| v as usize));
        let list: Option<Vec<_>> = list.map(Iterator::collect);
        list.and_then(|l| l.try_into().ok()).ok_or_else(|| self.file.lacks(&format!("{} {key}", self.name)))
    }

    fn put<T: Real>(&self, out: &mut Computed, tensor: &str, values: &[T]) {
        out.insert(format!("{}/{tensor}", self.name), values.iter().map(|v| v.to_f64()).collect());
    }

    /// Channels last back to the golden's layout.
    fn put_first<T: Real>(&self, out: &mut Computed, tensor: &str, values: &[T]) -> Result<()> {
        let shape = &self.golden(tensor)?.shape;
        let mut first = values.to_vec();
        channels_first(values, shape[1], shape[2..].iter().product(), &mut first);
        self.put(out, tensor, &first);
        Ok(())
    }

    fn conv<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let (x, w) = (&self.golden("x")?.shape, &self.golden("w")?.shape);
        let problem = conv3d::Problem::new(
            x[0],
            x[1],
            w[0],
            [x[2], x[3], x[4]],
            [w[2], w[3], w[4]],
            self.triple("stride")?,
            self.triple("pad")?,
        )?;
        let (x, w, dy): (Vec<T>, Vec<T>, Vec<T>) = (self.last("x")?, self.last("w")?, self.last("dy")?);
        let r = run_node(&Conv3d::new(problem), &[&x], &[&w], &dy);
        self.put_first(out, "y", &r.y)?;
        self.put_first(out, "dx", &r.dx[0])?;
        self.put_first(out, "dw", &r.dparams[0])
    }

    fn norm<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let shape = self.shape("x")?;
        let eps = self.meta["eps"].as_f64().ok_or_else(|| self.file.lacks("eps"))?;
        let (x, res, dy): (Vec<T>, Vec<T>, Vec<T>) = (self.last("x")?, self.last("res")?, self.last("dy")?);
        let (gamma, beta): (Vec<T>, Vec<T>) = (self.plain("gamma")?, self.plain("beta")?);
        for (tag, activation) in
            [("", Activation::Plain), ("_relu", Activation::Relu), ("_add_relu", Activation::AddRelu)]
        {
            let op = instance_norm::Problem::new(shape.clone(), activation, eps)?;
            let inputs: &[&[T]] = if activation == Activation::AddRelu { &[&x, &res] } else { &[&x] };
            let r = run_node(&op, inputs, &[&gamma, &beta], &dy);
            self.put_first(out, &format!("y{tag}"), &r.y)?;
            self.put_first(out, &format!("dx{tag}"), &r.dx[0])?;
            self.put(out, &format!("dgamma{tag}"), &r.dparams[0]);
            self.put(out, &format!("dbeta{tag}"), &r.dparams[1]);
            if let Some(dres) = r.dx.get(1) {
                self.put_first(out, &format!("dres{tag}"), dres)?;
            }
        }
        Ok(())
    }

    fn max_pool<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let (kernel, stride, pad) = (self.triple("kernel")?, self.triple("stride")?, self.triple("pad")?);
        let op = max_pool3d::Problem::new(&self.shape("x")?, kernel, stride, pad)?;
        let (x, dy): (Vec<T>, Vec<T>) = (self.last("x")?, self.last("dy")?);
        let r = run_node(&op, &[&x], &[], &dy);
        self.put_first(out, "y", &r.y)?;
        self.put_first(out, "dx", &r.dx[0]) // which element won a tie shows here
    }

    fn average_pools<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let x: Vec<T> = self.last("x")?;
        let slots = slot_pool::Problem::slots(self.shape("x")?)?;
        let r = run_node(&slots, &[&x], &[], &self.plain("dy2d")?);
        self.put(out, "y2d", &r.y);
        self.put_first(out, "dx2d", &r.dx[0])?;
        let global = slot_pool::Problem::global(Op::<T>::output_shape(&slots))?;
        let g = run_node(&global, &[&r.y], &[], &self.plain("dy3d")?);
        self.put(out, "y3d", &g.y);
        let back = run_node(&slots, &[&x], &[], &g.dx[0]);
        self.put_first(out, "dx3d", &back.dx[0])
    }

    fn linear<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let (x, w) = (&self.golden("x")?.shape, &self.golden("w")?.shape);
        let op = linear::Problem::new(Shape::new([x[0], x[1]]), w[0])?;
        let (x, w, b, dy): (Vec<T>, Vec<T>, Vec<T>, Vec<T>) =
            (self.plain("x")?, self.plain("w")?, self.plain("b")?, self.plain("dy")?);
        let r = run_node(&op, &[&x], &[&w, &b], &dy);
        self.put(out, "y", &r.y);
        self.put(out, "dx", &r.dx[0]);
        self.put(out, "dw", &r.dparams[0]);
        self.put(out, "db", &r.dparams[1]);
        Ok(())
    }

    fn info_nce<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let (videos, slots, dim) = match self.golden("a")?.shape[..] {
            [b, d] => (b, 1, d),
            [b, s, d] => (b, s, d),
            _ => return Err(self.file.lacks(&format!("{}/a with two or three axes", self.name))),
        };
        let tau = self.meta["tau"].as_f64().ok_or_else(|| self.file.lacks("tau"))?;
        let problem = info_nce::Problem::new(videos, slots, dim, tau)?;
        let (a, b): (Vec<T>, Vec<T>) = (self.plain("a")?, self.plain("b")?);
        let (mut da, mut db) = (vec![T::NAN; a.len()], vec![T::NAN; b.len()]);
        let mut workspace = vec![0_u64; problem.workspace_bytes().div_ceil(8)];
        let mode = WriteMode::Overwrite;
        let loss = problem.run(info_nce::Io {
            a: &a,
            b: &b,
            scale: 1.0,
            da: Some(Gradient { data: &mut da, mode }),
            db: Some(Gradient { data: &mut db, mode }),
            workspace: bytemuck::cast_slice_mut(&mut workspace),
        });
        self.put(out, "loss", &[loss]);
        self.put(out, "loss_mean", &[loss / videos as f64]);
        self.put(out, "da", &da);
        self.put(out, "db", &db);
        Ok(())
    }

    /// Heads and the compound loss, from slot vectors.
    fn heads<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let slot = |role: Role, block| format!("slot.{}.{block}", role.letter());
        let mut extents = [[0; 3]; 3];
        for (k, block) in BLOCKS.into_iter().enumerate() {
            extents[k] = match self.golden(&slot(Role::Anchor, block))?.shape[..] {
                [b, n, c] => [b, n, c],
                _ => return Err(self.file.lacks("heads/slot with three axes")),
            };
        }
        let mut layout = ParamLayout::default();
        layout.extend("", &models::head_params(extents.map(|e| e[2])));
        let mut params = vec![T::ZERO; layout.len()];
        for p in layout.params() {
            params[p.range.clone()].copy_from_slice(&self.plain::<T>(&format!("param.{}", p.name))?);
        }
        let mut x: [Vec<T>; 3] = Default::default();
        for (k, block) in BLOCKS.into_iter().enumerate() {
            for role in Role::ALL {
                x[k].extend(self.plain::<T>(&slot(role, block))?);
            }
        }
        let mut dx = x.clone();
        let mut gradients = vec![T::NAN; layout.len()];
        let config = LossConfig { reduction: Reduction::Sum, ..Default::default() };
        let (slots, channels) = (extents.map(|e| e[1]), extents.map(|e| e[2]));
        let mut objective = Objective::new(&config, extents[0][0], slots, channels, &layout)?;
        let losses = objective.evaluate(&params, &x, &mut dx, &mut gradients);
        self.put(out, "total", &[losses.total]);
        for (k, block) in BLOCKS.into_iter().enumerate() {
            for (letter, term) in [("s", losses.spatial[k]), ("t", losses.temporal[k])] {
                self.put(out, &format!("loss.{letter}.{block}"), &[term.expect("both contrasts are on")]);
            }
            for (role, dx) in Role::ALL.into_iter().zip(dx[k].chunks_exact(dx[k].len() / 3)) {
                self.put(out, &format!("d{}", slot(role, block)), dx);
            }
        }
        for p in layout.params() {
            self.put(out, &format!("grad.{}", p.name), &gradients[p.range.clone()]);
        }
        Ok(())
    }

    /// Where an sgd case starts. Old files hold the final weights in place of the initial ones; there the first
    /// step, `w₁ = w₀ − lr·(g₀ + 2·l2·w₀)`, is undone.
    fn start<T: Real>(&self, name: &str, twice_l2: f64, config: &OptimConfig) -> Result<Vec<T>> {
        let (start, after) = (self.golden(&format!("{name}0"))?, self.golden(name)?);
        let len = start.data.len();
        if !after.data.ends_with(&start.data) {
            return self.plain(&format!("{name}0"));
        }
        let gradients = &self.golden(&format!("g{name}"))?.data;
        let undo = |(w, g): (&f64, &f64)| T::from_f64((w + config.lr * g) / (1.0 - config.lr * twice_l2));
        Ok(after.data[..len].iter().zip(gradients).map(undo).collect())
    }

    /// Five steps of a kernel and a bias.
    fn sgd<T: Real>(&self, out: &mut Computed) -> Result<()> {
        let number = |key: &str| self.meta[key].as_f64().ok_or_else(|| self.file.lacks(key));
        let config = OptimConfig {
            lr: number("lr")?,
            momentum: number("momentum")?,
            decay: number("decay")?,
            l2: number("l2")?,
            ..Default::default()
        };
        let (w, b): (Vec<T>, Vec<T>) =
            (self.start("w", 2.0 * config.l2, &config)?, self.start("b", 0.0, &config)?);
        let (gw, gb): (Vec<T>, Vec<T>) = (self.plain("gw")?, self.plain("gb")?);
        let spec = |name, len, kind| {
            (String::from(name), ParamSpec { name: "weight", shape: Shape::new([len]), kind })
        };
        let mut layout = ParamLayout::default();
        layout.extend("", &[spec("w", w.len(), ParamKind::Kernel), spec("b", b.len(), ParamKind::Shift)]);
        let places = [layout.params()[0].range.clone(), layout.params()[1].range.clone()];
        let mut params = vec![T::ZERO; layout.len()];
        let mut gradients = params.clone();
        params[places[0].clone()].copy_from_slice(&w);
        params[places[1].clone()].copy_from_slice(&b);
        let (mut ws, mut bs) = (Vec::new(), Vec::new());
        let steps = gw.len() / w.len();
        let mut optimiser = Optimiser::new(&config, steps as u64, &layout, 0);
        for step in 0..steps {
            gradients[places[0].clone()].copy_from_slice(&gw[step * w.len()..][..w.len()]);
            gradients[places[1].clone()].copy_from_slice(&gb[step * b.len()..][..b.len()]);
            optimiser.measure(&layout, &params, &gradients);
            optimiser.update(step as u64, &layout, &mut params, &gradients);
            ws.extend_from_slice(&params[places[0].clone()]);
            bs.extend_from_slice(&params[places[1].clone()]);
        }
        self.put(out, "w", &ws);
        self.put(out, "b", &bs);
        Ok(())
    }
}
