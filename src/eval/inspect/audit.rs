//! A data set against its lists: what is missing, left over, too short, or in two parts at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Result;
use crate::data::ClipConfig;
use crate::data::ingest::{Rejected, Surveyed};
use crate::data::lists::{Role, Roles, aliases, class_index, strip_extension};

/// What lists say of videos. Names are keys where nothing else is said, sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audit {
    /// Each list.
    pub lists: Vec<ListReport>,
    /// Each split, which may be of several lists.
    pub splits: Vec<SplitReport>,
    /// Files that cannot be read, listed or not.
    pub unreadable: Vec<Rejected>,
    /// Videos that no list names.
    pub extra: Vec<String>,
    /// Videos of fewer frames than a clip: they are repeated until they have as many.
    pub short: Vec<String>,
    /// Folders that `classInd.txt` does not name.
    pub unknown_folders: Vec<String>,
    /// Classes of `classInd.txt` that have no folder.
    pub empty_classes: Vec<String>,
    /// Files that are named after a class of `classInd.txt` other than their folder's.
    pub misplaced: Vec<String>,
    /// Classes that are written otherwise in the names of their files, as one of UCF101's is.
    pub case_differs: Vec<Case>,
    /// What should be known and may be meant, one line each.
    pub warnings: Vec<String>,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListReport {
    /// The file, or the pattern of files.
    pub path: PathBuf,
    /// How many videos it names, by what they are for.
    pub videos: BTreeMap<Role, usize>,
    /// Videos that it names and that are not there.
    pub missing: Vec<String>,
    /// Videos that it names and that cannot be read.
    pub unreadable: Vec<String>,
}

/// A split: the lists of one folder with one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitReport {
    /// Its name, `1` of `trainlist01.txt`; may be empty.
    pub name: String,
    /// Classes among its videos.
    pub classes: usize,
    /// Videos to train with.
    pub train: usize,
    /// Videos to test with.
    pub test: usize,
    /// Videos in both.
    pub both: Vec<String>,
    /// UCF101's groups (`Class/v_Class_g01`, clips of one recording) with videos in both.
    pub groups: Vec<String>,
    /// The public data set that has so many classes and such a split, if there is one.
    pub known: Option<&'static str>,
    /// Whether the parts that were listed have as many videos as that one's.
    pub agrees: Option<bool>,
}

/// A class that is written in two ways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Case {
    /// In the name of its folder.
    pub folder: String,
    /// In the names of its files.
    pub file: String,
}

/// Splits as published: name, classes, and videos to train and to test with.
const KNOWN: [(&str, usize, [[usize; 2]; 3]); 2] =
    [("UCF101", 101, [[9537, 3783], [9586, 3734], [9624, 3696]]), ("HMDB51", 51, [[3570, 1530]; 3])];

impl Audit {
    /// Holds `videos`, and files that cannot be read, against the lists. A listed video is found as
    /// [`crate::data::ingest`] finds it.
    ///
    /// # Errors
    /// A list, or the `classInd.txt` beside it, that cannot be read.
    pub fn new(videos: &[Surveyed], rejected: &[Rejected], lists: &[PathBuf]) -> Result<Self> {
        let lists = lists.iter().map(|path| Roles::read(path)).collect::<Result<Vec<_>>>()?;
        let mut audit = Self::default();
        // Ingest quarantines listed videos that are not there by their key; files have an extension.
        audit.unreadable.extend(rejected.iter().filter(|r| strip_extension(&r.path) != r.path).cloned());
        let bad = audit.unreadable.iter().map(|r| (strip_extension(&r.path), false));
        let there: HashMap<&str, bool> = bad.chain(videos.iter().map(|v| (v.key.as_str(), true))).collect();

        let mut named = BTreeSet::new();
        let mut splits = BTreeMap::<_, Members>::new();
        for list in &lists {
            let mut report = ListReport {
                path: list.path.clone(),
                videos: BTreeMap::new(),
                missing: Vec::new(),
                unreadable: Vec::new(),
            };
            let split = splits.entry((list.path.parent(), list.split.as_str())).or_default();
            for (role, entry) in &list.entries {
                *report.videos.entry(*role).or_default() += 1;
                let found = aliases(&entry.key).iter().find_map(|k| there.get_key_value(k.as_str()));
                match found {
                    None if *role == Role::Unused => {}
                    None => report.missing.push(entry.key.clone()),
                    Some((_, false)) => report.unreadable.push(entry.key.clone()),
                    Some((_, true)) => {}
                }
                let key = found.map_or(entry.key.as_str(), |(key, _)| key);
                named.insert(key);
                split.classes.extend(entry.label.as_deref());
                match role {
                    Role::Train => _ = split.train.insert(key),
                    Role::Test => _ = split.test.insert(key),
                    Role::Unused | Role::Other => {}
                }
            }
            report.missing.sort();
            report.unreadable.sort();
            audit.lists.push(report);
        }
        audit.splits = splits.iter().map(|((_, name), members)| members.report(name)).collect();
        audit.extra = there.keys().filter(|key| !named.contains(*key)).map(|key| (*key).to_owned()).collect();
        audit.extra.sort();
        let clip = ClipConfig::default().frames;
        let short = videos.iter().filter(|v| v.frames.is_some_and(|n| n < clip));
        audit.short = short.map(|v| v.key.clone()).collect();
        let mut classes = BTreeSet::new();
        for list in &lists {
            classes.extend(class_index(&list.path.with_file_name("classInd.txt"))?.into_values());
        }
        audit.compare_classes(videos, &classes);
        audit.warnings = audit.warn();
        Ok(audit)
    }

    /// Folders against `classInd.txt`, and files against their folders.
    fn compare_classes(&mut self, videos: &[Surveyed], classes: &BTreeSet<String>) {
        let folders: BTreeSet<&str> = videos.iter().filter_map(|v| folder(&v.source)).collect();
        let is_class = |name: &str| classes.iter().any(|c| c.eq_ignore_ascii_case(name));
        let mut cases = BTreeSet::new();
        for video in videos {
            let (Some(folder), Some(file)) = (folder(&video.source), class_of(&video.source)) else {
                continue;
            };
            if file.eq_ignore_ascii_case(folder) && file != folder {
                cases.insert(Case { folder: folder.into(), file: file.into() });
            } else if !file.eq_ignore_ascii_case(folder) && is_class(file) {
                self.misplaced.push(video.source.clone());
            }
        }
        self.case_differs = cases.into_iter().collect();
        if !classes.is_empty() {
            let unknown = folders.iter().filter(|f| !classes.contains(**f));
            self.unknown_folders = unknown.map(|f| (*f).to_owned()).collect();
            self.empty_classes = classes.iter().filter(|c| !folders.contains(c.as_str())).cloned().collect();
        }
    }
}

/// The videos of a split.
#[derive(Default)]
struct Members<'a> {
    train: BTreeSet<&'a str>,
    test: BTreeSet<&'a str>,
    classes: BTreeSet<&'a str>,
}

impl Members<'_> {
    fn report(&self, name: &str) -> SplitReport {
        let counts = [self.train.len(), self.test.len()];
        let known = KNOWN.iter().filter(|(_, classes, _)| *classes == self.classes.len()).find_map(|k| {
            let number = name.parse::<usize>().ok()?.checked_sub(1)?;
            Some((k.0, k.2.get(number)?))
        });
        let same = |expect: &[usize; 2]| counts.iter().zip(expect).all(|(n, e)| *n == 0 || n == e);
        let [train, test] = [&self.train, &self.test]
            .map(|keys| keys.iter().filter_map(|k| group(k)).collect::<BTreeSet<_>>());
        SplitReport {
            name: name.into(),
            classes: self.classes.len(),
            train: counts[0],
            test: counts[1],
            both: self.train.intersection(&self.test).map(|k| (*k).to_owned()).collect(),
            groups: train.intersection(&test).map(|g| (*g).to_owned()).collect(),
            known: known.map(|k| k.0),
            agrees: known.map(|k| same(k.1)),
        }
    }
}

/// The name of the folder that holds a file.
fn folder(source: &str) -> Option<&str> {
    Path::new(source).parent()?.file_name()?.to_str()
}

/// The class in a file's name of UCF101's form, `v_Class_g01_c01.avi`.
fn class_of(source: &str) -> Option<&str> {
    let name = Path::new(source).file_name()?.to_str()?;
    let (class, _) = group(name)?.strip_prefix("v_")?.rsplit_once('_')?;
    Some(class)
}

/// The group of a key or file of UCF101's form: `Class/v_Class_g01` of `Class/v_Class_g01_c01`.
fn group(key: &str) -> Option<&str> {
    let (rest, clip) = strip_extension(key).rsplit_once('_')?;
    let (_, group) = rest.rsplit_once('_')?;
    let numbered = |text: &str, letter| {
        text.strip_prefix(letter).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    (numbered(clip, 'c') && numbered(group, 'g')).then_some(rest)
}
