//! What the checker reports and what it does not, on small kernels of `tests/kernels/checker.cu`: each is right with
//! `bug` = 0, and must be under every schedule; each bug must be reported under every schedule, where it is.

mod common;

use common::{Machine, Params, assert_place, compile, grid, seeds, source_line, told};
use ptxsim::check::finding::Kind::{self, *};
use ptxsim::launch::{Config, Outcome};
use ptxsim::module::Module;

const WORDS: usize = 1024;

/// Runs a kernel that takes `x`, which holds 0, 1, 2, …, `y`, which holds zeros, and `z`, which nothing has written.
struct Case {
    kernel: &'static str,
    config: Config,
}

impl Case {
    fn run(&self, ptx: &str, seed: Option<u64>, bug: i32) -> (Vec<i32>, Outcome) {
        let mut machine = Machine::seeded(seed);
        machine.options.watchdog = 1_000_000;
        let x = machine.put(&(0..WORDS as i32).collect::<Vec<_>>());
        let y = machine.put(&[0i32; WORDS]);
        let params = Params::default().with(x).with(y).with(machine.room(4 * WORDS)).with(bug);
        let outcome = machine.run(&machine.load(ptx), self.kernel, self.config, &params);
        (machine.get(y, WORDS), outcome)
    }

    /// Without a bug: no finding, and `y` starts with these words.
    fn clean(&self, wanted: impl IntoIterator<Item = i32>) -> &Case {
        let wanted: Vec<i32> = wanted.into_iter().collect();
        let Some(ptx) = compile("checker.cu", "compute_90a", &[]) else { return self };
        for seed in seeds() {
            let (y, outcome) = self.run(&ptx, seed, 0);
            assert!(outcome.findings.is_empty(), "{}, seed {seed:?}: {}", self.kernel, told(&outcome));
            assert_eq!(y[..wanted.len()], wanted, "{}, seed {seed:?}", self.kernel);
        }
        self
    }

    /// With a bug: a finding of the kind, at a line that contains `code`, whose text contains each of `phrases`.
    fn found(&self, bug: i32, kind: Kind, code: &str, phrases: &[&str]) -> &Case {
        let Some(ptx) = compile("checker.cu", "compute_90a", &[]) else { return self };
        for seed in seeds() {
            let (_, outcome) = self.run(&ptx, seed, bug);
            let found = outcome.findings.iter().find(|f| {
                f.kind == kind
                    && source_line(f, "checker.cu").is_some_and(|line| line.contains(code))
                    && phrases.iter().all(|phrase| f.text.contains(phrase))
            });
            let told = told(&outcome);
            let found = found
                .unwrap_or_else(|| panic!("{} bug {bug}, seed {seed:?}: not found:\n{told}", self.kernel));
            assert_place(found, &ptx, self.kernel, self.config);
        }
        self
    }
}

fn case(kernel: &'static str, blocks: u32, threads: u32) -> Case {
    Case { kernel, config: grid(blocks, threads, 0) }
}

#[test]
fn warp_synchronous_code_needs_syncwarp() {
    case("warp_synchronous", 1, 32).clean((0..32).rev()).found(
        1,
        Race,
        "= s[31 - TID]",
        &["write by thread"],
    );
}

#[test]
fn producers_and_consumers_meet_at_named_barriers() {
    case("producer_consumer", 1, 64)
        .clean((0..32).rev().map(|i| 4 * i + 6))
        .found(1, Race, "s[", &["shared memory"])
        .found(2, Race, "s[", &["shared memory"]);
}

#[test]
fn last_block_reduction_needs_a_fence() {
    case("last_block", 8, 32).clean([28]).found(1, Race, "sum += y[1 + i]", &["global memory", "of block"]);
}

#[test]
fn what_all_blocks_read_the_last_may_overwrite() {
    for blocks in [2, 3, 7] {
        case("last_block_writes", blocks, 32).clean([0, 5]).found(1, Race, "x[5] = 77", &["global memory"]);
    }
}

#[test]
fn locks_acquire_and_release() {
    case("spin_lock", 1, 64).clean([64]).found(1, Race, "counter += 1", &["shared memory"]);
}

#[test]
fn blocks_tell_each_other_by_release_and_acquire() {
    case("between_blocks", 2, 32).clean([42, 43]).found(
        1,
        Race,
        "y[1] = y[0] + 1",
        &["write by thread 0 of block 0"],
    );
}

#[test]
fn warps_tell_each_other_by_release_and_acquire_or_fences() {
    case("between_warps", 1, 64).clean([10, 11]).found(1, Race, "y[1] = data[1]", &["write by thread 0"]);
}

#[test]
fn bytes_of_a_word_are_apart() {
    let word = |i: i32| i32::from_le_bytes([4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3].map(|b| b as u8));
    case("bytes_of_a_word", 1, 64).clean((0..16).map(word).chain((0..16).rev().map(word)));
}

#[test]
fn atomic_operations_race_with_plain_writes_only() {
    case("atomics", 2, 64).clean([16; 8]).found(1, Race, "atomicAdd(&bins", &["write by thread"]).found(
        2,
        Race,
        "y[",
        &["global memory", "of block"],
    );
}

#[test]
fn barriers_of_parts_of_a_block_order_those_parts() {
    let wanted = (0..128).map(|i| 3 * (i / 64 * 64 + 63 - i % 64) + 3);
    case("pairs_of_warps", 1, 128).clean(wanted).found(1, Race, "s[", &["shared memory"]);
}

#[test]
fn asynchronous_copies_are_waited_for_by_their_thread_and_by_a_barrier_for_others() {
    case("copies", 1, 64)
        .clean((0..64).map(|i| 4 * i).chain((0..64).rev().map(|i| 4 * i)))
        .found(1, UnwaitedAsync, "= s[4 * TID]", &["before the asynchronous copy"])
        .found(2, Race, "= s[4 * (63 - TID)]", &["write by thread"]);
}

#[test]
fn threads_that_ended_are_not_waited_for() {
    let mut wanted: Vec<i32> = (0..40).rev().collect();
    wanted[7] = 0;
    case("early_exit", 1, 96).clean(wanted);
}

#[test]
fn divergent_barriers_are_told_with_where_each_part_waits() {
    let waits = ["warp 0 lanes 0x0000ffff at PTX line", "warp 0 lanes 0xffff0000 at PTX line", "checker.cu:"];
    let case = case("divergent_barriers", 1, 32);
    case.found(0, Deadlock, "bar.sync 0", &waits).found(
        0,
        Deadlock,
        "bar.sync 0",
        &["waiting for the lanes"],
    );
}

#[test]
fn a_barrier_that_half_of_the_warps_never_reach() {
    let waits = ["warp 0 lanes", "warp 2 lanes", "waiting on barrier 1, 64 of 128 threads arrived"];
    case("half_of_the_warps", 1, 128).found(0, Deadlock, "bar_sync(1, 128)", &waits);
}

#[test]
fn lanes_that_never_meet() {
    let waits = ["lanes 0x0000ffff at PTX line", "waiting for the lanes 0xffff0000"];
    case("lanes_never_meet", 1, 32).found(0, Deadlock, ".sync.", &waits);
}

#[test]
fn a_loop_without_end() {
    case("endless", 1, 32).found(0, Deadlock, "while", &["no end in sight", "warp 0 lanes", "running"]);
}

#[test]
fn mbarriers_count_arrivals() {
    case("mbarrier_arrivals", 1, 64)
        .clean([32; 64])
        .found(1, Barrier, "mbar_arrive_n(at", &["3 arrivals", "expects 2 more of 2"])
        .found(2, Deadlock, "mbar_wait(at, 0)", &["lacks 1 of 2 arrivals", "warp 0 lanes", "warp 1 lanes"]);
}

#[test]
fn accumulators_are_not_touched_before_the_wait() {
    let case = Case { kernel: "accumulators", config: grid(1, 128, 16384) };
    case.clean([1; 128]).found(1, UnwaitedAsync, "add.f32", &["before wgmma.wait_group"]).found(
        2,
        UnwaitedAsync,
        "wgmma_m64n64k16_bf16(",
        &["without wgmma.fence"],
    );
}

#[test]
fn any_lane_may_release_the_operands_of_its_warp() {
    let case = Case { kernel: "operands_released", config: grid(1, 160, 16384) };
    case.clean([1; 128]).found(1, Race, "= 7", &["write to shared memory"]);
}

#[test]
fn one_thread_may_release_the_operands_of_its_warpgroup() {
    let case = Case { kernel: "operands_released_by_one", config: grid(1, 160, 16384) };
    case.clean([1; 128]).found(1, Race, "= 7", &["write to shared memory"]);
}

#[test]
fn bulk_stores_hold_their_source() {
    case("bulk_store", 1, 64)
        .clean(0..64)
        .found(1, Race, "s[TID] = 0", &["bulk copy may still be reading"])
        .found(2, ProxyFence, "cp.async.bulk.global", &["without fence.proxy.async"]);
}

#[test]
fn an_mbarrier_counts_the_bytes_of_all_its_copies() {
    case("two_bulk_loads", 1, 128)
        .clean((0..128).map(|i| if i < 64 { 100 + 63 - i + i } else { 127 - i + 100 + i - 64 }))
        .found(1, UnwaitedAsync, "= s[127 - TID] + s[TID]", &["copy"]);
}

#[test]
fn global_memory_that_nothing_wrote() {
    case("uninitialised_global", 1, 32).clean(0..32).found(
        1,
        Uninitialised,
        "= x[TID]",
        &["read of 4 bytes"],
    );
}

#[test]
fn generic_addresses_lead_to_shared_and_global_memory() {
    let wanted = (0..64).map(|i| (i ^ 33) + (i & 1));
    case("generic_pointers", 1, 64).clean(wanted).found(
        1,
        Race,
        "= *p",
        &["shared memory", "write by thread"],
    );
}

#[test]
fn a_read_and_a_write_by_two_blocks() {
    let case = case("read_then_written_by_another_block", 2, 32);
    case.clean(0..32).found(1, Race, "x[TID]", &["global memory", "of block"]);
}

#[test]
fn parameters_are_read_through_generic_addresses_and_never_written() {
    let Some(ptx) = compile("checker.cu", "compute_90a", &[]) else { return };
    for (seed, bug) in seeds().flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let machine = Machine::seeded(seed);
        let y = machine.room(4 * 32);
        let params = Params::default().with([5i32, 7]).with(y).with(bug);
        let config = grid(1, 32, 0);
        let outcome = machine.run(&machine.load(&ptx), "parameters", config, &params);
        assert_eq!(machine.get::<i32>(y, 4), [5, 7, 5, 7]);
        if bug == 0 {
            assert!(outcome.findings.is_empty(), "{}", told(&outcome));
            continue;
        }
        let [finding] = &outcome.findings[..] else { panic!("{}", told(&outcome)) };
        assert_eq!((finding.kind, finding.text.contains("parameters")), (OutOfBounds, true), "{finding}");
        assert_place(finding, &ptx, "parameters", config);
        assert!(source_line(finding, "checker.cu").is_some_and(|line| line.contains("= 1;")), "{finding}");
    }
}

/// Constant memory is never written: the instruction is none, as for the assembler.
#[test]
fn constants_cannot_be_written() {
    let ptx = ".version 8.0\n.target sm_80\n.address_size 64\n.const .align 4 .b32 c = 3;\n\
               .visible .entry k() {\n.reg .b32 %r;\nmov.b32 %r, 1;\nst.const.b32 [c], %r;\nret;\n}\n";
    let error = Module::load(ptx, &Machine::device(), &Machine::new().memory).err();
    let error = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("line 8") && error.contains("constants cannot be written"), "{error:?}");
}
