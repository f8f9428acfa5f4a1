// Linear layers y = x·wᵀ + b and their gradients, up to nine of them in one launch: the heads of a step.
//
//     forward:  y[r, o]  = Σ_i x[r, i]·w[o, i] + b[o]
//     dgrad:    dx[r, i] = Σ_o dy[r, o]·w[o, i]
//     wgrad:    dw[o, i] = Σ_r dy[r, o]·x[r, i],   db[o] = Σ_r dy[r, o]
//
// Layouts, all f32: x, dx (R, pitch(I)); w, dw (pitch(O), pitch(I)); b, db (pitch(O)); y, dy (R, pitch(O)). Padding is 0 and
// comes out 0.
//
// Each is a product C[m, n] = Σ_k A[m, k]·B[n, k]. Who owns what: a block a tile of 64×64 of one problem, a thread 4×4 of it;
// k goes in steps of 16, in order, so a result depends on the problem alone.
//
// Shared memory: A and B of a step, k-major, (16, 68) f32 each: 8,704 bytes. A warp's reads are two rows of A (broadcast)
// and 16 neighbouring vectors of B; its writes are neighbouring words.
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

// One step of an operand into shared memory, k-major. kAlongK: element [i, k] is at i·extent_k + k; otherwise at
// k·extent_i + i. Rows and k past the end are 0.
template <bool kAlongK>
__device__ __forceinline__ void load_step(float (*to)[kStride], const float* from, unsigned first, unsigned k0,
                                          unsigned extent, unsigned extent_k) {
    if (kAlongK) {
        const unsigned i = threadIdx.x % kTile, k = threadIdx.x / kTile * 4;
        float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
        if (first + i < extent && k0 + k < extent_k) v = load4(from + (size_t)(first + i) * extent_k + k0 + k);
        to[k][i] = v.x;
        to[k + 1][i] = v.y;
        to[k + 2][i] = v.z;
        to[k + 3][i] = v.w;
    } else {
        const unsigned i = threadIdx.x % 16 * 4, k = threadIdx.x / 16;
        float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
        if (first + i < extent && k0 + k < extent_k) v = load4(from + (size_t)(k0 + k) * extent + first + i);
        store4(&to[k][i], v);
    }
}

template <bool kAAlongK, bool kBAlongK>
__device__ __forceinline__ void product(const LinearArgs& args) {
    __shared__ __align__(16) float a[kStep][kStride], b[kStep][kStride];
    unsigned number = 0;
    while (number + 1 < args.count && blockIdx.x >= args.problems[number + 1].first) number++;
    const LinearProblem p = args.problems[number];
    const unsigned tile = blockIdx.x - p.first;
    const unsigned m0 = tile / p.columns * kTile, n0 = tile % p.columns * kTile;
    const unsigned tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float4 c[4];
    for (unsigned r = 0; r < 4; r++) c[r] = make_float4(0.f, 0.f, 0.f, 0.f);
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    for (unsigned k0 = 0; k0 < p.k; k0 += kStep) {
        load_step<kAAlongK>(a, p.a, m0, k0, p.m, p.k);
        load_step<kBAlongK>(b, p.b, n0, k0, p.n, p.k);
        __syncthreads();
        for (unsigned k = 0; k < kStep; k++) {
            const float4 row = load4(&a[k][ty * 4]), column = load4(&b[k][tx * 4]);
            c[0] = c[0] + column * row.x;
            c[1] = c[1] + column * row.y;
            c[2] = c[2] + column * row.z;
            c[3] = c[3] + column * row.w;
            sum = sum + row;
        }
        __syncthreads();
    }
    const unsigned m = m0 + ty * 4, n = n0 + tx * 4;
    if (n >= p.n) return;
    const float4 bias = p.bias ? load4(p.bias + n) : make_float4(0.f, 0.f, 0.f, 0.f);
    for (unsigned r = 0; r < 4; r++)
        if (m + r < p.m) write4(p.c + (size_t)(m + r) * p.n + n, c[r] + bias, p.mode);
    if (p.sums && n == 0 && m < p.m) write4(p.sums + m, sum, p.sums_mode);
}

extern "C" __global__ void __launch_bounds__(kThreads) linear_forward(const __grid_constant__ LinearArgs args) {
    product<true, true>(args);
}
extern "C" __global__ void __launch_bounds__(kThreads) linear_dgrad(const __grid_constant__ LinearArgs args) {
    product<true, false>(args);
}
extern "C" __global__ void __launch_bounds__(kThreads) linear_wgrad(const __grid_constant__ LinearArgs args) {
    product<false, false>(args);
}
