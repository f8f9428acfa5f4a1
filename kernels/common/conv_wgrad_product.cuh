// The arithmetic of a block of conv_wgrad.cuh: sums, 128 rows by N columns, over pixels, of products of two operands
// whose rows in shared memory are pixels: 128 elements of x and N of dy.
//
// bf16: rows are 16 bytes longer than what they hold, an odd number of chunks of 16 bytes, so that eight neighbouring
// pixels hold the same chunk in eight different places modulo 128 bytes: ldmatrix has no conflicts, and a copy of eight
// neighbouring chunks has none anyway. It transposes on the way, as the summed dimension is not the contiguous one.
//
// f32: an outer product a pixel, read along the rows; no padding is needed.
#pragma once

#include "element.cuh"
#include "ptx.cuh"

constexpr int kTerms = 128;  // rows of a block's tile: (tap, input channel)

// Writes v, or adds it to what is there.
__device__ __forceinline__ void write(float* p, float v, unsigned mode) { *p = mode == kAccumulate ? *p + v : v; }

template <typename T, int N>
struct WgradProduct;

// Four warps, two by two, of 64 rows and N / 2 columns each.
template <int N>
struct WgradProduct<bf16, N> {
    static constexpr int kThreads = 128;
    static constexpr int kBlocks = N <= 64 ? 3 : 2;  // a multiprocessor should hold
    static constexpr int kPixels = 32;               // of a step
    static constexpr int kPitchX = kTerms * 2 + 16, kPitchY = N * 2 + 16;
    static constexpr int kColumns = N / 16;  // of eight, a warp's

    float sum[4][kColumns][4] = {};
    int x_at, y_at;  // this lane's row for ldmatrix

    __device__ __forceinline__ WgradProduct() {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        x_at = (lane % 8 + lane / 16 * 8) * kPitchX + warp % 2 * 128 + lane / 8 % 2 * 16;
        y_at = lane % 16 * kPitchY + warp / 2 * N + lane / 16 * 16;
    }

    // One step; what is to be done meanwhile is issued among the products.
    template <typename F>
    __device__ __forceinline__ void multiply(const unsigned char* x, const unsigned char* y, F&& meanwhile) {
        const unsigned from_x = shared_address(x) + x_at, from_y = shared_address(y) + y_at;
#pragma unroll
        for (int pixel = 0; pixel < kPixels; pixel += 16) {
            unsigned a[4][4];
#pragma unroll
            for (int i = 0; i < 4; i++) load_transposed(a[i], from_x + pixel * kPitchX + i * 32);
#pragma unroll
            for (int j = 0; j + 1 < kColumns; j += 2) {
                unsigned b[4];
                load_transposed(b, from_y + pixel * kPitchY + j * 16);
#pragma unroll
                for (int i = 0; i < 4; i++) multiply_add(sum[i][j], a[i], b[0], b[1]);
#pragma unroll
                for (int i = 0; i < 4; i++) multiply_add(sum[i][j + 1], a[i], b[2], b[3]);
            }
            if constexpr (kColumns % 2 == 1) {
                unsigned b[2];
                load_transposed(b, from_y + pixel * kPitchY + (kColumns - 1) * 16);
#pragma unroll
                for (int i = 0; i < 4; i++) multiply_add(sum[i][kColumns - 1], a[i], b[0], b[1]);
            }
            if (pixel == 0) meanwhile();
        }
    }

    // Column c goes to to + c · length; of both there are so many left. Eight lanes write 32 neighbouring bytes.
    __device__ __forceinline__ void store(float* to, size_t length, int rows, int columns, unsigned mode) const {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        const int first_row = warp % 2 * 64 + lane / 4, first_column = warp / 2 * (N / 2) + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < kColumns; j++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int column = first_column + j * 8 + e;
                if (column >= columns) continue;
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    const int row = first_row + i * 8;
                    if (row < rows) write(to + column * length + row, sum[i / 2][j][i % 2 * 2 + e], mode);
                }
            }
    }
};

// A thread has rows 4·r to 4·r + 3 and the four 64 further on, and columns c by fours, then by what is left: 4·c to
// 4·c + 3, and so on from 4 · kGroups.
template <int N>
struct WgradProduct<float, N> {
    static constexpr int kGroups = N <= 64 ? 8 : 16;
    static constexpr int kThreads = 16 * kGroups;
    static constexpr int kBlocks = N <= 64 ? 3 : N <= 128 ? 2 : 1;
    static constexpr int kPixels = 16;
    static constexpr int kPitchX = kTerms * 4, kPitchY = N * 4;
    static constexpr int kColumns = N / kGroups, kFours = kColumns / 4, kLeft = kColumns % 4;
    static_assert(kLeft <= 2, "is read at once");

    float sum[8][kColumns] = {};
    int row, column;  // r and c

    __device__ __forceinline__ WgradProduct() {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = warp % 4 * 4 + lane / 8;
        column = warp / 4 * 8 + lane % 8;
    }

    template <typename F>
    __device__ __forceinline__ void multiply(const unsigned char* x, const unsigned char* y, F&& meanwhile) {
#pragma unroll 2
        for (int pixel = 0; pixel < kPixels; pixel++) {
            const float* from_x = reinterpret_cast<const float*>(x + pixel * kPitchX) + row * 4;
            const float* from_y = reinterpret_cast<const float*>(y + pixel * kPitchY);
            const float4 low = load4(from_x), high = load4(from_x + 64);
            const float a[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
            float b[kColumns];
#pragma unroll
            for (int j = 0; j < kFours; j++) {
                const float4 v = load4(from_y + (j * kGroups + column) * 4);
                b[j * 4] = v.x, b[j * 4 + 1] = v.y, b[j * 4 + 2] = v.z, b[j * 4 + 3] = v.w;
            }
            if constexpr (kLeft == 1) b[kColumns - 1] = from_y[kFours * kGroups * 4 + column];
            if constexpr (kLeft == 2) {
                const float2 v = *reinterpret_cast<const float2*>(from_y + kFours * kGroups * 4 + column * 2);
                b[kColumns - 2] = v.x, b[kColumns - 1] = v.y;
            }
#pragma unroll
            for (int j = 0; j < kColumns; j++)
#pragma unroll
                for (int i = 0; i < 8; i++) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
        }
        meanwhile();  // first, it would make registers spill
    }

    // As above; `length` and `rows` are multiples of four.
    __device__ __forceinline__ void store(float* to, size_t length, int rows, int columns, unsigned mode) const {
#pragma unroll
        for (int j = 0; j < kColumns; j++) {
            const int at = j < kFours * 4 ? (j / 4 * kGroups + column) * 4 + j % 4
                                          : kFours * kGroups * 4 + column * kLeft + j - kFours * 4;
            if (at >= columns) continue;
#pragma unroll
            for (int i = 0; i < 8; i += 4)
                if (row * 4 + i * 16 < rows)
                    write4(to + at * length + row * 4 + i * 16,
                           make_float4(sum[i][j], sum[i + 1][j], sum[i + 2][j], sum[i + 3][j]), mode);
        }
    }
};
