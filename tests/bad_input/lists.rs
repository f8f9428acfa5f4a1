//! Lists that do not go with the data set.

use super::*;

#[test]
fn lists_are_checked_against_the_set_before_any_work() {
    let dir = fixture();
    let root = dir.path();
    for (name, text) in [
        ("unknown.txt", "v000000\nv000099\nv000098\n"),
        ("twice.txt", "v000000\nv000000\n"),
        ("blank.txt", "\n\n"),
        ("index/list.txt", "v000000.avi 1\nv000001.avi 3\n"), // with the classInd.txt beside it
        ("index/classInd.txt", "1 Run\n2 Walk\n"),
        ("run_test_split1.txt", "v000000.avi 1\nv000001.avi 5\n"),
        ("k.csv", "youtube_id,when\nv000000,1\n"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let cases: &[(&str, i32, &[&str])] = &[
        ("unknown.txt", 1, &["unknown.txt", "v000099", "v000098", "ingest these videos"]),
        ("twice.txt", 1, &["twice.txt: line 2", "v000000 is named on line 1", "remove one"]),
        ("blank.txt", 1, &["blank.txt: names no video"]),
        ("none.txt", 1, &["cannot read none.txt", "nothing is there"]),
        ("no*.txt", 1, &["no*.txt", "no file has such a name"]),
        ("index/list.txt", 1, &["list.txt: line 2", "class 3 is not in classInd.txt"]),
        ("run_test_split1.txt", 1, &["run_test_split1.txt: line 2"]),
        ("k.csv", 1, &["k.csv", "time_start"]),
        ("set/shard-00000.tar", 1, &["shard-00000.tar", "not UTF-8"]),
        ("set", 1, &["cannot read set", "give a file"]),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|c| {
            format!(
                "retrieve --checkpoint run --data set --label motion --train set/trainlist.txt --test {}",
                c.0
            )
        })
        .collect();
    let queries: Vec<_> = lines.iter().zip(cases).map(|(line, c)| (line.as_str(), c.1, c.2)).collect();
    refused(root, &queries);
    let lines: Vec<_> =
        cases.iter().map(|c| format!("pretrain --data set --out q TINY --list {}", c.0)).collect();
    // Training names the first missing video and their number, for a list may have thousands.
    let missing: &[&str] = &["unknown.txt", "2 of its 3 videos", "v000099", "ingest these videos"];
    let training: Vec<_> = lines
        .iter()
        .zip(cases)
        .map(|(line, c)| (line.as_str(), c.1, if c.0 == "unknown.txt" { missing } else { c.2 }))
        .collect();
    refused(root, &training);
    // Of videos that are not there it reports; a list that cannot be read it refuses.
    let lines: Vec<_> = cases[1..].iter().map(|c| format!("inspect set --list {}", c.0)).collect();
    let inspections: Vec<_> =
        lines.iter().zip(&cases[1..]).map(|(line, c)| (line.as_str(), c.1, c.2)).collect();
    refused(root, &inspections);
    refused(root, &[("inspect run --list set/trainlist.txt", 2, &["--list", "run", "no data set"])]);
}

#[test]
fn a_label_that_the_videos_lack_comes_with_those_that_they_have() {
    let dir = fixture();
    let lists = "--train set/trainlist.txt --test set/testlist.txt";
    let cases: &[(&str, i32, &[&str])] = &[
        (
            "retrieve --checkpoint run --data set",
            1,
            &["set", "12 of 12 videos", "\"label\"", "appearance, motion"],
        ),
        (
            "retrieve --checkpoint run --data set --label mation",
            1,
            &["no label named \"mation\"", "--label one of: appearance, motion"],
        ),
        (
            &format!("retrieve --checkpoint run --data set {lists} --label mation"),
            1,
            &["trainlist.txt", "no label named \"mation\"", "appearance, motion"],
        ),
    ];
    refused(dir.path(), cases);
}
