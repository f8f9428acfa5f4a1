//! The `classify` section of a configuration.

use serde::{Deserialize, Serialize};

/// How a backbone is fine-tuned: G-Avg pooling of block 5 → dropout → linear layer → softmax cross-entropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifyConfig {
    /// Probability with which a number of the pooled vector is left out of a step; the others are scaled up.
    pub dropout: f64,
    /// Train the linear layer alone, on the backbone as it is: a linear probe.
    pub frozen: bool,
    /// The name of the label that is learned.
    pub label: String,
    /// What the backbone started from: `scratch`, or the CRC-32C of its weights. Filled in when the run starts.
    pub start: String,
    /// The classes, in the order of the layer's outputs. Filled in from the data.
    pub classes: Vec<String>,
}

impl Default for ClassifyConfig {
    /// The paper's.
    fn default() -> Self {
        Self { dropout: 0.5, frozen: false, label: "label".into(), start: String::new(), classes: Vec::new() }
    }
}
