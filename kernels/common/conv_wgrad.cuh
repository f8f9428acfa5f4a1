// Implicit matrix product of a convolution's gradient with respect to its filter. A row of the product is a tap with
// an input channel, a column an output channel, and the sum runs over the output's pixels of all clips:
//
//     dw[k, tap, c] = Σ_{n, z, p, q} dy[n, z, p, q, k] · x[n, z·stride + t − pad, …, c]     (on each of three axes)
//
// Layouts: x (clips, T, H, W, pitch_x) and dy (clips, Z, P, Q, pitch_y), f32 or bf16; dw (pitch_y, T·R·S, pitch_x) in
// f32. Where a tap leaves x it reads zeros.
//
// Splits: a filter has few tiles and a batch many pixels, so blocks share them: those with the same blockIdx.y take the
// same run of pixels, and each run's sums go to a dw of its own, which conv3d_filter_reduce adds in their order. With
// one run they go to dw itself.
//
// Who owns what: a block a tile of 128 rows and N columns and a run of pixels, four stages of 32 pixels (f32: 16) in
// shared memory (conv_wgrad_product.cuh says how they lie and are multiplied). A thread copies, of x, one chunk of a
// row, so one tap and channel for good, at every kPassX-th pixel: it goes from one to the next by addition and carry
// alone, in coordinates of x. Blocks of one run are neighbours in the grid: they share it in the second-level cache.
//
// Shared memory: bf16 128 · (288 + 2·N) bytes, f32 64 · (512 + 4·N): 72 KB at most. No bank conflicts.
//
// Bound: tensor cores, or FFMA, for 64 channels and more. Not yet measured on a GPU.
#pragma once

#include "conv_wgrad_product.cuh"

struct WgradAxis {
    int input;   // extent of x
    int output;  // extent of dy
    int filter;
    int stride;
    int pad;
};

struct WgradArgs {
    const void* x;
    const void* dy;
    float* to;  // (splits, pitch_y, T·R·S, pitch_x)
    WgradAxis axis[3];
    int pitch_x, pitch_y;
    int pixels;  // of all clips
    int run;     // pixels of a split
    int column_tiles;
    unsigned mode;
    unsigned unused;
};
static_assert(sizeof(WgradArgs) == 112, "the host's struct has the same size");

constexpr int kStages = 4;

// The input that a tap reads, from one output pixel to one `kBy` further on.
template <int kBy>
struct PixelWalk {
    int t, h, w;                    // coordinates in x; outside if the tap is
    int position;                   // that of x, counted through all clips
    int end_t, end_h, end_w;        // where an axis of outputs ends
    int step_t, step_h, step_w;     // kBy pixels, in coordinates of x,
    int step;                       // and in positions
    int carry_h, carry_t, carry_n;  // what it is, in positions, to end an axis and go on with the next

    __device__ __forceinline__ PixelWalk(const WgradArgs& a, int pixel, int tap) {
        const WgradAxis &at = a.axis[0], &ah = a.axis[1], &aw = a.axis[2];
        const int area = ah.input * aw.input;
        w = tap % aw.filter - aw.pad, tap /= aw.filter;
        h = tap % ah.filter - ah.pad, t = tap / ah.filter - at.pad;
        end_w = w + aw.output * aw.stride, end_h = h + ah.output * ah.stride, end_t = t + at.output * at.stride;
        w += pixel % aw.output * aw.stride, pixel /= aw.output;
        h += pixel % ah.output * ah.stride, pixel /= ah.output;
        t += pixel % at.output * at.stride, pixel /= at.output;
        position = ((pixel * at.input + t) * ah.input + h) * aw.input + w;
        int by = kBy;
        step_w = by % aw.output * aw.stride, by /= aw.output;
        step_h = by % ah.output * ah.stride, by /= ah.output;
        step_t = by % at.output * at.stride, by /= at.output;
        step = ((by * at.input + step_t) * ah.input + step_h) * aw.input + step_w;
        carry_h = ah.stride * aw.input - aw.output * aw.stride;
        carry_t = at.stride * area - ah.output * ah.stride * aw.input;
        carry_n = at.input * area - at.output * at.stride * area;
    }

    __device__ __forceinline__ void advance(const WgradArgs& a) {
        const WgradAxis &at = a.axis[0], &ah = a.axis[1], &aw = a.axis[2];
        w += step_w, h += step_h, t += step_t, position += step;
        if (w >= end_w) w -= aw.output * aw.stride, h += ah.stride, position += carry_h;
        if (h >= end_h) h -= ah.output * ah.stride, t += at.stride, position += carry_t;
        if (t >= end_t) t -= at.output * at.stride, position += carry_n;
    }

    __device__ __forceinline__ bool inside(const WgradArgs& a) const {
        return (unsigned)t < (unsigned)a.axis[0].input && (unsigned)h < (unsigned)a.axis[1].input &&
               (unsigned)w < (unsigned)a.axis[2].input;
    }
};

// One block; kCopy is what a copy brings: 16 bytes, or 8 where 4 bf16 are all channels of x or dy.
template <typename T, int N, int kCopy = 16>
__device__ __forceinline__ void wgrad(const WgradArgs& a) {
    using Product = WgradProduct<T, N>;
    constexpr int kThreads = Product::kThreads, kPixels = Product::kPixels, kSize = sizeof(T);
    constexpr int kStageX = kPixels * Product::kPitchX, kStage = kStageX + kPixels * Product::kPitchY;
    // Of x: all chunks of a row side by side; of 8 bytes half of them, at two pixels, whose taps share sectors.
    constexpr int kUnitsX = kTerms * kSize / kCopy, kPassX = kThreads / kUnitsX, kSideX = kCopy == 8 ? 16 : kUnitsX;
    // Of dy: 128 bytes side by side, as what remains of a row may be less than that.
    constexpr int kUnitsY = N * kSize / kCopy, kSide = 128 / kCopy, kSides = kThreads / kSide;
    constexpr int kPassY = kSides < kPixels ? kSides : kPixels, kAcross = kSides / kPassY;
    static_assert(kPixels % kPassX == 0 && kPixels % kPassY == 0, "copies of a step are the same in all threads");
    extern __shared__ __align__(128) unsigned char shared[];

    const int taps = a.axis[0].filter * a.axis[1].filter * a.axis[2].filter, length = taps * a.pitch_x;
    const int first_column = blockIdx.x % a.column_tiles * N, first_row = blockIdx.x / a.column_tiles * kTerms;
    const int begin = blockIdx.y * a.run, end = min(begin + a.run, a.pixels);

    const int pixel_x = threadIdx.x / kSideX % kPassX;
    const int unit_x = threadIdx.x / kSideX / kPassX * kSideX + threadIdx.x % kSideX;
    const int term = first_row + unit_x * (kCopy / kSize), tap = term / a.pitch_x;
    const int end_x = term < length ? end : begin;  // all of a chunk beyond the last tap is zeros
    PixelWalk<kPassX> walk(a, begin + pixel_x, tap);
    int pixel = begin + pixel_x;
    const unsigned char* const from_x =
        static_cast<const unsigned char*>(a.x) + (term - tap * a.pitch_x) * kSize;
    const unsigned to_x = shared_address(shared) + pixel_x * Product::kPitchX + unit_x * kCopy;

    const int side = threadIdx.x / kSide, pixel_y = side % kPassY;
    const int unit_y = side / kPassY * kSide + threadIdx.x % kSide;
    const int columns = a.pitch_y - first_column;
    int left = end - begin - pixel_y;
    const unsigned char* from_y =
        static_cast<const unsigned char*>(a.dy) +
        ((size_t)(begin + pixel_y) * a.pitch_y + first_column) * kSize + unit_y * kCopy;
    const unsigned to_y = shared_address(shared) + kStageX + pixel_y * Product::kPitchY + unit_y * kCopy;

    const auto copy = [&](int stage) {
        const int at = stage * kStage;
#pragma unroll
        for (int i = 0; i < kPixels; i += kPassX) {
            copy_async<kCopy>(to_x + at + i * Product::kPitchX,
                              from_x + (long long)walk.position * (a.pitch_x * kSize),
                              pixel < end_x && walk.inside(a));
            walk.advance(a);
            pixel += kPassX;
        }
#pragma unroll
        for (int i = 0; i < kPixels; i += kPassY)
#pragma unroll
            for (int u = 0; u < kUnitsY; u += kAcross * kSide) {
                const int unit = u + unit_y;
                if (u + kAcross * kSide <= kUnitsY || unit < kUnitsY)
                    copy_async<kCopy>(to_y + at + i * Product::kPitchY + u * kCopy,
                                      from_y + (size_t)i * (a.pitch_y * kSize) + u * kCopy,
                                      i < left && unit * (kCopy / kSize) < columns);
            }
        left -= kPixels;
        from_y += (size_t)kPixels * (a.pitch_y * kSize);
    };

    Product product;
    const int steps = (end - begin + kPixels - 1) / kPixels;
#pragma unroll
    for (int stage = 0; stage < kStages - 1; stage++) {
        if (stage < steps) copy(stage);
        copy_commit();
    }
    int read = 0, write = kStages - 1;
#pragma unroll 1
    for (int done = 0; done < steps; done++) {
        copy_wait<kStages - 2>();
        __syncthreads();  // the stage is there for all, and none reads the one that is overwritten now
        const unsigned char* stage = shared + read * kStage;
        product.multiply(stage, stage + kStageX, [&] {
            copy(write);  // zeros, beyond the last pixel: cheaper than a branch, which parts it from the arithmetic
            copy_commit();
        });
        read = read + 1 == kStages ? 0 : read + 1;
        write = write + 1 == kStages ? 0 : write + 1;
    }
    product.store(a.to + ((size_t)blockIdx.y * a.pitch_y + first_column) * length + first_row, length,
                  length - first_row, columns, a.mode);
}
