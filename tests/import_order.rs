//! The import order of ARCHITECTURE.md, enforced on the sources: modules import leftwards only, an operation
//! never imports another, `cudarc` and `unsafe` stay where they are allowed.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use proc_macro2::{TokenStream, TokenTree};

/// Left never imports right.
const ORDER: [&str; 11] =
    ["error", "tensor", "device", "ops", "graph", "models", "optim", "data", "train", "eval", "cli"];
/// What the crate's root offers under a name of its own, and where it comes from.
const ROOT_NAMES: [(&str, &str); 2] = [("Error", "error"), ("Result", "error")];

#[test]
fn the_sources_keep_the_import_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let ops = children(&root.join("ops"));
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 50, "only {} source files found", files.len());
    let mut faults = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        faults.extend(violations(&name, &fs::read_to_string(&file).unwrap(), &ops));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Names of the folders in a folder.
fn children(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.is_dir()).map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false if path.extension().is_some_and(|e| e == "rs") => files.push(path),
            false => {}
        }
    }
}

/// The faults of one file, `name` relative to `src`; `ops` are the folders of operations.
fn violations(name: &str, source: &str, ops: &[String]) -> Vec<String> {
    let tokens = TokenStream::from_str(source).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    let mut scan = Scan { paths: Vec::new(), words: Vec::new() };
    scan.tokens(tokens, &mut module.clone());
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: String| faults.push(format!("src/{name}:{line}: {what}"));
    for (line, path) in scan.paths {
        if let Some(what) = misplaced(&module, &path, ops) {
            fault(line, format!("{what} (crate::{})", path.join("::")));
        }
    }
    let is_device = name.starts_with("device/");
    let is_cuda_of_op = name.starts_with("ops/") && name.ends_with("/cuda.rs");
    for (line, word) in scan.words {
        if !is_device && !is_cuda_of_op {
            fault(line, format!("{word} belongs in src/device and src/ops/*/cuda.rs only"));
        }
    }
    faults
}

/// Why `module` may not name `path`, both counted from the crate's root.
fn misplaced(module: &[String], path: &[String], ops: &[String]) -> Option<String> {
    let from = module.first()?; // the root itself declares everything
    let to = path.first()?;
    let to = ROOT_NAMES.iter().find(|(name, _)| name == to).map_or(to.as_str(), |(_, home)| home);
    let rank = |name: &str| ORDER.iter().position(|m| *m == name);
    let Some(from_rank) = rank(from) else {
        return Some(format!("module {from} has no place in the import order"));
    };
    let Some(to_rank) = rank(to) else {
        return Some(format!("{to} has no place in the import order"));
    };
    if to_rank > from_rank {
        return Some(format!("{from} may not import {to}"));
    }
    if from == "data" && !["error", "tensor", "data"].contains(&to) {
        return Some(format!("data imports only error and tensor, not {to}"));
    }
    let op = |path: &[String]| path.get(1).filter(|name| ops.contains(name)).cloned();
    if from == "ops" && to == "ops" {
        let (a, b) = (op(module)?, op(path)?);
        return (a != b).then(|| format!("operation {a} may not import operation {b}"));
    }
    None
}

/// What is found in a file.
struct Scan {
    /// Every path that starts with `crate` or climbs out of its module with `super`, from the crate's root.
    paths: Vec<(usize, Vec<String>)>,
    /// Every use of a word that is restricted.
    words: Vec<(usize, String)>,
}

impl Scan {
    fn tokens(&mut self, tokens: TokenStream, module: &mut Vec<String>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut i = 0;
        while i < tokens.len() {
            match &tokens[i] {
                TokenTree::Ident(word) if word == "crate" || word == "super" => {
                    i = self.path(&tokens, i, module);
                    continue;
                }
                TokenTree::Ident(word) if word == "unsafe" || word == "cudarc" => {
                    self.words.push((word.span().start().line, word.to_string()));
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(i + 1), tokens.get(i + 2))
                    {
                        module.push(name.to_string());
                        self.tokens(body.stream(), module);
                        module.pop();
                        i += 3;
                        continue;
                    }
                }
                TokenTree::Group(group) => self.tokens(group.stream(), module),
                _ => {}
            }
            i += 1;
        }
    }

    /// Reads a path from its first word at `i`; returns where it ends.
    fn path(&mut self, tokens: &[TokenTree], mut i: usize, module: &[String]) -> usize {
        let line = tokens[i].span().start().line;
        let is_super = |t: Option<&TokenTree>| matches!(t, Some(TokenTree::Ident(word)) if word == "super");
        let mut base = if is_super(tokens.get(i)) { module.to_vec() } else { Vec::new() };
        loop {
            if is_path_end(tokens, i) {
                return i + 1; // the `crate` or `super` of a visibility
            }
            if is_super(tokens.get(i)) {
                base.pop();
            }
            i += 3;
            if !is_super(tokens.get(i)) {
                break;
            }
        }
        self.rest(tokens, i, base, line)
    }

    /// Reads what follows `::`: a name and more, or a group of such.
    fn rest(&mut self, tokens: &[TokenTree], mut i: usize, mut path: Vec<String>, line: usize) -> usize {
        loop {
            match tokens.get(i) {
                Some(TokenTree::Ident(word)) => path.push(word.to_string()),
                Some(TokenTree::Group(group)) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    let comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
                    for branch in inner.split(comma).filter(|branch| !branch.is_empty()) {
                        self.rest(branch, 0, path.clone(), line);
                    }
                    return i + 1;
                }
                _ => break, // a glob
            }
            if is_path_end(tokens, i) {
                break;
            }
            i += 3;
        }
        self.paths.push((line, path));
        i + 1
    }
}

/// Whether no `::` follows token `i`.
fn is_path_end(tokens: &[TokenTree], i: usize) -> bool {
    let colon = |t: Option<&TokenTree>| matches!(t, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    !(colon(tokens.get(i + 1)) && colon(tokens.get(i + 2)))
}

#[cfg(test)]
mod checker {
    use super::violations;

    fn found(name: &str, source: &str) -> Vec<String> {
        violations(name, source, &["conv3d".to_owned(), "linear".to_owned()])
    }

    #[test]
    fn what_is_allowed_passes() {
        for (name, source) in [
            (
                "ops/conv3d/cpu.rs",
                "use crate::ops::WriteMode; use crate::tensor::{Real, Shape}; use super::axis;",
            ),
            ("ops/conv3d/mod.rs", "use super::{Op, Cost}; use crate::{Error, Result}; mod linear_part;"),
            ("ops/mod.rs", "pub mod conv3d; use crate::tensor::Real; /* crate::train */ // crate::eval"),
            ("train/step.rs", "fn f() -> crate::Result<()> { crate::data::batch(\"crate::cli::x\") }"),
            (
                "data/mod.rs",
                "pub(crate) fn f() {} pub(super) use x::y; use crate::{Error, tensor::random::Stream};",
            ),
            ("device/driver.rs", "use cudarc::driver; fn f() { unsafe { g() } }"),
            ("lib.rs", "pub mod cli; pub use error::Error;"),
            ("eval/mod.rs", "#[cfg(test)] mod tests { use super::*; use crate::train::Run; }"),
        ] {
            assert_eq!(found(name, source), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_found_and_named() {
        for (name, source, expected) in [
            ("ops/mod.rs", "use crate::graph::Graph;", "src/ops/mod.rs:1: ops may not import graph"),
            (
                "tensor/real.rs",
                "\nfn f() { crate::ops::conv3d::g() }",
                "tensor/real.rs:2: tensor may not import ops",
            ),
            ("models/mod.rs", "use crate::{Error, tensor::Real, eval::x};", "models may not import eval"),
            ("data/mod.rs", "use crate::ops::Cost;", "data imports only error and tensor, not ops"),
            (
                "ops/conv3d/cpu.rs",
                "use crate::ops::linear;",
                "operation conv3d may not import operation linear",
            ),
            ("ops/conv3d/mod.rs", "use super::{Cost, linear::Problem};", "operation conv3d may not import"),
            (
                "ops/conv3d/cpu.rs",
                "mod tests { use super::super::super::linear::x; }",
                "may not import operation linear",
            ),
            ("graph/plan.rs", "use super::super::train::Step;", "graph may not import train"),
            ("graph/plan.rs", "m!(x => { crate::cli::main() });", "graph may not import cli"),
            ("ops/conv3d/cpu.rs", "fn f() { unsafe { g() } }", "unsafe belongs in"),
            ("train/step.rs", "use cudarc::driver;", "cudarc belongs in"),
            ("eval/mod.rs", "use crate::shortcut;", "shortcut has no place"),
            ("other/mod.rs", "use crate::Error;", "module other has no place"),
        ] {
            let faults = found(name, source);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{name}: {faults:?}");
        }
    }
}
