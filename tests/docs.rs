//! The documentation names only what exists: files, headings, commands, their options and settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use hdc::train::Sources;

/// Source files are meant to be in the repository wherever they are named; other names may be those of outputs.
const SOURCES: [&str; 7] = [".rs", ".cu", ".cuh", ".py", ".md", ".sh", ".lock"];
/// Where documents are, besides the root.
const FOLDERS: [&str; 7] = ["benches", "docs", "examples", "kernels", "src", "tests", "tools"];
/// Blocks of these hold no commands.
const NO_SHELL: [&str; 8] = ["text", "json", "toml", "rust", "python", "c", "cuda", "diff"];

/// What may be named.
struct World {
    /// Files and folders of the repository, with `/`.
    paths: BTreeSet<String>,
    /// Options by sub-command; under "" those of `hdc` itself.
    options: BTreeMap<String, BTreeSet<String>>,
}

impl World {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = ["target", ".git", ".cuda", "dist", "runs", "demo-run", "__pycache__"];
        let all = walkdir::WalkDir::new(root).min_depth(1).into_iter();
        let kept = all.filter_entry(|e| e.depth() != 1 || !made.iter().any(|m| e.file_name() == *m));
        let relative = |e: walkdir::DirEntry| e.path().strip_prefix(root).unwrap().display().to_string();
        let paths = kept.map(|entry| relative(entry.unwrap())).collect();
        let help = help("");
        let commands = help.split_once("Commands:").unwrap().1.split_once("Options:").unwrap().0;
        let names = commands.lines().filter_map(|l| l.strip_prefix("  ")?.split(' ').next());
        let names = names.filter(|n| !n.is_empty()).chain([""]);
        let options = names.map(|name| (name.to_owned(), options(name))).collect();
        Self { paths, options }
    }

    fn is_top(&self, path: &str) -> bool {
        path.split_once('/').is_some_and(|(first, _)| self.paths.contains(first))
    }

    /// Whether a path, which may hold `*`, exists below `folder`, in the root or, for the tail of a path, anywhere.
    fn exists(&self, folder: &str, path: &str, anywhere: bool) -> bool {
        let path = path.trim_end_matches('/').trim_start_matches("./");
        let full = tidy(&format!("{folder}/{path}"));
        full.is_empty()
            || self.paths.iter().any(|p| {
                let tail = || p.rmatch_indices('/').any(|(i, _)| matches(path, &p[i + 1..]));
                matches(&full, p) || matches(path, p) || anywhere && tail()
            })
    }
}

fn help(name: &str) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_hdc")).args(name.split_whitespace()).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn options(name: &str) -> BTreeSet<String> {
    let help = help(name);
    let lines = help.lines().map(str::trim).filter(|l| l.starts_with('-'));
    let words = lines.flat_map(|l| l.split([',', ' ']).take_while(|w| w.is_empty() || w.starts_with('-')));
    words.map(|w| w.trim_end_matches('.').to_owned()).filter(|w| w.len() > 1).collect()
}

/// `a/./b/../c` without the dots.
fn tidy(path: &str) -> String {
    let mut out = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out.display().to_string()
}

/// Whether `text` is `pattern`, in which each `*` stands for anything within a folder.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            (0..=end).filter(|i| rest.is_char_boundary(*i)).any(|i| matches(after, &rest[i..]))
        }),
    }
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`; placeholders like `<op>` as `*`.
fn spellings(path: &str) -> Vec<String> {
    let between = |open, close| {
        let (before, rest) = path.split_once(open)?;
        let (inside, after) = rest.split_once(close)?;
        Some((before, inside, after))
    };
    if let Some((before, inside, after)) = between('{', '}') {
        return inside.split(',').flat_map(|i| spellings(&format!("{before}{}{after}", i.trim()))).collect();
    }
    match between('<', '>') {
        Some((before, _, after)) => spellings(&format!("{before}*{after}")),
        None => vec![path.to_owned()],
    }
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// What a document in `folder` says that is not so, as `line: what`.
fn faults(text: &str, folder: &str, world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let anchors: Vec<_> =
        text.lines().filter(|l| l.starts_with('#')).map(|l| anchor(l.trim_start_matches('#'))).collect();
    let mut fence: Option<&str> = None;
    let mut block: Vec<(usize, &str)> = Vec::new();
    for (n, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line)) {
        if let Some(mark) = line.trim_start().strip_prefix("```") {
            match fence.take() {
                None => fence = Some(mark.trim()),
                Some(language) => {
                    block_faults(&block, language, folder, world, &mut found);
                    block.clear();
                }
            }
        } else if fence.is_some() {
            block.push((n, line));
        } else {
            for (i, part) in line.split('`').enumerate() {
                let fault = if i % 2 == 1 { code_fault(part, folder, world) } else { None };
                found.extend(fault.map(|f| format!("{n}: {f}")));
            }
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                found.extend(link_fault(target, &anchors, folder, world).map(|f| format!("{n}: {f}")));
            }
        }
    }
    if fence.is_some() {
        found.push("a block of code has no end".into());
    }
    found
}

fn link_fault(target: &str, anchors: &[String], folder: &str, world: &World) -> Option<String> {
    if ["http://", "https://", "mailto:"].iter().any(|s| target.starts_with(s)) {
        return None;
    }
    let (path, place) = target.split_once('#').unwrap_or((target, ""));
    let path_ok = path.is_empty() || world.paths.contains(&tidy(&format!("{folder}/{path}")));
    let place_ok = !path.is_empty() || anchors.iter().any(|a| a == place);
    (!path_ok || !place_ok).then(|| format!("the link to {target} leads nowhere"))
}

/// A piece of code within a line: a command, or the name of a file.
fn code_fault(code: &str, folder: &str, world: &World) -> Option<String> {
    if code.split_whitespace().next() == Some("hdc") {
        return command_fault(&words(code), world);
    }
    path_fault(code, folder, world)
}

/// Checks what is meant as a path in the repository: what begins in one of its folders, and source files.
fn path_fault(word: &str, folder: &str, world: &World) -> Option<String> {
    let path = word.split_once(':').map_or(word, |(path, _)| path); // `file:line`
    let plain = !path.contains(|c: char| c.is_whitespace() || "$()=|;\"'…".contains(c));
    let source = SOURCES.iter().any(|s| path.ends_with(s) && path.len() > s.len());
    if !plain || word.contains("://") || word.contains("::") || path.starts_with('/') {
        return None;
    }
    let missing = |p: &String| (world.is_top(p) || source) && !world.exists(folder, p, source);
    spellings(path).iter().find(|p| missing(p)).map(|p| format!("there is no {p}"))
}

fn block_faults(
    lines: &[(usize, &str)],
    language: &str,
    folder: &str,
    world: &World,
    found: &mut Vec<String>,
) {
    let language = language.split([',', ' ']).next().unwrap_or_default();
    let prompts = lines.iter().any(|(_, l)| l.trim_start().starts_with("$ "));
    let mut lines = lines.iter();
    while let Some(&(n, first)) = lines.next() {
        let mut line = first.trim().to_owned();
        while line.ends_with('\\') {
            line.pop();
            line += lines.next().map_or("", |l| l.1.trim());
        }
        let named = line.split(|c: char| c.is_whitespace() || "\"'`,()".contains(c));
        let paths = named.filter(|w| world.is_top(w)).filter_map(|w| path_fault(w, folder, world));
        found.extend(paths.map(|f| format!("{n}: {f}")));
        let command = line.strip_prefix("$ ");
        if NO_SHELL.contains(&language) || prompts && command.is_none() {
            continue;
        }
        for part in commands(command.unwrap_or(&line)) {
            found.extend(command_fault(&part, world).map(|f| format!("{n}: {f}")));
        }
    }
}

/// The words of a line, without its comment; quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        let last = words.last_mut().expect("never empty");
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '#' && last.is_empty() => break,
            None if c.is_whitespace() => words.push(String::new()),
            _ => last.push(c),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// Each `hdc …` of a line, from the name of the program on.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = words(line);
    let parts = words.split(|w| ["|", "&&", "||", ";", "&"].contains(&w.as_str()));
    parts
        .filter_map(|part| {
            let program = |w: &String| !w.contains('=');
            let at = part.iter().position(program)?;
            let through_cargo = part[at] == "cargo" && part.get(at + 1).is_some_and(|w| w == "run");
            let at = if through_cargo { part.iter().position(|w| w == "--")? } else { at };
            let ours = through_cargo || part[at] == "hdc" || part[at].ends_with("/hdc");
            ours.then(|| part[at..].to_vec())
        })
        .collect()
}

/// Checks the sub-command, its options, and its settings.
fn command_fault(words: &[String], world: &World) -> Option<String> {
    // Optional parts, as in `[--json]`; `…` and `...` for whatever else.
    let bare = |w: &String| w.trim_matches(['[', ']', '…', '.']).to_owned();
    let rest: Vec<_> = words.iter().skip(1).map(bare).filter(|w| !w.is_empty()).collect();
    let name = rest.iter().find(|w| !w.starts_with('-')).map_or("", String::as_str);
    let Some(options) = world.options.get(name) else { return Some(format!("there is no `hdc {name}`")) };
    for (i, word) in rest.iter().enumerate() {
        let option = word.split_once('=').map_or(word.as_str(), |(option, _)| option);
        if option.starts_with('-') && option.parse::<f64>().is_err() && !options.contains(option) {
            return Some(format!("`hdc {name}` has no {option}"));
        }
        if word == "--set" {
            let assignment = rest.get(i + 1).map_or("", String::as_str);
            let placeholder = assignment.to_uppercase() == assignment || assignment == "key=value";
            if let Err(e) = Sources::default().set(assignment).resolve()
                && !placeholder
            {
                return Some(format!("--set {assignment}: {e}"));
            }
        }
    }
    None
}

#[test]
fn the_documents_name_only_what_exists() {
    let world = World::new();
    let mut all = Vec::new();
    let ours = |p: &&String| p.split_once('/').is_none_or(|(first, _)| FOLDERS.contains(&first));
    for path in world.paths.iter().filter(|p| p.ends_with(".md")).filter(ours) {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        all.extend(faults(&text, folder, &world).into_iter().map(|f| format!("{path}:{f}")));
    }
    for name in ["README.md", "ARCHITECTURE.md"] {
        if !world.paths.contains(name) {
            eprintln!("skipped: there is no {name} (the_documents_name_only_what_exists)");
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_good_text_has_no_fault() {
    let text = r##"
# A good text
See [the tests](tests/docs.rs), [below](#how-to-run), [elsewhere](https://example.org/a.md), `src/lib.rs:3`,
`src/ops/<op>/mod.rs`, `src/train/{run,step}.rs`, `ops/conv3d/mod.rs`, `tests/*.rs`, `src/ops/`, `docs.rs`.
Outputs: `config.toml`, `checkpoints/step-N.safetensors`, `OUT/quarantine.jsonl`; `a::b`, `f32/f64`, `x/127.5`.
`hdc`, `hdc plan`, `hdc --help`, `hdc pretrain … --set key=value [--json]`, `hdc features --pool savg`.
## How to run
```sh
tools/setup && tools/test   # hdc nothing
RUST_LOG=x target/release/hdc synth shapes --videos 512 --seed -1 | tee log
hdc retrieve --checkpoint random:0 --preset small --data "my set" \
    --set model.width=0.25 --label=motion
cargo run --release -- inspect run --json
cargo test --locked
```
```console
$ hdc doctor
hdc         0.1.0
```
```toml
hdc = "0.1"
```
"##;
    assert_eq!(faults(text, "", &World::new()), Vec::<String>::new());
    assert_eq!(faults("[up](../../build.rs) `golden.py`", "tools/reference", &World::new()), [""; 0]);
}

#[test]
fn every_fault_of_a_bad_text_is_found() {
    let text = r##"
# A bad text
[a](src/none.rs) [b](#nowhere) `src/none.rs` `src/train/{run,nun}.rs` `kernels/nothing/` `noone.rs`
`hdc train` and `hdc plan --back` and `hdc pretrain --set loss.tua=1`
`src/ops/<op>/none.rs`
```sh
hdc retrieve --checkpoint random:0 \
    --labels motion
./hdc demo --fast && hdc verfy tests/golden/none.safetensors
cargo run --release -- inspekt x
```
```console
$ hdc doctor --yaml
```
```
hdc plan
"##;
    let found = faults(text, "", &World::new());
    let expect = [
        "3: the link to src/none.rs leads nowhere",
        "3: the link to #nowhere leads nowhere",
        "3: there is no src/none.rs",
        "3: there is no src/train/nun.rs",
        "3: there is no kernels/nothing/",
        "3: there is no noone.rs",
        "4: there is no `hdc train`",
        "4: `hdc plan` has no --back",
        "4: --set loss.tua=1",
        "5: there is no src/ops/*/none.rs",
        "7: `hdc retrieve` has no --labels",
        "9: `hdc demo` has no --fast",
        "9: there is no `hdc verfy`",
        "9: there is no tests/golden/none.safetensors",
        "10: there is no `hdc inspekt`",
        "13: `hdc doctor` has no --yaml",
        "a block of code has no end",
    ];
    for fault in expect {
        assert!(found.iter().any(|f| f.starts_with(fault)), "{fault} in {found:#?}");
    }
    assert_eq!(found.len(), expect.len(), "{found:#?}");
}
