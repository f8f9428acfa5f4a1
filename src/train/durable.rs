//! Files that are either wholly there or not at all, whatever interrupts the writing.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes `path` through a temporary file in the same folder: write, fsync, rename, fsync of the folder. If
/// anything fails, what was at `path` before is untouched and the temporary file is gone.
///
/// # Errors
/// [`Error::Io`] from the first operation that failed.
pub(super) fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let (folder, temporary) = beside(path);
    let written = (|| {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        fill(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|e| {
        // The first error is the one to report; a leftover is removed at the next start.
        let _ = fs::remove_file(&temporary);
        Error::io("write", path, e)
    })
}

/// Whether a file name is that of a temporary file of [`write`].
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

fn beside(path: &Path) -> (&Path, std::path::PathBuf) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (folder, folder.join(format!(".{name}.tmp")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write(&path, |w| w.write_all(b"old")).unwrap();
        let full = write(&path, |w| {
            w.write_all(&[0; 3 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = full.unwrap_err().to_string();
        assert!(message.contains("a.bin") && message.contains("free some space"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(write(&dir.path().join("no/a"), |_| Ok(())), Err(Error::Io { .. })));
    }

    #[test]
    fn temporary_names_are_recognised() {
        let (_, t) = beside(Path::new("x/step-1.safetensors"));
        assert!(is_temporary(t.file_name().unwrap().to_str().unwrap()));
        assert!(!is_temporary("step-1.safetensors"));
    }
}
