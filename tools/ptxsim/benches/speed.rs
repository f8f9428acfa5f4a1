//! Speed of the simulator on one core: thread instructions a second on scalar code, multiply-adds a second on tensor
//! cores, without and with the checker. Convolutions are compiled by nvcc, if there is one.

use std::fmt::Write as _;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ptxsim::launch::Config;
use ptxsim::module::Module;

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Machine, Params, compile, conv, told};

/// Rounds of the loops below.
const ROUNDS: u32 = 5000;

/// A loop of a dozen integer and float instructions, as address arithmetic and reductions have them.
fn scalar() -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry bench(.param .u64 p) {{
            .reg .b32 %r<12>; .reg .b64 %rd<4>; .reg .pred %p<2>; .reg .f32 %f<4>;
            ld.param.u64 %rd1, [p];
            mov.u32 %r1, %tid.x;
            mov.u32 %r2, 0;
            mov.u32 %r3, 12345;
            cvt.rn.f32.u32 %f1, %r1;
            mov.f32 %f2, 0f3F800000;
        L:  add.s32 %r3, %r3, %r1;
            mul.lo.s32 %r4, %r3, %r1;
            xor.b32 %r3, %r4, %r2;
            shl.b32 %r5, %r3, 3;
            fma.rn.f32 %f3, %f1, %f2, %f1;
            add.f32 %f2, %f3, %f2;
            mad.lo.s32 %r6, %r5, %r3, %r1;
            and.b32 %r3, %r6, 1048575;
            min.s32 %r3, %r3, %r6;
            mul.wide.u32 %rd2, %r3, 4;
            add.s64 %rd3, %rd2, %rd1;
            add.s32 %r2, %r2, 1;
            setp.lt.s32 %p1, %r2, {ROUNDS};
            @%p1 bra L;
            st.global.f32 [%rd1], %f2;
            ret;
        }}"
    )
}

/// A loop of independent `mma.sync`, as the inside of a tiled matrix product.
fn tensor() -> String {
    let mut body = String::new();
    for i in 0..16 {
        let d = format!("{{%f{}, %f{}, %f{}, %f{}}}", 4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3);
        writeln!(
            body,
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d}, {{%a0, %a1, %a2, %a3}}, {{%b0, %b1}}, {d};"
        )
        .expect("writing to a string");
    }
    let zero: String = (0..64).map(|i| format!("mov.f32 %f{i}, 0f00000000;\n")).collect();
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry bench(.param .u64 p) {{
            .reg .f32 %f<64>; .reg .b32 %a<4>; .reg .b32 %b<2>; .reg .b32 %r<2>; .reg .pred %p<2>; .reg .b64 %rd<2>;
            {zero}
            mov.b32 %a0, 0x3f803f80; mov.b32 %a1, %a0; mov.b32 %a2, %a0; mov.b32 %a3, %a0;
            mov.b32 %b0, 0x3f803f80; mov.b32 %b1, %b0;
            mov.u32 %r0, 0;
        L:  {body}
            add.s32 %r0, %r0, 1;
            setp.lt.s32 %p0, %r0, {ROUNDS};
            @%p0 bra L;
            ld.param.u64 %rd0, [p];
            st.global.f32 [%rd0], %f0;
            ret;
        }}"
    )
}

/// Runs `bench` in one warp.
fn warp(machine: &Machine, module: &Module) -> u64 {
    let out = machine.room(4);
    let config = Config { grid: [1, 1, 1], block: [32, 1, 1], dynamic_shared: 0 };
    let outcome = machine.run(module, "bench", config, &Params::default().with(out));
    machine.memory.free(out).expect("allocated above");
    outcome.instructions
}

fn machine(check: bool) -> Machine {
    let mut machine = Machine::new();
    machine.options.check = check;
    machine
}

fn speed(c: &mut Criterion) {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");

    let machine_unchecked = machine(false);
    let module = machine_unchecked.load(&scalar());
    let instructions = 32 * warp(&machine_unchecked, &module);
    c.benchmark_group("thread_instructions")
        .throughput(Throughput::Elements(instructions))
        .bench_function("scalar", |b| one.install(|| b.iter(|| warp(&machine_unchecked, &module))));

    let module = machine_unchecked.load(&tensor());
    c.benchmark_group("macs")
        .throughput(Throughput::Elements(u64::from(ROUNDS) * 16 * 16 * 8 * 16))
        .bench_function("mma", |b| one.install(|| b.iter(|| warp(&machine_unchecked, &module))));

    let mut group = c.benchmark_group("macs");
    group.sample_size(10).throughput(Throughput::Elements(conv::MACS));
    for (name, file, arch) in
        [("conv_mma", "conv.cu", "compute_80"), ("conv_wgmma", "conv90.cu", "compute_90a")]
    {
        let Some(ptx) = compile(file, arch, &[]) else { continue };
        for check in [false, true] {
            let machine = machine(check);
            let module = machine.load(&ptx);
            let launch =
                if arch == "compute_80" { conv::prepare80(&machine) } else { conv::prepare90(&machine) };
            let id = BenchmarkId::new(name, if check { "checked" } else { "unchecked" });
            group.bench_function(id, |b| {
                one.install(|| {
                    b.iter(|| {
                        let outcome = launch.run(&machine, &module);
                        assert!(outcome.findings.is_empty(), "{}", told(&outcome));
                    })
                })
            });
        }
    }
}

criterion_group!(benches, speed);
criterion_main!(benches);
