// Linear layers y = x·wᵀ + b and their gradients, up to nine of them in one launch: the heads of a step.
//
//     forward:  y[r, o]  = Σ_i x[r, i]·w[o, i] + b[o]
//     dgrad:    dx[r, i] = Σ_o dy[r, o]·w[o, i]
//     wgrad:    dw[o, i] = Σ_r dy[r, o]·x[r, i],   db[o] = Σ_r dy[r, o]
//
// Layouts, all f32: x, dx (R, pitch(I)); w, dw (pitch(O), pitch(I)); b, db (pitch(O)); y, dy (R, pitch(O)). Padding is
// 0 and comes out 0.
//
// Each is a product C[m, n] = Σ_k A[m, k]·B[n, k]. Who owns what: a block a tile of 64×64 of one problem, a thread 4×4
// of it; k goes in steps of 16, in order, so a result depends on the problem alone. The vectors of the next step are on
// their way from global memory to registers while this one is multiplied.
//
// Shared memory: A and B of a step, k-major, (16, 68) f32 each, twice, so that a step has one barrier: 17,408 bytes. A
// warp's reads are two vectors of A (broadcast) and 16 neighbouring ones of B; its writes are neighbouring words.
//
// Bound: latency. The heads of a batch of 128 are 0.3 GFLOP, a negligible share of a step; f32 because projections and
// losses are.
// Not yet measured on a GPU.

#include "common/element.cuh"

constexpr unsigned kMaxProblems = 9;

struct LinearProblem {
    const float* a;
    const float* b;
    const float* bias;  // forward: added to C
    float* c;
    float* sums;        // wgrad: receives the sums of A over k
    unsigned m, n, k;
    unsigned columns;     // tiles of 64 along n
    unsigned first;       // its first block
    unsigned mode;        // of c
    unsigned sums_mode;   // of sums
    unsigned unused;
};
static_assert(sizeof(LinearProblem) == 72, "the host's struct has the same size");

struct LinearArgs {
    LinearProblem problems[kMaxProblems];
    unsigned count;
    unsigned unused;
};
static_assert(sizeof(LinearArgs) == 656, "the host's struct has the same size");

constexpr unsigned kThreads = 256;
constexpr unsigned kTile = 64;
constexpr unsigned kStep = 16;
constexpr unsigned kStride = kTile + 4;

typedef float Step[kStep][kStride];  // of an operand, k-major

// This thread's vector of a step. kAlongK: element [i, k] is at i·extent_k + k; otherwise at k·extent_i + i. Rows and k
// past the end are 0.
template <bool kAlongK>
__device__ __forceinline__ float4 fetch(const float* from, unsigned first, unsigned k0, unsigned extent,
                                        unsigned extent_k) {
    const unsigned i = first + (kAlongK ? threadIdx.x % kTile : threadIdx.x % 16 * 4);
    const unsigned k = k0 + (kAlongK ? threadIdx.x / kTile * 4 : threadIdx.x / 16);
    if (i >= extent || k >= extent_k) return make_float4(0.f, 0.f, 0.f, 0.f);
    return load4(from + (kAlongK ? (size_t)i * extent_k + k : (size_t)k * extent + i));
}

// Puts it where it belongs.
template <bool kAlongK>
__device__ __forceinline__ void put(Step& to, float4 v) {
    if (kAlongK) {
        const unsigned i = threadIdx.x % kTile, k = threadIdx.x / kTile * 4;
        to[k][i] = v.x;
        to[k + 1][i] = v.y;
        to[k + 2][i] = v.z;
        to[k + 3][i] = v.w;
    } else {
        store4(&to[threadIdx.x / 16][threadIdx.x % 16 * 4], v);
    }
}

template <bool kAAlongK, bool kBAlongK, bool kSums>
__device__ __forceinline__ void product(const LinearArgs& args) {
    __shared__ __align__(16) Step a[2], b[2];
    unsigned number = 0;
    while (number + 1 < args.count && blockIdx.x >= args.problems[number + 1].first) number++;
    const LinearProblem p = args.problems[number];
    const unsigned tile = blockIdx.x - p.first;
    const unsigned m0 = tile / p.columns * kTile, n0 = tile % p.columns * kTile;
    const unsigned tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float4 c[4];
    for (unsigned r = 0; r < 4; r++) c[r] = make_float4(0.f, 0.f, 0.f, 0.f);
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    float4 next_a = fetch<kAAlongK>(p.a, m0, 0, p.m, p.k), next_b = fetch<kBAlongK>(p.b, n0, 0, p.n, p.k);
    unsigned half = 0;
    for (unsigned k0 = 0; k0 < p.k; k0 += kStep, half ^= 1) {
        // Whoever still multiplies reads the other half: all have left this one by the last barrier.
        put<kAAlongK>(a[half], next_a);
        put<kBAlongK>(b[half], next_b);
        __syncthreads();
        next_a = fetch<kAAlongK>(p.a, m0, k0 + kStep, p.m, p.k);
        next_b = fetch<kBAlongK>(p.b, n0, k0 + kStep, p.n, p.k);
        for (unsigned k = 0; k < kStep; k++) {
            const float4 row = load4(&a[half][k][ty * 4]), column = load4(&b[half][k][tx * 4]);
            c[0] = c[0] + column * row.x;
            c[1] = c[1] + column * row.y;
            c[2] = c[2] + column * row.z;
            c[3] = c[3] + column * row.w;
            if (kSums) sum = sum + row;
        }
    }
    const unsigned m = m0 + ty * 4, n = n0 + tx * 4;
    if (n >= p.n) return;
    const float4 bias = p.bias ? load4(p.bias + n) : make_float4(0.f, 0.f, 0.f, 0.f);
    for (unsigned r = 0; r < 4; r++)
        if (m + r < p.m) write4(p.c + (size_t)(m + r) * p.n + n, c[r] + bias, p.mode);
    if (kSums && n == 0 && m < p.m) write4(p.sums + m, sum, p.sums_mode);
}

extern "C" __global__ void __launch_bounds__(kThreads) linear_forward(const __grid_constant__ LinearArgs args) {
    product<true, true, false>(args);
}
extern "C" __global__ void __launch_bounds__(kThreads) linear_dgrad(const __grid_constant__ LinearArgs args) {
    product<true, false, false>(args);
}
extern "C" __global__ void __launch_bounds__(kThreads) linear_wgrad(const __grid_constant__ LinearArgs args) {
    product<false, false, true>(args);
}
