// Convolution by gathering, in bf16: see common/conv_gather.cuh.
//
// dynamic shared memory: conv3d_gather_bf16_n32 43520
// dynamic shared memory: conv3d_gather_bf16_n64 51712
// dynamic shared memory: conv3d_gather_bf16_n96 60928
// dynamic shared memory: conv3d_gather_bf16_n128 74240
// dynamic shared memory: conv3d_gather_bf16_n144 82944
// dynamic shared memory: conv3d_gather_bf16_thin_n32 43520
// dynamic shared memory: conv3d_gather_bf16_thin_n64 51712
// dynamic shared memory: conv3d_gather_bf16_thin_n96 60928

#include "common/conv_gather.cuh"

#define GATHER(name, T, N, copy)                                                                            \
    extern "C" __global__ void __launch_bounds__(GatherProduct<T, N>::kThreads, GatherProduct<T, N>::kBlocks) \
    name(const GatherArgs a) { gather<T, N, copy>(a); }

GATHER(conv3d_gather_bf16_n32, bf16, 32, 16)
GATHER(conv3d_gather_bf16_n64, bf16, 64, 16)
GATHER(conv3d_gather_bf16_n96, bf16, 96, 16)
GATHER(conv3d_gather_bf16_n128, bf16, 128, 16)
GATHER(conv3d_gather_bf16_n144, bf16, 144, 16)

// Of up to four channels: chunks of 8 bytes, each of its own tap.
GATHER(conv3d_gather_bf16_thin_n32, bf16, 32, 8)
GATHER(conv3d_gather_bf16_thin_n64, bf16, 64, 8)
GATHER(conv3d_gather_bf16_thin_n96, bf16, 96, 8)
