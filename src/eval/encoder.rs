//! A backbone that only looks, on whichever device.

use super::Weights;
use crate::Result;
use crate::device::require_memory;
use crate::graph::{Backend, CudaExecutor, Executor, Graph, MemoryPlan};

/// A backbone with its weights and every buffer that it needs.
#[derive(Debug)]
pub(super) enum Encoder {
    Cpu { executor: Executor<f32>, params: Vec<f32> },
    Cuda(CudaExecutor),
}

impl Encoder {
    /// Allocates what `graph` needs.
    ///
    /// # Errors
    /// Too little memory, or a device that fails.
    pub fn new(backend: &Backend, graph: Graph<f32>, weights: &Weights) -> Result<Self> {
        match backend {
            Backend::Cpu => {
                let clips = graph.nodes()[0].shape.dims()[0];
                require_memory(
                    &format!("encoding {clips} clips at a time"),
                    MemoryPlan::new(&graph, false).peak(),
                    "lower --chunk, or use smaller clips",
                )?;
                let executor = Executor::new(graph, &weights.layout, false);
                Ok(Self::Cpu { executor, params: weights.params.clone() })
            }
            Backend::Cuda(device, precision) => {
                let executor = CudaExecutor::new(device, graph, &weights.layout, *precision)?;
                executor.set_params(&weights.params)?;
                Ok(Self::Cuda(executor))
            }
        }
    }

    /// Bytes of buffers and parameters.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Cpu { executor, params } => executor.plan().peak() + size_of_val(&params[..]),
            Self::Cuda(executor) => executor.bytes(),
        }
    }

    /// The clips, to be filled before [`Self::forward`].
    pub fn input_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Cpu { executor, .. } => executor.input_mut(),
            Self::Cuda(executor) => executor.input_mut(),
        }
    }

    /// Encodes the clips.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward(&mut self) -> Result<()> {
        match self {
            Self::Cpu { executor, params } => executor.forward(params),
            Self::Cuda(executor) => executor.forward()?,
        }
        Ok(())
    }

    /// Output `i`, as of the last [`Self::forward`].
    pub fn output(&self, i: usize) -> &[f32] {
        match self {
            Self::Cpu { executor, .. } => executor.output(i),
            Self::Cuda(executor) => executor.output(i),
        }
    }
}
