//! Initial values of parameters.

use super::Init;
use crate::graph::ParamLayout;
use crate::ops::ParamKind;
use crate::tensor::Real;
use crate::tensor::random::Stream;

/// Fills the flat parameters from `seed`: kernels by `init`, scales 1, shifts 0. Every parameter draws from a
/// stream of its own name, so that its value does not depend on what else there is.
pub fn initialise<T: Real>(layout: &ParamLayout, init: Init, seed: u64, flat: &mut [T]) {
    for param in layout.params() {
        let values = &mut flat[param.range.clone()];
        match param.kind {
            ParamKind::Scale => values.fill(T::ONE),
            ParamKind::Shift => values.fill(T::ZERO),
            ParamKind::Kernel => {
                let (inputs, outputs) = param.fans();
                let limit = match init {
                    Init::Glorot => (6.0 / (inputs + outputs) as f64).sqrt(),
                    Init::Kaiming => (6.0 / outputs as f64).sqrt(),
                };
                let mut stream = Stream::new(&param.name, seed);
                values.fill_with(|| T::from_f64(f64::from(stream.next_in(-limit, limit) as f32)));
            }
        }
    }
}
