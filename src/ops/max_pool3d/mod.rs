//! Max-pool over windows of positions. Padding counts as −∞; the first index in raster order wins a tie, and
//! a NaN wins over numbers, as in PyTorch.

mod cpu;
mod cuda;
pub mod reference;

use std::ops::Range;

use arrayvec::ArrayVec;

use super::{Backward, BackwardReads, Cost, CudaOp, Forward, MAX_INPUTS, Op, Pass, Precision};
use crate::tensor::{Real, Shape};
use crate::{Error, Result};

/// Extents and settings, checked. Triples are (T, H, W).
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    clips: usize,
    channels: usize,
    input: [usize; 3],
    output: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    pad: [usize; 3],
}

impl Problem {
    /// Windows of `kernel` every `stride` over an input `(N, T, H, W, C)` padded by `pad` on both sides;
    /// each output extent is `⌊(input + 2·pad − kernel) / stride⌋ + 1`.
    ///
    /// # Errors
    /// An extent of 0, a window larger than the padded input or of more than 255 positions, or padding of
    /// more than half the window (a window could then hold padding only).
    pub fn new(shape: &Shape, kernel: [usize; 3], stride: [usize; 3], pad: [usize; 3]) -> Result<Self> {
        let fault = |what: String, hint: &str| Err(Error::shape("max_pool3d", what, hint));
        let &[clips, t, h, w, channels] = shape.dims() else {
            return fault(format!("input is {shape}"), "give (N, T, H, W, C)");
        };
        if shape.numel() == 0 || kernel.contains(&0) || stride.contains(&0) {
            return fault(
                format!("input {shape}, kernel {kernel:?}, stride {stride:?}"),
                "every extent must be at least 1",
            );
        }
        let input = [t, h, w];
        if kernel.iter().try_fold(1_usize, |v, &k| v.checked_mul(k)).is_none_or(|v| v > 255) {
            return fault(format!("kernel {kernel:?}"), "a window may hold at most 255 positions");
        }
        if (0..3).any(|i| pad[i] > kernel[i] / 2) {
            return fault(
                format!("padding {pad:?} of kernel {kernel:?}"),
                "pad at most half the window in each direction",
            );
        }
        if (0..3).any(|i| input[i] + 2 * pad[i] < kernel[i]) {
            return fault(
                format!("input {shape} is smaller than the window {kernel:?} with padding {pad:?}"),
                "use larger clips (more frames or a larger crop)",
            );
        }
        let output = std::array::from_fn(|i| (input[i] + 2 * pad[i] - kernel[i]) / stride[i] + 1);
        Ok(Self { clips, channels, input, output, kernel, stride, pad })
    }

    /// Taps of output `o` on axis `axis` that lie inside the input, as (tap, input index).
    #[inline(always)]
    fn taps(&self, axis: usize, o: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (start, pad, extent) = (o * self.stride[axis], self.pad[axis], self.input[axis]);
        let first = pad.saturating_sub(start);
        let end = self.kernel[axis].min((extent + pad).saturating_sub(start));
        (first..end).map(
            #[inline(always)]
            move |k| (k, start + k - pad),
        )
    }

    /// Outputs on axis `axis` whose window holds input `i`.
    #[inline(always)]
    fn windows(&self, axis: usize, i: usize) -> Range<usize> {
        let (k, s, i) = (self.kernel[axis], self.stride[axis], i + self.pad[axis]);
        let first = if i < k { 0 } else { (i - k) / s + 1 };
        first..(i / s + 1).min(self.output[axis])
    }
}

impl<T: Real> Op<T> for Problem {
    fn kind(&self) -> &'static str {
        "max_pool3d"
    }

    fn input_shapes(&self) -> ArrayVec<Shape, MAX_INPUTS> {
        let [t, h, w] = self.input;
        [Shape::new([self.clips, t, h, w, self.channels])].into_iter().collect()
    }

    fn output_shape(&self) -> Shape {
        let [t, h, w] = self.output;
        Shape::new([self.clips, t, h, w, self.channels])
    }

    /// One byte an output: the winner's place in its window, in raster order.
    fn saved_bytes(&self) -> usize {
        <Self as Op<T>>::output_shape(self).numel()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads::default()
    }

    fn cost(&self, pass: Pass) -> Cost {
        let outputs = <Self as Op<T>>::output_shape(self).numel() as u64;
        let inputs = (self.clips * self.channels * self.input.iter().product::<usize>()) as u64;
        let window = self.kernel.iter().product::<usize>() as u64;
        match pass {
            Pass::Forward => Cost { flops: window * outputs, elements: inputs + outputs },
            Pass::Backward => Cost { flops: outputs, elements: inputs + outputs },
        }
    }

    fn forward(&self, io: Forward<'_, T>) {
        cpu::forward(self, io);
    }

    fn backward(&self, io: Backward<'_, T>) {
        cpu::backward(self, io);
    }

    fn cuda(&self, precision: Precision) -> Box<dyn CudaOp> {
        Box::new(cuda::Plan::new(self, precision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_has_no_meaning() {
        let shape = Shape::new([1, 4, 4, 4, 2]);
        let fails = |k, s, p| Problem::new(&shape, k, s, p).is_err();
        assert!(fails([0, 2, 2], [1, 1, 1], [0; 3]));
        assert!(fails([2, 2, 2], [0, 1, 1], [0; 3]));
        assert!(fails([5, 1, 1], [1, 1, 1], [0; 3]));
        assert!(fails([2, 2, 2], [1, 1, 1], [0, 0, 2]));
        assert!(fails([4, 8, 8], [1, 1, 1], [2, 4, 4]));
        assert!(fails([usize::MAX, 2, 2], [1, 1, 1], [0; 3]));
        assert!(Problem::new(&Shape::new([1, 4, 4, 2]), [1; 3], [1; 3], [0; 3]).is_err());
    }

    #[test]
    fn windows_invert_taps() {
        for (k, s, p, extent) in [(2, 2, 0, 7), (3, 2, 1, 8), (3, 1, 1, 3), (1, 2, 0, 5), (2, 3, 1, 9)] {
            let shape = Shape::new([1, 1, 1, extent, 1]);
            let pool = Problem::new(&shape, [1, 1, k], [1, 1, s], [0, 0, p]).unwrap();
            for i in 0..extent {
                let holds = |o: &usize| pool.taps(2, *o).any(|(_, x)| x == i);
                let expected: Vec<usize> = (0..pool.output[2]).filter(holds).collect();
                assert_eq!(pool.windows(2, i).collect::<Vec<_>>(), expected, "{k} {s} {p} {extent} {i}");
            }
        }
    }
}
