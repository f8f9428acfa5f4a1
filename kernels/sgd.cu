// Keras SGD with momentum and L2, over all parameters in one launch:
//
//     g' = g + 2·l2·w on kernels, g elsewhere
//     v  = momentum·v - lr·g'        (lr inside the velocity)
//     w  = w + v
//
// Layouts: w, v, g are flat and f32, (P); copy, if there is one, is bf16 at the same places, (P), for the kernels
// that multiply in bf16. All four start at a multiple of 16 bytes. segments, (gridDim.x), cuts 0..P: each lies
// within one parameter, since L2 applies or not to a parameter as a whole.
//
// Who owns what: a block one segment; a thread every 256th group of four elements of it, aligned in memory.
// Parameters start anywhere (83 channels), so up to three elements at each end of a segment go one at a time.
// A segment of a few thousand elements fills a block and leaves a tail of blocks that is short.
// No shared memory, no atomics: each element is one thread's, so the result does not depend on the launch.
//
// Bound: memory. 20 bytes a parameter (w, v, g read; w, v written), 22 with the copy, against 6 FLOPs.
// Not yet measured on a GPU.

#include "common/vector.cuh"

// As the host passes it, by value.
struct SgdProblem {
    float lr;        // of this step, after schedule and decay
    float momentum;
    float l2;        // adds l2·Σw² to the loss
};
static_assert(sizeof(SgdProblem) == 12, "the host's struct has the same size");

// A run of parameters that are all kernels, or all not.
struct SgdSegment {
    unsigned long long begin;  // first element
    unsigned count;            // elements, at least 1
    unsigned is_kernel;        // 1: L2 applies; 0: it does not
};
static_assert(sizeof(SgdSegment) == 16, "the host's struct has the same size");

constexpr int kThreads = 256;

// One element: updates w and v.
__device__ __forceinline__ void update(float& w, float& v, float g, SgdProblem p, float two_l2) {
    g = fmaf(two_l2, w, g);
    v = fmaf(p.momentum, v, -p.lr * g);
    w += v;
}

template <bool kCopy>
__device__ __forceinline__ void sgd(SgdProblem p, const SgdSegment* __restrict__ segments, float* __restrict__ w,
                                    float* __restrict__ v, const float* __restrict__ g,
                                    __nv_bfloat16* __restrict__ copy) {
    const SgdSegment s = segments[blockIdx.x];
    const float two_l2 = s.is_kernel ? 2.0f * p.l2 : 0.0f;
    const unsigned long long end = s.begin + s.count;
    // The aligned middle; empty if the segment does not hold a whole group.
    const unsigned long long first = min((s.begin + kVector - 1) / kVector * kVector, end);
    const unsigned long long last = max(end / kVector * kVector, first);

    for (unsigned long long i = first + threadIdx.x * kVector; i < last; i += kThreads * kVector) {
        float4 wi = load_once(w + i), vi = load_once(v + i);
        const float4 gi = load_once(g + i);
        update(wi.x, vi.x, gi.x, p, two_l2);
        update(wi.y, vi.y, gi.y, p, two_l2);
        update(wi.z, vi.z, gi.z, p, two_l2);
        update(wi.w, vi.w, gi.w, p, two_l2);
        store_once(w + i, wi);
        store_once(v + i, vi);
        if (kCopy) store_bf16(copy + i, wi);
    }

    // The ends: threads below kVector take one element before the middle, the next ones one after it.
    const unsigned long long before = s.begin + threadIdx.x;
    const unsigned long long after = last + threadIdx.x - kVector;
    const bool at_front = threadIdx.x < kVector && before < first;
    const bool at_back = threadIdx.x >= kVector && after < end;
    if (at_front || at_back) {
        const unsigned long long i = at_front ? before : after;
        update(w[i], v[i], g[i], p, two_l2);
        if (kCopy) copy[i] = __float2bfloat16_rn(w[i]);
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    sgd_f32(SgdProblem p, const SgdSegment* segments, float* w, float* v, const float* g) {
    sgd<false>(p, segments, w, v, g, nullptr);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    sgd_bf16(SgdProblem p, const SgdSegment* segments, float* w, float* v, const float* g, __nv_bfloat16* copy) {
    sgd<true>(p, segments, w, v, g, copy);
}
