// Convolution by gathering, in f32: see common/conv_gather.cuh.
//
// dynamic shared memory: conv3d_gather_f32_n32 43520
// dynamic shared memory: conv3d_gather_f32_n64 51712
// dynamic shared memory: conv3d_gather_f32_n96 60928
// dynamic shared memory: conv3d_gather_f32_n128 74240
// dynamic shared memory: conv3d_gather_f32_n144 82944

#include "common/conv_gather.cuh"

#define GATHER(name, T, N, copy)                                                                            \
    extern "C" __global__ void __launch_bounds__(GatherProduct<T, N>::kThreads, GatherProduct<T, N>::kBlocks) \
    name(const GatherArgs a) { gather<T, N, copy>(a); }

GATHER(conv3d_gather_f32_n32, float, 32, 16)
GATHER(conv3d_gather_f32_n64, float, 64, 16)
GATHER(conv3d_gather_f32_n96, float, 96, 16)
GATHER(conv3d_gather_f32_n128, float, 128, 16)
GATHER(conv3d_gather_f32_n144, float, 144, 16)
