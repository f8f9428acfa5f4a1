//! Kernels with a bug planted: the report must name it under every schedule, or the result must be wrong where a bug
//! breaks no rule that a checker knows. Without the bug (here, or in `prototypes.rs`) the same kernels are right.
//!
//! Launches that cannot be (too much shared memory, too many threads, a missing argument) are in `driver/`.

mod common;

use common::conv::{self, conv80, conv80_spare, conv90};
use common::small::{gemm64, row_sum, row_sums, tile};
use common::{Machine, Params, assert_place, compile, grid, seeds, source_line, told};
use ptxsim::check::finding::Kind;
use ptxsim::launch::{Config, Finding, Outcome};

/// Where a bug is, and what it must be reported as.
struct Planted {
    file: &'static str,
    arch: &'static str,
    define: &'static str,
    kernel: &'static str,
    config: Config,
    kinds: &'static [Kind],
    /// Part of the line of the `.cu` file that the report must name.
    code: &'static str,
}

impl Planted {
    /// Under every schedule a finding of one of the kinds names the place; a bug may have other consequences too.
    /// Results are handed to `check`.
    fn caught<T>(&self, run: impl Fn(&Machine, &str) -> (T, Outcome), check: impl Fn(T)) {
        let Some(ptx) = compile(self.file, self.arch, &[self.define]) else { return };
        for seed in seeds() {
            let (result, outcome) = run(&Machine::seeded(seed), &ptx);
            let told = told(&outcome);
            let named = |f: &&Finding| {
                self.kinds.contains(&f.kind)
                    && source_line(f, self.file).is_some_and(|line| line.contains(self.code))
            };
            let found = outcome.findings.iter().find(named);
            let found = found.unwrap_or_else(|| panic!("{}, seed {seed:?}: not found:\n{told}", self.define));
            assert_place(found, &ptx, self.kernel, self.config);
            check(result);
        }
    }
}

/// A bug that breaks no rule: no finding, and a wrong result, under every schedule.
fn wrong<T: PartialEq>(
    [file, arch, define]: [&str; 3],
    wanted: &[T],
    run: impl Fn(&Machine, &str) -> (Vec<T>, Outcome),
) {
    let (Some(good), Some(bad)) = (compile(file, arch, &[]), compile(file, arch, &[define])) else { return };
    let (y, outcome) = run(&Machine::new(), &good);
    assert!(y == wanted && outcome.findings.is_empty(), "wrong without {define}: {}", told(&outcome));
    for seed in seeds() {
        let (y, outcome) = run(&Machine::seeded(seed), &bad);
        assert!(outcome.findings.is_empty(), "{define}, seed {seed:?}: {}", told(&outcome));
        assert!(y != wanted, "{define}, seed {seed:?}: the result is right");
    }
}

const CONV80: Planted = Planted {
    file: "conv.cu",
    arch: "compute_80",
    define: "",
    kernel: "conv3d_fprop_bf16",
    config: Config { grid: [5, 1, 1], block: [128, 1, 1], dynamic_shared: 16384 },
    kinds: &[],
    code: "",
};

const CONV90: Planted = Planted {
    file: "conv90.cu",
    arch: "compute_90a",
    kernel: "conv3d_fprop_sm90",
    config: Config { grid: [12, 1, 1], block: [160, 1, 1], dynamic_shared: 4 * 16384 + 64 },
    ..CONV80
};

macro_rules! planted {
    ($($name:ident: $base:ident $run:ident $define:literal $($kind:ident)|+, $code:literal;)+) => {$(
        #[test]
        fn $name() {
            let kinds = &[$(Kind::$kind),+];
            Planted { define: $define, kinds, code: $code, ..$base }.caught($run, |_| {});
        }
    )+};
}

planted! {
    missing_barrier_before_a_read: CONV80 conv80 "PLANT_RACE1" Race | UnwaitedAsync, "ldmatrix_x4(";
    missing_barrier_before_reuse: CONV80 conv80 "PLANT_RACE2" Race, "cp_async_16(";
    too_few_cp_async_waits: CONV80 conv80 "PLANT_NOWAIT" UnwaitedAsync, "ldmatrix_x4(";
    store_one_row_past_the_end: CONV80 conv80 "PLANT_OOB" OutOfBounds, "*(uint32_t*)(p.y";
    // The last pixel of all reads its right neighbour, which is past the end of the tensor.
    halo_bound_forgotten: CONV80 conv80 "PLANT_OOB_HALO" OutOfBounds, "cp_async_16(sa + swz(row, ch), src, ok)";
    mbarrier_init_not_fenced: CONV90 conv90 "PLANT_NOFENCE_INIT" ProxyFence, "tma_load_5d(";
    no_wait_on_an_empty_barrier: CONV90 conv90 "PLANT_NOEMPTY" UnwaitedAsync | Race, "tma_load_5d(";
    no_wait_on_a_full_barrier: CONV90 conv90 "PLANT_NOFULL" UnwaitedAsync, "wgmma_m64n64k16_bf16(";
    stage_released_before_the_wgmma_wait: CONV90 conv90 "PLANT_EARLY_RELEASE" Race, "tma_load_5d(";
}

#[test]
fn halo_bound_forgotten_within_a_larger_allocation_gives_a_wrong_result() {
    let run = |machine: &Machine, ptx: &str| conv80_spare(machine, ptx, 64);
    wrong(["conv.cu", "compute_80", "PLANT_OOB_HALO"], &conv::wanted(), run);
}

#[test]
fn swizzle_mismatch_gives_a_wrong_result() {
    wrong(["conv.cu", "compute_80", "PLANT_SWZ"], &conv::wanted(), conv80);
}

#[test]
fn operands_swapped_in_the_inline_assembly_give_a_wrong_result() {
    wrong(["conv.cu", "compute_80", "PLANT_ASM_SWAP"], &conv::wanted(), conv80);
}

#[test]
fn descriptor_stride_wrong_gives_a_wrong_result() {
    wrong(["conv90.cu", "compute_90a", "PLANT_DESC_SBO"], &conv::wanted(), conv90);
    wrong(["conv90.cu", "compute_90a", "PLANT_DESC_SBO"], &tile(), gemm64);
}

#[test]
fn descriptor_swizzle_wrong_gives_a_wrong_result() {
    wrong(["conv90.cu", "compute_90a", "PLANT_DESC_SWZ"], &conv::wanted(), conv90);
    wrong(["conv90.cu", "compute_90a", "PLANT_DESC_SWZ"], &tile(), gemm64);
}

/// The result of a kernel that must be right although a rule is broken: nothing but a checker can tell.
fn right<T: PartialEq>(wanted: Vec<T>) -> impl Fn(Vec<T>) {
    move |got| assert!(got == wanted, "wrong result")
}

#[test]
fn reduction_race() {
    let kinds = &[Kind::Race];
    let config = grid(3, 256, 1024);
    let code = "s[threadIdx.x] += s[threadIdx.x + d]";
    let planted = Planted { define: "PLANT_RACE_SUM", kernel: "row_sum", config, kinds, code, ..CONV80 };
    // Lanes run in lock-step here, so that the sum is right; on a device it need not be.
    planted.caught(row_sum, right(row_sums()));
}

const GEMM64: Planted = Planted {
    kernel: "gemm64_generic",
    config: Config { grid: [1; 3], block: [128, 1, 1], dynamic_shared: 16384 },
    ..CONV90
};

#[test]
fn missing_proxy_fence_is_found_although_the_result_is_right() {
    let kinds = &[Kind::ProxyFence];
    let planted = Planted { define: "PLANT_NOPROXY", kinds, code: "wgmma_m64n64k16_bf16(acc", ..GEMM64 };
    planted.caught(gemm64, right(tile()));
}

#[test]
fn missing_wgmma_wait() {
    let kinds = &[Kind::UnwaitedAsync];
    let planted = Planted { define: "PLANT_NOWGWAIT", kinds, code: "= acc[j * 4 + e]", ..GEMM64 };
    planted.caught(gemm64, right(tile()));
}

const SMALL: Planted = Planted { file: "planted.cu", arch: "compute_80", ..CONV80 };

/// Without the macro the result is right under every schedule, without a finding.
fn clean<T: PartialEq>(wanted: &[T], run: impl Fn(&Machine, &str) -> (Vec<T>, Outcome)) {
    let Some(ptx) = compile(SMALL.file, SMALL.arch, &[]) else { return };
    for seed in seeds() {
        let (y, outcome) = run(&Machine::seeded(seed), &ptx);
        assert!(outcome.findings.is_empty(), "seed {seed:?}: {}", told(&outcome));
        assert!(y == wanted, "seed {seed:?}: wrong result");
    }
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32).collect()
}

#[test]
fn two_blocks_write_one_word() {
    let config = grid(4, 32, 0);
    let run = |machine: &Machine, ptx: &str| {
        let y = machine.room(4 * 32 * 4);
        let outcome = machine.run(&machine.load(ptx), "tiles", config, &Params::default().with(y));
        (machine.get::<f32>(y, 4 * 32), outcome)
    };
    clean(&numbers(128), run);
    let code = "y[first + threadIdx.x] =";
    let planted =
        Planted { define: "PLANT_SAME_WORD", kernel: "tiles", config, kinds: &[Kind::Race], code, ..SMALL };
    planted.caught(run, |_| {});
}

#[test]
fn uninitialised_shared_read() {
    let config = grid(1, 64, 0);
    let run = |machine: &Machine, ptx: &str| {
        let (x, y) = (machine.put(&numbers(64)), machine.room(64 * 4));
        let outcome = machine.run(&machine.load(ptx), "reverse", config, &Params::default().with(x).with(y));
        (machine.get::<f32>(y, 64), outcome)
    };
    clean(&numbers(64).into_iter().rev().collect::<Vec<_>>(), run);
    let (kinds, code) = (&[Kind::Uninitialised], "= s[63 - threadIdx.x]");
    Planted { define: "PLANT_UNINIT", kernel: "reverse", config, kinds, code, ..SMALL }.caught(run, |_| {});
}

#[test]
fn misaligned_vector_access() {
    let config = grid(1, 32, 0);
    let run = |machine: &Machine, ptx: &str| {
        let (x, y) = (machine.put(&numbers(136)), machine.room(128 * 4));
        let outcome = machine.run(&machine.load(ptx), "vectors", config, &Params::default().with(x).with(y));
        (machine.get::<f32>(y, 128), outcome)
    };
    clean(&numbers(132)[4..], run);
    let (kinds, code) = (&[Kind::Misaligned], "reinterpret_cast<const float4*>");
    let planted = Planted { define: "PLANT_MISALIGNED", kernel: "vectors", config, kinds, code, ..SMALL };
    planted.caught(run, |_| {});
}

/// The driver's answer is tested in `driver/`; here, that the report says what the pointer was.
#[test]
fn freed_pointer() {
    let Some(ptx) = compile(SMALL.file, SMALL.arch, &[]) else { return };
    let machine = Machine::new();
    let (x, y) = (machine.put(&numbers(64)), machine.room(64 * 4));
    machine.memory.free(x).expect("allocated");
    let config = grid(1, 64, 0);
    let outcome = machine.run(&machine.load(&ptx), "reverse", config, &Params::default().with(x).with(y));
    let [finding] = &outcome.findings[..] else { panic!("{}", told(&outcome)) };
    assert_eq!(finding.kind, Kind::OutOfBounds);
    assert!(
        finding.text.contains("allocation of 256 bytes") && finding.text.contains("freed before"),
        "{finding}"
    );
    assert_place(finding, &ptx, "reverse", config);
    assert!(
        source_line(finding, SMALL.file).is_some_and(|line| line.contains("= x[threadIdx.x]")),
        "{finding}"
    );
}
