//! Barriers, fences and what else orders threads (PTX ISA 9.7.13).

use super::case::{Case, Target};
use super::data::Random;
use super::ptx;

/// Initialises an mbarrier by the first thread, for all threads to see.
pub fn init(barrier: &str, count: u32) -> String {
    format!(
        "setp.ne.u32 p19, tid, 0;\n@p19 bra INITIALISED;\n\
         mbarrier.init.shared.b64 [{barrier}], {count};\nINITIALISED:\n\
         bar.sync 0;\n"
    )
}

/// Initialises an mbarrier that asynchronous copies will complete.
pub fn init_for_copies(barrier: &str, count: u32) -> String {
    let fences = "fence.mbarrier_init.release.cluster;\nfence.proxy.async;\nINITIALISED:\n";
    init(barrier, count).replace("INITIALISED:\n", fences)
}

/// Polls until the phase of a parity completes.
pub fn poll(barrier: &str, parity: u32) -> String {
    format!(
        "WAIT{parity}:\nmbarrier.test_wait.parity.shared.b64 p18, [{barrier}], {parity};\n@!p18 bra WAIT{parity};\n"
    )
}

/// Waits until the phase of a parity completes, as Hopper does: suspended.
pub fn wait(barrier: &str, parity: u32) -> String {
    poll(barrier, parity).replace("test_wait", "try_wait")
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    vec![
        phases(),
        transactions(),
        pending(),
        dropping(),
        many_phases(),
        named(),
        producer_consumer(),
        reductions(),
        fences(),
        cluster(),
        registers(),
        dependents(),
    ]
}

fn test(register: usize, parity: u32) -> String {
    format!("mbarrier.test_wait.parity.shared.b64 p0, [bar], {parity};\nselp.b32 r{register}, 1, 0, p0;\n")
}

/// One thread's view of an mbarrier's phases.
fn phases() -> Case {
    let mut body = ".shared .align 8 .b64 bar;\nmbarrier.init.shared.b64 [bar], 3;\n".to_owned();
    let arrive = "mbarrier.arrive.shared.b64 x10, [bar];\n";
    body += &test(20, 0);
    body += &test(21, 1);
    body += &format!("{arrive}{}{arrive}{}{arrive}{}{}", test(22, 0), test(23, 0), test(24, 0), test(25, 1));
    // By state: the phase in which the third arrival took place is over.
    body += "mbarrier.test_wait.shared.b64 p0, [bar], x10;\nselp.b32 r26, 1, 0, p0;\n";
    body += &format!("{arrive}mbarrier.test_wait.shared.b64 p0, [bar], x10;\nselp.b32 r27, 1, 0, p0;\n");
    body += &format!("{arrive}{arrive}{}{}", test(28, 1), test(29, 0));
    body += "mbarrier.inval.shared.b64 [bar];\nmbarrier.init.shared.b64 [bar], 1;\n";
    body += &format!("{}{arrive}{}", test(30, 0), test(31, 0));
    body += &ptx::store_words(20, 12);
    Case::new("mbarrier/phases", Target::Sm80, 1)
        .words([0])
        .writes(48)
        .body(&body)
        .expects_words(|_| vec![0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1])
}

/// A phase ends when both its arrivals and its transaction bytes are in.
fn transactions() -> Case {
    let mut body = ".shared .align 8 .b64 bar;\nmbarrier.init.shared.b64 [bar], 1;\n".to_owned();
    body += &format!("mbarrier.expect_tx.relaxed.cta.shared.b64 [bar], 100;\n{}", test(20, 0));
    body += &format!("mbarrier.arrive.shared.b64 _, [bar];\n{}", test(21, 0));
    body += &format!("mbarrier.complete_tx.relaxed.cta.shared.b64 [bar], 40;\n{}", test(22, 0));
    body +=
        &format!("mbarrier.complete_tx.relaxed.cta.shared.b64 [bar], 60;\n{}{}", test(23, 0), test(24, 1));
    body += &format!("mbarrier.arrive.expect_tx.shared.b64 x10, [bar], 16;\n{}", test(25, 1));
    body += &format!("mbarrier.complete_tx.relaxed.cta.shared.b64 [bar], 16;\n{}", test(26, 1));
    body += "mbarrier.try_wait.parity.shared.b64 p0, [bar], 1;\nselp.b32 r27, 1, 0, p0;\n";
    body += "mbarrier.try_wait.parity.shared.b64 p0, [bar], 1, 1000;\nselp.b32 r28, 1, 0, p0;\n";
    body += &format!("mbarrier.arrive.shared.b64 x10, [bar], 1;\n{}", test(29, 0));
    body += &ptx::store_words(20, 10);
    Case::new("mbarrier/transactions", Target::Sm90, 1)
        .words([0])
        .writes(40)
        .body(&body)
        .expects_words(|_| vec![0, 0, 0, 1, 0, 0, 1, 1, 1, 1])
}

/// The pending count that a state carries: before the arrival.
fn pending() -> Case {
    let mut body = ".shared .align 8 .b64 bar;\nmbarrier.init.shared.b64 [bar], 5;\n".to_owned();
    for k in 0..7 {
        body += &format!(
            "mbarrier.arrive.shared.b64 x10, [bar];\nmbarrier.pending_count.b64 r{}, x10;\n",
            20 + k
        );
    }
    body += "mbarrier.arrive.noComplete.shared.b64 x10, [bar], 2;\nmbarrier.pending_count.b64 r27, x10;\n";
    body += &ptx::store_words(20, 8);
    Case::new("mbarrier/pending-count", Target::Sm80, 1)
        .words([0])
        .writes(32)
        .body(&body)
        .expects_words(|_| vec![5, 4, 3, 2, 1, 5, 4, 3])
}

/// `arrive_drop` lowers the count of the phases that follow.
fn dropping() -> Case {
    let mut body = ".shared .align 8 .b64 bar;\nmbarrier.init.shared.b64 [bar], 2;\n".to_owned();
    body += &format!("mbarrier.arrive_drop.shared.b64 x10, [bar];\n{}", test(20, 0));
    body += &format!("mbarrier.arrive.shared.b64 _, [bar];\n{}", test(21, 0));
    body += &format!("mbarrier.arrive.shared.b64 _, [bar];\n{}{}", test(22, 1), test(23, 0));
    body += &ptx::store_words(20, 4);
    Case::new("mbarrier/arrive-drop", Target::Sm80, 1)
        .words([0])
        .writes(16)
        .body(&body)
        .expects_words(|_| vec![0, 1, 1, 0])
}

/// 128 threads pass values around through an mbarrier, phase after phase.
fn many_phases() -> Case {
    let name = "mbarrier/ring";
    let mut body = format!(
        ".shared .align 16 .b8 s[512];\n.shared .align 8 .b64 bar;\n\
                            {}",
        init("bar", 128)
    );
    body += &ptx::load_words("in0", 10, 1);
    body += "mov.u64 x10, s;\nmul.wide.u32 x11, tid, 4;\nadd.s64 x11, x10, x11;\nadd.u32 r11, tid, 1;\n\
             and.b32 r11, r11, 127;\n\
             mul.wide.u32 x12, r11, 4;\nadd.s64 x12, x10, x12;\nmov.u32 r12, 0;\nmov.u32 r15, 0;\n";
    body += "LOOP:\nst.shared.b32 [x11], r10;\n";
    body += &"mbarrier.arrive.shared.b64 _, [bar];\nSPIN#:\n\
              mbarrier.test_wait.parity.shared.b64 p0, [bar], r15;\n@!p0 bra SPIN#;\n\
              xor.b32 r15, r15, 1;\n"
        .replace('#', "A");
    body += "ld.shared.b32 r13, [x12];\nadd.u32 r10, r13, 1;\n";
    body += &"mbarrier.arrive.shared.b64 _, [bar];\nSPIN#:\n\
              mbarrier.test_wait.parity.shared.b64 p0, [bar], r15;\n@!p0 bra SPIN#;\n\
              xor.b32 r15, r15, 1;\n"
        .replace('#', "B");
    body += "add.u32 r12, r12, 1;\nsetp.lt.u32 p1, r12, 10;\n@p1 bra LOOP;\n";
    body += &ptx::store_words(10, 1);
    Case::new(name, Target::Sm80, 128)
        .words(Random::new(name).words(128))
        .writes(512)
        .body(&body)
        .expects_words(|words| (0..128).map(|k| words[(k + 10) % 128].wrapping_add(10)).collect())
}

/// Two halves of a CTA synchronise by barriers of their own.
fn named() -> Case {
    let name = "barrier/named";
    let mut body = ".shared .align 16 .b8 s[512];\n".to_owned();
    body += &ptx::load_words("in0", 10, 1);
    body += "mov.u64 x10, s;\nmul.wide.u32 x11, tid, 4;\nadd.s64 x11, x10, x11;\n\
             st.shared.b32 [x11], r10;\nshr.u32 r11, tid, 6;\nadd.u32 r11, r11, 1;\n";
    body += "setp.eq.u32 p0, r11, 1;\n@p0 bra FIRST;\nbar.sync 2, 64;\nbra READ;\nFIRST:\n\
             barrier.sync.aligned 1, 64;\nREAD:\n";
    body += "xor.b32 r12, tid, 63;\nmul.wide.u32 x11, r12, 4;\nadd.s64 x11, x10, x11;\n\
             ld.shared.b32 r13, [x11];\n";
    // A barrier by register, then the whole CTA.
    body += "bar.sync r11, 64;\nbarrier.cta.sync.aligned 0;\n";
    body += "xor.b32 r12, tid, 127;\nmul.wide.u32 x11, r12, 4;\nadd.s64 x11, x10, x11;\n\
             ld.shared.b32 r14, [x11];\n";
    body += &ptx::store_words(13, 2);
    Case::new(name, Target::Sm80, 128)
        .words(Random::new(name).words(128))
        .writes(1024)
        .body(&body)
        .expects_words(|words| (0..128).flat_map(|k| [words[k ^ 63], words[k ^ 127]]).collect())
}

/// `bar.arrive` of the producers, `bar.sync` of the consumers.
fn producer_consumer() -> Case {
    let name = "barrier/arrive";
    let mut body = ".shared .align 16 .b8 s[512];\n".to_owned();
    body += &ptx::load_words("in0", 10, 1);
    body += "mov.u64 x10, s;\nand.b32 r11, tid, 63;\nmul.wide.u32 x11, r11, 4;\nadd.s64 x11, x10, x11;\n\
             mov.b32 r13, 0;\n";
    body += "setp.lt.u32 p0, tid, 64;\n@p0 bra CONSUME;\nst.shared.b32 [x11], r10;\nbar.arrive 3, 128;\n\
             bra DONE;\n";
    body += "CONSUME:\nbar.sync 3, 128;\nld.shared.b32 r13, [x11];\nDONE:\n";
    body += &ptx::store_words(13, 1);
    Case::new(name, Target::Sm80, 128)
        .words(Random::new(name).words(128))
        .writes(512)
        .body(&body)
        .expects_words(|words| (0..128).map(|k| if k < 64 { words[k + 64] } else { 0 }).collect())
}

fn reductions() -> Case {
    let name = "barrier/red";
    let mut body = ptx::load_words("in0", 10, 1);
    for (k, threshold) in [0u32, 1, 50, 101].iter().enumerate() {
        body += &format!("setp.lt.u32 p0, r10, {threshold};\n");
        body += &format!("barrier.red.popc.aligned.u32 r{}, 0, p0;\n", 20 + 4 * k);
        body += &format!("barrier.red.and.aligned.pred p1, 0, p0;\nselp.b32 r{}, 1, 0, p1;\n", 21 + 4 * k);
        body += &format!("bar.red.or.pred p1, 1, 96, p0;\nselp.b32 r{}, 1, 0, p1;\n", 22 + 4 * k);
        body += &format!("bar.red.popc.u32 r{}, 2, 96, !p0;\n", 23 + 4 * k);
    }
    body += &ptx::store_words(20, 16);
    let mut random = Random::new(name);
    let words: Vec<u32> = (0..96).map(|_| 1 + random.below(100) as u32).collect();
    Case::new(name, Target::Sm80, 96).words(words).writes(96 * 64).body(&body).expects_words(|words| {
        let row: Vec<u32> = [0, 1, 50, 101]
            .iter()
            .flat_map(|t| {
                let count = words.iter().filter(|w| *w < t).count() as u32;
                [count, u32::from(count == 96), u32::from(count > 0), 96 - count]
            })
            .collect();
        row.repeat(96)
    })
}

/// Fences have no result; that the kernel ends is the test.
fn fences() -> Case {
    let fences = [
        "membar.cta",
        "membar.gl",
        "membar.sys",
        "fence.acq_rel.cta",
        "fence.acq_rel.gpu",
        "fence.acq_rel.cluster",
        "fence.acq_rel.sys",
        "fence.sc.cta",
        "fence.sc.gpu",
        "fence.sc.sys",
        "fence.proxy.alias",
        "fence.proxy.async",
        "fence.proxy.async.global",
        "fence.proxy.async.shared::cta",
        "fence.mbarrier_init.release.cluster",
        "bar.warp.sync -1",
    ];
    let body: String = fences.iter().map(|f| format!("{f};\n")).collect();
    let body = format!("mov.b32 r20, i;\n{body}{}", ptx::store_words(20, 1));
    Case::new("barrier/fences", Target::Sm90, 64)
        .words([0])
        .writes(256)
        .body(&body)
        .expects_words(|_| (0..64).collect())
}

/// A cluster of one CTA: its barrier, its special registers, its window on shared memory.
fn cluster() -> Case {
    let mut body = ".shared .align 16 .b8 s[256];\n".to_owned();
    body += "mov.u64 x10, s;\nmul.wide.u32 x11, tid, 4;\nadd.s64 x10, x10, x11;\n\
             st.shared.b32 [x10], tid;\n";
    body += "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n";
    body += "mov.u32 r20, %cluster_ctarank;\nmov.u32 r21, %cluster_nctarank;\n\
             mov.u32 r22, %nclusterid.x;\n";
    body += "mov.u64 x12, s;\nmapa.shared::cluster.u64 x12, x12, 0;\nxor.b32 r11, tid, 63;\n\
             mul.wide.u32 x11, r11, 4;\nadd.s64 x12, x12, x11;\n";
    body += "ld.shared::cluster.b32 r23, [x12];\nmov.u64 x13, s;\ncvta.shared.u64 x13, x13;\n\
             mapa.u64 x13, x13, 0;\nadd.s64 x13, x13, x11;\nld.b32 r24, [x13];\n";
    body += "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n";
    body += &ptx::store_words(20, 5);
    Case::new("barrier/cluster-of-one", Target::Sm90, 64)
        .words([0])
        .writes(64 * 20)
        .body(&body)
        .expects_words(|_| (0..64u32).flat_map(|k| [0, 1, 1, k ^ 63, k ^ 63]).collect())
}

/// Registers move from one warpgroup to the other.
fn registers() -> Case {
    let body = format!(
        "setp.lt.u32 p0, tid, 128;\n@p0 bra LESS;\nsetmaxnreg.inc.sync.aligned.u32 160;\n\
         mov.b32 r20, 160;\nbra DONE;\n\
         LESS:\nsetmaxnreg.dec.sync.aligned.u32 40;\nmov.b32 r20, 40;\nDONE:\n{}",
        ptx::store_words(20, 1)
    );
    let mut case = Case::new("barrier/setmaxnreg", Target::Sm90a, 256).words([0]).writes(1024).body(&body);
    // Without a bound on the registers at launch the assembler ignores the instruction.
    case.ptx = case.ptx.replacen(".maxntid 256, 1, 1", ".maxntid 256, 1, 1\n.maxnreg 128", 1);
    case.expects_words(|_| (0..256).map(|k| if k < 128 { 40 } else { 160 }).collect())
}

/// Launched without dependents the two do nothing.
fn dependents() -> Case {
    let body = format!(
        "griddepcontrol.wait;\nmov.b32 r20, i;\ngriddepcontrol.launch_dependents;\n{}",
        ptx::store_words(20, 1)
    );
    Case::new("barrier/griddepcontrol", Target::Sm90, 64)
        .words([0])
        .writes(256)
        .body(&body)
        .expects_words(|_| (0..64).collect())
}
