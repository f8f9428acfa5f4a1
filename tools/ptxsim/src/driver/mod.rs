//! The CUDA driver API, exported for C.
//!
//! Each function has the name, arguments and status codes of the CUDA 13.0 driver API, whose documentation is the
//! contract of its caller. Handles are numbers looked up in tables: an unknown or destroyed one is refused, never
//! followed. A panic inside becomes `CUDA_ERROR_UNKNOWN`.
//!
//! # When work runs
//! Asynchronous work (launches, copies, fills, event records, host functions, stream-ordered frees) is queued, and
//! runs on the calling thread when something forces it: a synchronising call, a synchronous copy, a free, a query
//! (each query runs one ready operation). Only what must have happened is forced: synchronising with a stream runs
//! that stream and what it waits for, and nothing else, so a missing dependency between streams shows as a wrong
//! result. With `PTXSIM_SEED` set, the next operation is instead drawn at random from *all* that are ready, needed or
//! not, so other orders that the program allows are tried too.
//!
//! The legacy default stream waits for the blocking streams of its context and they for it; streams made with
//! `CU_STREAM_NON_BLOCKING` do not take part. Asynchronous copies from pageable host memory read it at the call, those
//! from page-locked memory when they run; asynchronous copies to pageable memory finish before they return.
//!
//! # Errors of kernels
//! A launch with findings writes them to standard error and poisons its context with `CUDA_ERROR_ILLEGAL_ADDRESS`,
//! `CUDA_ERROR_MISALIGNED_ADDRESS` or `CUDA_ERROR_LAUNCH_FAILED`, which later calls in the context return.
//! `PTXSIM_FAULT` makes one launch fail so without a finding.
//!
//! # What is not there
//! Arrays, textures, surfaces, graphics and external memory, virtual memory management, IPC, cubins, clusters of more
//! than one block, memory allocation in captured graphs. Calls for them return `CUDA_ERROR_NOT_SUPPORTED` and say so
//! on standard error.

#![allow(non_snake_case, reason = "the functions have the driver API's names")]
#![allow(clippy::missing_safety_doc, reason = "the contract of each is that of the driver API function")]
#![allow(clippy::too_many_arguments, reason = "the arguments are the driver API's")]

pub mod allocation;
mod api;
pub mod argument;
pub mod capture;
pub mod context;
pub mod copy;
pub mod device;
pub mod event;
mod fault;
pub mod fill;
pub mod function;
pub mod graph;
pub mod host_memory;
pub mod launch;
pub mod library;
pub mod module;
pub mod node;
pub mod occupancy;
pub mod pointer;
pub mod pool;
pub mod proc_address;
pub mod profiler;
mod schedule;
mod state;
pub mod status;
pub mod stream;
pub mod tensor_map;
mod trace;
pub mod unsupported;
mod work;
