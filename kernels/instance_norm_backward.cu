// Gradients of instance norm, alone or with what follows it. With g = dy where the activation let through, else 0:
//
//     dx = γ·rstd·(g − Σg/P − x̂·Σ(g·x̂)/P)     dresidual = g     dγ = Σ Σ(g·x̂)     dβ = Σ Σg
//
// inner sums over the P positions of a clip, outer ones over clips. The mask of a ReLU is recomputed from x, with the
// bits of forward; after a residual was added it is that of the output.
//
// Layouts: x, y, dy, dx and dresidual (N, P, pitch), f32 or bf16; γ, β, dγ, dβ (pitch), saved {μ, rstd} (N, pitch, 2),
// partials {Σg, Σ(g·x̂)} of runs of positions (N, runs, pitch, 2), totals of clips (N, pitch, 2), all f32.
//
// Small instances (fewer than 1024 positions):
//   _whole       a block owns an instance of up to 16·V channels and holds x and g, so that one reading of them gives
//                the totals and all gradients of activations. Threads lie as in the forward kernel of that name.
// Large ones:
//   _sums        a block owns a run of 32 positions a thread and up to 16·V channels; a thread sums V channels over
//                every so many-th position. Writes dresidual on the way. Not launched where the dgrad that wrote dy left
//                these sums, of runs of 128 positions (common/conv_norm_sums.cuh).
//   _merge       a block owns eight channels of a clip; a thread two of them and every 64th run.
//   _apply       a block owns a run of positions, all channels up to 256 vectors side by side; a thread one vector,
//                whose coefficients stay in registers. Where _sums overwrote dresidual, that is g: it is read instead
//                of dy and y, as if nothing followed the norm.
// Both:
//   _parameters  a block owns eight channels; a thread two of them and every 64th clip, in order.
//
// Shared memory: 9 KB for sums (see sum_rows), and in _whole 32 bytes for each held pair of vectors, at most 64 KB,
// each thread's own: a warp reads and writes 512 bytes in a row. No bank conflicts. A vector V is 16 bytes of channels,
// or 8 of bf16 (_bf16_narrow) if the pitch is four.
//
// Bound: memory. x, dy (and y) are read once by small instances, twice by large ones (dresidual the second time, not dy
// and y), as no dx is known before all of an instance is summed; with the sums of a dgrad dy is read once here, and x a
// second time there. Each gradient is written once.
// Not yet measured on a GPU.
//
// dynamic shared memory: instance_norm_backward_whole_f32 70656
// dynamic shared memory: instance_norm_backward_whole_bf16 74752
// dynamic shared memory: instance_norm_backward_whole_bf16_narrow 37888

#include "common/norm_gradient.cuh"
#include "common/runs.cuh"

struct InstanceNormBackwardArgs {
    const void* x;
    const void* y;  // null unless a residual was added
    const void* dy;
    void* dx;         // null if not wanted
    void* dresidual;  // null if not wanted
    const float* gamma;
    const float* beta;
    const float* saved;
    float* partials;
    float* totals;
    float* dgamma;
    float* dbeta;
    Runs runs;
    unsigned clips;
    unsigned activation;
    unsigned dx_mode;
    unsigned dresidual_mode;
    unsigned dgamma_mode;
    unsigned dbeta_mode;
};
static_assert(sizeof(InstanceNormBackwardArgs) == 152, "the host's struct has the same size");

constexpr unsigned kHeld = 8;      // most vectors of x, and of g, of a thread that a block holds
constexpr unsigned kInFlight = 4;  // positions whose loads a thread starts together

// Buffers at a thread's place.
template <typename T>
struct Buffers {
    const T *x, *y, *dy;
    T *dx, *dresidual;

    __device__ __forceinline__ Buffers(const InstanceNormBackwardArgs& a, size_t start)
        : x(static_cast<const T*>(a.x) + start),
          y(static_cast<const T*>(a.y) + start),
          dy(static_cast<const T*>(a.dy) + start),
          dx(static_cast<T*>(a.dx) + start),
          dresidual(static_cast<T*>(a.dresidual) + start) {}
};

// g of V channels.
template <unsigned kActivation, typename T, int V>
__device__ __forceinline__ void gradient(const Norm<V>& norm, Channels<T, V> x, Channels<T, V> y, Channels<T, V> dy,
                                         float (&g)[V]) {
#pragma unroll
    for (int i = 0; i < V; i++)
        g[i] = kActivation == kPlain ? dy[i] : relu_gradient(kActivation == kRelu ? norm(x[i], i) : y[i], dy[i]);
}

// Reads positions p, p + rows, … of a run and gives their x and g; zeros beyond its end. Writes dresidual.
template <unsigned kActivation, typename T, int V>
__device__ __forceinline__ void read(const InstanceNormBackwardArgs& a, const Buffers<T>& at, const Place<V>& place,
                                     const Norm<V>& norm, unsigned p, Channels<T, V> (&x)[kInFlight],
                                     Channels<T, V> (&g)[kInFlight]) {
    const unsigned rows = a.runs.rows, pitch = a.runs.pitch, end = place.inside ? place.count : 0;
    Channels<T, V> y[kInFlight];
#pragma unroll
    for (unsigned u = 0; u < kInFlight; u++) {
        const unsigned i = (p + u * rows) * pitch;
        const bool in_run = p + u * rows < end;
        x[u] = in_run ? load_channels_once<V>(at.x + i) : Channels<T, V>::zero();
        g[u] = in_run ? load_channels_once<V>(at.dy + i) : Channels<T, V>::zero();
        y[u] = kActivation == kAddRelu && in_run ? load_channels_once<V>(at.y + i) : Channels<T, V>::zero();
    }
#pragma unroll
    for (unsigned u = 0; u < kInFlight; u++) {
        float masked[V];
        gradient<kActivation>(norm, x[u], y[u], g[u], masked);
        g[u] = Channels<T, V>::of(masked);
        if (kActivation == kAddRelu && a.dresidual != nullptr && p + u * rows < end)
            write_channels(at.dresidual + (p + u * rows) * pitch, masked, a.dresidual_mode);
    }
}

// Adds Σg and Σ(g·(x − mean)) of what read() gave.
template <typename T, int V>
__device__ __forceinline__ void add(const Norm<V>& norm, const Channels<T, V> (&x)[kInFlight],
                                    const Channels<T, V> (&g)[kInFlight], float (&sum_g)[V], float (&sum_gx)[V]) {
#pragma unroll
    for (unsigned u = 0; u < kInFlight; u++) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            sum_g[i] += g[u][i];
            sum_gx[i] = fmaf(g[u][i], x[u][i] - norm.mean[i], sum_gx[i]);
        }
    }
}

template <typename T, int V, unsigned kActivation>
__device__ __forceinline__ void sums(const InstanceNormBackwardArgs& a) {
    const Place<V> place(a.runs);
    const Buffers<T> at(a, place.start);
    const float* saved = a.saved + place.in_clip(a.runs) * 2;
    Norm<V> norm = {};
    if (place.inside) norm = load_norm<V>(saved, a.gamma + place.channel, a.beta + place.channel);
    float sum_g[V] = {}, sum_gx[V] = {}, rstd[V] = {};
    for (unsigned p = place.row; p < place.count; p += kInFlight * a.runs.rows) {
        Channels<T, V> x[kInFlight], g[kInFlight];
        read<kActivation>(a, at, place, norm, p, x, g);
        add(norm, x, g, sum_g, sum_gx);
    }
    if (place.inside) load_rstd(saved, rstd);
    total(a.runs.columns, rstd, sum_g, sum_gx, static_sums<V>());
    if (place.row == 0 && place.inside) store_pairs(a.partials + place.in_run(a.runs) * 2, sum_g, sum_gx);
}

// x (0) and g (1) of a position: vector u of a thread is that of position row + u·rows.
template <typename T, int V>
__device__ __forceinline__ Channels<T, V>& held(unsigned u, unsigned which) {
    return held_vector<Channels<T, V>, V>(u * 2 + which);
}

template <typename T, int V, unsigned kActivation>
__device__ __forceinline__ void whole(const InstanceNormBackwardArgs& a) {
    const Place<V> place(a.runs);
    const Buffers<T> at(a, place.start);
    const float* saved = a.saved + place.in_clip(a.runs) * 2;
    const unsigned rows = a.runs.rows;
    Norm<V> norm = {};
    if (place.inside) norm = load_norm<V>(saved, a.gamma + place.channel, a.beta + place.channel);
    float sum_g[V] = {}, sum_gx[V] = {}, rstd[V] = {};
#pragma unroll 1
    for (unsigned u = 0; u < kHeld && place.row + u * rows < place.count; u += kInFlight) {
        Channels<T, V> x[kInFlight], g[kInFlight];
        read<kActivation>(a, at, place, norm, place.row + u * rows, x, g);
        add(norm, x, g, sum_g, sum_gx);
#pragma unroll
        for (unsigned v = 0; v < kInFlight; v++) {
            if (place.row + (u + v) * rows < place.count) {
                held<T, V>(u + v, 0) = x[v];
                held<T, V>(u + v, 1) = g[v];
            }
        }
    }
    if (place.inside) load_rstd(saved, rstd);
    total(a.runs.columns, rstd, sum_g, sum_gx, dynamic_sums<V>());
    if (!place.inside) return;
    if (place.row == 0) store_pairs(a.totals + place.in_clip(a.runs) * 2, sum_g, sum_gx);
    if (a.dx == nullptr) return;
    const Correction<V> correction(norm, rstd, sum_g, sum_gx, place.count);
#pragma unroll 2
    for (unsigned u = 0; u < kHeld; u++) {
        const unsigned p = place.row + u * rows;
        if (p >= place.count) break;
        const Channels<T, V> x = held<T, V>(u, 0), g = held<T, V>(u, 1);
        float dx[V];
#pragma unroll
        for (int i = 0; i < V; i++) dx[i] = correction.dx(norm, x[i], g[i], i);
        write_channels(at.dx + p * a.runs.pitch, dx, a.dx_mode);
    }
}

template <typename T, int V, unsigned kActivation>
__device__ __forceinline__ void apply(const InstanceNormBackwardArgs& a) {
    const Place<V> place(a.runs);
    if (!place.inside) return;
    const Buffers<T> at(a, place.start);
    const unsigned rows = a.runs.rows;
    const float* saved = a.saved + place.in_clip(a.runs) * 2;
    const Norm<V> norm = load_norm<V>(saved, a.gamma + place.channel, a.beta + place.channel);
    float rstd[V], sum_g[V], sum_gx[V];
    load_rstd(saved, rstd);
    load_pairs(a.totals + place.in_clip(a.runs) * 2, sum_g, sum_gx);
    const Correction<V> correction(norm, rstd, sum_g, sum_gx, a.runs.positions);
    for (unsigned p = place.row; p < place.count; p += kInFlight * rows) {
        Channels<T, V> x[kInFlight], g[kInFlight];
        read<kActivation>(a, at, place, norm, p, x, g);
#pragma unroll
        for (unsigned u = 0; u < kInFlight; u++) {
            if (p + u * rows >= place.count) break;
            float dx[V];
#pragma unroll
            for (int i = 0; i < V; i++) dx[i] = correction.dx(norm, x[u][i], g[u][i], i);
            write_channels(at.dx + (p + u * rows) * a.runs.pitch, dx, a.dx_mode);
        }
    }
}

constexpr unsigned kColumns = 4, kRows = 64;

// Σ over i of two channels' pairs at from + i·step: {a, b} of this channel, {a, b} of the next, in all threads of the
// column.
__device__ __forceinline__ void sum_pairs(const float* from, size_t step, unsigned count, bool inside,
                                          float (&sum)[4]) {
    float4 all = make_float4(0.f, 0.f, 0.f, 0.f);
    if (inside) {
#pragma unroll 4
        for (unsigned i = threadIdx.x / kColumns; i < count; i += kRows) all = all + load4(from + i * step);
    }
    sum[0] = all.x;
    sum[1] = all.y;
    sum[2] = all.z;
    sum[3] = all.w;
    sum_rows(sum, kColumns, static_sums<4>());
}

// Slices are of eight channels; there is a block for each clip and slice.
__device__ __forceinline__ void merge(const InstanceNormBackwardArgs& a) {
    const Runs& r = a.runs;
    const unsigned channel = (blockIdx.x % r.slices * kColumns + threadIdx.x % kColumns) * 2;
    const size_t clip = blockIdx.x / r.slices;
    const bool inside = channel < r.pitch;
    float sum[4];
    sum_pairs(a.partials + (clip * r.runs * r.pitch + channel) * 2, (size_t)r.pitch * 2, r.runs, inside, sum);
    if (threadIdx.x < kColumns && inside)
        store4(a.totals + (clip * r.pitch + channel) * 2, make_float4(sum[0], sum[1], sum[2], sum[3]));
}

__device__ __forceinline__ void write2(float* p, float v0, float v1, unsigned mode) {
    float2* to = reinterpret_cast<float2*>(p);
    const float2 old = mode == kAccumulate ? *to : make_float2(0.f, 0.f);
    *to = make_float2(old.x + v0, old.y + v1);
}

// There is a block for each slice of eight channels.
__device__ __forceinline__ void parameters(const InstanceNormBackwardArgs& a) {
    const unsigned channel = (blockIdx.x * kColumns + threadIdx.x % kColumns) * 2;
    const bool inside = channel < a.runs.pitch;
    float sum[4];
    sum_pairs(a.totals + channel * 2, (size_t)a.runs.pitch * 2, a.clips, inside, sum);
    if (threadIdx.x < kColumns && inside) {
        write2(a.dgamma + channel, sum[1], sum[3], a.dgamma_mode);
        write2(a.dbeta + channel, sum[0], sum[2], a.dbeta_mode);
    }
}

#define ENTRIES(suffix, T, V)                                                                                  \
    extern "C" __global__ void __launch_bounds__(kRowThreads)                                                  \
        instance_norm_backward_sums_##suffix(const InstanceNormBackwardArgs a) { BY_ACTIVATION(sums, T, V); }  \
    extern "C" __global__ void __launch_bounds__(kRowThreads)                                                  \
        instance_norm_backward_whole_##suffix(const InstanceNormBackwardArgs a) { BY_ACTIVATION(whole, T, V); } \
    extern "C" __global__ void __launch_bounds__(kRowThreads)                                                  \
        instance_norm_backward_apply_##suffix(const InstanceNormBackwardArgs a) { BY_ACTIVATION(apply, T, V); }

ENTRIES(f32, float, 4)
ENTRIES(bf16, bf16, 8)
ENTRIES(bf16_narrow, bf16, 4)

extern "C" __global__ void __launch_bounds__(kRows* kColumns)
    instance_norm_backward_merge(const InstanceNormBackwardArgs a) { merge(a); }
extern "C" __global__ void __launch_bounds__(kRows* kColumns)
    instance_norm_backward_parameters(const InstanceNormBackwardArgs a) { parameters(a); }
