//! The one error type of the crate. Every variant says what was wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The text is complete: it names the file or value and ends with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A command-line argument or an API argument that cannot be used.
    #[error("{what}\n  help: {hint}")]
    Usage {
        /// What is wrong, naming the argument and its value.
        what: String,
        /// What to give instead.
        hint: String,
    },
    /// A configuration that cannot be used: every fault at once, each naming its key and value.
    #[error("configuration {source_name} has {} fault{}:\n  - {}", .faults.len(), if .faults.len() == 1 { "" } else { "s" }, .faults.join("\n  - "))]
    Config {
        /// The file or preset that was read.
        source_name: String,
        /// One line a fault: key, value, remedy.
        faults: Vec<String>,
    },
    /// Extents that do not fit an operation.
    #[error("{op}: {what}\n  help: {hint}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The extents found and expected.
        what: String,
        /// What to change.
        hint: String,
    },
    /// The operating system refused something.
    #[error("cannot {action} {path}: {source}\n  help: {hint}", path = .path.display())]
    Io {
        /// A verb: "read", "create", "rename".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: String,
    },
    /// A file whose contents are damaged, incomplete or not what was asked for.
    #[error("{path}: {what}\n  help: {hint}", path = .path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A device, driver or external program that is missing or failed.
    #[error("{what}\n  help: {hint}")]
    Device {
        /// What is missing or failed.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// More bad input files than was asked for (exit code 3).
    #[error("{what}\n  help: {hint}")]
    Quality {
        /// How many of how many, and where they are listed.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The loss or a gradient stopped being finite; nothing was updated (exit code 4).
    #[error("{what}\n  help: {hint}")]
    NonFinite {
        /// Step, quantity, and the samples of the batch.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A comparison that was asked for did not hold (exit code 1).
    #[error("{what}")]
    Mismatch {
        /// The figures.
        what: String,
    },
    /// Stopped by a signal after saving (exit code 128 + signal).
    #[error("stopped by signal {signal} after saving; run the same command again to resume")]
    Interrupted {
        /// SIGINT (2) or SIGTERM (15).
        signal: i32,
    },
}

impl Error {
    /// An argument that cannot be used.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: hint.into() }
    }

    /// Extents that do not fit `op`.
    pub fn shape(op: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Shape { op, what: what.into(), hint: hint.into() }
    }

    /// A damaged or unsuitable file.
    pub fn data(path: impl AsRef<Path>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Data { path: path.as_ref().to_path_buf(), what: what.into(), hint: hint.into() }
    }

    /// A missing or failing device or program.
    pub fn device(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Device { what: what.into(), hint: hint.into() }
    }

    /// An error of the operating system while doing `action` to `path`; the hint follows from its kind.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        let hint = match source.kind() {
            NotFound => "check the path; nothing is there",
            PermissionDenied => "check who owns it and its permissions",
            StorageFull | QuotaExceeded | FileTooLarge => "free some space, then run the same command again",
            AlreadyExists => "choose another name, or remove what is there",
            NotADirectory => "give a folder; this, or a part of its path, is a file",
            IsADirectory => "give a file; this is a folder",
            InvalidData => "give a text file in UTF-8",
            _ => "see the system's message above",
        };
        Self::Io { action, path: path.as_ref().to_path_buf(), source, hint: hint.into() }
    }

    /// The process's exit code: 1 failed, 2 usage or configuration, 3 data below the asked quality,
    /// 4 stopped by the non-finite guard, 128 + n stopped by signal n.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::Config { .. } => 2,
            Self::Quality { .. } => 3,
            Self::NonFinite { .. } => 4,
            Self::Interrupted { signal } => 128 + *signal as u8,
            _ => 1,
        }
    }
}
