//! Folders and files that are not what is needed.

use super::*;

#[test]
fn what_is_read_must_be_there_and_of_the_right_kind() {
    let dir = fixture();
    let root = dir.path();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("note"), "a note\n").unwrap();
    fs::create_dir(root.join("videos")).unwrap();
    fs::write(root.join("videos/a.avi"), [0xFF; 64]).unwrap();
    let look = "--checkpoint random:0 --preset small --set clip.crop=16";
    let missing = ["cannot read none", "nothing is there"];
    let cases: &[(&str, i32, &[&str])] = &[
        ("ingest none out", 1, &missing),
        ("ingest note out", 1, &["cannot read note", "give a folder"]),
        ("ingest empty out", 1, &["empty: holds no video", ".mp4"]),
        ("inspect none", 1, &missing),
        ("inspect empty", 1, &["empty", "neither a data set", "nor a run's folder", "hdc ingest"]),
        ("inspect note", 1, &["note", "cut short"]),
        ("pretrain --data none --out q TINY", 1, &missing),
        ("pretrain --data note --out q TINY", 1, &["cannot read note", "give a folder"]),
        ("pretrain --data empty --out q TINY", 1, &["empty", "no index.json", "hdc ingest"]),
        ("pretrain --data videos --out q TINY", 1, &["videos", "no index.json", "hdc ingest"]),
        ("pretrain --data run --out q TINY", 1, &["run: is not a data set", "hdc ingest"]),
        ("pretrain --out q TINY", 2, &["no data set is given", "--data"]),
        ("pretrain --data set --out q --config none", 1, &missing),
        ("pretrain --data set --out q --config set", 1, &["cannot read set", "give a file"]),
        ("pretrain --data set --out q --config videos/a.avi", 1, &["videos/a.avi", "UTF-8"]),
        ("pretrain --data set --out q TINY --resume none", 1, &missing),
        ("features --checkpoint none --data set --out f", 1, &missing),
        (
            "features --checkpoint empty --data set --out f",
            1,
            &["empty: holds no checkpoint", "run's folder"],
        ),
        ("features --checkpoint set --data set --out f", 1, &["set: holds no checkpoint", "run's folder"]),
        ("features --checkpoint note --data set --out f", 1, &["note", "cut short"]),
        (&format!("retrieve {look} --data videos"), 1, &["videos", "no index.json", "hdc ingest"]),
        (&format!("retrieve {look} --data videos/a.avi"), 1, &["videos/a.avi", "give a folder"]),
        ("verify none", 1, &missing),
        ("verify set", 1, &["cannot read set", "give a file"]),
        ("verify note", 1, &["note", "not a safetensors file", "golden.py"]),
        ("verify run/checkpoints/step-3.safetensors", 1, &["step-3", "no \"hdc\" metadata", "golden.py"]),
        ("verify", 2, &["<GOLDEN>"]),
    ];
    refused(root, cases);
}

#[test]
fn what_is_written_never_goes_into_something_else() {
    let dir = fixture();
    let root = dir.path();
    fs::create_dir(root.join("thesis")).unwrap();
    fs::write(root.join("thesis/trainlist.txt"), "mine\n").unwrap();
    fs::create_dir(root.join("videos")).unwrap();
    fs::write(root.join("videos/a.avi"), [0xFF; 64]).unwrap();
    fs::write(root.join("note"), "a note\n").unwrap();
    let not_empty = ["is not empty and holds no data set", "empty folder"];
    let cases: &[(&str, i32, &[&str])] = &[
        ("synth thesis", 1, &not_empty),
        ("synth run", 1, &not_empty),
        ("synth note", 1, &["cannot create note", "choose another name"]),
        ("synth set --videos 13", 2, &["set was made with", "videos=12", "videos=13", "same settings"]),
        ("ingest videos thesis", 1, &not_empty),
        ("ingest videos note", 1, &["cannot create note", "choose another name"]),
        ("ingest videos set", 2, &["set was made with", "made_by=", "another folder"]),
        ("pretrain --data set --out thesis TINY", 1, &["thesis: is not empty and holds no run", "--out"]),
        ("pretrain --data set --out set TINY", 1, &["set: is not empty and holds no run", "--out"]),
        ("pretrain --data set --out note TINY", 1, &["cannot create note", "choose another name"]),
        ("demo --out note", 1, &["note/data", "give a folder"]),
        ("features --checkpoint run --data set --out thesis", 1, &["cannot write thesis", "give a file"]),
        ("features --checkpoint run --data set --out no/f", 1, &["cannot write no/f", "nothing is there"]),
        (
            "retrieve --checkpoint run --data set --label motion --out note",
            1,
            &["cannot create note", "choose another name"],
        ),
    ];
    let needs_ffmpeg = |line: &str| line.starts_with("ingest");
    let ffmpeg = std::process::Command::new("ffmpeg").arg("-version").output().is_ok();
    if !ffmpeg {
        eprintln!("skipped: no ffmpeg (outputs of ingest)");
    }
    let cases: Vec<_> = cases.iter().copied().filter(|c| ffmpeg || !needs_ffmpeg(c.0)).collect();
    refused(root, &cases);
}
