// Neighbouring channels of a position, as they lie in memory: what a thread moves in one access, 16 bytes (f32 ×4,
// bf16 ×8), or 8 bytes (bf16 ×4) where the pitch is only four. Arithmetic on them is f32.
#pragma once

#include "common/element.cuh"

template <typename T, int V>
struct Channels;

template <>
struct Channels<float, 4> {
    float4 bits;

    __device__ __forceinline__ float operator[](int i) const {
        return i == 0 ? bits.x : i == 1 ? bits.y : i == 2 ? bits.z : bits.w;
    }
    static __device__ __forceinline__ Channels of(const float (&v)[4]) {
        return {make_float4(v[0], v[1], v[2], v[3])};
    }
    static __device__ __forceinline__ Channels zero() { return {make_float4(0.f, 0.f, 0.f, 0.f)}; }
};

template <>
struct Channels<bf16, 8> {
    uint4 bits;

    __device__ __forceinline__ float operator[](int i) const {
        const unsigned pair = i < 2 ? bits.x : i < 4 ? bits.y : i < 6 ? bits.z : bits.w;
        return i % 2 == 0 ? low_bf16(pair) : high_bf16(pair);
    }
    static __device__ __forceinline__ Channels of(const float (&v)[8]) {
        return {make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
                           pack_bf16(v[6], v[7]))};
    }
    static __device__ __forceinline__ Channels zero() { return {make_uint4(0, 0, 0, 0)}; }
};

template <>
struct Channels<bf16, 4> {
    uint2 bits;

    __device__ __forceinline__ float operator[](int i) const {
        const unsigned pair = i < 2 ? bits.x : bits.y;
        return i % 2 == 0 ? low_bf16(pair) : high_bf16(pair);
    }
    static __device__ __forceinline__ Channels of(const float (&v)[4]) {
        return {make_uint2(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]))};
    }
    static __device__ __forceinline__ Channels zero() { return {make_uint2(0, 0)}; }
};

// V channels from p, which is at a multiple of V elements.
template <int V, typename T>
__device__ __forceinline__ Channels<T, V> load_channels(const T* p) {
    return *reinterpret_cast<const Channels<T, V>*>(p);
}

// The same where this launch reads them once: they need not stay in cache.
template <int V, typename T>
__device__ __forceinline__ Channels<T, V> load_channels_once(const T* p) {
    using Bits = decltype(Channels<T, V>::bits);
    return {__ldcs(reinterpret_cast<const Bits*>(p))};
}

// One access whatever the compiler does to the code around: it takes a plain store apart where it copies a loop.
template <typename T, int V>
__device__ __forceinline__ void store_channels(T* p, Channels<T, V> v) {
    using Bits = decltype(v.bits);
    __stwb(reinterpret_cast<Bits*>(p), v.bits);
}

// Writes v to p, or adds it to what is there, rounding once.
template <typename T, int V>
__device__ __forceinline__ void write_channels(T* p, const float (&v)[V], unsigned mode) {
    if (mode == kAccumulate) {
        const Channels<T, V> old = load_channels<V>(p);
        float sum[V];
#pragma unroll
        for (int i = 0; i < V; i++) sum[i] = old[i] + v[i];
        store_channels(p, Channels<T, V>::of(sum));
    } else {
        store_channels(p, Channels<T, V>::of(v));
    }
}

// V floats, at a multiple of four.
template <int V>
__device__ __forceinline__ void load_floats(const float* p, float (&v)[V]) {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
        const float4 four = load4(p + i);
        v[i] = four.x;
        v[i + 1] = four.y;
        v[i + 2] = four.z;
        v[i + 3] = four.w;
    }
}

// V pairs of floats, interleaved in memory: (a[0], b[0]), (a[1], b[1]), … at a multiple of two pairs.
template <int V>
__device__ __forceinline__ void load_pairs(const float* p, float (&a)[V], float (&b)[V]) {
#pragma unroll
    for (int i = 0; i < V; i += 2) {
        const float4 two = load4(p + 2 * i);
        a[i] = two.x;
        b[i] = two.y;
        a[i + 1] = two.z;
        b[i + 1] = two.w;
    }
}
template <int V>
__device__ __forceinline__ void store_pairs(float* p, const float (&a)[V], const float (&b)[V]) {
#pragma unroll
    for (int i = 0; i < V; i += 2) store4(p + 2 * i, make_float4(a[i], b[i], a[i + 1], b[i + 1]));
}
