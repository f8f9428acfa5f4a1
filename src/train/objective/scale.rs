//! Both contrasts at one block.

use std::ops::Range;

use crate::Result;
use crate::models::PROJECTION;
use crate::ops::{Gradient, WriteMode, info_nce};
use crate::tensor::Real;
use crate::train::head::Head;

/// Extents and settings of a block.
pub(super) struct Setting {
    pub videos: usize,
    pub slots: usize,
    pub channels: usize,
    pub tau: f64,
    /// Which of the encoded roles is the temporal variant: it follows the anchor and, where that is encoded, the spatial
    /// variant, whether or not this block has a term of it.
    pub temporal_role: usize,
}

/// A term with what it is multiplied by, and buffers for the other role's projections and their gradients.
#[derive(Debug)]
struct Term<T> {
    head: Head,
    loss: info_nce::Problem,
    weight: f64,
    /// Projections of the other role: `(videos, N_k, 128)`, or `(videos, 128)` for temporal contrast.
    other: Vec<T>,
    d_other: Vec<T>,
}

/// One block: its anchor's projections and up to two terms.
#[derive(Debug)]
pub(super) struct Scale<T> {
    slots: usize,
    channels: usize,
    temporal_role: usize,
    anchor_head: Head,
    /// Projections of the anchor's slots, `(videos, N_k, 128)`.
    anchor: Vec<T>,
    d_anchor: Vec<T>,
    spatial: Option<Term<T>>,
    temporal: Option<Term<T>>,
    /// Mean over slots of the anchor's projections, `(videos, 128)`.
    anchor_mean: Vec<T>,
    d_anchor_mean: Vec<T>,
    /// Mean over slots of the temporal variant's vectors, `(videos, C_k)`.
    pooled: Vec<T>,
    d_pooled: Vec<T>,
}

impl<T: Real> Scale<T> {
    /// `heads`: weight and bias of o, s and t in the flat parameters; `spatial` and `temporal`: the weights of
    /// the two terms, `None` where switched off.
    pub fn new(
        s: &Setting,
        heads: &[Range<usize>],
        spatial: Option<f64>,
        temporal: Option<f64>,
    ) -> Result<Self> {
        let head = |rows, i: usize| {
            Head::new([rows, s.channels, PROJECTION], heads[2 * i].clone(), heads[2 * i + 1].clone())
        };
        let term = |weight: Option<f64>, i, slots| {
            weight
                .map(|weight| {
                    let zeros = || vec![T::ZERO; s.videos * slots * PROJECTION];
                    Ok(Term {
                        head: head(s.videos * slots, i)?,
                        loss: info_nce::Problem::new(s.videos, slots, PROJECTION, s.tau)?,
                        weight,
                        other: zeros(),
                        d_other: zeros(),
                    })
                })
                .transpose()
        };
        let zeros = |len: usize| vec![T::ZERO; len];
        let (all, one) = (s.videos * s.slots * PROJECTION, s.videos * PROJECTION);
        Ok(Self {
            slots: s.slots,
            channels: s.channels,
            temporal_role: s.temporal_role,
            anchor_head: head(s.videos * s.slots, 0)?,
            anchor: zeros(all),
            d_anchor: zeros(all),
            spatial: term(spatial, 1, s.slots)?,
            temporal: term(temporal, 2, 1)?,
            anchor_mean: zeros(one),
            d_anchor_mean: zeros(one),
            pooled: zeros(s.videos * s.channels),
            d_pooled: zeros(s.videos * s.channels),
        })
    }

    /// Bytes of scratch that [`Self::evaluate`] wants.
    pub fn workspace_bytes(&self) -> usize {
        let term = |t: &Term<T>| t.head.workspace_bytes::<T>().max(t.loss.workspace_bytes());
        let terms = self.spatial.iter().chain(&self.temporal).map(term).max().unwrap_or(0);
        terms.max(self.anchor_head.workspace_bytes::<T>())
    }

    /// Bytes of its buffers.
    pub fn bytes(&self) -> usize {
        let terms = self.spatial.iter().chain(&self.temporal).map(|t| 2 * t.other.len()).sum::<usize>();
        let own = [&self.anchor, &self.anchor_mean, &self.pooled].map(|b| 2 * b.len());
        (terms + own.iter().sum::<usize>()) * size_of::<T>()
    }

    /// The anchor's slot projections, the spatial variant's, the anchor's clip projections, the temporal
    /// variant's; empty where switched off.
    pub fn projections(&self) -> [&[T]; 4] {
        [
            &self.anchor,
            self.spatial.as_ref().map_or(&[][..], |t| &t.other),
            &self.anchor_mean,
            self.temporal.as_ref().map_or(&[][..], |t| &t.other),
        ]
    }

    /// The two terms, each times `reduction`; writes the gradients of their weighted sum with respect to the
    /// slot vectors `x` (one role after the other) and to this block's heads.
    pub fn evaluate(
        &mut self,
        reduction: f64,
        params: &[T],
        x: &[T],
        dx: &mut [T],
        gradients: &mut [T],
        workspace: &mut [u8],
    ) -> [Option<f64>; 2] {
        if self.spatial.is_none() && self.temporal.is_none() {
            return [None, None];
        }
        let role = self.anchor.len() / PROJECTION * self.channels;
        let (x_anchor, x_rest) = x.split_at(role);
        let (dx_anchor, dx_rest) = dx.split_at_mut(role);
        let others = (self.temporal_role - 1) * role;
        self.anchor_head.project(params, x_anchor, &mut self.anchor, workspace);
        self.d_anchor.fill(T::ZERO);
        let add = WriteMode::Accumulate;
        let overwrite = WriteMode::Overwrite;

        // L_s (eq. 4): each slot against the same slot of every video's spatial variant.
        let spatial = self.spatial.as_mut().map(|term| {
            let (x, dx) = (&x_rest[..role], &mut dx_rest[..role]);
            term.head.project(params, x, &mut term.other, workspace);
            let loss = term.loss.run(info_nce::Io {
                a: &self.anchor,
                b: &term.other,
                scale: term.weight * reduction,
                da: Some(Gradient { data: &mut self.d_anchor, mode: add }),
                db: Some(Gradient { data: &mut term.d_other, mode: overwrite }),
                workspace,
            });
            term.head.differentiate(params, x, &term.d_other, dx, gradients, workspace);
            loss * reduction
        });

        // L_t (eq. 5): whole clips. The heads are linear, so the anchor's clip projection is the mean of its
        // slot projections, which are there already.
        let temporal = self.temporal.as_mut().map(|term| {
            let (x, dx) = (&x_rest[others..][..role], &mut dx_rest[others..][..role]);
            mean_over_slots(&self.anchor, self.slots, PROJECTION, &mut self.anchor_mean);
            mean_over_slots(x, self.slots, self.channels, &mut self.pooled);
            term.head.project(params, &self.pooled, &mut term.other, workspace);
            let loss = term.loss.run(info_nce::Io {
                a: &self.anchor_mean,
                b: &term.other,
                scale: term.weight * reduction,
                da: Some(Gradient { data: &mut self.d_anchor_mean, mode: overwrite }),
                db: Some(Gradient { data: &mut term.d_other, mode: overwrite }),
                workspace,
            });
            spread_over_slots(&self.d_anchor_mean, self.slots, PROJECTION, &mut self.d_anchor, add);
            term.head.differentiate(
                params,
                &self.pooled,
                &term.d_other,
                &mut self.d_pooled,
                gradients,
                workspace,
            );
            spread_over_slots(&self.d_pooled, self.slots, self.channels, dx, overwrite);
            loss * reduction
        });

        self.anchor_head.differentiate(params, x_anchor, &self.d_anchor, dx_anchor, gradients, workspace);
        [spatial, temporal]
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

/// The gradient of [`mean_over_slots`].
fn spread_over_slots<T: Real>(dy: &[T], slots: usize, len: usize, dx: &mut [T], mode: WriteMode) {
    let share = T::ONE / T::from_f64(slots as f64);
    for (dy, dx) in dy.chunks_exact(len).zip(dx.chunks_exact_mut(slots * len)) {
        for dx in dx.chunks_exact_mut(len) {
            if mode == WriteMode::Overwrite {
                dx.fill(T::ZERO);
            }
            dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy * share);
        }
    }
}
