// Max-pool over windows of positions, and its gradient. Padding counts as −∞; the first index in raster order wins a
// tie, a NaN wins over numbers.
//
//     forward:   y[o] = max x[i], won[o] = the winner's place in the window, in raster order, over i of o's window
//     backward:  dx[i] = Σ dy[o] over windows o that i won, in raster order, written or added
//
// Layouts: x and dx (N, T, H, W, pitch), y and dy (N, To, Ho, Wo, pitch), f32 or bf16; won (N, To, Ho, Wo, pitch), u8.
//
// Who owns what: a thread V channels of one output (forward), of one input (backward over windows that overlap), or of
// one cell, a box as large as the stride, whose inputs only one window can hold (backward otherwise): it reads that
// window's dy and won once and writes each dx once. A block owns 256 vectors in a row of one (clip, frame), so
// that a warp reads and writes whole lines: neighbours along the channels, then along W. V is 16 bytes of channels, or
// 8 of bf16 (_bf16_narrow) if the pitch is four. No shared memory.
//
// Where windows overlap, an input is read by up to eight threads forward and a dy and won by up to 27 backward (3×3×3,
// stride 2), most of them of the same block and its neighbours along T: L1 and L2 serve the repeats. A cell's dx would
// serve no one else, so it needs no cache at all.
//
// Bound: memory. Forward reads x once and writes y and won once, backward reads dy and won once and writes dx once.
// Windows of 1×2×2 and 2×2×2 without padding have all loads in flight at once, others those of a row.
// Not yet measured on a GPU.

#include "common/windows.cuh"

struct MaxPool3dArgs {
    const void* from;    // x, or dy
    void* to;            // y, or dx
    unsigned char* won;  // written forward, read backward
    Windows windows;
    unsigned over[3];    // what threads are for: outputs, inputs or cells
    unsigned blocks;     // to a frame of what threads are for
    unsigned mode;       // of dx
    unsigned unused;
};
static_assert(sizeof(MaxPool3dArgs) == 112, "the host's struct has the same size");

constexpr unsigned kThreads = 256;

// What a thread is for.
template <int V>
struct Item {
    size_t clip;
    unsigned t, h, w, channel;
    bool inside;

    // blockIdx.x counts clips, frames, blocks of a frame, the last one fastest.
    __device__ __forceinline__ explicit Item(const MaxPool3dArgs& a) {
        const unsigned frame = blockIdx.x / a.blocks, vectors = a.windows.pitch / V;
        const unsigned i = blockIdx.x % a.blocks * kThreads + threadIdx.x;
        const unsigned position = i / vectors;
        channel = i % vectors * V;
        clip = frame / a.over[0];
        t = frame % a.over[0];
        h = position / a.over[2];
        w = position % a.over[2];
        inside = h < a.over[1];
    }

    // This thread's channels of the first position of its clip, in a buffer of (clips, extent, pitch).
    __device__ __forceinline__ size_t start(const unsigned (&extent)[3], unsigned pitch) const {
        return clip * extent[0] * extent[1] * extent[2] * pitch + channel;
    }
};

template <typename T, int V>
__device__ __forceinline__ void forward(const MaxPool3dArgs& a) {
    const Item<V> item(a);
    if (!item.inside) return;
    const Windows& w = a.windows;
    const T* x = static_cast<const T*>(a.from) + item.start(w.input, w.pitch);
    const auto as_it_is = [](Channels<T, V> v) { return v; };
    const Best<V> best = best_of_window<T, V>(w, x, item.t, item.h, item.w, as_it_is);
    const size_t o = item.start(w.output, w.pitch) + w.at(w.output, item.t, item.h, item.w);
    store_channels(static_cast<T*>(a.to) + o, Channels<T, V>::of(best.value));
    store_bytes(a.won + o, Bytes<V>::of(best.place));
}

template <typename T, int V>
__device__ __forceinline__ void backward(const MaxPool3dArgs& a) {
    const Item<V> item(a);
    if (!item.inside) return;
    const Windows& w = a.windows;
    const size_t outputs = item.start(w.output, w.pitch);
    float sum[V];
    hand_back(w, static_cast<const T*>(a.from) + outputs, a.won + outputs, item.t, item.h, item.w, sum);
    T* dx = static_cast<T*>(a.to) + item.start(w.input, w.pitch);
    write_channels(dx + w.at(w.input, item.t, item.h, item.w), sum, a.mode);
}

// The stride is no smaller than the window: cell o holds window o, if there is one, and inputs that no window holds.
template <typename T, int V>
__device__ __forceinline__ void backward_apart(const MaxPool3dArgs& a) {
    const Item<V> item(a);
    if (!item.inside) return;
    const Windows& w = a.windows;
    const size_t outputs = item.start(w.output, w.pitch);
    const Window<T, V> window(w, static_cast<const T*>(a.from) + outputs, a.won + outputs, item.t, item.h, item.w);
    T* const clip = static_cast<T*>(a.to) + item.start(w.input, w.pitch);
    const uint2 t = w.cell(0, item.t), h = w.cell(1, item.h), across = w.cell(2, item.w);
    for (unsigned it = t.x; it < t.y; it++) {
        T* frame = clip + w.at(w.input, it, 0, 0);
        for (unsigned ih = h.x; ih < h.y; ih++) {
#pragma unroll 2
            for (unsigned iw = across.x; iw < across.y; iw++) {
                float dx[V];
                window.hand_back(w.place(it, ih, iw, item.t, item.h, item.w), dx);
                write_channels(frame + (ih * w.input[2] + iw) * w.pitch, dx, a.mode);
            }
        }
    }
}

#define ENTRIES(suffix, T, V)                                                          \
    extern "C" __global__ void __launch_bounds__(kThreads, 3)                          \
        max_pool3d_forward_##suffix(const MaxPool3dArgs a) { forward<T, V>(a); }       \
    extern "C" __global__ void __launch_bounds__(kThreads, 3)                          \
        max_pool3d_backward_##suffix(const MaxPool3dArgs a) { backward<T, V>(a); }     \
    extern "C" __global__ void __launch_bounds__(kThreads, 3)                          \
        max_pool3d_backward_apart_##suffix(const MaxPool3dArgs a) { backward_apart<T, V>(a); }

ENTRIES(f32, float, 4)
ENTRIES(bf16, bf16, 8)
ENTRIES(bf16_narrow, bf16, 4)
