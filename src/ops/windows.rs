//! Windows of positions over an input `(N, T, H, W, C)`: which inputs a window holds and which windows hold an input.
//! Padding counts as −∞; the first index in raster order wins a tie, and a NaN wins over numbers, as in PyTorch.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::tensor::{Real, Shape};
use crate::{Error, Result};

/// Extents, checked. Triples are (T, H, W).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Windows {
    pub input: [usize; 3],
    pub output: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub pad: [usize; 3],
    /// [`Self::holding`] of each input along W, which is asked for far more often than there is time to divide.
    along_w: Vec<(u32, u32)>,
}

/// As kernels take it (`kernels/common/windows.cuh`).
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct WindowArgs {
    input: [u32; 3],
    output: [u32; 3],
    kernel: [u32; 3],
    stride: [u32; 3],
    pad: [u32; 3],
    pitch: u32,
}

impl Windows {
    /// Windows of `kernel` every `stride` over `shape`, `(N, T, H, W, C)`, padded by `pad` on both sides; each output extent
    /// is `⌊(input + 2·pad − kernel) / stride⌋ + 1`.
    ///
    /// # Errors
    /// An extent of 0, a window larger than the padded input or of more than 255 positions, or padding of
    /// more than half the window (a window could then hold padding only).
    pub fn new(
        op: &'static str,
        shape: &Shape,
        kernel: [usize; 3],
        stride: [usize; 3],
        pad: [usize; 3],
    ) -> Result<Self> {
        let fault = |what: String, hint: &str| Err(Error::shape(op, what, hint));
        let &[_, t, h, w, _] = shape.dims() else {
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
        let mut windows = Self { input, output, kernel, stride, pad, along_w: Vec::new() };
        let held = (0..w).map(|w| windows.holding(2, w));
        windows.along_w = held.map(|outputs| (outputs.start as u32, outputs.end as u32)).collect();
        Ok(windows)
    }

    /// Positions of the input of one clip.
    pub fn inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// Windows of one clip.
    pub fn outputs(&self) -> usize {
        self.output.iter().product()
    }

    /// Positions of a window, padding among them.
    pub fn taps_of_a_window(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Taps of output `o` on axis `axis` that lie inside the input, as (tap, input index).
    #[inline(always)]
    pub fn taps(&self, axis: usize, o: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
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
    pub fn holding(&self, axis: usize, i: usize) -> Range<usize> {
        let (k, s, i) = (self.kernel[axis], self.stride[axis], i + self.pad[axis]);
        let first = if i < k { 0 } else { (i - k) / s + 1 };
        first..(i / s + 1).min(self.output[axis])
    }

    /// [`Self::holding`] along W, looked up.
    #[inline(always)]
    pub fn holding_along_w(&self, w: usize) -> Range<usize> {
        let (first, end) = self.along_w[w];
        first as usize..end as usize
    }

    /// The tap through which output `o` on axis `axis`, one of those that hold input `i`, reads it.
    #[inline(always)]
    pub fn tap(&self, axis: usize, i: usize, o: usize) -> usize {
        i + self.pad[axis] - o * self.stride[axis]
    }

    /// Whether each input lies in at most one window.
    pub fn is_apart(&self) -> bool {
        (0..3).all(|axis| self.stride[axis] >= self.kernel[axis])
    }

    /// Boxes as large as the stride that cover the inputs; the first ones begin with the padding.
    pub fn cells(&self) -> [usize; 3] {
        std::array::from_fn(|axis| (self.input[axis] + self.pad[axis]).div_ceil(self.stride[axis]))
    }

    /// For kernels, over channels at `pitch`.
    ///
    /// # Panics
    /// If a frame has 2³² elements or more: kernels count them in 32 bits.
    pub fn args(&self, pitch: usize) -> WindowArgs {
        let frame = |extent: [usize; 3]| extent[1] * extent[2] * pitch;
        assert!(frame(self.input).max(frame(self.output)) <= u32::MAX as usize, "frames of {:?}", self.input);
        let triple = |v: [usize; 3]| v.map(|v| v as u32);
        WindowArgs {
            input: triple(self.input),
            output: triple(self.output),
            kernel: triple(self.kernel),
            stride: triple(self.stride),
            pad: triple(self.pad),
            pitch: pitch as u32,
        }
    }

    /// Calls `f(output index, input index, place in the window)` for every tap that is not padding of every channel of
    /// `clips`, in raster order of the outputs and then of the window.
    fn for_each_tap(&self, clips: usize, channels: usize, mut f: impl FnMut(usize, usize, usize)) {
        let ([it, ih, iw], [ot, oh, ow]) = (self.input, self.output);
        let inside = |o: usize, k: usize, axis: usize| {
            (o * self.stride[axis] + k).checked_sub(self.pad[axis]).filter(|&i| i < self.input[axis])
        };
        for n in 0..clips {
            for (z, y, x) in triples([ot, oh, ow]) {
                for c in 0..channels {
                    let out = (((n * ot + z) * oh + y) * ow + x) * channels + c;
                    for (place, (a, b, d)) in triples(self.kernel).enumerate() {
                        if let (Some(t), Some(h), Some(w)) =
                            (inside(z, a, 0), inside(y, b, 1), inside(x, d, 2))
                        {
                            f(out, (((n * it + t) * ih + h) * iw + w) * channels + c, place);
                        }
                    }
                }
            }
        }
    }

    /// The specification of a max-pool: each window's largest value, and its place in the window, in raster order.
    pub fn largest<T: Real>(&self, clips: usize, channels: usize, x: &[T], y: &mut [T], won: &mut [u8]) {
        y.fill(T::NEG_INFINITY);
        let mut fresh = usize::MAX;
        self.for_each_tap(clips, channels, |out, i, place| {
            let first = out != fresh;
            fresh = out;
            if first || x[i] > y[out] || x[i].to_f64().is_nan() {
                y[out] = x[i];
                won[out] = place as u8;
            }
        });
    }

    /// The specification of its gradient: for each input the sum, in raster order, over the windows that it won.
    pub fn hand_back<T: Real>(&self, clips: usize, channels: usize, dy: &[T], won: &[u8]) -> Vec<T> {
        let mut sums = vec![T::ZERO; clips * self.inputs() * channels];
        self.for_each_tap(clips, channels, |out, i, place| {
            if usize::from(won[out]) == place {
                sums[i] += dy[out];
            }
        });
        sums
    }
}

fn triples([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// Replaces the value by a larger one, or by a NaN, channel by channel, and its place with it. As wide as an f32 while
/// selecting, so that one comparison serves both; places are below 256.
#[expect(clippy::eq_op, reason = "only a NaN differs from itself")]
#[inline(always)]
pub(crate) fn take_larger<T: Real, const L: usize>(
    best: &mut [T; L],
    place: &mut [u32; L],
    at: u32,
    x: impl Fn(usize) -> T,
) {
    for l in 0..L {
        let x = x(l);
        let wins = (x > best[l]) | (x != x);
        best[l] = if wins { x } else { best[l] };
        place[l] = if wins { at } else { place[l] };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(shape: [usize; 5], k: [usize; 3], s: [usize; 3], p: [usize; 3]) -> Result<Windows> {
        Windows::new("test", &Shape::new(shape), k, s, p)
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        let fails = |k, s, p| windows([1, 4, 4, 4, 2], k, s, p).is_err();
        assert!(fails([0, 2, 2], [1, 1, 1], [0; 3]));
        assert!(fails([2, 2, 2], [0, 1, 1], [0; 3]));
        assert!(fails([5, 1, 1], [1, 1, 1], [0; 3]));
        assert!(fails([2, 2, 2], [1, 1, 1], [0, 0, 2]));
        assert!(fails([4, 8, 8], [1, 1, 1], [2, 4, 4]));
        assert!(fails([usize::MAX, 2, 2], [1, 1, 1], [0; 3]));
        assert!(Windows::new("test", &Shape::new([1, 4, 4, 2]), [1; 3], [1; 3], [0; 3]).is_err());
    }

    #[test]
    fn holding_inverts_taps() {
        for (k, s, p, extent) in [(2, 2, 0, 7), (3, 2, 1, 8), (3, 1, 1, 3), (1, 2, 0, 5), (2, 3, 1, 9)] {
            let pool = windows([1, 1, 1, extent, 1], [1, 1, k], [1, 1, s], [0, 0, p]).unwrap();
            for i in 0..extent {
                let holds = |o: &usize| pool.taps(2, *o).any(|(_, x)| x == i);
                let expected: Vec<usize> = (0..pool.output[2]).filter(holds).collect();
                for held in [pool.holding(2, i), pool.holding_along_w(i)] {
                    assert_eq!(held.collect::<Vec<_>>(), expected, "{k} {s} {p} {extent} {i}");
                }
            }
        }
    }

    #[test]
    fn cells_hold_every_input_and_every_window() {
        for (kernel, stride, pad, extent) in
            [(2, 2, 0, 7), (2, 2, 1, 7), (1, 3, 0, 7), (3, 5, 1, 6), (1, 1, 0, 3)]
        {
            let p = windows([1, extent, extent, extent, 8], [kernel; 3], [stride; 3], [pad; 3]).unwrap();
            assert!(p.is_apart());
            for axis in 0..3 {
                let cells = p.cells()[axis];
                assert!(cells >= p.output[axis], "{p:?}");
                assert!(cells * stride >= extent + pad && (cells - 1) * stride < extent + pad, "{p:?}");
            }
        }
    }

    #[test]
    fn windows_that_overlap_on_one_axis_are_not_apart() {
        assert!(!windows([1, 8, 8, 8, 8], [1, 3, 2], [1, 2, 2], [0, 1, 0]).unwrap().is_apart());
    }
}
