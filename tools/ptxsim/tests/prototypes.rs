//! Whole kernels as nvcc compiles them: convolutions with tensor cores, and the rest of a training step. They must
//! give right results under many schedules, without a report. `planted.rs` has the same kernels with bugs.

mod common;

use common::conv::{self, conv80, conv90};
use common::small::{gemm64, row_sum, row_sums, tile};
use common::{Machine, Params, Random, compile, grid, seeds, told};
use half::bf16;
use ptxsim::launch::{Config, Outcome};

/// Under every schedule the result passes `check`, without a finding.
fn clean<T>(file: &str, arch: &str, run: impl Fn(&Machine, &str) -> (T, Outcome), check: impl Fn(&T)) {
    let Some(ptx) = compile(file, arch, &[]) else { return };
    for seed in seeds() {
        let (result, outcome) = run(&Machine::seeded(seed), &ptx);
        assert!(outcome.findings.is_empty(), "seed {seed:?}: {}", told(&outcome));
        check(&result);
    }
}

/// Sums of small whole numbers are exact: nothing but the very result will do.
fn exactly<T: PartialEq>(wanted: Vec<T>) -> impl Fn(&Vec<T>) {
    move |got| assert!(*got == wanted, "wrong result")
}

#[test]
fn convolution_with_cp_async_and_mma() {
    clean("conv.cu", "compute_80", conv80, exactly(conv::wanted()));
}

#[test]
fn convolution_with_tma_and_wgmma() {
    clean("conv90.cu", "compute_90a", conv90, exactly(conv::wanted()));
}

#[test]
fn sum_of_rows() {
    clean("conv.cu", "compute_80", row_sum, exactly(row_sums()));
}

#[test]
fn tile_from_ordinary_writes() {
    clean("conv90.cu", "compute_90a", gemm64, exactly(tile()));
}

/// A kernel of `other.cu`.
fn run(machine: &Machine, ptx: &str, kernel: &str, config: Config, params: Params) -> Outcome {
    machine.run(&machine.load(ptx), kernel, config, &params)
}

/// Numbers between -2 and 2.
fn reals(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(1 << 20) as f32 / (1 << 18) as f32 - 2.0).collect()
}

fn halves(count: usize, seed: u64) -> Vec<bf16> {
    reals(count, seed).into_iter().map(bf16::from_f32).collect()
}

#[test]
fn instance_norm() {
    const CHANNELS: usize = 3;
    const ROWS: usize = 2 * CHANNELS;
    const COLUMNS: usize = 500;
    const EPSILON: f32 = 1e-5;
    let (x, gain, shift) = (halves(ROWS * COLUMNS, 1), reals(CHANNELS, 2), reals(CHANNELS, 3));
    let launch = |machine: &Machine, ptx: &str| {
        let [px, pg, pb] = [machine.put(&x), machine.put(&gain), machine.put(&shift)];
        let y = machine.room(ROWS * COLUMNS * 2);
        let params = Params::default().with(px).with(y).with(pg).with(pb);
        let params = params.with(COLUMNS as i32).with(CHANNELS as i32).with(EPSILON);
        let outcome = run(machine, ptx, "inorm", grid(ROWS as u32, 128, 0), params);
        (machine.get::<bf16>(y, ROWS * COLUMNS), outcome)
    };
    clean("other.cu", "compute_80", launch, |y: &Vec<bf16>| {
        for row in 0..ROWS {
            let x = || x[row * COLUMNS..][..COLUMNS].iter().map(|x| f64::from(x.to_f32()));
            let mean = x().sum::<f64>() / COLUMNS as f64;
            let variance = x().map(|x| (x - mean).powi(2)).sum::<f64>() / COLUMNS as f64;
            let scale = f64::from(gain[row % CHANNELS]) / (variance + f64::from(EPSILON)).sqrt();
            for (x, y) in x().zip(&y[row * COLUMNS..]) {
                let wanted = ((x - mean) * scale + f64::from(shift[row % CHANNELS])).max(0.0);
                // Half a unit in the last of eight bits is at most 2^-8 of the value; sums of 500 singles of at most
                // 4, and terms of at most 8 that may cancel, are right to 1e-5.
                let error = (f64::from(y.to_f32()) - wanted).abs();
                assert!(error <= wanted / 256.0 + 1e-5, "row {row}: {y} instead of {wanted}");
            }
        }
    });
}

#[test]
fn max_pool() {
    let (b, h, w, c, oh, ow) = (2usize, 7usize, 9usize, 5usize, 4usize, 5usize);
    let x = halves(b * h * w * c, 4);
    let count = b * oh * ow * c;
    let launch = |machine: &Machine, ptx: &str| {
        let (px, y, from) = (machine.put(&x), machine.room(count * 2), machine.room(count));
        let mut params = Params::default().with(px).with(y).with(from);
        for n in [h, w, c, oh, ow, count] {
            params = params.with(n as i32);
        }
        let outcome = run(machine, ptx, "maxpool", grid(count.div_ceil(64) as u32, 64, 0), params);
        ((machine.get::<bf16>(y, count), machine.get::<u8>(from, count)), outcome)
    };
    let mut wanted = (Vec::new(), Vec::new());
    for i in 0..count {
        let (channel, column, row, image) = (i % c, i / c % ow, i / c / ow % oh, i / c / ow / oh);
        let mut best = (f32::NEG_INFINITY, 0);
        for k in 0..9 {
            let (y, x_) = ((row * 2 + k / 3).wrapping_sub(1), (column * 2 + k % 3).wrapping_sub(1));
            if y < h && x_ < w {
                let value = x[((image * h + y) * w + x_) * c + channel].to_f32();
                if value > best.0 {
                    best = (value, k as u8);
                }
            }
        }
        wanted.0.push(bf16::from_f32(best.0));
        wanted.1.push(best.1);
    }
    clean("other.cu", "compute_80", launch, |got| assert!(*got == wanted, "wrong result"));
}

#[test]
fn info_nce() {
    const N: usize = 45;
    const INVERSE_TEMPERATURE: f32 = 5.0;
    let s = reals(N * N, 5);
    let launch = |machine: &Machine, ptx: &str| {
        let (ps, loss, ds) = (machine.put(&s), machine.put(&[0f32]), machine.room(N * N * 4));
        let params = Params::default().with(ps).with(loss).with(ds).with(N as i32).with(INVERSE_TEMPERATURE);
        let outcome = run(machine, ptx, "infonce", grid(N as u32, 32, 0), params);
        ((machine.get::<f32>(loss, 1)[0], machine.get::<f32>(ds, N * N)), outcome)
    };
    clean("other.cu", "compute_80", launch, |(loss, ds): &(f32, Vec<f32>)| {
        let t = f64::from(INVERSE_TEMPERATURE);
        let mut wanted = 0.0;
        for row in 0..N {
            let z: Vec<f64> = s[row * N..][..N].iter().map(|s| f64::from(*s) * t).collect();
            let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = z.iter().map(|z| (z - most).exp()).sum();
            wanted += (sum.ln() + most - z[row]) / N as f64;
            for column in 0..N {
                let hot = f64::from(u8::from(column == row));
                let slope = ((z[column] - most).exp() / sum - hot) * t / N as f64;
                // Exponents of at most 20 are singles right to 2^-20, and so are their powers, nearly.
                let error = (f64::from(ds[row * N + column]) - slope).abs();
                assert!(error <= 1e-5 * t / N as f64, "{row},{column}: {error:e}");
            }
        }
        // 45 terms of at most 25 / 45, each right to some units of 2^-24 of 25.
        assert!((f64::from(*loss) - wanted).abs() < 1e-4, "{loss} instead of {wanted}");
    });
}

#[test]
fn convolution_in_singles() {
    let (t, h, w, c, k) = (2usize, 5usize, 4usize, 3usize, 6usize);
    let whole = |count, seed| common::integers(count, seed).into_iter().map(bf16::to_f32).collect::<Vec<_>>();
    let (x, filters) = (whole(t * h * w * c, 6), whole(27 * c * k, 7));
    let count = t * h * w * k;
    let launch = |machine: &Machine, ptx: &str| {
        let (px, pw, y) = (machine.put(&x), machine.put(&filters), machine.room(count * 4));
        let mut params = Params::default().with(px).with(pw).with(y);
        for n in [t, h, w, c, k] {
            params = params.with(n as i32);
        }
        let outcome = run(machine, ptx, "conv_f32", grid(count.div_ceil(96) as u32, 96, 0), params);
        (machine.get::<f32>(y, count), outcome)
    };
    let value = |i: usize| {
        let (filter, xv, xh, xt) = (i % k, i / k % w, i / k / w % h, i / k / w / h);
        let mut sum = 0.0;
        for tap in 0..27 {
            let at = |x: usize, step: usize, end: usize| (x + step).checked_sub(1).filter(|x| *x < end);
            let (Some(pt), Some(ph), Some(pv)) =
                (at(xt, tap / 9, t), at(xh, tap / 3 % 3, h), at(xv, tap % 3, w))
            else {
                continue;
            };
            for channel in 0..c {
                let pixel = x[((pt * h + ph) * w + pv) * c + channel];
                sum += pixel * filters[(tap * c + channel) * k + filter];
            }
        }
        sum
    };
    clean("other.cu", "compute_80", launch, exactly((0..count).map(value).collect()));
}

#[test]
fn split_k() {
    const N: usize = 100;
    const SPLITS: usize = 3;
    let parts: Vec<f32> = common::integers(SPLITS * N * 4, 8).into_iter().map(bf16::to_f32).collect();
    let launch = |machine: &Machine, ptx: &str| {
        let sum = machine.put(&[0f32; 4 * N]);
        let mut all = Outcome::default();
        for part in parts.chunks_exact(4 * N) {
            let params = Params::default().with(sum).with(machine.put(part)).with(N as i32);
            let outcome = run(machine, ptx, "splitk", grid(2, 64, 0), params);
            all.findings.extend(outcome.findings);
        }
        (machine.get::<f32>(sum, 4 * N), all)
    };
    let wanted = (0..4 * N).map(|i| (0..SPLITS).map(|s| parts[s * 4 * N + i]).sum()).collect();
    clean("other.cu", "compute_80", launch, exactly(wanted));
}
