//! Ingest with a real ffmpeg: odd names and sizes, broken files, lists, limits, interruption.
//! Where there is no ffmpeg these tests say that they were skipped.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hdc::data::ingest::{IngestOptions, IngestReport, ingest};
use hdc::data::{Dataset, FrameReader, Window};

/// Whether to go on; if not, says so past the capture of the test's output.
fn ffmpeg_or_skip(test: &str) -> bool {
    let found = Command::new("ffmpeg").arg("-version").output().is_ok_and(|o| o.status.success());
    if !found {
        let line = format!("skipped: no ffmpeg ({test})\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    found
}

/// Makes a video from a source of ffmpeg's own.
fn make(path: &Path, source: &str, frames: usize, extra: &[&str]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut url = std::ffi::OsString::from("file:");
    url.push(path);
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", source])
        .args(["-frames:v", &frames.to_string(), "-c:v", "mpeg4", "-q:v", "3"])
        .args(extra)
        .arg(url)
        .status()
        .unwrap();
    assert!(status.success(), "ffmpeg makes {}", path.display());
}

fn options() -> IngestOptions {
    IngestOptions { short_side: 32, jobs: 2, ..IngestOptions::default() }
}

fn run(src: &Path, out: &Path, options: &IngestOptions) -> hdc::Result<IngestReport> {
    ingest(src, out, options, |_| {})
}

fn hdc(args: &[&std::ffi::OsStr]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hdc"));
    command.arg("ingest").args(args).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn good_videos_of_any_name_and_size_are_ingested_with_their_labels() {
    if !ffmpeg_or_skip("good_videos_of_any_name_and_size_are_ingested_with_their_labels") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (src, out) = (dir.path().join("src"), dir.path().join("out"));
    make(
        &src.join("-dash first/it's a \"clip\": 100% – Überraschung 日本.mp4"),
        "testsrc=size=96x64:rate=25",
        9,
        &[],
    );
    make(&src.join("red/-i.avi"), "color=red:size=64x48:rate=10", 5, &[]);
    make(&src.join("red/small.mkv"), "color=red:size=34x18:rate=10", 1, &[]);
    make(&src.join("tall.mp4"), "testsrc=size=48x86:rate=30000/1001", 4, &[]);
    fs::write(src.join("notes.txt"), "not a video").unwrap();
    let report = run(&src, &out, &options()).unwrap();
    assert_eq!((report.added, report.frames, report.ignored), (4, 19, 1));
    assert_eq!((report.rejected.len(), report.warnings.len()), (0, 0), "{report:?}");
    let set = Dataset::open(&out).unwrap();
    assert!(set.verify().is_empty());
    let of = |key: &str| set.video(set.find(key).unwrap_or_else(|| panic!("{key}")));
    let odd = of("-dash first/it's a \"clip\": 100% – Überraschung 日本");
    assert_eq!((odd.frames, odd.height, odd.width), (9, 32, 48));
    assert_eq!(odd.labels["label"], "-dash first");
    assert_eq!((of("red/-i").height, of("red/-i").width, of("red/-i").fps), (32, 43, 10.0));
    assert_eq!((of("red/small").height, of("red/small").width), (32, 60), "small ones are scaled up");
    assert_eq!((of("tall").height, of("tall").width), (57, 32));
    assert!(of("tall").labels.is_empty() && (of("tall").fps - 29.97).abs() < 0.01);
    let mut window = Window::default();
    FrameReader::default().read(&set, set.find("red/-i").unwrap(), &[0, 4], 32, &mut window).unwrap();
    let worst = window.rgb.chunks_exact(3).map(|p| (255 - p[0]).max(p[1]).max(p[2])).max().unwrap();
    assert!(worst <= 16, "red stays red, through two codecs: {worst}");
}

#[test]
fn broken_files_are_named_with_their_reason_and_the_rest_is_usable() {
    if !ffmpeg_or_skip("broken_files_are_named_with_their_reason_and_the_rest_is_usable") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (src, out) = (dir.path().join("src"), dir.path().join("out"));
    make(&src.join("good.mp4"), "testsrc=size=96x64:rate=25", 20, &[]);
    make(&src.join("whole.avi"), "testsrc2=size=96x64:rate=25", 60, &[]);
    let avi = fs::read(src.join("whole.avi")).unwrap();
    fs::write(src.join("cut.avi"), &avi[..avi.len() / 2]).unwrap();
    let mp4 = fs::read(src.join("good.mp4")).unwrap();
    fs::write(src.join("lost.mp4"), &mp4[..mp4.len() * 6 / 10]).unwrap(); // the index is at the end
    fs::write(src.join("empty.mp4"), b"").unwrap();
    fs::write(src.join("text.mp4"), "just text\n".repeat(50)).unwrap();
    // A playlist under the name of a video must not make ffmpeg read what it names.
    fs::write(
        src.join("list.mp4"),
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nwhole.avi\n#EXT-X-ENDLIST\n",
    )
    .unwrap();
    fs::create_dir(src.join("folder.mp4")).unwrap();
    let sound = ["-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"];
    assert!(Command::new("ffmpeg").args(sound).arg(src.join("sound.mp4")).status().unwrap().success());

    let report = run(&src, &out, &options()).unwrap();
    let reasons: BTreeMap<_, _> =
        report.rejected.iter().map(|r| (r.path.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        reasons.keys().copied().collect::<Vec<_>>(),
        ["empty.mp4", "list.mp4", "lost.mp4", "sound.mp4", "text.mp4"]
    );
    assert!(reasons["lost.mp4"].contains("moov atom not found"), "{reasons:?}");
    assert!(reasons["empty.mp4"].contains("0 bytes"));
    assert!(reasons["sound.mp4"].contains("no video stream"));
    assert!(reasons.values().all(|r| !r.is_empty()));
    assert_eq!(report.added, 3);
    let set = Dataset::open(&out).unwrap();
    let cut = set.video(set.find("cut").unwrap());
    assert!((10..60).contains(&cut.frames), "the leading frames: {}", cut.frames);
    assert!(cut.warning.as_ref().unwrap().contains("of the 60 frames"), "{:?}", cut.warning);
    assert_eq!(report.warnings.len(), 1);
    let lines = fs::read_to_string(out.join("quarantine.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 5);
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(reasons[value["path"].as_str().unwrap()], value["reason"].as_str().unwrap());
    }

    // A repaired file is taken by the next run, the rest is left as it is.
    fs::copy(src.join("good.mp4"), src.join("empty.mp4")).unwrap();
    let again = run(&src, &out, &options()).unwrap();
    assert_eq!((again.added, again.skipped, again.rejected.len()), (1, 3, 4));
    assert_eq!(Dataset::open(&out).unwrap().len(), 4);
}

#[test]
fn limits_stop_a_file_and_not_the_run() {
    if !ffmpeg_or_skip("limits_stop_a_file_and_not_the_run") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (src, out) = (dir.path().join("src"), dir.path().join("out"));
    make(&src.join("long.avi"), "testsrc=size=64x48:rate=25", 50, &[]);
    make(&src.join("short.avi"), "testsrc=size=64x48:rate=25", 10, &[]);
    let report = run(&src, &out, &IngestOptions { max_frames: 20, ..options() }).unwrap();
    assert_eq!((report.added, report.rejected.len()), (1, 1));
    assert!(report.rejected[0].reason.contains("more than 20 frames"), "{:?}", report.rejected);
    let hasty = IngestOptions { timeout: Duration::from_micros(1), ..options() };
    let report = run(&src, &dir.path().join("hasty"), &hasty).unwrap();
    assert!(report.rejected.iter().all(|r| r.reason.contains("was stopped")), "{report:?}");
    assert_eq!(report.rejected.len(), 2);
    assert!(Dataset::open(dir.path().join("hasty")).unwrap_err().to_string().contains("quarantine.jsonl"));
}

#[test]
fn the_command_judges_quality_and_takes_lists() {
    if !ffmpeg_or_skip("the_command_judges_quality_and_takes_lists") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let src = dir.path().join("src");
    for name in ["run/a.avi", "run/b.avi", "walk/c.avi"] {
        make(&src.join(name), "testsrc=size=64x48:rate=25", 3, &[]);
    }
    fs::write(src.join("run/bad.avi"), b"").unwrap();
    let call = |out: &str, extra: &[&str]| -> Output {
        let out = dir.path().join(out);
        let mut command = hdc(&[src.as_os_str(), out.as_os_str()]);
        command.args(["--json", "--short-side", "16"]).args(extra).output().unwrap()
    };
    let strict = call("strict", &[]);
    assert_eq!(strict.status.code(), Some(3));
    let messages = text(&strict.stderr);
    assert!(
        messages.contains("unusable: run/bad.avi: is empty") && messages.contains("1 of 4 videos (25.0%)"),
        "{messages}"
    );
    let report: serde_json::Value = serde_json::from_slice(&strict.stdout).unwrap();
    assert_eq!((report["added"].as_u64(), report["bad"].as_u64()), (Some(3), Some(1)));
    assert_eq!(Dataset::open(dir.path().join("strict")).unwrap().len(), 3, "the good ones are usable");
    assert_eq!(call("lenient", &["--max-bad", "25"]).status.code(), Some(0));

    let list = dir.path().join("trainlist01.txt");
    fs::write(&list, "walk/c.avi 2\nrun/b.avi 1\n").unwrap();
    let listed = call("listed", &["--list", list.to_str().unwrap()]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    let keys: Vec<_> =
        Dataset::open(dir.path().join("listed")).unwrap().videos().map(|v| v.key.clone()).collect();
    assert_eq!(keys, ["run/b", "walk/c"]);
    fs::write(&list, "walk/c.avi 2\nrun/gone.avi 1\n").unwrap();
    let missing = call("missing", &["--list", list.to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(text(&missing.stderr).contains("run/gone"), "{}", text(&missing.stderr));

    let other = call("strict", &["--quality", "50"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("quality=90"), "{}", text(&other.stderr));
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(root).unwrap().map(|e| e.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

#[test]
fn killed_runs_with_any_number_of_jobs_end_in_the_same_bytes() {
    if !ffmpeg_or_skip("killed_runs_with_any_number_of_jobs_end_in_the_same_bytes") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let src = dir.path().join("src");
    for n in 0..10 {
        // Names sort unlike durations, so results come out of order.
        make(
            &src.join(format!("c/v{n}.avi")),
            "testsrc2=size=160x120:rate=25",
            if n % 3 == 0 { 90 } else { 5 },
            &[],
        );
    }
    let out = |name: &str| -> PathBuf { dir.path().join(name) };
    let start = |name: &str, jobs: &str| {
        let mut command = hdc(&[src.as_os_str(), out(name).as_os_str()]);
        command.args(["--jobs", jobs, "--shard-size", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    assert!(start("whole", "1").wait().unwrap().success());
    let expect = files(&out("whole"));
    assert!(expect.keys().filter(|n| n.ends_with(".tar")).count() > 1, "several shards");
    let mut killed = 0;
    for round in 0..12_u64 {
        let mut child = start("killed", ["1", "2", "3"][round as usize % 3]);
        std::thread::sleep(Duration::from_millis(60 + 37 * round % 400));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
    }
    assert!(start("killed", "2").wait().unwrap().success());
    assert!(killed > 0, "at least one run was killed");
    assert_eq!(files(&out("killed")), expect, "after {killed} kills");
}

#[test]
fn without_ffmpeg_the_command_says_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.mp4"), b"x").unwrap();
    let out = dir.path().join("out");
    let run = hdc(&[dir.path().as_os_str(), out.as_os_str()]).env("PATH", dir.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    let messages = text(&run.stderr);
    assert!(messages.contains("cannot start ff") && messages.contains("install ffmpeg"), "{messages}");
    assert!(!out.exists());
}
