//! Runs the forward pass of a graph on a CUDA device, for evaluation: clips in, values out, waiting for both.

use std::sync::Arc;

use super::cuda_tensor::{from_device, to_device};
use super::{CUDA_ALIGNMENT, CudaLayout, CudaParams, CudaProgram, Graph, ParamLayout};
use crate::Result;
use crate::device::{Address, Command, Device, Memory, Stream};
use crate::ops::{Precision, pitch};

/// A graph with its memory on a device.
#[derive(Debug)]
pub struct CudaExecutor {
    program: CudaProgram,
    precision: Precision,
    layout: CudaLayout,
    memory: Memory,
    stream: Stream,
    commands: Vec<Command>,
    /// Offset of the arena in the memory, behind masters and copies.
    arena: usize,
    input: Vec<f32>,
    outputs: Vec<Vec<f32>>,
}

impl CudaExecutor {
    /// Allocates what `graph` needs. Its parameters are the first ones of `layout`, and are zero.
    ///
    /// # Errors
    /// A device that has not as much memory, or fails.
    pub fn new(
        device: &Arc<Device>,
        graph: Graph<f32>,
        layout: &ParamLayout,
        precision: Precision,
    ) -> Result<Self> {
        let program = CudaProgram::new(graph, precision, false);
        let layout = CudaLayout::new(layout);
        let masters = (layout.len() * size_of::<f32>()).next_multiple_of(CUDA_ALIGNMENT);
        let copies = (layout.len() * precision.size()).next_multiple_of(CUDA_ALIGNMENT);
        let arena = masters + copies;
        let memory = Memory::new(device, "encoding clips", arena + program.plan().peak())?;
        let base = memory.address();
        let params = CudaParams::new(layout.clone(), base, Address::NULL, base.offset(masters));
        let params = match precision {
            Precision::F32 => CudaParams::new(layout.clone(), base, Address::NULL, Address::NULL),
            Precision::Bf16 => params,
        };
        let mut commands = Vec::new();
        program.forward(base.offset(arena), &params, &mut commands);
        device.prepare(&commands)?;
        let numel = |node: super::NodeId| program.graph().node(node).shape.numel();
        let input = vec![0.0; program.graph().nodes()[0].shape.numel()];
        let outputs = program.graph().outputs().iter().map(|&o| vec![0.0; numel(o)]).collect();
        let executor = Self {
            stream: Stream::new(device)?,
            program,
            precision,
            layout,
            memory,
            commands,
            arena,
            input,
            outputs,
        };
        executor.set_params(&vec![0.0; executor.layout.host_len()])?;
        Ok(executor)
    }

    /// The graph.
    pub fn graph(&self) -> &Graph<f32> {
        self.program.graph()
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Takes over the flat parameters of the host.
    ///
    /// # Errors
    /// A device that fails.
    pub fn set_params(&self, params: &[f32]) -> Result<()> {
        let packed = self.layout.pack(params);
        self.memory.upload(0, &packed)?;
        if self.precision == Precision::Bf16 {
            let at = (packed.len() * size_of::<f32>()).next_multiple_of(CUDA_ALIGNMENT);
            self.memory.upload(at, &to_device(&packed, 8, Precision::Bf16))?;
        }
        Ok(())
    }

    /// The input, to be filled before [`Self::forward`].
    pub fn input_mut(&mut self) -> &mut [f32] {
        &mut self.input
    }

    /// Output `i`, as of the last [`Self::forward`].
    pub fn output(&self, i: usize) -> &[f32] {
        &self.outputs[i]
    }

    /// Computes the outputs from the input.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward(&mut self) -> Result<()> {
        let channels = |node: &super::Node<f32>| *node.shape.dims().last().expect("values have channels");
        let nodes = self.program.graph().nodes();
        let base = Address::new(self.arena as u64); // offsets in the memory
        let at = self.program.input(base).value() as usize;
        self.memory.upload(at, &to_device(&self.input, channels(&nodes[0]), self.precision))?;
        self.memory.device().enqueue(&self.stream, &self.commands)?;
        self.stream.synchronise()?;
        for (i, (&node, output)) in self.program.graph().outputs().iter().zip(&mut self.outputs).enumerate() {
            let (at, bytes) = self.program.output(base, i);
            let channels = channels(self.program.graph().node(node));
            let mut stored = vec![0u8; bytes];
            self.memory.download(at.value() as usize, &mut stored)?;
            // Pooled vectors are f32 in both precisions.
            let wide = bytes == output.len() / channels * pitch(channels) * size_of::<f32>();
            let precision = if wide { Precision::F32 } else { Precision::Bf16 };
            from_device(&stored, channels, precision, output);
        }
        Ok(())
    }
}
