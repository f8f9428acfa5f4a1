// The gradient of a norm with respect to its input, once Σg and Σ(g·x̂) of the instance are known:
//
//     dx = γ·rstd·(g − Σg/P − x̂·Σ(g·x̂)/P)
#pragma once

#include "common/normalise.cuh"
#include "common/reduce.cuh"

// dx = g·scale + (x − mean)·slope + offset
template <int V>
struct Correction {
    float slope[V], offset[V];

    // rstd and the totals at the first of the V channels.
    __device__ __forceinline__ Correction(const Norm<V>& norm, const float (&rstd)[V], const float (&sum_g)[V],
                                          const float (&sum_gx)[V], unsigned positions) {
        const float share = 1.0f / positions;
#pragma unroll
        for (int i = 0; i < V; i++) {
            slope[i] = -norm.scale[i] * rstd[i] * (sum_gx[i] * share);
            offset[i] = -norm.scale[i] * (sum_g[i] * share);
        }
    }
    __device__ __forceinline__ float dx(const Norm<V>& norm, float x, float g, int i) const {
        return fmaf(g, norm.scale[i], fmaf(x - norm.mean[i], slope[i], offset[i]));
    }
};

// From each thread's sums to those of the block, in all threads of the channels: Σg and Σ(g·x̂).
template <int V>
__device__ __forceinline__ void total(unsigned columns, const float (&rstd)[V], float (&sum_g)[V], float (&sum_gx)[V],
                                      RowSums<V>& shared) {
    sum_rows(sum_g, columns, shared);
    sum_rows(sum_gx, columns, shared);
#pragma unroll
    for (int i = 0; i < V; i++) sum_gx[i] *= rstd[i];
}

// rstd of V channels.
template <int V>
__device__ __forceinline__ void load_rstd(const float* saved, float (&rstd)[V]) {
    float mean[V];
    load_pairs(saved, mean, rstd);
}
