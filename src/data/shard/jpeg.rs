//! One frame as a JPEG.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Appends an RGB frame of `height × width` to `out`. Chroma is kept at full resolution (4:4:4): frames are
/// small, scaled down from video whose chroma was coarser, and channel replication trains on single channels.
pub(super) fn encode(
    rgb: &[u8],
    height: usize,
    width: usize,
    quality: u8,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let (Ok(h), Ok(w)) = (u16::try_from(height), u16::try_from(width)) else {
        return Err(format!("{height}×{width} is larger than a JPEG can be"));
    };
    let mut encoder = Encoder::new(out, quality);
    encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
    encoder.encode(rgb, w, h, ColorType::Rgb).map_err(|e| e.to_string())
}

/// Decodes a JPEG of `height × width` into `out`, RGB.
pub(super) fn decode(jpeg: &[u8], height: usize, width: usize, out: &mut [u8]) -> Result<(), String> {
    // The decoder fills what is missing of a cut file with grey and returns Ok.
    if !jpeg.ends_with(&[0xFF, 0xD9]) {
        return Err("the JPEG has no end marker".into());
    }
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    decoder.decode_headers().map_err(|e| format!("{e:?}"))?;
    if decoder.dimensions() != Some((width, height)) {
        return Err(format!("the JPEG is not {height}×{width}"));
    }
    decoder.decode_into(out).map_err(|e| format!("{e:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_odd_sizes_come_back_nearly_the_same() {
        for (h, w) in [(1, 1), (7, 9), (64, 80), (65, 87), (128, 171)] {
            let rgb: Vec<u8> = (0..h * w)
                .flat_map(|i| {
                    let (y, x) = (i / w, i % w);
                    [(y * 2) as u8, (x + 40) as u8, 200 - y as u8]
                })
                .collect();
            let (mut jpeg, mut back) = (Vec::new(), vec![0; h * w * 3]);
            encode(&rgb, h, w, 90, &mut jpeg).unwrap();
            decode(&jpeg, h, w, &mut back).unwrap();
            let worst = rgb.iter().zip(&back).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 8, "{h}×{w}: {worst}");
        }
    }

    #[test]
    fn a_cut_or_misdeclared_frame_is_an_error() {
        let (mut jpeg, mut out) = (Vec::new(), vec![0; 32 * 32 * 3]);
        encode(&[100; 32 * 32 * 3], 32, 32, 90, &mut jpeg).unwrap();
        for cut in 0..jpeg.len() {
            assert!(decode(&jpeg[..cut], 32, 32, &mut out).is_err(), "cut at {cut} of {}", jpeg.len());
        }
        assert!(decode(&jpeg, 32, 31, &mut out).is_err());
    }
}
