//! ffprobe and ffmpeg as child processes: what a file holds, and its frames as RGB.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::child::{self, Ended, Failure};
use crate::data::resize::with_short_side;
use crate::{Error, Result};

/// Containers that are opened. Without this a text file with the name of a video can be a playlist that makes
/// ffmpeg read other files.
const FORMATS: &str = "mov,mp4,matroska,webm,avi,mpeg,mpegvideo,mpegts,flv,ogg,asf,m4v,h264,hevc,mjpeg,gif,dv,\
                       ivf,nut,mxf,yuv4mpegpipe";
/// Largest coded picture, in pixels: 16K video.
const MAX_PIXELS: &str = "134217728";
/// Longest side of a frame, in shorter sides.
const MAX_ASPECT: usize = 16;

/// Limits for one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub time: Duration,
    pub frames: usize,
}

/// The programs, checked to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ffmpeg {
    /// The option that keeps each frame once, whatever its time; its name changed in ffmpeg 5.1.
    passthrough: [&'static str; 2],
}

/// What ffprobe says of the first video stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probe {
    /// Shown rows (after rotation), scaled.
    pub height: usize,
    /// Shown columns, scaled.
    pub width: usize,
    /// Mean frames a second; 0 if unknown.
    pub fps: f64,
    /// Frames that the container counts.
    pub frames: Option<usize>,
}

impl Ffmpeg {
    /// Looks for both programs on PATH.
    ///
    /// # Errors
    /// [`Error::Device`], saying how to install what is missing.
    pub fn find() -> Result<Self> {
        let mut versions = ["ffprobe", "ffmpeg"].map(|program| {
            let mut command = Command::new(program);
            command.arg("-version");
            let failed = |what: String| {
                let hint = "install ffmpeg 4.4 or newer, for example `apt install ffmpeg` or \
                            `conda install ffmpeg`, so that ffmpeg and ffprobe are on PATH";
                Error::device(what, hint)
            };
            match child::run(command, Duration::from_secs(60), text) {
                Ok(Ended { output, status, .. }) if status.success() => Ok(output),
                Ok(Ended { status, .. }) => Err(failed(format!("`{program} -version` failed: {status}"))),
                Err(Failure::Start(e)) => Err(failed(format!("cannot start {program}: {e}"))),
                Err(_) => Err(failed(format!("`{program} -version` does not answer"))),
            }
        });
        let [probe, ffmpeg] = &mut versions;
        std::mem::replace(probe, Ok(String::new()))?;
        let version = std::mem::replace(ffmpeg, Ok(String::new()))?;
        let old = release(&version).is_some_and(|v| v < (5, 1));
        Ok(Self { passthrough: if old { ["-vsync", "passthrough"] } else { ["-fps_mode", "passthrough"] } })
    }

    /// Reads the size and rate of the first video stream, and scales the size to `short_side`.
    pub fn probe(&self, path: &Path, short_side: usize, limits: &Limits) -> Result<Probe, String> {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-protocol_whitelist", "file", "-format_whitelist", FORMATS]);
        // V: video streams that are not cover pictures.
        command.args(["-select_streams", "V:0", "-of", "json", "-show_entries"]);
        command
            .arg("stream=width,height,avg_frame_rate,nb_frames:stream_tags=rotate:stream_side_data=rotation");
        command.arg(file_url(path));
        let ended =
            child::run(command, limits.time, text).map_err(|f| describe(f, "ffprobe", limits, path))?;
        if !ended.status.success() {
            return Err(first_message(&ended.messages, path).unwrap_or_else(|| "ffprobe failed".into()));
        }
        let answer: Answer =
            serde_json::from_str(&ended.output).map_err(|e| format!("ffprobe's answer is no JSON: {e}"))?;
        let Some(stream) = answer.streams.into_iter().next() else {
            return Err("has no video stream".into());
        };
        stream.interpret(short_side)
    }

    /// Decodes all frames, each scaled to `height × width` of the probe, and hands them to `frame` as RGB,
    /// `(height, width, 3)`. Returns how many there were, and the first complaint of the decoder.
    pub fn decode(
        &self,
        path: &Path,
        probe: &Probe,
        limits: &Limits,
        mut frame: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(usize, Option<String>), String> {
        let mut command = Command::new("ffmpeg");
        command.args([
            "-v",
            "error",
            "-nostdin",
            "-protocol_whitelist",
            "file",
            "-format_whitelist",
            FORMATS,
        ]);
        // One thread a file: files are decoded in parallel.
        command.args(["-threads", "1", "-max_pixels", MAX_PIXELS, "-i"]);
        command.arg(file_url(path));
        command.args(["-map", "0:V:0", "-an", "-sn", "-dn"]).args(self.passthrough);
        // A fixed size: whatever the stream does in between, every frame has the same number of bytes.
        let flags = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact";
        command.args(["-vf", &format!("scale={}:{}:{flags}", probe.width, probe.height)]);
        command.args(["-filter_threads", "1", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]);
        let mut buffer = vec![0; probe.height * probe.width * 3];
        let ended = child::run(command, limits.time, |stdout| {
            let mut count = 0;
            while fill(stdout, &mut buffer)? {
                if count == limits.frames {
                    return Err(format!("has more than {count} frames"));
                }
                frame(&buffer)?;
                count += 1;
            }
            Ok(count)
        })
        .map_err(|f| describe(f, "ffmpeg", limits, path))?;
        let complaint = first_message(&ended.messages, path);
        if ended.output == 0 {
            return Err(complaint.unwrap_or_else(|| "no frame can be decoded".into()));
        }
        let failed = (!ended.status.success()).then(|| format!("ffmpeg stopped early ({})", ended.status));
        Ok((ended.output, complaint.or(failed)))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    width: usize,
    #[serde(default)]
    height: usize,
    #[serde(default)]
    avg_frame_rate: String,
    nb_frames: Option<String>,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Default, Deserialize)]
struct Tags {
    rotate: Option<String>,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

impl Stream {
    fn interpret(&self, short_side: usize) -> Result<Probe, String> {
        let (mut height, mut width) = (self.height, self.width);
        let shorter = height.min(width);
        if shorter == 0 {
            return Err("the size of its pictures is unknown".into());
        }
        if height.max(width) > 65_535 || height.max(width) / shorter > MAX_ASPECT {
            return Err(format!("pictures of {width}×{height} are too long for their shorter side"));
        }
        let turned = self.side_data_list.iter().find_map(|s| s.rotation);
        let turned = turned.or_else(|| self.tags.rotate.as_ref()?.parse().ok()).unwrap_or(0.0);
        // ffmpeg itself turns the pictures; the size after it is needed here.
        if (turned.rem_euclid(180.0) - 90.0).abs() < 1.0 {
            std::mem::swap(&mut height, &mut width);
        }
        let (height, width) = with_short_side(height, width, short_side);
        let frames = self.nb_frames.as_ref().and_then(|n| n.parse().ok());
        Ok(Probe { height, width, fps: rate(&self.avg_frame_rate), frames })
    }
}

/// `30000/1001` as a number; 0 if it is none.
fn rate(text: &str) -> f64 {
    let (over, under) = text.split_once('/').unwrap_or((text, "1"));
    match (over.parse::<f64>(), under.parse::<f64>()) {
        (Ok(over), Ok(under)) if over > 0.0 && under > 0.0 && over.is_finite() => over / under,
        _ => 0.0,
    }
}

/// The release in "ffmpeg version 5.1.9-0+deb12u1 …"; builds from a revision have none, and are new.
fn release(version: &str) -> Option<(u32, u32)> {
    let word = version.strip_prefix("ffmpeg version ")?.split_whitespace().next()?;
    let mut numbers = word.trim_start_matches('n').split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0)))
}

/// The path as a URL of the file protocol, which takes any name literally: dashes, colons, quotes.
fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

fn text(stdout: &mut dyn Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    stdout.take(1 << 20).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads one frame; `false` at the end. The rest of a frame that was cut is dropped.
fn fill(stdout: &mut dyn Read, buffer: &mut [u8]) -> Result<bool, String> {
    match stdout.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(format!("ffmpeg's output cannot be read: {e}")),
    }
}

fn describe(failure: Failure, program: &str, limits: &Limits, path: &Path) -> String {
    match failure {
        Failure::Start(e) => format!("cannot start {program}: {e}"),
        Failure::Overrun => format!("{program} took more than {} s and was stopped", limits.time.as_secs()),
        Failure::Reader(reason, messages) => match first_message(&messages, path) {
            Some(message) => format!("{reason} ({message})"),
            None => reason,
        },
    }
}

/// The first line on standard error, without the path and the addresses that ffmpeg puts into it.
fn first_message(messages: &str, path: &Path) -> Option<String> {
    let line = messages.lines().map(str::trim).find(|l| !l.is_empty())?;
    let url = file_url(path).to_string_lossy().into_owned();
    let line = line.strip_prefix(&url).map_or(line, |rest| rest.trim_start_matches(':').trim());
    let line = match line.split_once("] ") {
        Some((tag, rest)) if tag.starts_with('[') => {
            let name = tag.trim_start_matches('[').split(" @ ").next().unwrap_or_default();
            format!("{name}: {rest}")
        }
        _ => line.to_owned(),
    };
    Some(line.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(json: &str) -> Stream {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn sizes_are_those_that_are_shown() {
        let plain = stream(r#"{"width":320,"height":240,"avg_frame_rate":"25/1","nb_frames":"64"}"#);
        let expect = Probe { height: 128, width: 171, fps: 25.0, frames: Some(64) };
        assert_eq!(plain.interpret(128), Ok(expect));
        for turned in [
            r#"{"width":170,"height":128,"side_data_list":[{},{"rotation":90}]}"#,
            r#"{"width":170,"height":128,"side_data_list":[{"rotation":-90}]}"#,
            r#"{"width":170,"height":128,"tags":{"rotate":"270"}}"#,
        ] {
            let probe = stream(turned).interpret(128).unwrap();
            assert_eq!((probe.height, probe.width, probe.frames), (170, 128, None), "{turned}");
        }
        let upside_down = stream(r#"{"width":170,"height":128,"side_data_list":[{"rotation":-180}]}"#);
        assert_eq!(upside_down.interpret(64).unwrap().height, 64);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(stream(r#"{"width":0,"height":240}"#).interpret(128).unwrap_err().contains("unknown"));
        assert!(stream(r#"{}"#).interpret(128).is_err());
        assert!(stream(r#"{"width":9000,"height":2}"#).interpret(128).unwrap_err().contains("9000×2"));
    }

    #[test]
    fn rates_and_releases_are_read_leniently() {
        assert_eq!(rate("25/1"), 25.0);
        assert_eq!((rate("0/0"), rate(""), rate("N/A"), rate("inf/1")), (0.0, 0.0, 0.0, 0.0));
        assert_eq!(release("ffmpeg version 5.1.9-0+deb12u1 Copyright"), Some((5, 1)));
        assert_eq!(release("ffmpeg version n4.4 Copyright"), Some((4, 4)));
        assert_eq!(release("ffmpeg version 7.0-static x"), Some((7, 0)));
        assert_eq!(release("ffmpeg version N-109 x"), None);
    }

    #[test]
    fn messages_lose_paths_and_addresses() {
        let path = Path::new("/data/a.mp4");
        let first = |m| first_message(m, path).unwrap();
        assert_eq!(first("[mov,mp4 @ 0x55d0] moov atom not found\nx"), "mov,mp4: moov atom not found");
        assert_eq!(first("\nfile:/data/a.mp4: Invalid data found"), "Invalid data found");
        assert_eq!(first_message(" \n", path), None);
    }
}
