// Implicit matrix product of a convolution that gathers: fprop, and dgrad as one dense convolution for each class of
// positions. A row of the product is an output position, a column an output channel, and the summed dimension walks
// the taps and, for each, the input channels:
//
//     y[n, j·scatter + start, k] = Σ_tap Σ_c x[n, j·step + offset + tap, c] · w[k, tap, c]     (on each of three axes)
//
// Layouts: x (clips, T, H, W, pitch_x), y (clips, Z, P, Q, pitch_y), f32 or bf16; w (pitch_y, taps, pitch_x), a
// class's taps side by side. Where a tap leaves x it reads zeros. What is written are whole rows of y, padding
// included, whose sums are 0 as w's padding is.
//
// Classes: with a gradient's stride s as scatter, the positions i with (i + pad) mod s = residue share their taps, the
// f with f mod s = residue; running f downwards they read neighbouring dy. Each class is so a dense convolution with
// step 1, and none multiplies zeros. Lower residues have as many taps or more, so the longest blocks start first. fprop
// is the case of one class, with the filter's padding turned round: pad' = filter − 1 − pad.
//
// Who owns what: a block a tile of 128 positions and N channels of one class, four stages of 64 bytes of each row of x
// and w in shared memory (conv_gather_product.cuh says how they lie and are multiplied). A thread copies the same chunk
// of several rows; so it walks (channel, tap) once a step, by addition and carry, and a row costs it three comparisons
// and one multiply-add. Tiles of one range of positions are neighbours in the grid: they share x in the second-level
// cache. Tiles do not straddle groups of clips: with partials a group is one clip, otherwise all of them.
//
// Partials: fprop leaves, of each tile, the statistics of what it writes, from which a norm merges its own; dgrad the
// sums that the gradient of a norm below starts from (conv_norm_sums.cuh). Either saves a pass over y.
//
// Shared memory: 4 · (128 + N) · 64 bytes, or 128 · (N + 8) · 4 for the tile on its way out, whichever is more, and
// tables: 81 KB at most, so that two blocks fit on an A100. No bank conflicts.
//
// Bound: tensor cores, or FFMA, for 64 channels and more with 3 x 3 taps; memory for 1 x 1 x 1 and thin temporal
// filters. Not yet measured on a GPU.
#pragma once

#include "conv_norm_sums.cuh"

// One axis. Outputs `start + j · scatter` of a class read inputs `j · step + offset + tap`.
struct GatherAxis {
    int input;    // extent of x
    int output;   // extent of y
    int filter;   // taps of all classes
    int scatter;  // of a class's outputs
    int step;
    int pad;      // of the gradient that this is; may be negative
    int classes;  // that are launched: scatter, or those that have taps
};

struct GatherArgs {
    const void* x;
    const void* w;
    void* y;
    float* partials;  // (clips, tiles, pitch_y, 2), or null
    NormBelow norm;   // of dgrad with partials
    GatherAxis axis[3];
    int clips;  // of a group
    int tiles;  // of a group's largest class
    int column_tiles;
    int pitch_x, pitch_y;
    unsigned mode;
    unsigned unused;
};
static_assert(sizeof(GatherArgs) == 176, "the host's struct has the same size");

constexpr int kStages = 4;
constexpr int kOutside = -(1 << 30);  // a coordinate from which no tap leads back inside
constexpr int kBeyond = 1 << 29;      // a tap that leads outside from everywhere

// An axis for one class.
struct GatherSide {
    int taps, taps_before;  // of the class, and of those with lower residues
    int start, count;       // of its outputs
    int offset;

    __device__ __forceinline__ GatherSide(const GatherAxis& a, int residue) {
        if (a.scatter == 1) {
            taps = a.filter, taps_before = 0, start = 0, count = a.output, offset = a.pad - (a.filter - 1);
            return;
        }
        const int each = a.filter / a.scatter, more = a.filter % a.scatter;
        taps = each + (residue < more);
        taps_before = each * residue + min(more, residue);
        const int shifted = residue - a.pad;
        start = shifted % a.scatter;
        if (start < 0) start += a.scatter;
        count = (a.output - start + a.scatter - 1) / a.scatter;
        offset = (start - shifted) / a.scatter - (taps - 1);
    }
};

// A place in the summed dimension.
struct Walk {
    int channel = 0, s = 0, r = 0, t = 0;

    // A few taps, one by one.
    __device__ __forceinline__ Walk(int elements, int pitch, int width, int height) {
        for (channel = elements; channel >= pitch; channel -= pitch)
            if (++s >= width) {
                s = 0;
                if (++r >= height) r = 0, t++;
            }
    }

    // A step whose parts are each less than the extents.
    __device__ __forceinline__ void add(const Walk& by, int pitch, int width, int height) {
        channel += by.channel, s += by.s, r += by.r, t += by.t;
        if (channel >= pitch) channel -= pitch, s++;
        if (s >= width) s -= width, r++;
        if (r >= height) r -= height, t++;
    }
};

// Bytes of dynamic shared memory before the tables.
template <int N>
constexpr int kPipeline = kStages * (kRows + N) * kRowBytes;
template <int N>
constexpr int kTables = kPipeline<N> > kRows * kStagedPitch<N> * 4 ? kPipeline<N> : kRows * kStagedPitch<N> * 4;

// One block; kCopy is what a copy brings: 16 bytes, or 8 where 4 bf16 are all channels.
template <typename T, int N, int kCopy = 16>
__device__ __forceinline__ void gather(const GatherArgs& a) {
    using Product = GatherProduct<T, N>;
    constexpr int kThreads = Product::kThreads, kUnits = kRowBytes / kCopy, kPass = kThreads / kUnits;
    constexpr int kCopiesA = kRows / kPass, kCopiesB = (N + kPass - 1) / kPass, kStage = (kRows + N) * kRowBytes;
    static_assert(kRows % kPass == 0 && kPass % 8 == 0, "a thread's rows have one swizzle");
    extern __shared__ __align__(128) unsigned char shared[];
    float* const tile = reinterpret_cast<float*>(shared);
    int* const positions = reinterpret_cast<int*>(shared + kTables<N>);
    int4* const origins = reinterpret_cast<int4*>(positions + kRows);
    float* const parts = reinterpret_cast<float*>(origins);  // later

    const int class_w = blockIdx.z % a.axis[2].classes, class_th = blockIdx.z / a.axis[2].classes;
    const GatherSide t(a.axis[0], class_th / a.axis[1].classes), h(a.axis[1], class_th % a.axis[1].classes),
        w(a.axis[2], class_w);
    const int first_column = blockIdx.x % a.column_tiles * N, row_tile = blockIdx.x / a.column_tiles;
    const int group = row_tile / a.tiles, first_row = row_tile % a.tiles * kRows;
    const int rows = a.clips * t.count * h.count * w.count;
    if (first_row >= rows) return;  // of a class smaller than the largest

    // Row by row: where it is written, and where its first tap reads.
    if (threadIdx.x < kRows) {
        int i = first_row + threadIdx.x, position = -1;
        int4 origin = make_int4(kOutside, 0, 0, 0);
        if (i < rows) {
            const int q = i % w.count, p = (i /= w.count) % h.count, z = (i /= h.count) % t.count;
            const int clip = group * a.clips + i / t.count;
            position = ((clip * a.axis[0].output + t.start + z * a.axis[0].scatter) * a.axis[1].output + h.start +
                        p * a.axis[1].scatter) * a.axis[2].output + w.start + q * a.axis[2].scatter;
            origin.x = z * a.axis[0].step + t.offset;
            origin.y = p * a.axis[1].step + h.offset;
            origin.z = q * a.axis[2].step + w.offset;
            origin.w = ((clip * a.axis[0].input + origin.x) * a.axis[1].input + origin.y) * a.axis[2].input + origin.z;
        }
        positions[threadIdx.x] = position;
        origins[threadIdx.x] = origin;
    }
    __syncthreads();

    const int unit = threadIdx.x % kUnits, copy_row = threadIdx.x / kUnits;
    constexpr int kSize = sizeof(T);
    Walk at(unit * (kCopy / kSize), a.pitch_x, w.taps, h.taps);
    const Walk step(Product::kDepth, a.pitch_x, w.taps, h.taps);
    int4 origin[kCopiesA];
#pragma unroll
    for (int i = 0; i < kCopiesA; i++) origin[i] = origins[copy_row + i * kPass];
    const int all_taps = a.axis[0].filter * a.axis[1].filter * a.axis[2].filter;
    const int taps_before = (t.taps_before * a.axis[1].filter + t.taps * h.taps_before) * a.axis[2].filter +
                            t.taps * h.taps * w.taps_before;
    const int columns = a.pitch_y - first_column - copy_row;  // that are left from this thread's first
    const size_t filter_bytes = (size_t)all_taps * a.pitch_x * kSize;
    const unsigned char* from_w = static_cast<const unsigned char*>(a.w) +
                                  (first_column + copy_row) * filter_bytes +
                                  (size_t)taps_before * a.pitch_x * kSize + unit * kCopy;
    const int steps = (t.taps * h.taps * w.taps * a.pitch_x + Product::kDepth - 1) / Product::kDepth;
    const unsigned to = shared_address(shared) + swizzled(copy_row, unit * kCopy / 16) + unit * kCopy % 16;

    const auto copy = [&](int stage) {
        const unsigned to_a = to + stage * kStage, to_b = to_a + kRows * kRowBytes;
        const bool inside = at.t < t.taps;
        const int tap_t = inside ? at.t : kBeyond;
        const int tap = (at.t * a.axis[1].input + at.r) * a.axis[2].input + at.s;
        const unsigned char* from_x = static_cast<const unsigned char*>(a.x) + at.channel * kSize;
#pragma unroll
        for (int i = 0; i < kCopiesA; i++) {
            const bool valid = (unsigned)(origin[i].x + tap_t) < (unsigned)a.axis[0].input &&
                               (unsigned)(origin[i].y + at.r) < (unsigned)a.axis[1].input &&
                               (unsigned)(origin[i].z + at.s) < (unsigned)a.axis[2].input;
            copy_async<kCopy>(to_a + i * kPass * kRowBytes,
                              from_x + (long long)(origin[i].w + tap) * (a.pitch_x * kSize), valid);
        }
#pragma unroll
        for (int i = 0; i < kCopiesB; i++)
            if ((i + 1) * kPass <= N || copy_row < N - i * kPass)
                copy_async<kCopy>(to_b + i * kPass * kRowBytes, from_w + i * kPass * filter_bytes,
                                  inside && i * kPass < columns);
        from_w += kRowBytes;
        at.add(step, a.pitch_x, w.taps, h.taps);
    };

    Product product;
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
        product.multiply(stage, stage + kRows * kRowBytes, [&] {
            copy(write);  // zeros, beyond the last tap: cheaper than a branch, which parts it from the arithmetic
            copy_commit();
        });
        read = read + 1 == kStages ? 0 : read + 1;
        write = write + 1 == kStages ? 0 : write + 1;
    }

    copy_wait<0>();
    __syncthreads();
    product.stage(tile);
    __syncthreads();
    store_tile<N, kThreads>(tile, positions, static_cast<T*>(a.y), first_column, a.pitch_y, a.mode);
    if (a.partials == nullptr) return;
    float* const to_partials = a.partials + ((size_t)row_tile * a.pitch_y + first_column) * 2;
    if (a.norm.x != nullptr)
        store_norm_sums<T, N, kThreads>(tile, group * rows + first_row, min(kRows, rows - first_row), a.norm, group,
                                        first_column, a.pitch_y, to_partials);
    else
        store_statistics<T, N, kThreads>(tile, parts, min(kRows, rows - first_row), to_partials,
                                         a.pitch_y - first_column);
}
