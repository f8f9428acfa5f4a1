//! Running a program that may hang, flood or crash.

use std::io::{ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// Most that is kept of what it prints on standard error.
const MAX_MESSAGES: usize = 16 << 10;

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended<T> {
    /// What `read` made of its standard output.
    pub output: T,
    pub status: ExitStatus,
    /// The beginning of its standard error.
    pub messages: String,
}

/// Why it did not end by itself.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be started.
    Start(std::io::Error),
    /// It ran longer than `limit` and was killed.
    Overrun,
    /// `read` gave up with this reason, and it was killed; with what it had printed on standard error.
    Reader(String, String),
}

/// Runs `command` without input and hands its standard output to `read`; kills it when `read` fails or `limit`
/// has passed.
pub(super) fn run<T>(
    mut command: Command,
    limit: Duration,
    read: impl FnOnce(&mut dyn Read) -> Result<T, String>,
) -> Result<Ended<T>, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Failure::Start)?;
    let mut stdout = child.stdout.take().expect("standard output is a pipe");
    let stderr = child.stderr.take().expect("standard error is a pipe");
    let child = Mutex::new(child);
    let overrun = AtomicBool::new(false);
    let (done, watch) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let messages = scope.spawn(move || beginning(stderr));
        let (child, overrun) = (&child, &overrun);
        scope.spawn(move || {
            if watch.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                overrun.store(true, Ordering::Relaxed);
                kill(&mut lock(child));
            }
        });
        let output = read(&mut stdout);
        drop(stdout);
        if output.is_err() {
            kill(&mut lock(child));
        }
        let status = wait(child);
        drop(done);
        let messages = messages.join().unwrap_or_default();
        if overrun.load(Ordering::Relaxed) {
            return Err(Failure::Overrun);
        }
        match (output, status) {
            (Ok(output), Ok(status)) => Ok(Ended { output, status, messages }),
            (Err(reason), _) => Err(Failure::Reader(reason, messages)),
            (_, Err(e)) => Err(Failure::Reader(e.to_string(), messages)),
        }
    })
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails only if it has ended already, which is what is wanted.
fn kill(child: &mut Child) {
    let _ = child.kill();
}

/// Waits without holding the lock, so that the watchdog can kill a child that closed its output and went on.
fn wait(child: &Mutex<Child>) -> std::io::Result<ExitStatus> {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = lock(child).try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Reads to the end, so that the child never blocks, and keeps the beginning.
fn beginning(mut stderr: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stderr.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => kept.extend_from_slice(&buffer[..n.min(MAX_MESSAGES - kept.len())]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn all(stdout: &mut dyn Read) -> Result<String, String> {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map_err(|e| e.to_string())?;
        Ok(text)
    }

    #[test]
    fn output_status_and_messages_come_back() {
        let ended = run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(20), all).unwrap();
        assert_eq!((ended.output.as_str(), ended.messages.as_str()), ("out\n", "err\n"));
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn a_flood_of_messages_neither_blocks_nor_is_kept() {
        let script = "head -c 3000000 /dev/zero | tr '\\0' e >&2; echo done";
        let ended = run(shell(script), Duration::from_secs(20), all).unwrap();
        assert_eq!((ended.output.as_str(), ended.messages.len()), ("done\n", MAX_MESSAGES));
    }

    #[test]
    fn a_hanging_program_is_killed_even_if_it_closed_its_output() {
        for script in ["exec sleep 60", "exec >&- ; exec sleep 60"] {
            let begin = Instant::now();
            let ended = run(shell(script), Duration::from_millis(200), all);
            assert!(matches!(ended, Err(Failure::Overrun)), "{ended:?}");
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
    }

    #[test]
    fn a_reader_that_has_enough_stops_it() {
        let begin = Instant::now();
        let ended = run(shell("exec yes"), Duration::from_secs(30), |_| Err::<(), _>("enough".into()));
        assert!(matches!(ended, Err(Failure::Reader(reason, _)) if reason == "enough"));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_missing_program_is_told_apart() {
        let ended = run(Command::new("no-such-program-at-all"), Duration::from_secs(1), all);
        assert!(matches!(ended, Err(Failure::Start(e)) if e.kind() == ErrorKind::NotFound));
    }
}
