//! What follows a backbone: in pretraining the nine linear projections g_o, g_s, g_t of blocks 3, 4 and 5 to 128
//! dimensions, in fine-tuning one linear layer on the pooled block 5.

use super::{BLOCKS, PROJECTION};
use crate::ops::{ParamKind, ParamSpec};
use crate::tensor::Shape;

/// What a clip is to its video's anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The anchor o.
    Anchor,
    /// The spatial variant s.
    Spatial,
    /// The temporal variant t.
    Temporal,
}

impl Role {
    /// All roles, in the order of a batch.
    pub const ALL: [Self; 3] = [Self::Anchor, Self::Spatial, Self::Temporal];

    /// Its letter in parameter names.
    pub fn letter(self) -> char {
        match self {
            Self::Anchor => 'o',
            Self::Spatial => 's',
            Self::Temporal => 't',
        }
    }
}

/// Names and extents of all heads' parameters: block by block, in each o, s, t; weight, then bias.
pub fn head_params(channels: [usize; 3]) -> Vec<(String, ParamSpec)> {
    let mut params = Vec::new();
    for (block, channels) in BLOCKS.into_iter().zip(channels) {
        for role in Role::ALL {
            let name = format!("{}{block}.", role.letter());
            params.extend(linear_params(&name, channels, PROJECTION));
        }
    }
    params
}

/// Names and extents of the parameters of the layer that tells `classes` apart: weight, then bias.
pub fn classifier_params(channels: usize, classes: usize) -> Vec<(String, ParamSpec)> {
    linear_params("", channels, classes).into()
}

fn linear_params(prefix: &str, inputs: usize, outputs: usize) -> [(String, ParamSpec); 2] {
    let (weight, bias) = (Shape::new([outputs, inputs]), Shape::new([outputs]));
    [
        ParamSpec { name: "weight", shape: weight, kind: ParamKind::Kernel },
        ParamSpec { name: "bias", shape: bias, kind: ParamKind::Shift },
    ]
    .map(|spec| (format!("{prefix}{}", spec.name), spec))
}

/// The index, among [`head_params`], of the weight of a role's head at block `3 + scale`; its bias is the next.
pub fn head_index(scale: usize, role: Role) -> usize {
    2 * (3 * scale + role as usize)
}
