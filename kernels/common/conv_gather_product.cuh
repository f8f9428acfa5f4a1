// The arithmetic of a block of conv_gather.cuh: sums, 128 rows by N columns, of products of two operands whose rows are
// contiguous along the summed dimension.
//
// A step brings 64 bytes of each row, 32 bf16 or 16 f32, as four chunks of 16 bytes. Row r keeps its chunk c at
// c ^ (r / 2 % 4), so any eight neighbouring rows hold the same chunk in eight different places modulo 128 bytes, that
// is in all 32 banks: ldmatrix and 16-byte reads of eight rows have no conflicts, nor have copies that write two whole
// rows at a time.
//
// The order of a sum is that of the summed dimension, 16 at a time on tensor cores, whatever N is.
#pragma once

#include "element.cuh"
#include "ptx.cuh"

constexpr int kRows = 128;     // of a block
constexpr int kRowBytes = 64;  // of a row and step

// Where row and chunk are, in bytes. A multiple of eight rows further on it is as many times 64 bytes further on.
__device__ __forceinline__ int swizzled(int row, int chunk) {
    return row * kRowBytes + ((chunk ^ (row >> 1 & 3)) << 4);
}

// Floats from one row of a staged tile to the next: a multiple of four that is 8 or 24 modulo 32, so that four rows of
// eight floats lie in all banks.
template <int N>
constexpr int kStagedPitch = N + 8;

template <typename T, int N>
struct GatherProduct;

// Four warps, two by two, of 64 rows and N / 2 columns each. Of the tilings of 128 x N this one reads shared memory
// least: (64 + N / 2) · 64 bytes a warp and step, for which tensor cores take longer than its banks.
template <int N>
struct GatherProduct<bf16, N> {
    static constexpr int kThreads = 128;
    static constexpr int kBlocks = N <= 64 ? 3 : 2;  // a multiprocessor should hold
    static constexpr int kDepth = kRowBytes / 2;     // elements of a step
    static constexpr int kColumns = N / 16;          // of eight, a warp's

    float sum[4][kColumns][4] = {};
    int a_at, b_at;  // this lane's row for ldmatrix

    __device__ __forceinline__ GatherProduct() {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        a_at = swizzled(warp % 2 * 64 + lane % 16, lane / 16);
        b_at = swizzled(warp / 2 * (N / 2) + lane % 8 + lane / 16 * 8, lane / 8 % 2);
    }

    // One step; what is to be done meanwhile is issued among the products.
    template <typename F>
    __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b, F&& meanwhile) {
        const unsigned rows = shared_address(a), columns = shared_address(b);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const unsigned from_a = rows + (a_at ^ half * 32), from_b = columns + (b_at ^ half * 32);
            unsigned x[4][4];
#pragma unroll
            for (int i = 0; i < 4; i++) load_matrices(x[i], from_a + i * 16 * kRowBytes);
#pragma unroll
            for (int j = 0; j + 1 < kColumns; j += 2) {
                unsigned w[4];
                load_matrices(w, from_b + j * 8 * kRowBytes);
#pragma unroll
                for (int i = 0; i < 4; i++) multiply_add(sum[i][j], x[i], w[0], w[1]);
#pragma unroll
                for (int i = 0; i < 4; i++) multiply_add(sum[i][j + 1], x[i], w[2], w[3]);
            }
            if constexpr (kColumns % 2 == 1) {
                unsigned w[2];
                load_matrices(w, from_b + (kColumns - 1) * 8 * kRowBytes);
#pragma unroll
                for (int i = 0; i < 4; i++) multiply_add(sum[i][kColumns - 1], x[i], w[0], w[1]);
            }
            if (half == 0) meanwhile();
        }
    }

    __device__ __forceinline__ void stage(float* tile) const {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        const unsigned to = shared_address(tile + (warp % 2 * 64 + lane / 4) * kStagedPitch<N> + warp / 2 * (N / 2) +
                                           lane % 4 * 2);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < kColumns; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    store_shared(to + ((i * 16 + h * 8) * kStagedPitch<N> + j * 8) * sizeof(float),
                                 sum[i][j][h * 2], sum[i][j][h * 2 + 1]);
    }
};

// A thread has eight rows, 16 apart, and kColumns columns, kGroups apart; a warp four neighbouring rows and eight
// neighbouring columns at a time, each read by those that need it in one pass.
template <int N>
struct GatherProduct<float, N> {
    static constexpr int kGroups = N <= 64 ? 8 : 16;
    static constexpr int kThreads = 16 * kGroups;
    static constexpr int kBlocks = N <= 64 ? 3 : N <= 128 ? 2 : 1;
    static constexpr int kDepth = kRowBytes / 4;
    static constexpr int kColumns = N / kGroups;

    float sum[8][kColumns] = {};
    int row, column;  // the first of each

    __device__ __forceinline__ GatherProduct() {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = warp % 4 * 4 + lane / 8;
        column = warp / 4 * 8 + lane % 8;
    }

    template <typename F>
    __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b, F&& meanwhile) {
        meanwhile();
#pragma unroll 1  // or the compiler reads ahead until registers spill
        for (int chunk = 0; chunk < 4; chunk++) {
            const unsigned char* from_a = a + swizzled(row, chunk);
            const unsigned char* from_b = b + swizzled(column, chunk);
            float4 x[8];
#pragma unroll
            for (int i = 0; i < 8; i++) x[i] = *reinterpret_cast<const float4*>(from_a + i * 16 * kRowBytes);
#pragma unroll
            for (int j = 0; j < kColumns; j++) {
                const float4 w = *reinterpret_cast<const float4*>(from_b + j * kGroups * kRowBytes);
#pragma unroll
                for (int i = 0; i < 8; i++) sum[i][j] = fmaf(x[i].x, w.x, sum[i][j]);
#pragma unroll
                for (int i = 0; i < 8; i++) sum[i][j] = fmaf(x[i].y, w.y, sum[i][j]);
#pragma unroll
                for (int i = 0; i < 8; i++) sum[i][j] = fmaf(x[i].z, w.z, sum[i][j]);
#pragma unroll
                for (int i = 0; i < 8; i++) sum[i][j] = fmaf(x[i].w, w.w, sum[i][j]);
            }
        }
    }

    __device__ __forceinline__ void stage(float* tile) const {
        tile += row * kStagedPitch<N> + column;
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < kColumns; j++) tile[i * 16 * kStagedPitch<N> + j * kGroups] = sum[i][j];
    }
};
