//! However often a run is killed, and on whatever threads and in whatever chunks it goes on, it ends as one that
//! never was.

use std::time::{Duration, Instant};

use super::*;
use command::command;
use hdc::tensor::random::Stream;

const STEPS: u64 = 24;
/// Threads, and clips encoded at a time (of 12).
const WAYS: [(u32, u32); 5] = [(1, 0), (2, 5), (3, 0), (1, 7), (2, 0)];

#[test]
fn runs_killed_at_random_moments_end_as_one_that_never_was() {
    let (dir, whole) = with_whole_run(STEPS);
    let begin = Instant::now();
    hdc(dir.path(), &line("timed", STEPS, "")).ok();
    let milliseconds = begin.elapsed().as_millis() as u64;
    assert_equal(&dir.path().join("timed"), &whole);

    let mut moments = Stream::new("kills", 1);
    let (mut starts, mut within) = (0, 0);
    for n in 0..20 {
        let name = format!("killed-{n}");
        let run = dir.path().join(&name);
        let mut kills = 0;
        loop {
            let (threads, chunk) = WAYS[starts % WAYS.len()];
            starts += 1;
            let way = format!("--threads {threads} --set train.chunk={chunk}");
            let mut child = start(&mut command(dir.path(), &line(&name, STEPS, &way)));
            // Longer after each kill, for a machine so busy that no start would reach the next checkpoint.
            let longest = milliseconds / 2 + 50 * kills;
            std::thread::sleep(Duration::from_millis(moments.next_below(longest)));
            if child.try_wait().unwrap().is_some() {
                finish(child).ok();
                break;
            }
            child.kill().unwrap();
            finish(child);
            kills += 1;
            within += u64::from((1..STEPS).contains(&(records(&run).len() as u64)));
        }
        assert_equal(&run, &whole);
    }
    assert!(starts >= 60 && within >= 30, "{within} of {starts} starts were killed between two steps");
}

#[test]
fn another_seed_or_order_is_another_run() {
    // That the comparisons above can fail.
    let (dir, whole) = with_whole_run(STEPS);
    hdc(dir.path(), &line("other", STEPS, "--seed 1")).ok();
    let other = dir.path().join("other");
    assert_ne!(records(&other), records(&whole));
    assert!(tensors(&checkpoint(&other, STEPS)) != tensors(&checkpoint(&whole, STEPS)));
}
