//! The program as users run it, and small things for it to work on.
#![allow(dead_code)] // each test binary uses its part

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A C3D of 1/32 width on clips of 8 frames of 16×16: a step takes about 10 ms.
pub const TINY: &str = "--preset small --set model.width=0.03125 --set clip.stride=1 --set clip.crop=16 \
                        --set clip.short_side=20 --set train.batch=4";

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Its standard output, if it ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// Its standard output as JSON: one object and nothing else.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let out = self.ok();
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap()
    }

    /// Checks that it failed with `code` and one clear error that holds all `parts`.
    #[track_caller]
    pub fn refused(self, code: i32, parts: &[&str]) {
        let Self { code: found, out, err } = &self;
        assert_eq!(*found, Some(code), "{err}");
        assert!(out.is_empty(), "an error has no result: {out}");
        for part in parts {
            assert!(err.contains(part), "{part:?} is missing in: {err}");
        }
        assert_eq!(err.matches("error:").count(), 1, "{err}");
        for trace in ["panicked", "RUST_BACKTRACE", "stack backtrace", "src/"] {
            assert!(!err.contains(trace), "{err}");
        }
    }
}

impl From<Output> for Ended {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

/// `hdc` in the folder `dir`, with arguments as a shell would split `line` (without quotes).
pub fn command(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hdc"));
    command.current_dir(dir).args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs it.
pub fn hdc(dir: &Path, line: &str) -> Ended {
    command(dir, line).output().unwrap().into()
}

/// A data set of `videos` videos of 12 frames, 32×40, at `dir/set`.
pub fn synth(dir: &Path, videos: usize) {
    hdc(dir, &format!("synth set --videos {videos} --frames 12 --size 32 --seed 1")).ok();
}

/// Every file below `dir` with its bytes.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}
