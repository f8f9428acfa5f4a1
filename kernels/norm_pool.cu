// Instance norm, ReLU and max-pool in one pass, and its gradients: y[o] = max z[i], won[o] = the winner's place in the window,
// over i of o's window, where z = ReLU((x − μ)·rstd·γ + β), rounded as it would be if it were stored. It never is. A window's
// first largest one in raster order wins, a NaN wins over numbers. With g[i] = Σ dy[o] over windows o that i won, where z[i]
// is not 0 (padding takes part in nothing):
//
//     dx = γ·rstd·(g − Σg/P − x̂·Σ(g·x̂)/P)     dγ = Σ Σ(g·x̂)     dβ = Σ Σg
//
// inner sums over the P inputs of a clip, outer ones over clips.
//
// Layouts: x and dx (N, T, H, W, pitch), y and dy (N, To, Ho, Wo, pitch), f32 or bf16; won (N, To, Ho, Wo, pitch), u8; γ and
// β (pitch), saved {μ, rstd} (N, pitch, 2), partials {Σg, Σ(g·x̂)} of runs (N, runs, pitch, 2), totals of clips (N, pitch,
// 2), all f32. μ and rstd come from the kernels of instance_norm.cu; those of instance_norm_backward.cu add up runs and clips.
//
//   _forward         a thread owns V channels of every so many-th output of a run: reads the windows, keeps the largest.
//   _backward_sums   a thread owns V channels of every so many-th cell, a box as large as the stride, if windows lie apart
//                    (_apart): it reads dy and won of the one window that can hold the cell's inputs, and each of these
//                    once. Where windows overlap it owns inputs, each of which asks the windows that hold it.
//   _backward_apply  the same again, with the totals: writes dx.
//
// A block owns a run of a clip: all channels up to 256 vectors side by side, or up to 16 where it sums over its rows. A
// thread's constants stay in registers while 32 positions pass. V is 16 bytes of channels, or 8 of bf16 (_bf16_narrow) if the
// pitch is four. Shared memory: 9 KB in _backward_sums (see sum_rows), no bank conflicts.
//
// Bound: memory. Forward reads x once and writes y and won once, a quarter or an eighth as many; backward reads x, dy and won
// twice and writes dx once. Where windows overlap caches serve the repeats: of x up to eight forward, of dy and won up to 27
// backward (3×3×3, stride 2). Cells have four inputs in flight.
// Not yet measured on a GPU.

#include "common/norm_gradient.cuh"
#include "common/runs.cuh"
#include "common/windows.cuh"

struct NormPoolArgs {
    const void* x;
    void* y;
    const void* dy;
    void* dx;
    unsigned char* won;  // written forward, read backward
    const float* gamma;
    const float* beta;
    const float* saved;
    float* partials;
    const float* totals;
    Runs runs;         // of outputs, cells or inputs
    Windows windows;
    unsigned over[3];  // extents of outputs, cells or inputs
    unsigned dx_mode;
};
static_assert(sizeof(NormPoolArgs) == 192, "the host's struct has the same size");

// What threads are for: an output, a cell or an input.
struct Spot {
    unsigned t, h, w;

    // The p-th of a block's run.
    template <int V>
    __device__ __forceinline__ Spot(const NormPoolArgs& a, const Place<V>& place, unsigned p) {
        const unsigned i = place.run * a.runs.run + p, row = i / a.over[2];
        w = i % a.over[2];
        h = row % a.over[1];
        t = row / a.over[1];
    }
};

// This thread's channels at the first position of its clip, in a buffer of (clips, extent, pitch).
template <int V>
__device__ __forceinline__ size_t start(const NormPoolArgs& a, const Place<V>& place, const unsigned (&extent)[3]) {
    return place.clip * extent[0] * extent[1] * extent[2] * a.runs.pitch + place.channel;
}

template <int V>
__device__ __forceinline__ Norm<V> norm_at(const NormPoolArgs& a, const Place<V>& place) {
    return load_norm<V>(a.saved + place.in_clip(a.runs) * 2, a.gamma + place.channel, a.beta + place.channel);
}

template <typename T, int V>
__device__ __forceinline__ void forward(const NormPoolArgs& a) {
    const Place<V> place(a.runs);
    if (!place.inside) return;
    const Norm<V> norm = norm_at(a, place);
    const auto z = [&](Channels<T, V> x) { return normalised<kRelu>(norm, x, Channels<T, V>::zero()); };
    const T* x = static_cast<const T*>(a.x) + start(a, place, a.windows.input);
    T* y = static_cast<T*>(a.y) + place.start;
    unsigned char* won = a.won + place.start;
    for (unsigned p = place.row; p < place.count; p += a.runs.rows) {
        const Spot at(a, place, p);
        const Best<V> best = best_of_window<T, V>(a.windows, x, at.t, at.h, at.w, z);
        store_channels(y + p * a.runs.pitch, Channels<T, V>::of(best.value));
        store_bytes(won + p * a.runs.pitch, Bytes<V>::of(best.place));
    }
}

// g of V channels, from what the windows hand back.
template <typename T, int V>
__device__ __forceinline__ void mask(const Norm<V>& norm, Channels<T, V> x, float (&g)[V]) {
#pragma unroll
    for (int i = 0; i < V; i++) g[i] = relu_gradient(norm(x[i], i), g[i]);
}

// Calls use(i, x, g) for this thread's inputs, i being the place of one in its clip.
template <bool kApart, typename T, int V, typename Use>
__device__ __forceinline__ void for_each_input(const NormPoolArgs& a, const Place<V>& place, const Norm<V>& norm, Use use) {
    const Windows& s = a.windows;
    const T* x = static_cast<const T*>(a.x) + start(a, place, s.input);
    const size_t outputs = start(a, place, s.output);
    const T* dy = static_cast<const T*>(a.dy) + outputs;
    const unsigned char* won = a.won + outputs;
    for (unsigned p = place.row; p < place.count; p += a.runs.rows) {
        const Spot at(a, place, p);
        float g[V];
        if (!kApart) {
            const size_t i = s.at(s.input, at.t, at.h, at.w);
            const Channels<T, V> read = load_channels_once<V>(x + i);
            hand_back(s, dy, won, at.t, at.h, at.w, g);
            mask(norm, read, g);
            use(i, read, g);
            continue;
        }
        const Window<T, V> window(s, dy, won, at.t, at.h, at.w);
        const uint2 ts = s.cell(0, at.t), hs = s.cell(1, at.h), ws = s.cell(2, at.w);
        for (unsigned t = ts.x; t < ts.y; t++) {
            for (unsigned h = hs.x; h < hs.y; h += 2) {
                for (unsigned w = ws.x; w < ws.y; w += 2) {
                    const size_t first = s.at(s.input, t, h, w);
                    Channels<T, V> read[4];
#pragma unroll
                    for (unsigned k = 0; k < 4; k++) {
                        const bool in_cell = h + k / 2 < hs.y && w + k % 2 < ws.y;
                        const unsigned i = (k / 2 * s.input[2] + k % 2) * s.pitch;
                        read[k] = in_cell ? load_channels_once<V>(x + first + i) : Channels<T, V>::zero();
                    }
#pragma unroll
                    for (unsigned k = 0; k < 4; k++) {
                        if (h + k / 2 >= hs.y || w + k % 2 >= ws.y) continue;
                        window.hand_back(s.place(t, h + k / 2, w + k % 2, at.t, at.h, at.w), g);
                        mask(norm, read[k], g);
                        use(first + (k / 2 * s.input[2] + k % 2) * s.pitch, read[k], g);
                    }
                }
            }
        }
    }
}

template <bool kApart, typename T, int V>
__device__ __forceinline__ void sums(const NormPoolArgs& a) {
    const Place<V> place(a.runs);
    float sum_g[V] = {}, sum_gx[V] = {}, rstd[V] = {};
    if (place.inside) {
        const Norm<V> norm = norm_at(a, place);
        for_each_input<kApart, T>(a, place, norm, [&](size_t, Channels<T, V> x, const float (&g)[V]) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                sum_g[i] += g[i];
                sum_gx[i] = fmaf(g[i], x[i] - norm.mean[i], sum_gx[i]);
            }
        });
        load_rstd(a.saved + place.in_clip(a.runs) * 2, rstd);
    }
    total(a.runs.columns, rstd, sum_g, sum_gx, static_sums<V>());
    if (place.row == 0 && place.inside) store_pairs(a.partials + place.in_run(a.runs) * 2, sum_g, sum_gx);
}

template <bool kApart, typename T, int V>
__device__ __forceinline__ void apply(const NormPoolArgs& a) {
    const Place<V> place(a.runs);
    if (!place.inside) return;
    const Norm<V> norm = norm_at(a, place);
    float rstd[V], sum_g[V], sum_gx[V];
    load_rstd(a.saved + place.in_clip(a.runs) * 2, rstd);
    load_pairs(a.totals + place.in_clip(a.runs) * 2, sum_g, sum_gx);
    const unsigned (&extent)[3] = a.windows.input;
    const Correction<V> correction(norm, rstd, sum_g, sum_gx, extent[0] * extent[1] * extent[2]);
    T* to = static_cast<T*>(a.dx) + start(a, place, extent);
    for_each_input<kApart, T>(a, place, norm, [&](size_t at, Channels<T, V> x, const float (&g)[V]) {
        float dx[V];
#pragma unroll
        for (int i = 0; i < V; i++) dx[i] = correction.dx(norm, x[i], g[i], i);
        write_channels(to + at, dx, a.dx_mode);
    });
}

#define ENTRY(name, suffix, pass)                                                                                      \
    extern "C" __global__ void __launch_bounds__(kRowThreads, 2) norm_pool_##name##_##suffix(const NormPoolArgs a) {         \
        pass(a);                                                                                                       \
    }
#define ENTRIES(suffix, T, V)                                        \
    ENTRY(forward, suffix, (forward<T, V>))                          \
    ENTRY(backward_sums, suffix, (sums<false, T, V>))                \
    ENTRY(backward_sums_apart, suffix, (sums<true, T, V>))           \
    ENTRY(backward_apply, suffix, (apply<false, T, V>))              \
    ENTRY(backward_apply_apart, suffix, (apply<true, T, V>))

ENTRIES(f32, float, 4)
ENTRIES(bf16, bf16, 8)
ENTRIES(bf16_narrow, bf16, 4)
