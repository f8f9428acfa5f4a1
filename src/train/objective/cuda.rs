//! The objective on a CUDA device: from slot vectors to losses and gradients, as a list of launches. The same sums as
//! [`Objective`](super::Objective), with the heads of all blocks in one launch, all terms of the loss in another, and the
//! means of all blocks in one wherever they are due.

use arrayvec::ArrayVec;

use super::{LossConfig, Reduction, roles};
use crate::Result;
use crate::device::{Address, Command};
use crate::graph::CUDA_ALIGNMENT;
use crate::models::{PROJECTION, Role, head_index};
use crate::ops::info_nce::{self, CudaTerm};
use crate::ops::linear::{self, CudaLayer};
use crate::ops::slot_pool::{self, CudaMean};
use crate::ops::{CudaGradient, WriteMode, pitch};
use crate::train::Losses;

/// A buffer with its gradient behind it.
#[derive(Clone, Copy, Debug)]
struct Pair {
    at: usize,
    bytes: usize,
}

impl Pair {
    fn value(self, base: Address) -> Address {
        base.offset(self.at)
    }

    fn gradient(self, base: Address) -> Address {
        base.offset(self.at + self.bytes)
    }
}

/// One block: extents, the weights of its terms, and its buffers.
#[derive(Debug)]
struct Scale {
    slots: usize,
    channels: usize,
    /// Weights of the spatial and the temporal term; `None` where switched off.
    weights: [Option<f64>; 2],
    /// Projections of the anchor's slots, `(videos, N_k, 128)`.
    anchor: Pair,
    /// Of the spatial variant's, likewise.
    spatial: Pair,
    /// Mean over slots of the anchor's, `(videos, 128)`.
    anchor_mean: Pair,
    /// Of the temporal variant, `(videos, 128)`.
    temporal: Pair,
    /// Mean over slots of the temporal variant's vectors, `(videos, C_k)`.
    pooled: Pair,
}

/// Where the parameters of the heads and their gradients are: weight, then bias, of each head as
/// [`head_params`](crate::models::head_params) orders them.
#[derive(Clone, Debug)]
pub struct CudaHeads {
    /// Parameters, f32.
    pub params: Vec<Address>,
    /// Their gradients, f32.
    pub gradients: Vec<Address>,
}

/// The objective, planned for a device.
#[derive(Debug)]
pub struct CudaObjective {
    config: LossConfig,
    videos: usize,
    scales: [Scale; 3],
    /// Offset of the scratch of the loss.
    scratch: usize,
    bytes: usize,
}

impl CudaObjective {
    /// For `videos` videos and blocks of these time slots and channels.
    ///
    /// # Errors
    /// Extents that the loss cannot take.
    pub fn new(config: &LossConfig, videos: usize, slots: [usize; 3], channels: [usize; 3]) -> Result<Self> {
        let mut end = 0;
        let mut pair = |rows: usize, channels: usize| {
            let bytes = (rows * pitch(channels) * size_of::<f32>()).next_multiple_of(CUDA_ALIGNMENT);
            let at = end;
            end += 2 * bytes;
            Pair { at, bytes }
        };
        let weight = |on: bool, w: f64| (on && w != 0.0).then_some(w);
        let scales = [0, 1, 2].map(|k| Scale {
            slots: slots[k],
            channels: channels[k],
            weights: [weight(config.spatial, config.alpha[k]), weight(config.temporal, config.beta[k])],
            anchor: pair(videos * slots[k], PROJECTION),
            spatial: pair(videos * slots[k], PROJECTION),
            anchor_mean: pair(videos, PROJECTION),
            temporal: pair(videos, PROJECTION),
            pooled: pair(videos, channels[k]),
        });
        let mut scratch = 0;
        for scale in &scales {
            for (slots, weight) in [(scale.slots, scale.weights[0]), (1, scale.weights[1])] {
                let problem = info_nce::Problem::new(videos, slots, PROJECTION, config.tau)?;
                scratch += weight.map_or(0, |_| problem.cuda_workspace_bytes());
            }
        }
        Ok(Self { config: config.clone(), videos, scales, scratch: end, bytes: end + scratch })
    }

    /// Bytes of its buffers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The terms, unweighted, of blocks 3, 4, 5: spatial ones, then temporal ones; and their weighted sum.
    pub fn losses(&self, terms: [f64; 6]) -> Losses {
        let mut losses = Losses::default();
        for (k, scale) in self.scales.iter().enumerate() {
            losses.spatial[k] = scale.weights[0].map(|_| terms[k]);
            losses.temporal[k] = scale.weights[1].map(|_| terms[3 + k]);
            losses.total += self.config.alpha[k] * losses.spatial[k].unwrap_or(0.0);
            losses.total += self.config.beta[k] * losses.temporal[k].unwrap_or(0.0);
        }
        losses
    }

    /// Offsets in the buffers, and rows of 128, of the projections at block `3 + scale`: the anchor's slots, the
    /// spatial variant's, the anchor's clips, the temporal variant's; no rows where switched off.
    pub fn projections(&self, scale: usize) -> [(usize, usize); 4] {
        let s = &self.scales[scale];
        let [spatial, temporal] = s.weights.map(|w| usize::from(w.is_some()));
        let (all, one) = (self.videos * s.slots, self.videos);
        [
            (s.anchor.at, all * spatial.max(temporal)),
            (s.spatial.at, all * spatial),
            (s.anchor_mean.at, one * temporal),
            (s.temporal.at, one * temporal),
        ]
    }

    /// Appends loss and gradients. `base` is where its buffers are; `slots` are the slot vectors of the batch at blocks
    /// 3, 4, 5, each `(clips, N_k, pitch(C_k))` in f32 with one role after the other; `d_slots` receive their
    /// gradients, `heads` those of the parameters (0 for a head that no term uses), `losses`, six f64, the terms.
    ///
    /// # Errors
    /// Extents that the device's kernels cannot take.
    pub fn plan(
        &self,
        base: Address,
        heads: &CudaHeads,
        slots: [Address; 3],
        d_slots: [Address; 3],
        losses: Address,
        commands: &mut Vec<Command>,
    ) -> Result<()> {
        let reduction = match self.config.reduction {
            Reduction::Mean => 1.0 / self.videos as f64,
            Reduction::Sum => 1.0,
        };
        let mut layers = ArrayVec::<CudaLayer, 9>::new();
        let mut terms = ArrayVec::<CudaTerm, 6>::new();
        // Of the temporal variant's slot vectors, and of the anchor's projections: the heads are linear, so the projection of
        // the anchor's clip is the mean of those of its slots.
        let (mut of_slots, mut of_anchors) = (ArrayVec::<CudaMean, 3>::new(), ArrayVec::<CudaMean, 3>::new());
        for (k, scale) in self.scales.iter().enumerate() {
            self.zero_unused(k, heads, d_slots[k], commands);
            let [spatial, temporal] = scale.weights;
            if spatial.is_none() && temporal.is_none() {
                continue;
            }
            let layer = |role, rows: usize, x: Address, dx: Address, projection: Pair| {
                let (i, overwrite) = (head_index(k, role), WriteMode::Overwrite);
                let gradient = |at| CudaGradient { at, mode: overwrite };
                CudaLayer {
                    rows,
                    inputs: scale.channels,
                    outputs: PROJECTION,
                    x,
                    weight: heads.params[i],
                    bias: heads.params[i + 1],
                    y: projection.value(base),
                    dx: gradient(dx),
                    dweight: gradient(heads.gradients[i]),
                    dbias: gradient(heads.gradients[i + 1]),
                }
            };
            let (all, one) = (self.videos * scale.slots, self.videos);
            let at = |of: Address, role| of.offset(self.role(k, role));
            let x = |role| (at(slots[k], role), at(d_slots[k], role));
            let (x_anchor, dx_anchor) = x(Role::Anchor);
            layers.push(layer(Role::Anchor, all, x_anchor, dx_anchor, scale.anchor));
            let term = |slots, weight: f64, a: Pair, b: Pair, place| -> Result<CudaTerm> {
                Ok(CudaTerm {
                    problem: info_nce::Problem::new(self.videos, slots, PROJECTION, self.config.tau)?,
                    a: a.value(base),
                    b: b.value(base),
                    da: a.gradient(base),
                    db: b.gradient(base),
                    scale: weight * reduction,
                    factor: reduction,
                    place,
                })
            };
            if let Some(weight) = spatial {
                let (x, dx) = x(Role::Spatial);
                layers.push(layer(Role::Spatial, all, x, dx, scale.spatial));
                terms.push(term(scale.slots, weight, scale.anchor, scale.spatial, k)?);
            }
            if let Some(weight) = temporal {
                let (pooled, d_pooled) = (scale.pooled.value(base), scale.pooled.gradient(base));
                let (x, dx) = x(Role::Temporal);
                let mean = CudaMean {
                    groups: self.videos,
                    positions: scale.slots,
                    channels: scale.channels,
                    x,
                    dx: CudaGradient { at: dx, mode: WriteMode::Overwrite },
                    y: pooled,
                    dy: d_pooled,
                };
                of_slots.push(mean);
                let mode = if spatial.is_some() { WriteMode::Accumulate } else { WriteMode::Overwrite };
                of_anchors.push(CudaMean {
                    channels: PROJECTION,
                    x: scale.anchor.value(base),
                    dx: CudaGradient { at: scale.anchor.gradient(base), mode },
                    y: scale.anchor_mean.value(base),
                    dy: scale.anchor_mean.gradient(base),
                    ..mean
                });
                layers.push(layer(Role::Temporal, one, pooled, d_pooled, scale.temporal));
                terms.push(term(1, weight, scale.anchor_mean, scale.temporal, 3 + k)?);
            }
        }

        let temporal = !of_slots.is_empty();
        if temporal {
            commands.push(slot_pool::forward(&of_slots).into());
        }
        if !layers.is_empty() {
            commands.push(linear::forward(&layers).into());
        }
        if temporal {
            commands.push(slot_pool::forward(&of_anchors).into());
        }
        info_nce::launch(&terms, base.offset(self.scratch), losses, commands)?;
        if temporal {
            commands.push(slot_pool::backward(&of_anchors).into());
        }
        if !layers.is_empty() {
            // Backward a layer's `y` is the gradient of what it projected, which lies behind it.
            let projections = self.scales.iter().flat_map(|s| [s.anchor, s.spatial, s.temporal]);
            let gradients: Vec<_> = projections.map(|p| (p.value(base), p.gradient(base))).collect();
            for layer in &mut layers {
                let found = gradients.iter().find(|(value, _)| *value == layer.y);
                layer.y = found.expect("every layer writes a projection").1;
            }
            commands.push(linear::wgrad(&layers).into());
            commands.push(linear::dgrad(&layers).into());
        }
        if temporal {
            commands.push(slot_pool::backward(&of_slots).into());
        }
        Ok(())
    }

    /// Offset of a role's vectors in the slot vectors of block `3 + k`.
    fn role(&self, k: usize, role: Role) -> usize {
        let place = roles(&self.config).position(|r| r == role).expect("a term's roles are encoded");
        place * self.role_bytes(k)
    }

    fn role_bytes(&self, k: usize) -> usize {
        let scale = &self.scales[k];
        self.videos * scale.slots * pitch(scale.channels) * size_of::<f32>()
    }

    /// Clears what no term of block `3 + k` writes.
    fn zero_unused(&self, k: usize, heads: &CudaHeads, d_slots: Address, commands: &mut Vec<Command>) {
        let scale = &self.scales[k];
        let [spatial, temporal] = scale.weights.map(|w| w.is_some());
        for role in Role::ALL {
            let used = match role {
                Role::Anchor => spatial || temporal,
                Role::Spatial => spatial,
                Role::Temporal => temporal,
            };
            if used {
                continue;
            }
            let i = head_index(k, role);
            let row = pitch(scale.channels) * size_of::<f32>();
            commands.push(Command::Zero { at: heads.gradients[i], bytes: PROJECTION * row });
            let bytes = PROJECTION * size_of::<f32>();
            commands.push(Command::Zero { at: heads.gradients[i + 1], bytes });
            if roles(&self.config).any(|r| r == role) {
                let at = d_slots.offset(self.role(k, role));
                commands.push(Command::Zero { at, bytes: self.role_bytes(k) });
            }
        }
    }
}
