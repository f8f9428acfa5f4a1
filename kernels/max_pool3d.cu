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

#include "common/channels.cuh"

struct MaxPool3dArgs {
    const void* from;    // x, or dy
    void* to;            // y, or dx
    unsigned char* won;  // written forward, read backward
    unsigned input[3];   // T, H, W
    unsigned output[3];
    unsigned kernel[3];
    unsigned stride[3];
    unsigned pad[3];
    unsigned over[3];    // what threads are for: outputs, inputs or cells
    unsigned pitch;
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
        const unsigned frame = blockIdx.x / a.blocks, vectors = a.pitch / V;
        const unsigned i = blockIdx.x % a.blocks * kThreads + threadIdx.x;
        const unsigned position = i / vectors;
        channel = i % vectors * V;
        clip = frame / a.over[0];
        t = frame % a.over[0];
        h = position / a.over[2];
        w = position % a.over[2];
        inside = h < a.over[1];
    }

    // The first of this thread's channels in frame pt of this clip, in a buffer of (clips, extent, pitch). A frame has
    // fewer than 2³² elements, counted in 32 bits.
    __device__ __forceinline__ size_t frame(const unsigned (&extent)[3], unsigned pitch, unsigned pt) const {
        return (clip * extent[0] + pt) * extent[1] * extent[2] * pitch + channel;
    }
};

// V bytes, at a multiple of V.
template <int V>
struct Bytes {
    unsigned words[V / 4];

    __device__ __forceinline__ unsigned operator[](int i) const { return words[i / 4] >> i % 4 * 8 & 0xFF; }
    static __device__ __forceinline__ Bytes of(const unsigned (&v)[V]) {
        Bytes bytes;
#pragma unroll
        for (int i = 0; i < V; i += 4) {
            bytes.words[i / 4] =
                __byte_perm(__byte_perm(v[i], v[i + 1], 0x0040), __byte_perm(v[i + 2], v[i + 3], 0x0040), 0x5410);
        }
        return bytes;
    }
};
__device__ __forceinline__ Bytes<4> load_bytes(const unsigned char* p, Bytes<4>) {
    return {{*reinterpret_cast<const unsigned*>(p)}};
}
__device__ __forceinline__ Bytes<8> load_bytes(const unsigned char* p, Bytes<8>) {
    const uint2 two = *reinterpret_cast<const uint2*>(p);
    return {{two.x, two.y}};
}
__device__ __forceinline__ void store_bytes(unsigned char* p, Bytes<4> v) {
    *reinterpret_cast<unsigned*>(p) = v.words[0];
}
__device__ __forceinline__ void store_bytes(unsigned char* p, Bytes<8> v) {
    *reinterpret_cast<uint2*>(p) = make_uint2(v.words[0], v.words[1]);
}

// The best so far of V windows.
template <int V>
struct Best {
    float value[V];
    unsigned place[V];

    // `first` wins if all is −∞.
    __device__ __forceinline__ explicit Best(unsigned first) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            value[i] = -INFINITY;
            place[i] = first;
        }
    }

    template <typename T>
    __device__ __forceinline__ void take(Channels<T, V> x, unsigned at) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            const bool wins = x[i] > value[i] || isnan(x[i]);
            value[i] = wins ? x[i] : value[i];
            place[i] = wins ? at : place[i];
        }
    }
};

// All of a window of constant extents inside the input.
template <unsigned kT, typename T, int V>
__device__ __forceinline__ void take_window(const MaxPool3dArgs& a, const Item<V>& item, Best<V>& best) {
    const T* x = static_cast<const T*>(a.from) + item.frame(a.input, a.pitch, item.t * a.stride[0]) +
                 (item.h * a.stride[1] * a.input[2] + item.w * a.stride[2]) * a.pitch;
    const unsigned row = a.input[2] * a.pitch, frame = a.input[1] * row;
    Channels<T, V> read[kT * 4];
#pragma unroll
    for (unsigned k = 0; k < kT * 4; k++)
        read[k] = load_channels<V>(x + (k / 4 * frame + k / 2 % 2 * row + k % 2 * a.pitch));
#pragma unroll
    for (unsigned k = 0; k < kT * 4; k++) best.take(read[k], k);
}

// The first tap of a window that is not padding, and the one after its last.
__device__ __forceinline__ uint2 taps(const MaxPool3dArgs& a, int axis, unsigned o) {
    const unsigned start = o * a.stride[axis], pad = a.pad[axis];
    return make_uint2(start < pad ? pad - start : 0, min(a.kernel[axis], a.input[axis] + pad - start));
}

template <typename T, int V>
__device__ __forceinline__ void take_taps(const MaxPool3dArgs& a, const Item<V>& item, uint2 t, uint2 h, uint2 w,
                                          Best<V>& best) {
    const unsigned ih = item.h * a.stride[1] - a.pad[1], iw = item.w * a.stride[2] - a.pad[2];
    for (unsigned kt = t.x; kt < t.y; kt++) {
        const T* x = static_cast<const T*>(a.from) +
                     item.frame(a.input, a.pitch, item.t * a.stride[0] + kt - a.pad[0]);
        for (unsigned kh = h.x; kh < h.y; kh++) {
            const unsigned row = (ih + kh) * a.input[2] + iw, place = (kt * a.kernel[1] + kh) * a.kernel[2];
#pragma unroll 4
            for (unsigned kw = w.x; kw < w.y; kw++) best.take(load_channels<V>(x + (row + kw) * a.pitch), place + kw);
        }
    }
}

template <typename T, int V>
__device__ __forceinline__ void forward(const MaxPool3dArgs& a) {
    const Item<V> item(a);
    if (!item.inside) return;
    const uint2 t = taps(a, 0, item.t), h = taps(a, 1, item.h), w = taps(a, 2, item.w);
    Best<V> best((t.x * a.kernel[1] + h.x) * a.kernel[2] + w.x);
    const bool inside = (a.pad[0] | a.pad[1] | a.pad[2]) == 0 && a.kernel[1] == 2 && a.kernel[2] == 2;
    if (inside && a.kernel[0] == 1) take_window<1, T>(a, item, best);
    else if (inside && a.kernel[0] == 2) take_window<2, T>(a, item, best);
    else take_taps<T>(a, item, t, h, w, best);
    const size_t o = item.frame(a.output, a.pitch, item.t) + (item.h * a.output[2] + item.w) * a.pitch;
    store_channels(static_cast<T*>(a.to) + o, Channels<T, V>::of(best.value));
    store_bytes(a.won + o, Bytes<V>::of(best.place));
}

// The first window that holds input i, and the one after the last.
__device__ __forceinline__ uint2 windows(const MaxPool3dArgs& a, int axis, unsigned i) {
    const unsigned k = a.kernel[axis], s = a.stride[axis], padded = i + a.pad[axis];
    return make_uint2(padded < k ? 0 : (padded - k) / s + 1, min(padded / s + 1, a.output[axis]));
}

template <typename T, int V>
__device__ __forceinline__ void backward(const MaxPool3dArgs& a) {
    const Item<V> item(a);
    if (!item.inside) return;
    const uint2 t = windows(a, 0, item.t), h = windows(a, 1, item.h), w = windows(a, 2, item.w);
    float sum[V] = {};
    for (unsigned ot = t.x; ot < t.y; ot++) {
        const size_t frame = item.frame(a.output, a.pitch, ot);
        const T* dy = static_cast<const T*>(a.from) + frame;
        const unsigned char* won = a.won + frame;
        const unsigned kt = item.t + a.pad[0] - ot * a.stride[0];
        for (unsigned oh = h.x; oh < h.y; oh++) {
            const unsigned kh = item.h + a.pad[1] - oh * a.stride[1];
            for (unsigned ow = w.x; ow < w.y; ow++) {
                const unsigned kw = item.w + a.pad[2] - ow * a.stride[2];
                const unsigned place = (kt * a.kernel[1] + kh) * a.kernel[2] + kw;
                const unsigned o = (oh * a.output[2] + ow) * a.pitch;
                const Channels<T, V> d = load_channels<V>(dy + o);
                const Bytes<V> winner = load_bytes(won + o, Bytes<V>());
#pragma unroll
                for (int i = 0; i < V; i++) sum[i] += winner[i] == place ? d[i] : 0.f;
            }
        }
    }
    T* dx = static_cast<T*>(a.to) + item.frame(a.input, a.pitch, item.t);
    write_channels(dx + (item.h * a.input[2] + item.w) * a.pitch, sum, a.mode);
}

// The inputs of a cell on one axis.
__device__ __forceinline__ uint2 inputs(const MaxPool3dArgs& a, int axis, unsigned cell) {
    const unsigned start = cell * a.stride[axis], pad = a.pad[axis];
    return make_uint2(start < pad ? 0 : start - pad, min(start + a.stride[axis] - pad, a.input[axis]));
}

// The stride is no smaller than the window: cell o holds window o, if there is one, and inputs that no window holds.
template <typename T, int V>
__device__ __forceinline__ void backward_apart(const MaxPool3dArgs& a) {
    const Item<V> item(a);
    if (!item.inside) return;
    Channels<T, V> dy = Channels<T, V>::zero();
    Bytes<V> won = {};
    if (item.t < a.output[0] && item.h < a.output[1] && item.w < a.output[2]) {
        const size_t o = item.frame(a.output, a.pitch, item.t) + (item.h * a.output[2] + item.w) * a.pitch;
        dy = load_channels_once<V>(static_cast<const T*>(a.from) + o);
        won = load_bytes(a.won + o, won);
    }
    const uint2 t = inputs(a, 0, item.t), h = inputs(a, 1, item.h), w = inputs(a, 2, item.w);
    for (unsigned it = t.x; it < t.y; it++) {
        T* frame = static_cast<T*>(a.to) + item.frame(a.input, a.pitch, it);
        const unsigned kt = it + a.pad[0] - item.t * a.stride[0];
        for (unsigned ih = h.x; ih < h.y; ih++) {
            const unsigned kh = ih + a.pad[1] - item.h * a.stride[1];
#pragma unroll 2
            for (unsigned iw = w.x; iw < w.y; iw++) {
                const unsigned kw = iw + a.pad[2] - item.w * a.stride[2];
                const bool held = kt < a.kernel[0] && kh < a.kernel[1] && kw < a.kernel[2];
                const unsigned place = held ? (kt * a.kernel[1] + kh) * a.kernel[2] + kw : ~0u;
                float dx[V];
#pragma unroll
                for (int i = 0; i < V; i++) dx[i] = won[i] == place ? dy[i] : 0.f;
                write_channels(frame + (ih * a.input[2] + iw) * a.pitch, dx, a.mode);
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
