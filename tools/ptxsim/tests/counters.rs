//! Counters tell the truth, where it is known by construction.

mod common;

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::path::Path;
use std::process::Command;
use std::ptr::null_mut;

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

unsafe extern "C" {
    fn cuInit(flags: u32) -> u32;
    fn cuCtxCreate_v2(context: *mut usize, flags: u32, device: i32) -> u32;
    fn cuCtxSynchronize() -> u32;
    fn cuModuleLoadData(module: *mut usize, image: *const c_void) -> u32;
    fn cuModuleGetFunction(function: *mut usize, module: usize, name: *const std::ffi::c_char) -> u32;
    fn cuMemAlloc_v2(address: *mut u64, len: usize) -> u32;
    fn cuLaunchKernel(
        f: usize,
        gx: u32,
        gy: u32,
        gz: u32,
        bx: u32,
        by: u32,
        bz: u32,
        shared: u32,
        stream: usize,
        params: *mut *const c_void,
        extra: *mut *const c_void,
    ) -> u32;
}

const FILL: &std::ffi::CStr = c".version 8.0
.target sm_80
.address_size 64
.visible .entry fill(.param .u64 y)
{
    .reg .b32 %r;
    .reg .b64 %rd<3>;
    .loc 1 12 3
    ld.param.u64 %rd0, [y];
    mov.u32 %r, %tid.x;
    mul.wide.u32 %rd1, %r, 4;
    add.u64 %rd2, %rd0, %rd1;
    .loc 1 13 5
    st.global.b32 [%rd2], %r;
    ret;
}
.file 1 \"fill.cu\"
";

/// What the process does whose report is looked at: a launch within bounds, and one beyond.
fn launches() {
    let (mut context, mut module, mut function, mut y) = (0, 0, 0, 0u64);
    let launch = |function: usize, y: u64, threads: u32| {
        let mut params = [&raw const y as *const c_void];
        // SAFETY: the function takes one pointer, which lives here until the call returns.
        unsafe {
            cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, 0, params.as_mut_ptr(), null_mut());
            cuCtxSynchronize()
        }
    };
    // SAFETY: live locals of the right type, and a string that ends with zero.
    unsafe {
        assert_eq!(cuInit(0), 0);
        assert_eq!(cuCtxCreate_v2(&mut context, 0, 0), 0);
        assert_eq!(cuModuleLoadData(&mut module, FILL.as_ptr().cast()), 0);
        assert_eq!(cuModuleGetFunction(&mut function, module, c"fill".as_ptr()), 0);
        assert_eq!(cuMemAlloc_v2(&mut y, 128), 0);
    }
    assert_eq!(launch(function, y, 32), 0);
    assert_eq!(launch(function, y, 33), 700);
}

/// Does [`launches`] in a process of its own; what it wrote to standard error.
fn report_to(path: &Path) -> String {
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["reports_are_one_object_a_line", "--exact", "--nocapture"])
        .env("PTXSIM_TEST_PROCESS", "1")
        .env("PTXSIM_REPORT", path)
        .output()
        .expect("this program runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    errors
}

#[test]
fn reports_are_one_object_a_line() {
    if std::env::var_os("PTXSIM_TEST_PROCESS").is_some() {
        return launches();
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("report.json");
    let errors = report_to(&path);
    assert!(errors.contains("out of bounds") && errors.contains("fill.cu:13"), "{errors}");
    report_to(&path);
    let text = std::fs::read_to_string(&path).expect("the report");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4, "two launches of each of two processes:\n{text}");
    assert!(text.ends_with('\n'));
    for pair in lines.chunks_exact(2) {
        let [good, bad] = pair else { unreachable!() };
        for (line, threads) in [(good, 32), (bad, 33)] {
            assert_eq!(line["kernel"], "fill");
            assert_eq!(line["grid"], serde_json::json!([1, 1, 1]));
            assert_eq!(line["block"], serde_json::json!([threads, 1, 1]));
            assert_eq!(line["dynamic_shared"], 0);
            assert_eq!(line["counters"]["global_store"]["unique_bytes"], 128);
        }
        assert_eq!(good["warp_instructions"], 6);
        assert_eq!(good["findings"], serde_json::json!([]));
        assert_eq!(
            good["counters"]["instructions"]["global"],
            serde_json::json!({"warps": 1, "threads": 32})
        );
        assert_eq!(good["counters"]["accesses"][0]["source"], "fill.cu:13");
        let [finding] = &bad["findings"].as_array().expect("a list")[..] else { panic!("{bad}") };
        let text = finding["text"].as_str().unwrap_or_default();
        assert!(text.contains("0 bytes past the end of the 128-byte allocation"), "{text}");
        let wanted = serde_json::json!({
            "kind": "out_of_bounds", "kernel": "fill", "block": [0, 0, 0], "thread": [32, 0, 0], "line": 14,
            "source": "fill.cu:13", "text": text,
        });
        assert_eq!(*finding, wanted);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_said_and_does_no_harm() {
    let errors = report_to(Path::new("/nowhere/report.json"));
    assert!(errors.contains("PTXSIM_REPORT") && errors.contains("/nowhere/report.json"), "{errors}");
}
