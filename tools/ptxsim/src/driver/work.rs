//! Operations of a stream, as data, and how each runs.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, OnceLock};

use crate::launch::{self, Config, Finding, Kind};
use crate::memory::Memory;
use crate::module::Kernel;
use crate::report;

use super::api::{call_host, refuse};
use super::state::{Handle, Machine};
use super::status::{Result, Status};

/// How many findings of a launch are written to standard error; the report has all.
const SHOWN: usize = 20;

/// Work and the context that it belongs to.
pub(super) struct Task {
    pub(super) context: Handle,
    pub(super) work: Work,
}

/// A host function of a stream (`CUhostFn`).
pub type HostFunction = extern "C" fn(*mut c_void);

/// What an operation does.
#[derive(Clone)]
pub(super) enum Work {
    /// Nothing but waiting.
    Nothing,
    Launch(Arc<Launch>),
    /// A launch that fails on purpose.
    Fault(Arc<Launch>),
    Copy(Arc<Copy>),
    Fill(Fill),
    /// Notes the time in an event.
    Record(Handle),
    /// Calls the client with an address of its own.
    Host(HostFunction, usize),
    /// Frees a device allocation; the driver's tables are its caller's to change.
    Free(u64),
}

/// A launch with its parameters as they were at the call.
pub(super) struct Launch {
    pub(super) function: Handle,
    pub(super) kernel: Arc<Kernel>,
    pub(super) config: Config,
    pub(super) params: Vec<u8>,
    /// Addresses of the parameters in `params`, for callers that ask for them.
    pointers: OnceLock<Box<[usize]>>,
}

/// A copy of `depth` planes of `height` rows of `width` bytes.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) to: Side,
    pub(super) from: Side,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) depth: usize,
}

/// One side of a copy.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) place: Place,
    /// Bytes from a row to the next.
    pub(super) pitch: usize,
    /// Bytes from a plane to the next.
    pub(super) plane: usize,
}

/// Where bytes are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Memory that kernels can reach.
    Device(u64),
    /// Pageable host memory.
    Host(usize),
    /// Pageable host memory as it was at the call. Sources only.
    Bytes(Arc<[u8]>),
}

/// `height` rows of `width` elements, all the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) at: u64,
    pub(super) pitch: usize,
    pub(super) value: u32,
    /// Bytes of an element: 1, 2 or 4.
    pub(super) size: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Work {
    /// Does it. A failure is the context's.
    pub(super) fn run(&self, machine: &Machine) -> Result<()> {
        match self {
            Work::Nothing | Work::Record(_) | Work::Free(_) => Ok(()),
            Work::Launch(launch) => launch.run(machine),
            Work::Fault(launch) => machine.fault.as_ref().map_or(Ok(()), |fault| Err(fault.fail(launch))),
            Work::Copy(copy) => copy.run(&machine.memory),
            Work::Fill(fill) => fill.run(&machine.memory),
            Work::Host(function, data) => {
                call_host(*function, *data as *mut c_void);
                Ok(())
            }
        }
    }
}

impl Launch {
    pub(super) fn new(function: Handle, kernel: Arc<Kernel>, config: Config, params: Vec<u8>) -> Launch {
        Launch { function, kernel, config, params, pointers: OnceLock::new() }
    }

    /// Address of a list of pointers to the parameters (`kernelParams`), good as long as this is.
    pub(super) fn pointers(&self) -> usize {
        let at = |offset: usize| self.params.as_ptr().addr() + offset;
        let list = || self.kernel.params.iter().map(|p| at(p.offset)).collect();
        self.pointers.get_or_init(list).as_ptr().addr()
    }

    fn run(&self, machine: &Machine) -> Result<()> {
        let outcome =
            launch::launch(&self.kernel, &self.config, &self.params, &machine.memory, &machine.options);
        for finding in outcome.findings.iter().take(SHOWN) {
            eprintln!("ptxsim: {finding}");
        }
        if let Some(more) = outcome.findings.len().checked_sub(SHOWN).filter(|n| *n > 0) {
            eprintln!("ptxsim: and {more} more findings in this launch of {}", self.kernel.name);
        }
        report::launched(&self.kernel, &self.config, &outcome);
        status_of(&outcome.findings).map_or(Ok(()), Err)
    }
}

/// What a launch with these findings fails with: what the hardware would notice first of all.
fn status_of(findings: &[Finding]) -> Option<Status> {
    let any = |is: fn(&Kind) -> bool| findings.iter().any(|f| is(&f.kind));
    if findings.is_empty() {
        None
    } else if any(|kind| matches!(kind, Kind::OutOfBounds)) {
        Some(Status::ILLEGAL_ADDRESS)
    } else if any(|kind| matches!(kind, Kind::Misaligned)) {
        Some(Status::MISALIGNED_ADDRESS)
    } else {
        Some(Status::LAUNCH_FAILED)
    }
}

impl Side {
    /// A side without pitch: rows follow each other.
    pub(super) fn dense(place: Place, width: usize, height: usize) -> Side {
        Side { place, pitch: width, plane: width.saturating_mul(height) }
    }

    /// Bytes from its first to after its last, for a copy of this shape.
    pub(super) fn extent(&self, width: usize, height: usize, depth: usize) -> Option<usize> {
        if width == 0 || height == 0 || depth == 0 {
            return Some(0);
        }
        let planes = self.plane.checked_mul(depth - 1)?;
        let rows = self.pitch.checked_mul(height - 1)?;
        planes.checked_add(rows)?.checked_add(width)
    }
}

impl Copy {
    /// Copies row by row; each is checked.
    pub(super) fn run(&self, memory: &Memory) -> Result<()> {
        for z in 0..self.depth {
            for y in 0..self.height {
                let offset = |side: &Side| z * side.plane + y * side.pitch;
                self.row(memory, offset(&self.to), offset(&self.from))?;
            }
        }
        Ok(())
    }

    fn row(&self, memory: &Memory, to: usize, from: usize) -> Result<()> {
        let done = match (&self.to.place, &self.from.place) {
            (Place::Device(t), Place::Device(f)) => memory.copy(t + to as u64, f + from as u64, self.width),
            (Place::Device(t), Place::Bytes(bytes)) => {
                let row = from.checked_add(self.width).and_then(|end| bytes.get(from..end));
                memory.write(t + to as u64, row.ok_or(Status::INVALID_VALUE)?)
            }
            (Place::Device(t), Place::Host(f)) => {
                // SAFETY: the caller of the copy vouches for its source until the copy has run.
                let row = unsafe { std::slice::from_raw_parts((f + from) as *const u8, self.width) };
                memory.write(t + to as u64, row)
            }
            (Place::Host(t), Place::Device(f)) => {
                // SAFETY: the caller of the copy vouches for its target until the copy has run.
                let row = unsafe { std::slice::from_raw_parts_mut((t + to) as *mut u8, self.width) };
                memory.read(f + from as u64, row)
            }
            (Place::Host(t), Place::Host(f)) => {
                // SAFETY: as above, for both; they may overlap.
                unsafe { ptr::copy((f + from) as *const u8, (t + to) as *mut u8, self.width) };
                Ok(())
            }
            (Place::Host(t), Place::Bytes(bytes)) => {
                let row = from.checked_add(self.width).and_then(|end| bytes.get(from..end));
                let row = row.ok_or(Status::INVALID_VALUE)?;
                // SAFETY: as above; the source is the driver's own.
                unsafe { ptr::copy(row.as_ptr(), (t + to) as *mut u8, self.width) };
                Ok(())
            }
            (Place::Bytes(_), _) => return Err(Status::INVALID_VALUE),
        };
        done.map_err(|e| refuse(Status::ILLEGAL_ADDRESS, format_args!("a queued copy fails: {e}")))
    }
}

impl Fill {
    /// Bytes from its first to after its last.
    pub(super) fn extent(&self) -> Option<usize> {
        if self.width == 0 || self.height == 0 {
            return Some(0);
        }
        self.pitch.checked_mul(self.height - 1)?.checked_add(self.width.checked_mul(self.size)?)
    }

    fn run(&self, memory: &Memory) -> Result<()> {
        let bytes = self.value.to_le_bytes();
        let pattern = bytes.get(..self.size).ok_or(Status::INVALID_VALUE)?;
        for row in 0..self.height {
            memory
                .fill(self.at + (row * self.pitch) as u64, pattern, self.width)
                .map_err(|e| refuse(Status::ILLEGAL_ADDRESS, format_args!("a queued fill fails: {e}")))?;
        }
        Ok(())
    }
}
