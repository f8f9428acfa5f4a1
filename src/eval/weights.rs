//! The network that an evaluation uses: of a checkpoint, or untrained from a seed.

use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;
use crate::Result;
use crate::device::require_memory;
use crate::graph::ParamLayout;
use crate::models;
use crate::train::{Checkpoint, Config};

/// Where the weights come from, as `--checkpoint` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A checkpoint file, or a run's folder: its newest intact checkpoint.
    Checkpoint(PathBuf),
    /// An untrained network, initialised from this seed.
    Random(u64),
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("random:") {
            None => Ok(Self::Checkpoint(text.into())),
            Some(seed) => seed.parse().map(Self::Random).map_err(|_| {
                Error::usage(
                    format!("{text:?} has no seed"),
                    "write random:SEED with a whole number from 0, as in random:0",
                )
            }),
        }
    }
}

/// A network's weights with the configuration that they belong to.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The configuration: the model, and how its clips are cut.
    pub config: Config,
    /// What it is, for reports: `runs/a/checkpoints/step-500.safetensors` or `random:0`.
    pub name: String,
    /// Names and places of the parameters.
    pub layout: ParamLayout,
    /// All parameters, flat.
    pub params: Vec<f32>,
}

impl Weights {
    /// The weights of a checkpoint file, or of the newest intact checkpoint of a run's folder.
    ///
    /// # Errors
    /// A missing or damaged file, or weights that do not fit the configuration beside them.
    pub fn load(path: &std::path::Path) -> Result<Self> {
        let (file, checkpoint) = Checkpoint::open(path)?;
        Self::of(&checkpoint, &file.display().to_string())
    }

    /// The weights of a checkpoint that is called `name` in reports.
    ///
    /// # Errors
    /// Weights that do not fit the configuration beside them.
    pub fn of(checkpoint: &Checkpoint, name: &str) -> Result<Self> {
        let config = checkpoint.config.clone();
        let layout = layout(&config)?;
        let mut params = vec![0.0; layout.len()];
        layout
            .import(&checkpoint.state.weights, &mut params)
            .map_err(|e| Error::data(name, e.to_string(), "use a checkpoint as `hdc pretrain` saved it"))?;
        Ok(Self { config, name: name.into(), layout, params })
    }

    /// The untrained network with which a run of `config` with this seed would begin.
    ///
    /// # Errors
    /// A model that does not fit the clips.
    pub fn random(config: &Config, seed: u64) -> Result<Self> {
        let layout = layout(config)?;
        require_memory("the network", layout.len() * size_of::<f32>(), "lower model.width")?;
        let mut params = vec![0.0; layout.len()];
        models::initialise(&layout, config.model.init, seed, &mut params);
        Ok(Self { config: config.clone(), name: format!("random:{seed}"), layout, params })
    }

    /// Frames, height and width of a clip.
    pub fn extents(&self) -> [usize; 3] {
        self.config.extents()
    }
}

fn layout(config: &Config) -> Result<ParamLayout> {
    let (model, extents) = (&config.model, config.extents());
    Ok(match &config.classify {
        None => models::param_layout(&models::encoder::<f32>(model, 1, extents, false)?),
        Some(c) => {
            models::classifier_layout(&models::pooled_encoder::<f32>(model, 1, extents)?, c.classes.len())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_told_apart() {
        assert_eq!("random:7".parse::<Origin>().unwrap(), Origin::Random(7));
        assert_eq!("runs/a".parse::<Origin>().unwrap(), Origin::Checkpoint("runs/a".into()));
        for bad in ["random:", "random:x", "random:-1"] {
            assert!(bad.parse::<Origin>().unwrap_err().to_string().contains("random:SEED"), "{bad}");
        }
    }
}
