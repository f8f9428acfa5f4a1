//! Tensor copies in tile mode (PTX ISA 9.7.9.27, "Tensors").

use super::barrier::{init_for_copies, wait};
use super::case::{Agreement, Case, Target};
use super::copy::{copy_in, copy_out};
use super::data::{Random, special_floats};
use super::exact::F32;
use super::integer::number;
use super::map::{Map, Mode, SWIZZLES, Swizzle, Type};
use super::ptx;

/// Elements of a tensor: small floats, or any bytes.
pub fn contents(map: &Map, random: &mut Random) -> Vec<u8> {
    let size = map.element.bytes();
    let mut element = || match map.element.format() {
        Some(format) => format.encode_f64(random.small(100) as f64),
        None => random.bits(),
    };
    (0..map.bytes() / size).flat_map(|_| element().to_le_bytes()[..size].to_vec()).collect()
}

fn coordinates(start: &[i32]) -> String {
    start.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

/// Loads at each start by one copy and stores what arrives.
pub fn load_case(name: String, map: Map, start: &[i32], offsets: &[u16]) -> Case {
    let bytes = map.visits(start, offsets).len() * map.element.bytes();
    let rank = map.extents.len();
    let im2col = matches!(map.mode, Mode::Im2col { .. });
    let mode = if im2col { "im2col" } else { "tile" };
    // Parts of this vector are 16-bit registers.
    let mut body = format!(
        ".shared .align 1024 .b8 s[{bytes}];\n.shared .align 8 .b64 bar;\n{}",
        init_for_copies("bar", 1)
    );
    let mut tail = String::new();
    for (k, offset) in offsets.iter().enumerate() {
        body += &format!("mov.b16 h{}, {offset};\n", 10 + k);
    }
    if im2col {
        tail = format!(", {{{}}}", ptx::list("h", 10, offsets.len()));
    }
    body += &format!(
        "setp.ne.u32 p0, tid, 0;\n@p0 bra ISSUED;\nprefetch.tensormap [map0];\n\
         mbarrier.arrive.expect_tx.shared.b64 _, [bar], {bytes};\n\
         cp.async.bulk.tensor.{rank}d.shared::cluster.global.{mode}.mbarrier::complete_tx::bytes [s], [map0, {{{}}}], [bar]{tail};\n\
             ISSUED:\n{}{}",
        coordinates(start),
        wait("bar", 0),
        copy_out(bytes)
    );
    let mut case = Case::new(name, Target::Sm90, 128).writes(bytes);
    let mut random = Random::new(&case.name);
    case = case.bytes(contents(&map, &mut random));
    if map.fill_nan
        && let Some(format) = map.element.format()
    {
        case.agreement = Agreement::Numbers(format);
    }
    case.maps = vec![map.clone()];
    let (start, offsets) = (start.to_vec(), offsets.to_vec());
    case.body(&body).expects(move |inputs, _| map.load(&inputs[0], &start, &offsets))
}

/// Stores, or adds, shared memory to a tensor.
pub fn store_case(name: String, mut map: Map, start: &[i32], operation: Option<&str>) -> Case {
    map.input = None;
    let bytes = map.visits(start, &[]).len() * map.element.bytes();
    let rank = map.extents.len();
    let mode = if matches!(map.mode, Mode::Im2col { .. }) { "im2col_no_offs" } else { "tile" };
    let mut body = format!(".shared .align 1024 .b8 s[{bytes}];\n{}", copy_in("in0", 0, bytes));
    let instruction = match operation {
        Some(op) => format!("cp.reduce.async.bulk.tensor.{rank}d.global.shared::cta.{op}.{mode}.bulk_group"),
        None => format!("cp.async.bulk.tensor.{rank}d.global.shared::cta.{mode}.bulk_group"),
    };
    body += &format!(
        "fence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 p0, tid, 0;\n@p0 bra DONE;\n\
         {instruction} [map0, {{{}}}], [s];\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\n\
             DONE:\n",
        coordinates(start)
    );
    let mut case = Case::new(name, Target::Sm90, 128);
    let mut random = Random::new(&case.name);
    let mut image = contents(&map, &mut random);
    let size = map.element.bytes();
    while image.len() < bytes {
        image.extend(contents(&map, &mut random));
    }
    image.truncate(bytes);
    case.output = contents(&map, &mut random);
    case.maps = vec![map.clone()];
    let (start, operation) = (start.to_vec(), operation.map(str::to_owned));
    let format = map.element.format();
    let signed = matches!(map.element, Type::S32 | Type::S64);
    case.bytes(image).body(&body).expects(move |inputs, memory| {
        let mut out = memory.to_vec();
        let combine = |m: u64, v: u64| match (operation.as_deref(), format) {
            (None, _) => v,
            (Some("add"), Some(f)) => f.encode_f64(f.to_f64(m) + f.to_f64(v)),
            (Some("min"), Some(f)) => f.encode_f64(f.to_f64(m).min(f.to_f64(v))),
            (Some("max"), Some(f)) => f.encode_f64(f.to_f64(m).max(f.to_f64(v))),
            (Some(op), _) => integer(op, m, v, 8 * size as u32, signed),
        };
        map.store(&mut out, &inputs[0], &start, combine);
        out
    })
}

fn integer(op: &str, m: u64, v: u64, width: u32, signed: bool) -> u64 {
    let value = |x| number(x, width, signed);
    match op {
        "add" => m.wrapping_add(v),
        "min" => {
            if value(v) < value(m) {
                v
            } else {
                m
            }
        }
        "max" => {
            if value(v) > value(m) {
                v
            } else {
                m
            }
        }
        "inc" => {
            if m >= v {
                0
            } else {
                m + 1
            }
        }
        "dec" => {
            if m == 0 || m > v {
                v
            } else {
                m - 1
            }
        }
        "and" => m & v,
        "or" => m | v,
        _ => m ^ v,
    }
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&[u64], &[u32]); 5] = [
        (&[200], &[64]),
        (&[64, 40], &[16, 12]),
        (&[32, 12, 10], &[16, 5, 4]),
        (&[16, 9, 8, 7], &[8, 4, 3, 2]),
        (&[16, 7, 6, 5, 4], &[8, 3, 2, 2, 2]),
    ];
    for (extents, tile) in shapes {
        let rank = extents.len();
        let inside: Vec<i32> = (0..rank as i32).map(|d| d + 1).collect();
        let before: Vec<i32> = tile.iter().map(|t| -(*t as i32) / 2).collect();
        let past: Vec<i32> = extents.iter().zip(tile).map(|(e, t)| *e as i32 - *t as i32 / 2).collect();
        let away: Vec<i32> = extents.iter().map(|e| *e as i32 + 3).collect();
        for (place, start) in [("inside", &inside), ("before", &before), ("past", &past), ("away", &away)] {
            let map = Map::tiled(Type::F32, extents, tile, Swizzle::None);
            cases.push(load_case(format!("tma/load/{rank}d/f32/{place}"), map.clone(), start, &[]));
            cases.push(store_case(format!("tma/store/{rank}d/f32/{place}"), map, start, None));
        }
    }
    types(&mut cases);
    swizzles(&mut cases);
    steps(&mut cases);
    reductions(&mut cases);
    cases.extend(variants());
    cases
}

/// Forms of the load that one CTA cannot tell from the plain one.
fn variants() -> Vec<Case> {
    let map = || Map::tiled(Type::Bf16, &[64, 40], &[64, 16], Swizzle::Bytes128);
    let form = |name: &str, modifier: &str, operand: &str| {
        let mut case = load_case(format!("tma/load/2d/bf16/{name}"), map(), &[0, 30], &[]);
        // Multicast is an accelerated feature.
        case.target = Target::Sm90a;
        case.ptx = case.ptx.replacen(".target sm_90", ".target sm_90a", 1);
        case.ptx =
            case.ptx.replacen("complete_tx::bytes [s]", &format!("complete_tx::bytes{modifier} [s]"), 1);
        let setup =
            "createpolicy.fractional.L2::evict_first.b64 x30, 1.0;\n\tmov.b16 h30, 1;\n\tprefetch.tensormap";
        case.ptx = case.ptx.replacen("prefetch.tensormap", setup, 1);
        case.ptx = case.ptx.replacen("}], [bar];", &format!("}}], [bar]{operand};"), 1);
        case
    };
    vec![
        form("multicast", ".multicast::cluster", ", h30"),
        form("cache-hint", ".L2::cache_hint", ", x30"),
        form("multicast-cache-hint", ".multicast::cluster.L2::cache_hint", ", h30, x30"),
    ]
}

fn types(cases: &mut Vec<Case>) {
    let all = [
        ("u8", Type::U8),
        ("u16", Type::U16),
        ("u32", Type::U32),
        ("s32", Type::S32),
        ("u64", Type::U64),
        ("s64", Type::S64),
        ("f16", Type::F16),
        ("f32", Type::F32),
        ("f64", Type::F64),
        ("bf16", Type::Bf16),
        ("f32-ftz", Type::F32Ftz),
        ("tf32", Type::Tf32),
        ("tf32-ftz", Type::Tf32Ftz),
    ];
    for (t, element) in all {
        let row = 128 / element.bytes() as u64;
        let map = Map::tiled(element, &[row, 20], &[row as u32 / 2, 8], Swizzle::None);
        let start = [row as i32 * 3 / 4, 15];
        cases.push(load_case(format!("tma/load/2d/{t}/corner"), map.clone(), &start, &[]));
        cases.push(store_case(format!("tma/store/2d/{t}/corner"), map.clone(), &start, None));
        if element.format().is_some() {
            let map = Map { fill_nan: true, ..map };
            cases.push(load_case(format!("tma/load/2d/{t}/corner-nan"), map, &start, &[]));
        }
        if !matches!(element, Type::F32Ftz | Type::Tf32 | Type::Tf32Ftz) {
            continue;
        }
        // Subnormals and low bits: what these types do to them, the documentation does not say to the bit.
        let map = Map::tiled(element, &[32, 8], &[32, 8], Swizzle::None);
        let mut case = load_case(format!("tma/load/2d/{t}/bits"), map, &[0, 0], &[]);
        let specials = special_floats(F32);
        let words = specials.iter().cycle().zip(case.inputs[0].chunks_exact_mut(4));
        words.for_each(|(value, bytes)| bytes.copy_from_slice(&value.to_le_bytes()[..4]));
        case.unknown = true;
        cases.push(case);
    }
}

fn swizzles(cases: &mut Vec<Case>) {
    for swizzle in &SWIZZLES[1..] {
        for (t, element) in [("u8", Type::U8), ("bf16", Type::Bf16), ("f32", Type::F32), ("f64", Type::F64)] {
            let row = (swizzle.span() / element.bytes()) as u32;
            let map = Map::tiled(element, &[u64::from(row) * 2, 40], &[row, 24], *swizzle);
            for (place, start) in
                [("inside", [3, 5]), ("before", [-(row as i32) / 2, -3]), ("past", [row as i32 * 3 / 2, 30])]
            {
                let name = |verb| format!("tma/{verb}/2d/{t}/swizzle-{}/{place}", swizzle.name());
                cases.push(load_case(name("load"), map.clone(), &start, &[]));
                cases.push(store_case(name("store"), map.clone(), &start, None));
            }
        }
        // Rows shorter than the swizzle's span.
        let mut case = load_case(
            format!("tma/load/2d/bf16/swizzle-{}/short-rows", swizzle.name()),
            Map::tiled(Type::Bf16, &[64, 40], &[(swizzle.span() / 4) as u32, 32], *swizzle),
            &[0, 0],
            &[],
        );
        case.unknown = true;
        cases.push(case);
        let row = (swizzle.span() / 2) as u32;
        let map = Map::tiled(Type::Bf16, &[u64::from(row), 9, 8, 7, 3], &[row, 5, 4, 3, 1], *swizzle);
        cases.push(load_case(
            format!("tma/load/5d/bf16/swizzle-{}", swizzle.name()),
            map,
            &[0, -1, 5, 6, 2],
            &[],
        ));
    }
}

fn steps(cases: &mut Vec<Case>) {
    for step in [2, 3] {
        for start in [[0, 1, 2], [-4, -3, 5]] {
            let map = Map {
                steps: vec![1, step, 2],
                ..Map::tiled(Type::Bf16, &[32, 20, 12], &[16, 9, 6], Swizzle::None)
            };
            let place = if start[0] < 0 { "border" } else { "inside" };
            cases.push(load_case(format!("tma/load/3d/bf16/step-{step}/{place}"), map.clone(), &start, &[]));
            cases.push(store_case(format!("tma/store/3d/bf16/step-{step}/{place}"), map, &start, None));
        }
    }
}

fn reductions(cases: &mut Vec<Case>) {
    let forms: [(&str, Type, &[&str]); 6] = [
        ("f32", Type::F32, &["add"]),
        ("bf16", Type::Bf16, &["add", "min", "max"]),
        ("f16", Type::F16, &["add", "min", "max"]),
        ("u32", Type::U32, &["add", "min", "max", "inc", "dec", "and", "or", "xor"]),
        ("s32", Type::S32, &["add", "min", "max"]),
        ("u64", Type::U64, &["add", "min", "max", "and", "or", "xor"]),
    ];
    for (t, element, ops) in forms {
        for op in ops {
            let row = 128 / element.bytes() as u32;
            let map = Map::tiled(element, &[u64::from(row), 20], &[row / 2, 8], Swizzle::None);
            let start = [row as i32 * 3 / 4, -2];
            cases.push(store_case(format!("tma/reduce/2d/{t}/{op}"), map, &start, Some(op)));
        }
    }
    let map = Map::tiled(Type::F32, &[64, 20], &[32, 8], Swizzle::Bytes128);
    cases.push(store_case("tma/reduce/2d/f32/add-swizzle-128b".to_owned(), map, &[-8, 15], Some("add")));
}
