//! Whole networks against PyTorch's float64.

use std::path::Path;

use hdc::eval::verify::verify_on;
use hdc::ops::Precision;

use crate::simulator::device;

fn check(backbone: &str, precision: Precision) {
    compare(&format!("small_{backbone}"), precision, 6);
}

fn compare(file: &str, precision: Precision, groups: usize) {
    let Some(device) = device() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{file}.safetensors"));
    let report = verify_on(&path, &device, precision).unwrap();
    assert!(report.groups.len() >= groups, "{report:?}");
    for g in &report.groups {
        println!(
            "{file} {precision:?} {:<10} {:.2e}, limit {:.2e}, worst {}",
            g.name, g.rel_l2, g.limit, g.worst_at
        );
    }
    let missed: Vec<_> = report.groups.iter().filter(|g| !g.passes()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_classifier_is_as_near_as_pytorch_in_both_precisions() {
    compare("classifier_c3d", Precision::F32, 5);
    compare("classifier_c3d", Precision::Bf16, 5);
}

#[test]
fn c3d_in_f32_is_within_three_times_the_error_of_pytorch() {
    check("c3d", Precision::F32);
}

#[test]
fn r3d18_in_f32_is_within_three_times_the_error_of_pytorch() {
    check("r3d18", Precision::F32);
}

#[test]
fn r21d10_in_f32_is_within_three_times_the_error_of_pytorch() {
    check("r21d10", Precision::F32);
}

#[test]
fn c3d_in_bf16_is_within_one_and_a_half_times_the_error_of_autocast() {
    check("c3d", Precision::Bf16);
}

#[test]
fn r3d18_in_bf16_is_within_one_and_a_half_times_the_error_of_autocast() {
    check("r3d18", Precision::Bf16);
}

#[test]
fn r21d10_in_bf16_is_within_one_and_a_half_times_the_error_of_autocast() {
    check("r21d10", Precision::Bf16);
}
