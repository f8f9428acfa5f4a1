//! Launches.

use super::Problem;
use crate::device::Command;
use crate::ops::{BackwardReads, CudaBackward, CudaForward, CudaOp, Precision};

#[derive(Debug)]
pub(super) struct Plan;

impl Plan {
    pub fn new(_op: &Problem, _precision: Precision) -> Self {
        todo!()
    }
}

impl CudaOp for Plan {
    fn output_bytes(&self) -> usize {
        todo!()
    }
    fn backward_reads(&self) -> BackwardReads {
        todo!()
    }
    fn forward(&self, _io: &CudaForward, _commands: &mut Vec<Command>) {
        todo!()
    }
    fn backward(&self, _io: &CudaBackward, _commands: &mut Vec<Command>) {
        todo!()
    }
}
