//! A tensor with its name, as checkpoints and feature files hold it.

/// A named array in the layout of files (PyTorch's `OIDHW` for filters).
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// For a parameter its `state_dict` name: `backbone.conv1.weight`.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<f32>,
}
