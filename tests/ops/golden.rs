//! `tests/golden/ops.safetensors`: inputs and results computed by PyTorch in float64, rounded to float32.

use std::sync::LazyLock;

use hdc::tensor::random::Stream;
use hdc::tensor::{Real, layout};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ops.safetensors")).unwrap()
});
static FILE: LazyLock<SafeTensors<'static>> = LazyLock::new(|| SafeTensors::deserialize(&BYTES).unwrap());
static META: LazyLock<Value> = LazyLock::new(|| {
    let (_, header) = SafeTensors::read_metadata(&BYTES).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["hdc"]).unwrap()
});

/// Names of the cases that start with `prefix`.
pub fn cases(prefix: &str) -> Vec<String> {
    let all = META["cases"].as_array().unwrap().iter();
    all.map(|c| c["case"].as_str().unwrap().to_owned()).filter(|n| n.starts_with(prefix)).collect()
}

/// One case.
#[derive(Debug)]
pub struct Case {
    name: String,
    meta: &'static Value,
}

/// The case of this name; fails if the file has none.
pub fn case(name: &str) -> Case {
    let meta = META["cases"].as_array().unwrap().iter().find(|c| c["case"] == name);
    Case { name: name.to_owned(), meta: meta.unwrap_or_else(|| panic!("no golden case {name}")) }
}

impl Case {
    /// A setting of the case: `eps`, `tau`.
    pub fn number(&self, key: &str) -> f64 {
        self.meta[key].as_f64().unwrap_or_else(|| panic!("{} has no number {key}", self.name))
    }

    /// A setting with one value an axis: `stride`, `pad`, `kernel`.
    pub fn triple(&self, key: &str) -> [usize; 3] {
        std::array::from_fn(|i| self.meta[key][i].as_u64().unwrap() as usize)
    }

    fn view(&self, tensor: &str) -> safetensors::tensor::TensorView<'static> {
        FILE.tensor(&format!("{}/{tensor}", self.name)).unwrap()
    }

    /// Extents as PyTorch has them.
    pub fn shape(&self, tensor: &str) -> Vec<usize> {
        self.view(tensor).shape().to_vec()
    }

    /// Extents with the second axis moved last: `(N, C, …)` becomes `(N, …, C)`.
    pub fn shape_last(&self, tensor: &str) -> Vec<usize> {
        let mut shape = self.shape(tensor);
        let channels = shape.remove(1);
        shape.push(channels);
        shape
    }

    /// The elements in the file's order.
    pub fn values<T: Real>(&self, tensor: &str) -> Vec<T> {
        let view = self.view(tensor);
        assert_eq!(view.dtype(), Dtype::F32);
        let words = view.data().chunks_exact(4);
        words.map(|b| T::from_f64(f64::from(f32::from_le_bytes(b.try_into().unwrap())))).collect()
    }

    /// The elements with the second axis moved last.
    pub fn values_last<T: Real>(&self, tensor: &str) -> Vec<T> {
        channels_last(&self.shape(tensor), &self.values(tensor))
    }

    /// Integers with the second axis moved last.
    pub fn ints_last(&self, tensor: &str) -> Vec<i32> {
        let view = self.view(tensor);
        assert_eq!(view.dtype(), Dtype::I32);
        let words = view.data().chunks_exact(4);
        let values: Vec<i32> = words.map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect();
        channels_last(view.shape(), &values)
    }
}

fn channels_last<T: Copy>(shape: &[usize], values: &[T]) -> Vec<T> {
    let mut out = values.to_vec();
    layout::channels_last(values, shape[1], shape[2..].iter().product(), &mut out);
    out
}

#[test]
fn random_streams_are_those_of_the_reference() {
    for name in ["backbone.conv1.weight", "heads.o3.bias", "x"] {
        let case = Case { name: format!("prng/{name}"), meta: &META };
        let mut stream = Stream::new(name, META["seed"].as_u64().unwrap());
        for (i, want) in case.values::<f64>("r").into_iter().enumerate() {
            assert_eq!(2.0 * stream.next_unit() - 1.0, want, "{name}[{i}]");
        }
    }
}
