// Convolution by gathering, in f32: see common/conv_gather.cuh.

#include "common/conv_gather.cuh"

#define GATHER(name, T, N, copy)                                                                            \
    extern "C" __global__ void __launch_bounds__(GatherProduct<T, N>::kThreads, GatherProduct<T, N>::kBlocks) \
    name(const GatherArgs a) { gather<T, N, copy>(a); }

GATHER(conv3d_gather_f32_n32, float, 32, 16)
GATHER(conv3d_gather_f32_n64, float, 64, 16)
GATHER(conv3d_gather_f32_n96, float, 96, 16)
GATHER(conv3d_gather_f32_n128, float, 128, 16)
GATHER(conv3d_gather_f32_n144, float, 144, 16)
