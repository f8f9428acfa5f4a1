//! Values on a device and back, and how they are compared.

use std::sync::Arc;

use super::subject::Fault;
use crate::device::{Device, Memory};
use crate::graph::cuda_tensor::from_device;
use crate::ops::Precision;
use crate::tensor::random::Stream;

pub(super) fn fault(e: crate::Error) -> Fault {
    e.to_string()
}

pub(super) fn holding<T: bytemuck::Pod>(device: &Arc<Device>, values: &[T]) -> Result<Memory, Fault> {
    Memory::holding(device, "test data", values).map_err(fault)
}

/// `len` numbers in [−1, 1) that depend on `name` alone.
pub(super) fn random(name: &str, len: usize) -> Vec<f32> {
    let mut stream = Stream::new(name, 1);
    (0..len).map(|_| stream.next_in(-1.0, 1.0) as f32).collect()
}

/// What `memory` holds, as it lies there.
pub(super) fn contents<T: bytemuck::Pod>(memory: &Memory, len: usize) -> Result<Vec<T>, Fault> {
    let mut values = vec![T::zeroed(); len];
    memory.download(0, &mut values).map_err(fault)?;
    Ok(values)
}

/// `len` numbers of `channels` channels, without what fills their pitch.
pub(super) fn unpacked(
    memory: &Memory,
    channels: usize,
    precision: Precision,
    len: usize,
) -> Result<Vec<f32>, Fault> {
    let bytes = contents(memory, memory.bytes())?;
    let mut values = vec![f32::NAN; len];
    from_device(&bytes, channels, precision, &mut values);
    Ok(values)
}

/// Exact.
pub(super) fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&v| f64::from(v)).collect()
}

/// Fails unless ‖got − want‖ ≤ tolerance · max(‖want‖, scale).
pub(super) fn close(what: &str, got: &[f64], want: &[f64], tolerance: f64, scale: f64) -> Result<(), Fault> {
    let error = got.iter().zip(want).map(|(g, w)| (g - w).powi(2)).sum::<f64>().sqrt();
    let norm = want.iter().map(|w| w * w).sum::<f64>().sqrt().max(scale);
    if got.len() == want.len() && error <= tolerance * norm {
        return Ok(()); // written so that NaN fails
    }
    Err(format!("{what}: relative L2 error {:.3e} > {tolerance:.1e}", error / norm))
}
