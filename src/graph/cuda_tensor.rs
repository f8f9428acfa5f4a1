//! Tensors on their way to and from a device: channels at their pitch, in the precision of the device.

use half::bf16;

use crate::ops::{Precision, pitch};

/// Rows of `channels` values as a device holds them.
pub fn to_device(values: &[f32], channels: usize, precision: Precision) -> Vec<u8> {
    let pitch = pitch(channels);
    let rows = values.chunks_exact(channels);
    let mut bytes = vec![0; rows.len() * pitch * precision.size()];
    match precision {
        Precision::F32 => {
            let to: &mut [[u8; 4]] = bytes.as_chunks_mut().0;
            for (to, row) in to.chunks_exact_mut(pitch).zip(rows) {
                to.iter_mut().zip(row).for_each(|(to, v)| *to = v.to_ne_bytes());
            }
        }
        Precision::Bf16 => {
            let to: &mut [[u8; 2]] = bytes.as_chunks_mut().0;
            for (to, row) in to.chunks_exact_mut(pitch).zip(rows) {
                to.iter_mut().zip(row).for_each(|(to, &v)| *to = bf16::from_f32(v).to_ne_bytes());
            }
        }
    }
    bytes
}

/// The inverse of [`to_device`], into `values`.
pub fn from_device(bytes: &[u8], channels: usize, precision: Precision, values: &mut [f32]) {
    let pitch = pitch(channels);
    let rows = values.chunks_exact_mut(channels);
    match precision {
        Precision::F32 => {
            let from: &[[u8; 4]] = bytes.as_chunks().0;
            for (row, from) in rows.zip(from.chunks_exact(pitch)) {
                row.iter_mut().zip(from).for_each(|(v, &from)| *v = f32::from_ne_bytes(from));
            }
        }
        Precision::Bf16 => {
            let from: &[[u8; 2]] = bytes.as_chunks().0;
            for (row, from) in rows.zip(from.chunks_exact(pitch)) {
                row.iter_mut().zip(from).for_each(|(v, &from)| *v = bf16::from_ne_bytes(from).to_f32());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_a_device_comes_back() {
        for precision in [Precision::F32, Precision::Bf16] {
            for channels in [1, 3, 4, 5, 8, 9] {
                let values: Vec<f32> = (0..channels * 7).map(|v| v as f32).collect();
                let bytes = to_device(&values, channels, precision);
                assert_eq!(bytes.len(), 7 * pitch(channels) * precision.size());
                let mut back = vec![f32::NAN; values.len()];
                from_device(&bytes, channels, precision, &mut back);
                assert_eq!(back, values);
            }
        }
    }
}
