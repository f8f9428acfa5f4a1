//! Mutated PTX never panics the parser, nor holds it up.
//!
//! `PTXSIM_FUZZ` is the number of inputs (200,000 without it), `PTXSIM_SEED` where they begin. A failing input is
//! printed with its number; the same number and seed give it again.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ptxsim::parse::parse;

const FILES: [&str; 4] = [
    include_str!("ptx/general.ptx"),
    include_str!("ptx/hopper.ptx"),
    include_str!("ptx/debug.ptx"),
    include_str!("ptx/forms.ptx"),
];

/// Tokens worth inserting anywhere.
const TOKENS: [&str; 40] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ",",
    ";",
    ":",
    "=",
    "+",
    "-",
    "!",
    "|",
    "@",
    "~",
    "_",
    "%",
    "$",
    "\"",
    "/*",
    "*/",
    "//",
    ".",
    "::",
    ".reg .v4 .f32 ",
    ".global .u8 x[9][9] = {{",
    "generic(",
    "0x",
    "0f3F800000",
    "1e",
    "18446744073709551615",
    "[18446744073709551615]",
    ".alias ",
    ".callprototype",
    ".loc ",
    "é",
    "\0",
];

/// How long an input may take.
const LIMIT: Duration = Duration::from_secs(1);

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// The files cut at lines into pieces of module scope: a function, variable or section each.
fn corpus() -> Vec<String> {
    let mut pieces = Vec::new();
    for file in FILES {
        let (_, file) = file.split_once(".address_size 64").expect("a header");
        let mut piece = String::new();
        let mut depth = 0_usize;
        for line in file.split_inclusive('\n') {
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
            piece.push_str(line);
            let ended = depth == 0 && line.trim_end().ends_with(['}', ';', '"']);
            if ended && !line.starts_with(".pragma") {
                pieces.push(std::mem::take(&mut piece));
            }
        }
    }
    pieces
}

/// Where tokens of `text` begin and end, roughly: runs of name characters, and all others by themselves.
fn token(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'%' | b'.');
    let before = text[..at].iter().rev().take_while(|b| name(b)).count();
    let after = text[at..].iter().take_while(|b| name(b)).count();
    at - before..at + after.max(1).min(text.len() - at)
}

/// A piece with one to four mutations, after a header.
fn input(corpus: &[String], random: &mut Random) -> String {
    let mut text = corpus[random.below(corpus.len())].clone().into_bytes();
    for _ in 0..=random.below(4) {
        let at = random.below(text.len());
        match random.below(8) {
            0 if !text.is_empty() => text[at] ^= 1 << random.below(8),
            1 if !text.is_empty() => text[at] = b' ' + random.below(95) as u8,
            2 => drop(text.drain(token(&text, at))),
            3 => {
                let copy = text[token(&text, at)].to_vec();
                let to = random.below(text.len());
                text.splice(to..to, copy);
            }
            4 => drop(text.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes())),
            5 => {
                let other = corpus[random.below(corpus.len())].as_bytes();
                let from = random.below(other.len());
                let length = random.below(200).min(other.len() - from);
                let end = (at + random.below(200)).min(text.len());
                text.splice(at..end, other[from..from + length].iter().copied());
            }
            6 => {
                let end = (at + random.below(30)).min(text.len());
                let copy = text[at..end].repeat(random.below(20));
                text.splice(at..at, copy);
            }
            _ => text.truncate(at),
        }
    }
    format!(".version 8.4\n.target sm_90a\n.address_size 64\n{}", String::from_utf8_lossy(&text))
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn the_corpus_is_accepted() {
    for piece in corpus() {
        // An alias is apart from its functions here.
        if !piece.contains(".alias") {
            parse(&format!(".version 8.4\n.target sm_90a\n{piece}"))
                .unwrap_or_else(|error| panic!("{error}\n{piece}"));
        }
    }
}

#[test]
fn mutations_neither_panic_nor_stall() {
    let (inputs, seed) = (setting("PTXSIM_FUZZ", 200_000), setting("PTXSIM_SEED", 0));
    let corpus = corpus();
    let (next, accepted, bytes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= inputs {
                return;
            }
            let text = input(&corpus, &mut Random(Random(seed ^ number << 20).next()));
            let began = Instant::now();
            let result =
                catch_unwind(|| parse(&text)).unwrap_or_else(|_| panic!("input {number} panics:\n{text}"));
            if began.elapsed() > LIMIT {
                // The machine may have been busy with others.
                let again = Instant::now();
                let _ = parse(&text);
                assert!(again.elapsed() < LIMIT, "input {number} takes {:?}:\n{text}", again.elapsed());
            }
            if let Err(error) = &result {
                let lines = text.lines().count() as u32 + 1;
                assert!(
                    (1..=lines).contains(&error.line) && !error.message.is_empty(),
                    "input {number}: {error}"
                );
            }
            accepted.fetch_add(result.is_ok().into(), Ordering::Relaxed);
            bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (seconds, accepted) = (started.elapsed().as_secs_f64(), accepted.into_inner());
    let megabytes = bytes.into_inner() as f64 / 1e6;
    println!("{inputs} inputs, {accepted} accepted, {megabytes:.0} MB in {seconds:.1} s");
    assert!(
        accepted > inputs / 100 && accepted < inputs - inputs / 100,
        "mutations that change nothing, or all"
    );
}
