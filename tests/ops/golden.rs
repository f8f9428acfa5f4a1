//! `tests/golden/ops.safetensors`: inputs and results computed by PyTorch in float64, rounded to float32.

use std::path::Path;
use std::sync::LazyLock;

use hdc::tensor::random::Stream;
use hdc::tensor::{Real, layout};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A golden file in memory.
#[derive(Debug)]
struct File {
    tensors: SafeTensors<'static>,
    meta: Value,
}

impl File {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let bytes: &'static [u8] = std::fs::read(path).unwrap().leak();
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        let meta = serde_json::from_str(&header.metadata().as_ref().unwrap()["hdc"]).unwrap();
        Self { tensors: SafeTensors::deserialize(bytes).unwrap(), meta }
    }

    fn cases(&self) -> &Vec<Value> {
        self.meta["cases"].as_array().unwrap()
    }
}

static OPS: LazyLock<File> = LazyLock::new(|| File::open("ops.safetensors"));
static AUGMENT: LazyLock<File> = LazyLock::new(|| File::open("augment.safetensors"));

/// Names of the cases that start with `prefix`.
pub fn cases(prefix: &str) -> Vec<String> {
    let all = OPS.cases().iter();
    all.map(|c| c["case"].as_str().unwrap().to_owned()).filter(|n| n.starts_with(prefix)).collect()
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub meta: &'static Value,
    file: &'static File,
}

/// The case of this name; fails if the file has none.
pub fn case(name: &str) -> Case {
    let meta = OPS.cases().iter().find(|c| c["case"] == name);
    let meta = meta.unwrap_or_else(|| panic!("no golden case {name}"));
    Case { name: name.to_owned(), meta, file: &OPS }
}

/// All cases of the augmentation.
pub fn augment_cases() -> Vec<Case> {
    let case =
        |meta: &'static Value| Case { name: meta["case"].as_str().unwrap().to_owned(), meta, file: &AUGMENT };
    AUGMENT.cases().iter().map(case).collect()
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

    fn view(&self, tensor: &str) -> TensorView<'static> {
        self.file.tensors.tensor(&format!("{}/{tensor}", self.name)).unwrap()
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

    /// Bytes in the file's order.
    pub fn bytes(&self, tensor: &str) -> Vec<u8> {
        let view = self.view(tensor);
        assert_eq!(view.dtype(), Dtype::U8);
        view.data().to_vec()
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
        let case = Case { name: format!("prng/{name}"), meta: &OPS.meta, file: &OPS };
        let mut stream = Stream::new(name, OPS.meta["seed"].as_u64().unwrap());
        for (i, want) in case.values::<f64>("r").into_iter().enumerate() {
            assert_eq!(2.0 * stream.next_unit() - 1.0, want, "{name}[{i}]");
        }
    }
}
