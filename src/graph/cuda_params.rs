//! Parameters on a device: one flat array with every channel axis at its pitch, so that kernels read whole vectors. The
//! padding is 0 and stays 0: its gradients are.

use std::ops::Range;

use super::ParamLayout;
use crate::device::Address;
use crate::ops::{CudaParam, ParamKind, pitch};

/// Parameters start at multiples of this many elements: 256 bytes in f32, 128 in bf16.
const ALIGNMENT: usize = 64;

/// One parameter.
#[derive(Clone, Debug)]
struct Entry {
    kind: ParamKind,
    /// In the host's flat array.
    host: Range<usize>,
    /// In the device's.
    device: Range<usize>,
    /// Extent of its last axis.
    channels: usize,
}

/// Where each parameter lives in the flat arrays of a device: masters, gradients, momentum, and the bf16 copies at the
/// same places.
#[derive(Clone, Debug)]
pub struct CudaLayout {
    entries: Vec<Entry>,
    len: usize,
    host_len: usize,
}

impl CudaLayout {
    /// For the parameters of `layout`, in their order.
    pub fn new(layout: &ParamLayout) -> Self {
        let mut len = 0;
        let mut entries = Vec::new();
        for p in layout.params() {
            let dims = p.shape.dims();
            let channels = dims[dims.len() - 1];
            let rows = match dims {
                [_] => 1,
                [k, rest @ .., _] => pitch(*k) * rest.iter().product::<usize>(),
                [] => unreachable!("every parameter has an axis"),
            };
            let device = len..len + rows * pitch(channels);
            len = device.end.next_multiple_of(ALIGNMENT);
            entries.push(Entry { kind: p.kind, host: p.range.clone(), device, channels });
        }
        Self { entries, len, host_len: layout.len() }
    }

    /// Elements of a flat array.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Elements of the host's flat array.
    pub fn host_len(&self) -> usize {
        self.host_len
    }

    /// No parameters.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each parameter's elements and kind, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (Range<usize>, ParamKind)> + '_ {
        self.entries.iter().map(|e| (e.device.clone(), e.kind))
    }

    /// The host's flat array as the device has it.
    pub fn pack(&self, host: &[f32]) -> Vec<f32> {
        let mut device = vec![0.0; self.len];
        for e in &self.entries {
            let rows = host[e.host.clone()].chunks_exact(e.channels);
            let padded = device[e.device.clone()].chunks_exact_mut(pitch(e.channels));
            padded.zip(rows).for_each(|(to, from)| to[..e.channels].copy_from_slice(from));
        }
        device
    }

    /// The inverse of [`Self::pack`].
    pub fn unpack(&self, device: &[f32]) -> Vec<f32> {
        let mut host = vec![0.0; self.host_len];
        for e in &self.entries {
            let rows = host[e.host.clone()].chunks_exact_mut(e.channels);
            let padded = device[e.device.clone()].chunks_exact(pitch(e.channels));
            rows.zip(padded).for_each(|(to, from)| to.copy_from_slice(&from[..e.channels]));
        }
        host
    }
}

/// A layout with the addresses of its arrays.
#[derive(Clone, Debug)]
pub struct CudaParams {
    layout: CudaLayout,
    masters: Address,
    gradients: Address,
    /// bf16, or null in f32.
    copies: Address,
}

impl CudaParams {
    /// Arrays of f32 at `masters` and `gradients`, and of bf16 at `copies`, which is null if the masters are computed with.
    pub fn new(layout: CudaLayout, masters: Address, gradients: Address, copies: Address) -> Self {
        Self { layout, masters, gradients, copies }
    }

    /// The layout.
    pub fn layout(&self) -> &CudaLayout {
        &self.layout
    }

    /// Parameter number `i`.
    pub fn param(&self, i: usize) -> CudaParam {
        let start = self.layout.entries[i].device.start;
        let master = self.masters.offset(start * size_of::<f32>());
        let compute = if self.copies == Address::NULL { master } else { self.copies.offset(start * 2) };
        CudaParam { master, compute }
    }

    /// The gradient of parameter number `i`.
    pub fn gradient(&self, i: usize) -> Address {
        self.gradients.offset(self.layout.entries[i].device.start * size_of::<f32>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::ParamSpec;
    use crate::tensor::Shape;

    #[test]
    fn packing_pads_both_channel_axes_and_unpacking_is_its_inverse() {
        let spec = |name: &'static str, shape: &[usize]| {
            (String::from(name), ParamSpec { name, shape: Shape::new(shape), kind: ParamKind::Kernel })
        };
        let mut layout = ParamLayout::default();
        layout.extend("", &[spec("conv", &[2, 1, 2, 1, 3]), spec("norm", &[5]), spec("linear", &[3, 9])]);
        let cuda = CudaLayout::new(&layout);
        let lens: Vec<_> = cuda.ranges().map(|(r, _)| r.len()).collect();
        assert_eq!(lens, [4 * 2 * 4, 8, 4 * 16]);
        let mut host = vec![0.0; layout.len()];
        for p in layout.params() {
            p.range.clone().for_each(|i| host[i] = i as f32 + 1.0);
        }
        let device = cuda.pack(&host);
        assert_eq!(device[..8], [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0]);
        assert_eq!(device.iter().filter(|&&v| v != 0.0).count(), 12 + 5 + 27);
        assert_eq!(cuda.unpack(&device), host);
    }
}
