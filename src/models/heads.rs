//! The nine linear projections g_o, g_s, g_t of blocks 3, 4 and 5 to 128 dimensions.

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
            let name = format!("{}{block}", role.letter());
            let weight = ParamSpec {
                name: "weight",
                shape: Shape::new([PROJECTION, channels]),
                kind: ParamKind::Kernel,
            };
            let bias = ParamSpec { name: "bias", shape: Shape::new([PROJECTION]), kind: ParamKind::Shift };
            params.push((format!("{name}.weight"), weight));
            params.push((format!("{name}.bias"), bias));
        }
    }
    params
}

/// The index, among [`head_params`], of the weight of a role's head at block `3 + scale`; its bias is the next.
pub fn head_index(scale: usize, role: Role) -> usize {
    2 * (3 * scale + role as usize)
}
