//! What ends a fine-tuned network: dropout and softmax cross-entropy.

use std::sync::Arc;

use super::subject::{Fault, run};
use super::values::{close, contents, fault, holding, random, unpacked, wide};
use crate::device::{Device, Memory};
use crate::graph::cuda_tensor::to_device;
use crate::ops::cross_entropy::{self, CudaIo, Io, Problem};
use crate::ops::{Precision, dropout, pitch};
use crate::tensor::random::Stream;

/// (rows, classes) on the CPU and on a device: fewer than a warp, its tails, more rows than a block, many classes.
pub const EXTENTS: [[usize; 2]; 7] = [[1, 2], [3, 5], [8, 32], [9, 33], [17, 101], [261, 7], [2, 400]];

/// Numbers of a dropout: fewer than a block, tails, several blocks.
pub const LENGTHS: [usize; 5] = [4, 8, 1020, 1024, 16 * 512];

/// A class for each row.
pub fn labels([rows, classes]: [usize; 2]) -> Vec<u32> {
    let mut stream = Stream::new("labels", 1);
    (0..rows).map(|_| stream.next_below(classes as u64) as u32).collect()
}

/// Cross-entropy of real logits and of whole ones, which have ties, twice with the same bits.
///
/// # Errors
/// What does not hold, or what the device says.
pub fn check(device: &Arc<Device>, extents: [usize; 2]) -> Result<(), Fault> {
    let [rows, classes] = extents;
    let p = Problem::new(rows, classes).map_err(fault)?;
    let labels = labels(extents);
    for whole in [false, true] {
        let label = format!("cross_entropy {extents:?}{}", if whole { " of whole numbers" } else { "" });
        let mut z = random("z", p.len());
        z.iter_mut().for_each(|z| *z = if whole { (3.0 * *z).round() } else { 3.0 * *z });
        let (logits, held) =
            (holding(device, &to_device(&z, classes, Precision::F32))?, holding(device, &labels)?);
        let d_logits = holding(device, &vec![0xFF_u8; logits.bytes()])?;
        let losses = holding(device, &[f64::NAN; 2])?;
        let workspace = Memory::new(device, "test data", p.cuda_workspace_bytes()).map_err(fault)?;
        let io = CudaIo {
            logits: logits.address(),
            labels: held.address(),
            d_logits: d_logits.address(),
            losses: losses.address(),
            workspace: workspace.address(),
        };
        let mut commands = vec![];
        p.launch(&io, &mut commands);
        let ran = || -> Result<(Vec<u8>, Vec<f64>), Fault> {
            run(device, &commands)?;
            Ok((contents(&d_logits, d_logits.bytes())?, contents(&losses, 2)?))
        };
        let (bytes, figures) = ran()?;
        if ran()? != (bytes.clone(), figures.clone()) {
            return Err(format!("{label}: other bits the second time"));
        }
        let padding = |row: &[u8]| row[size_of::<f32>() * classes..].iter().any(|&b| b != 0);
        if bytes.chunks_exact(size_of::<f32>() * pitch(classes)).any(padding) {
            return Err(format!("{label}: padding is not 0"));
        }
        let got = unpacked(&d_logits, classes, Precision::F32, z.len())?;
        let mut d_want = vec![f64::NAN; z.len()];
        let (scale, z) = (1.0 / rows as f64, wide(&z));
        let io = Io { logits: &z, labels: &labels, scale, d_logits: &mut d_want };
        let want = cross_entropy::reference::run(&p, io);
        if figures[1] != want.right as f64 / rows as f64 {
            return Err(format!("{label}: {} are right instead of {} of {rows}", figures[1], want.right));
        }
        close(&format!("{label}: loss"), &figures[..1], &[want.loss * scale], 3e-6, 0.1)?;
        close(&format!("{label}: gradient"), &wide(&got), &d_want, 3e-6, 1e-3)?;
    }
    Ok(())
}

/// Dropout of `len` numbers, exactly.
///
/// # Errors
/// What does not hold, or what the device says.
pub fn check_dropout(device: &Arc<Device>, len: usize) -> Result<(), Fault> {
    let x = random("x", len);
    let mask: Vec<f32> = random("mask", len).iter().map(|&m| if m < 0.0 { 0.0 } else { 2.0 }).collect();
    let mut want = vec![f32::NAN; len];
    dropout::apply(&x, &mask, &mut want);
    let [held_x, held_mask] = [holding(device, &x)?, holding(device, &mask)?];
    let y = holding(device, &vec![f32::NAN; len])?;
    run(device, &[dropout::launch(len, held_x.address(), held_mask.address(), y.address()).into()])?;
    if contents::<f32>(&y, len)? != want {
        return Err(format!("dropout of {len} numbers: is not the product"));
    }
    Ok(())
}
