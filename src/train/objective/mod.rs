//! Hierarchically decoupled contrast (HD-NCE), eq. 1-6 of the paper: from slot vectors to the loss and its
//! gradients, for the whole batch at once.

mod config;
mod cuda;
mod scale;

use super::criterion::{Criterion, Losses};
use crate::Result;
use crate::device::require_memory;
use crate::graph::ParamLayout;
use crate::models::{PROJECTION, Role, head_index, head_params};
use crate::tensor::Real;

pub use config::{LossConfig, Reduction};
pub use cuda::{CudaHeads, CudaObjective};
use scale::{Scale, Setting};

/// The loss with every buffer that it needs.
#[derive(Debug)]
pub struct Objective<T> {
    config: LossConfig,
    videos: usize,
    scales: [Scale<T>; 3],
    /// Scratch, in 8-byte words so that it is aligned for every element.
    workspace: Vec<u64>,
    /// The heads' parameters in the flat array.
    heads: std::ops::Range<usize>,
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
        let first = layout.params().len() - head_params(channels).len();
        let heads: Vec<_> = layout.params()[first..].iter().map(|p| p.range.clone()).collect();
        let scale = |k: usize| {
            let temporal_role = 1 + usize::from(config.spatial);
            let setting =
                Setting { videos, slots: slots[k], channels: channels[k], tau: config.tau, temporal_role };
            let weight = |on: bool, w: f64| (on && w != 0.0).then_some(w);
            let spatial = weight(config.spatial, config.alpha[k]);
            let temporal = weight(config.temporal, config.beta[k]);
            Scale::new(&setting, &heads[head_index(k, Role::Anchor)..], spatial, temporal)
        };
        // Allocated while planning, before the memory of the whole step is known.
        let projections = 4 * videos * slots.iter().sum::<usize>() * PROJECTION * size_of::<T>();
        let what = format!("the loss over a batch of {videos}");
        require_memory(&what, projections, "give fewer videos a batch, or clips of fewer frames")?;
        let scales = [scale(0)?, scale(1)?, scale(2)?];
        let workspace =
            scales.iter().map(Scale::workspace_bytes).max().unwrap_or(0).div_ceil(size_of::<u64>());
        let heads = heads[0].start..layout.len();
        Ok(Self { config: config.clone(), videos, scales, workspace: vec![0; workspace], heads })
    }

    /// Projections at block `3 + scale` as the last [`Self::evaluate`] left them: the anchor's slots, the
    /// spatial variant's, `(videos, N_k, 128)`; the anchor's clips, the temporal variant's, `(videos, 128)`.
    pub fn projections(&self, scale: usize) -> [&[T]; 4] {
        self.scales[scale].projections()
    }
}

impl<T: Real> Criterion<T> for Objective<T> {
    /// `slots`: those of blocks 3, 4, 5, each `(clips, N_k, C_k)` with one role after the other. A head that no term uses
    /// gets 0.
    fn evaluate(
        &mut self,
        params: &[T],
        slots: &[Vec<T>],
        d_slots: &mut [Vec<T>],
        gradients: &mut [T],
    ) -> Losses {
        let reduction = match self.config.reduction {
            Reduction::Mean => 1.0 / self.videos as f64,
            Reduction::Sum => 1.0,
        };
        gradients[self.heads.clone()].fill(T::ZERO);
        let workspace = bytemuck::cast_slice_mut(&mut self.workspace);
        let mut losses = Losses::default();
        for (k, ((scale, x), dx)) in self.scales.iter_mut().zip(slots).zip(d_slots).enumerate() {
            dx.fill(T::ZERO);
            let [spatial, temporal] = scale.evaluate(reduction, params, x, dx, gradients, workspace);
            (losses.spatial[k], losses.temporal[k]) = (spatial, temporal);
            losses.total += self.config.alpha[k] * spatial.unwrap_or(0.0);
            losses.total += self.config.beta[k] * temporal.unwrap_or(0.0);
        }
        losses
    }

    fn bytes(&self) -> usize {
        self.scales.iter().map(Scale::bytes).sum::<usize>() + self.workspace.len() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_no_machine_holds_is_refused_before_it_is_allocated() {
        let channels = [1, 1, 1];
        let mut layout = ParamLayout::default();
        layout.extend("heads.", &head_params(channels));
        let objective = |slots| Objective::<f32>::new(&LossConfig::default(), 2, slots, channels, &layout);
        assert!(objective([2, 2, 1]).is_ok());
        let refused = objective([1 << 40, 1, 1]).unwrap_err().to_string();
        for part in ["the loss over a batch of 2 needs", "fewer frames"] {
            assert!(refused.contains(part), "{part} in {refused}");
        }
    }
}
