// Kernels with one bug each, planted by a macro.
#include <stdint.h>
#include <cuda_runtime.h>

// Each block writes its 32 words; the bug makes the tiles of neighbours overlap in one word.
extern "C" __global__ void tiles(float* y) {
#ifdef PLANT_SAME_WORD
    const int first = blockIdx.x * 31;
#else
    const int first = blockIdx.x * 32;
#endif
    y[first + threadIdx.x] = blockIdx.x * 32 + threadIdx.x;
}

// Reverses the words of a block through shared memory; the bug leaves the last word unwritten.
extern "C" __global__ void reverse(const float* x, float* y) {
    __shared__ float s[64];
#ifdef PLANT_UNINIT
    const int count = 63;
#else
    const int count = 64;
#endif
    if (threadIdx.x < count) s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[63 - threadIdx.x];
}

// Copies four words a thread from an offset that must be a multiple of four; the bug makes it one word more.
extern "C" __global__ void vectors(const float* x, float4* y) {
#ifdef PLANT_MISALIGNED
    const int skip = 5;
#else
    const int skip = 4;
#endif
    y[threadIdx.x] = *reinterpret_cast<const float4*>(x + skip + 4 * threadIdx.x);
}
