//! What the augmentation does to one clip: plain numbers, drawn in `data`, applied by `ops::augment`.

/// A rectangle of a frame, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First row.
    pub y: u32,
    /// First column.
    pub x: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// One step of colour jittering; the order of the four is drawn as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ColourStep {
    /// Multiplies every channel by the factor.
    Brightness(f32),
    /// Blends with the clip's mean grey: `f·x + (1−f)·mean`.
    Contrast(f32),
    /// Blends with the pixel's grey: `f·x + (1−f)·grey`.
    Saturation(f32),
    /// Turns the hue by this fraction of a full turn, in [−0.5, 0.5].
    Hue(f32),
}

/// The transform of one variant of one clip, the same on all its frames (SPEC section 4, steps 1-5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipTransform {
    /// The part of the frame that is kept; resized bilinearly to the output size.
    pub crop: Rect,
    /// Mirror left-right.
    pub flip: bool,
    /// Colour jittering in this order; `None` leaves the colours alone.
    pub colour: Option<[ColourStep; 4]>,
    /// Copy this channel (0 red, 1 green, 2 blue) to all three.
    pub replicate: Option<u8>,
}
