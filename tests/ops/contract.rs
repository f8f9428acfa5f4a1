//! The contract that every operation keeps, checked for any `dyn Op`:
//! it writes all of its outputs and nothing else, reads only what it says, gives the same bits again, with
//! any number of threads and for clips together or one at a time, adds where told to, and agrees with its
//! specification.

use hdc::ops::{Backward, Forward, Gradient, Op, Pass, WriteMode};
use hdc::tensor::Real;

use crate::data::{Kind, assert_close, assert_same_bits, random, to_f64};

/// An operation's specification, on the same buffers.
pub struct Reference<'a, T> {
    pub forward: &'a dyn Fn(Forward<'_, T>),
    pub backward: &'a dyn Fn(Backward<'_, T>),
}

/// Elements (or bytes) on either side of a buffer that must stay as they are.
const GUARD: usize = 64;

/// A buffer between guards, all of it NaN at first.
struct Guarded<T> {
    all: Vec<T>,
    len: usize,
}

impl<T: Real> Guarded<T> {
    fn new(len: usize) -> Self {
        Self { all: vec![T::NAN; len + 2 * GUARD], len }
    }

    fn holding(values: &[T]) -> Self {
        let mut new = Self::new(values.len());
        new.get().copy_from_slice(values);
        new
    }

    fn get(&mut self) -> &mut [T] {
        &mut self.all[GUARD..GUARD + self.len]
    }

    /// The contents, once the guards are seen to be whole.
    fn take(mut self, label: &str) -> Vec<T> {
        let tail = self.all.split_off(GUARD + self.len);
        let body = self.all.split_off(GUARD);
        for (side, guard) in [("before", self.all), ("after", tail)] {
            let whole = guard.iter().all(|v| bytemuck::bytes_of(v) == bytemuck::bytes_of(&T::NAN));
            assert!(whole, "{label}: wrote {side} its buffer");
        }
        body
    }
}

/// Bytes between guards, 64-byte aligned, all 0xFF (NaN in f32 and f64) at first.
struct GuardedBytes {
    all: Vec<u8>,
    start: usize,
    len: usize,
}

impl GuardedBytes {
    fn new(len: usize) -> Self {
        let all = vec![0xFF; len + 2 * GUARD + 64];
        let start = GUARD + (64 - (all.as_ptr() as usize + GUARD) % 64) % 64;
        Self { all, start, len }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.all[self.start..self.start + self.len]
    }

    fn check(&self, label: &str) {
        let (head, rest) = self.all.split_at(self.start);
        let tail = &rest[self.len..];
        assert!(head.iter().chain(tail).all(|&b| b == 0xFF), "{label}: wrote outside its buffer");
    }
}

/// What goes into an operation.
pub struct Feed<T> {
    pub inputs: Vec<Vec<T>>,
    pub params: Vec<Vec<T>>,
    pub dy: Vec<T>,
}

impl<T: Real> Feed<T> {
    /// Random data of the right sizes.
    pub fn random(op: &dyn Op<T>, kind: Kind, seed: u64) -> Self {
        let sizes = |i: usize, n| random(kind, &format!("{} {i}", op.kind()), seed, n);
        Self {
            inputs: op.input_shapes().iter().enumerate().map(|(i, s)| sizes(i, s.numel())).collect(),
            params: op.params().iter().enumerate().map(|(i, p)| sizes(10 + i, p.shape.numel())).collect(),
            dy: sizes(20, op.output_shape().numel()),
        }
    }

    /// The part that belongs to clip `i` of `n`.
    fn clip(&self, i: usize, n: usize) -> Self {
        let cut = |v: &Vec<T>| v[i * v.len() / n..(i + 1) * v.len() / n].to_vec();
        Self { inputs: self.inputs.iter().map(cut).collect(), params: self.params.clone(), dy: cut(&self.dy) }
    }
}

/// What comes out of a forward pass.
#[derive(Clone)]
pub struct Forwarded<T> {
    pub output: Vec<T>,
    pub saved: Vec<u8>,
}

/// Runs `pass` (an operation's forward, or its specification) on guarded buffers.
pub fn forward<T: Real>(
    label: &str,
    op: &dyn Op<T>,
    feed: &Feed<T>,
    pass: &dyn Fn(Forward<'_, T>),
) -> Forwarded<T> {
    let mut output = Guarded::new(op.output_shape().numel());
    let mut saved = GuardedBytes::new(op.saved_bytes());
    let mut workspace = GuardedBytes::new(op.workspace_bytes(Pass::Forward));
    pass(Forward {
        inputs: feed.inputs.iter().map(Vec::as_slice).collect(),
        params: feed.params.iter().map(Vec::as_slice).collect(),
        output: output.get(),
        saved: saved.get(),
        workspace: workspace.get(),
    });
    workspace.check(&format!("{label} workspace"));
    saved.check(&format!("{label} saved"));
    let output = output.take(&format!("{label} output"));
    let gap = output.iter().position(|v| !v.is_finite());
    assert!(gap.is_none(), "{label} output: [{}] was not written or is not finite", gap.unwrap());
    Forwarded { output, saved: saved.get().to_vec() }
}

/// What comes out of a backward pass: one an input (empty where none was wanted), one a parameter.
#[derive(Clone)]
pub struct Gradients<T> {
    pub dx: Vec<Vec<T>>,
    pub dparams: Vec<Vec<T>>,
}

/// How a backward pass is to be run.
struct BackwardCall<'a, T> {
    /// `Some`: add to these.
    before: Option<&'a Gradients<T>>,
    /// Whether the first input wants a gradient.
    first_input: bool,
    /// Give it inputs and output whether or not it says that it reads them.
    all_reads: bool,
}

impl<T> BackwardCall<'_, T> {
    const PLAIN: Self = Self { before: None, first_input: true, all_reads: false };
}

/// Runs `pass` (an operation's backward) on guarded buffers, giving it only what it says that it reads.
pub fn backward<T: Real>(
    label: &str,
    op: &dyn Op<T>,
    feed: &Feed<T>,
    forwarded: &Forwarded<T>,
    pass: &dyn Fn(Backward<'_, T>),
) -> Gradients<T> {
    backward_call(label, op, feed, forwarded, pass, BackwardCall::PLAIN)
}

fn backward_call<T: Real>(
    label: &str,
    op: &dyn Op<T>,
    feed: &Feed<T>,
    forwarded: &Forwarded<T>,
    pass: &dyn Fn(Backward<'_, T>),
    call: BackwardCall<'_, T>,
) -> Gradients<T> {
    let reads = op.backward_reads();
    let mode = if call.before.is_some() { WriteMode::Accumulate } else { WriteMode::Overwrite };
    let start = |before: Option<&Vec<T>>, len| before.map_or(Guarded::new(len), |v| Guarded::holding(v));
    let lens = feed.inputs.iter().map(Vec::len).enumerate();
    let mut dx: Vec<_> = lens.map(|(i, len)| start(call.before.map(|b| &b.dx[i]), len)).collect();
    let lens = feed.params.iter().map(Vec::len).enumerate();
    let mut dparams: Vec<_> = lens.map(|(i, len)| start(call.before.map(|b| &b.dparams[i]), len)).collect();
    let mut saved = GuardedBytes::new(forwarded.saved.len());
    saved.get().copy_from_slice(&forwarded.saved);
    let mut workspace = GuardedBytes::new(op.workspace_bytes(Pass::Backward));
    let wanted = |i: usize| i > 0 || call.first_input;
    pass(Backward {
        inputs: feed
            .inputs
            .iter()
            .map(|v| if reads.inputs || call.all_reads { v.as_slice() } else { &[] })
            .collect(),
        params: feed.params.iter().map(Vec::as_slice).collect(),
        output: if reads.output || call.all_reads { &forwarded.output } else { &[] },
        saved: saved.get(),
        dy: &feed.dy,
        dx: dx
            .iter_mut()
            .enumerate()
            .map(|(i, d)| wanted(i).then(|| Gradient { data: d.get(), mode }))
            .collect(),
        dparams: dparams.iter_mut().map(|d| Gradient { data: d.get(), mode }).collect(),
        workspace: workspace.get(),
    });
    workspace.check(&format!("{label} workspace"));
    let take = |what: &str, i: usize, buffer: Guarded<T>, wanted: bool| {
        let label = format!("{label} {what}{i}");
        let values = buffer.take(&label);
        if !wanted {
            return vec![];
        }
        let gap = values.iter().position(|v| !v.is_finite());
        assert!(gap.is_none(), "{label}: [{}] was not written or is not finite", gap.unwrap());
        values
    };
    Gradients {
        dx: dx.into_iter().enumerate().map(|(i, b)| take("dx", i, b, wanted(i))).collect(),
        dparams: dparams.into_iter().enumerate().map(|(i, b)| take("dparam", i, b, true)).collect(),
    }
}

fn assert_same_gradients<T: Real>(label: &str, got: &Gradients<T>, want: &Gradients<T>) {
    for (i, (g, w)) in got.dx.iter().zip(&want.dx).enumerate() {
        assert_same_bits(&format!("{label} dx{i}"), g, w);
    }
    for (i, (g, w)) in got.dparams.iter().zip(&want.dparams).enumerate() {
        assert_same_bits(&format!("{label} dparam{i}"), g, w);
    }
}

fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

/// Checks the whole contract. `make(n)` is the operation for n clips (the outermost extent); a `tolerance`
/// of 0 asks for exactness, which integer data allow where an operation only adds and multiplies.
pub fn check<T: Real>(
    label: &str,
    clips: usize,
    make: &dyn Fn(usize) -> Box<dyn Op<T>>,
    reference: &Reference<'_, T>,
    kind: Kind,
    tolerance: f64,
) {
    let seed = 1;
    let op = &*make(clips);
    let label = &format!("{} {label} clips={clips} {:?} {kind:?} seed={seed}", op.kind(), T::DTYPE);
    let feed = &Feed::random(op, kind, seed);
    let op_forward: &(dyn Fn(Forward<'_, T>) + Sync) = &|io| op.forward(io);
    let op_backward: &(dyn Fn(Backward<'_, T>) + Sync) = &|io| op.backward(io);

    let y = forward(label, op, feed, op_forward);
    let d = backward(label, op, feed, &y, op_backward);

    for threads in [1, 2] {
        let label = &format!("{label}, again with {threads} threads");
        let (y2, d2) = with_threads(threads, || {
            let y2 = forward(label, op, feed, op_forward);
            let d2 = backward(label, op, feed, &y2, op_backward);
            (y2, d2)
        });
        assert_same_bits(&format!("{label}: output"), &y2.output, &y.output);
        assert_eq!(y2.saved, y.saved, "{label}: saved");
        assert_same_gradients(label, &d2, &d);
    }

    let wanted = forward(&format!("{label} reference"), op, feed, reference.forward);
    assert_close(&format!("{label} output"), &y.output, &to_f64(&wanted.output), tolerance, 0.0);
    let all = BackwardCall { all_reads: true, ..BackwardCall::PLAIN };
    let wanted = backward_call(&format!("{label} reference"), op, feed, &wanted, reference.backward, all);
    let compare = |got: &Gradients<T>, before: Option<&Gradients<T>>| {
        let plus = |v: &[T], b: Option<&Vec<T>>| -> Vec<f64> {
            let b = b.map_or(vec![0.0; v.len()], |b| to_f64(b));
            v.iter().zip(b).map(|(v, b)| v.to_f64() + b).collect()
        };
        let how = if before.is_some() { "accumulated " } else { "" };
        for (i, g) in got.dx.iter().enumerate() {
            let want = plus(&wanted.dx[i], before.map(|b| &b.dx[i]));
            // A dx may be a small difference of terms of the size of dy, which is about 0.5.
            let scale = if tolerance > 0.0 { 0.5 * (g.len() as f64).sqrt() } else { 0.0 };
            assert_close(&format!("{label} {how}dx{i}"), g, &want, tolerance, scale);
        }
        for (i, g) in got.dparams.iter().enumerate() {
            let want = plus(&wanted.dparams[i], before.map(|b| &b.dparams[i]));
            assert_close(&format!("{label} {how}dparam{i}"), g, &want, tolerance, 0.0);
        }
    };
    compare(&d, None);

    let before = Gradients {
        dx: feed.inputs.iter().map(|v| random(kind, "before", 7, v.len())).collect(),
        dparams: feed.params.iter().map(|v| random(kind, "before", 8, v.len())).collect(),
    };
    let adding = BackwardCall { before: Some(&before), ..BackwardCall::PLAIN };
    compare(&backward_call(label, op, feed, &y, op_backward, adding), Some(&before));

    let without = BackwardCall { first_input: false, ..BackwardCall::PLAIN };
    let d2 = backward_call(label, op, feed, &y, op_backward, without);
    for (i, (got, want)) in d2.dx.iter().zip(&d.dx).enumerate().skip(1) {
        assert_same_bits(&format!("{label} dx{i} without dx0"), got, want);
    }
    for (i, (got, want)) in d2.dparams.iter().zip(&d.dparams).enumerate() {
        assert_same_bits(&format!("{label} dparam{i} without dx0"), got, want);
    }

    one_clip_at_a_time(label, clips, &*make(1), feed, (&y, &d));
}

/// Running clips one after the other, parameters' gradients accumulating, must give the bits of running
/// them at once: chunks of a batch then change nothing.
fn one_clip_at_a_time<T: Real>(
    label: &str,
    clips: usize,
    op: &dyn Op<T>,
    feed: &Feed<T>,
    (y, d): (&Forwarded<T>, &Gradients<T>),
) {
    let label = &format!("{label}, one clip at a time");
    let mut output = vec![];
    let mut dx = vec![vec![]; feed.inputs.len()];
    let mut dparams: Option<Vec<Vec<T>>> = None;
    for i in 0..clips {
        let feed = feed.clip(i, clips);
        let y = forward(label, op, &feed, &|io| op.forward(io));
        let before = dparams.take().map(|dparams| Gradients {
            dx: feed.inputs.iter().map(|v| vec![T::ZERO; v.len()]).collect(),
            dparams,
        });
        let call = BackwardCall { before: before.as_ref(), ..BackwardCall::PLAIN };
        let d = backward_call(label, op, &feed, &y, &|io| op.backward(io), call);
        output.extend(y.output);
        dx.iter_mut().zip(d.dx).for_each(|(all, one)| all.extend(one));
        dparams = Some(d.dparams);
    }
    assert_same_bits(&format!("{label} output"), &output, &y.output);
    let plus_zero = |d: &Vec<Vec<T>>| -> Vec<Vec<T>> {
        // Accumulating into 0 turns −0 into 0.
        d.iter().map(|v| v.iter().map(|&v| v + T::ZERO).collect()).collect()
    };
    let got = Gradients { dx: plus_zero(&dx), dparams: dparams.unwrap() };
    let want = Gradients { dx: plus_zero(&d.dx), dparams: d.dparams.clone() };
    assert_same_gradients(label, &got, &want);
}
