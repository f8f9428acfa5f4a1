//! Counters tell the truth, where it is known by construction.

mod common;

use std::collections::BTreeMap;

use common::{Machine, Params, compile, conv, grid, told};
use ptxsim::counters::{AccessSite, Banks, Counters, Issued, Traffic};
use ptxsim::launch::Config;

/// A machine that counts.
fn machine(seed: Option<u64>) -> Machine {
    let mut machine = Machine::seeded(seed);
    machine.options.count = true;
    machine
}

/// Runs a kernel; the counters must not depend on the schedule.
fn count(ptx: &str, kernel: &str, config: Config, params: impl Fn(&Machine) -> Params) -> Counters {
    let run = |seed| {
        let machine = machine(seed);
        let outcome = machine.run(&machine.load(ptx), kernel, config, &params(&machine));
        assert!(outcome.findings.is_empty(), "{}", told(&outcome));
        outcome.counters
    };
    let counters = run(None);
    for seed in 0..3 {
        assert_eq!(run(Some(seed)), counters, "seed {seed}");
    }
    counters
}

fn counters_of(kernel: &str, config: Config, params: impl Fn(&Machine) -> Params) -> Option<Counters> {
    Some(count(&compile("counters.cu", "compute_80", &[])?, kernel, config, params))
}

fn zeros(machine: &Machine, words: usize) -> u64 {
    machine.put(&vec![0u32; words])
}

#[test]
fn strides_cost_sectors() {
    for (stride, sectors) in [(1, 4), (2, 8), (4, 16), (8, 32), (16, 32), (33, 32)] {
        let words = 4 * 64 * stride;
        let params =
            |m: &Machine| Params::default().with(zeros(m, words)).with(m.room(words * 4)).with(stride as i32);
        let Some(counters) = counters_of("copy", grid(4, 64, 0), params) else { return };
        let wanted = Traffic { requests: 8, sectors: 8 * sectors, bytes: 1024, unique_bytes: 1024 };
        assert_eq!((counters.global_load, counters.global_store), (wanted, wanted), "stride {stride}");
        assert_eq!(counters.shared, Banks::default());
        let sites = &counters.accesses;
        assert!(sites.iter().all(|s| s.requests == 8 && s.moved == 8 * sectors && s.space == "global"));
        assert!(sites.iter().all(|s| s.source.as_ref().is_some_and(|s| s.contains("counters.cu:"))));
        assert_eq!(sites.len(), 2);
    }
}

#[test]
fn a_start_between_sectors_costs_one_more() {
    let params = |m: &Machine| Params::default().with(zeros(m, 65) + 4).with(m.room(256)).with(1i32);
    let Some(counters) = counters_of("copy", grid(1, 64, 0), params) else { return };
    assert_eq!(counters.global_load, Traffic { requests: 2, sectors: 10, bytes: 256, unique_bytes: 256 });
    assert_eq!(counters.global_store, Traffic { requests: 2, sectors: 8, bytes: 256, unique_bytes: 256 });
}

#[test]
fn a_word_that_all_read_is_moved_by_each_warp_and_unique_once() {
    let params = |m: &Machine| Params::default().with(zeros(m, 1)).with(m.room(4)).with(0i32);
    let Some(ptx) = compile("counters.cu", "compute_80", &[]) else { return };
    let mut machine = machine(None);
    machine.options.check = false; // all threads write the word, too: a race
    let outcome = machine.run(&machine.load(&ptx), "copy", grid(4, 64, 0), &params(&machine));
    let wanted = Traffic { requests: 8, sectors: 8, bytes: 1024, unique_bytes: 4 };
    assert_eq!((outcome.counters.global_load, outcome.counters.global_store), (wanted, wanted));
}

#[test]
fn vectors_move_more_a_request() {
    let params = |m: &Machine| Params::default().with(zeros(m, 1024)).with(m.room(4096));
    let Some(counters) = counters_of("copy4", grid(4, 64, 0), params) else { return };
    let wanted = Traffic { requests: 8, sectors: 8 * 16, bytes: 4096, unique_bytes: 4096 };
    assert_eq!((counters.global_load, counters.global_store), (wanted, wanted));
}

#[test]
fn columns_of_shared_memory_conflict_unless_padded() {
    let params = |m: &Machine| Params::default().with(zeros(m, 1024)).with(m.room(4096));
    let shared = |counters: &Counters| {
        let sites = counters.accesses.iter().filter(|s| s.space == "shared");
        sites.map(|s| (s.requests, s.moved, s.conflicts)).collect::<Vec<_>>()
    };
    let Some(plain) = counters_of("transpose_plain", grid(1, 32, 0), params) else { return };
    assert_eq!(plain.shared, Banks { requests: 64, passes: 32 + 32 * 32, conflicts: 32 * 31 });
    assert_eq!(shared(&plain), [(32, 32, 0), (32, 32 * 32, 32 * 31)]);
    let Some(padded) = counters_of("transpose_padded", grid(1, 32, 0), params) else { return };
    assert_eq!(padded.shared, Banks { requests: 64, passes: 64, conflicts: 0 });
    assert_eq!(shared(&padded), [(32, 32, 0), (32, 32, 0)]);
    assert_eq!((plain.global_load, plain.global_store), (padded.global_load, padded.global_store));
    assert_eq!(plain.global_load.sectors, 32 * 4);
}

#[test]
fn products_of_matrices() {
    let (m, n, k) = (48u32, 40, 80);
    let config = Config { grid: [m / 16, n / 8, 1], block: [32, 1, 1], dynamic_shared: 0 };
    let params = |machine: &Machine| {
        let [a, b] = [m, n].map(|rows| zeros(machine, (rows * k / 2) as usize));
        Params::default().with(a).with(b).with(machine.room((m * n * 4) as usize)).with((k / 16) as i32)
    };
    let Some(counters) = counters_of("gemm", config, params) else { return };
    let (m, n, k) = (u64::from(m), u64::from(n), u64::from(k));
    assert_eq!(counters.mma_flops, 2 * m * n * k);
    let issued = m / 16 * (n / 8) * (k / 16);
    assert_eq!(counters.instructions["mma"], Issued { warps: issued, threads: 32 * issued });
    // Each row of tiles reads all of b, each column all of a.
    let moved = 2 * (m * k * (n / 8) + n * k * (m / 16));
    assert_eq!((counters.global_load.bytes, counters.global_load.unique_bytes), (moved, 2 * (m + n) * k));
    assert_eq!(counters.global_store.unique_bytes, 4 * m * n);
}

#[test]
fn branches_that_part_a_warp() {
    for (bound, divergent, sectors) in [(0, 0, 4), (7, 3, 1 + 4), (8, 3, 1 + 3), (32, 0, 4)] {
        // Three blocks write the same words.
        let params = |m: &Machine| Params::default().with(zeros(m, 32)).with(bound);
        let Some(ptx) = compile("counters.cu", "compute_80", &[]) else { return };
        let mut machine = machine(None);
        machine.options.check = false;
        let outcome = machine.run(&machine.load(&ptx), "branches", grid(3, 32, 0), &params(&machine));
        let counters = outcome.counters;
        assert_eq!(counters.divergent_branches, divergent, "bound {bound}");
        assert_eq!(counters.global_store.sectors, 3 * sectors, "bound {bound}");
        let issued = |class: &str| counters.instructions.get(class).map_or(0, |i| i.threads);
        assert_eq!(issued("global"), 3 * bound as u64, "bound {bound}");
        assert_eq!(issued("atomic"), 3 * (32 - bound) as u64, "bound {bound}");
        // The lanes that come first to `__syncwarp` wait there and are counted once.
        assert_eq!(counters.instructions["barrier"], Issued { warps: 3, threads: 96 }, "bound {bound}");
    }
}

#[test]
fn matrices_of_shared_memory_conflict_unless_swizzled() {
    for (swizzle, passes) in [(0, 4 * 4), (1, 4)] {
        let params = |m: &Machine| Params::default().with(m.room(128)).with(swizzle);
        let Some(counters) = counters_of("matrices", grid(1, 32, 4096), params) else { return };
        let shared: Vec<&AccessSite> = counters.accesses.iter().filter(|s| s.space == "shared").collect();
        let loads: Vec<_> = shared.iter().filter(|s| s.requests == 4).collect();
        assert_eq!(loads.len(), 1, "{shared:?}");
        assert_eq!((loads[0].moved, loads[0].conflicts), (passes, passes - 4), "swizzle {swizzle}");
        assert_eq!(counters.shared.conflicts, passes - 4);
        assert_eq!(counters.instructions["matrix"], Issued { warps: 1, threads: 32 });
    }
}

#[test]
fn atomic_operations() {
    let params = |m: &Machine| Params::default().with(zeros(m, 40));
    let Some(counters) = counters_of("atomics", grid(3, 64, 0), params) else { return };
    assert_eq!(counters.instructions["atomic"], Issued { warps: 3 * 4, threads: 3 * (64 + 1 + 32) });
    let wanted = Traffic { requests: 6, sectors: 3 * 5, bytes: 3 * 132, unique_bytes: 132 };
    assert_eq!((counters.global_store, counters.global_load), (wanted, Traffic::default()));
    // Zeroed by one lane, added to by two warps, read by one lane.
    assert_eq!(counters.shared, Banks { requests: 3 * 4, passes: 3 * 4, conflicts: 0 });
}

#[test]
fn instructions_in_a_straight_line() {
    let ptx = include_str!("ptx/straight.ptx");
    let params = |m: &Machine| Params::default().with(m.room(256));
    let counters = count(ptx, "straight", grid(1, 64, 0), params);
    let classes = [
        ("barrier", 1),
        ("collective", 1),
        ("compare", 1),
        ("control", 1),
        ("convert", 4),
        ("fence", 1),
        ("float32", 2),
        ("global", 1),
        ("integer", 6),
        ("move", 5),
        ("param", 1),
        ("shared", 2),
    ];
    let mut wanted: BTreeMap<_, _> =
        classes.map(|(class, count)| (class, Issued { warps: 2 * count, threads: 64 * count })).into();
    // One of the additions is for eight threads.
    wanted.insert("integer", Issued { warps: 12, threads: 5 * 64 + 8 });
    assert_eq!(counters.instructions, wanted);
    assert_eq!(counters.divergent_branches, 0);
}

#[test]
fn lanes_that_wait_for_others_are_counted_once() {
    // The lanes that do not jump come to the shuffle first, the others from behind it.
    let ptx = ".version 8.0\n.target sm_80\n.address_size 64\n\
               .visible .entry meet(.param .u64 y) {\n.reg .pred %p;\n.reg .b32 %r<2>;\n.reg .b64 %rd;\n\
               ld.param.u64 %rd, [y];\nmov.u32 %r0, %tid.x;\nsetp.lt.u32 %p, %r0, 8;\n@%p bra FAR;\n\
               MEET: shfl.sync.idx.b32 %r1, %r0, 0, 31, 0xffffffff;\nret;\n\
               FAR: add.u32 %r0, %r0, 1;\nbra MEET;\n}\n";
    let counters = count(ptx, "meet", grid(1, 32, 0), |m| Params::default().with(m.room(4)));
    assert_eq!(counters.instructions["collective"], Issued { warps: 1, threads: 32 });
    assert_eq!(counters.instructions["integer"], Issued { warps: 1, threads: 8 });
    assert_eq!(counters.divergent_branches, 1);
}

#[test]
fn the_convolutions_move_each_byte_and_have_no_bank_conflict() {
    let Some(ptx) = compile("conv.cu", "compute_80", &[]) else { return };
    let machine = machine(None);
    let counters = conv::prepare80(&machine).run(&machine, &machine.load(&ptx)).counters;
    // Five tiles of 64 pixels, of which 270 are.
    assert_eq!(counters.mma_flops, 2 * 5 * 64 * 64 * 27 * 64);
    assert_eq!(counters.shared.conflicts, 0);
    let (input, filters, output) = (2 * 270 * 64, 2 * 27 * 64 * 64, 2 * 270 * 64);
    assert_eq!(counters.global_load.unique_bytes, input + filters);
    assert_eq!((counters.global_store.bytes, counters.global_store.unique_bytes), (output, output));

    let Some(unswizzled) = compile("conv.cu", "compute_80", &["PLANT_SWZ"]) else { return };
    let counters = conv::prepare80(&machine).run(&machine, &machine.load(&unswizzled)).counters;
    assert!(counters.shared.conflicts > 0);

    let Some(ptx) = compile("conv90.cu", "compute_90a", &[]) else { return };
    let counters = conv::prepare90(&machine).run(&machine, &machine.load(&ptx)).counters;
    // Three frames in two by two boxes of 64 pixels.
    assert_eq!(counters.mma_flops, 2 * 12 * 64 * 64 * 27 * 64);
    assert_eq!(counters.global_load.unique_bytes, input + filters);
    assert_eq!((counters.global_store.bytes, counters.global_store.unique_bytes), (output, output));
}
