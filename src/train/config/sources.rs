//! Where a configuration comes from: the defaults, overlaid by a preset, a file, `key=value` settings and
//! flags, in that order. Every fault of every source is reported at once.

use std::path::Path;

use toml::{Table, Value};

use super::{Config, Preset, check};
use crate::{Error, Result};

/// Sources of a configuration, each overriding the ones before.
#[derive(Debug, Default)]
pub struct Sources {
    base: Config,
    layers: Vec<(String, Table)>,
    faults: Vec<String>,
}

impl Sources {
    /// Those of a fine-tuning, over its own defaults.
    pub fn fine_tuning() -> Self {
        Self { base: Config::fine_tuning(), ..Self::default() }
    }

    /// Adds a preset; to a fine-tuning only its network and its clips, for the rest is about pretraining.
    pub fn preset(mut self, preset: Preset) -> Self {
        let origin = format!("preset {}", preset.name());
        if self.base.classify.is_none() {
            return self.text(preset.text(), &origin);
        }
        let mut table: Table = preset.text().parse().expect("presets are TOML, by a test");
        table.retain(|section, _| matches!(section, "model" | "clip"));
        self.layers.push((origin, table));
        self
    }

    /// Adds the network and the clips of another run, called `origin` in faults.
    pub fn network_of(mut self, config: &Config, origin: &str) -> Self {
        let mut table = config.table();
        table.retain(|section, _| matches!(section, "model" | "clip"));
        self.layers.push((origin.into(), table));
        self
    }

    /// Adds a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn file(self, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        Ok(self.text(&text, &path.display().to_string()))
    }

    /// Adds the text of a TOML file; faults name `origin`.
    pub fn text(mut self, text: &str, origin: &str) -> Self {
        match text.parse() {
            Ok(table) => self.layers.push((origin.into(), table)),
            Err(e) => self.faults.push(format!("{origin} is not TOML: {}", e.to_string().trim_end())),
        }
        self
    }

    /// Adds one `section.key=value`; the value is TOML, and quotes around text may be left out.
    pub fn set(mut self, assignment: &str) -> Self {
        match assignment.split_once('=') {
            Some((key, _)) if self.base.classify.is_some() && key.trim().starts_with("loss.") => {
                self.faults.push(format!("{} is of pretraining; a fine-tuning has no contrast", key.trim()));
            }
            Some((key, text)) => {
                let value = parse_value(&self.base, key.trim(), text.trim());
                self.put(key.trim(), value, "--set");
            }
            None => self.faults.push(format!(
                "`--set {assignment}` has no `=`: write section.key=value, as in loss.tau=0.1"
            )),
        }
        self
    }

    /// Adds the value of a command-line flag, if it was given.
    pub fn flag(mut self, key: &str, value: Option<impl Into<Value>>, flag: &str) -> Self {
        if let Some(value) = value {
            self.put(key, value.into(), flag);
        }
        self
    }

    fn put(&mut self, key: &str, value: Value, origin: &str) {
        let table = match key.split_once('.') {
            Some((section, key)) => {
                Table::from_iter([(section.into(), Value::Table(Table::from_iter([(key.into(), value)])))])
            }
            None => Table::from_iter([(key.into(), value)]),
        };
        self.layers.push((origin.into(), table));
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`Error::Config`] with every unknown key (and the nearest known one), every value of a wrong type and
    /// every value out of range.
    pub fn resolve(self) -> Result<Config> {
        let Self { base, layers, mut faults } = self;
        let mut config = base;
        for (origin, layer) in &layers {
            overlay(&mut config, layer, origin, &mut faults);
        }
        let origin_of = |key: &str| {
            let named =
                |(_, layer): &&(String, Table)| key.split_once('.').is_some_and(|(s, k)| has(layer, s, k));
            layers.iter().rev().find(named).map_or("the default", |(origin, _)| origin)
        };
        faults.extend(
            check::faults(&config).into_iter().map(|f| format!("{} ({})", f.line, origin_of(&f.key))),
        );
        if faults.is_empty() {
            return Ok(config);
        }
        let mut names: Vec<_> = layers.iter().map(|(origin, _)| origin.as_str()).collect();
        names.dedup();
        Err(Error::Config { source_name: format!("({})", names.join(", ")), faults })
    }
}

fn has(layer: &Table, section: &str, key: &str) -> bool {
    layer.get(section).and_then(Value::as_table).is_some_and(|t| t.contains_key(key))
}

/// The right side of a setting: TOML, or plain text where the key holds text or TOML makes no sense of it.
fn parse_value(base: &Config, key: &str, text: &str) -> Value {
    let holds_text = base.flat().iter().any(|(k, v)| k == key && v.is_str());
    match format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| if t.len() == 1 { t.remove("v") } else { None })
    {
        Some(value) if !holds_text || value.is_str() => value,
        _ => Value::String(text.into()),
    }
}

/// Puts every good value of `layer` into `config`, and a line for every other one into `faults`.
fn overlay(config: &mut Config, layer: &Table, origin: &str, faults: &mut Vec<String>) {
    let mut table = config.table();
    for (section, values) in layer {
        if section == "version" {
            continue; // a note of who wrote the file
        }
        match (table.get(section), values) {
            (Some(Value::Table(_)), Value::Table(values)) => {
                for (key, value) in values {
                    if let Err(fault) = try_value(&mut table, config, section, key, value) {
                        faults.push(format!("{fault} ({origin})"));
                    }
                }
            }
            (Some(_), _) => {
                faults.push(format!(
                    "{section} = {values}: is a section; set one of its keys, {} ({origin})",
                    keys_of(config, section)
                ));
            }
            (None, Value::Table(values)) if !values.is_empty() => {
                faults.extend(
                    values
                        .keys()
                        .map(|key| format!("{} ({origin})", unknown(config, &format!("{section}.{key}")))),
                );
            }
            (None, _) => faults.push(format!("{} ({origin})", unknown(config, section))),
        }
    }
    // The last source to give a length decides in which unit.
    let gives = |key| layer.get("train").and_then(|t| t.get(key)).is_some_and(|v| v.as_integer() != Some(0));
    match (gives("steps"), gives("epochs")) {
        (true, false) => config.train.epochs = 0,
        (false, true) => config.train.steps = 0,
        _ => {}
    }
}

/// Tries one value alone, so that each fault is found whatever the others are.
fn try_value(
    table: &mut Table,
    config: &mut Config,
    section: &str,
    key: &str,
    value: &Value,
) -> Result<(), String> {
    let path = format!("{section}.{key}");
    let slot = table.get_mut(section).and_then(Value::as_table_mut).and_then(|t| t.get_mut(key));
    let Some(slot) = slot else { return Err(unknown(config, &path)) };
    let before = std::mem::replace(slot, value.clone());
    match Config::deserialize_table(table) {
        Ok(changed) => {
            *config = changed;
            Ok(())
        }
        Err(reason) => {
            let line = format!("{path} = {value}: {reason}; it is {before} without this");
            if let Some(slot) = table.get_mut(section).and_then(|t| t.get_mut(key)) {
                *slot = before;
            }
            Err(line)
        }
    }
}

impl Config {
    fn deserialize_table(table: &Table) -> Result<Self, String> {
        table.clone().try_into().map_err(|e: toml::de::Error| {
            // serde names types as Rust does.
            let whole = "expected a whole number from 0";
            let text = e.message().trim().replace('\n', " ").replace("expected f64", "expected a number");
            text.replace("expected usize", whole).replace("expected u64", whole)
        })
    }
}

fn keys_of(config: &Config, section: &str) -> String {
    let prefix = format!("{section}.");
    let keys = config.flat();
    keys.iter()
        .filter(|(k, _)| k.starts_with(&prefix))
        .map(|(k, _)| k.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The line for a key that does not exist, with the nearest one that does. The key counts for most: a section
/// is more often forgotten or mistaken than misspelt.
fn unknown(config: &Config, path: &str) -> String {
    let bare = |p: &str| p.rsplit('.').next().unwrap_or_default().to_owned();
    let score = |known: &str| {
        0.9 * strsim::normalized_damerau_levenshtein(&bare(path), &bare(known))
            + 0.1 * strsim::normalized_damerau_levenshtein(path, known)
    };
    let known = config.flat();
    let nearest = known.iter().map(|(k, _)| (score(k), k)).max_by(|a, b| a.0.total_cmp(&b.0));
    let there = match path.split_once('.').map(|(section, _)| keys_of(config, section)) {
        Some(keys) if !keys.is_empty() => format!("there are {keys}"),
        _ => "sections are data, clip, augment, model, loss, optim, train, checkpoint and log".into(),
    };
    match nearest {
        Some((score, key)) if score > 0.55 => format!("{path} is no key; did you mean {key}? ({there})"),
        _ => format!("{path} is no key; {there}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(sources: Sources) -> Vec<String> {
        match sources.resolve() {
            Err(Error::Config { faults, .. }) => faults,
            other => panic!("expected faults, got {other:?}"),
        }
    }

    #[test]
    fn later_sources_win() {
        let c = Sources::default()
            .preset(Preset::Small)
            .text("[loss]\ntau = 0.2\nalpha = [1, 0, 0]\n[train]\nbatch = 6", "my.toml")
            .set("loss.tau=0.3")
            .set("model.backbone = r3d18")
            .set("data.shards=2024")
            .flag("train.seed", Some(7), "--seed")
            .flag("train.steps", None::<i64>, "--steps")
            .resolve()
            .unwrap();
        assert_eq!((c.loss.tau, c.loss.alpha, c.train.batch, c.train.seed), (0.3, [1.0, 0.0, 0.0], 6, 7));
        assert_eq!(c.model.backbone.name(), "r3d18");
        assert_eq!((c.data.shards.as_str(), c.train.steps, c.clip.crop), ("2024", 557, 48));
    }

    #[test]
    fn the_last_length_decides() {
        let c = Sources::default().preset(Preset::Small).set("train.epochs=3").resolve().unwrap();
        assert_eq!((c.train.steps, c.train.epochs), (0, 3));
        let c = Sources::default()
            .set("train.epochs=3")
            .flag("train.steps", Some(9), "--steps")
            .resolve()
            .unwrap();
        assert_eq!((c.train.steps, c.train.epochs), (9, 0));
        let both = faults(Sources::default().text("[train]\nsteps = 3\nepochs = 4", "f"));
        assert!(both[0].contains("train.steps") && both[0].contains("not both"), "{both:?}");
    }

    #[test]
    fn all_faults_come_at_once_with_key_value_and_remedy() {
        let found = faults(
            Sources::default()
                .text("[loss]\ntua = 0.1\ntau = -1\n[train]\nbatch = 1.5\n[optimm]\nlr = 1\n[clip]\ncrop = 'big'", "my.toml")
                .set("model.backbone=c4d")
                .set("temperature")
                .set("model=c3d")
                .set("train.seed=-3"),
        );
        let expect: [&[&str]; 8] = [
            &["--set temperature", "no `=`"],
            &["loss.tua is", "loss.tau?", "my.toml"],
            &["train.batch = 1.5", "whole number", "my.toml"],
            &["optimm.lr is", "optim.lr?"],
            &["clip.crop = \"big\"", "112"],
            &["model.backbone = \"c4d\"", "r21d10", "--set"],
            &["model = \"c3d\"", "is a section", "model.backbone"],
            &["train.seed = -3"],
        ];
        for words in expect {
            assert!(found.iter().any(|f| words.iter().all(|w| f.contains(w))), "{words:?} in {found:#?}");
        }
        assert!(
            found
                .iter()
                .any(|f| f.starts_with("loss.tau = -1.0: must be above 0") && f.ends_with("(my.toml)")),
            "{found:#?}"
        );
        assert_eq!(found.len(), 9, "{found:#?}");
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let unknown = |path| unknown(&Config::default(), path);
        assert!(unknown("loss.taus").contains("did you mean loss.tau?"));
        assert!(unknown("tau").contains("did you mean loss.tau?"));
        assert!(unknown("optim.tau").contains("did you mean loss.tau?"));
        assert!(unknown("train.batchsize").contains("did you mean train.batch?"));
        assert!(unknown("loss.zzz").contains("loss.alpha, loss.beta"));
        assert!(unknown("qqq.zzz").contains("sections are"));
    }

    #[test]
    fn text_that_is_not_toml_is_one_fault_with_its_place() {
        let found = faults(Sources::default().text("[loss\ntau = 1", "my.toml"));
        assert!(found.len() == 1 && found[0].contains("my.toml") && found[0].contains("line 1"), "{found:?}");
    }

    #[test]
    fn hostile_values_never_panic() {
        for value in [
            "",
            "=",
            "[",
            "{}",
            "{a=1}",
            "nan",
            "inf",
            "1e999",
            "9223372036854775808",
            "'''",
            "\u{0}",
            "1\nx=2",
            "[[[]]]",
        ] {
            for key in [
                "loss.tau",
                "loss.alpha",
                "train.batch",
                "data.shards",
                "x",
                "",
                ".",
                "loss.",
                "a.b.c",
                "version",
            ] {
                let _ = Sources::default().set(&format!("{key}={value}")).resolve();
            }
        }
    }
}
