//! Studies of the real program: to the end, stopped and gone on with, the same bits, and what is refused.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use hdc::data::Dataset;
use hdc::data::evaluate::Clips;
use hdc::eval::{EmbedOptions, Embedder, Pool, RetrievalSplit, Weights, linear_probe};
use hdc::graph::Backend;

use super::*;
use command::{command, files};

/// A study of the smallest network that sees something at block 5.
fn line() -> String {
    format!(
        "decouple {TINY} --set clip.crop=32 --set clip.short_side=40 --videos 64 --steps 2 --seeds 0 --clips 2 --json"
    )
}

/// The rows of a study, by name.
fn rows(out: &Path) -> Vec<(String, Value)> {
    let mut rows = Vec::new();
    for (path, bytes) in files(&out.join("rows")) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        rows.push((name, serde_json::from_slice(&bytes).unwrap()));
    }
    rows
}

#[test]
fn a_study_is_whole_true_and_the_same_when_it_was_stopped_in_between() {
    let dir = tempfile::tempdir().unwrap();
    let whole = hdc(dir.path(), &format!("{} --out whole", line())).json();
    let all = rows(&dir.path().join("whole"));
    assert_eq!(all.len(), 7);
    assert_eq!(whole["rows"].as_array().unwrap().len(), 7);
    assert_eq!(whole["verdict"].as_array().unwrap().len(), 3 * 2 * 8);
    assert_eq!(whole["videos"], serde_json::json!([48, 16]));
    assert_eq!(whole["chance"]["probe motion"], 0.125);
    let report = fs::read_to_string(dir.path().join("whole/report.md")).unwrap();
    for part in
        ["`hdc decouple --preset small", "| SC+TC at 3-4-5 |", "| chance | 12.5 |", "## Losses", "undecided"]
    {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(fs::read_to_string(dir.path().join("whole/report.svg")).unwrap().contains("probe, block 4"));

    // One block of all that were looked at in one pass is what `hdc retrieve` finds of that block alone.
    let (_, row) = all.iter().find(|(name, _)| name == "SC-at-5-seed0").unwrap();
    let loss =
        row["figures"].as_object().unwrap().keys().filter(|k| k.starts_with("loss")).collect::<Vec<_>>();
    assert_eq!(loss, ["loss s5"]);
    let run = fs::read_dir(dir.path().join("whole/runs")).unwrap().map(|e| e.unwrap().path()).find(|run| {
        let config = fs::read_to_string(run.join("config.toml")).unwrap();
        config.contains("temporal = false") && config.contains("alpha = [0.0, 0.0, 1.0]")
    });
    let lists = "--data whole/data --train whole/data/trainlist.txt --test whole/data/testlist.txt";
    for (block, label) in [(3, "appearance"), (5, "motion")] {
        let line = format!(
            "retrieve --checkpoint {} {lists} --label {label} --block {block} --pool gavg --clips 2 --json",
            run.as_ref().unwrap().display()
        );
        let found = hdc(dir.path(), &line).json();
        assert_eq!(found["top"]["1"], row["figures"][format!("retrieval {label} {block}")]);
    }

    let again = format!("{} --out parts --threads 1", line());
    let mut stopped = command(dir.path(), &again).stderr(std::process::Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while !dir.path().join("parts/rows/SC-at-5-seed0.json").exists() {
        assert!(begin.elapsed() < Duration::from_secs(120), "no row in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Pretraining saves first; everything else ends at once, also after a pretraining that took the signals for itself.
    assert!(Command::new("kill").args(["-INT", &stopped.id().to_string()]).status().unwrap().success());
    let ended = stopped.wait().unwrap();
    assert!(ended.code() == Some(130) || ended.signal() == Some(2), "{ended}");
    assert!(rows(&dir.path().join("parts")).len() < 7);
    assert_eq!(hdc(dir.path(), &again).json(), whole);
    assert_eq!(rows(&dir.path().join("parts")), all);

    // Some of the rows are the same rows, and the report speaks of no other.
    let some = hdc(dir.path(), &format!("{again} --rows TC-at-5,SC-at-5")).json();
    let names: Vec<_> =
        some["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["SC at 5", "TC at 5"]);
    assert_eq!(some["rows"][1], whole["rows"][2]);
    assert_eq!(some["verdict"].as_array().unwrap().len(), 3 * 2 * 2);

    // With everything there nothing is done: not even the runs need be there.
    fs::remove_dir_all(dir.path().join("parts/runs")).unwrap();
    assert_eq!(hdc(dir.path(), &again).json(), whole);
    assert!(!dir.path().join("parts/runs").exists());
    let other = hdc(dir.path(), &again.replace("--steps 2", "--steps 3"));
    other.refused(1, &["rows/untrained-seed0.json", "train.steps: 2 there, 3 now", "another --out"]);
}

#[test]
fn a_study_refuses_what_it_cannot_use() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 12);
    fs::write(dir.path().join("empty.txt"), "\n").unwrap();
    let set = "--data set --train set/trainlist.txt --test set/testlist.txt";
    let line = format!("decouple --out study {TINY} --steps 1");
    let refused = |options: &str, code, parts: &[&str]| {
        hdc(dir.path(), &format!("{line} {options}")).refused(code, parts);
    };
    refused("--seeds 0,one", 2, &["'one'", "--seeds"]);
    refused("--seeds 1,0,1", 2, &["seed 1 is given twice"]);
    refused("--set loss.tua=1", 2, &["did you mean loss.tau?"]);
    refused("--data set", 2, &["--train", "--test"]);
    refused("--block 2", 2, &["--block"]);
    refused("--rows SC-at-5,SC-at-6", 2, &["\"SC-at-6\"", "untrained, SC-at-5, TC-at-5"]);
    refused(&format!("{set} --labels appearance,colour"), 1, &["\"colour\"", "appearance, motion"]);
    refused("--data set --train empty.txt --test set/testlist.txt", 1, &["empty.txt", "names no video"]);
    refused("--data none --train empty.txt --test empty.txt", 1, &["none", "check the path"]);
    assert!(!dir.path().join("study").exists(), "nothing is left behind");
}

#[test]
fn a_table_of_retrieval_is_whole_shares_its_runs_and_shows_the_papers_figures() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 32);
    let look = format!("{TINY} --set clip.crop=32 --set clip.short_side=40");
    let (train, test) = ("set/trainlist.txt", "set/testlist.txt");
    // Two splits, of which the second is the first one turned round.
    let splits = format!("--train {train} --test {test} --train {test} --test {train}");
    let line = format!(
        "ablate --data set {splits} --label motion {look} --steps 2 --seeds 0,4 --clips 2 --out study --json --table"
    );
    let ucf = hdc(dir.path(), &format!("{line} 4")).json();
    let report = fs::read_to_string(dir.path().join("study/report.md")).unwrap();
    for part in [
        "# Table 4",
        "| HDC, the paper | 33.9 | 49.6 | 55.7 | 61.6 | 69.9 |",
        "| chance |",
        "| HDC, seed 4 |",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    let all = rows(&dir.path().join("study"));
    assert_eq!((all.len(), fs::read_dir(dir.path().join("study/runs")).unwrap().count()), (8, 4));

    // The untrained row is what `hdc retrieve` finds, a mean over the splits.
    let retrieve = |train: &str, test: &str| {
        let line = format!(
            "retrieve --checkpoint random:4 {look} --data set --train {train} --test {test} --label motion --clips 2 --json"
        );
        hdc(dir.path(), &line).json()
    };
    let parts = [retrieve(train, test), retrieve(test, train)];
    let seed = &ucf["rows"][0]["seeds"][1];
    assert_eq!((&ucf["rows"][0]["name"], &seed[0]), (&"untrained".into(), &4.into()));
    for k in ["1", "5", "50"] {
        let mean = |name: &str| parts.iter().map(|p| p[name][k].as_f64().unwrap()).sum::<f64>() / 2.0;
        let name = format!("top {k}");
        assert!((seed[1][&name].as_f64().unwrap() - mean("top")).abs() < 1e-12);
        assert!((ucf["chance"][&name].as_f64().unwrap() - mean("chance")).abs() < 1e-12);
    }

    // Table 5 differs in the paper's figures alone.
    let before = files(&dir.path().join("study/rows"));
    let hmdb = hdc(dir.path(), &format!("{line} 5")).json();
    assert_eq!(hmdb["rows"], ucf["rows"]);
    assert_eq!(files(&dir.path().join("study/rows")), before);
    assert!(fs::read_to_string(dir.path().join("study/report.md")).unwrap().contains("| 14.6 | 28.8 |"));
    let other = hdc(dir.path(), &format!("{line} 4 --set loss.tau=0.1"));
    other.refused(1, &["loss.tau: 0.07 there, 0.1 now", "another --out"]);
}

#[test]
fn a_table_refuses_what_it_cannot_use() {
    let dir = tempfile::tempdir().unwrap();
    synth(dir.path(), 12);
    fs::write(dir.path().join("empty.txt"), "\n").unwrap();
    let refused = |options: &str, code, parts: &[&str]| {
        hdc(dir.path(), &format!("ablate --out study {TINY} --data set {options}")).refused(code, parts);
    };
    let lists = "--train set/trainlist.txt --test set/testlist.txt";
    refused(&format!("{lists} --table 6"), 2, &["'6'", "--table", "variant"]);
    refused("--table 4", 2, &["--train", "--test"]);
    refused(&format!("{lists} --test set/testlist.txt --table 4"), 2, &["--test 2 times", "for each split"]);
    refused(&format!("{lists} --table 4"), 1, &["\"label\"", "appearance, motion"]);
    refused("--train empty.txt --test set/testlist.txt --table 4", 1, &["empty.txt", "names no video"]);
    let tuned = format!("{lists} --label motion --table 1");
    refused(&format!("{tuned} --finetune-set optim.lr=-1"), 2, &["optim.lr = -1"]);
    refused(&format!("{tuned} --finetune-set loss.tau=1"), 2, &["loss.tau is of pretraining"]);
    refused(&format!("{tuned} --finetune-steps 0"), 2, &["--finetune-steps"]);
    assert!(!dir.path().join("study").exists(), "nothing is left behind");
}

#[test]
fn a_table_of_classification_pretrains_fine_tunes_and_tests_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    synth(root, 24);
    let look = format!("{TINY} --set clip.crop=32 --set clip.short_side=40");
    let lists = "--train set/trainlist.txt --test set/testlist.txt";
    let line = format!(
        "ablate --data set {lists} --label motion {look} --steps 2 --seeds 0,3 --finetune-steps 3 \
         --finetune-set train.batch=4 --out study --json --table"
    );
    let first = hdc(root, &format!("{line} starts")).json();
    let all = rows(&root.join("study"));
    // Each of SC, TC and HDC is pretrained once a seed, probed and fine-tuned.
    assert_eq!((all.len(), fs::read_dir(root.join("study/runs")).unwrap().count()), (16, 6));
    let finetuned = root.join("study/finetune");
    let tuned = |name: &str| finetuned.join(format!("starts-{name}-seed3-split1"));
    let test =
        format!("test --checkpoint {} --data set --list set/testlist.txt --json", tuned("tc").display());
    let seen = hdc(root, &test).json()["splits"][0]["video_top1"].clone();
    let row = first["rows"].as_array().unwrap().iter().find(|r| r["name"] == "TC, fine-tuned").unwrap();
    assert_eq!((&row["seeds"][1][0], &row["seeds"][1][1]["top-1"]), (&3.into(), &seen));
    for name in ["tc", "scratch"] {
        let classify = Config::load(&tuned(name).join("config.toml")).unwrap().classify.unwrap();
        assert_eq!((classify.frozen, classify.start == "scratch"), (false, name == "scratch"), "{name}");
    }
    assert_eq!(fs::read_dir(&finetuned).unwrap().count(), 8, "a probe is no fine-tuning");
    let config = Config::load(&tuned("scratch").join("config.toml")).unwrap();
    let dataset = Dataset::open(root.join("set")).unwrap();
    let split = RetrievalSplit::lists(
        &dataset,
        &root.join("set/trainlist.txt"),
        &root.join("set/testlist.txt"),
        "motion",
    );
    let (weights, split) = (Weights::random(&config, 3).unwrap(), split.unwrap());
    let options = EmbedOptions { pool: Pool::Gavg, clips: Clips::Spread(10), ..EmbedOptions::default() };
    let mut embedder = Embedder::new(&weights, options, &Backend::Cpu).unwrap();
    let vectors = embedder.embed(&dataset, &split.videos(), |_, _| {}).unwrap();
    let row = &first["rows"][0];
    assert_eq!(row["name"], "linear probe of an untrained network");
    assert_eq!(row["seeds"][1][1]["top-1"].as_f64().unwrap(), linear_probe(&vectors, &split));

    // From the rows alone, but for one that was lost.
    let before = files(&root.join("study/rows"));
    for folder in ["runs", "finetune"] {
        fs::remove_dir_all(root.join("study").join(folder)).unwrap();
    }
    fs::remove_file(root.join("study/rows/starts-hdc-seed3-split1.json")).unwrap();
    assert_eq!(hdc(root, &format!("{line} starts")).json(), first);
    assert_eq!(files(&root.join("study/rows")), before);
    assert_eq!(fs::read_dir(root.join("study/runs")).unwrap().count(), 1);
    let other = hdc(root, &format!("{line} starts --finetune-set classify.dropout=0.1"));
    other.refused(1, &["finetune.classify.dropout: 0.5 there, 0.1 now"]);

    // The paper's first table, beside its figures.
    let table = hdc(root, &format!("{line} 1").replace("--seeds 0,3", "--seeds 0")).json();
    assert_eq!(table["rows"].as_array().unwrap().len(), 8);
    let report = fs::read_to_string(root.join("study/report.md")).unwrap();
    assert!(report.contains("Table 1") && report.contains("| 69.0 |"), "{report}");
}
