// Instance norm, alone or with what follows it: y = act((x − μ)·rstd·γ + β [+ residual]), with mean μ and biased
// variance of each (clip, channel) over all positions, rstd = 1/√(variance + ε).
//
// Layouts: x, residual and y (N, P, pitch), f32 or bf16; γ and β (pitch), saved {μ, rstd} (N, pitch, 2), partials
// {mean, Σ(x − mean)²} (N, tiles of 128 positions, pitch, 2), all f32. Squares are of deviations from a mean that is known
// by then, never E[x²] − E[x]², which 200,704 positions would not survive.
//
// Small instances (fewer than 1024 positions), one launch:
//   _whole       a block owns an instance of up to 16·V channels and holds it in shared memory, up to eight vectors a
//                thread, so that one reading of x gives mean, deviations and result. Rows of the block take positions
//                in turn, its columns are neighbouring vectors of channels; the fewer positions, the more columns: 32
//                contiguous bytes at 1023 positions, 256 below 129.
// Large ones, three launches, of which a convolution whose epilogue leaves partials makes the first needless:
//   _statistics  a block owns a tile of positions and up to 16·V channels, held likewise.
//   _merge       a block owns eight channels of a clip; a thread two of them and every 64th tile, merged by the formula
//                of Chan, Golub & LeVeque (1979); then lanes, then warps, in a fixed order.
//   _apply       a block owns a run of positions, all channels up to 256 vectors side by side; a thread one vector,
//                whose mean, scale and shift stay in registers, and every so many-th position, four loads in flight.
//
// Shared memory: of _whole and _statistics 16 bytes for each held vector, each thread's own, 512 in a row for a warp,
// and 9 KB for sums (see sum_rows), 41 KB at most; 0.8 KB for _merge. No bank conflicts. A vector V is 16 bytes of
// channels, or 8 of bf16 (_bf16_narrow) if the pitch is four.
//
// Bound: memory. x and the residual are read once, y is written once; large instances read x once more where the
// partials are made here, which are 1/32 (bf16) of it.
// Not yet measured on a GPU.
//
// dynamic shared memory: instance_norm_whole_f32 37888
// dynamic shared memory: instance_norm_whole_bf16 41984
// dynamic shared memory: instance_norm_whole_bf16_narrow 21504
// dynamic shared memory: instance_norm_statistics_f32 37888
// dynamic shared memory: instance_norm_statistics_bf16 41984
// dynamic shared memory: instance_norm_statistics_bf16_narrow 21504

#include "common/normalise.cuh"
#include "common/reduce.cuh"
#include "common/runs.cuh"

struct InstanceNormArgs {
    const void* x;
    const void* residual;  // null unless added
    void* y;
    const float* gamma;
    const float* beta;
    float* partials;
    float* saved;
    Runs runs;
    unsigned activation;
    float eps;
};
static_assert(sizeof(InstanceNormArgs) == 96, "the host's struct has the same size");

constexpr unsigned kHeld = 8;      // most vectors of a thread that a block holds
constexpr unsigned kInFlight = 4;  // loads that _apply starts together

// Vector u of a thread, which is that of position row + u·rows of the run.
template <typename T, int V>
__device__ __forceinline__ Channels<T, V>& held(unsigned u) {
    return held_vector<Channels<T, V>, V>(u);
}

// Holds the run, and gives mean and sum of squared deviations of each channel to all threads of the channel.
template <typename T, int V>
__device__ __forceinline__ void moments(const T* x, const Place<V>& at, const InstanceNormArgs& a, float (&mean)[V],
                                        float (&m2)[V]) {
    RowSums<V>& sums = dynamic_sums<V>();
    Channels<T, V> read[kHeld];
#pragma unroll
    for (unsigned u = 0; u < kHeld; u++) {
        const unsigned p = at.row + u * a.runs.rows;
        read[u] = at.inside && p < at.count ? load_channels_once<V>(x + p * a.runs.pitch) : Channels<T, V>::zero();
    }
#pragma unroll
    for (int i = 0; i < V; i++) mean[i] = 0.f;
#pragma unroll
    for (unsigned u = 0; u < kHeld; u++) {
        if (at.row + u * a.runs.rows < at.count) held<T, V>(u) = read[u];
#pragma unroll
        for (int i = 0; i < V; i++) mean[i] += read[u][i];
    }
    sum_rows(mean, a.runs.columns, sums);
    const float share = 1.0f / at.count;
#pragma unroll
    for (int i = 0; i < V; i++) {
        mean[i] *= share;
        m2[i] = 0.f;
    }
#pragma unroll
    for (unsigned u = 0; u < kHeld; u++) {
        if (at.row + u * a.runs.rows < at.count) {
            const Channels<T, V> x = held<T, V>(u);
#pragma unroll
            for (int i = 0; i < V; i++) {
                const float d = x[i] - mean[i];
                m2[i] = fmaf(d, d, m2[i]);
            }
        }
    }
    sum_rows(m2, a.runs.columns, sums);
}

__device__ __forceinline__ float reciprocal_deviation(float variance, float eps) {
    return 1.0f / sqrtf(variance + eps);
}

template <typename T, int V>
__device__ __forceinline__ void statistics(const InstanceNormArgs& a) {
    const Place<V> at(a.runs);
    float mean[V], m2[V];
    moments(static_cast<const T*>(a.x) + at.start, at, a, mean, m2);
    if (at.row == 0 && at.inside) store_pairs(a.partials + at.in_run(a.runs) * 2, mean, m2);
}

template <typename T, int V, unsigned kActivation>
__device__ __forceinline__ void whole(const InstanceNormArgs& a) {
    const Place<V> at(a.runs);
    Norm<V> norm;
    float rstd[V];
    moments(static_cast<const T*>(a.x) + at.start, at, a, norm.mean, rstd);
    if (!at.inside) return;
#pragma unroll
    for (int i = 0; i < V; i++) rstd[i] = reciprocal_deviation(rstd[i] / at.count, a.eps);
    if (at.row == 0) store_pairs(a.saved + at.in_clip(a.runs) * 2, norm.mean, rstd);

    load_floats(a.gamma + at.channel, norm.scale);
    load_floats(a.beta + at.channel, norm.shift);
#pragma unroll
    for (int i = 0; i < V; i++) norm.scale[i] *= rstd[i];
    T* y = static_cast<T*>(a.y) + at.start;
    const T* residual = kActivation == kAddRelu ? static_cast<const T*>(a.residual) + at.start : nullptr;
#pragma unroll kInFlight
    for (unsigned u = 0; u < kHeld; u++) {
        const unsigned p = at.row + u * a.runs.rows;
        if (p >= at.count) break;
        const unsigned i = p * a.runs.pitch;
        const Channels<T, V> r =
            kActivation == kAddRelu ? load_channels_once<V>(residual + i) : Channels<T, V>::zero();
        store_channels(y + i, normalised<kActivation>(norm, held<T, V>(u), r));
    }
}

// Statistics of two neighbouring channels over some positions.
struct Moments {
    float count;
    float2 mean, m2;

    // Adds more positions.
    __device__ __forceinline__ void add(const Moments& more) {
        if (more.count == 0.f) return;
        const float total = count + more.count;
        const float share = more.count / total, cross = count * share;
        const float dx = more.mean.x - mean.x, dy = more.mean.y - mean.y;
        mean = make_float2(fmaf(dx, share, mean.x), fmaf(dy, share, mean.y));
        m2 = make_float2(m2.x + fmaf(dx * dx, cross, more.m2.x), m2.y + fmaf(dy * dy, cross, more.m2.y));
        count = total;
    }

    // Of the lane `apart` further up.
    __device__ __forceinline__ Moments down(unsigned apart) const {
        const auto from = [&](float v) { return __shfl_down_sync(~0u, v, apart); };
        return {from(count), make_float2(from(mean.x), from(mean.y)), make_float2(from(m2.x), from(m2.y))};
    }
};

constexpr unsigned kMergeColumns = 4, kMergeRows = 64, kMergeThreads = kMergeColumns * kMergeRows;
constexpr unsigned kWarps = kMergeThreads / 32;

// Here rows and columns are constants, the run is a tile and slices are of eight channels; there is a block for each
// clip and slice.
__device__ __forceinline__ void merge(const InstanceNormArgs& a) {
    const Runs& r = a.runs;
    const unsigned column = threadIdx.x % kMergeColumns, row = threadIdx.x / kMergeColumns;
    const unsigned slice = blockIdx.x % r.slices, channel = (slice * kMergeColumns + column) * 2;
    const size_t clip = blockIdx.x / r.slices;
    Moments all = {};
    if (channel < r.pitch) {
        const float* partials = a.partials + (clip * r.runs * r.pitch + channel) * 2;
#pragma unroll 4
        for (unsigned tile = row; tile < r.runs; tile += kMergeRows) {
            const float4 two = load4(partials + (size_t)tile * r.pitch * 2);
            const unsigned count = min(r.run, r.positions - tile * r.run);
            all.add({(float)count, make_float2(two.x, two.z), make_float2(two.y, two.w)});
        }
    }
#pragma unroll
    for (unsigned apart = 16; apart >= kMergeColumns; apart /= 2) all.add(all.down(apart));
    __shared__ Moments shared[kWarps][kMergeColumns];
    if (threadIdx.x % 32 < kMergeColumns) shared[threadIdx.x / 32][column] = all;
    __syncthreads();
    if (row != 0 || channel >= r.pitch) return;
    for (unsigned warp = 1; warp < kWarps; warp++) all.add(shared[warp][column]);
    const float mean[2] = {all.mean.x, all.mean.y};
    const float rstd[2] = {reciprocal_deviation(all.m2.x / r.positions, a.eps),
                           reciprocal_deviation(all.m2.y / r.positions, a.eps)};
    store_pairs(a.saved + (clip * r.pitch + channel) * 2, mean, rstd);
}

template <typename T, int V, unsigned kActivation>
__device__ __forceinline__ void apply(const InstanceNormArgs& a) {
    const Place<V> at(a.runs);
    if (!at.inside) return;
    const Norm<V> norm =
        load_norm<V>(a.saved + at.in_clip(a.runs) * 2, a.gamma + at.channel, a.beta + at.channel);
    const T* x = static_cast<const T*>(a.x) + at.start;
    const T* residual = kActivation == kAddRelu ? static_cast<const T*>(a.residual) + at.start : nullptr;
    T* y = static_cast<T*>(a.y) + at.start;
    const unsigned rows = a.runs.rows, pitch = a.runs.pitch;
    for (unsigned p = at.row; p < at.count; p += kInFlight * rows) {
        Channels<T, V> xs[kInFlight], residuals[kInFlight];
#pragma unroll
        for (unsigned u = 0; u < kInFlight; u++) {
            const unsigned i = (p + u * rows) * pitch;
            const bool in_run = p + u * rows < at.count;
            xs[u] = in_run ? load_channels_once<V>(x + i) : Channels<T, V>::zero();
            residuals[u] =
                kActivation == kAddRelu && in_run ? load_channels_once<V>(residual + i) : Channels<T, V>::zero();
        }
#pragma unroll
        for (unsigned u = 0; u < kInFlight; u++) {
            if (p + u * rows < at.count)
                store_channels(y + (p + u * rows) * pitch, normalised<kActivation>(norm, xs[u], residuals[u]));
        }
    }
}

#define ENTRIES(suffix, T, V)                                                                                          \
    extern "C" __global__ void __launch_bounds__(kRowThreads)                                                          \
        instance_norm_statistics_##suffix(const InstanceNormArgs a) { statistics<T, V>(a); }                           \
    extern "C" __global__ void __launch_bounds__(kRowThreads)                                                          \
        instance_norm_whole_##suffix(const InstanceNormArgs a) { BY_ACTIVATION(whole, T, V); }                         \
    extern "C" __global__ void __launch_bounds__(kRowThreads)                                                          \
        instance_norm_apply_##suffix(const InstanceNormArgs a) { BY_ACTIVATION(apply, T, V); }

ENTRIES(f32, float, 4)
ENTRIES(bf16, bf16, 8)
ENTRIES(bf16_narrow, bf16, 4)

extern "C" __global__ void __launch_bounds__(kMergeThreads) instance_norm_merge(const InstanceNormArgs a) { merge(a); }
