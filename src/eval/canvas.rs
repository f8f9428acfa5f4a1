//! A picture to draw on: rectangles, text, frames of videos; saved as PNG.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::data::Window;

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

const WEIGHT: FontWeight = FontWeight::Regular;
const SIZE: RasterHeight = RasterHeight::Size16;
/// Pixels of a line of text.
pub(super) const LINE: usize = 18;

/// A rectangle of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// An RGB picture.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    rgb: Vec<u8>, // (height, width, 3)
}

impl Canvas {
    pub fn new(width: usize, height: usize, colour: Colour) -> Self {
        Self { width, height, rgb: colour.repeat(width * height) }
    }

    /// Sets a pixel; outside the picture nothing happens.
    fn set(&mut self, x: usize, y: usize, colour: Colour) {
        if x < self.width && y < self.height {
            self.rgb[(y * self.width + x) * 3..][..3].copy_from_slice(&colour);
        }
    }

    pub fn fill(&mut self, area: Area, colour: Colour) {
        for y in area.y..area.y + area.height {
            for x in area.x..area.x + area.width {
                self.set(x, y, colour);
            }
        }
    }

    /// Writes one line, dark on light, cut to `area`'s width with two dots at its end.
    pub fn text(&mut self, area: Area, text: &str, ink: Colour) {
        let advance = get_raster_width(WEIGHT, SIZE);
        let room = area.width / advance;
        let mut letters: Vec<char> = text.chars().collect();
        if letters.len() > room {
            letters.truncate(room.saturating_sub(2));
            letters.extend("..".chars().take(room));
        }
        for (i, letter) in letters.into_iter().enumerate() {
            let Some(glyph) = get_raster(letter, WEIGHT, SIZE).or_else(|| get_raster('?', WEIGHT, SIZE))
            else {
                continue;
            };
            for (dy, row) in glyph.rows().enumerate() {
                for (dx, &cover) in row.iter().enumerate() {
                    self.blend(area.x + i * advance + dx, area.y + dy, ink, cover);
                }
            }
        }
    }

    fn blend(&mut self, x: usize, y: usize, ink: Colour, cover: u8) {
        if x < self.width && y < self.height {
            let pixel = &mut self.rgb[(y * self.width + x) * 3..][..3];
            for (p, ink) in pixel.iter_mut().zip(ink) {
                let (cover, under) = (u32::from(cover), u32::from(*p));
                *p = ((cover * u32::from(ink) + (255 - cover) * under + 127) / 255) as u8;
            }
        }
    }

    /// Draws the first frame of `window` so that it covers `area`: scaled bilinearly, aspect kept, what sticks
    /// out cut off evenly.
    pub fn frame(&mut self, area: Area, window: &Window) {
        let (h, w) = (window.height, window.width);
        let scale = (area.width as f64 / w as f64).max(area.height as f64 / h as f64);
        let place = |i: usize, room: usize, extent: usize| {
            let at = (i as f64 + 0.5 - room as f64 / 2.0) / scale + extent as f64 / 2.0 - 0.5;
            let at = at.clamp(0.0, (extent - 1) as f64);
            (at as usize, (at as usize + 1).min(extent - 1), at.fract())
        };
        for dy in 0..area.height {
            let (y0, y1, fy) = place(dy, area.height, h);
            for dx in 0..area.width {
                let (x0, x1, fx) = place(dx, area.width, w);
                let mut colour = [0; 3];
                for (c, to) in colour.iter_mut().enumerate() {
                    let at = |y, x| f64::from(window.rgb[(y * w + x) * 3 + c]);
                    let upper = at(y0, x0) + fx * (at(y0, x1) - at(y0, x0));
                    let lower = at(y1, x0) + fx * (at(y1, x1) - at(y1, x0));
                    *to = (upper + fy * (lower - upper)).round() as u8;
                }
                self.set(area.x + dx, area.y + dy, colour);
            }
        }
    }

    /// Copies `other`, which lies within this picture, to (x, y).
    pub fn paste(&mut self, x: usize, y: usize, other: &Self) {
        for (dy, row) in other.rgb.chunks_exact(other.width * 3).enumerate() {
            self.rgb[((y + dy) * self.width + x) * 3..][..row.len()].copy_from_slice(row);
        }
    }

    /// The file's bytes.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // A grid of 60 × 51 has 220 MB: 10 s of one core at the default level, half a second so, for a fifth more bytes
        // (measured on Zen 4).
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(canvas: &Canvas, x: usize, y: usize) -> Colour {
        canvas.rgb[(y * canvas.width + x) * 3..][..3].try_into().unwrap()
    }

    #[test]
    fn a_frame_covers_its_area_centred() {
        // Left third red, middle green, right blue: a square area shows the middle.
        let rgb: Vec<u8> = (0..4 * 12)
            .flat_map(|i| match i % 12 / 4 {
                0 => [255, 0, 0],
                1 => [0, 255, 0],
                _ => [0, 0, 255],
            })
            .collect();
        let window = Window { frames: 1, height: 4, width: 12, rgb };
        let mut canvas = Canvas::new(20, 20, [9; 3]);
        canvas.frame(Area { x: 2, y: 2, width: 16, height: 16 }, &window);
        assert_eq!(pixel(&canvas, 10, 10), [0, 255, 0]);
        assert_eq!(pixel(&canvas, 4, 2), [0, 255, 0]);
        assert_eq!(pixel(&canvas, 1, 10), [9; 3]);
        assert_eq!(pixel(&canvas, 18, 10), [9; 3]);
        canvas.frame(Area { x: 0, y: 0, width: 12, height: 4 }, &window);
        assert_eq!([0, 5, 11].map(|x| pixel(&canvas, x, 1)), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
    }

    #[test]
    fn a_pasted_picture_lies_where_it_was_put() {
        let mut canvas = Canvas::new(5, 4, [0; 3]);
        let mut other = Canvas::new(2, 3, [7; 3]);
        other.set(1, 2, [9; 3]);
        canvas.paste(3, 1, &other);
        let set: Vec<_> = (0..20).filter(|i| pixel(&canvas, i % 5, i / 5) != [0; 3]).collect();
        assert_eq!(set, [8, 9, 13, 14, 18, 19]);
        assert_eq!(pixel(&canvas, 4, 3), [9; 3]);
    }

    #[test]
    fn text_leaves_ink_inside_its_area_only() {
        let draw = |text: &str| {
            let mut canvas = Canvas::new(100, 30, [255; 3]);
            canvas.text(Area { x: 10, y: 5, width: 60, height: LINE }, text, [0; 3]);
            canvas
        };
        let dark = |c: &Canvas, xs: std::ops::Range<usize>| {
            xs.flat_map(|x| (0..30).map(move |y| (x, y))).filter(|&(x, y)| pixel(c, x, y)[0] < 128).count()
        };
        let long = draw("HandstandPushups");
        assert!(dark(&long, 10..70) > 50);
        assert_eq!(dark(&long, 0..10) + dark(&long, 70..100), 0);
        assert_ne!(draw("Run").rgb, draw("Ran").rgb);
        assert_eq!(draw("日").rgb, draw("?").rgb);
    }
}
