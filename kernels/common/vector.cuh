// Four floats at a time: the widest access of a thread (16 bytes), and which of them need not stay in cache.
#pragma once

// Elements of a vector, and so the alignment in elements of its first one.
constexpr unsigned kVector = 4;

// Reads what this launch reads once: it need not stay in cache.
__device__ __forceinline__ float4 load_once(const float* p) {
    return __ldcs(reinterpret_cast<const float4*>(p));
}

// Writes what this launch does not read again.
__device__ __forceinline__ void store_once(float* p, float4 v) {
    __stcs(reinterpret_cast<float4*>(p), v);
}
