//! What determines the figures of a row.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::Dataset;
use crate::train::{Config, DataIdentity};

/// Settings by name, as text. Places in the file system are left out, so that rows can move to another machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those of a pretraining run. Left out are where data lie, threads, chunks, saving and reporting.
    pub fn of(config: &Config) -> Self {
        let mut all = BTreeMap::new();
        let sections = serde_json::to_value(config).expect("a configuration is plain values");
        for (section, keys) in sections.as_object().into_iter().flatten() {
            if ["data", "checkpoint", "log", "version"].contains(&section.as_str()) {
                continue;
            }
            for (key, value) in keys.as_object().into_iter().flatten() {
                all.insert(format!("{section}.{key}"), plain(value));
            }
        }
        all.remove("train.chunk");
        Self(all)
    }

    /// These and one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.insert(name.into(), value.to_string());
        self
    }

    /// These and others, their names behind `prefix`.
    #[must_use]
    pub fn with_all(self, prefix: &str, others: Self) -> Self {
        others.0.into_iter().fold(self, |all, (name, value)| all.with(&format!("{prefix}.{name}"), value))
    }

    /// These and which videos `name` stands for: how many, and a checksum of their keys.
    #[must_use]
    pub fn with_videos(self, name: &str, dataset: &Dataset, videos: impl Iterator<Item = usize>) -> Self {
        let keys: Vec<&str> = videos.map(|v| dataset.video(v).key.as_str()).collect();
        let identity = DataIdentity::of(keys);
        self.with(name, format!("{} videos, {:08x}", identity.videos, identity.keys))
    }

    /// These and how the data set was made.
    #[must_use]
    pub fn with_recipe(self, dataset: &Dataset) -> Self {
        let made = dataset.recipe().iter();
        made.fold(self, |settings, (name, value)| settings.with(&format!("data.{name}"), value))
    }

    /// One line for each setting that `stored` has not or has otherwise, or that it has besides.
    pub fn differences(&self, stored: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(stored.0.keys()).collect();
        let of =
            |settings: &Self, name: &String| settings.0.get(name).map_or("none", String::as_str).to_owned();
        let pairs = names.into_iter().map(|name| (name, of(stored, name), of(self, name)));
        pairs.filter(|(_, a, b)| a != b).map(|(name, a, b)| format!("{name}: {a} there, {b} now")).collect()
    }

    /// Eight hexadecimal digits for these settings.
    pub fn digest(&self) -> String {
        format!("{:08x}", crc32c::crc32c(&serde_json::to_vec(self).expect("text is JSON")))
    }
}

/// Text without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_hold_what_determines_a_run_and_nothing_else() {
        let mut config = Config::default();
        let settings = Settings::of(&config);
        config.data.shards = "elsewhere".into();
        config.data.workers = 7;
        config.train.chunk = 3;
        config.log.every = 99;
        config.checkpoint.every = 1;
        assert_eq!(Settings::of(&config), settings);
        config.loss.alpha[0] = 0.5;
        config.train.seed = 4;
        let now = Settings::of(&config);
        let expect = ["loss.alpha: [0.25,0.5,1.0] there, [0.5,0.5,1.0] now", "train.seed: 0 there, 4 now"];
        assert_eq!(now.differences(&settings), expect);
        assert_ne!(now.digest(), settings.digest());
        assert_eq!(settings.clone().with("x", 1).differences(&settings), ["x: none there, 1 now"]);
    }
}
