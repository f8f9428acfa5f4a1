// Four floats at a time: the widest access of a thread (16 bytes), and which of them stay in cache.
#pragma once

#include <cuda_bf16.h>

// Elements of a vector, and so the alignment in elements of its first one.
constexpr int kVector = 4;

// Reads what this launch reads once: it need not stay in cache.
__device__ __forceinline__ float4 load_once(const float* p) {
    return __ldcs(reinterpret_cast<const float4*>(p));
}

// Writes what this launch does not read again.
__device__ __forceinline__ void store_once(float* p, float4 v) {
    __stcs(reinterpret_cast<float4*>(p), v);
}

// Four bf16, rounded to nearest even, in one 8-byte write. They are what the next launches read, so they stay in
// cache.
__device__ __forceinline__ void store_bf16(__nv_bfloat16* p, float4 v) {
    const __nv_bfloat162 low = __floats2bfloat162_rn(v.x, v.y);
    const __nv_bfloat162 high = __floats2bfloat162_rn(v.z, v.w);
    uint2 bits;
    bits.x = *reinterpret_cast<const unsigned*>(&low);
    bits.y = *reinterpret_cast<const unsigned*>(&high);
    *reinterpret_cast<uint2*>(p) = bits;
}
