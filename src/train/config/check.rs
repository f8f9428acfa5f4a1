//! Which values are refused, and what to give instead.

use std::ops::RangeInclusive;

use super::Config;
use crate::optim::Schedule;

/// A value that cannot be used.
#[derive(Debug)]
pub(super) struct Fault {
    /// `section.key`.
    pub key: String,
    /// `section.key = value: remedy`.
    pub line: String,
}

/// Every value of `c` that is out of range, alone or together with others.
pub(super) fn faults(c: &Config) -> Vec<Fault> {
    let values = c.flat();
    let mut all = Vec::new();
    for line in [c.clip.faults(), c.augment.faults()].concat() {
        all.push(Fault { key: line.split(' ').next().unwrap_or_default().to_owned(), line });
    }
    let mut refuse = |key: &str, bad: bool, remedy: &str| {
        if bad {
            let value =
                values.iter().find(|(k, _)| k == key).map_or_else(String::new, |(_, v)| v.to_string());
            all.push(Fault { key: key.into(), line: format!("{key} = {value}: {remedy}") });
        }
    };

    let mut whole = |key, value: u64, range: RangeInclusive<u64>| {
        refuse(key, !range.contains(&value), &format!("must be from {} to {}", range.start(), range.end()));
    };
    whole("data.workers", c.data.workers as u64, 0..=1024);
    whole("data.prefetch", c.data.prefetch as u64, 1..=1024);
    let fewest = if c.classify.is_some() { 1 } else { 2 }; // one video has no negatives
    whole("train.batch", c.train.batch as u64, fewest..=65_536);
    whole("train.steps", c.train.steps, 0..=1_000_000_000);
    whole("train.epochs", c.train.epochs, 0..=1_000_000_000);
    whole("train.chunk", c.train.chunk as u64, 0..=1_000_000);
    whole("checkpoint.every", c.checkpoint.every, 1..=1_000_000_000);
    whole("checkpoint.keep", c.checkpoint.keep as u64, 1..=1_000_000);
    whole("log.every", c.log.every, 1..=1_000_000_000);

    // Comparisons are written so that NaN fails them.
    refuse(
        "model.width",
        !(c.model.width > 0.0 && c.model.width <= 16.0),
        "must be above 0 and up to 16, such as 1 or 0.125",
    );
    refuse(
        "model.norm_eps",
        !(c.model.norm_eps > 0.0 && c.model.norm_eps <= 0.1),
        "must be above 0 and up to 0.1, such as 1e-5",
    );

    refuse(
        "loss.tau",
        !(c.loss.tau > 0.0 && c.loss.tau <= 1e3),
        "must be above 0 and up to 1000, such as 0.07",
    );
    let weights_ok = |w: &[f64; 3]| w.iter().all(|w| *w >= 0.0 && *w <= 1e6);
    refuse("loss.alpha", !weights_ok(&c.loss.alpha), "needs three weights from 0 to 1e6");
    refuse("loss.beta", !weights_ok(&c.loss.beta), "needs three weights from 0 to 1e6");
    refuse(
        "loss.spatial",
        !c.loss.spatial && !c.loss.temporal,
        "with loss.temporal off as well nothing is learned; switch one of them on",
    );
    let off = |on: bool, w: &[f64; 3]| !on || w.iter().all(|w| *w == 0.0);
    refuse(
        if c.loss.spatial { "loss.alpha" } else { "loss.beta" },
        (c.loss.spatial || c.loss.temporal)
            && off(c.loss.spatial, &c.loss.alpha)
            && off(c.loss.temporal, &c.loss.beta),
        "every weight of what is switched on is zero, so nothing is learned; give one block a weight, as in [0, 0, 1]",
    );

    if let Some(classify) = &c.classify {
        refuse(
            "classify.dropout",
            !(0.0..1.0).contains(&classify.dropout),
            "must be from 0 (off) to below 1, such as 0.5",
        );
    }

    refuse(
        "optim.lr",
        !(c.optim.lr > 0.0 && c.optim.lr <= 1e3),
        "must be above 0 and up to 1000, such as 0.1",
    );
    refuse(
        "optim.momentum",
        !(0.0..1.0).contains(&c.optim.momentum),
        "must be from 0 to below 1, such as 0.9",
    );
    for (key, value) in [
        ("optim.decay", c.optim.decay),
        ("optim.l2", c.optim.l2),
        ("optim.clip_norm", c.optim.clip_norm),
        ("optim.lars", c.optim.lars),
    ] {
        refuse(key, !(0.0..=1e6).contains(&value), "must be from 0 (off) to 1e6");
    }
    refuse(
        "optim.warmup_steps",
        c.train.steps > 0 && c.optim.warmup_steps > c.train.steps,
        "is longer than the whole run (train.steps); make it shorter",
    );
    refuse(
        "train.steps",
        c.train.steps > 0 && c.train.epochs > 0,
        "and train.epochs are both given; give one, not both",
    );
    refuse(
        "train.steps",
        c.train.steps == 0 && c.train.epochs == 0,
        "with train.epochs = 0 trains nothing; give one of them",
    );
    refuse(
        "optim.schedule",
        c.optim.schedule == Schedule::Cosine && c.train.steps > 0 && c.optim.warmup_steps == c.train.steps,
        "has no steps left after the warm-up; make optim.warmup_steps shorter",
    );
    all
}

#[cfg(test)]
mod tests {
    use crate::train::config::Sources;
    use crate::{Error, Result};

    #[test]
    fn each_bad_value_is_refused_alone_and_named() {
        let nan_or = |bad: &'static str| [bad, "nan", "inf"];
        let floats = [
            ("loss.tau", nan_or("0")),
            ("loss.alpha", ["[-1,0,1]", "[nan,1,1]", "[inf,1,1]"]),
            ("loss.beta", ["[0,0,-0.1]", "[0,nan,1]", "[0,inf,0]"]),
            ("optim.lr", nan_or("0")),
            ("optim.momentum", nan_or("1")),
            ("optim.decay", nan_or("-1e-4")),
            ("optim.l2", nan_or("-1e-4")),
            ("optim.clip_norm", nan_or("-1")),
            ("optim.lars", nan_or("-1")),
            ("model.width", nan_or("0")),
            ("model.norm_eps", nan_or("0")),
            ("augment.flip_p", nan_or("1.1")),
            ("augment.colour_p", nan_or("-0.1")),
            ("augment.replicate_p", nan_or("2")),
            ("augment.hue", nan_or("0.6")),
            ("augment.brightness", nan_or("1.5")),
            ("augment.contrast", nan_or("-1")),
            ("augment.saturation", nan_or("9")),
            ("augment.scales", ["[]", "[0.5, 0.75]", "[1.0, 0.0]"]),
            ("train.batch", ["0", "1", "65537"]),
            ("clip.frames", ["0", "65536", "-1"]),
            ("clip.stride", ["0", "65536", "x"]),
            ("clip.crop", ["0", "65536", "1.5"]),
            ("clip.short_side", ["0", "65536", "true"]),
            ("clip.temporal_offset", ["-1", "65536", "x"]),
            ("checkpoint.every", ["0", "-1", "1.5"]),
            ("checkpoint.keep", ["0", "-1", "x"]),
            ("log.every", ["0", "-1", "true"]),
            ("data.prefetch", ["0", "-1", "2000"]),
        ];
        for (key, values) in floats {
            for value in values {
                let result: Result<_> = Sources::default().set(&format!("{key}={value}")).resolve();
                let Err(Error::Config { faults, .. }) = result else { panic!("{key}={value} was accepted") };
                assert!(
                    faults.len() == 1 && faults[0].starts_with(&format!("{key} = ")),
                    "{key}={value}: {faults:?}"
                );
                assert!(faults[0].contains("--set"), "{faults:?}");
            }
        }
    }

    #[test]
    fn an_objective_that_learns_nothing_is_refused() {
        let nothing = [
            vec!["loss.spatial=false", "loss.temporal=false"],
            vec!["loss.alpha=[0,0,0]", "loss.beta=[0,0,0]"],
            vec!["loss.spatial=false", "loss.beta=[0,0,0]"],
            vec!["loss.temporal=false", "loss.alpha=[0,0,0]"],
            vec!["train.steps=0", "train.epochs=0"],
        ];
        for sets in nothing {
            let sources = sets.iter().fold(Sources::default(), |s, set| s.set(set));
            assert!(
                matches!(sources.resolve(), Err(Error::Config { faults, .. }) if faults.len() == 1),
                "{sets:?}"
            );
        }
        for sets in
            [["loss.spatial=false", "loss.alpha=[0,0,0]"], ["loss.temporal=false", "loss.alpha=[0,0,1]"]]
        {
            sets.iter().fold(Sources::default(), |s, set| s.set(set)).resolve().unwrap();
        }
    }
}
