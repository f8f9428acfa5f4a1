//! The three formats of lists: their lines, each with the part that it puts its video into.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{ListEntry, Role, strip_extension};
use crate::{Error, Result};

/// A video of a list.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1.
    pub number: usize,
    /// What it is for; `None`: the format does not tell.
    pub role: Option<Role>,
    pub entry: ListEntry,
}

type Lines = Vec<Line>;

/// The videos of one file; its kind is told from its name.
///
/// # Errors
/// An unreadable file; a line that cannot be understood.
pub(super) fn lines(file: &Path) -> Result<Lines> {
    let bytes = fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::data(file, "is not UTF-8 text", "convert it, for example by iconv"))?;
    let text = text.trim_start_matches('\u{feff}');
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if name.to_lowercase().ends_with(".csv") {
        return kinetics(file, text);
    }
    match name.rsplit_once("_test_split") {
        Some((class, rest)) if rest.ends_with(".txt") && !class.is_empty() => hmdb(file, class, text),
        _ => ucf(file, text),
    }
}

/// The lines that hold something, numbered from 1.
fn filled(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())).filter(|(_, l)| !l.is_empty())
}

fn at(file: &Path, line: usize, what: impl std::fmt::Display, hint: &str) -> Error {
    Error::data(file, format!("line {line}: {what}"), hint)
}

/// `Class/v_X_g08_c01.avi 1` or without the number. The class is the folder's name: in UCF101 one class is
/// spelt differently in the files' names. Without a folder the number is looked up in `classInd.txt`.
fn ucf(file: &Path, text: &str) -> Result<Lines> {
    let classes = class_index(&file.with_file_name("classInd.txt"))?;
    let mut entries = Vec::new();
    for (line, content) in filled(text) {
        let numbered = content
            .rsplit_once(char::is_whitespace)
            .and_then(|(path, number)| Some((path.trim_end(), number.parse::<usize>().ok()?)));
        let (path, number) = numbered.map_or((content, None), |(path, n)| (path, Some(n)));
        let key = strip_extension(path);
        let folder = key.rsplit_once('/').map(|(f, _)| f.rsplit('/').next().unwrap_or(f).to_owned());
        if key.is_empty() || key.starts_with('/') || key.ends_with('/') || path.contains('\0') {
            return Err(at(file, line, format!("{content:?} names no video"), UCF_HINT));
        }
        let named = number.and_then(|n| classes.get(&n));
        if let (Some(n), None, false) = (number, named, classes.is_empty()) {
            return Err(at(file, line, format!("class {n} is not in classInd.txt"), UCF_HINT));
        }
        if let (Some(f), Some(c)) = (&folder, named)
            && !f.eq_ignore_ascii_case(c)
        {
            let what = format!("folder {f}, but the number's class in classInd.txt is {c}");
            return Err(at(file, line, what, "use the lists and the classInd.txt of one release"));
        }
        let label = folder.or_else(|| named.cloned());
        entries.push(Line { number: line, role: None, entry: ListEntry { key: key.to_owned(), label } });
    }
    Ok(entries)
}

const UCF_HINT: &str = "write lines like `Class/v_Class_g01_c01.avi 1`";

/// Class names by number, from a file as UCF101's `classInd.txt`; empty if there is no such file.
///
/// # Errors
/// An unreadable file; a line that is not a number and a name; a number used twice.
pub fn class_index(file: &Path) -> Result<BTreeMap<usize, String>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Error::io("read", file, e)),
    };
    let mut classes = BTreeMap::new();
    for (line, content) in filled(&text) {
        let parsed = content
            .split_once(char::is_whitespace)
            .and_then(|(n, class)| Some((n.parse::<usize>().ok()?, class.trim().to_owned())));
        let Some((number, class)) = parsed else {
            return Err(at(
                file,
                line,
                format!("{content:?} is no class"),
                "write lines like `1 ApplyLipstick`",
            ));
        };
        if classes.insert(number, class).is_some() {
            return Err(at(
                file,
                line,
                format!("number {number} is used twice"),
                "give each class its number",
            ));
        }
    }
    Ok(classes)
}

/// `name.avi 0|1|2`: unused, train, test.
fn hmdb(file: &Path, class: &str, text: &str) -> Result<Lines> {
    let mut entries = Vec::new();
    for (line, content) in filled(text) {
        let (name, role) = match content.rsplit_once(char::is_whitespace) {
            Some((name, "0")) => (name, Role::Unused),
            Some((name, "1")) => (name, Role::Train),
            Some((name, "2")) => (name, Role::Test),
            _ => {
                let what = format!("{content:?} does not end in 0, 1 or 2");
                return Err(at(file, line, what, "write lines like `name.avi 1`"));
            }
        };
        let key = format!("{class}/{}", strip_extension(name.trim_end()));
        let entry = ListEntry { key, label: Some(class.to_owned()) };
        entries.push(Line { number: line, role: Some(role), entry });
    }
    Ok(entries)
}

/// `label,youtube_id,time_start,time_end,split[,is_cc]`, columns found by their names.
fn kinetics(file: &Path, text: &str) -> Result<Lines> {
    let mut lines = filled(text);
    let hint = "the first line must be `label,youtube_id,time_start,time_end,split`";
    let header = lines.next().map(|(_, l)| fields(l)).unwrap_or_default();
    let column = |name: &str| header.iter().position(|h| h == name);
    let need = |name: &str| column(name).ok_or_else(|| at(file, 1, format!("no column {name}"), hint));
    let (id, start, end) = (need("youtube_id")?, need("time_start")?, need("time_end")?);
    let (label, split) = (column("label"), column("split"));
    let mut entries = Vec::new();
    for (line, content) in lines {
        let row = fields(content);
        if row.len() != header.len() {
            let what = format!("{} fields, {} columns", row.len(), header.len());
            return Err(at(file, line, what, "quote fields that hold commas"));
        }
        let seconds = |column: usize| {
            row[column].parse::<f64>().ok().filter(|t| (0.0..1e6).contains(t)).map(|t| t as u64).ok_or_else(
                || at(file, line, format!("{:?} is no time", row[column]), "give seconds from 0 to 999999"),
            )
        };
        let role = split.map(|c| match row[c].as_str() {
            "train" => Role::Train,
            s if s == "test" || s.starts_with("val") => Role::Test,
            _ => Role::Other,
        });
        let name = format!("{}_{:06}_{:06}", row[id], seconds(start)?, seconds(end)?);
        let label = label.map(|c| row[c].clone()).filter(|l| !l.is_empty());
        let key = label.as_ref().map_or(name.clone(), |l| format!("{l}/{name}"));
        entries.push(Line { number: line, role, entry: ListEntry { key, label } });
    }
    Ok(entries)
}

/// The fields of a CSV line; quoted ones may hold commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut all, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut field).trim().to_owned()),
            c => field.push(c),
        }
    }
    all.push(field.trim().to_owned());
    all
}
