//! Files that were cut, or in which a bit has flipped.

use super::*;
use hdc::tensor::random::Stream;

const TRAIN: &str = "pretrain --data set --out q TINY --steps 3";

/// Runs `test` with one bit of `path` flipped, then mends it.
fn with_flipped(path: &Path, at: usize, bit: u32, test: impl FnOnce()) {
    let good = fs::read(path).unwrap();
    let mut bad = good.clone();
    bad[at] ^= 1 << bit;
    fs::write(path, bad).unwrap();
    test();
    fs::write(path, good).unwrap();
}

fn find(bytes: &[u8], word: &[u8]) -> usize {
    bytes.windows(word.len()).position(|w| w == word).unwrap_or_else(|| panic!("no {word:?}"))
}

#[test]
fn a_cut_shard_is_named_with_what_it_costs() {
    let dir = fixture();
    let shard = dir.path().join("set/shard-00000.tar");
    let good = fs::read(&shard).unwrap();
    for (length, lost) in
        [(0, "12 videos are lost, the first is v000000"), (good.len() / 2, "videos are lost")]
    {
        fs::write(&shard, &good[..length]).unwrap();
        let bytes = format!("has {length} bytes instead of {}", good.len());
        let parts: &[&str] = &["shard-00000.tar", &bytes, lost, "restore the shard"];
        refused(
            dir.path(),
            &[
                (TRAIN, 1, parts),
                ("inspect set", 1, parts),
                ("features --checkpoint run --data set --out f", 1, parts),
                ("retrieve --checkpoint run --data set --label motion", 1, parts),
            ],
        );
    }
    fs::remove_file(&shard).unwrap();
    refused(dir.path(), &[(TRAIN, 1, &["cannot read set/shard-00000.tar", "nothing is there"])]);
}

#[test]
fn a_flipped_bit_in_a_video_is_named_with_the_video() {
    let dir = fixture();
    let shard = dir.path().join("set/shard-00000.tar");
    let bytes = fs::read(&shard).unwrap();
    // The first video's frames begin after its tar header; v000000.json lies behind them.
    let json = find(&bytes, b"\"frame_offsets\"");
    for at in [512, 512 + 5000, json, json + 20] {
        with_flipped(&shard, at, 3, || {
            let ended = hdc(dir.path(), "inspect set");
            assert!(ended.code == Some(1) && ended.out.contains("NOT intact"), "byte {at}: {ended:?}");
            for part in ["shard-00000.tar", "video v000000", "checksum"] {
                assert!(ended.err.contains(part), "{part}: {}", ended.err);
            }
            let parts: &[&str] = &["shard-00000.tar", "video v000000", "checksum", "restore the shard"];
            let look = "features --checkpoint run --data set --out f --clips 5";
            refused(dir.path(), &[(look, 1, parts)]);
        });
    }
    // Training meets the video some time in its first epoch of 3 steps, and saves what it had.
    with_flipped(&shard, json, 0, || {
        let ended = hdc(dir.path(), &TRAIN.replace("TINY", TINY));
        ended.refused(1, &["shard-00000.tar", "video v000000", "checksum", "restore the shard"]);
    });
    hdc(dir.path(), &TRAIN.replace("TINY", TINY)).ok();
}

#[test]
fn a_flipped_bit_in_any_field_of_a_tar_header_is_found_by_inspect() {
    let dir = fixture();
    let shard = dir.path().join("set/shard-00000.tar");
    let bytes = fs::read(&shard).unwrap();
    let second = find(&bytes[512..], b"v000000.json\0") + 512;
    // name, mode, uid, gid, size, mtime, cksum, typeflag, linkname, magic, version
    for field in [0, 100, 108, 116, 124, 136, 148, 156, 157, 257, 263] {
        for header in [0, second] {
            with_flipped(&shard, header + field, 0, || {
                let ended = hdc(dir.path(), "inspect set");
                assert!(ended.out.contains("NOT intact"), "header {header}, field {field}: {ended:?}");
                let parts = ["shard-00000.tar", "no intact tar file", "restore the shard"];
                Ended { out: String::new(), ..ended }.refused(1, &parts);
            });
        }
    }
}

#[test]
fn a_flipped_bit_in_any_field_of_the_index_is_found_on_opening() {
    let dir = fixture();
    let index = dir.path().join("set/index.json");
    let bytes = fs::read(&index).unwrap();
    let fields = [
        "format", "version", "crc32c", "complete", "recipe", "shards", "name", "bytes", "videos", "key",
        "labels", "fps", "frames", "height", "width", "source", "shard", "mjpeg", "offset", "json",
    ];
    for field in fields {
        let at = find(&bytes, format!("\"{field}\":").as_bytes());
        for at in [at + 1, at + field.len() + 3] {
            with_flipped(&index, at, 0, || refused(dir.path(), &[(TRAIN, 1, &["index.json", "copy"])]));
        }
    }
    fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
    refused(dir.path(), &[(TRAIN, 1, &["index.json"]), ("inspect set", 1, &["index.json"])]);
}

#[test]
fn a_cut_or_flipped_checkpoint_is_named_and_never_used() {
    let dir = fixture();
    let root = dir.path();
    let good = fs::read(root.join("run/checkpoints/step-3.safetensors")).unwrap();
    let bad = root.join("bad.safetensors");
    let header = u64::from_le_bytes(*good.first_chunk().unwrap()) as usize;
    let commands = [
        "inspect bad.safetensors",
        "features --checkpoint bad.safetensors --data set --out f",
        "pretrain --data set --out q TINY --resume bad.safetensors",
    ];
    let remedy = "use another checkpoint";
    for length in [0, 7, 100, header + 8, good.len() - 1] {
        fs::write(&bad, &good[..length]).unwrap();
        for line in commands {
            refused(root, &[(line, 1, &["bad.safetensors", remedy])]);
        }
    }
    // Every byte of the length, every word of the header's metadata, and places in the tensors at random.
    let mut places: Vec<_> = (0..8).collect();
    for word in
        ["__metadata__", "config", "crc32c", "data_keys", "step", "version", "backbone.conv1", "shape"]
    {
        places.push(find(&good, word.as_bytes()));
    }
    let mut stream = Stream::new("flips", 1);
    places.extend((0..8).map(|_| 8 + header + stream.next_below((good.len() - header - 8) as u64) as usize));
    for (n, at) in places.into_iter().enumerate() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (n % 8);
        fs::write(&bad, bytes).unwrap();
        refused(root, &[(commands[n % 3], 1, &["bad.safetensors", remedy])]);
    }
    // In a run's folder the only checkpoint is damaged: it stays where it is until the user decides.
    fs::copy(&bad, root.join("run/checkpoints/step-3.safetensors")).unwrap();
    let parts: &[&str] = &["holds no intact checkpoint", "step-3.safetensors", "--resume never"];
    refused(root, &[("pretrain --data set --out run TINY --steps 9", 1, parts)]);
    let ended = hdc(root, "inspect run");
    assert!(ended.code == Some(1) && ended.out.contains("DAMAGED"), "{ended:?}");
}

#[test]
fn a_checkpoint_of_another_network_or_data_set_is_refused_with_the_differences() {
    let dir = fixture();
    let root = dir.path();
    hdc(root, "synth other --videos 11 --frames 12 --size 32").ok();
    let resume = "--out q TINY --resume run/checkpoints/step-3.safetensors";
    let backbone = TINY.replace("--preset small", "--preset small --set model.backbone=r3d18");
    let width = TINY.replace("0.03125", "0.0625");
    let cases: &[(&str, i32, &[&str])] = &[
        (
            &format!("pretrain --data set {resume}").replace("TINY", &backbone),
            1,
            &["step-3", "model.backbone: \"c3d\" in the run, \"r3d18\" now", "same settings"],
        ),
        (
            &format!("pretrain --data set {resume}").replace("TINY", &width),
            1,
            &["step-3", "model.width: 0.03125 in the run, 0.0625 now", "same settings"],
        ),
        (&format!("pretrain --data other {resume}"), 1, &["12 videos in the run, 11 now"]),
        (
            "pretrain --data set --out run TINY --set loss.tau=0.2",
            1,
            &["loss.tau: 0.07 in the run", "--resume never"],
        ),
    ];
    refused(root, cases);
}
