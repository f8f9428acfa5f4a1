//! Every kernel of a CUDA device against the specification, operation by operation.

mod subject;

pub use subject::{Fault, Kind, Reference, Subject, round, run};
