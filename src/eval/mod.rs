//! What a network has learned: features of videos, retrieval with its report and pictures, a linear probe, and studies
//! of many runs; what is in a data set, checkpoint or run folder; and whether the engine agrees with its reference.

mod canvas;
mod chance;
mod clips;
mod demo;
mod embed;
mod encoder;
mod features;
mod grid;
pub mod inspect;
pub mod neighbours;
mod pool;
mod probe;
mod retrieve;
pub mod selftest;
mod split;
pub mod study;
pub mod test;
pub mod verify;
mod weights;

pub use clips::Protocol;
pub use demo::{DemoOptions, DemoReport, LabelFigures, demo};
pub use embed::{EmbedOptions, Embedder, Embeddings};
pub use features::write_features;
pub use grid::write_grid;
pub use pool::Pool;
pub use probe::linear_probe;
pub use retrieve::{Report, Retrieval, retrieval, retrieve};
pub use split::RetrievalSplit;
pub use weights::{Origin, Weights};
