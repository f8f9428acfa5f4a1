// Windows of positions over an input, as max-pools slide them: where they lie, which value wins, and what a winner hands
// back. Padding counts as −∞; the first index in raster order wins a tie, a NaN wins over numbers.
#pragma once

#include "common/channels.cuh"

// As the host passes it; triples are (T, H, W).
struct Windows {
    unsigned input[3];
    unsigned output[3];
    unsigned kernel[3];
    unsigned stride[3];
    unsigned pad[3];
    unsigned pitch;

    // A position's place in a clip of these extents. A frame has fewer than 2³² elements, counted in 32 bits.
    __device__ __forceinline__ size_t at(const unsigned (&extent)[3], unsigned t, unsigned h, unsigned w) const {
        return (size_t)t * (extent[1] * extent[2] * pitch) + (h * extent[2] + w) * pitch;
    }
    // The first tap of window o on an axis that is not padding, and the one after its last.
    __device__ __forceinline__ uint2 taps(int axis, unsigned o) const {
        const unsigned start = o * stride[axis];
        return make_uint2(start < pad[axis] ? pad[axis] - start : 0, min(kernel[axis], input[axis] + pad[axis] - start));
    }
    // The first window on an axis that holds input i, and the one after the last.
    __device__ __forceinline__ uint2 holding(int axis, unsigned i) const {
        const unsigned k = kernel[axis], s = stride[axis], padded = i + pad[axis];
        return make_uint2(padded < k ? 0 : (padded - k) / s + 1, min(padded / s + 1, output[axis]));
    }
    // The inputs on an axis of a cell, a box as large as the stride: the first one, and the one after the last.
    __device__ __forceinline__ uint2 cell(int axis, unsigned c) const {
        const unsigned start = c * stride[axis];
        return make_uint2(start < pad[axis] ? 0 : start - pad[axis], min(start + stride[axis] - pad[axis], input[axis]));
    }
    // The place of an input in a window; ~0 if the window does not hold it.
    __device__ __forceinline__ unsigned place(unsigned it, unsigned ih, unsigned iw, unsigned ot, unsigned oh,
                                              unsigned ow) const {
        const unsigned kt = it + pad[0] - ot * stride[0], kh = ih + pad[1] - oh * stride[1],
                       kw = iw + pad[2] - ow * stride[2];
        return kt < kernel[0] && kh < kernel[1] && kw < kernel[2] ? (kt * kernel[1] + kh) * kernel[2] + kw : ~0u;
    }
};
static_assert(sizeof(Windows) == 64, "the host's struct has the same size");

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

// All of a window of constant extents inside the input, of which x is the first position.
template <unsigned kT, typename T, int V, typename Map>
__device__ __forceinline__ void take_window(const Windows& w, const T* x, Map map, Best<V>& best) {
    const unsigned row = w.input[2] * w.pitch, frame = w.input[1] * row;
    Channels<T, V> read[kT * 4];
#pragma unroll
    for (unsigned k = 0; k < kT * 4; k++)
        read[k] = load_channels<V>(x + (k / 4 * frame + k / 2 % 2 * row + k % 2 * w.pitch));
#pragma unroll
    for (unsigned k = 0; k < kT * 4; k++) best.take(map(read[k]), k);
}

// The largest of map(x) over the window at (t, h, w); x are this thread's channels at the clip's first position. Windows of
// 1×2×2 and 2×2×2 without padding have all loads in flight at once, others those of a row.
template <typename T, int V, typename Map>
__device__ __forceinline__ Best<V> best_of_window(const Windows& s, const T* x, unsigned t, unsigned h, unsigned w,
                                                  Map map) {
    const uint2 ts = s.taps(0, t), hs = s.taps(1, h), ws = s.taps(2, w);
    Best<V> best((ts.x * s.kernel[1] + hs.x) * s.kernel[2] + ws.x);
    const unsigned ih = h * s.stride[1] - s.pad[1], iw = w * s.stride[2] - s.pad[2];
    const bool constant = (s.pad[0] | s.pad[1] | s.pad[2]) == 0 && s.kernel[1] == 2 && s.kernel[2] == 2;
    if (constant && s.kernel[0] <= 2) {
        const T* first = x + s.at(s.input, t * s.stride[0], ih, iw);
        if (s.kernel[0] == 1) take_window<1>(s, first, map, best);
        else take_window<2>(s, first, map, best);
        return best;
    }
    for (unsigned kt = ts.x; kt < ts.y; kt++) {
        const T* frame = x + s.at(s.input, t * s.stride[0] + kt - s.pad[0], 0, 0);
        for (unsigned kh = hs.x; kh < hs.y; kh++) {
            const unsigned row = (ih + kh) * s.input[2] + iw, place = (kt * s.kernel[1] + kh) * s.kernel[2];
#pragma unroll 4
            for (unsigned kw = ws.x; kw < ws.y; kw++)
                best.take(map(load_channels<V>(frame + (row + kw) * s.pitch)), place + kw);
        }
    }
    return best;
}

// Σ dy, in raster order, over the windows that the input at (t, h, w) won; dy and won are this thread's channels at the
// clip's first output.
template <typename T, int V>
__device__ __forceinline__ void hand_back(const Windows& s, const T* dy, const unsigned char* won, unsigned t, unsigned h,
                                          unsigned w, float (&sum)[V]) {
    const uint2 ts = s.holding(0, t), hs = s.holding(1, h), ws = s.holding(2, w);
#pragma unroll
    for (int i = 0; i < V; i++) sum[i] = 0.f;
    for (unsigned ot = ts.x; ot < ts.y; ot++) {
        const size_t frame = s.at(s.output, ot, 0, 0);
        for (unsigned oh = hs.x; oh < hs.y; oh++) {
            for (unsigned ow = ws.x; ow < ws.y; ow++) {
                const unsigned place = s.place(t, h, w, ot, oh, ow), o = (oh * s.output[2] + ow) * s.pitch;
                const Channels<T, V> d = load_channels<V>(dy + frame + o);
                const Bytes<V> winner = load_bytes(won + frame + o, Bytes<V>());
#pragma unroll
                for (int i = 0; i < V; i++) sum[i] += winner[i] == place ? d[i] : 0.f;
            }
        }
    }
}

// What the one window that can hold the inputs of a cell has for them: windows lie apart.
template <typename T, int V>
struct Window {
    Channels<T, V> dy = Channels<T, V>::zero();
    Bytes<V> won = {};

    __device__ __forceinline__ Window(const Windows& s, const T* dy_of_clip, const unsigned char* won_of_clip, unsigned t,
                                      unsigned h, unsigned w) {
        if (t < s.output[0] && h < s.output[1] && w < s.output[2]) {
            const size_t o = s.at(s.output, t, h, w);
            dy = load_channels_once<V>(dy_of_clip + o);
            won = load_bytes(won_of_clip + o, won);
        }
    }
    __device__ __forceinline__ void hand_back(unsigned place, float (&dx)[V]) const {
#pragma unroll
        for (int i = 0; i < V; i++) dx[i] = won[i] == place ? dy[i] : 0.f;
    }
};
