// What a dgrad knows of the norm and ReLU that made the convolution's input: once a tile of dy' = dx is staged, the two
// sums that the norm's own gradient starts from cost a reading of the norm's input, and none of dy' itself:
//
//     Σg and Σ(g·x̂), g = dy' where the ReLU let through, x̂ = (x − μ)·rstd
//
// over the tile's positions, of the values as stored. The mask is recomputed from x with the bits of forward.
#pragma once

#include "conv_epilogue.cuh"
#include "normalise.cuh"

struct NormBelow {
    const void* x;  // the norm's input, laid out as what is written here; null if there is no norm
    const float* gamma;
    const float* beta;
    const float* saved;  // {μ, rstd}, (clips, pitch, 2)
};

// Sums of each column over the first `rows` rows, to[2 · column] and the next; the rows are neighbouring positions of one
// clip, from `position` on. The tile is lost: the sums of its parts go where it was.
template <typename T, int N, int kThreads>
__device__ __forceinline__ void store_norm_sums(float* tile, int position, int rows, const NormBelow& norm, int clip,
                                                int first, int pitch, float* to) {
    using Parts = PartWalk<N, kThreads>;
    const float* const saved = norm.saved + (size_t)clip * pitch * 2;
    float sum_g[Parts::kTurns][4] = {}, sum_gx[Parts::kTurns][4] = {};
    Parts::each([&](int turn, int part, int column) {
        const int channel = first + column, last = min(rows, (part + 1) * (kRows / kParts));
        if (channel >= pitch) return;
        const Norm<4> of = load_norm<4>(saved + channel * 2, norm.gamma + channel, norm.beta + channel);
        const T* const from = static_cast<const T*>(norm.x) + (size_t)position * pitch + channel;
#pragma unroll 4
        for (int row = part * (kRows / kParts); row < last; row++) {
            const Channels<T, 4> x = load_channels_once<4>(from + row * pitch);
            const float4 dy = rounded<T>(load4(tile + row * kStagedPitch<N> + column));
            const float each_dy[4] = {dy.x, dy.y, dy.z, dy.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float g = relu_gradient(of(x[i], i), each_dy[i]);
                sum_g[turn][i] += g;
                sum_gx[turn][i] = fmaf(g, x[i] - of.mean[i], sum_gx[turn][i]);
            }
        }
    });
    __syncthreads();  // the tile has been read
    Parts::each([&](int turn, int part, int column) {
        float* const g = tile + part * N + column;
        store4(g, make_float4(sum_g[turn][0], sum_g[turn][1], sum_g[turn][2], sum_g[turn][3]));
        store4(g + kParts * N, make_float4(sum_gx[turn][0], sum_gx[turn][1], sum_gx[turn][2], sum_gx[turn][3]));
    });
    __syncthreads();
    const int column = threadIdx.x * 4;
    if (column >= N || first + column >= pitch) return;
    const float4 g = sum_parts<N>(tile, column), gx = sum_parts<N>(tile + kParts * N, column);
    float mean[4], rstd[4];
    load_pairs(saved + (first + column) * 2, mean, rstd);
    store4(to + column * 2, make_float4(g.x, gx.x * rstd[0], g.y, gx.y * rstd[1]));
    store4(to + column * 2 + 4, make_float4(g.z, gx.z * rstd[2], g.w, gx.w * rstd[3]));
}
