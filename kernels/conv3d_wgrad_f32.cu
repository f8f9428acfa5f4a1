// Gradient of a convolution with respect to its filter, in f32: see common/conv_wgrad.cuh.
//
// dynamic shared memory: conv3d_wgrad_f32_n32 40960
// dynamic shared memory: conv3d_wgrad_f32_n64 49152
// dynamic shared memory: conv3d_wgrad_f32_n96 57344
// dynamic shared memory: conv3d_wgrad_f32_n128 65536
// dynamic shared memory: conv3d_wgrad_f32_n144 69632

#include "common/conv_wgrad.cuh"

#define WGRAD(name, T, N, copy)                                                                           \
    extern "C" __global__ void __launch_bounds__(WgradProduct<T, N>::kThreads, WgradProduct<T, N>::kBlocks) \
    name(const WgradArgs a) { wgrad<T, N, copy>(a); }

WGRAD(conv3d_wgrad_f32_n32, float, 32, 16)
WGRAD(conv3d_wgrad_f32_n64, float, 64, 16)
WGRAD(conv3d_wgrad_f32_n96, float, 96, 16)
WGRAD(conv3d_wgrad_f32_n128, float, 128, 16)
WGRAD(conv3d_wgrad_f32_n144, float, 144, 16)
