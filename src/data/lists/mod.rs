//! Lists of the public data sets: UCF101 `trainlist`/`testlist`, HMDB51 `<class>_test_split<k>.txt`,
//! Kinetics CSV.

mod parse;
mod roles;

pub use parse::class_index;
pub use roles::{Role, Roles};

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use super::shard::Dataset;
use crate::{Error, Result};

/// Extensions of files that are taken for videos, and that are no part of a key.
pub const VIDEO_EXTENSIONS: [&str; 23] = [
    "3gp", "asf", "avi", "flv", "gif", "m2ts", "m4v", "mjpeg", "mkv", "mov", "mp4", "mpeg", "mpg", "mts",
    "mxf", "nut", "ogg", "ogv", "ts", "vob", "webm", "wmv", "y4m",
];

/// Which part of a list that holds several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Training videos: HMDB51 `1`, Kinetics `train`.
    Train,
    /// Test videos: HMDB51 `2`, Kinetics `test` and `val…`.
    Test,
    /// Both; not HMDB51's `0`, unused.
    All,
}

/// A video named by a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Its key: `Backflip/v_Backflip_g01_c01`.
    pub key: String,
    /// Its class, if the list tells.
    pub label: Option<String>,
}

/// A list, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The file, or the pattern of files.
    pub path: PathBuf,
    /// Its videos, in its order.
    pub entries: Vec<ListEntry>,
}

/// A video of a data set with its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Its number in the data set.
    pub video: usize,
    /// Its class.
    pub label: String,
}

impl Split {
    /// Reads a list; its kind is told from its name: `*.csv` is Kinetics', `<class>_test_split<k>.txt` HMDB51's,
    /// anything else UCF101's. HMDB51 has a file a class: a `*` in the name stands for all of a folder
    /// (`splits/*_test_split1.txt`).
    ///
    /// # Errors
    /// An unreadable file; a line that cannot be understood, by file and line; a video named twice; a list
    /// without any video of this part.
    pub fn read(path: &Path, part: Part) -> Result<Self> {
        let mut entries = Vec::new();
        let mut seen = HashMap::new();
        for file in expand(path)? {
            for line in parse::lines(&file)?.into_iter().filter(|l| part.takes(l.role)) {
                once(&mut seen, line.entry.key.clone(), &file, &line)?;
                entries.push(line.entry);
            }
        }
        if entries.is_empty() {
            return Err(Error::data(
                path,
                format!("names no video ({part:?})"),
                "check that this is the list",
            ));
        }
        Ok(Self { path: path.to_path_buf(), entries })
    }

    /// The data set's videos of this list, with their labels: those of the list if `label` is `label` and the
    /// list has them, else those that the data set stores under this name.
    ///
    /// # Errors
    /// Videos that the data set lacks, or that have no such label: all at once.
    pub fn resolve(&self, dataset: &Dataset, label: &str) -> Result<Vec<Labelled>> {
        let (mut found, mut missing, mut unlabelled) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &self.entries {
            let Some(video) = aliases(&entry.key).iter().find_map(|k| dataset.find(k)) else {
                missing.push(entry.key.as_str());
                continue;
            };
            let listed = entry.label.as_ref().filter(|_| label == "label");
            match listed.or_else(|| dataset.video(video).labels.get(label)) {
                Some(class) => found.push(Labelled { video, label: class.clone() }),
                None => unlabelled.push(entry.key.as_str()),
            }
        }
        if !missing.is_empty() {
            let what = format!("{} does not hold {}", dataset.root().display(), some_of(&missing));
            return Err(Error::data(&self.path, what, "ingest these videos as well, or give another list"));
        }
        if !unlabelled.is_empty() {
            let what = format!("no label named {label:?} for {}", some_of(&unlabelled));
            let names: Vec<_> = dataset.video(0).labels.keys().map(String::as_str).collect();
            let hint = format!("the labels of {} are: {}", dataset.video(0).key, names.join(", "));
            return Err(Error::data(&self.path, what, hint));
        }
        Ok(found)
    }
}

/// Every video of the data set with its class: what the data set stores under the name `label`.
///
/// # Errors
/// Videos without such a label, with the labels that there are.
pub fn whole(dataset: &Dataset, label: &str) -> Result<Vec<Labelled>> {
    let (mut found, mut without) = (Vec::with_capacity(dataset.len()), Vec::new());
    for (video, info) in dataset.videos().enumerate() {
        match info.labels.get(label) {
            Some(class) => found.push(Labelled { video, label: class.clone() }),
            None => without.push(info.key.as_str()),
        }
    }
    let Some(first) = without.first() else { return Ok(found) };
    let names: BTreeSet<&str> = dataset.videos().flat_map(|v| v.labels.keys().map(String::as_str)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let (count, all) = (without.len(), dataset.len());
    Err(Error::data(
        dataset.root(),
        format!("{count} of {all} videos have no label named {label:?}, such as {first}"),
        match names.as_slice() {
            [] => "the data set has no labels at all: give lists that have".into(),
            names => format!("give --label one of: {}", names.join(", ")),
        },
    ))
}

impl Part {
    /// Whether a video of this role belongs to it.
    fn takes(self, role: Option<Role>) -> bool {
        match (self, role) {
            (_, Some(Role::Unused)) => false,
            (Self::All, _) | (_, None) => true,
            (Self::Train, role) => role == Some(Role::Train),
            (Self::Test, role) => role == Some(Role::Test),
        }
    }
}

/// Notes that `line` has used `name`, which no line may have used before.
fn once<N: Eq + Hash>(seen: &mut HashMap<N, usize>, name: N, file: &Path, line: &parse::Line) -> Result<()> {
    let Some(first) = seen.insert(name, line.number) else { return Ok(()) };
    let what = format!("line {}: {} is named on line {first} already", line.number, line.entry.key);
    Err(Error::data(file, what, "remove one of the two lines"))
}

/// Keys under which a listed video may be stored: as written; its folder with spaces for underscores or the
/// other way (copies of Kinetics differ); without folder.
pub fn aliases(key: &str) -> Vec<String> {
    let mut all = vec![key.to_owned()];
    if let Some((folder, name)) = key.rsplit_once('/') {
        all.push(format!("{}/{name}", folder.replace(' ', "_")));
        all.push(format!("{}/{name}", folder.replace('_', " ")));
        all.push(name.to_owned());
    }
    all
}

/// `path` without the extension of a video file.
pub fn strip_extension(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((stem, ext)) if is_video_extension(ext) && !stem.is_empty() && !stem.ends_with('/') => stem,
        _ => path,
    }
}

/// Whether files of this extension are taken for videos.
pub fn is_video_extension(ext: &str) -> bool {
    VIDEO_EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(ext))
}

/// "3 videos: a, b, c", with at most ten by name.
pub fn some_of<S: AsRef<str>>(keys: &[S]) -> String {
    let more = if keys.len() > 10 { ", …" } else { "" };
    let shown: Vec<&str> = keys.iter().take(10).map(AsRef::as_ref).collect();
    format!("{} video{}: {}{more}", keys.len(), if keys.len() == 1 { "" } else { "s" }, shown.join(", "))
}

/// The files that a pattern names, sorted; a path without `*` names itself.
fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![path.to_path_buf()]) };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))? {
        let file = entry.map_err(|e| Error::io("read", folder, e))?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::data(path, "no file has such a name", "check the folder and the pattern"));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(name: &str, text: &str, part: Part) -> Result<Split> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Split::read(&path, part)
    }

    fn pairs(split: &Split) -> Vec<(&str, Option<&str>)> {
        split.entries.iter().map(|e| (e.key.as_str(), e.label.as_deref())).collect()
    }

    #[test]
    fn ucf_takes_the_class_from_the_folder() {
        let text = "HandstandPushups/v_HandStandPushups_g01_c01.avi 37\r\n\r\nRun/v_Run g1.avi 2\r\n";
        let split = read("trainlist01.txt", text, Part::All).unwrap();
        let expect = [
            ("HandstandPushups/v_HandStandPushups_g01_c01", Some("HandstandPushups")),
            ("Run/v_Run g1", Some("Run")),
        ];
        assert_eq!(pairs(&split), expect);
        let test = read("testlist01.txt", "Run/v_Run_g02_c01.avi\n", Part::All).unwrap();
        assert_eq!(pairs(&test), [("Run/v_Run_g02_c01", Some("Run"))]);
    }

    #[test]
    fn ucf_numbers_are_checked_against_the_class_index() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("classInd.txt"), "1 Run\n2 Walk\n").unwrap();
        let list = dir.path().join("trainlist01.txt");
        let read = |text: &str| {
            fs::write(&list, text).unwrap();
            Split::read(&list, Part::All)
        };
        assert_eq!(
            pairs(&read("x.avi 2\nrun/y.avi 1").unwrap()),
            [("x", Some("Walk")), ("run/y", Some("run"))]
        );
        let wrong = read("Run/a.avi 1\nRun/b.avi 2").unwrap_err().to_string();
        assert!(wrong.contains("trainlist01.txt: line 2: folder Run"), "{wrong}");
        let unknown = read("Run/a.avi 3").unwrap_err().to_string();
        assert!(unknown.contains("line 1: class 3 is not in classInd.txt"), "{unknown}");
        fs::write(dir.path().join("classInd.txt"), "1 Run\nWalk\n").unwrap();
        let bad = read("Run/a.avi 1").unwrap_err().to_string();
        assert!(bad.contains("classInd.txt: line 2"), "{bad}");
    }

    #[test]
    fn hmdb_takes_the_class_from_the_file_name_and_the_part_from_the_digit() {
        let text = "a #1 (x).avi 1 \nb.avi 2 \nc.avi 0 \n";
        let of = |part| read("shake_hands_test_split1.txt", text, part).unwrap();
        assert_eq!(pairs(&of(Part::Train)), [("shake_hands/a #1 (x)", Some("shake_hands"))]);
        assert_eq!(pairs(&of(Part::Test)), [("shake_hands/b", Some("shake_hands"))]);
        assert_eq!(of(Part::All).entries.len(), 2);
        let e = read("x_test_split1.txt", "a.avi 1\nb.avi 3\n", Part::All).unwrap_err().to_string();
        assert!(e.contains("x_test_split1.txt: line 2"), "{e}");
    }

    #[test]
    fn a_star_stands_for_all_classes_of_a_split() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("b_test_split1", "x.avi 1"), ("a_test_split1", "x.avi 1"), ("a_test_split2", "y.avi 1")]
        {
            fs::write(dir.path().join(format!("{name}.txt")), text).unwrap();
        }
        let split = Split::read(&dir.path().join("*_test_split1.txt"), Part::Train).unwrap();
        assert_eq!(pairs(&split), [("a/x", Some("a")), ("b/x", Some("b"))]);
        assert!(Split::read(&dir.path().join("*_test_split9.txt"), Part::Train).is_err());
    }

    #[test]
    fn kinetics_finds_columns_by_name_and_pads_times() {
        let text = "label,youtube_id,time_start,time_end,split,is_cc\n\
                    riding a bike,-abc,3,13,train,0\n\"say \"\"hi\"\", wave\",x_y,0.0,10,validate,1\n";
        let of = |part| read("k400.csv", text, part).unwrap();
        assert_eq!(pairs(&of(Part::Train)), [("riding a bike/-abc_000003_000013", Some("riding a bike"))]);
        assert_eq!(
            pairs(&of(Part::Test)),
            [("say \"hi\", wave/x_y_000000_000010", Some("say \"hi\", wave"))]
        );
        let e = read("k.csv", "youtube_id,time_start,time_end\na,1\n", Part::All).unwrap_err().to_string();
        assert!(e.contains("line 2: 2 fields, 3 columns"), "{e}");
        let e =
            read("k.csv", "youtube_id,time_start,time_end\na,1,soon\n", Part::All).unwrap_err().to_string();
        assert!(e.contains("\"soon\" is no time"), "{e}");
        assert!(read("k.csv", "a,b\n", Part::All).unwrap_err().to_string().contains("no column youtube_id"));
        let flat = read("k.csv", "youtube_id,time_start,time_end,split\na,1,2,test\n", Part::Test).unwrap();
        assert_eq!(pairs(&flat), [("a_000001_000002", None)]);
    }

    #[test]
    fn repeated_empty_and_binary_lists_are_errors() {
        let e = read("l.txt", "A/a.avi\nA/a.avi\n", Part::All).unwrap_err().to_string();
        assert!(e.contains("line 2: A/a is named on line 1"), "{e}");
        assert!(read("l.txt", "\n\n", Part::All).unwrap_err().to_string().contains("names no video"));
        assert!(read("a_test_split1.txt", "x.avi 0\n", Part::All).is_err());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("l.txt"), [0xFF, 0xFE]).unwrap();
        assert!(Split::read(&dir.path().join("l.txt"), Part::All).unwrap_err().to_string().contains("UTF-8"));
        assert!(matches!(Split::read(&dir.path().join("no.txt"), Part::All), Err(Error::Io { .. })));
    }

    #[test]
    fn keys_lose_only_extensions_of_videos() {
        assert_eq!(strip_extension("a/b.AVI"), "a/b");
        assert_eq!(strip_extension("a/clip.v2"), "a/clip.v2");
        assert_eq!(strip_extension("a/.mp4"), "a/.mp4");
        assert_eq!(
            aliases("riding a_bike/x_1"),
            ["riding a_bike/x_1", "riding_a_bike/x_1", "riding a bike/x_1", "x_1"]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>(), name in 0_usize..3) {
            let name = ["list.txt", "a_test_split1.txt", "k.csv"][name];
            let _ = read(name, &text, Part::All);
            let _ = read(name, &format!("youtube_id,time_start,time_end\n{text}"), Part::All);
        }
    }
}
