//! Every operation against float64 goldens from PyTorch, numerical gradients, its own specification and the
//! contract that all operations keep.

mod augment;
mod contract;
mod conv3d;
mod conv3d_counters;
mod conv3d_strided;
mod conv3d_tiles;
mod counted;
mod cross_entropy;
mod data;
mod device;
mod golden;
mod gradient;
mod info_nce;
mod instance_norm;
mod linear;
mod max_pool3d;
mod memory_bound;
mod norm_pool;
mod sgd;
mod slot_pool;

/// Groups of golden cases, and the module that tests each.
const GOLDEN_GROUPS: [(&str, &str); 9] = [
    ("conv/", "conv3d"),
    ("norm/", "instance_norm"),
    ("maxpool/", "max_pool3d"),
    ("avgpool/", "slot_pool"),
    ("linear/", "linear"),
    ("infonce/", "info_nce"),
    ("slot_infonce/", "info_nce"),
    ("heads", "info_nce"),
    ("sgd/", "sgd"),
];

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
