// Gradient of a convolution with respect to its filter, in bf16: see common/conv_wgrad.cuh.
//
// dynamic shared memory: conv3d_wgrad_bf16_n32 45056
// dynamic shared memory: conv3d_wgrad_bf16_n64 53248
// dynamic shared memory: conv3d_wgrad_bf16_n96 61440
// dynamic shared memory: conv3d_wgrad_bf16_n128 69632
// dynamic shared memory: conv3d_wgrad_bf16_n144 73728
// dynamic shared memory: conv3d_wgrad_bf16_thin_n32 45056
// dynamic shared memory: conv3d_wgrad_bf16_thin_n64 53248
// dynamic shared memory: conv3d_wgrad_bf16_thin_n96 61440

#include "common/conv_wgrad.cuh"

#define WGRAD(name, T, N, copy)                                                                           \
    extern "C" __global__ void __launch_bounds__(WgradProduct<T, N>::kThreads, WgradProduct<T, N>::kBlocks) \
    name(const WgradArgs a) { wgrad<T, N, copy>(a); }

WGRAD(conv3d_wgrad_bf16_n32, bf16, 32, 16)
WGRAD(conv3d_wgrad_bf16_n64, bf16, 64, 16)
WGRAD(conv3d_wgrad_bf16_n96, bf16, 96, 16)
WGRAD(conv3d_wgrad_bf16_n128, bf16, 128, 16)
WGRAD(conv3d_wgrad_bf16_n144, bf16, 144, 16)

// Of up to four channels in x or dy: chunks of 8 bytes.
WGRAD(conv3d_wgrad_bf16_thin_n32, bf16, 32, 8)
WGRAD(conv3d_wgrad_bf16_thin_n64, bf16, 64, 8)
WGRAD(conv3d_wgrad_bf16_thin_n96, bf16, 96, 8)
