//! Functions of the API that cannot be simulated, or are not yet: each says so and returns
//! `CUDA_ERROR_NOT_SUPPORTED`. They exist so that programs that only might call them link and load.

use std::ffi::c_void;

use super::api::{bare, refuse};
use super::status::Status;

/// Defines functions that are not supported. Their arguments are not looked at, so none are declared: the C calling
/// convention of the platforms that the crate supports leaves those to the caller.
macro_rules! unsupported {
    ($($name:ident)*) => {
        /// Name and address of each.
        pub(super) fn functions() -> impl Iterator<Item = (&'static str, *const c_void)> {
            [$((stringify!($name), $name as *const c_void)),*].into_iter()
        }

        $(#[doc = concat!("`", stringify!($name), "` is not simulated.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() -> u32 {
            bare(stringify!($name), || Err(refuse(Status::NOT_SUPPORTED, "not simulated")))
        })*
    };
}

unsupported! {
    cuArrayCreate_v2 cuArray3DCreate_v2 cuArrayDestroy cuArrayGetDescriptor_v2 cuArray3DGetDescriptor_v2
    cuMipmappedArrayCreate cuMipmappedArrayDestroy cuMemcpyDtoA_v2 cuMemcpyAtoD_v2 cuMemcpyHtoA_v2
    cuMemcpyAtoH_v2 cuMemcpyAtoA_v2 cuMemcpyHtoAAsync_v2 cuMemcpyAtoHAsync_v2 cuMemcpy3DPeer
    cuMemcpy3DPeerAsync cuMemcpyBatchAsync_v2 cuTexObjectCreate cuTexObjectDestroy cuTexObjectGetResourceDesc
    cuTexObjectGetResourceViewDesc cuTexObjectGetTextureDesc cuSurfObjectCreate cuSurfObjectDestroy
    cuSurfObjectGetResourceDesc cuModuleGetTexRef cuModuleGetSurfRef cuLinkCreate_v2 cuLinkAddData_v2
    cuLinkAddFile_v2 cuLinkComplete cuLinkDestroy cuImportExternalMemory cuExternalMemoryGetMappedBuffer
    cuDestroyExternalMemory cuImportExternalSemaphore cuDestroyExternalSemaphore
    cuSignalExternalSemaphoresAsync cuWaitExternalSemaphoresAsync cuIpcGetMemHandle cuIpcOpenMemHandle_v2
    cuIpcCloseMemHandle cuIpcGetEventHandle cuIpcOpenEventHandle cuMemAddressReserve cuMemAddressFree
    cuMemCreate cuMemRelease cuMemMap cuMemUnmap cuMemSetAccess cuMemGetAccess cuMemGetAllocationGranularity
    cuMemExportToShareableHandle cuMemImportFromShareableHandle cuMemPoolSetAccess
    cuMemPoolExportToShareableHandle cuMemPoolImportFromShareableHandle cuMemRangeGetAttribute
    cuMemRangeGetAttributes cuPointerSetAttribute cuStreamAddCallback cuStreamBeginCaptureToGraph
    cuStreamUpdateCaptureDependencies_v2 cuStreamCopyAttributes cuStreamGetAttribute cuStreamSetAttribute
    cuStreamWaitValue32_v2 cuStreamWaitValue64_v2 cuStreamWriteValue32_v2 cuStreamWriteValue64_v2
    cuStreamBatchMemOp_v2 cuCtxRecordEvent cuCtxWaitEvent cuGraphAddNode_v2 cuGraphAddChildGraphNode
    cuGraphAddEventRecordNode cuGraphAddEventWaitNode cuGraphAddMemAllocNode cuGraphAddMemFreeNode
    cuGraphAddDependencies_v2 cuGraphRemoveDependencies_v2 cuGraphDestroyNode cuGraphDebugDotPrint
    cuGraphExecKernelNodeSetParams_v2 cuGraphExecMemcpyNodeSetParams cuGraphExecMemsetNodeSetParams
    cuGraphExecHostNodeSetParams cuGraphInstantiateWithParams cuGraphConditionalHandleCreate
    cuOccupancyMaxActiveClusters cuOccupancyMaxPotentialClusterSize cuTensorMapEncodeIm2colWide
    cuLaunchCooperativeKernelMultiDevice cuGetExportTable cuCtxDisablePeerAccess cuDeviceGetP2PAttribute
    cuUserObjectCreate cuGreenCtxCreate cuDeviceGetDevResource
}
