//! Fills (driver API, "Memory Management", `cuMemset*`).

use super::allocation::status;
use super::api::{api, refuse};
use super::state::{Handle, Locked, State, finish};
use super::status::{Result, Status};
use super::trace;
use super::work::{Fill, Work};

impl State {
    /// Checks a fill; whether its target is host memory too. `None` if there is nothing to fill.
    pub(super) fn check_fill(&self, fill: &Fill) -> Result<Option<bool>> {
        let Fill { at, pitch, size, width, height, .. } = *fill;
        trace::bytes(width.saturating_mul(size).saturating_mul(height));
        if width == 0 || height == 0 {
            return Ok(None);
        }
        let aligned = at % size as u64 == 0 && (height == 1 || pitch % size == 0);
        if !aligned {
            let what = format_args!("{at:#x} (pitch {pitch}) is not aligned to elements of {size} bytes");
            return Err(refuse(Status::INVALID_VALUE, what));
        }
        if height > 1 && width.checked_mul(size).is_none_or(|row| row > pitch) {
            return Err(refuse(Status::INVALID_VALUE, "rows are longer than the pitch"));
        }
        let extent = fill.extent().ok_or(Status::INVALID_VALUE)?;
        let region = self.memory().region(at, extent).map_err(status)?;
        Ok(Some(!region.kind.on_device()))
    }
}

/// Queues a fill, on the legacy default stream if there is no other. One without a stream waits if its target is
/// host memory.
fn queue(mut s: Locked, context: Handle, stream: Option<Handle>, fill: Fill) -> Result<()> {
    let Some(on_host) = s.check_fill(&fill)? else { return Ok(()) };
    if stream.is_none() {
        s.forbid_unsafe()?;
    }
    let target = s.resolve(context, stream.unwrap_or(Handle::NONE))?;
    let op = s.submit(context, target, Work::Fill(fill))?;
    if on_host && stream.is_none() {
        finish(s, context, op)?;
    }
    Ok(())
}

fn row(at: u64, value: u32, size: usize, width: usize) -> Fill {
    Fill { at, pitch: 0, value, size, width, height: 1 }
}

api! {
    /// Fills bytes.
    fn cuMemsetD8_v2(s, c; at: u64, value: u8, count: usize) {
        queue(s, c, None, row(at, value.into(), 1, count))
    }

    /// Fills 16-bit words.
    fn cuMemsetD16_v2(s, c; at: u64, value: u16, count: usize) {
        queue(s, c, None, row(at, value.into(), 2, count))
    }

    /// Fills 32-bit words.
    fn cuMemsetD32_v2(s, c; at: u64, value: u32, count: usize) {
        queue(s, c, None, row(at, value, 4, count))
    }

    /// Queues a fill of bytes.
    fn cuMemsetD8Async(s, c; at: u64, value: u8, count: usize, stream: Handle) {
        queue(s, c, Some(stream), row(at, value.into(), 1, count))
    }

    /// Queues a fill of 16-bit words.
    fn cuMemsetD16Async(s, c; at: u64, value: u16, count: usize, stream: Handle) {
        queue(s, c, Some(stream), row(at, value.into(), 2, count))
    }

    /// Queues a fill of 32-bit words.
    fn cuMemsetD32Async(s, c; at: u64, value: u32, count: usize, stream: Handle) {
        queue(s, c, Some(stream), row(at, value, 4, count))
    }

    /// Fills rows of bytes.
    fn cuMemsetD2D8_v2(s, c; at: u64, pitch: usize, value: u8, width: usize, height: usize) {
        queue(s, c, None, Fill { at, pitch, value: value.into(), size: 1, width, height })
    }

    /// Fills rows of 16-bit words.
    fn cuMemsetD2D16_v2(s, c; at: u64, pitch: usize, value: u16, width: usize, height: usize) {
        queue(s, c, None, Fill { at, pitch, value: value.into(), size: 2, width, height })
    }

    /// Fills rows of 32-bit words.
    fn cuMemsetD2D32_v2(s, c; at: u64, pitch: usize, value: u32, width: usize, height: usize) {
        queue(s, c, None, Fill { at, pitch, value, size: 4, width, height })
    }

    /// Queues a fill of rows of bytes.
    fn cuMemsetD2D8Async(s, c; at: u64, pitch: usize, value: u8, width: usize, height: usize, stream: Handle) {
        queue(s, c, Some(stream), Fill { at, pitch, value: value.into(), size: 1, width, height })
    }

    /// Queues a fill of rows of 16-bit words.
    fn cuMemsetD2D16Async(s, c; at: u64, pitch: usize, value: u16, width: usize, height: usize, stream: Handle) {
        queue(s, c, Some(stream), Fill { at, pitch, value: value.into(), size: 2, width, height })
    }

    /// Queues a fill of rows of 32-bit words.
    fn cuMemsetD2D32Async(s, c; at: u64, pitch: usize, value: u32, width: usize, height: usize, stream: Handle) {
        queue(s, c, Some(stream), Fill { at, pitch, value, size: 4, width, height })
    }
}
