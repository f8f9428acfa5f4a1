//! Training on a CUDA device: everything between u8 windows and updated weights, without the host.

mod criterion;
mod network;
mod plan;
mod staging;
mod step;

pub use network::CudaNetwork;
pub use plan::{CudaBatch, CudaNetworkPlan, Fill};
pub use step::{CudaRun, CudaTrainStep};
