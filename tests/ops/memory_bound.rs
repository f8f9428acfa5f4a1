//! Norms and pools are bound by memory, so each pass over it must count: every byte once, in whole sectors, without bank
//! conflicts.

use hdc::ops::instance_norm::{self, Activation, Pooled};
use hdc::ops::{Op, Precision, max_pool3d, slot_pool};
use hdc::tensor::Shape;

use crate::counted::Machine;

/// Sectors that a pass asks for, beside those of what it reads: every row of a block's threads asks for scales, shifts and
/// statistics, which all but the first find in the first-level cache. In bf16 that is up to a third of what a thread streams;
/// a second pass over the map would be more.
const SLACK: f64 = 1.5;

fn check(machine: &Machine, op: &dyn Op<f32>, label: &str) {
    for precision in [Precision::F32, Precision::Bf16] {
        for (launched, counters) in machine.count(op, precision) {
            let label = format!("{} {label} {precision:?}", launched.kernel);
            let (load, store) = (&counters.global_load, &counters.global_store);
            assert_eq!(counters.shared.conflicts, 0, "{label}: {:?}", counters.accesses);
            assert_eq!(store.bytes, store.unique_bytes, "{label}: bytes are written twice");
            // Passes over statistics alone are small; half of their sectors may be.
            if load.unique_bytes < 1 << 18 {
                continue;
            }
            let read = (load.sectors * 32) as f64 / load.unique_bytes as f64;
            assert!(read <= SLACK, "{label}: {read:.2} times what there is is read");
            let written = (store.sectors * 32) as f64;
            assert!(written <= store.bytes as f64 * 1.01 + 65_536.0, "{label}: {store:?}");
        }
    }
}

#[test]
fn norms_touch_each_byte_once_in_each_pass() {
    let Some(machine) = Machine::new() else { return };
    for activation in [Activation::Plain, Activation::Relu, Activation::AddRelu] {
        for [t, h, w, c] in [[8, 28, 28, 64], [4, 20, 20, 144], [4, 14, 14, 256]] {
            let p = instance_norm::Problem::new(Shape::new([2, t, h, w, c]), activation, 1e-5).unwrap();
            check(&machine, &p, &format!("{t}×{h}×{w}×{c} {activation:?}"));
        }
    }
}

#[test]
fn pools_touch_each_byte_once() {
    let Some(machine) = Machine::new() else { return };
    for [t, h, w, c] in [[4, 28, 28, 64], [4, 14, 14, 256]] {
        let shape = Shape::new([2, t, h, w, c]);
        let label = format!("{t}×{h}×{w}×{c}");
        check(&machine, &slot_pool::Problem::slots(shape.clone()).unwrap(), &label);
        for kernel in [[1, 2, 2], [2; 3]] {
            check(&machine, &max_pool3d::Problem::new(&shape, kernel, kernel, [0; 3]).unwrap(), &label);
            check(&machine, &Pooled::new(shape.clone(), kernel, kernel, [0; 3], 1e-5).unwrap(), &label);
        }
    }
}
