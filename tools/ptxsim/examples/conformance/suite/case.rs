//! What a conformance case is: a kernel, its inputs, and what its outputs may be.

use std::fmt;

use super::exact::{Format, Number};
use super::map::Map;

/// Compute capability that a case's kernel needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Ampere and later.
    Sm80,
    /// Hopper and later: forward compatible parts of it.
    Sm90,
    /// Hopper alone, with its accelerated features.
    Sm90a,
}

impl Target {
    /// As in PTX's `.target`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Sm80 => "sm_80",
            Target::Sm90 => "sm_90",
            Target::Sm90a => "sm_90a",
        }
    }

    /// Whether a device of this compute capability runs the kernel.
    pub fn runs_on(self, capability: (i32, i32)) -> bool {
        match self {
            Target::Sm80 => capability >= (8, 0),
            Target::Sm90 => capability >= (9, 0),
            Target::Sm90a => capability == (9, 0),
        }
    }
}

/// How the outputs of two machines are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agreement {
    /// The same bytes, in elements of so many.
    Bits(usize),
    /// The same bytes, except that any NaN of the format stands for every other: PTX leaves payloads open.
    Numbers(Format),
    /// `|x - y| <= relative * |y| + absolute`, NaN for NaN: the error that the PTX ISA documents.
    Within {
        /// Format of the elements.
        format: Format,
        /// Share of the second value.
        relative: f64,
        /// In the value's unit.
        absolute: f64,
    },
}

impl Agreement {
    /// Bytes of an element.
    pub fn element(self) -> usize {
        match self {
            Agreement::Bits(bytes) => bytes,
            Agreement::Numbers(format) | Agreement::Within { format, .. } => format.bytes(),
        }
    }

    /// Whether a digest of the outputs decides.
    pub fn is_exact(self) -> bool {
        !matches!(self, Agreement::Within { .. })
    }

    /// The output with each NaN replaced by the canonical one, where the case leaves payloads open.
    pub fn normalised(self, mut output: Vec<u8>) -> Vec<u8> {
        if let Agreement::Numbers(format) | Agreement::Within { format, .. } = self {
            for element in output.chunks_exact_mut(format.bytes()) {
                if Number::decode(word(element), format) == Number::Nan {
                    element.copy_from_slice(&format.nan().to_le_bytes()[..format.bytes()]);
                }
            }
        }
        output
    }

    /// The elements in which `ours` departs from `theirs`.
    pub fn differences(self, ours: &[u8], theirs: &[u8]) -> Vec<Difference> {
        let size = self.element();
        if ours.len() != theirs.len() {
            return vec![Difference { index: 0, ours: ours.len() as u64, theirs: theirs.len() as u64 }];
        }
        let pairs = ours.chunks(size).zip(theirs.chunks(size)).map(|(a, b)| (word(a), word(b)));
        pairs
            .enumerate()
            .filter(|(_, (a, b))| !self.agree(*a, *b))
            .map(|(index, (ours, theirs))| Difference { index, ours, theirs })
            .collect()
    }

    fn agree(self, ours: u64, theirs: u64) -> bool {
        match self {
            Agreement::Bits(_) => ours == theirs,
            Agreement::Numbers(format) => {
                let nan = |bits| Number::decode(bits, format) == Number::Nan;
                ours == theirs || nan(ours) && nan(theirs)
            }
            Agreement::Within { format, relative, absolute } => {
                let (a, b) = (format.to_f64(ours), format.to_f64(theirs));
                a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= relative * b.abs() + absolute
            }
        }
    }
}

/// An element in which two outputs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which element.
    pub index: usize,
    /// Its bits in the first output.
    pub ours: u64,
    /// Its bits in the second.
    pub theirs: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "element {}: {:#x} for {:#x}", self.index, self.ours, self.theirs)
    }
}

/// Little-endian value of up to 8 bytes.
pub fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Computes the output, independently of any simulator, from the inputs and the output's first contents.
pub type Reference = Box<dyn Fn(&[Vec<u8>], &[u8]) -> Vec<u8> + Send + Sync>;

/// A kernel with its inputs.
///
/// The kernel is the entry `kernel`; its parameters are the device addresses of the inputs, then of the
/// output, then the tensor maps by value.
pub struct Case {
    /// `family/…`.
    pub name: String,
    /// What it needs.
    pub target: Target,
    /// The whole module.
    pub ptx: String,
    /// CTAs: x, y, z.
    pub grid: [u32; 3],
    /// Threads a CTA: x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory a CTA, bytes.
    pub dynamic_shared: u32,
    /// Contents of the input buffers.
    pub inputs: Vec<Vec<u8>>,
    /// Tensor maps over them or over the output.
    pub maps: Vec<Map>,
    /// First contents of the output buffer.
    pub output: Vec<u8>,
    /// How outputs are compared.
    pub agreement: Agreement,
    /// The truth, where it can be had without a GPU.
    pub reference: Option<Reference>,
    /// The PTX ISA does not say what the hardware does: only a GPU's record counts.
    pub unknown: bool,
}

impl Case {
    /// A case of one CTA that compares bits.
    pub fn new(name: impl Into<String>, target: Target, block: u32) -> Case {
        Case {
            name: name.into(),
            target,
            ptx: String::new(),
            grid: [1; 3],
            block: [block, 1, 1],
            dynamic_shared: 0,
            inputs: Vec::new(),
            maps: Vec::new(),
            output: Vec::new(),
            agreement: Agreement::Bits(4),
            reference: None,
            unknown: false,
        }
    }

    /// Adds an input buffer of 32-bit words.
    pub fn words(self, words: impl IntoIterator<Item = u32>) -> Case {
        self.bytes(words.into_iter().flat_map(u32::to_le_bytes).collect())
    }

    /// Adds an input buffer.
    pub fn bytes(mut self, bytes: Vec<u8>) -> Case {
        self.inputs.push(bytes);
        self
    }

    /// Gives the output's size, filled with a byte that a kernel hardly writes by chance.
    pub fn writes(mut self, bytes: usize) -> Case {
        self.output = vec![0xc5; bytes];
        self
    }

    /// Gives the kernel's statements; called last, as the parameters follow from the inputs and maps.
    pub fn body(mut self, body: &str) -> Case {
        self.ptx = super::ptx::module(self.target, self.inputs.len(), self.maps.len(), body);
        self
    }

    /// Gives the independent truth.
    pub fn expects(
        mut self,
        reference: impl Fn(&[Vec<u8>], &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Case {
        self.reference = Some(Box::new(reference));
        self
    }

    /// Gives the independent truth as 32-bit words, from the first input as words.
    pub fn expects_words(self, reference: impl Fn(&[u32]) -> Vec<u32> + Send + Sync + 'static) -> Case {
        self.expects(move |inputs, _| {
            let words: Vec<u32> = inputs
                .first()
                .map(|i| i.chunks_exact(4).map(|c| word(c) as u32).collect())
                .unwrap_or_default();
            reference(&words).into_iter().flat_map(u32::to_le_bytes).collect()
        })
    }

    /// Sets how outputs are compared.
    pub fn agreeing(mut self, agreement: Agreement) -> Case {
        self.agreement = agreement;
        self
    }
}
