// Keras SGD with momentum, L2, gradient clipping and LARS, over all parameters at once:
//
//     g' = g + 2·l2·w on kernels, g elsewhere
//     v  = momentum·v - rate·g'        (the rate inside the velocity)
//     w  = w + v
//
// in three launches without the host: sgd_measure takes Σg'² and Σw² of every segment; sgd_rates, one block, adds them up,
// and from the step's learning rate makes each parameter's rate (clipped, scaled by LARS) and the figures that the host
// reads afterwards; sgd_update applies them, or nothing if the loss or the norm of the gradient is not finite.
//
// Layouts: w, v, g are flat and f32, (P); copy, if there is one, is bf16 at the same places, (P), for the kernels that
// multiply in bf16. All four start at a multiple of 16 bytes. segments, (S), cuts 0..P: each lies within one parameter,
// starts at a multiple of four elements and is a multiple of four long. parameters, (N), says which segments are whose.
//
// Who owns what: in measure and update a block one segment, a thread every 256th group of four elements of it. In rates a
// warp every eighth parameter, a lane every 32nd segment of it; then the first warp all parameters. Sums are taken in an
// order that depends on the tables alone, in f64: no atomics.
//
// Shared memory: measure 128 bytes (one pair of doubles a warp), written by one lane and read by one warp.
//
// Bound: memory. measure reads 8 bytes a parameter; update reads 12 and writes 8, 10 with the copy. g and w are read twice
// because the norm of the whole gradient is needed before the first weight changes.
// Not yet measured on a GPU.

#include "common/element.cuh"
#include "common/vector.cuh"

struct SgdSegment {
    unsigned long long begin;  // first element
    unsigned count;            // elements
    unsigned parameter;        // whose
};
static_assert(sizeof(SgdSegment) == 16, "the host's struct has the same size");

struct SgdParameter {
    unsigned first;      // its first segment
    unsigned count;      // segments
    unsigned is_kernel;  // 1: L2 and LARS apply; 0: they do not
    unsigned unused;
};
static_assert(sizeof(SgdParameter) == 16, "the host's struct has the same size");

struct SgdSquares {
    double gradient;  // Σg'²
    double weights;   // Σw²
};

// What the host reads after a step.
struct SgdFigures {
    double losses[6];      // as the objective left them
    double l2;             // l2·Σw² over kernels
    double gradient_norm;  // of g', before clipping
    double lr;
    unsigned long long finite;   // 1: updated; 0: nothing was
    unsigned long long updates;  // so far
};
static_assert(sizeof(SgdFigures) == 88, "the host's struct has the same size");

struct SgdArgs {
    const SgdSegment* segments;
    const SgdParameter* parameters;
    SgdSquares* squares;   // (S), then (N)
    float* rates;          // (N)
    SgdFigures* figures;
    const double* losses;  // (6)
    const double* lr;      // of this step
    float* w;
    float* v;
    const float* g;
    bf16* copy;
    double l2;
    double clip_norm;  // 0: none
    double lars;       // 0: none
    float momentum;
    unsigned segment_count;
    unsigned parameter_count;
    unsigned unused;
};
static_assert(sizeof(SgdArgs) == 128, "the host's struct has the same size");

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / 32;

__device__ __forceinline__ SgdSquares operator+(SgdSquares a, SgdSquares b) {
    return {a.gradient + b.gradient, a.weights + b.weights};
}

// The sum over a warp, in every lane; the same tree always.
__device__ __forceinline__ SgdSquares warp_sum(SgdSquares s) {
    for (unsigned offset = 16; offset > 0; offset /= 2) {
        s.gradient += __shfl_xor_sync(~0u, s.gradient, offset);
        s.weights += __shfl_xor_sync(~0u, s.weights, offset);
    }
    return s;
}

__device__ __forceinline__ float decay(const SgdArgs& a, const SgdSegment& s) {
    return a.parameters[s.parameter].is_kernel ? static_cast<float>(2.0 * a.l2) : 0.0f;
}

// In f64, so that a gradient that is finite has a finite norm.
__device__ __forceinline__ void add_squares(SgdSquares& sum, float w, float g, float two_l2) {
    const double total = fmaf(two_l2, w, g), weight = w;
    sum.gradient += total * total;
    sum.weights += weight * weight;
}

extern "C" __global__ void __launch_bounds__(kThreads) sgd_measure(const SgdArgs a) {
    __shared__ SgdSquares sums[kWarps];
    const SgdSegment s = a.segments[blockIdx.x];
    const float two_l2 = decay(a, s);
    SgdSquares sum = {0.0, 0.0};
    for (unsigned i = threadIdx.x * kVector; i < s.count; i += kThreads * kVector) {
        const float4 w = load4(a.w + s.begin + i), g = load4(a.g + s.begin + i);
        add_squares(sum, w.x, g.x, two_l2);
        add_squares(sum, w.y, g.y, two_l2);
        add_squares(sum, w.z, g.z, two_l2);
        add_squares(sum, w.w, g.w, two_l2);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        SgdSquares all = sums[0];
        for (unsigned warp = 1; warp < kWarps; warp++) all = all + sums[warp];
        a.squares[blockIdx.x] = all;
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) sgd_rates(const SgdArgs a) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    SgdSquares* const totals = a.squares + a.segment_count;
    for (unsigned p = warp; p < a.parameter_count; p += kWarps) {
        const SgdParameter parameter = a.parameters[p];
        SgdSquares sum = {0.0, 0.0};
        for (unsigned i = lane; i < parameter.count; i += 32) sum = sum + a.squares[parameter.first + i];
        sum = warp_sum(sum);
        if (lane == 0) totals[p] = sum;
    }
    __syncthreads();
    if (warp > 0) return;

    SgdSquares sum = {0.0, 0.0};
    for (unsigned p = lane; p < a.parameter_count; p += 32) {
        const SgdSquares total = totals[p];
        sum.gradient += total.gradient;
        if (a.parameters[p].is_kernel) sum.weights += total.weights;
    }
    sum = warp_sum(sum);
    const double norm = sqrt(sum.gradient), l2 = a.l2 * sum.weights, lr = *a.lr;
    double loss = l2;
    for (unsigned i = 0; i < 6; i++) loss += a.losses[i];
    const bool finite = isfinite(loss) && isfinite(norm);
    const double clip = a.clip_norm > 0.0 && norm > a.clip_norm ? a.clip_norm / norm : 1.0;
    for (unsigned p = lane; p < a.parameter_count; p += 32) {
        // LARS (arXiv:1708.03888): trust·‖w‖/‖g‖ for kernels, 1 where that has no meaning.
        const double w = sqrt(totals[p].weights), g = sqrt(totals[p].gradient) * clip;
        const bool applies = a.lars > 0.0 && a.parameters[p].is_kernel && w > 0.0 && g > 0.0;
        a.rates[p] = static_cast<float>(lr * clip * (applies ? a.lars * w / g : 1.0));
    }
    if (lane == 0) {
        for (unsigned i = 0; i < 6; i++) a.figures->losses[i] = a.losses[i];
        a.figures->l2 = l2;
        a.figures->gradient_norm = norm;
        a.figures->lr = lr;
        a.figures->finite = finite;
        if (finite) a.figures->updates++;
    }
}

// One element: updates w and v.
__device__ __forceinline__ void update(float& w, float& v, float g, float momentum, float rate, float two_l2) {
    v = momentum * v - rate * fmaf(two_l2, w, g);
    w += v;
}

template <bool kCopy>
__device__ __forceinline__ void apply(const SgdArgs& a) {
    if (!a.figures->finite) return;
    const SgdSegment s = a.segments[blockIdx.x];
    const float two_l2 = decay(a, s), rate = a.rates[s.parameter];
    for (unsigned i = threadIdx.x * kVector; i < s.count; i += kThreads * kVector) {
        const unsigned long long at = s.begin + i;
        float4 w = load_once(a.w + at), v = load_once(a.v + at);
        const float4 g = load_once(a.g + at);
        update(w.x, v.x, g.x, a.momentum, rate, two_l2);
        update(w.y, v.y, g.y, a.momentum, rate, two_l2);
        update(w.z, v.z, g.z, a.momentum, rate, two_l2);
        update(w.w, v.w, g.w, a.momentum, rate, two_l2);
        store_once(a.w + at, w);
        store_once(a.v + at, v);
        if (kCopy) store4(a.copy + at, w);  // what the next launches read, so it stays in cache
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) sgd_update_f32(const SgdArgs a) { apply<false>(a); }
extern "C" __global__ void __launch_bounds__(kThreads) sgd_update_bf16(const SgdArgs a) { apply<true>(a); }
