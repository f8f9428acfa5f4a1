//! Scaling frames down by area, on loading.

/// `(height, width)` with the shorter side at most `short_side`, aspect kept, rounded to whole pixels.
pub fn limit_short_side(height: usize, width: usize, short_side: usize) -> (usize, usize) {
    let shorter = height.min(width);
    if shorter <= short_side { (height, width) } else { with_short_side(height, width, short_side) }
}

/// `(height, width)` with the shorter side exactly `short_side`, aspect kept, rounded to whole pixels.
pub fn with_short_side(height: usize, width: usize, short_side: usize) -> (usize, usize) {
    let shorter = height.min(width).max(1);
    let scale = |side: usize| ((side * short_side + shorter / 2) / shorter).max(1);
    (scale(height), scale(width))
}

/// Averages by area: each output pixel is the mean of the rectangle of the input that it covers, borders
/// weighted by the covered part. Integer arithmetic, so the same bits everywhere.
#[derive(Debug, Default)]
pub struct AreaScaler {
    rows: Vec<u32>, // (in height, out width, 3), sums over columns
    sums: Vec<u64>, // (out width, 3), of one output row
}

impl AreaScaler {
    /// Scales `src` (`in_size` = (height, width), RGB) down into `dst` (`out_size`, RGB). Sides of at most
    /// 65,535 pixels: what a JPEG can hold.
    pub fn scale(&mut self, src: &[u8], in_size: (usize, usize), dst: &mut [u8], out_size: (usize, usize)) {
        let ((h, w), (oh, ow)) = (in_size, out_size);
        assert_eq!(src.len(), h * w * 3, "source frame");
        assert_eq!(dst.len(), oh * ow * 3, "scaled frame");
        // In units of 1/ow of an input column, output column i covers w units from i·w: weights are integers.
        self.rows.clear();
        self.rows.resize(h * ow * 3, 0);
        for (line, sums) in src.chunks_exact(w * 3).zip(self.rows.chunks_exact_mut(ow * 3)) {
            for (i, sum) in sums.chunks_exact_mut(3).enumerate() {
                for (x, weight) in cover(i, w, ow) {
                    for c in 0..3 {
                        sum[c] += u32::from(line[3 * x + c]) * weight as u32;
                    }
                }
            }
        }
        let area = (h * w) as u64;
        self.sums.resize(ow * 3, 0);
        for (j, out) in dst.chunks_exact_mut(ow * 3).enumerate() {
            self.sums.fill(area / 2);
            for (y, weight) in cover(j, h, oh) {
                for (sum, &v) in self.sums.iter_mut().zip(&self.rows[y * ow * 3..][..ow * 3]) {
                    *sum += u64::from(v) * weight as u64;
                }
            }
            for (o, &sum) in out.iter_mut().zip(&self.sums) {
                *o = (sum / area) as u8;
            }
        }
    }
}

/// The input positions that output `i` covers, with the overlap in units of 1/`out` of an input pixel.
fn cover(i: usize, input: usize, out: usize) -> impl Iterator<Item = (usize, usize)> {
    let (begin, end) = (i * input, (i + 1) * input);
    (begin / out..end.div_ceil(out)).map(move |p| (p, end.min((p + 1) * out) - begin.max(p * out)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::random::Stream;

    #[test]
    fn sizes_keep_aspect_and_short_side() {
        assert_eq!(with_short_side(240, 320, 128), (128, 171));
        assert_eq!(with_short_side(65, 87, 128), (128, 171));
        assert_eq!(with_short_side(170, 128, 64), (85, 64));
        assert_eq!(limit_short_side(48, 64, 128), (48, 64));
        assert_eq!(limit_short_side(128, 171, 64), (64, 86));
    }

    #[test]
    fn halving_is_the_rounded_mean_of_four() {
        let src: Vec<u8> = (0..4 * 6 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let mut dst = vec![0; 2 * 3 * 3];
        AreaScaler::default().scale(&src, (4, 6), &mut dst, (2, 3));
        for (y, x, c) in (0..2).flat_map(|y| (0..3).flat_map(move |x| (0..3).map(move |c| (y, x, c)))) {
            let at = |dy: usize, dx: usize| u32::from(src[((2 * y + dy) * 6 + 2 * x + dx) * 3 + c]);
            let mean = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1) + 2) / 4;
            assert_eq!(u32::from(dst[(y * 3 + x) * 3 + c]), mean);
        }
    }

    #[test]
    fn any_ratio_agrees_with_real_arithmetic_and_keeps_constants() {
        let mut s = Stream::new("resize", 0);
        for _ in 0..20 {
            let (h, w) = (2 + s.next_below(30) as usize, 2 + s.next_below(30) as usize);
            let (oh, ow) = (1 + s.next_below(h as u64) as usize, 1 + s.next_below(w as u64) as usize);
            let src: Vec<u8> = (0..h * w * 3).map(|_| s.next_below(256) as u8).collect();
            let mut dst = vec![0; oh * ow * 3];
            AreaScaler::default().scale(&src, (h, w), &mut dst, (oh, ow));
            let overlap = |i: usize, p: usize, n: usize, on: usize| {
                let r = n as f64 / on as f64;
                ((i + 1) as f64 * r).min((p + 1) as f64) - (i as f64 * r).max(p as f64)
            };
            for (j, i, c) in (0..oh).flat_map(|j| (0..ow).flat_map(move |i| (0..3).map(move |c| (j, i, c)))) {
                let mut sum = 0.0;
                for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                    let weight = overlap(j, y, h, oh).max(0.0) * overlap(i, x, w, ow).max(0.0);
                    sum += weight * f64::from(src[(y * w + x) * 3 + c]);
                }
                let expect = sum * (oh * ow) as f64 / (h * w) as f64;
                let got = f64::from(dst[(j * ow + i) * 3 + c]);
                assert!((got - expect).abs() <= 0.5 + 1e-9, "{h}×{w} → {oh}×{ow}: {got} is not {expect}");
            }
        }
    }
}
