//! Plain data that every other module speaks: element types, shapes, layouts, and what is done to a clip.

pub mod layout;
mod named;
pub mod random;
mod real;
mod shape;
pub mod simd;
pub mod transform;

pub use named::NamedTensor;
pub use real::{Dtype, Real};
pub use shape::Shape;
