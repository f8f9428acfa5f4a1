//! Looking functions up by name (driver API, "Driver Entry Point Access").

use std::ffi::c_void;
use std::ptr;

use super::api::{api, refuse};
use super::argument::{Out, Text};
use super::status::Status;

/// `CUdriverProcAddressQueryResult`: found, no such symbol, only in a later version.
const FOUND: i32 = 0;
const NOT_FOUND: i32 = 1;
const VERSION_NOT_SUFFICIENT: i32 = 2;

/// `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const PER_THREAD_DEFAULT_STREAM: u64 = 2;

/// CUDA versions from which on a name without suffix means a later form of a function. All others that have a suffix
/// have had it for as long as functions are looked up by name.
const SINCE: &[(&str, i32)] = &[
    ("cuCtxCreate_v3", 11040),
    ("cuCtxCreate_v4", 12050),
    ("cuCtxGetDevice_v2", 13000),
    ("cuCtxSynchronize_v2", 13000),
    ("cuDeviceGetUuid_v2", 11040),
    ("cuEventElapsedTime_v2", 12080),
    ("cuGraphAddKernelNode_v2", 12000),
    ("cuGraphExecUpdate_v2", 12000),
    ("cuGraphGetEdges_v2", 12030),
    ("cuGraphKernelNodeGetParams_v2", 12000),
    ("cuGraphKernelNodeSetParams_v2", 12000),
    ("cuMemAdvise_v2", 12020),
    ("cuMemPrefetchAsync_v2", 12020),
    ("cuStreamGetCaptureInfo_v2", 11030),
    ("cuStreamGetCaptureInfo_v3", 12030),
];

/// Defines the table of all functions: those named, and those that are not supported.
macro_rules! table {
    ($($module:ident: $($name:ident)*;)*) => {
        /// Name and address of each function.
        fn functions() -> impl Iterator<Item = (&'static str, *const c_void)> {
            let table = [$($((stringify!($name), super::$module::$name as *const c_void),)*)*];
            table.into_iter().chain(super::unsupported::functions())
        }
    };
}

table! {
    allocation: cuMemAlloc_v2 cuMemAllocPitch_v2 cuMemFree_v2 cuMemAllocManaged cuMemAllocAsync
        cuMemAllocFromPoolAsync cuMemFreeAsync cuMemGetInfo_v2 cuMemGetAddressRange_v2;
    capture: cuStreamBeginCapture_v2 cuStreamEndCapture cuStreamIsCapturing cuStreamGetCaptureInfo_v2
        cuStreamGetCaptureInfo_v3 cuThreadExchangeStreamCaptureMode;
    context: cuCtxCreate_v2 cuCtxCreate_v3 cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxPushCurrent_v2
        cuCtxPopCurrent_v2 cuCtxSetCurrent cuCtxGetCurrent cuCtxGetDevice cuCtxGetDevice_v2 cuCtxGetFlags
        cuCtxSetFlags cuCtxGetId cuCtxGetApiVersion cuCtxSynchronize cuCtxSynchronize_v2 cuCtxSetLimit
        cuCtxGetLimit cuCtxGetCacheConfig cuCtxSetCacheConfig cuCtxGetSharedMemConfig cuCtxSetSharedMemConfig
        cuCtxGetStreamPriorityRange cuCtxResetPersistingL2Cache cuCtxEnablePeerAccess cuDevicePrimaryCtxRetain
        cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxReset_v2 cuDevicePrimaryCtxSetFlags_v2
        cuDevicePrimaryCtxGetState;
    copy: cuMemcpy cuMemcpyAsync cuMemcpyHtoD_v2 cuMemcpyHtoDAsync_v2 cuMemcpyDtoH_v2 cuMemcpyDtoHAsync_v2
        cuMemcpyDtoD_v2 cuMemcpyDtoDAsync_v2 cuMemcpyPeer cuMemcpyPeerAsync cuMemcpy2D_v2
        cuMemcpy2DUnaligned_v2 cuMemcpy2DAsync_v2 cuMemcpy3D_v2 cuMemcpy3DAsync_v2;
    device: cuInit cuDriverGetVersion cuDeviceGet cuDeviceGetCount cuDeviceGetName cuDeviceTotalMem_v2
        cuDeviceGetAttribute cuDeviceComputeCapability cuDeviceGetUuid cuDeviceGetUuid_v2
        cuDeviceGetByPCIBusId cuDeviceGetPCIBusId cuDeviceCanAccessPeer cuDeviceGetDefaultMemPool
        cuDeviceGetMemPool cuDeviceSetMemPool;
    event: cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventRecordWithFlags cuEventQuery
        cuEventSynchronize cuEventElapsedTime cuEventElapsedTime_v2;
    fill: cuMemsetD8_v2 cuMemsetD16_v2 cuMemsetD32_v2 cuMemsetD8Async cuMemsetD16Async cuMemsetD32Async
        cuMemsetD2D8_v2 cuMemsetD2D16_v2 cuMemsetD2D32_v2 cuMemsetD2D8Async cuMemsetD2D16Async
        cuMemsetD2D32Async;
    function: cuFuncGetAttribute cuFuncSetAttribute cuFuncSetCacheConfig cuFuncSetSharedMemConfig
        cuFuncGetModule cuFuncGetName cuFuncGetParamInfo cuKernelGetAttribute cuKernelSetAttribute;
    graph: cuGraphCreate cuGraphDestroy cuGraphClone cuGraphInstantiateWithFlags cuGraphInstantiate_v2
        cuGraphLaunch cuGraphUpload cuGraphExecDestroy cuGraphExecUpdate_v2;
    host_memory: cuMemAllocHost_v2 cuMemHostAlloc cuMemFreeHost cuMemHostRegister_v2 cuMemHostUnregister
        cuMemHostGetDevicePointer_v2 cuMemHostGetFlags;
    launch: cuLaunchKernel cuLaunchKernelEx cuLaunchCooperativeKernel;
    library: cuLibraryLoadData cuLibraryLoadFromFile cuLibraryUnload cuLibraryGetKernel cuLibraryGetModule
        cuLibraryGetGlobal cuKernelGetFunction;
    module: cuModuleLoad cuModuleLoadData cuModuleLoadDataEx cuModuleLoadFatBinary cuModuleUnload
        cuModuleGetFunction cuModuleGetGlobal_v2 cuModuleGetLoadingMode;
    node: cuGraphGetNodes cuGraphGetRootNodes cuGraphGetEdges cuGraphGetEdges_v2 cuGraphNodeGetDependencies
        cuGraphNodeGetDependentNodes cuGraphNodeGetType cuGraphAddEmptyNode cuGraphAddKernelNode
        cuGraphAddKernelNode_v2 cuGraphAddMemsetNode cuGraphAddMemcpyNode cuGraphAddHostNode
        cuGraphKernelNodeGetParams cuGraphKernelNodeGetParams_v2 cuGraphKernelNodeSetParams_v2;
    occupancy: cuOccupancyMaxActiveBlocksPerMultiprocessor
        cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyAvailableDynamicSMemPerBlock
        cuOccupancyMaxPotentialBlockSize cuOccupancyMaxPotentialBlockSizeWithFlags;
    pointer: cuPointerGetAttribute cuPointerGetAttributes cuMemPrefetchAsync cuMemPrefetchAsync_v2 cuMemAdvise
        cuMemAdvise_v2;
    pool: cuMemPoolCreate cuMemPoolDestroy cuMemPoolTrimTo cuMemPoolGetAttribute cuMemPoolSetAttribute
        cuMemPoolGetAccess;
    proc_address: cuGetProcAddress cuGetProcAddress_v2;
    profiler: cuProfilerStart cuProfilerStop;
    status: cuGetErrorName cuGetErrorString;
    stream: cuStreamCreate cuStreamCreateWithPriority cuStreamDestroy_v2 cuStreamSynchronize cuStreamQuery
        cuStreamWaitEvent cuLaunchHostFunc cuStreamGetPriority cuStreamGetFlags cuStreamGetId cuStreamGetCtx
        cuStreamGetDevice cuStreamAttachMemAsync;
    tensor_map: cuTensorMapEncodeTiled cuTensorMapEncodeIm2col cuTensorMapReplaceAddress;
}

/// The address that a name means for a program made for a CUDA version: the function of that name, or the newest form
/// of it (`_v2` and so on) that the version has.
fn find(name: &str, version: i32) -> Result<*const c_void, i32> {
    let form = |candidate: &str| match candidate.strip_prefix(name)? {
        "" => Some(1),
        suffix => suffix.strip_prefix("_v")?.parse::<u32>().ok(),
    };
    let since = |candidate: &str| SINCE.iter().find(|(n, _)| *n == candidate).map_or(0, |(_, since)| *since);
    let mut best = None;
    let mut later = false;
    for (candidate, address) in functions() {
        let Some(form) = form(candidate) else { continue };
        if candidate != name && since(candidate) > version {
            later = true;
        } else if best.is_none_or(|(newest, _)| form > newest) {
            best = Some((form, address));
        }
    }
    best.map(|(_, address)| address).ok_or(if later { VERSION_NOT_SUFFICIENT } else { NOT_FOUND })
}

fn look_up(
    symbol: Text,
    out: Out<*const c_void>,
    version: i32,
    flags: u64,
    result: Out<i32>,
) -> super::status::Result<()> {
    if flags & PER_THREAD_DEFAULT_STREAM != 0 {
        return Err(refuse(Status::NOT_SUPPORTED, "per-thread default streams as the meaning of stream 0"));
    }
    match find(&symbol.get()?, version) {
        Ok(address) => {
            result.put_if_wanted(FOUND);
            out.put(address)
        }
        Err(why) => {
            out.put(ptr::null())?;
            result.put_if_wanted(why);
            // With a place for the result, not finding is no error.
            if result.is_null() { Err(Status::NOT_FOUND) } else { Ok(()) }
        }
    }
}

api! {
    /// The address of a function by its name.
    fn cuGetProcAddress(symbol: Text, function: Out<*const c_void>, version: i32, flags: u64) {
        look_up(symbol, function, version, flags, Out::at_address(0))
    }

    /// The address of a function by its name, and whether it was found.
    fn cuGetProcAddress_v2(
        symbol: Text,
        function: Out<*const c_void>,
        version: i32,
        flags: u64,
        result: Out<i32>,
    ) {
        look_up(symbol, function, version, flags, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_the_form_of_the_version() {
        let exact = |name: &str| functions().find(|(n, _)| *n == name).unwrap().1;
        for (name, version, expected) in [
            ("cuInit", 13_000, "cuInit"),
            ("cuMemAlloc", 13_000, "cuMemAlloc_v2"),
            ("cuMemAlloc_v2", 13_000, "cuMemAlloc_v2"),
            ("cuCtxCreate", 13_000, "cuCtxCreate_v4"),
            ("cuCtxCreate", 12_000, "cuCtxCreate_v3"),
            ("cuCtxCreate", 11_000, "cuCtxCreate_v2"),
            ("cuMemAdvise", 12_000, "cuMemAdvise"),
            ("cuStreamCreate", 13_000, "cuStreamCreate"),
        ] {
            assert_eq!(find(name, version), Ok(exact(expected)), "{name} of {version}");
        }
        assert_eq!(find("cuNothing", 13_000), Err(NOT_FOUND));
        assert_eq!(find("cuGraphExecUpdate", 11_000), Err(VERSION_NOT_SUFFICIENT));
    }

    #[test]
    fn every_function_is_listed_once() {
        let mut names: Vec<_> = functions().map(|(name, _)| name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
