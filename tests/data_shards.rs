//! Shards: what is written comes back, damage is found and named, an interrupted writer goes on.

mod data_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use data_support::{flat_video, grey, recipe, write_set};
use hdc::data::lists::{Part, Split};
use hdc::data::shard::{EncodedVideo, Recipe, ShardWriter};
use hdc::data::{Dataset, FrameReader, VideoInfo, Window};

fn read(dataset: &Dataset, video: usize, frames: &[usize], short_side: usize) -> hdc::Result<Window> {
    let mut window = Window::default();
    FrameReader::default().read(dataset, video, frames, short_side, &mut window)?;
    Ok(window)
}

/// Every file of a folder but the lock.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(root).unwrap().map(|e| e.unwrap());
    let named = entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()));
    named.filter(|(name, _)| name != ".lock").collect()
}

#[test]
fn what_is_written_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 11);
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.len(), 11);
    assert!(dataset.shards() > 1, "the writer rolls over");
    assert!(dataset.verify().is_empty());
    let video = dataset.find("class1/video007").unwrap();
    assert_eq!(dataset.video(video).labels["label"], "class1");
    let window = read(&dataset, video, &[3, 19, 0], 128).unwrap();
    assert_eq!((window.frames, window.height, window.width), (3, 24, 32));
    for (slot, frame) in [3, 19, 0].into_iter().enumerate() {
        let expect = grey(7, frame);
        let pixels = &window.rgb[slot * 24 * 32 * 3..][..24 * 32 * 3];
        assert!(
            pixels.iter().all(|p| p.abs_diff(expect) <= 2),
            "frame {frame}: {} is not {expect}",
            pixels[0]
        );
    }
    let small = read(&dataset, video, &[5], 12).unwrap();
    assert_eq!((small.height, small.width, small.rgb.len()), (12, 16, 12 * 16 * 3));
    assert!(small.rgb.iter().all(|p| p.abs_diff(grey(7, 5)) <= 2));
}

#[test]
fn members_are_a_plain_tar_of_playable_jpegs() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap();
    let long = "x".repeat(180);
    for key in ["a.b/it's a \"clip\" v1.2 – Überraschung 日本", &long] {
        let mut video =
            EncodedVideo::new(VideoInfo { key: key.into(), height: 8, width: 8, ..VideoInfo::default() });
        video.push_frame(&[90; 192], 90).unwrap();
        writer.append(&video).unwrap();
    }
    writer.finish().unwrap();
    let mut archive = tar::Archive::new(fs::File::open(dir.path().join("shard-00000.tar")).unwrap());
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        if name.ends_with(".mjpeg") {
            assert!(bytes.starts_with(&[0xFF, 0xD8]) && bytes.ends_with(&[0xFF, 0xD9]));
        } else {
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json["frames"], 1);
        }
        names.push(name);
    }
    // WebDataset ends a key at the first dot of the file's name.
    let stem = "a.b/it's a \"clip\" v1%2E2 – Überraschung 日本";
    let expect =
        [format!("{stem}.mjpeg"), format!("{stem}.json"), format!("{long}.mjpeg"), format!("{long}.json")];
    assert_eq!(names, expect);
    let dataset = Dataset::open(dir.path()).unwrap();
    assert!(dataset.verify().is_empty());
    assert!(dataset.find(&long).is_some());
}

#[test]
fn every_flipped_bit_of_a_video_is_found_by_verify_and_no_read_returns_other_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap();
    for n in 0..2 {
        writer.append(&flat_video(n, 3, 8, 8)).unwrap();
    }
    writer.finish().unwrap();
    let shard = dir.path().join("shard-00000.tar");
    let good = fs::read(&shard).unwrap();
    let whole = |d: &Dataset| (0..2).map(|v| read(d, v, &[0, 1, 2], 8)).collect::<Vec<_>>();
    let expect: Vec<_> = whole(&Dataset::open(dir.path()).unwrap()).into_iter().map(|w| w.unwrap()).collect();
    let (mut found, mut headers, mut harmless) = (0, 0, 0);
    let unharmed =
        |reads: &[hdc::Result<Window>]| reads.iter().zip(&expect).all(|(r, e)| r.as_ref().unwrap() == e);
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&shard, &bad).unwrap();
        let dataset = Dataset::open(dir.path()).unwrap();
        let faults = dataset.verify();
        let reads = whole(&dataset);
        match faults.as_slice() {
            // Padding: nothing that anyone reads.
            [] => {
                harmless += 1;
                assert!(unharmed(&reads), "byte {at}");
            }
            // Training goes by the index, but other readers would lose the rest of the shard.
            [fault] if fault.to_string().contains("no intact tar file") => {
                headers += 1;
                assert!(unharmed(&reads), "byte {at}");
            }
            [fault] => {
                found += 1;
                let text = fault.to_string();
                assert!(text.contains("shard-00000.tar") && text.contains("video class"), "{text}");
                assert!(text.contains("help: restore the shard"), "{text}");
                let broken = reads.iter().filter(|r| r.is_err()).count();
                assert_eq!(broken, 1, "byte {at}: the read of one video fails");
            }
            more => panic!("one flipped bit cannot damage two videos: {more:?}"),
        }
    }
    assert!(
        found > 200 && headers > 200 && harmless > 100,
        "{found}, {headers} headers, {harmless} harmless"
    );
}

#[test]
fn a_cut_or_missing_shard_names_the_file_and_the_first_lost_video() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 11);
    let shard = dir.path().join("shard-00001.tar");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let e = Dataset::open(dir.path()).unwrap_err().to_string();
    assert!(e.contains("shard-00001.tar") && e.contains("lost") && e.contains("class"), "{e}");
    fs::remove_file(&shard).unwrap();
    let e = Dataset::open(dir.path()).unwrap_err().to_string();
    assert!(e.contains("shard-00001.tar"), "{e}");
}

#[test]
fn a_shard_cut_after_opening_is_an_error_of_the_read() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 3);
    let dataset = Dataset::open(dir.path()).unwrap();
    assert!(read(&dataset, 0, &[0], 24).is_ok());
    fs::File::options().write(true).open(dir.path().join("shard-00000.tar")).unwrap().set_len(600).unwrap();
    let e = read(&dataset, 0, &[0], 24).unwrap_err().to_string();
    assert!(e.contains("class0/video000") && e.contains("cut off"), "{e}");
}

#[test]
fn folders_that_are_no_data_set_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Dataset::open(dir.path().join("no")).unwrap_err().to_string();
    assert!(missing.contains("nothing is there"), "{missing}");
    let empty = Dataset::open(dir.path()).unwrap_err().to_string();
    assert!(empty.contains("no index.json") && empty.contains("hdc ingest"), "{empty}");
    drop(ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap());
    let unfinished = Dataset::open(dir.path()).unwrap_err().to_string();
    assert!(
        unfinished.contains("not finished") && unfinished.contains("run that command again"),
        "{unfinished}"
    );
    ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap().finish().unwrap();
    let none = Dataset::open(dir.path()).unwrap_err().to_string();
    assert!(none.contains("holds no video"), "{none}");
}

#[test]
fn a_writer_stopped_anywhere_goes_on_to_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    write_set(whole.path(), 11);
    let expect = files(whole.path());
    for stop in [0, 1, 4, 5, 10, 11] {
        for tail in [0, 1, 300, 511, 513, 5000] {
            let dir = tempfile::tempdir().unwrap();
            let mut writer = ShardWriter::open(dir.path(), &recipe(), 60_000).unwrap();
            for n in 0..stop {
                writer.append(&flat_video(n, 20, 24, 32)).unwrap();
            }
            drop(writer);
            assert!(Dataset::open(dir.path()).is_err(), "not visible before it is finished");
            // As a kill in the middle of a write leaves it: cut inside the last video, or with rubbish behind.
            for name in files(dir.path()).keys().filter(|n| n.ends_with(".partial")) {
                let path = dir.path().join(name);
                let mut bytes = fs::read(&path).unwrap();
                if tail % 2 == 0 {
                    bytes.truncate(bytes.len().saturating_sub(tail + 1024));
                } else {
                    bytes.extend(vec![tail as u8; tail]);
                }
                fs::write(&path, bytes).unwrap();
            }
            let mut writer = ShardWriter::open(dir.path(), &recipe(), 60_000).unwrap();
            let kept = writer.len();
            assert!(kept == stop || tail % 2 == 0 && kept + 1 >= stop, "{kept} of {stop} kept, tail {tail}");
            for n in 0..11 {
                let video = flat_video(n, 20, 24, 32);
                if !writer.contains(&video.info.key) {
                    writer.append(&video).unwrap();
                }
            }
            writer.finish().unwrap();
            assert_eq!(files(dir.path()), expect, "stopped after {stop}, tail {tail}");
        }
    }
}

#[test]
fn a_stop_between_shard_and_index_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 11);
    let expect = files(dir.path());
    let mut writer = ShardWriter::open(dir.path(), &recipe(), 60_000).unwrap();
    writer.append(&flat_video(11, 20, 24, 32)).unwrap();
    drop(writer);
    let last = expect.keys().filter(|n| n.ends_with(".tar")).count();
    let partial = dir.path().join(format!("shard-{last:05}.tar.partial"));
    fs::rename(&partial, partial.with_extension("")).unwrap(); // shard renamed, index not yet written
    let writer = ShardWriter::open(dir.path(), &recipe(), 60_000).unwrap();
    assert_eq!(writer.len(), 12);
    writer.finish().unwrap();
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.len(), 12);
    assert!(dataset.verify().is_empty());
}

#[test]
fn one_writer_a_folder_one_recipe_a_set_one_video_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap();
    let busy = ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap_err().to_string();
    assert!(busy.contains("another process is writing"), "{busy}");
    writer.append(&flat_video(0, 2, 8, 8)).unwrap();
    let twice = writer.append(&flat_video(0, 2, 8, 8)).unwrap_err().to_string();
    assert!(twice.contains("class0/video000 is there already"), "{twice}");
    assert!(writer.append(&EncodedVideo::new(VideoInfo::default())).is_err(), "no frames");
    writer.finish().unwrap();
    let other = Recipe::from([("made_by".into(), "somebody".into())]);
    let e = ShardWriter::open(dir.path(), &other, 1 << 20).unwrap_err();
    assert!(e.to_string().contains("made_by=test") && e.to_string().contains("made_by=somebody"), "{e}");
    assert_eq!(e.exit_code(), 2);
    fs::remove_file(dir.path().join("index.json")).unwrap();
    let lost = ShardWriter::open(dir.path(), &recipe(), 1 << 20).unwrap_err().to_string();
    assert!(lost.contains("no index.json"), "{lost}");
}

#[test]
fn lists_are_matched_to_the_set_and_all_missing_videos_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write_set(&dir.path().join("set"), 6);
    let dataset = Dataset::open(dir.path().join("set")).unwrap();
    let list = dir.path().join("trainlist01.txt");
    fs::write(&list, "class1/video004.avi 2\nclass0/video003.avi 1\n").unwrap();
    let found = Split::read(&list, Part::All).unwrap().resolve(&dataset, "label").unwrap();
    let named: Vec<_> =
        found.iter().map(|f| (dataset.video(f.video).key.as_str(), f.label.as_str())).collect();
    assert_eq!(named, [("class1/video004", "class1"), ("class0/video003", "class0")]);
    fs::write(&list, "class1/video004.avi\nclass1/a.avi\nclass0/b.avi\n").unwrap();
    let split = Split::read(&list, Part::All).unwrap();
    let e = split.resolve(&dataset, "label").unwrap_err().to_string();
    assert!(e.contains("2 videos: class1/a, class0/b"), "{e}");
    fs::write(&list, "class1/video004.avi\n").unwrap();
    let e = Split::read(&list, Part::All).unwrap().resolve(&dataset, "motion").unwrap_err().to_string();
    assert!(e.contains("\"motion\" for 1 video: class1/video004") && e.contains("are: label"), "{e}");
}
