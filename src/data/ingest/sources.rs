//! Which files are to be ingested, under which key and with which label.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::Rejected;
use crate::data::lists::{ListEntry, Part, Split, aliases, is_video_extension, strip_extension};
use crate::{Error, Result};

/// A video file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub key: String,
    /// Its path below the source folder.
    pub relative: String,
    pub path: PathBuf,
    pub label: Option<String>,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub sources: Vec<Source>, // sorted by key
    pub rejected: Vec<Rejected>,
    /// Files that do not have the name of a video.
    pub ignored: usize,
}

/// Walks a folder; hidden files and folders are left out, links followed. A video's label is the name of its
/// folder, unless that is `root` itself. With lists, only their videos are taken, with their labels; a listed
/// video that is not there is rejected.
pub(super) fn scan(root: &Path, lists: &[PathBuf]) -> Result<Scan> {
    let mut scan = walk(root)?;
    if !lists.is_empty() {
        restrict(&mut scan, lists)?;
    }
    if scan.sources.is_empty() && scan.rejected.is_empty() {
        let what = format!("holds no video ({} other files)", scan.ignored);
        return Err(Error::data(root, what, "give a folder with video files, such as .mp4 or .avi"));
    }
    Ok(scan)
}

fn walk(root: &Path) -> Result<Scan> {
    std::fs::read_dir(root).map_err(|e| Error::io("read", root, e))?;
    let mut scan = Scan::default();
    let mut by_key: BTreeMap<String, Source> = BTreeMap::new();
    let hidden = |e: &walkdir::DirEntry| e.depth() > 0 && e.file_name().to_string_lossy().starts_with('.');
    let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|e| !hidden(e)) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                let path = e.path().unwrap_or(root);
                let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
                let reason =
                    e.io_error().map_or_else(|| "is a loop of links".to_owned(), ToString::to_string);
                scan.rejected.push(Rejected { path, reason });
                continue;
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if !relative.extension().is_some_and(|e| is_video_extension(&e.to_string_lossy())) {
            scan.ignored += 1;
            continue;
        }
        let Some(name) = relative.to_str() else {
            let path = relative.to_string_lossy().into_owned();
            scan.rejected.push(Rejected { path, reason: "its name is not UTF-8; rename it".into() });
            continue;
        };
        if !entry.file_type().is_file() {
            scan.rejected.push(Rejected { path: name.into(), reason: "is not a regular file".into() });
            continue;
        }
        let key = strip_extension(name).to_owned();
        if let Some(first) = by_key.get(&key) {
            let reason = format!("has the same name as {} but for the extension; rename one", first.relative);
            scan.rejected.push(Rejected { path: name.into(), reason });
            continue;
        }
        let folder = relative.parent().and_then(Path::file_name);
        let label = folder.map(|f| f.to_string_lossy().into_owned());
        let source = Source { key: key.clone(), relative: name.into(), path: entry.path().into(), label };
        by_key.insert(key, source);
    }
    scan.sources = by_key.into_values().collect();
    Ok(scan)
}

/// Keeps what the lists name.
fn restrict(scan: &mut Scan, lists: &[PathBuf]) -> Result<()> {
    let mut by_key: BTreeMap<String, Source> =
        std::mem::take(&mut scan.sources).into_iter().map(|s| (s.key.clone(), s)).collect();
    // A rejected file that a list names is still to be reported, the others not.
    let rejected: BTreeMap<String, Rejected> = std::mem::take(&mut scan.rejected)
        .into_iter()
        .map(|r| (strip_extension(&r.path).to_owned(), r))
        .collect();
    let mut kept: BTreeMap<String, Source> = BTreeMap::new();
    let mut missing = BTreeMap::new();
    for path in lists {
        for ListEntry { key, label } in Split::read(path, Part::All)?.entries {
            let names = aliases(&key);
            if let Some(mut source) = names.iter().find_map(|n| by_key.remove(n)) {
                source.label = label.or(source.label);
                kept.insert(source.key.clone(), source);
            } else if let Some(bad) = names.iter().find_map(|n| rejected.get(n)) {
                missing.insert(key, bad.clone());
            } else if !names.iter().any(|n| kept.contains_key(n)) {
                let reason = format!("is named in {}, but is not there", path.display());
                missing.insert(key.clone(), Rejected { path: key, reason });
            }
        }
    }
    scan.sources = kept.into_values().collect();
    scan.rejected = missing.into_values().collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        dir
    }

    fn found(scan: &Scan) -> Vec<(&str, Option<&str>)> {
        scan.sources.iter().map(|s| (s.key.as_str(), s.label.as_deref())).collect()
    }

    #[test]
    fn folders_are_labels_and_other_files_are_ignored() {
        let dir = tree(&["b/2.mp4", "a/-x y.AVI", "top.mkv", "a/notes.txt", "a/.hidden.mp4", ".cache/x.mp4"]);
        let scan = scan(dir.path(), &[]).unwrap();
        assert_eq!(found(&scan), [("a/-x y", Some("a")), ("b/2", Some("b")), ("top", None)]);
        assert_eq!((scan.ignored, scan.rejected.len()), (1, 0));
    }

    #[test]
    fn names_that_cannot_be_used_are_rejected_with_the_reason() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tree(&["a.mp4", "a.avi"]);
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"bad\xFF.mp4")), b"x").unwrap();
        std::os::unix::fs::symlink("nowhere.mp4", dir.path().join("link.mp4")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let scan = scan(dir.path(), &[]).unwrap();
        assert_eq!(found(&scan), [("a", None)]);
        let reasons: Vec<_> = scan.rejected.iter().map(|r| format!("{}: {}", r.path, r.reason)).collect();
        assert_eq!(reasons.len(), 4, "{reasons:?}");
        for part in
            ["a.mp4: has the same name as a.avi", "not UTF-8", "link.mp4: No such file", "loop of links"]
        {
            assert!(reasons.iter().any(|r| r.contains(part)), "{part} in {reasons:?}");
        }
    }

    #[test]
    fn lists_restrict_and_label_and_report_what_is_missing() {
        let dir = tree(&["v/riding_a_bike/x_000001_000011.mp4", "v/run/b.mp4", "v/run/c.mp4"]);
        let (csv, ucf) = (dir.path().join("k.csv"), dir.path().join("trainlist01.txt"));
        fs::write(&csv, "label,youtube_id,time_start,time_end\nriding a bike,x,1,11\nriding a bike,y,1,11\n")
            .unwrap();
        fs::write(&ucf, "run/b.avi 1\n").unwrap();
        let scan = scan(&dir.path().join("v"), &[csv, ucf]).unwrap();
        let expect = [("riding_a_bike/x_000001_000011", Some("riding a bike")), ("run/b", Some("run"))];
        assert_eq!(found(&scan), expect);
        assert_eq!(scan.rejected.len(), 1);
        assert_eq!(scan.rejected[0].path, "riding a bike/y_000001_000011");
    }

    #[test]
    fn folders_without_video_are_an_error() {
        let dir = tree(&["a.txt"]);
        let e = scan(dir.path(), &[]).unwrap_err().to_string();
        assert!(e.contains("holds no video (1 other files)"), "{e}");
        assert!(matches!(scan(&dir.path().join("no"), &[]), Err(Error::Io { .. })));
    }
}
