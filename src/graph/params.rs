//! Where each parameter lives in one flat array; gradients and momentum use the same places.

use std::ops::Range;

use crate::ops::{ParamKind, ParamSpec};
use crate::tensor::layout::{channels_first, channels_last};
use crate::tensor::{NamedTensor, Real, Shape};
use crate::{Error, Result};

/// Parameters start at multiples of this many elements, a cache line of `f32`.
const ALIGNMENT: usize = 16;

/// One parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name in checkpoints: `backbone.conv1.weight`.
    pub name: String,
    /// What it is for.
    pub kind: ParamKind,
    /// Extents in the engine: `(K, T, R, S, C)` for a filter.
    pub shape: Shape,
    /// Its elements in the flat array.
    pub range: Range<usize>,
}

impl Param {
    /// Channels and positions of a filter, whose layout in files (`OIDHW`) differs from the engine's.
    fn filter(&self) -> Option<(usize, usize)> {
        match *self.shape.dims() {
            [_, t, r, s, c] => Some((c, t * r * s)),
            _ => None,
        }
    }

    /// Values in the engine's order put into that of files.
    pub fn to_file_order<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let mut first = values.to_vec();
        if let Some((channels, positions)) = self.filter() {
            channels_first(values, channels, positions, &mut first);
        }
        first
    }

    /// Extents in files: `OIDHW` for a filter, otherwise the engine's.
    pub fn file_shape(&self) -> Vec<usize> {
        match *self.shape.dims() {
            [k, t, r, s, c] => vec![k, c, t, r, s],
            _ => self.shape.dims().to_vec(),
        }
    }

    /// Inputs and outputs of a kernel, as initialisation counts them: channels times filter positions.
    pub fn fans(&self) -> (usize, usize) {
        match *self.shape.dims() {
            [k, t, r, s, c] => (t * r * s * c, t * r * s * k),
            [outputs, inputs] => (inputs, outputs),
            _ => (0, 0),
        }
    }
}

/// All parameters of a model.
#[derive(Clone, Debug, Default)]
pub struct ParamLayout {
    params: Vec<Param>,
    len: usize,
}

impl ParamLayout {
    /// Appends parameters, their names behind `prefix`.
    pub fn extend(&mut self, prefix: &str, params: &[(String, ParamSpec)]) {
        for (name, spec) in params {
            let start = self.len;
            let range = start..start + spec.shape.numel();
            self.len = range.end.next_multiple_of(ALIGNMENT);
            self.params.push(Param {
                name: format!("{prefix}{name}"),
                kind: spec.kind,
                shape: spec.shape.clone(),
                range,
            });
        }
    }

    /// The parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Elements of the flat array.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No parameters.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Elements without the gaps between parameters.
    pub fn numel(&self) -> usize {
        self.params.iter().map(|p| p.range.len()).sum()
    }

    /// A copy of every parameter in the layout of files.
    pub fn export<T: Real>(&self, flat: &[T]) -> Vec<NamedTensor> {
        self.params
            .iter()
            .map(|p| {
                let values: Vec<f32> = flat[p.range.clone()].iter().map(|v| v.to_f64() as f32).collect();
                let data = p.to_file_order(&values);
                NamedTensor { name: p.name.clone(), shape: p.file_shape(), data }
            })
            .collect()
    }

    /// Copies tensors in the layout of files to their places.
    ///
    /// # Errors
    /// All names that are missing or unknown and all extents that differ, at once; then nothing was copied.
    pub fn import<T: Real>(&self, tensors: &[NamedTensor], flat: &mut [T]) -> Result<()> {
        let mut faults = Vec::new();
        for p in &self.params {
            match tensors.iter().find(|t| t.name == p.name) {
                None => faults.push(format!("{} is missing", p.name)),
                Some(t) if t.shape != p.file_shape() => {
                    faults.push(format!("{} is {:?}, expected {:?}", p.name, t.shape, p.file_shape()));
                }
                Some(_) => {}
            }
        }
        for t in tensors.iter().filter(|t| self.params.iter().all(|p| p.name != t.name)) {
            faults.push(format!("{} is not of this network", t.name));
        }
        if !faults.is_empty() {
            let shown = faults.iter().take(8).map(|f| format!("\n  - {f}")).collect::<String>();
            let more = faults.len().saturating_sub(8);
            let rest = if more > 0 { format!("\n  - and {more} more") } else { String::new() };
            return Err(Error::usage(
                format!("the weights do not fit the network:{shown}{rest}"),
                "use the backbone and width that the weights were trained with",
            ));
        }
        for p in &self.params {
            let tensor = tensors.iter().find(|t| t.name == p.name).expect("checked above");
            let mut values = tensor.data.clone();
            if let Some((channels, positions)) = p.filter() {
                channels_last(&tensor.data, channels, positions, &mut values);
            }
            for (to, from) in flat[p.range.clone()].iter_mut().zip(values) {
                *to = T::from_f64(f64::from(from));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> ParamLayout {
        let spec = |name, shape: &[usize]| {
            (
                String::from(name),
                ParamSpec { name: "weight", shape: Shape::new(shape), kind: ParamKind::Kernel },
            )
        };
        let mut layout = ParamLayout::default();
        layout.extend("backbone.", &[spec("conv.weight", &[2, 1, 2, 2, 3]), spec("norm.weight", &[5])]);
        layout
    }

    #[test]
    fn export_and_import_are_inverse() {
        let layout = layout();
        let flat: Vec<f32> = (0..layout.len()).map(|v| v as f32).collect();
        let tensors = layout.export(&flat);
        assert_eq!(tensors[0].shape, [2, 3, 1, 2, 2]);
        assert_eq!(tensors[0].data[..4], [0.0, 3.0, 6.0, 9.0], "the first channel's four positions");
        let mut back = vec![0.0_f32; layout.len()];
        layout.import(&tensors, &mut back).unwrap();
        assert_eq!(layout.export(&back), tensors);
    }

    #[test]
    fn every_misfit_is_named_and_nothing_is_copied() {
        let layout = layout();
        let mut tensors = layout.export(&vec![1.0_f32; layout.len()]);
        tensors[0].shape[0] = 7;
        tensors[1].name = "backbone.norm.gain".into();
        let mut flat = vec![0.0_f32; layout.len()];
        let message = layout.import(&tensors, &mut flat).unwrap_err().to_string();
        for part in ["conv.weight is [7", "norm.weight is missing", "norm.gain is not of this network"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(flat.iter().all(|&v| v == 0.0));
    }
}
