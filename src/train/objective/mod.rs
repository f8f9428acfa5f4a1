//! Hierarchically decoupled contrast (HD-NCE), eq. 1-6 of the paper: from slot vectors to the loss and its
//! gradients, for the whole batch at once.

mod config;

use std::ops::Range;

use crate::Result;
use crate::graph::{ParamLayout, Param};
use crate::models::{PROJECTION, Role, head_index, head_params};
use crate::ops::{WriteMode, info_nce, linear};
use crate::tensor::Real;

pub use config::{LossConfig, Reduction};

/// The terms of a step, each averaged or summed over the videos as configured, before its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Spatial contrast L_s at blocks 3, 4, 5; `None` where switched off.
    pub spatial: [Option<f64>; 3],
    /// Temporal contrast L_t at blocks 3, 4, 5; `None` where switched off.
    pub temporal: [Option<f64>; 3],
    /// Σ α·L_s + β·L_t.
    pub total: f64,
}

/// Slot vectors of a batch, or their gradients: one role after the other, each `(videos, N_k, C_k)`.
pub type Slots<'a, T> = [&'a mut [T]; 3];

/// One scale: its extents, and buffers for projections and their gradients.
#[derive(Debug)]
struct Scale<T> {
    slots: usize,
    channels: usize,
    /// Weights of the two terms; `None` where switched off.
    spatial: Option<f64>,
    temporal: Option<f64>,
    /// Projections of the anchor's slots, `(videos, N_k, 128)`.
    anchor: Vec<T>,
    /// Projections of the spatial variant's slots.
    variant: Vec<T>,
    /// Mean over slots of the anchor's projections, `(videos, 128)`.
    anchor_mean: Vec<T>,
    /// The temporal variant's slot vectors averaged over slots, `(videos, C_k)`, and their projections.
    pooled: Vec<T>,
    temporal_variant: Vec<T>,
    d_anchor: Vec<T>,
    d_variant: Vec<T>,
    d_anchor_mean: Vec<T>,
    d_temporal_variant: Vec<T>,
    d_pooled: Vec<T>,
}

/// The loss with every buffer that it needs.
#[derive(Debug)]
pub struct Objective<T> {
    videos: usize,
    config: LossConfig,
    scales: [Scale<T>; 3],
    workspace: Vec<T>,
    /// The heads' parameters in the flat array, as [`head_params`] orders them.
    heads: Vec<Range<usize>>,
}

/// The roles that a configuration encodes, in the order of a batch.
pub fn roles(config: &LossConfig) -> impl Iterator<Item = Role> + '_ {
    Role::ALL.into_iter().filter(|role| match role {
        Role::Anchor => true,
        Role::Spatial => config.spatial,
        Role::Temporal => config.temporal,
    })
}

impl<T: Real> Objective<T> {
    /// Allocates for `videos` videos and blocks of these time slots and channels. The heads are the last
    /// parameters of `layout`.
    ///
    /// # Errors
    /// Extents that the loss cannot take.
    pub fn new(
        config: &LossConfig,
        videos: usize,
        slots: [usize; 3],
        channels: [usize; 3],
        layout: &ParamLayout,
    ) -> Result<Self> {
        let zeros = |len: usize| vec![T::ZERO; len];
        let mut workspace = 0;
        for slots in slots.into_iter().chain([1]) {
            let problem = info_nce::Problem::new(videos, slots, PROJECTION, config.tau)?;
            workspace = workspace.max(info_nce::workspace_len(&problem));
        }
        let scales = [0, 1, 2].map(|k| {
            let (slots, channels) = (slots[k], channels[k]);
            let weight = |on: bool, w: f64| (on && w != 0.0).then_some(w);
            let (all, one) = (videos * slots * PROJECTION, videos * PROJECTION);
            Scale {
                slots,
                channels,
                spatial: weight(config.spatial, config.alpha[k]),
                temporal: weight(config.temporal, config.beta[k]),
                anchor: zeros(all),
                variant: zeros(all),
                anchor_mean: zeros(one),
                pooled: zeros(videos * channels),
                temporal_variant: zeros(one),
                d_anchor: zeros(all),
                d_variant: zeros(all),
                d_anchor_mean: zeros(one),
                d_temporal_variant: zeros(one),
                d_pooled: zeros(videos * channels),
            }
        });
        let count = head_params(channels).len();
        let heads = layout.params()[layout.params().len() - count..].iter().map(|p: &Param| p.range.clone());
        Ok(Self { videos, config: config.clone(), scales, workspace: zeros(workspace), heads: heads.collect() })
    }

    /// Bytes of its buffers.
    pub fn bytes(&self) -> usize {
        let scale = |s: &Scale<T>| {
            [
                &s.anchor,
                &s.variant,
                &s.anchor_mean,
                &s.pooled,
                &s.temporal_variant,
                &s.d_anchor,
                &s.d_variant,
                &s.d_anchor_mean,
                &s.d_temporal_variant,
                &s.d_pooled,
            ]
            .map(|b| b.len())
            .iter()
            .sum::<usize>()
        };
        (self.scales.iter().map(scale).sum::<usize>() + self.workspace.len()) * size_of::<T>()
    }

    /// The anchor's slot projections, the spatial variant's, the anchor's clip projections and the temporal
    /// variant's at block `3 + scale`, as the last [`Self::evaluate`] left them.
    pub fn projections(&self, scale: usize) -> [&[T]; 4] {
        let s = &self.scales[scale];
        [&s.anchor, &s.variant, &s.anchor_mean, &s.temporal_variant]
    }

    /// The loss of the batch's slot vectors; writes its gradients with respect to them and to the heads.
    pub fn evaluate(
        &mut self,
        params: &[T],
        slots: [&[T]; 3],
        mut d_slots: Slots<'_, T>,
        gradients: &mut [T],
    ) -> Result<Losses> {
        let mut losses = Losses::default();
        let reduction = match self.config.reduction {
            Reduction::Mean => 1.0 / self.videos as f64,
            Reduction::Sum => 1.0,
        };
        let temporal_role = if self.config.spatial { 2 } else { 1 };
        for (k, scale) in self.scales.iter_mut().enumerate() {
            let pass = Pass {
                videos: self.videos,
                tau: self.config.tau,
                reduction,
                params,
                heads: &self.heads[head_index(k, Role::Anchor)..],
            };
            let (x, dx) = (slots[k], &mut *d_slots[k]);
            let role = self.videos * scale.slots * scale.channels;
            dx.fill(T::ZERO);
            for head in pass.heads.iter().take(6) {
                gradients[head.clone()].fill(T::ZERO);
            }
            if scale.spatial.is_none() && scale.temporal.is_none() {
                continue;
            }
            pass.project(Role::Anchor, &x[..role], scale.channels, &mut scale.anchor)?;
            scale.d_anchor.fill(T::ZERO);
            if let Some(weight) = scale.spatial {
                let term = pass.spatial(scale, weight, &x[role..2 * role], &mut dx[role..2 * role], gradients, &mut self.workspace)?;
                losses.spatial[k] = Some(term);
                losses.total += weight * term;
            }
            if let Some(weight) = scale.temporal {
                let range = temporal_role * role..(temporal_role + 1) * role;
                let term = pass.temporal(scale, weight, &x[range.clone()], &mut dx[range], gradients, &mut self.workspace)?;
                losses.temporal[k] = Some(term);
                losses.total += weight * term;
            }
            pass.differentiate(Role::Anchor, &x[..role], &scale.d_anchor, scale.channels, &mut dx[..role], gradients)?;
        }
        Ok(losses)
    }
}

/// What all parts of one scale share.
struct Pass<'a, T> {
    videos: usize,
    tau: f64,
    reduction: f64,
    params: &'a [T],
    /// Weight and bias of o, s and t at this scale.
    heads: &'a [Range<usize>],
}

impl<T: Real> Pass<'_, T> {
    fn head(&self, role: Role) -> [Range<usize>; 2] {
        let i = 2 * role as usize;
        [self.heads[i].clone(), self.heads[i + 1].clone()]
    }

    /// `y = x·Wᵀ + b` for rows of `channels`.
    fn project(&self, role: Role, x: &[T], channels: usize, y: &mut [T]) -> Result<()> {
        let [w, b] = self.head(role);
        let problem = linear::Problem::new(x.len() / channels, channels, PROJECTION)?;
        linear::forward(&problem, x, &self.params[w], &self.params[b], y);
        Ok(())
    }

    /// Gradients of a projection: with respect to its input, its weight and its bias.
    fn differentiate(&self, role: Role, x: &[T], dy: &[T], channels: usize, dx: &mut [T], gradients: &mut [T]) -> Result<()> {
        let [w, b] = self.head(role);
        let problem = linear::Problem::new(x.len() / channels, channels, PROJECTION)?;
        linear::dgrad(&problem, dy, &self.params[w.clone()], dx, WriteMode::Overwrite);
        linear::wgrad(&problem, x, dy, &mut gradients[w], WriteMode::Overwrite);
        linear::bias_grad(&problem, dy, &mut gradients[b], WriteMode::Overwrite);
        Ok(())
    }

    /// L_s (eq. 4): each slot against the same slot of every video's spatial variant.
    fn spatial(&self, s: &mut Scale<T>, weight: f64, x: &[T], dx: &mut [T], gradients: &mut [T], workspace: &mut [T]) -> Result<f64> {
        self.project(Role::Spatial, x, s.channels, &mut s.variant)?;
        let problem = info_nce::Problem::new(self.videos, s.slots, PROJECTION, self.tau)?;
        let loss = info_nce::forward_backward(
            &problem,
            &s.anchor,
            &s.variant,
            T::from_f64(weight * self.reduction),
            &mut s.d_anchor,
            &mut s.d_variant,
            WriteMode::Accumulate,
            WriteMode::Overwrite,
            workspace,
        );
        self.differentiate(Role::Spatial, x, &s.d_variant, s.channels, dx, gradients)?;
        Ok(loss * self.reduction)
    }

    /// L_t (eq. 5): whole clips. The heads are linear, so the anchor's clip projection is the mean of its slot
    /// projections, which are there already.
    fn temporal(&self, s: &mut Scale<T>, weight: f64, x: &[T], dx: &mut [T], gradients: &mut [T], workspace: &mut [T]) -> Result<f64> {
        mean_over_slots(&s.anchor, s.slots, PROJECTION, &mut s.anchor_mean);
        mean_over_slots(x, s.slots, s.channels, &mut s.pooled);
        self.project(Role::Temporal, &s.pooled, s.channels, &mut s.temporal_variant)?;
        let problem = info_nce::Problem::new(self.videos, 1, PROJECTION, self.tau)?;
        let loss = info_nce::forward_backward(
            &problem,
            &s.anchor_mean,
            &s.temporal_variant,
            T::from_f64(weight * self.reduction),
            &mut s.d_anchor_mean,
            &mut s.d_temporal_variant,
            WriteMode::Overwrite,
            WriteMode::Overwrite,
            workspace,
        );
        add_to_slots(&s.d_anchor_mean, s.slots, PROJECTION, &mut s.d_anchor);
        self.differentiate(Role::Temporal, &s.pooled, &s.d_temporal_variant, s.channels, &mut s.d_pooled, gradients)?;
        add_to_slots(&s.d_pooled, s.slots, s.channels, dx);
        Ok(loss * self.reduction)
    }
}

/// `y[b] = mean_n x[b, n]` for vectors of `len`.
fn mean_over_slots<T: Real>(x: &[T], slots: usize, len: usize, y: &mut [T]) {
    let share = T::ONE / T::from_f64(slots as f64);
    for (x, y) in x.chunks_exact(slots * len).zip(y.chunks_exact_mut(len)) {
        y.copy_from_slice(&x[..len]);
        for x in x.chunks_exact(len).skip(1) {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
        }
        y.iter_mut().for_each(|y| *y *= share);
    }
}

/// The gradient of [`mean_over_slots`], added to `dx`.
fn add_to_slots<T: Real>(dy: &[T], slots: usize, len: usize, dx: &mut [T]) {
    let share = T::ONE / T::from_f64(slots as f64);
    for (dy, dx) in dy.chunks_exact(len).zip(dx.chunks_exact_mut(slots * len)) {
        for dx in dx.chunks_exact_mut(len) {
            dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy * share);
        }
    }
}
