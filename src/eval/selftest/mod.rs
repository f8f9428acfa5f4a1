//! Every operation on a CUDA device against its specification in float64.

pub mod augmentation;
pub mod classification;
pub mod contrast;
mod norm_below;
pub mod optimiser;
pub mod problems;
mod subject;
mod values;

use std::sync::Arc;

use serde::Serialize;

use problems::Case;
pub use subject::{Fault, run};
use subject::{Kind, Reference, Subject};

use crate::device::Device;
use crate::ops::{Backward, Forward};
use crate::ops::{Op, Pass, Precision, WriteMode, conv3d, instance_norm, linear, max_pool3d, slot_pool};

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

/// Elements that a problem has at most where the device is simulated: the largest ones take minutes there, and are
/// among `tests/ops`.
const SIMULATED: u64 = 1 << 17;

/// Tries every operation in both precisions. `progress` is called after each problem.
///
/// # Errors
/// None of the device: those are faults.
pub fn selftest(device: &Arc<Device>, mut progress: impl FnMut(usize, usize)) -> crate::Result<Vec<Verdict>> {
    let mut cases = problems::cases()?;
    if device.properties().name.contains("ptxsim") {
        cases.retain(|case| case.op().cost(Pass::Forward).elements <= SIMULATED);
    }
    let mut verdicts: Vec<Verdict> = Vec::new();
    let (mut done, all) = (0, 2 * cases.len() + 6);
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
    let mut check = |op, precision, checked: &mut dyn Iterator<Item = Result<(), Fault>>| {
        let mut verdict = Verdict { op, precision, problems: 0, faults: Vec::new() };
        for outcome in checked {
            verdict.problems += 1;
            verdict.faults.extend(outcome.err());
        }
        verdicts.push(verdict);
        done += 1;
        progress(done, all);
    };
    for (precision, name) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
        let sides = augmentation::SIDES.iter();
        check(
            "augment",
            name,
            &mut sides.map(|&(side, clips)| augmentation::check(device, precision, side, clips)),
        );
    }
    let terms = [&contrast::TERMS[..], &contrast::TILES].concat();
    check(
        "info_nce",
        "f32",
        &mut terms.chunks(contrast::AT_ONCE).map(|terms| contrast::check(device, terms)),
    );
    let rows = classification::EXTENTS.iter();
    check("cross_entropy", "f32", &mut rows.map(|&extents| classification::check(device, extents)));
    let lengths = classification::LENGTHS.iter();
    check("dropout", "f32", &mut lengths.map(|&len| classification::check_dropout(device, len)));
    let updates = optimiser::cases();
    check("sgd", "f32", &mut updates.iter().map(|(config, spoil)| optimiser::check(device, config, *spoil)));
    Ok(verdicts)
}

/// What does not hold of a case.
pub fn try_case(device: &Arc<Device>, case: &Case, op: &dyn Op<f64>, precision: Precision) -> Vec<Fault> {
    let vectors = matches!(op.kind(), "linear" | "global_pool"); // f32 in both precisions
    let pooled = op.kind() == "slot_pool";
    let kinds: &[Kind] = match case {
        Case::Convolution(_) | Case::Pool(_) | Case::Linear(_) => &[Kind::Integer, Kind::Real],
        // In bf16 many a window of real numbers has several largest ones, which float64 tells apart.
        Case::NormPool(_) if precision == Precision::Bf16 => &[Kind::Coarse],
        Case::NormPool(_) => &[Kind::Coarse, Kind::Real],
        Case::Norm(_) | Case::Slots(_) => &[Kind::Real],
    };
    let try_kind = |&kind: &Kind| {
        let subject = Subject {
            label: format!("{} {precision:?} {}", op.kind(), describe(case)),
            op,
            precision,
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
