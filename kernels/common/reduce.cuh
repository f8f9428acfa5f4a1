// Sums over the rows of a block whose threads lie (rows, columns), each with V neighbouring channels: the way in which
// a block reads (positions, channels). Fixed order, no atomics.
#pragma once

#include "common/element.cuh"

// Most threads of such a block.
constexpr unsigned kRowThreads = 256;

// Shared memory of sum_rows: 16 bytes a thread for every four channels, and 4 more.
template <int V>
struct RowSums {
    float4 terms[V / 4][kRowThreads];
    float folded[kRowThreads];
};

// One for a kernel, whichever of its passes asks.
template <int V>
__device__ __forceinline__ RowSums<V>& static_sums() {
    __shared__ RowSums<V> sums;
    return sums;
}

// Shared memory of a kernel that holds what it reads, all of it dynamic: first that of sum_rows, then one vector of
// each thread after the other.
template <int V>
__device__ __forceinline__ RowSums<V>& dynamic_sums() {
    extern __shared__ uint4 dynamic_memory[];
    return *reinterpret_cast<RowSums<V>*>(dynamic_memory);
}
template <typename Vector, int V>
__device__ __forceinline__ Vector& held_vector(unsigned i) {
    Vector* vectors = reinterpret_cast<Vector*>(&dynamic_sums<V>() + 1);
    return vectors[i * blockDim.x + threadIdx.x];
}

// Replaces v by its sum over the threads of this column, in all of them. All threads call it; there are rows·columns of
// them, at least 64, both powers of two, rows ≥ V. It may follow itself without a barrier between.
//
// Three steps. Threads lay their terms side by side, four channels a plane: (planes, rows, columns·4). Each thread then
// adds V of the floats of one plane that are a whole number of rows apart, so that a float a thread is left; lanes of a
// warp that hold the same channel add theirs by shuffles; and all read what few floats are left of their channels. In
// the first step a quarter warp writes 128 bytes in a row, in the second a warp reads them, in the third lanes read 16
// bytes of one row, the same ones or neighbours: no bank conflicts.
template <int V>
__device__ __forceinline__ void sum_rows(float (&v)[V], unsigned columns, RowSums<V>& shared) {
    constexpr unsigned kPlanes = V / 4;
    const unsigned t = threadIdx.x;
#pragma unroll
    for (unsigned k = 0; k < kPlanes; k++)
        shared.terms[k][t] = make_float4(v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3]);
    __syncthreads();

    const unsigned width = blockDim.x / kPlanes;  // threads to a plane, a multiple of 32
    const unsigned plane = t / width, at = t % width;
    const float* terms = reinterpret_cast<const float*>(shared.terms[plane]) + at;
    float part[V];
#pragma unroll
    for (int i = 0; i < V; i++) part[i] = terms[i * width];
#pragma unroll
    for (int half = V / 2; half > 0; half /= 2)
#pragma unroll
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    float sum = part[0];

    const unsigned row = columns * 4;  // floats
    for (unsigned apart = 16; apart >= row; apart /= 2) sum += __shfl_xor_sync(~0u, sum, apart);
    const unsigned period = max(row, 32u);
    if (at % period < row) shared.folded[plane * width + at / period * row + at % period] = sum;
    __syncthreads();

    const unsigned column = t % columns;
#pragma unroll
    for (unsigned k = 0; k < kPlanes; k++) {
        const float* left = shared.folded + k * width + column * 4;
        float4 total = load4(left);
        for (unsigned group = 1; group < width / period; group++) total = total + load4(left + group * row);
        v[4 * k] = total.x;
        v[4 * k + 1] = total.y;
        v[4 * k + 2] = total.z;
        v[4 * k + 3] = total.w;
    }
}
