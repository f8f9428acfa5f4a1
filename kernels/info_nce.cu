// InfoNCE, forward and backward, of all terms of a step in two launches:
//
//     loss = (1/S) Σ_s Σ_i -log softmax_j(cos(a_is, b_js)/τ)[i]
//
// and the gradients of scale times that with respect to a and b. The first launch leaves the logarithm of every row's
// total and its loss, and a sum of losses a block; the second makes both gradients, and its first block adds those up.
//
// Layouts: a, b, da, db are (B, S, pitch), f32, with at most 128 components; their padding is 0.
//
// Who owns what: a block 64 vectors of one slot of one term, against all B of the other side, 64 at a time: B² is never
// in memory; each tile of 64×64 similarities is made three times, for the softmax, for da and for db. Seven slots and
// three clip levels of 128 videos are 20 blocks for the first launch and 40 for the second; those of 4096 are 640 and
// 1,280. A thread owns 4×4 of a tile (rows ty + 16r, columns tx + 16c) and, of a gradient, 4 rows of 8 components. A
// vector is brought to unit length on its way into shared memory, by a warp that holds it whole.
// Every sum runs in an order that B alone decides.
//
// Precision: f32. Where a positive is nearly certain, P - 1 would cancel, so the loss is
// log(1 + Σ_{j≠i} exp(s_ij - s_ii)), and the diagonal of P - I is -(1 - exp(-loss)).
//
// Shared memory: two tiles of 64 vectors, (64, 132) f32: 67,584 bytes, and for gradients the (64, 80) slopes and 64
// lengths besides: 88,320 bytes, one block a multiprocessor of 8.0 and two of 9.0. Vectors are written a row a warp.
// Rows are 4 words further than a multiple of 32 banks: eight neighbouring rows, 16 bytes each, take all banks once. A
// warp writes 16 slopes of a row and 16 of the next, which are 16 banks further; only that warp reads them, four at a
// time.
//
// Bound: reads of shared memory, then FFMA, 5·2·B²·D a slot: four components of 16 dot products take 8 vectors. A
// negligible share of a step.
// Not yet measured on a GPU.
//
// dynamic shared memory: info_nce_softmax 67584
// dynamic shared memory: info_nce_gradient 88320

#include "common/element.cuh"

constexpr unsigned kMaxTerms = 6;

// What the first launch leaves of a row.
struct InfoNceRow {
    float log_total;  // log Σ_j exp(s_ij)
    float loss;
};

struct InfoNceTerm {
    const float* a;
    const float* b;
    float* da;
    float* db;
    InfoNceRow* rows;  // (S, B)
    unsigned first;    // its first block
    unsigned videos;   // B
    unsigned slots;    // S
    unsigned tiles;    // blocks of a slot
    unsigned pitch;    // a multiple of 4, at most 128
    float inverse_tau;
    float slope;       // scale / (S·τ): what P - I is multiplied by
    unsigned unused;
};
static_assert(sizeof(InfoNceTerm) == 72, "the host's struct has the same size");

struct InfoNceArgs {
    InfoNceTerm terms[kMaxTerms];
    double* partials;           // one a block of the first launch
    double* losses;             // six, of which the terms have some
    double factors[kMaxTerms];  // of each term's loss
    unsigned char places[8];    // where in losses each term's loss goes
    unsigned count;
    unsigned unused;
};
static_assert(sizeof(InfoNceArgs) == 432 + 16 + 48 + 8 + 8, "the host's struct has the same size");

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / 32;
constexpr unsigned kTile = 64;
constexpr unsigned kMaxDim = 128;
constexpr unsigned kStride = kMaxDim + 4;
constexpr unsigned kSlopeStride = kTile + 16;
constexpr float kNormFloor = 1e-12f;
constexpr float kLowest = -1e30f;  // below every logit, and finite: the difference of two is 0

struct Tiles {
    float x[kTile * kStride];
    float y[kTile * kStride];
};

struct GradientShared {
    Tiles tiles;
    float slopes[kTile * kSlopeStride];
    float norms[kTile];  // of x
};
static_assert(sizeof(Tiles) == 67584 && sizeof(GradientShared) == 88320, "what the host asks for");

// The sum over all lanes, in each of them. All lanes take part.
__device__ __forceinline__ float warp_sum(float v) {
    for (unsigned offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
    return v;
}

// The sum over the 16 lanes that share a row, in each of them. All lanes take part.
__device__ __forceinline__ float row_sum(float v) {
    for (unsigned offset = 8; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
    return v;
}

__device__ __forceinline__ float dot4(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }

// Where a block works.
struct Place {
    unsigned term, slot, first;  // its first vector
};

__device__ __forceinline__ Place place(const InfoNceArgs& args) {
    unsigned term = 0;
    while (term + 1 < args.count && blockIdx.x >= args.terms[term + 1].first) term++;
    const unsigned block = blockIdx.x - args.terms[term].first, tiles = args.terms[term].tiles;
    return {term, block / tiles, block % tiles * kTile};
}

// Vectors first.. of one slot at unit length, and their lengths if asked for; rows past the end and components past the
// pitch are 0. A warp a row; its rows are all on their way before the first is used.
__device__ __forceinline__ void load_tile(float* tile, float* norms, const float* v, const InfoNceTerm& t,
                                          unsigned first) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, d = lane * 4;
    float4 values[kTile / kWarps];
#pragma unroll
    for (unsigned n = 0; n < kTile / kWarps; n++) {
        const unsigned row = first + warp + n * kWarps;
        values[n] = make_float4(0.f, 0.f, 0.f, 0.f);
        if (row < t.videos && d < t.pitch) values[n] = load4(v + (size_t)row * t.slots * t.pitch + d);
    }
#pragma unroll
    for (unsigned n = 0; n < kTile / kWarps; n++) {
        const unsigned r = warp + n * kWarps;
        const float norm = sqrtf(warp_sum(dot4(values[n], values[n])));
        store4(tile + r * kStride + d, values[n] * (1.0f / fmaxf(norm, kNormFloor)));
        if (norms && lane == 0) norms[r] = norm;
    }
}

// This thread's 4×4 of x·yᵀ/τ.
__device__ __forceinline__ void similarities(const Tiles& s, const InfoNceTerm& t, unsigned ty, unsigned tx,
                                             float (&out)[4][4]) {
    for (unsigned r = 0; r < 4; r++)
        for (unsigned c = 0; c < 4; c++) out[r][c] = 0.0f;
    for (unsigned d = 0; d < t.pitch; d += 4) {
        float4 x[4], y[4];
        for (unsigned r = 0; r < 4; r++) x[r] = load4(s.x + (ty + 16 * r) * kStride + d);
        for (unsigned c = 0; c < 4; c++) y[c] = load4(s.y + (tx + 16 * c) * kStride + d);
        for (unsigned r = 0; r < 4; r++)
            for (unsigned c = 0; c < 4; c++) out[r][c] += dot4(x[r], y[c]);
    }
    for (unsigned r = 0; r < 4; r++)
        for (unsigned c = 0; c < 4; c++) out[r][c] *= t.inverse_tau;
}

extern "C" __global__ void __launch_bounds__(kThreads) info_nce_softmax(const __grid_constant__ InfoNceArgs args) {
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ float losses[kTile];
    Tiles& s = *reinterpret_cast<Tiles*>(memory);
    const Place at = place(args);
    const InfoNceTerm t = args.terms[at.term];
    const float* const a = t.a + (size_t)at.slot * t.pitch;
    const float* const b = t.b + (size_t)at.slot * t.pitch;
    const unsigned tx = threadIdx.x % 16, ty = threadIdx.x / 16;

    float most[4], total[4], own[4];
    for (unsigned r = 0; r < 4; r++) most[r] = kLowest, total[r] = 0.0f, own[r] = 0.0f;
    load_tile(s.x, nullptr, a, t, at.first);
    for (unsigned j0 = 0; j0 < t.videos; j0 += kTile) {
        load_tile(s.y, nullptr, b, t, j0);
        __syncthreads();
        float logits[4][4];
        similarities(s, t, ty, tx, logits);
        __syncthreads();
        for (unsigned r = 0; r < 4; r++) {
            // Once a tile, not once a logit: what the total so far is relative to.
            float higher = most[r];
            bool counts[4];
            for (unsigned c = 0; c < 4; c++) {
                const unsigned i = at.first + ty + 16 * r, j = j0 + tx + 16 * c;
                if (i == j) own[r] = logits[r][c];
                counts[c] = i != j && j < t.videos;
                if (counts[c]) higher = fmaxf(higher, logits[r][c]);
            }
            total[r] *= expf(most[r] - higher);
            for (unsigned c = 0; c < 4; c++)
                if (counts[c]) total[r] += expf(logits[r][c] - higher);
            most[r] = higher;
        }
    }

    for (unsigned r = 0; r < 4; r++) {
        float higher = most[r];
        for (unsigned offset = 8; offset > 0; offset /= 2)
            higher = fmaxf(higher, __shfl_xor_sync(~0u, higher, offset));
        const float others = row_sum(total[r] * expf(most[r] - higher));
        const float diagonal = row_sum(own[r]);  // one lane's; 0 in the others
        const float lead = higher - diagonal;
        const float loss = lead > 0.0f ? lead + logf(others + expf(-lead)) : log1pf(others * expf(lead));
        const unsigned row = ty + 16 * r, i = at.first + row;
        const bool inside = i < t.videos;
        if (tx == 0) losses[row] = inside ? loss : 0.0f;
        if (tx == 0 && inside) t.rows[(size_t)at.slot * t.videos + i] = {diagonal + loss, loss};
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        double loss = 0.0;
        for (unsigned row = 0; row < kTile; row++) loss += losses[row];
        args.partials[blockIdx.x] = loss;
    }
}

// Each term's loss, its blocks in order, by a thread; terms that are off are 0.
__device__ __forceinline__ void add_losses(const InfoNceArgs& args) {
    if (threadIdx.x >= kMaxTerms) return;
    double loss = 0.0;
    for (unsigned term = 0; term < args.count; term++) {
        if (args.places[term] != threadIdx.x) continue;
        const InfoNceTerm& t = args.terms[term];
        for (unsigned i = 0; i < t.slots * t.tiles; i++) loss += args.partials[t.first + i];
        loss = loss / t.slots * args.factors[term];
    }
    args.losses[threadIdx.x] = loss;
}

// The sums of a thread's 4 rows and 8 components, with y's vector j.
__device__ __forceinline__ void add_slopes(float4 (&sums)[4][2], const float* y, float p0, float p1, float p2,
                                           float p3) {
    const float4 low = load4(y), high = load4(y + 64);
    const float p[4] = {p0, p1, p2, p3};
    for (unsigned r = 0; r < 4; r++) {
        sums[r][0] = sums[r][0] + low * p[r];
        sums[r][1] = sums[r][1] + high * p[r];
    }
}

// Blocks (x, 0) make da, (x, 1) db.
extern "C" __global__ void __launch_bounds__(kThreads) info_nce_gradient(const __grid_constant__ InfoNceArgs args) {
    extern __shared__ __align__(16) unsigned char memory[];
    GradientShared& s = *reinterpret_cast<GradientShared*>(memory);
    if (blockIdx.x == 0 && blockIdx.y == 0) add_losses(args);
    const Place at = place(args);
    const InfoNceTerm t = args.terms[at.term];
    const bool of_a = blockIdx.y == 0;
    const size_t offset = (size_t)at.slot * t.pitch;
    const float* const own = (of_a ? t.a : t.b) + offset;
    const float* const other = (of_a ? t.b : t.a) + offset;
    const InfoNceRow* const rows = t.rows + (size_t)at.slot * t.videos;
    const unsigned tx = threadIdx.x % 16, ty = threadIdx.x / 16;

    float4 sums[4][2];
    for (unsigned r = 0; r < 4; r++) sums[r][0] = sums[r][1] = make_float4(0.f, 0.f, 0.f, 0.f);
    load_tile(s.tiles.x, s.norms, own, t, at.first);
    for (unsigned j0 = 0; j0 < t.videos; j0 += kTile) {
        load_tile(s.tiles.y, nullptr, other, t, j0);
        __syncthreads();
        float logits[4][4];
        similarities(s.tiles, t, ty, tx, logits);
        for (unsigned r = 0; r < 4; r++)
            for (unsigned c = 0; c < 4; c++) {
                const unsigned i = at.first + ty + 16 * r, j = j0 + tx + 16 * c;
                float p = 0.0f;
                if (i < t.videos && j < t.videos) {
                    const InfoNceRow row = rows[of_a ? i : j];
                    p = i == j ? expm1f(-row.loss) : expf(logits[r][c] - row.log_total);
                }
                s.slopes[(ty + 16 * r) * kSlopeStride + tx + 16 * c] = p * t.slope;
            }
        __syncwarp();  // a warp reads the slopes of its own rows
        // Past the last vector slopes and vectors are 0.
        const unsigned count = min(kTile, t.videos - j0);
        for (unsigned j = 0; j < count; j += 4) {
            float4 p[4];
            for (unsigned r = 0; r < 4; r++) p[r] = load4(s.slopes + (ty + 16 * r) * kSlopeStride + j);
            const float* const y = s.tiles.y + j * kStride + tx * 4;
            add_slopes(sums, y, p[0].x, p[1].x, p[2].x, p[3].x);
            add_slopes(sums, y + kStride, p[0].y, p[1].y, p[2].y, p[3].y);
            add_slopes(sums, y + 2 * kStride, p[0].z, p[1].z, p[2].z, p[3].z);
            add_slopes(sums, y + 3 * kStride, p[0].w, p[1].w, p[2].w, p[3].w);
        }
        __syncthreads();
    }

    // Through the normalisation: (d - u(u·d)) / ‖v‖; a vector below the floor was divided by a constant.
    float* const d_own = (of_a ? t.da : t.db) + offset;
    for (unsigned r = 0; r < 4; r++) {
        const float* const unit = s.tiles.x + (ty + 16 * r) * kStride + tx * 4;
        const float4 low = load4(unit), high = load4(unit + 64);
        const float norm = s.norms[ty + 16 * r];
        // Times 0 rather than left out: all lanes take part in the sum, and a NaN is passed on.
        const float along = row_sum(dot4(low, sums[r][0]) + dot4(high, sums[r][1])) * (norm < kNormFloor ? 0.0f : 1.0f);
        const float inverse = 1.0f / fmaxf(norm, kNormFloor);
        const unsigned i = at.first + ty + 16 * r;
        if (i >= t.videos) continue;
        float* const to = d_own + (size_t)i * t.slots * t.pitch + tx * 4;
        if (tx * 4 < t.pitch) store4(to, (sums[r][0] + low * -along) * inverse);
        if (tx * 4 + 64 < t.pitch) store4(to + 64, (sums[r][1] + high * -along) * inverse);
    }
}
