//! Tensor copies in im2col mode (PTX ISA, "Im2col mode"): pixels of convolutions.

use super::case::Case;
use super::map::{Map, Mode, Swizzle, Type};
use super::tensor::{load_case, store_case};

/// Indices that a copy visits: pixels of the bounding box from `start` on, W fastest, then H, D and the
/// image, each with its channels; every pixel is read at an offset, the filter's tap.
pub fn visits(map: &Map, start: &[i32], offsets: &[u16]) -> Vec<Vec<i64>> {
    let Mode::Im2col { lower, upper, channels, pixels } = &map.mode else { return Vec::new() };
    let spatial = lower.len();
    let mut position: Vec<i64> = start[1..].iter().map(|c| i64::from(*c)).collect();
    let mut all = Vec::new();
    for _ in 0..*pixels {
        for channel in 0..i64::from(*channels) {
            let mut index = vec![i64::from(start[0]) + channel];
            index.extend(
                position.iter().enumerate().map(|(d, p)| p + offsets.get(d).map_or(0, |o| i64::from(*o))),
            );
            all.push(index);
        }
        for d in 0..=spatial {
            if d == spatial {
                position[d] += 1;
                break;
            }
            position[d] += i64::from(map.steps[d + 1]);
            if position[d] < map.extents[d + 1] as i64 + i64::from(upper[d]) {
                break;
            }
            position[d] = i64::from(lower[d]);
        }
    }
    all
}

/// A convolution's geometry, the same in each dimension of space.
struct Convolution {
    kernel: i32,
    stride: u32,
    padding: i32,
    dilation: i32,
}

/// The map of its input of channels-last images.
fn map(element: Type, extents: &[u64], c: &Convolution, channels: u32, pixels: u32, swizzle: Swizzle) -> Map {
    let spatial = extents.len() - 2;
    let lower = vec![-c.padding; spatial];
    // The last pixel at which a filter may start, relative to the image's last.
    let upper = vec![c.padding - (c.kernel - 1) * c.dilation; spatial];
    let mut steps = vec![c.stride; extents.len()];
    steps[0] = 1;
    steps[extents.len() - 1] = 1;
    let mode = Mode::Im2col { lower, upper, channels, pixels };
    Map { mode, steps, ..Map::tiled(element, extents, &[], swizzle) }
}

/// All cases of the family.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let convolutions = [
        ("k1", Convolution { kernel: 1, stride: 1, padding: 0, dilation: 1 }),
        ("k1-s2", Convolution { kernel: 1, stride: 2, padding: 0, dilation: 1 }),
        ("k3", Convolution { kernel: 3, stride: 1, padding: 1, dilation: 1 }),
        ("k3-s2", Convolution { kernel: 3, stride: 2, padding: 1, dilation: 1 }),
        ("k3-valid", Convolution { kernel: 3, stride: 1, padding: 0, dilation: 1 }),
        ("k3-d2", Convolution { kernel: 3, stride: 1, padding: 2, dilation: 2 }),
        ("k7-s2", Convolution { kernel: 7, stride: 2, padding: 3, dilation: 1 }),
    ];
    let tensors: [&[u64]; 3] = [&[16, 11, 4], &[16, 9, 8, 3], &[16, 8, 7, 9, 2]];
    for (name, convolution) in &convolutions {
        for extents in tensors {
            let rank = extents.len();
            let spatial = rank - 2;
            let first: Vec<i32> = [vec![0], vec![-convolution.padding; spatial], vec![0]].concat();
            // In the last rows of the first image, so that the copy goes on in the next.
            let mut late = first.clone();
            for d in 0..spatial {
                let positions = (extents[d + 1] as i32 + 2 * convolution.padding
                    - (convolution.kernel - 1) * convolution.dilation
                    - 1)
                    / convolution.stride as i32;
                late[d + 1] += positions * convolution.stride as i32;
            }
            let mut end = late.clone();
            end[rank - 1] = extents[rank - 1] as i32 - 1;
            for (tap, index) in
                [("first", 0), ("middle", convolution.kernel / 2), ("last", convolution.kernel - 1)]
            {
                if convolution.kernel == 1 && tap != "first" {
                    continue;
                }
                let offsets = vec![(index * convolution.dilation) as u16; spatial];
                for (place, start) in [("start", &first), ("wrap", &late), ("end", &end)] {
                    let map = map(Type::Bf16, extents, convolution, 16, 24, Swizzle::None);
                    let name = format!("tma/im2col/{rank}d/{name}/tap-{tap}/{place}");
                    cases.push(load_case(name, map, start, &offsets));
                }
            }
        }
    }
    let k3 = &convolutions[2].1;
    for (name, swizzle, element, channels) in [
        ("bf16-64b", Swizzle::Bytes64, Type::Bf16, 32),
        ("bf16-128b", Swizzle::Bytes128, Type::Bf16, 64),
        ("f32-32b", Swizzle::Bytes32, Type::F32, 8),
        ("f32-128b", Swizzle::Bytes128, Type::F32, 32),
    ] {
        let extents = [u64::from(channels), 9, 8, 7, 3];
        let map = map(element, &extents, k3, channels, 40, swizzle);
        cases.push(load_case(format!("tma/im2col/5d/k3/{name}"), map, &[0, 3, 2, 1, 0], &[2, 0, 1]));
    }
    let wide = map(Type::Bf16, &[24, 9, 8, 3], k3, 32, 20, Swizzle::None);
    cases.push(load_case(
        "tma/im2col/4d/k3/channels-past-the-end".to_owned(),
        wide.clone(),
        &[8, 2, 1, 0],
        &[1, 1],
    ));
    let nan = Map { fill_nan: true, ..wide };
    cases.push(load_case(
        "tma/im2col/4d/k3/channels-past-the-end-nan".to_owned(),
        nan,
        &[8, -1, -1, 0],
        &[0, 0],
    ));
    for (name, start) in [("start", [0, 0, 0, 0]), ("wrap", [0, 6, 5, 0])] {
        let map = map(Type::Bf16, &[16, 9, 8, 3], &convolutions[4].1, 16, 24, Swizzle::None);
        cases.push(store_case(format!("tma/im2col-store/4d/{name}"), map, &start, None));
    }
    cases
}
