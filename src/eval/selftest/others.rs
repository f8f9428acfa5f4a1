//! What is no operation of a graph: augmentation, the contrastive loss, the optimiser.

use std::sync::Arc;

use super::subject::{Fault, round, run};
use crate::device::{Address, Device, Memory};
use crate::graph::cuda_tensor::{from_device, to_device};
use crate::ops::augment::{self, CudaClip};
use crate::ops::info_nce::{self, CudaTerm};
use crate::ops::{Gradient, ParamKind, Precision, WriteMode, pitch};
use crate::optim::{CudaOptimiser, Figures, FlatArrays, KerasSgd, OptimConfig};
use crate::tensor::random::Stream;
use crate::tensor::transform::{ClipTransform, ColourStep, Rect};

fn fault(e: crate::Error) -> Fault {
    e.to_string()
}

fn holding<T: bytemuck::Pod>(device: &Arc<Device>, values: &[T]) -> Result<Memory, Fault> {
    Memory::holding(device, "test data", values).map_err(fault)
}

fn values(name: &str, len: usize) -> Vec<f32> {
    let mut stream = Stream::new(name, 1);
    (0..len).map(|_| stream.next_in(-1.0, 1.0) as f32).collect()
}

/// Fails unless ‖got − want‖ ≤ tolerance · max(‖want‖, scale).
fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64, scale: f64) -> Result<(), Fault> {
    let error = got.iter().zip(want).map(|(&g, w)| (f64::from(g) - w).powi(2)).sum::<f64>().sqrt();
    let norm = want.iter().map(|w| w * w).sum::<f64>().sqrt().max(scale);
    if error <= tolerance * norm {
        return Ok(()); // written so that NaN fails
    }
    Err(format!("{what}: relative L2 error {:.3e} > {tolerance:.1e}", error / norm))
}

/// Three clips of one window: as it is, with every colour step, and replicated and flipped.
pub(super) fn augmentation(device: &Arc<Device>, precision: Precision) -> Result<(), Fault> {
    let (frames, height, width, side) = (2, 37, 50, 17);
    let mut stream = Stream::new("frames", 1);
    let rgb: Vec<u8> = (0..frames * height * width * 3).map(|_| stream.next_below(256) as u8).collect();
    let problem = augment::Problem::new(frames, height, width, side).map_err(fault)?;
    let crop = Rect { y: 3, x: 5, height: 30, width: 41 };
    let plain = ClipTransform { crop, flip: false, colour: None, replicate: None };
    let colour = [
        ColourStep::Brightness(1.2),
        ColourStep::Contrast(0.7),
        ColourStep::Saturation(1.3),
        ColourStep::Hue(-0.1),
    ];
    let transforms = [
        plain,
        ClipTransform { colour: Some(colour), ..plain },
        ClipTransform { flip: true, replicate: Some(2), ..plain },
    ];
    let clips: Vec<_> = transforms
        .iter()
        .map(|t| CudaClip::new(&problem, t, 0))
        .collect::<crate::Result<_>>()
        .map_err(fault)?;
    let (clips, windows) = (holding(device, &clips)?, holding(device, &rgb)?);
    let pixels = frames * side * side;
    let out = holding(device, &vec![0xFF_u8; transforms.len() * pixels * pitch(3) * precision.size()])?;
    let extents = [transforms.len(), frames, side];
    let launch = augment::launch(precision, extents, clips.address(), windows.address(), out.address());
    run(device, &[launch.into()])?;
    let mut bytes = vec![0; out.bytes()];
    out.download(0, &mut bytes).map_err(fault)?;
    let mut got = vec![0.0; transforms.len() * pixels * 3];
    from_device(&bytes, 3, precision, &mut got);
    for (i, (t, got)) in transforms.iter().zip(got.chunks_exact(pixels * 3)).enumerate() {
        let mut want = vec![f64::NAN; got.len()];
        augment::reference::run(&problem, t, &rgb, &mut want);
        let rounding = want.iter().map(|&v| (round(precision, v) - v).powi(2)).sum::<f64>().sqrt();
        let norm = want.iter().map(|v| v * v).sum::<f64>().sqrt();
        close(&format!("augment {precision:?} clip {i}"), got, &want, 2e-6 + 1.5 * rounding / norm, 1.0)?;
    }
    Ok(())
}

/// Two terms of several tiles in one launch.
pub(super) fn contrast(device: &Arc<Device>) -> Result<(), Fault> {
    let extents = [[65, 2, 128], [17, 1, 33]];
    let (mut problems, mut vectors, mut buffers, mut terms) = (vec![], vec![], vec![], vec![]);
    for (place, [videos, slots, dim]) in extents.into_iter().enumerate() {
        let problem = info_nce::Problem::new(videos, slots, dim, 0.07).map_err(fault)?;
        let pair = ["a", "b"].map(|name| values(&format!("{name}{place}"), videos * slots * dim));
        let held = pair.each_ref().map(|v| to_device(v, dim, Precision::F32));
        let [a, b] = [holding(device, &held[0])?, holding(device, &held[1])?];
        let [da, db] =
            [holding(device, &vec![0xFF_u8; a.bytes()])?, holding(device, &vec![0xFF_u8; b.bytes()])?];
        terms.push(CudaTerm {
            problem,
            a: a.address(),
            b: b.address(),
            da: da.address(),
            db: db.address(),
            scale: 0.5,
            factor: 1.0,
            place,
        });
        problems.push(problem);
        vectors.push(pair);
        buffers.push([a, b, da, db]);
    }
    let scratch = problems.iter().map(info_nce::Problem::cuda_workspace_bytes).sum();
    let workspace = Memory::new(device, "test data", scratch).map_err(fault)?;
    let losses = holding(device, &[f64::NAN; 6])?;
    let mut commands = vec![];
    info_nce::launch(&terms, workspace.address(), losses.address(), &mut commands).map_err(fault)?;
    run(device, &commands)?;
    let mut found = [0.0; 6];
    losses.download(0, &mut found).map_err(fault)?;
    for (i, (p, [a, b])) in problems.iter().zip(&vectors).enumerate() {
        let [a, b] = [a, b].map(|v| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        let (mut da, mut db) = (vec![0.0; a.len()], vec![0.0; b.len()]);
        let mode = WriteMode::Overwrite;
        let want = info_nce::reference::run(
            p,
            info_nce::Io {
                a: &a,
                b: &b,
                scale: 0.5,
                da: Some(Gradient { data: &mut da, mode }),
                db: Some(Gradient { data: &mut db, mode }),
                workspace: &mut [],
            },
        );
        close(&format!("info_nce term {i}: loss"), &[found[i] as f32], &[want], 3e-6, 0.0)?;
        for (what, memory, want) in [("da", &buffers[i][2], da), ("db", &buffers[i][3], db)] {
            let mut bytes = vec![0; memory.bytes()];
            memory.download(0, &mut bytes).map_err(fault)?;
            let mut got = vec![0.0; want.len()];
            from_device(&bytes, extents[i][2], Precision::F32, &mut got);
            close(&format!("info_nce term {i}: {what}"), &got, &want, 1e-5, 1e-2)?;
        }
    }
    Ok(())
}

/// An update with momentum, L2, clipping and LARS, of a kernel of several segments and a bias; with copies in bf16.
pub(super) fn optimiser(device: &Arc<Device>) -> Result<(), Fault> {
    let config = OptimConfig { l2: 0.01, clip_norm: 1.5, lars: 0.02, ..Default::default() };
    let ranges = [(0..9216, ParamKind::Kernel), (9216..9304, ParamKind::Shift)];
    let len = ranges[1].0.end;
    let [w, v, g] = ["w", "v", "g"].map(|name| values(name, len));
    let optimiser = CudaOptimiser::new(&config, ranges.iter().cloned());
    let buffer = holding(device, &optimiser.initial())?;
    let [dw, dv, dg] = [holding(device, &w)?, holding(device, &v)?, holding(device, &g)?];
    let copies = holding(device, &vec![0xFFFF_u16; len])?;
    let (losses, lr) = (holding(device, &[0.0_f64; 6])?, holding(device, &[0.1_f64])?);
    let flat = FlatArrays {
        weights: dw.address(),
        momentum: dv.address(),
        gradients: dg.address(),
        copies: copies.address(),
    };
    let mut commands = vec![];
    optimiser.update(buffer.address(), flat, losses.address(), lr.address(), &mut commands);
    optimiser.update(
        buffer.address(),
        FlatArrays { copies: Address::NULL, ..flat },
        losses.address(),
        lr.address(),
        &mut commands,
    );
    run(device, &commands)?;

    let sgd = KerasSgd::new(OptimConfig { decay: 0.0, ..config }, 2);
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let (mut w, mut v, g) = (wide(&w), wide(&v), wide(&g));
    let mut norm = 0.0;
    for step in 0..2 {
        let squares: Vec<_> =
            ranges.iter().map(|(r, kind)| sgd.squares(*kind, &w[r.clone()], &g[r.clone()])).collect();
        norm = squares.iter().map(|s| s.gradient).sum::<f64>().sqrt();
        let rates = sgd.rates(step, norm);
        for ((r, kind), squares) in ranges.iter().zip(squares) {
            sgd.update(*kind, rates, squares, &mut w[r.clone()], &mut v[r.clone()], &g[r.clone()]);
        }
    }
    let mut figures = [Figures::default()];
    buffer.download(optimiser.figures(), &mut figures).map_err(fault)?;
    if (figures[0].finite, figures[0].updates) != (1, 2) {
        return Err(format!("sgd: {:?}", figures[0]));
    }
    close("sgd: gradient norm", &[figures[0].gradient_norm as f32], &[norm], 1e-6, 0.0)?;
    for (what, memory, want) in [("weights", &dw, w), ("momentum", &dv, v)] {
        let mut got = vec![0.0; len];
        memory.download(0, &mut got).map_err(fault)?;
        close(&format!("sgd: {what}"), &got, &want, 1e-6, 0.0)?;
    }
    Ok(())
}
