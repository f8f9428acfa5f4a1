//! Every operation on a CUDA device against its specification in float64.

mod others;
mod problems;
mod subject;

use std::sync::Arc;

use serde::Serialize;

use problems::Case;
pub use subject::{Fault, Kind, Reference, Subject, round, run};

use crate::device::Device;
use crate::ops::{Backward, Forward};
use crate::ops::{Op, Precision, WriteMode, conv3d, instance_norm, linear, max_pool3d, slot_pool};

/// How one operation fared in one precision.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The operation.
    pub op: &'static str,
    /// f32 or bf16.
    pub precision: &'static str,
    /// Problems tried.
    pub problems: usize,
    /// What did not hold.
    pub faults: Vec<Fault>,
}

/// Tries every operation in both precisions. `progress` is called after each problem.
///
/// # Errors
/// None of the device: those are faults.
pub fn selftest(device: &Arc<Device>, mut progress: impl FnMut(usize, usize)) -> crate::Result<Vec<Verdict>> {
    let cases = problems::cases()?;
    let mut verdicts: Vec<Verdict> = Vec::new();
    let (mut done, all) = (0, 2 * cases.len() + 4);
    for (precision, name) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
        for case in &cases {
            let op = case.op();
            let verdict = match verdicts.iter_mut().find(|v| v.op == op.kind() && v.precision == name) {
                Some(verdict) => verdict,
                None => {
                    verdicts.push(Verdict {
                        op: op.kind(),
                        precision: name,
                        problems: 0,
                        faults: Vec::new(),
                    });
                    verdicts.last_mut().expect("pushed above")
                }
            };
            verdict.problems += 1;
            verdict.faults.extend(try_case(device, case, &*op, precision));
            done += 1;
            progress(done, all);
        }
    }
    type Check<'a> = &'a dyn Fn() -> Result<(), Fault>;
    let others: [(&str, &str, Check<'_>); 4] = [
        ("augment", "f32", &|| others::augmentation(device, Precision::F32)),
        ("augment", "bf16", &|| others::augmentation(device, Precision::Bf16)),
        ("info_nce", "f32", &|| others::contrast(device)),
        ("sgd", "f32", &|| others::optimiser(device)),
    ];
    for (op, precision, check) in others {
        let faults = check().err().into_iter().collect();
        verdicts.push(Verdict { op, precision, problems: 1, faults });
        done += 1;
        progress(done, all);
    }
    Ok(verdicts)
}

/// What does not hold of a case.
fn try_case(device: &Arc<Device>, case: &Case, op: &dyn Op<f64>, precision: Precision) -> Vec<Fault> {
    let vectors = matches!(op.kind(), "linear" | "global_pool"); // f32 in both precisions
    let pooled = op.kind() == "slot_pool";
    let kinds: &[Kind] = match case {
        Case::Convolution(_) | Case::Pool(_) | Case::Linear(_) => &[Kind::Integer, Kind::Real],
        Case::NormPool(_) => &[Kind::Coarse],
        Case::Norm(_) | Case::Slots(_) => &[Kind::Real],
    };
    let try_kind = |&kind: &Kind| {
        let subject = Subject {
            label: format!("{} {precision:?} {}", op.kind(), describe(case)),
            op,
            precision: if vectors { Precision::F32 } else { precision },
            input: if vectors { Precision::F32 } else { precision },
            output: if vectors || pooled { Precision::F32 } else { precision },
        };
        let reference = Reference { forward: &|io| forward(case, io), backward: &|io| backward(case, io) };
        subject.check(device, &reference, kind).err()
    };
    kinds.iter().filter_map(try_kind).collect()
}

fn describe(case: &Case) -> String {
    match case {
        Case::Convolution(p) => format!("{p:?}"),
        Case::Norm(p) => format!("{p:?}"),
        Case::Pool(p) => format!("{p:?}"),
        Case::NormPool(p) => format!("{p:?}"),
        Case::Slots(p) => format!("{p:?}"),
        Case::Linear(p) => format!("{p:?}"),
    }
}

fn forward(case: &Case, io: Forward<'_, f64>) {
    match case {
        Case::Convolution(p) => conv3d::reference::fprop(p, io.inputs[0], io.params[0], io.output),
        Case::Norm(p) => instance_norm::reference::forward(p, io),
        Case::Pool(p) => max_pool3d::reference::forward(p, io),
        Case::NormPool(p) => instance_norm::reference::pooled_forward(p, io),
        Case::Slots(p) => slot_pool::reference::forward(p, io),
        Case::Linear(p) => linear::reference::forward(p, io),
    }
}

fn backward(case: &Case, io: Backward<'_, f64>) {
    match case {
        Case::Convolution(p) => {
            let (x, w, dy, mode) = (io.inputs[0], io.params[0], io.dy, WriteMode::Overwrite);
            io.dparams.into_iter().for_each(|dw| conv3d::reference::wgrad(p, x, dy, dw.data, mode));
            io.dx.into_iter().flatten().for_each(|dx| conv3d::reference::dgrad(p, dy, w, dx.data, mode));
        }
        Case::Norm(p) => instance_norm::reference::backward(p, io),
        Case::Pool(p) => max_pool3d::reference::backward(p, io),
        Case::NormPool(p) => instance_norm::reference::pooled_backward(p, io),
        Case::Slots(p) => slot_pool::reference::backward(p, io),
        Case::Linear(p) => linear::reference::backward(p, io),
    }
}
