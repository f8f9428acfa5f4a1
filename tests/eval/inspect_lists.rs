//! What `inspect --list` says of videos and lists that do not go together, and of those that do.

use super::*;
use hdc::data::ingest::{Rejected, Surveyed};
use hdc::data::lists::Role;
use hdc::eval::inspect::Audit;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A video of ffmpeg's own making; `false` and a line past the capture of the output if there is no ffmpeg.
fn make(path: &Path, frames: usize) -> bool {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=size=48x32:rate=25"])
        .args(["-frames:v", &frames.to_string(), "-c:v", "mpeg4"])
        .arg(path)
        .status();
    if made.is_err() {
        std::io::stderr().write_all(b"skipped: no ffmpeg (inspect of video files)\n").unwrap();
    }
    made.is_ok_and(|status| status.success())
}

/// A folder in UCF101's layout with everything wrong that can be: `src`, and lists beside it.
fn faulty(root: &Path) -> bool {
    let path = |name: &str| root.join("src").join(name);
    let (long, short) =
        (path("HandstandPushups/v_HandStandPushups_g01_c01.avi"), path("Run/v_Run_g02_c01.avi"));
    if !make(&long, 20) || !make(&short, 5) {
        return false;
    }
    for name in [
        "HandstandPushups/v_HandStandPushups_g01_c02.avi",
        "HandstandPushups/v_HandStandPushups_g02_c01.avi",
        "Run/v_Run_g01_c01.avi",
        "Run/v_HandStandPushups_g05_c01.avi",
        "Jump/v_Jump_g01_c01.avi",
    ] {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::copy(&long, path(name)).unwrap();
    }
    fs::write(path("Run/v_Run_g03_c01.avi"), "no video").unwrap();
    fs::write(path("Run/notes.txt"), "").unwrap();
    for (name, text) in [
        ("classInd.txt", "1 HandstandPushups\n2 Run\n3 Walk\n"),
        (
            "trainlist01.txt",
            "HandstandPushups/v_HandStandPushups_g01_c01.avi 1\nRun/v_Run_g01_c01.avi 2\n\
             Run/v_Run_g03_c01.avi 2\nRun/v_Run_g09_c01.avi 2\n",
        ),
        (
            "testlist01.txt",
            "HandstandPushups/v_HandStandPushups_g01_c02.avi\nHandstandPushups/v_HandStandPushups_g02_c01.avi\n\
             Run/v_Run_g02_c01.avi\nRun/v_Run_g01_c01.avi\n",
        ),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    true
}

#[test]
fn everything_wrong_is_named_before_and_after_ingest() {
    let dir = tempfile::tempdir().unwrap();
    if !faulty(dir.path()) {
        return;
    }
    hdc(dir.path(), "ingest src shards --short-side 32 --max-bad 100").ok();
    let said = ["src", "shards"].map(|what| {
        let ended =
            hdc(dir.path(), &format!("inspect {what} --json --list trainlist01.txt --list testlist01.txt"));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("is not intact: trainlist01.txt names what is not there"), "{ended:?}");
        serde_json::from_str::<Value>(&ended.out).unwrap()
    });
    assert_eq!([&said[0]["kind"], &said[1]["kind"]], ["videos", "shards"]);
    assert_eq!([&said[0]["videos"], &said[0]["ignored"]], [7, 1]);
    let audit = &said[0]["audit"];
    assert_eq!(audit, &said[1]["audit"], "shards tell what their files told");
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(
        audit["lists"],
        json(
            r#"[{"path":"trainlist01.txt","videos":{"train":4},"missing":["Run/v_Run_g09_c01"],
                 "unreadable":["Run/v_Run_g03_c01"]},
                {"path":"testlist01.txt","videos":{"test":4},"missing":[],"unreadable":[]}]"#
        )
    );
    assert_eq!(
        audit["splits"],
        json(
            r#"[{"name":"1","classes":2,"train":4,"test":4,"both":["Run/v_Run_g01_c01"],
                 "groups":["HandstandPushups/v_HandStandPushups_g01","Run/v_Run_g01"],"known":null,"agrees":null}]"#
        )
    );
    assert_eq!(audit["unreadable"][0]["path"], "Run/v_Run_g03_c01.avi");
    assert!(!audit["unreadable"][0]["reason"].as_str().unwrap().is_empty());
    for (name, expect) in [
        ("extra", r#"["Jump/v_Jump_g01_c01","Run/v_HandStandPushups_g05_c01"]"#),
        ("short", r#"["Run/v_Run_g02_c01"]"#),
        ("unknown_folders", r#"["Jump"]"#),
        ("empty_classes", r#"["Walk"]"#),
        ("misplaced", r#"["Run/v_HandStandPushups_g05_c01.avi"]"#),
        ("case_differs", r#"[{"folder":"HandstandPushups","file":"HandStandPushups"}]"#),
    ] {
        assert_eq!(audit[name], json(expect), "{name}");
    }
    assert_eq!(said[0]["faults"].as_array().unwrap().len(), 5, "{}", said[0]["faults"]);
    assert_eq!(audit["warnings"].as_array().unwrap().len(), 5, "{}", audit["warnings"]);
}

#[test]
fn what_goes_together_is_intact() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("src/riding a bike/x_000001_000011.mp4");
    if !make(&first, 16) {
        return;
    }
    fs::copy(&first, first.with_file_name("y_000002_000012.mp4")).unwrap();
    let csv = "label,youtube_id,time_start,time_end,split\nriding a bike,x,1,11,train\nriding a bike,y,2,12,validate\n";
    fs::write(dir.path().join("k400.csv"), csv).unwrap();
    let text = hdc(dir.path(), "inspect src --list k400.csv").ok();
    for part in ["2 can be read", "k400.csv: 1 train, 1 test; 0 missing, 0 unreadable", "\nintact\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("warning"), "{text}");
}

/// An audit of lists with these names and texts, where every video that they name is there, with `frames` frames.
fn audit(lists: &[(String, String)], pattern: &[&str], frames: usize) -> Audit {
    let dir = tempfile::tempdir().unwrap();
    let mut videos = Vec::new();
    for (name, text) in lists {
        fs::write(dir.path().join(name), text).unwrap();
        let folder = name.split_once("_test_split").map(|(class, _)| format!("{class}/"));
        videos.extend(text.lines().map(|line| {
            let source = format!("{}{}", folder.clone().unwrap_or_default(), line.split(' ').next().unwrap());
            Surveyed { key: source.trim_end_matches(".avi").into(), source, frames: Some(frames) }
        }));
    }
    let paths: Vec<PathBuf> = pattern.iter().map(|name| dir.path().join(name)).collect();
    Audit::new(&videos, &[], &paths).unwrap()
}

#[test]
fn published_splits_are_recognised_and_compared() {
    // 101 classes and 9537 + 3783 videos, as evenly as may be.
    let lines = |n: usize, part: &str| -> String {
        (0..n).map(|i| format!("C{}/{part}{i}.avi\n", i % 101)).collect()
    };
    let ucf = |train, test| {
        let lists =
            [("trainlist01.txt".into(), lines(train, "a")), ("testlist01.txt".into(), lines(test, "b"))];
        audit(&lists, &["trainlist01.txt", "testlist01.txt"], 16)
    };
    for (train, agrees) in [(9537, true), (9536, false)] {
        let found = ucf(train, 3783);
        let split = &found.splits[0];
        assert_eq!((split.known, split.agrees, split.classes), (Some("UCF101"), Some(agrees), 101));
        assert_eq!((split.train, split.test, found.faults()), (train, 3783, vec![]));
        assert_eq!(found.warnings.len(), usize::from(!agrees), "{:?}", found.warnings);
        assert_eq!(found.to_string().contains("agrees with UCF101"), agrees);
    }
    // 51 classes of 70 and 30 videos, and one that is used for neither.
    let class = |c: usize, train: usize| {
        let role = |i: usize| if i < train { 1 } else { 2 };
        let text: String = (0..100).map(|i| format!("{i}.avi {} \n", role(i))).collect();
        (format!("c{c:02}_test_split2.txt"), text + "unused.avi 0 \n")
    };
    for (train, agrees) in [(70, true), (69, false)] {
        let lists: Vec<_> = (0..51).map(|c| class(c, if c == 9 { train } else { 70 })).collect();
        let found = audit(&lists, &["*_test_split2.txt"], 15);
        assert_eq!((found.splits[0].known, found.splits[0].agrees), (Some("HMDB51"), Some(agrees)));
        assert_eq!(found.lists[0].videos[&Role::Unused], 51);
        assert_eq!((found.extra.len(), found.short.len()), (0, 51 * 101));
    }
}

#[test]
fn parts_are_compared_within_a_split_only() {
    let text = "A/v_A_g01_c01.avi\nA/v_A_g02_c01.avi\n";
    let lists = ["trainlist01.txt", "testlist02.txt"].map(|name| (name.to_owned(), text.to_owned()));
    let found = audit(&lists, &["trainlist01.txt", "testlist02.txt"], 16);
    assert!(found.faults().is_empty() && found.warnings.is_empty(), "{:?}", found.warnings);
    assert_eq!(found.splits.len(), 2);
    // A listed video that ingest did not find is missing; one that it could not read is not.
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("l.txt");
    fs::write(&list, "A/a.avi\nA/b.avi\n").unwrap();
    let bad = ["A/a", "A/b.avi"].map(|path| Rejected { path: path.into(), reason: "why".into() });
    let found = Audit::new(&[], &bad, &[list]).unwrap();
    assert_eq!([&found.lists[0].missing, &found.lists[0].unreadable], [&["A/a"], &["A/b"]]);
}
