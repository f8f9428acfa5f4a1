//! The trace: a line for each call of the API, appended to the file that `PTXSIM_TRACE` names when the call returns.
//!
//! ```text
//! cuMemAlloc_v2 bytes=4096
//! cuLaunchKernel kernel=add_one
//! cuMemcpyDtoHAsync_v2 bytes=4 waits
//! cuStreamSynchronize waits status=700
//! ```
//!
//! `kernel` is what is launched or becomes a node of a graph; `bytes` is what is allocated, registered, copied or
//! filled; `waits` is there if the call waited for queued work, as a copy to pageable memory does in spite of its name;
//! `status` is there if the call failed. A call that is refused at its beginning tells its name and status alone.
//! Kernels that a graph launches have no lines of their own.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

/// What is told of a call beside its name and status.
#[derive(Debug, Default)]
struct Notes {
    kernel: Option<String>,
    bytes: Option<usize>,
    waits: bool,
}

thread_local! {
    /// Of the call that this thread is in.
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// The file, opened at the first call; nothing if there is to be no trace, or it cannot be written.
fn file() -> Option<&'static Mutex<File>> {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let open = || {
        let path = PathBuf::from(std::env::var_os("PTXSIM_TRACE").filter(|v| !v.is_empty())?);
        match File::options().create(true).append(true).open(&path) {
            Ok(file) => Some(Mutex::new(file)),
            Err(e) => {
                eprintln!("ptxsim: no trace: cannot write {}: {e}; correct PTXSIM_TRACE", path.display());
                None
            }
        }
    };
    FILE.get_or_init(open).as_ref()
}

/// Makes a call of the API, and adds it to the trace.
pub(super) fn traced(name: &str, call: impl FnOnce() -> u32) -> u32 {
    let Some(file) = file() else { return call() };
    // A host function of a stream may make calls, if only to be refused, within the call that runs it. In a thread
    // that is ending there is no place for notes.
    let outer = NOTES.try_with(RefCell::take).unwrap_or_default();
    let status = call();
    let notes = NOTES.try_with(|notes| notes.replace(outer)).unwrap_or_default();
    let line = line(name, &notes, status);
    // In one piece and unbuffered, so that lines are whole in spite of other threads and processes, and there at once.
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(e) = file.write_all(line.as_bytes()) {
        eprintln!("ptxsim: the trace misses a call of {name}: {e}");
    }
    status
}

fn line(name: &str, notes: &Notes, status: u32) -> String {
    let mut line = name.to_owned();
    // Writing to a string does not fail.
    if let Some(kernel) = &notes.kernel {
        let _ = write!(line, " kernel={kernel}");
    }
    if let Some(bytes) = notes.bytes {
        let _ = write!(line, " bytes={bytes}");
    }
    if notes.waits {
        line.push_str(" waits");
    }
    if status != 0 {
        let _ = write!(line, " status={status}");
    }
    line.push('\n');
    line
}

fn note(change: impl FnOnce(&mut Notes)) {
    if file().is_some() {
        let _ = NOTES.try_with(|notes| change(&mut notes.borrow_mut()));
    }
}

/// The current call is about this kernel.
pub(super) fn kernel(name: &str) {
    note(|notes| notes.kernel = Some(name.to_owned()));
}

/// The current call is about so many bytes.
pub(super) fn bytes(bytes: usize) {
    note(|notes| notes.bytes = Some(bytes));
}

/// The current call waits for queued work.
pub(super) fn waits() {
    note(|notes| notes.waits = true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_noted() {
        let none = Notes::default();
        assert_eq!(line("cuCtxGetCurrent", &none, 0), "cuCtxGetCurrent\n");
        assert_eq!(line("cuMemAlloc_v2", &none, 201), "cuMemAlloc_v2 status=201\n");
        let all = Notes { kernel: Some("f".to_owned()), bytes: Some(0), waits: true };
        assert_eq!(line("cuTest", &all, 700), "cuTest kernel=f bytes=0 waits status=700\n");
    }
}
