//! Training on a CUDA device: everything between u8 windows and updated weights, without the host.

mod criterion;
mod network;
mod staging;
mod step;

pub use network::{CudaBatch, CudaNetwork, CudaNetworkPlan, Fill};
pub use step::{CudaRun, CudaTrainStep};
