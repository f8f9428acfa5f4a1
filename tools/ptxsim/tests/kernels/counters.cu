// Kernels whose traffic is known by construction.
#define HOPPER
#include "prim.cuh"
#include <cuda_runtime.h>

#define TID threadIdx.x

// Each thread moves one word; a stride of s words spreads a warp over 32 * s words.
extern "C" __global__ void copy(const float* x, float* y, int stride) {
    const int i = (blockIdx.x * blockDim.x + TID) * stride;
    y[i] = x[i];
}

extern "C" __global__ void copy4(const float4* x, float4* y) {
    const int i = blockIdx.x * blockDim.x + TID;
    y[i] = x[i];
}

// A square of 32 by 32 words by one warp: rows in, columns out.
template <int ROW> DEV void transpose(const float* x, float* y) {
    __shared__ float s[32 * ROW];
#pragma unroll 1
    for (int row = 0; row < 32; row++) s[row * ROW + TID] = x[row * 32 + TID];
    __syncwarp();
#pragma unroll 1
    for (int row = 0; row < 32; row++) y[row * 32 + TID] = s[TID * ROW + row];
}
extern "C" __global__ void transpose_plain(const float* x, float* y) { transpose<32>(x, y); }
extern "C" __global__ void transpose_padded(const float* x, float* y) { transpose<33>(x, y); }

// c = a · b in tiles of 16 by 8 by 16, one a block: M = 16 grid.x, N = 8 grid.y; whole fragments, in no order.
extern "C" __global__ void gemm(const uint32_t* a, const uint32_t* b, float4* c, int steps) {
    float acc[4] = {0, 0, 0, 0};
#pragma unroll 1
    for (int k = 0; k < steps; k++) {
        const uint4 f = reinterpret_cast<const uint4*>(a)[(blockIdx.x * steps + k) * 32 + TID];
        const uint2 g = reinterpret_cast<const uint2*>(b)[(blockIdx.y * steps + k) * 32 + TID];
        const uint32_t fragment[4] = {f.x, f.y, f.z, f.w};
        mma_m16n8k16_bf16(acc, fragment, g.x, g.y);
    }
    c[(blockIdx.x * gridDim.y + blockIdx.y) * 32 + TID] = make_float4(acc[0], acc[1], acc[2], acc[3]);
}

// Lanes below a bound take one way.
extern "C" __global__ void branches(int* y, int bound) {
    if (TID < bound) asm volatile("st.global.b32 [%0], 1;" ::"l"(y + TID) : "memory");
    else asm volatile("red.global.add.u32 [%0], 2;" ::"l"(y + TID) : "memory");
    __syncwarp();
}

// Four matrices of rows 64 bytes apart, with and without a swizzle.
extern "C" __global__ void matrices(uint32_t* y, int swizzle) {
    SMEM_DYN(smem);
    for (int i = TID; i < 1024; i += 32) reinterpret_cast<uint32_t*>(smem)[i] = i;
    __syncwarp();
    const int row = TID, chunk = swizzle ? (row >> 1) & 3 : 0;
    uint32_t r[4];
    ldmatrix_x4(r, smem_addr(smem) + row * 64 + chunk * 16);
    y[TID] = r[0] + r[1] + r[2] + r[3];
}

// All threads of a block add to one shared word; then one adds to a global word, and 32 to words of their own.
extern "C" __global__ void atomics(int* y) {
    __shared__ int sum;
    if (TID == 0) sum = 0;
    __syncthreads();
    atomicAdd(&sum, 1);
    __syncthreads();
    if (TID == 0) atomicAdd(y, sum);
    if (TID < 32) atomicAdd(y + 8 + TID, 1);
}
