//! Every operation against float64 goldens from PyTorch, numerical gradients, its own specification and the
//! contract that all operations keep.

mod contract;
mod data;
mod golden;
mod gradient;
mod instance_norm;

/// Groups of golden cases, and the module that tests each.
const GOLDEN_GROUPS: [(&str, &str); 2] = [("conv/", "conv3d"), ("norm/", "instance_norm")];

#[test]
fn every_golden_case_belongs_to_a_tested_group() {
    let names = golden::cases("");
    assert!(names.len() >= 60, "only {} cases in the golden file", names.len());
    for name in &names {
        assert!(
            GOLDEN_GROUPS.iter().any(|(group, _)| name.starts_with(group)),
            "golden case {name} is tested nowhere"
        );
    }
    for (group, module) in GOLDEN_GROUPS {
        assert!(names.iter().any(|n| n.starts_with(group)), "{module} finds no golden case {group}");
    }
}
