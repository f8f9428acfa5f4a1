//! Control flow, calls and special registers (PTX ISA 9.7.12, 10).

use super::case::{Case, Target};
use super::data::Random;
use super::ptx;

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    vec![
        special_registers(),
        loops(),
        nested(),
        indexed_branch(),
        calls(),
        early_exit(),
        dynamic_shared(),
        clocks(),
    ]
}

/// Indices in three dimensions, extents, lanes.
fn special_registers() -> Case {
    let (grid, block) = ([2u32, 3, 2], [8u32, 4, 4]);
    let mut registers: Vec<String> = Vec::new();
    for name in ["tid", "ntid", "ctaid", "nctaid"] {
        registers.extend(["x", "y", "z"].map(|d| format!("{name}.{d}")));
    }
    let masks = ["laneid", "lanemask_eq", "lanemask_le", "lanemask_lt", "lanemask_ge", "lanemask_gt"];
    registers.extend(masks.map(str::to_owned));
    let mut body = String::new();
    for (k, register) in registers.iter().enumerate() {
        body += &format!("mov.u32 r{}, %{register};\n", 20 + k);
    }
    // The thread's place in the grid, in which the results are stored.
    body += "mad.lo.u32 r11, r28, r30, r27;\n\
             mad.lo.u32 r11, r11, r29, r26;\nmad.lo.u32 r12, r22, r24, r21;\nmad.lo.u32 r12, r12, r23, r20;\n\
             mul.lo.u32 r13, r23, r24;\nmul.lo.u32 r13, r13, r25;\nmad.lo.u32 i, r11, r13, r12;\n";
    body += &ptx::store_words(20, registers.len());
    let count = (grid.iter().product::<u32>() * block.iter().product::<u32>()) as usize;
    let mut case =
        Case::new("control/special-registers", Target::Sm80, 1).writes(count * 4 * registers.len());
    (case.grid, case.block) = (grid, block);
    case.words([0]).body(&body).expects_words(move |_| {
        let split =
            |linear: u32, of: [u32; 3]| [linear % of[0], linear / of[0] % of[1], linear / of[0] / of[1]];
        let threads = block.iter().product::<u32>();
        let thread = |t: u32| {
            let lane = t % threads % 32;
            let mut row: Vec<u32> = split(t % threads, block).to_vec();
            row.extend(block.iter().chain(&split(t / threads, grid)).chain(&grid));
            let one = 1u32 << lane;
            row.extend([lane, one, one | (one - 1), one - 1, !(one - 1), !(one | (one - 1))]);
            row
        };
        (0..count as u32).flat_map(thread).collect()
    })
}

/// Each lane leaves a loop after its own number of turns.
fn loops() -> Case {
    let name = "control/loops";
    let body = format!(
        "{}mov.u32 r20, 0;\nLOOP:\nsetp.eq.u32 p0, r10, 1;\n@p0 bra DONE;\nand.b32 r11, r10, 1;\n\
         setp.eq.u32 p1, r11, 0;\n@p1 bra EVEN;\nmad.lo.u32 r10, r10, 3, 1;\nbra NEXT;\nEVEN:\nshr.u32 r10, r10, 1;\n\
         NEXT:\nadd.u32 r20, r20, 1;\nbra LOOP;\nDONE:\n{}",
        ptx::load_words("in0", 10, 1),
        ptx::store_words(20, 1)
    );
    let mut random = Random::new(name);
    let words: Vec<u32> = (0..64).map(|_| 1 + random.below(300) as u32).collect();
    Case::new(name, Target::Sm80, 64).words(words).writes(256).body(&body).expects_words(|words| {
        let steps = |word: &u32| {
            let mut n = *word;
            let mut steps = 0;
            while n != 1 {
                n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
                steps += 1;
            }
            steps
        };
        words.iter().map(steps).collect()
    })
}

/// Branches within branches; lanes meet again and shuffle.
fn nested() -> Case {
    let name = "control/nested";
    let mut body = ptx::load_words("in0", 10, 1);
    body += "mov.b32 r20, 1;\n";
    for bit in 0..4 {
        body += &format!(
            "and.b32 r11, r10, {0};\nsetp.ne.u32 p{bit}, r11, 0;\n@p{bit} bra SET{bit};\nadd.u32 r20, r20, {1};\n\
             bra MEET{bit};\nSET{bit}:\nmul.lo.u32 r20, r20, 3;\n",
            1 << bit,
            bit + 1
        );
    }
    for bit in (0..4).rev() {
        body += &format!("MEET{bit}:\nadd.u32 r20, r20, 1;\n");
    }
    body += "bar.warp.sync -1;\nshfl.sync.bfly.b32 r21, r20, 1, 0x1f, -1;\n";
    body += &ptx::store_words(20, 2);
    Case::new(name, Target::Sm80, 32)
        .words(Random::new(name).words(32))
        .writes(256)
        .body(&body)
        .expects_words(|words| {
            // A clear bit leaves the nest: it adds, then passes the meeting points further out.
            let value = |word: &u32| {
                let mut v = 1u32;
                for bit in 0..4 {
                    if word >> bit & 1 == 0 {
                        return v + bit + 1 + bit + 1;
                    }
                    v *= 3;
                }
                v + 4
            };
            let values: Vec<u32> = words.iter().map(value).collect();
            (0..32).flat_map(|k: usize| [values[k], values[k ^ 1]]).collect()
        })
}

fn indexed_branch() -> Case {
    let name = "control/brx.idx";
    let body = format!(
        "{}and.b32 r11, r10, 3;\ntargets: .branchtargets A, B, C, D;\nbrx.idx r11, targets;\n\
         A:\nadd.u32 r20, r10, 1;\nbra DONE;\nB:\nxor.b32 r20, r10, 0xff;\nbra DONE;\nC:\nshl.b32 r20, r10, 3;\n\
         bra DONE;\nD:\nneg.s32 r20, r10;\nDONE:\n{}",
        ptx::load_words("in0", 10, 1),
        ptx::store_words(20, 1)
    );
    Case::new(name, Target::Sm80, 64)
        .words(Random::new(name).words(64))
        .writes(256)
        .body(&body)
        .expects_words(|words| {
            let branch = |w: &u32| match w & 3 {
                0 => w + 1,
                1 => w ^ 0xff,
                2 => w << 3,
                _ => w.wrapping_neg(),
            };
            words.iter().map(branch).collect()
        })
}

/// A device function with a loop, called where lanes have diverged.
fn calls() -> Case {
    let name = "control/call";
    let function = ".func (.param .b32 result) divisor(.param .b32 first, .param .b32 second)\n{\n\
                    \t.reg .pred p;\n\t.reg .b32 a, b, c;\n\tld.param.u32 a, [first];\n\tld.param.u32 b, [second];\n\
                    LOOP:\n\tsetp.eq.u32 p, b, 0;\n\t@p bra DONE;\n\trem.u32 c, a, b;\n\tmov.u32 a, b;\n\
                    \tmov.u32 b, c;\n\tbra LOOP;\nDONE:\n\tst.param.b32 [result], a;\n\tret;\n}\n\n";
    let body = format!(
        "{}mov.u32 r20, 0;\nand.b32 r12, lane, 3;\nsetp.eq.u32 p0, r12, 0;\n@p0 bra SKIP;\n\
         {{\n.param .b32 one;\n.param .b32 two;\n.param .b32 got;\nst.param.b32 [one], r10;\nst.param.b32 [two], r11;\n\
         call (got), divisor, (one, two);\nld.param.b32 r20, [got];\n}}\nSKIP:\n{}",
        ptx::load_words("in0", 10, 2),
        ptx::store_words(20, 1)
    );
    let mut random = Random::new(name);
    let words: Vec<u32> = (0..64).map(|_| (1 + random.below(60) as u32) * 12).collect();
    let mut case = Case::new(name, Target::Sm80, 32).words(words).writes(128).body(&body);
    case.ptx = case.ptx.replacen(".visible", &format!("{function}.visible"), 1);
    case.expects_words(|words| {
        let divisor = |mut a: u32, mut b: u32| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        words
            .chunks_exact(2)
            .enumerate()
            .map(|(k, w)| if k % 4 == 0 { 0 } else { divisor(w[0], w[1]) })
            .collect()
    })
}

/// Threads that have exited are not waited for.
fn early_exit() -> Case {
    let name = "control/early-exit";
    let mut body = ".shared .align 4 .b8 s[512];\n".to_owned();
    body += "setp.ge.u32 p0, tid, 96;\n@p0 exit;\nand.b32 r10, tid, 1;\nsetp.eq.u32 p1, r10, 1;\n@p1 bra OUT;\n\
             mov.u64 x10, s;\nmul.wide.u32 x11, tid, 4;\nadd.s64 x11, x10, x11;\nst.shared.b32 [x11], tid;\n\
             barrier.sync 0;\nxor.b32 r11, tid, 64;\nand.b32 r11, r11, 65;\nmul.wide.u32 x11, r11, 4;\nadd.s64 x11, x10, x11;\n\
             ld.shared.b32 r20, [x11];\n";
    body += &ptx::store_words(20, 1);
    body += "OUT:\n";
    Case::new(name, Target::Sm80, 128).words([0]).writes(512).body(&body).expects_words(|_| {
        let word = |t: u32| if t >= 96 || t % 2 == 1 { 0xc5c5_c5c5 } else { (t ^ 64) & 65 };
        (0..128).map(word).collect()
    })
}

/// More shared memory than a kernel gets without asking.
fn dynamic_shared() -> Case {
    let (name, bytes) = ("control/dynamic-shared", 100_000u32);
    let body = format!(
        "mov.u64 x10, dynamic;\nmul.wide.u32 x11, tid, 4;\nadd.s64 x12, x10, x11;\nst.shared.b32 [x12+{last}], tid;\n\
         bar.sync 0;\nxor.b32 r10, tid, 127;\nmul.wide.u32 x11, r10, 4;\nadd.s64 x12, x10, x11;\n\
         ld.shared.b32 r20, [x12+{last}];\nmov.u32 r21, %dynamic_smem_size;\n{}",
        ptx::store_words(20, 2),
        last = bytes - 512
    );
    let mut case = Case::new(name, Target::Sm80, 128).words([0]).writes(1024).body(&body);
    case.dynamic_shared = bytes;
    let variable = ".extern .shared .align 16 .b8 dynamic[];\n\n.visible";
    case.ptx = case.ptx.replacen(".visible", variable, 1);
    case.expects_words(move |_| (0..128u32).flat_map(|t| [t ^ 127, bytes]).collect())
}

/// Clocks do not run backwards.
fn clocks() -> Case {
    let body = format!(
        "mov.u64 x10, %clock64;\nmov.u64 x11, %globaltimer;\nmov.u32 r10, %clock;\nnanosleep.u32 100;\n\
         mov.u64 x12, %clock64;\nmov.u64 x13, %globaltimer;\nsetp.ge.u64 p0, x12, x10;\nsetp.ge.u64 p1, x13, x11;\n\
         selp.b32 r20, 1, 0, p0;\nselp.b32 r21, 1, 0, p1;\n{}",
        ptx::store_words(20, 2)
    );
    Case::new("control/clocks", Target::Sm80, 32)
        .words([0])
        .writes(256)
        .body(&body)
        .expects_words(|_| vec![1; 64])
}
