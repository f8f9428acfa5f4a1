//! Files that are either complete or absent, whenever the process or the machine stops.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Writes `bytes` to `path`: temporary file, fsync, rename, fsync of the folder.
///
/// # Errors
/// [`Error::Io`]; then `path` is as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// As [`write()`], with what `fill` writes.
///
/// # Errors
/// [`Error::Io`], that of `fill` as well; then `path` is as it was and nothing else is left.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let temporary = beside(path);
    let written = File::create(&temporary).and_then(|file| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        fill(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)
    });
    if let Err(e) = written {
        // The error to report is the first one; a left-over temporary file is overwritten next time.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("write", path, e));
    }
    sync_folder(path)
}

/// Whether a file name is that of a temporary file, left over by a process that was killed.
pub fn is_temporary(name: &str) -> bool {
    name.ends_with(".tmp")
}

/// Checks that [`write()`] could put a file at `path`, before the work that fills it.
///
/// # Errors
/// [`Error::Io`].
pub fn probe(path: &Path) -> Result<()> {
    let temporary = beside(path);
    let possible = match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => File::create(&temporary).and_then(|_| fs::remove_file(&temporary)),
    };
    possible.map_err(|e| Error::io("write", path, e))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Renames and makes the rename last: fsync of the folder. `from` must have been synced.
///
/// # Errors
/// [`Error::Io`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io("rename", from, e))?;
    sync_folder(to)
}

fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", folder, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write(&path, b"old").unwrap();
        let full = write_with(&path, |w| {
            w.write_all(&[0; 3 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = full.unwrap_err().to_string();
        assert!(message.contains("a.bin") && message.contains("free some space"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn temporary_names_are_recognised() {
        let temporary = beside(Path::new("x/step-1.safetensors"));
        assert!(is_temporary(temporary.file_name().unwrap().to_str().unwrap()));
        assert!(!is_temporary("step-1.safetensors"));
    }

    #[test]
    fn a_missing_folder_is_an_io_error_that_names_it() {
        for e in [write(Path::new("/nonexistent/a.json"), b"x"), probe(Path::new("/nonexistent/a.json"))] {
            let e = e.unwrap_err().to_string();
            assert!(e.starts_with("cannot write /nonexistent/a.json: "), "{e}");
        }
    }

    #[test]
    fn a_folder_in_the_place_stays_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.json");
        fs::create_dir(&place).unwrap();
        for e in [write(&place, b"x"), probe(&place)] {
            assert!(e.unwrap_err().to_string().contains("give a file; this is a folder"));
        }
        probe(&dir.path().join("b.json")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
