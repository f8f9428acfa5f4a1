//! The arguments of every command that computes: where, and in which precision.

use crate::Result;
use crate::device::Device;
use crate::graph::Backend;
use crate::{Error, ops};

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// This machine's processor.
    Cpu,
    /// The first NVIDIA GPU (of those that CUDA_VISIBLE_DEVICES leaves).
    Cuda,
}

/// Arithmetic of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// 32-bit.
    F32,
    /// bfloat16 activations and tensor cores, 32-bit sums, weights and losses; a GPU only.
    Bf16,
}

impl From<Precision> for ops::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// Where and how to compute.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Compute {
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    pub device: Place,
    /// Arithmetic; bf16 needs --device cuda
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
}

impl Compute {
    /// Opens the device.
    ///
    /// # Errors
    /// A device that cannot be used, or bf16 on the CPU.
    pub fn backend(self) -> Result<Backend> {
        match (self.device, self.precision) {
            (Place::Cpu, Precision::F32) => Ok(Backend::Cpu),
            (Place::Cpu, Precision::Bf16) => {
                Err(Error::usage("--precision bf16 needs --device cuda", "use --precision f32, or a GPU"))
            }
            (Place::Cuda, precision) => Ok(Backend::Cuda(Device::open(0)?, precision.into())),
        }
    }
}
