//! Files that are either complete or absent, whenever the process or the machine stops.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes `bytes` to `path`: temporary file, fsync, rename, fsync of the folder.
///
/// # Errors
/// [`Error::Io`]; then `path` is as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(e) = written {
        // The error to report is the first one; a left-over temporary file is overwritten next time.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("write", &temporary, e));
    }
    rename(&temporary, path)
}

/// Renames and makes the rename last: fsync of the folder. `from` must have been synced.
///
/// # Errors
/// [`Error::Io`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io("rename", from, e))?;
    let folder = match to.parent() {
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
    fn a_missing_folder_is_an_io_error_that_names_it() {
        let e = write(Path::new("/nonexistent-folder/a.json"), b"x").unwrap_err();
        assert!(e.to_string().contains("/nonexistent-folder/a.json.tmp"), "{e}");
    }
}
