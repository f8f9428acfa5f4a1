// From decoded frames to what the network sees, for all clips of a batch: crop, bilinear resize, flip, colour jittering,
// channel replication, x/127.5 - 1.
//
// Layouts: windows, 8-bit RGB, each (T, H, W, 3) at its own offset; out (N, T, side, side, 4), f32 or bf16, whose fourth
// channel is 0.
//
// Who owns what: a block one clip; a warp every 16th row of all its frames; a lane every 32nd pixel of a row. A contrast
// step blends with the mean grey of the whole clip before that step, so each costs a pass over the clip more, which only
// adds up grey: in f64, each thread its pixels, then a tree over the block, in an order that depends on nothing else.
//
// Shared memory: one 12-byte entry a column, source columns and the share of the second, which every row uses: 12·side
// bytes, read by neighbouring lanes at neighbouring words. 128 bytes of sums.
//
// Bound: arithmetic and instruction issue, about 100 instructions a pixel and pass; it reads 12 bytes of a pixel through L1,
// where neighbours share them, and writes 8 or 16. Pixels are computed again in the second pass rather than kept: that
// would be 24 bytes of memory traffic in place of arithmetic on cached bytes.
// Not yet measured on a GPU. For crops of 112:
//
// dynamic shared memory: augment_f32 1344
// dynamic shared memory: augment_bf16 1344

#include "common/element.cuh"

struct AugmentClip {
    unsigned long long window;  // offset of its first byte
    unsigned height, width;     // of the window
    unsigned y, x, crop_height, crop_width;
    unsigned flip;       // 1: mirror left-right
    unsigned replicate;  // this channel to all three; 3: none
    unsigned kinds[4];   // of the colour steps, in order; 0: none
    float factors[4];
};
static_assert(sizeof(AugmentClip) == 72, "the host's struct has the same size");

struct AugmentArgs {
    const AugmentClip* clips;
    const unsigned char* windows;
    void* out;
    unsigned frames;
    unsigned side;
};
static_assert(sizeof(AugmentArgs) == 32, "the host's struct has the same size");

constexpr unsigned kThreads = 512;
constexpr unsigned kWarps = kThreads / 32;
constexpr unsigned kBrightness = 1, kContrast = 2, kSaturation = 3, kHue = 4;

// Two source positions and the share of the second.
struct Neighbours {
    unsigned first, second;
    float share;
};

// Half-pixel centres, kept inside: ((i + 1/2)·inputs/outputs - 1/2), exactly, in integers.
__device__ __forceinline__ Neighbours neighbours(unsigned i, unsigned outputs, unsigned inputs) {
    const unsigned long long scaled = (2ull * i + 1) * inputs;
    const unsigned long long numerator = scaled > outputs ? scaled - outputs : 0;
    const unsigned denominator = 2 * outputs;
    const unsigned first = min(static_cast<unsigned>(numerator / denominator), inputs - 1);
    const unsigned long long rest = numerator - static_cast<unsigned long long>(first) * denominator;
    return {first, min(first + 1, inputs - 1), static_cast<float>(rest) / static_cast<float>(denominator)};
}

__device__ __forceinline__ float mix(float a, float b, float share) { return a + (b - a) * share; }
__device__ __forceinline__ float within_byte(float v) { return fminf(fmaxf(v, 0.0f), 255.0f); }
// ITU-R BT.601.
__device__ __forceinline__ float grey(float3 p) { return p.x * 0.299f + p.y * 0.587f + p.z * 0.114f; }

// HSV with value and saturation kept: a channel is value - spread·clamp(min(k, 4 - k), 0, 1), where k is the hue in sixths
// of a turn plus the channel's 5, 3 or 1, modulo 6.
__device__ __forceinline__ float3 turn_hue(float3 p, float turn) {
    const float value = fmaxf(fmaxf(p.x, p.y), p.z);
    const float spread = value - fminf(fminf(p.x, p.y), p.z);
    const float divisor = spread > 0.0f ? spread : 1.0f;  // grey has no hue, and any finite one leaves it as it is
    float hue = value == p.x ? (p.y - p.z) / divisor
              : value == p.y ? 2.0f + (p.z - p.x) / divisor
                             : 4.0f + (p.x - p.y) / divisor;
    hue += turn * 6.0f;
    hue = hue < 0.0f ? hue + 6.0f : hue;
    hue = hue >= 6.0f ? hue - 6.0f : hue;
    const auto channel = [&](float offset) {
        float k = hue + offset;
        k = k >= 6.0f ? k - 6.0f : k;
        return within_byte(value - spread * fmaxf(fminf(fminf(k, 4.0f - k), 1.0f), 0.0f));
    };
    return make_float3(channel(5.0f), channel(3.0f), channel(1.0f));
}

// f·p + rest, kept within a byte.
__device__ __forceinline__ float3 blend(float3 p, float f, float rest) {
    return make_float3(within_byte(p.x * f + rest), within_byte(p.y * f + rest), within_byte(p.z * f + rest));
}

__device__ __forceinline__ float rest_of(float f) { return static_cast<float>(1.0 - static_cast<double>(f)); }

// The first `steps` colour steps; shifts, (4), holds (1 - f)·mean of each contrast.
__device__ __forceinline__ float3 colour(float3 p, const AugmentClip& clip, unsigned steps, const float* shifts) {
    for (unsigned s = 0; s < steps; s++) {
        const float f = clip.factors[s];
        switch (clip.kinds[s]) {
            case kBrightness: p = blend(p, f, 0.0f); break;
            case kContrast: p = blend(p, f, shifts[s]); break;
            case kSaturation: p = blend(p, f, grey(p) * rest_of(f)); break;
            case kHue: p = turn_hue(p, f); break;
            default: break;
        }
    }
    return p;
}

__device__ __forceinline__ float3 pixel(const unsigned char* upper, const unsigned char* lower, Neighbours column,
                                        float share) {
    float channels[3];
    for (unsigned c = 0; c < 3; c++) {
        const unsigned a = column.first * 3 + c, b = column.second * 3 + c;
        channels[c] = mix(mix(upper[a], upper[b], column.share), mix(lower[a], lower[b], column.share), share);
    }
    return make_float3(channels[0], channels[1], channels[2]);
}

// The sum over the block, in every thread; the same tree always.
__device__ __forceinline__ double block_sum(double v, double* sums) {
    for (unsigned offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
    __syncthreads();  // the sums of the pass before have been read
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
    __syncthreads();
    double all = 0.0;
    for (unsigned warp = 0; warp < kWarps; warp++) all += sums[warp];
    return all;
}

template <typename T>
__device__ __forceinline__ void augment(const AugmentArgs& a) {
    extern __shared__ Neighbours columns[];
    __shared__ double sums[kWarps];
    __shared__ AugmentClip clip;
    __shared__ float shifts[4];
    const unsigned side = a.side, rows = a.frames * side;
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) clip = a.clips[blockIdx.x];
    __syncthreads();
    for (unsigned x = threadIdx.x; x < side; x += kThreads) columns[x] = neighbours(x, side, clip.crop_width);
    __syncthreads();

    const unsigned pitch = clip.width * 3;
    const unsigned char* const window = a.windows + clip.window + (size_t)clip.y * pitch + clip.x * 3;
    // Calls visit(row, x, pixel) for every pixel that is this thread's.
    const auto each = [&](unsigned steps, auto visit) {
        for (unsigned row = warp; row < rows; row += kWarps) {
            const unsigned frame = row / side, y = row % side;
            const Neighbours n = neighbours(y, side, clip.crop_height);
            const unsigned char* const top = window + (size_t)frame * clip.height * pitch;
            const unsigned char *const upper = top + n.first * pitch, *const lower = top + n.second * pitch;
            for (unsigned x = lane; x < side; x += 32)
                visit(row, x, colour(pixel(upper, lower, columns[x], n.share), clip, steps, shifts));
        }
    };
    for (unsigned s = 0; s < 4; s++) {
        if (clip.kinds[s] != kContrast) continue;
        double sum = 0.0;
        each(s, [&](unsigned, unsigned, float3 p) { sum += grey(p); });
        const double mean = block_sum(sum, sums) / (static_cast<double>(rows) * side);
        if (threadIdx.x == 0) shifts[s] = static_cast<float>(mean * (1.0 - static_cast<double>(clip.factors[s])));
        __syncthreads();
    }
    T* const out = static_cast<T*>(a.out) + (size_t)blockIdx.x * rows * side * 4;
    each(4, [&](unsigned row, unsigned x, float3 p) {
        if (clip.replicate < 3) {
            const float v = clip.replicate == 0 ? p.x : clip.replicate == 1 ? p.y : p.z;
            p = make_float3(v, v, v);
        }
        const unsigned to = clip.flip ? side - 1 - x : x;
        const float4 v = make_float4(p.x / 127.5f - 1.0f, p.y / 127.5f - 1.0f, p.z / 127.5f - 1.0f, 0.0f);
        store4(out + ((size_t)row * side + to) * 4, v);
    });
}

extern "C" __global__ void __launch_bounds__(kThreads) augment_f32(const AugmentArgs a) { augment<float>(a); }
extern "C" __global__ void __launch_bounds__(kThreads) augment_bf16(const AugmentArgs a) { augment<bf16>(a); }
