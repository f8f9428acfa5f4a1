//! Asynchronous bulk copies: tensor maps and the boxes that they cut from a tensor.

pub mod tensor_map;
