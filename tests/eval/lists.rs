//! Split lists as UCF101 and HMDB51 publish them.

use std::fs;

use super::*;

/// Five videos of three classes, one of them in no split.
fn set(dir: &Path) {
    let keys = [
        "HandstandPushups/v_HandStandPushups_g01_c01",
        "HandstandPushups/v_HandStandPushups_g02_c01",
        "Run/v_Run_g01_c01",
        "Run/v_Run_g02_c01",
        "Walk/v_Walk_g01_c01",
        "Walk/v_Walk_g02_c01",
        "Walk/v_Walk_g03_c01",
    ];
    let videos: Vec<_> = keys.iter().enumerate().map(|(n, key)| (*key, None, n as u64)).collect();
    write_set(dir, &videos);
}

#[test]
fn one_split_in_both_formats_is_one_retrieval() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    fs::create_dir_all(dir.path().join("ucf")).unwrap();
    fs::create_dir_all(dir.path().join("hmdb")).unwrap();
    for (name, text) in [
        ("ucf/classInd.txt", "1 HandstandPushups\r\n2 Run\r\n3 Walk\r\n"),
        (
            "ucf/trainlist01.txt",
            "HandstandPushups/v_HandStandPushups_g01_c01.avi 1\r\nRun/v_Run_g01_c01.avi 2\r\n\
             Walk/v_Walk_g01_c01.avi 3\r\n",
        ),
        // Without numbers, as published.
        (
            "ucf/testlist01.txt",
            "HandstandPushups/v_HandStandPushups_g02_c01.avi\r\nRun/v_Run_g02_c01.avi\r\n\
             Walk/v_Walk_g02_c01.avi\r\n",
        ),
        (
            "hmdb/HandstandPushups_test_split1.txt",
            "v_HandStandPushups_g01_c01.avi 1 \nv_HandStandPushups_g02_c01.avi 2 \n",
        ),
        ("hmdb/Run_test_split1.txt", "v_Run_g01_c01.avi 1 \nv_Run_g02_c01.avi 2 \n"),
        (
            "hmdb/Walk_test_split1.txt",
            "v_Walk_g02_c01.avi 2 \nv_Walk_g01_c01.avi 1 \nv_Walk_g03_c01.avi 0 \n",
        ),
        ("hmdb/Walk_test_split2.txt", "v_Walk_g02_c01.avi 1 \nv_Walk_g03_c01.avi 2 \n"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let report = |train: &str, test: &str| {
        let line = format!("retrieve {} --data set --clips 1 --json --train {train} --test {test}", look());
        hdc(dir.path(), &line).json()
    };
    let ucf = report("ucf/trainlist01.txt", "ucf/testlist01.txt");
    let hmdb = report("hmdb/*_test_split1.txt", "hmdb/*_test_split1.txt");
    assert_eq!(ucf, hmdb);
    assert_eq!([&ucf["queries"], &ucf["gallery"], &ucf["classes"]], [3, 3, 3]);
    assert_eq!(ucf["leave_one_out"], false);
    assert!((ucf["chance"]["1"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(ucf["top"]["5"], 1.0, "three in the gallery, one of each class");
    let second = report("hmdb/*_test_split2.txt", "hmdb/*_test_split2.txt");
    assert_eq!([&second["queries"], &second["gallery"]], [1, 1]);
}

#[test]
fn training_takes_the_training_part_of_a_list() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    fs::write(
        dir.path().join("Walk_test_split1.txt"),
        "v_Walk_g02_c01.avi 2 \nv_Walk_g01_c01.avi 1 \nv_Walk_g03_c01.avi 1 \n",
    )
    .unwrap();
    fs::write(dir.path().join("list.txt"), "Run/v_Run_g01_c01.avi 1\nRun/v_Run_g02_c01.avi 1\n").unwrap();
    let lists = "--list Walk_test_split1.txt --list list.txt";
    hdc(dir.path(), &format!("pretrain --data set {lists} --out run {TINY} --steps 1")).ok();
    let saved = hdc(dir.path(), "inspect run/checkpoints/step-1.safetensors --json").json();
    assert_eq!(saved["videos"], 4, "two of each list");
}
