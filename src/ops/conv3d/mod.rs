//! Three-dimensional convolution.
