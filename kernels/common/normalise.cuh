// The elementwise part of a norm: normalise, activate. Whoever recomputes a ReLU's mask from x gets the very bits that
// forward compared with 0, since both come from here.
#pragma once

#include "common/channels.cuh"

// What follows the norm, as the host passes it.
constexpr unsigned kPlain = 0;
constexpr unsigned kRelu = 1;
constexpr unsigned kAddRelu = 2;

// V channels of an instance: z = (x − mean)·scale + shift. The mean is subtracted first: folded into the shift, it
// would cost the digits by which it exceeds the deviation.
template <int V>
struct Norm {
    float mean[V], scale[V], shift[V];

    __device__ __forceinline__ float operator()(float x, int i) const {
        return fmaf(x - mean[i], scale[i], shift[i]);
    }
};

// From the pairs (mean, rstd) that forward saved, γ and β, each at the first of the V channels.
template <int V>
__device__ __forceinline__ Norm<V> load_norm(const float* saved, const float* gamma, const float* beta) {
    Norm<V> norm;
    load_pairs(saved, norm.mean, norm.scale);
    float g[V];
    load_floats(gamma, g);
    load_floats(beta, norm.shift);
#pragma unroll
    for (int i = 0; i < V; i++) norm.scale[i] *= g[i];
    return norm;
}

// NaN passes, so that a diverged run is noticed.
__device__ __forceinline__ float relu(float z) { return z <= 0.f ? 0.f : z; }
// The gradient of z, given that of relu(z); z may also be relu(z) itself.
__device__ __forceinline__ float relu_gradient(float z, float dy) { return z <= 0.f ? 0.f : dy; }

// act(norm(x) [+ residual])
template <unsigned kActivation, typename T, int V>
__device__ __forceinline__ Channels<T, V> normalised(const Norm<V>& norm, Channels<T, V> x, Channels<T, V> residual) {
    float y[V];
#pragma unroll
    for (int i = 0; i < V; i++) {
        const float z = norm(x[i], i);
        y[i] = kActivation == kPlain ? z : kActivation == kRelu ? relu(z) : relu(z + residual[i]);
    }
    return Channels<T, V>::of(y);
}

// Calls pass<T, V, activation>(a) for the activation of a, chosen once, so that its loops know what they do.
#define BY_ACTIVATION(pass, T, V)                                   \
    if (a.activation == kPlain) pass<T, V, kPlain>(a);              \
    else if (a.activation == kRelu) pass<T, V, kRelu>(a);           \
    else pass<T, V, kAddRelu>(a)
