//! Exchange within a warp (PTX ISA 9.7.9.6 `shfl.sync`, 9.7.13 votes, `redux`, `match`, `elect`).

use super::case::{Case, Target};
use super::data::Random;
use super::ptx;

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in ["up", "down", "bfly", "idx"] {
        cases.push(shuffle(mode, false));
        cases.push(shuffle(mode, true));
    }
    cases.push(half_warp_shuffle());
    cases.extend([0xffff_ffff, 0x00ff_0f0f].map(votes));
    cases.extend([32, 64].map(match_any));
    cases.extend([32, 64].map(match_all));
    cases.extend(reductions());
    cases.push(active_mask());
    cases.extend(elections());
    cases
}

const CLAMPS: [u32; 12] = [0x1f, 0, 0x0f, 7, 0x1c1f, 0x181f, 0x1800, 0x1003, 0x1e01, 0x1f1f, 0x0f0f, 0x101f];

/// `shfl.sync` with immediate distances and clamps, or with a distance of each lane's own.
fn shuffle(mode: &str, own: bool) -> Case {
    let name = format!("warp/shfl.{mode}{}", if own { "-per-lane" } else { "" });
    let mut random = Random::new(&name);
    let distances: &[u32] = if own { &[0] } else { &[0, 1, 2, 5, 8, 16, 31, 33] };
    let forms: Vec<(u32, u32)> =
        distances.iter().flat_map(|d| CLAMPS.iter().map(move |c| (*d, *c))).collect();
    let mut body = ptx::load_words("in0", 10, 2);
    for (k, (distance, clamp)) in forms.iter().enumerate() {
        let distance = if own { "r11".to_owned() } else { distance.to_string() };
        body += &format!("shfl.sync.{mode}.b32 r{}|p0, r10, {distance}, {clamp}, -1;\n", 20 + 2 * k);
        body += &format!("selp.b32 r{}, 1, 0, p0;\n", 21 + 2 * k);
    }
    body += &ptx::store_words(20, 2 * forms.len());
    let words: Vec<u32> = (0..32).flat_map(|_| [random.word(), random.below(40) as u32]).collect();
    let mode = mode.to_owned();
    Case::new(name, Target::Sm80, 32).words(words).writes(32 * 8 * forms.len()).body(&body).expects_words(
        move |words| {
            let lanes = (0..32i64).flat_map(|lane| forms.iter().map(move |form| (lane, form)));
            lanes
                .flat_map(|(lane, (distance, clamp))| {
                    let distance = if own { words[2 * lane as usize + 1] } else { *distance };
                    let (source, inside) = source_lane(&mode, lane, distance, *clamp);
                    [words[2 * source as usize], u32::from(inside)]
                })
                .collect()
        },
    )
}

/// The lane that is read, and whether it is in range (PTX ISA, `shfl.sync`).
fn source_lane(mode: &str, lane: i64, b: u32, c: u32) -> (i64, bool) {
    let (b, clamp, segment) = (i64::from(b & 31), i64::from(c & 31), i64::from(c >> 8 & 31));
    let highest = lane & segment | clamp & !segment;
    let (j, inside) = match mode {
        "up" => (lane - b, lane - b >= highest),
        "down" => (lane + b, lane + b <= highest),
        "bfly" => (lane ^ b, lane ^ b <= highest),
        _ => {
            let j = lane & segment | b & !segment;
            (j, j <= highest)
        }
    };
    (if inside { j } else { lane }, inside)
}

/// Both halves of a warp shuffle by themselves, after divergence.
fn half_warp_shuffle() -> Case {
    let name = "warp/shfl-after-divergence";
    let body = format!(
        "{}\nsetp.lt.u32 p1, lane, 16;\n@p1 bra LOW;\nshfl.sync.bfly.b32 r20, r10, 3, 0x1f, 0xffff0000;\n\
         bra DONE;\n\
         LOW:\nshfl.sync.down.b32 r20, r10, 4, 0x0f, 0x0000ffff;\nDONE:\n{}",
        ptx::load_words("in0", 10, 1),
        ptx::store_words(20, 1)
    );
    Case::new(name, Target::Sm80, 32)
        .words(Random::new(name).words(32))
        .writes(128)
        .body(&body)
        .expects_words(|words| {
            (0..32usize)
                .map(
                    |lane| {
                        if lane < 16 {
                            words[if lane < 12 { lane + 4 } else { lane }]
                        } else {
                            words[lane ^ 3]
                        }
                    },
                )
                .collect()
        })
}

/// Votes of the lanes of a mask; the others stay out.
fn votes(mask: u32) -> Case {
    let name = format!("warp/vote-{mask:08x}");
    let mut random = Random::new(&name);
    let columns = [u32::MAX, 0, random.word(), random.word() & random.word(), !mask, mask];
    let mut body = "mov.b32 r9, 1;\nshl.b32 r9, r9, lane;\n".to_owned();
    body += &(0..24).map(|k| format!("mov.b32 r{}, 0;\n", 20 + k)).collect::<String>();
    body += &format!("and.b32 r8, r9, {mask};\nsetp.eq.u32 p5, r8, 0;\n@p5 bra DONE;\n");
    for (k, column) in columns.iter().enumerate() {
        body += &format!("and.b32 r8, r9, {column};\nsetp.ne.u32 p0, r8, 0;\n");
        for (j, mode) in ["all", "any", "uni"].iter().enumerate() {
            let register = 20 + 4 * k + j;
            body += &format!("vote.sync.{mode}.pred p1, p0, {mask};\nselp.b32 r{register}, 1, 0, p1;\n");
        }
        body += &format!("vote.sync.ballot.b32 r{}, p0, {mask};\n", 23 + 4 * k);
    }
    body += "DONE:\n";
    body += &ptx::store_words(20, 24);
    Case::new(name, Target::Sm80, 32).words([0]).writes(32 * 96).body(&body).expects_words(move |_| {
        (0..32)
            .flat_map(|lane| {
                columns.iter().flat_map(move |column| {
                    let votes = column & mask;
                    let results = [
                        u32::from(votes == mask),
                        u32::from(votes != 0),
                        u32::from(votes == mask || votes == 0),
                        votes,
                    ];
                    if mask >> lane & 1 == 1 { results } else { [0; 4] }
                })
            })
            .collect()
    })
}

fn wide_values(name: &str, few: u64, width: u32) -> Vec<u32> {
    let mut random = Random::new(name);
    let choices: Vec<u64> = (0..few).map(|k| if k % 2 == 0 { random.bits() } else { k << 32 | 7 }).collect();
    (0..32)
        .flat_map(|_| {
            let value = random.pick(&choices);
            [value as u32, if width == 64 { (value >> 32) as u32 } else { 0 }]
        })
        .collect()
}

fn pairs(words: &[u32]) -> Vec<u64> {
    words.chunks_exact(2).map(|w| u64::from(w[1]) << 32 | u64::from(w[0])).collect()
}

fn match_any(width: u32) -> Case {
    let name = format!("warp/match.any.b{width}");
    let words = wide_values(&name, 5, width);
    let register = if width == 32 { "r10" } else { "x10" };
    let body = format!(
        "{}mov.b64 x10, {{r10, r11}};\nmatch.any.sync.b{width} r20, {register}, -1;\n{}",
        ptx::load_words("in0", 10, 2),
        ptx::store_words(20, 1)
    );
    Case::new(name, Target::Sm80, 32).words(words).writes(128).body(&body).expects_words(|words| {
        let values = pairs(words);
        values.iter().map(|v| (0..32).fold(0, |m, k| m | u32::from(values[k] == *v) << k)).collect()
    })
}

/// `match.all` of 32 unlike values, then of two groups that agree each.
fn match_all(width: u32) -> Case {
    let name = format!("warp/match.all.b{width}");
    let words = wide_values(&name, 4, width);
    let register = if width == 32 { "r10" } else { "x10" };
    let body = format!(
        "{}mov.b64 x10, {{r10, r11}};\nmatch.all.sync.b{width} r20|p0, {register}, -1;\n\
         selp.b32 r21, 1, 0, p0;\n\
         mov.b32 r10, 77;\nmov.b64 x10, 77;\nmatch.all.sync.b{width} r22|p0, {register}, -1;\n\
             selp.b32 r23, 1, 0, p0;\n{}",
        ptx::load_words("in0", 10, 2),
        ptx::store_words(20, 4)
    );
    Case::new(name, Target::Sm80, 32)
        .words(words)
        .writes(512)
        .body(&body)
        .expects_words(|_| [0, 0, u32::MAX, 1].repeat(32))
}

fn reductions() -> Vec<Case> {
    type Fold = fn(u32, u32) -> u32;
    let ops: [(&str, Fold); 9] = [
        ("add.u32", u32::wrapping_add),
        ("add.s32", u32::wrapping_add),
        ("min.u32", u32::min),
        ("max.u32", u32::max),
        ("min.s32", |a, b| (a as i32).min(b as i32) as u32),
        ("max.s32", |a, b| (a as i32).max(b as i32) as u32),
        ("and.b32", |a, b| a & b),
        ("or.b32", |a, b| a | b),
        ("xor.b32", |a, b| a ^ b),
    ];
    let case = |(op, fold): (&str, Fold)| {
        let name = format!("warp/redux.{op}");
        let mask = 0x7fff_0ff1u32;
        let body = format!(
            "{}redux.sync.{op} r20, r10, -1;\nmov.b32 r21, 0;\nmov.b32 r9, 1;\nshl.b32 r9, r9, lane;\n\
             and.b32 r9, r9, {mask};\n\
             setp.eq.u32 p0, r9, 0;\n@p0 bra DONE;\nredux.sync.{op} r21, r10, {mask};\nDONE:\n{}",
            ptx::load_words("in0", 10, 1),
            ptx::store_words(20, 2)
        );
        let mut words = Random::new(&name).words(32);
        if op.starts_with("and") {
            words.iter_mut().for_each(|w| *w |= 0x8000_10f0);
        }
        Case::new(name, Target::Sm80, 32).words(words).writes(256).body(&body).expects_words(move |words| {
            let over = |mask: u32| {
                (0..32).filter(|k| mask >> k & 1 == 1).map(|k| words[k]).reduce(fold).unwrap_or(0)
            };
            let (all, some) = (over(u32::MAX), over(mask));
            (0..32).flat_map(|lane| [all, if mask >> lane & 1 == 1 { some } else { 0 }]).collect()
        })
    };
    ops.into_iter().map(case).collect()
}

/// The hardware may regroup lanes as it likes; what it does in a simple branch is worth knowing.
fn active_mask() -> Case {
    let body = format!(
        "activemask.b32 r20;\nsetp.lt.u32 p0, lane, 12;\n@p0 bra LOW;\nactivemask.b32 r21;\nbra DONE;\n\
         LOW:\nactivemask.b32 r21;\nDONE:\nbar.warp.sync -1;\nactivemask.b32 r22;\n{}",
        ptx::store_words(20, 3)
    );
    let mut case =
        Case::new("warp/activemask", Target::Sm80, 32).words([0]).writes(384).body(&body).expects_words(
            |_| {
                (0..32)
                    .flat_map(|lane| [u32::MAX, if lane < 12 { 0xfff } else { 0xffff_f000 }, u32::MAX])
                    .collect()
            },
        );
    case.unknown = true;
    case
}

/// One lane is elected, the same for the same mask; which one is the hardware's choice.
fn elections() -> Vec<Case> {
    let masks = [u32::MAX, 0xffff_0000, 0x0000_0100, 0x00f0_00c0];
    let mut count = String::new();
    let mut which = String::new();
    for (k, mask) in masks.iter().enumerate() {
        let open = format!(
            "mov.b32 r{0}, 0;\nmov.b32 r9, 1;\nshl.b32 r9, r9, lane;\nand.b32 r9, r9, {mask};\n\
             setp.eq.u32 p0, r9, 0;\n@p0 bra L{k};\n\
             elect.sync r10|p1, {mask};\n",
            20 + k
        );
        count += &format!(
            "{open}vote.sync.ballot.b32 r11, p1, {mask};\npopc.b32 r{0}, r11;\n\
             and.b32 r11, r11, {mask};\nbfind.u32 r11, r11;\n\
             setp.ne.u32 p2, r11, r10;\n@p2 add.u32 r{0}, r{0}, 100;\nL{k}:\nbar.warp.sync -1;\n",
            20 + k
        );
        which += &format!("{open}mov.b32 r{}, r10;\nL{k}:\nbar.warp.sync -1;\n", 20 + k);
    }
    let store = ptx::store_words(20, 4);
    let case = |name: &str, body: String, value: fn(u32) -> u32| {
        Case::new(name, Target::Sm90, 32).words([0]).writes(512).body(&body).expects_words(move |_| {
            let lane = |l: u32| masks.map(|mask| if mask >> l & 1 == 1 { value(mask) } else { 0 });
            (0..32).flat_map(lane).collect()
        })
    };
    let mut leader = case("warp/elect-leader", which + &store, u32::trailing_zeros);
    leader.unknown = true;
    vec![case("warp/elect-one", count + &store, |_| 1), leader]
}
