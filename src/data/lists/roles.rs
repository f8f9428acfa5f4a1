//! What the videos of a list are for: to train, to test, or neither.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{ListEntry, expand, once, parse};
use crate::{Error, Result};

/// What a list says a video is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// HMDB51 `1`, Kinetics `train`, a list named `trainlist…`.
    Train,
    /// HMDB51 `2`, Kinetics `test` and `val…`, a list named `testlist…`.
    Test,
    /// HMDB51 `0`.
    Unused,
    /// Any other, or not told.
    Other,
}

impl Role {
    /// `train`, `test`, `unused` or `other`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Unused => "unused",
            Self::Other => "other",
        }
    }
}

/// A list with all its videos, whatever they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The file, or the pattern of files.
    pub path: PathBuf,
    /// Which split it is a part of, by its name: `1` of `trainlist01.txt`, `testlist01.txt` and
    /// `*_test_split1.txt`; may be empty. Lists of one folder and one name are one split.
    pub split: String,
    /// Its videos, in its order.
    pub entries: Vec<(Role, ListEntry)>,
}

impl Roles {
    /// Reads a list as [`super::Split::read`] does; what a format does not tell is told by the file's name.
    ///
    /// # Errors
    /// As [`super::Split::read`]. A video may be named once for each role.
    pub fn read(path: &Path) -> Result<Self> {
        let (mut entries, mut seen) = (Vec::new(), HashMap::new());
        for file in expand(path)? {
            for line in parse::lines(&file)? {
                let role = line.role.unwrap_or_else(|| by_name(&file));
                once(&mut seen, (line.entry.key.clone(), role), &file, &line)?;
                entries.push((role, line.entry));
            }
        }
        if entries.is_empty() {
            return Err(Error::data(path, "names no video", "check that this is the list"));
        }
        Ok(Self { path: path.to_path_buf(), split: split_of(path), entries })
    }
}

/// The file's name in small letters, without what comes after the last dot.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase()
}

fn by_name(file: &Path) -> Role {
    let stem = stem(file);
    match () {
        () if stem.contains("train") => Role::Train,
        () if stem.contains("test") || stem.contains("val") => Role::Test,
        () => Role::Other,
    }
}

fn split_of(path: &Path) -> String {
    let stem = stem(path);
    // HMDB51: the class comes first, and may hold any word.
    let rest = stem.rsplit_once("_test_split").map_or(stem.as_str(), |(_, rest)| rest);
    let words = ["train", "test", "validation", "validate", "val", "list", "split"];
    let rest = words.iter().fold(rest.to_owned(), |rest, word| rest.replace(word, ""));
    let rest = rest.trim_matches(|c: char| !c.is_alphanumeric());
    rest.parse::<u64>().map_or_else(|_| rest.to_owned(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_tell_splits_and_roles() {
        for (name, split, role) in [
            ("trainlist01.txt", "1", Role::Train),
            ("testlist12.txt", "12", Role::Test),
            ("train.csv", "", Role::Train),
            ("kinetics_val.csv", "kinetics", Role::Test),
            ("mine.txt", "mine", Role::Other),
        ] {
            assert_eq!(
                (split_of(Path::new(name)).as_str(), by_name(Path::new(name))),
                (split, role),
                "{name}"
            );
        }
        assert_eq!(split_of(Path::new("x/*_test_split3.txt")), "3");
        assert_eq!(split_of(Path::new("train_list_test_split2.txt")), "2");
    }

    #[test]
    fn a_video_keeps_every_role_and_has_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a_test_split1.txt");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            Roles::read(&path)
        };
        let roles: Vec<_> =
            read("x.avi 0\ny.avi 1\ny.avi 2\n").unwrap().entries.iter().map(|e| e.0).collect();
        assert_eq!(roles, [Role::Unused, Role::Train, Role::Test]);
        let e = read("x.avi 1\nx.avi 1\n").unwrap_err().to_string();
        assert!(e.contains("line 2: a/x is named on line 1"), "{e}");
        assert!(read("\n").unwrap_err().to_string().contains("names no video"));
    }
}
