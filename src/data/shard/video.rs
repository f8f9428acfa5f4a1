//! A video on its way into a shard.

use super::format::VideoInfo;
use super::jpeg;

/// Frames encoded so far, with what is known of the video.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncodedVideo {
    /// Its description; `frames` counts along.
    pub info: VideoInfo,
    pub(super) mjpeg: Vec<u8>,
    pub(super) frame_offsets: Vec<u32>,
    pub(super) frame_crc32c: Vec<u32>,
}

impl EncodedVideo {
    /// A video without frames.
    pub fn new(info: VideoInfo) -> Self {
        Self { info: VideoInfo { frames: 0, ..info }, ..Self::default() }
    }

    /// Encodes one RGB frame, `(height, width, 3)`, at JPEG quality 1-100.
    ///
    /// # Errors
    /// A reason, if the frame is too large for a JPEG or the video for a shard (4 GiB).
    pub fn push_frame(&mut self, rgb: &[u8], quality: u8) -> Result<(), String> {
        let begin = self.mjpeg.len();
        let offset = u32::try_from(begin).map_err(|_| "more than 4 GiB of frames".to_owned())?;
        jpeg::encode(rgb, self.info.height, self.info.width, quality, &mut self.mjpeg)?;
        self.frame_offsets.push(offset);
        self.frame_crc32c.push(crc32c::crc32c(&self.mjpeg[begin..]));
        self.info.frames += 1;
        Ok(())
    }

    /// Bytes of its frames.
    pub fn bytes(&self) -> usize {
        self.mjpeg.len()
    }
}
