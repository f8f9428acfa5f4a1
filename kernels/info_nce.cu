// InfoNCE, forward and backward, of all terms of a step in one launch:
//
//     loss = (1/S) Σ_s Σ_i -log softmax_j(cos(a_is, b_js)/τ)[i]
//
// and the gradients of scale times that with respect to a and b. A second, tiny launch adds up the losses of the slots.
//
// Layouts: a, b, da, db are (B, S, pitch), f32, with at most 128 components; their padding is 0.
//
// Who owns what: a block one slot of one term, all of its B×B similarities, of which it never keeps more than a tile of
// 64×64: it makes each tile three times, for the softmax, for da and for db. A thread owns 4×4 of a tile (rows ty + 16r,
// columns tx + 16c) and, of a gradient, 4 rows of 8 components. B = 128 is four tiles; B = 4096 keeps a block busy for a
// while, but then a step encodes 12,288 clips.
// Every sum runs in an order that B alone decides.
//
// Precision: f32. Where a positive is nearly certain, P - 1 would cancel, so the loss is log(1 + Σ_{j≠i} exp(s_ij - s_ii)),
// and the diagonal of P - I is -(1 - exp(-loss)).
//
// Shared memory: two tiles of 64 vectors, (64, 132) f32, and the 64×68 similarities: 84,992 bytes, so a GPU of 8.0 holds
// one block a multiprocessor, which is enough for about 20 blocks. Rows are 4 words further than a multiple of 32 banks: the
// 16 rows that neighbouring lanes read, 16 bytes each, take the two passes that 256 bytes take at least.
//
// Bound: FFMA, 5·2·B²·D a slot. A negligible share of a step.
// Not yet measured on a GPU.
//
// dynamic shared memory: info_nce 84992

#include "common/element.cuh"

constexpr unsigned kMaxTerms = 6;

struct InfoNceTerm {
    const float* a;
    const float* b;
    float* da;
    float* db;
    unsigned first;   // its first block
    unsigned videos;  // B
    unsigned slots;   // S
    unsigned pitch;   // a multiple of 4, at most 128
    float inverse_tau;
    float slope;      // scale / (S·τ): what P - I is multiplied by
    unsigned long long rows;  // its first row in `rows`, of S·B
};
static_assert(sizeof(InfoNceTerm) == 64, "the host's struct has the same size");

// What a block remembers of a row, and of a column.
struct InfoNceRow {
    float a_norm, b_norm;
    float log_total;  // log Σ_j exp(s_ij)
    float loss;
};

struct InfoNceArgs {
    InfoNceTerm terms[kMaxTerms];
    InfoNceRow* rows;
    double* partials;  // one a block
    double* losses;    // six, of which the terms have some
    float factors[kMaxTerms];           // of each term's loss
    unsigned char places[8];            // where in losses each term's loss goes
    unsigned count;
    unsigned blocks;
};
static_assert(sizeof(InfoNceArgs) == 384 + 24 + 24 + 8 + 8, "the host's struct has the same size");

constexpr unsigned kThreads = 256;
constexpr unsigned kTile = 64;
constexpr unsigned kMaxDim = 128;
constexpr unsigned kStride = kMaxDim + 4;
constexpr unsigned kSimilarityStride = kTile + 4;
constexpr float kNormFloor = 1e-12f;
constexpr float kLowest = -1e30f;  // below every logit, and finite: the difference of two is 0

struct Shared {
    float x[kTile * kStride];
    float y[kTile * kStride];
    float similarity[kTile * kSimilarityStride];
};

// The sum over the 16 lanes that share a row, in each of them.
__device__ __forceinline__ float row_sum(float v) {
    for (unsigned offset = 8; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
    return v;
}

// Vectors first.. of one slot at unit length; rows past the end are 0.
__device__ __forceinline__ void load_tile(float* tile, const float* v, const InfoNceTerm& t, const InfoNceRow* rows,
                                          bool is_a, unsigned first) {
    const unsigned quads = t.pitch / 4;
    for (unsigned i = threadIdx.x; i < kTile * quads; i += kThreads) {
        const unsigned r = i / quads, d = i % quads * 4, row = first + r;
        float4 value = make_float4(0.f, 0.f, 0.f, 0.f);
        if (row < t.videos) {
            const float norm = is_a ? rows[row].a_norm : rows[row].b_norm;
            value = load4(v + (size_t)row * t.slots * t.pitch + d) * (1.0f / fmaxf(norm, kNormFloor));
        }
        store4(tile + r * kStride + d, value);
    }
}

// This thread's 4×4 of x·yᵀ/τ.
__device__ __forceinline__ void similarities(const Shared& s, const InfoNceTerm& t, unsigned ty, unsigned tx,
                                             float (&out)[4][4]) {
    for (unsigned r = 0; r < 4; r++)
        for (unsigned c = 0; c < 4; c++) out[r][c] = 0.0f;
    for (unsigned d = 0; d < t.pitch; d += 4) {
        float4 x[4], y[4];
        for (unsigned r = 0; r < 4; r++) x[r] = load4(s.x + (ty + 16 * r) * kStride + d);
        for (unsigned c = 0; c < 4; c++) y[c] = load4(s.y + (tx + 16 * c) * kStride + d);
        for (unsigned r = 0; r < 4; r++)
            for (unsigned c = 0; c < 4; c++)
                out[r][c] += x[r].x * y[c].x + x[r].y * y[c].y + x[r].z * y[c].z + x[r].w * y[c].w;
    }
    for (unsigned r = 0; r < 4; r++)
        for (unsigned c = 0; c < 4; c++) out[r][c] *= t.inverse_tau;
}

// Lengths of all vectors of the slot: a warp a vector.
__device__ __forceinline__ void measure(const InfoNceTerm& t, const float* a, const float* b, InfoNceRow* rows) {
    const unsigned lane = threadIdx.x % 32;
    for (unsigned i = threadIdx.x / 32; i < t.videos; i += kThreads / 32) {
        float squares[2] = {0.0f, 0.0f};
        for (unsigned d = lane * 4; d < t.pitch; d += 128) {
            const size_t at = (size_t)i * t.slots * t.pitch + d;
            const float4 va = load4(a + at), vb = load4(b + at);
            squares[0] += va.x * va.x + va.y * va.y + va.z * va.z + va.w * va.w;
            squares[1] += vb.x * vb.x + vb.y * vb.y + vb.z * vb.z + vb.w * vb.w;
        }
        for (unsigned offset = 16; offset > 0; offset /= 2) {
            squares[0] += __shfl_xor_sync(~0u, squares[0], offset);
            squares[1] += __shfl_xor_sync(~0u, squares[1], offset);
        }
        if (lane == 0) rows[i] = {sqrtf(squares[0]), sqrtf(squares[1]), 0.0f, 0.0f};
    }
}

// The softmax of every row: its loss, and the logarithm of its total.
__device__ __forceinline__ void softmax(Shared& s, const InfoNceTerm& t, const float* a, const float* b,
                                        InfoNceRow* rows) {
    const unsigned tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (unsigned i0 = 0; i0 < t.videos; i0 += kTile) {
        float most[4], total[4], own[4];
        for (unsigned r = 0; r < 4; r++) most[r] = kLowest, total[r] = 0.0f, own[r] = 0.0f;
        __syncthreads();
        load_tile(s.x, a, t, rows, true, i0);
        for (unsigned j0 = 0; j0 < t.videos; j0 += kTile) {
            __syncthreads();
            load_tile(s.y, b, t, rows, false, j0);
            __syncthreads();
            float logits[4][4];
            similarities(s, t, ty, tx, logits);
            for (unsigned r = 0; r < 4; r++)
                for (unsigned c = 0; c < 4; c++) {
                    const unsigned i = i0 + ty + 16 * r, j = j0 + tx + 16 * c;
                    if (i == j) own[r] = logits[r][c];
                    if (i == j || j >= t.videos) continue;
                    const float higher = fmaxf(most[r], logits[r][c]);
                    total[r] = total[r] * expf(most[r] - higher) + expf(logits[r][c] - higher);
                    most[r] = higher;
                }
        }
        for (unsigned r = 0; r < 4; r++) {
            float higher = most[r];
            for (unsigned offset = 8; offset > 0; offset /= 2)
                higher = fmaxf(higher, __shfl_xor_sync(~0u, higher, offset));
            const float others = row_sum(total[r] * expf(most[r] - higher));
            const float diagonal = row_sum(own[r]);  // one lane's; 0 in the others
            const unsigned i = i0 + ty + 16 * r;
            if (tx != 0 || i >= t.videos) continue;
            const float lead = higher - diagonal;
            const float loss = lead > 0.0f ? lead + logf(others + expf(-lead)) : log1pf(others * expf(lead));
            rows[i].loss = loss;
            rows[i].log_total = diagonal + loss;
        }
    }
}

// The gradient of a (kOfA) or of b: for a tile of its vectors, over all tiles of the others.
template <bool kOfA>
__device__ __forceinline__ void gradient(Shared& s, const InfoNceTerm& t, const float* own, const float* other, float* d_own,
                                         const InfoNceRow* rows) {
    const unsigned tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (unsigned i0 = 0; i0 < t.videos; i0 += kTile) {
        float4 sums[4][2];
        for (unsigned r = 0; r < 4; r++) sums[r][0] = sums[r][1] = make_float4(0.f, 0.f, 0.f, 0.f);
        __syncthreads();
        load_tile(s.x, own, t, rows, kOfA, i0);
        for (unsigned j0 = 0; j0 < t.videos; j0 += kTile) {
            __syncthreads();
            load_tile(s.y, other, t, rows, !kOfA, j0);
            __syncthreads();
            float slopes[4][4];
            similarities(s, t, ty, tx, slopes);
            for (unsigned r = 0; r < 4; r++)
                for (unsigned c = 0; c < 4; c++) {
                    const unsigned i = i0 + ty + 16 * r, j = j0 + tx + 16 * c;
                    float p = 0.0f;
                    if (i < t.videos && j < t.videos) {
                        const InfoNceRow& row = rows[kOfA ? i : j];
                        p = i == j ? expm1f(-row.loss) : expf(slopes[r][c] - row.log_total);
                    }
                    s.similarity[(ty + 16 * r) * kSimilarityStride + tx + 16 * c] = p * t.slope;
                }
            __syncthreads();
            const unsigned count = min(kTile, t.videos - j0);
            for (unsigned j = 0; j < count; j++) {
                const float4 low = load4(s.y + j * kStride + tx * 4);
                const float4 high = load4(s.y + j * kStride + 64 + tx * 4);
                for (unsigned r = 0; r < 4; r++) {
                    const float p = s.similarity[(ty + 16 * r) * kSimilarityStride + j];
                    sums[r][0] = sums[r][0] + low * p;
                    sums[r][1] = sums[r][1] + high * p;
                }
            }
        }
        // Through the normalisation: (d - u(u·d)) / ‖v‖; a vector below the floor was divided by a constant.
        for (unsigned r = 0; r < 4; r++) {
            const float* unit = s.x + (ty + 16 * r) * kStride;
            const unsigned i = i0 + ty + 16 * r;
            const float norm = i < t.videos ? (kOfA ? rows[i].a_norm : rows[i].b_norm) : 1.0f;
            float along = 0.0f;
            for (unsigned half = 0; half < 2; half++) {
                const unsigned d = half * 64 + tx * 4;
                if (d >= t.pitch) continue;
                const float4 u = load4(unit + d), v = sums[r][half];
                along += u.x * v.x + u.y * v.y + u.z * v.z + u.w * v.w;
            }
            along = row_sum(along) * (norm < kNormFloor ? 0.0f : 1.0f);  // lanes of two rows take part in the shuffles
            for (unsigned half = 0; half < 2; half++) {
                const unsigned d = half * 64 + tx * 4;
                if (d >= t.pitch || i >= t.videos) continue;
                const float4 v = (sums[r][half] + load4(unit + d) * -along) * (1.0f / fmaxf(norm, kNormFloor));
                store4(d_own + (size_t)i * t.slots * t.pitch + d, v);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) info_nce(const __grid_constant__ InfoNceArgs args) {
    extern __shared__ __align__(16) unsigned char memory[];
    Shared& s = *reinterpret_cast<Shared*>(memory);
    unsigned term = 0;
    while (term + 1 < args.count && blockIdx.x >= args.terms[term + 1].first) term++;
    const InfoNceTerm t = args.terms[term];
    const unsigned slot = blockIdx.x - t.first;
    const size_t at = (size_t)slot * t.pitch;
    InfoNceRow* const rows = args.rows + t.rows + (size_t)slot * t.videos;
    // Components that no vector has are read with the others.
    for (unsigned i = threadIdx.x; i < 2 * kTile * kStride; i += kThreads) s.x[i] = 0.0f;
    measure(t, t.a + at, t.b + at, rows);
    __syncthreads();
    softmax(s, t, t.a + at, t.b + at, rows);
    __syncthreads();
    gradient<true>(s, t, t.a + at, t.b + at, t.da + at, rows);
    gradient<false>(s, t, t.b + at, t.a + at, t.db + at, rows);
    if (threadIdx.x == 0) {
        double loss = 0.0;
        for (unsigned i = 0; i < t.videos; i++) loss += rows[i].loss;
        args.partials[blockIdx.x] = loss / t.slots;
    }
}

// A thread a term: its slots in order. Terms that are off are 0.
extern "C" __global__ void __launch_bounds__(32) info_nce_losses(const __grid_constant__ InfoNceArgs args) {
    if (threadIdx.x < 6) args.losses[threadIdx.x] = 0.0;
    __syncwarp();
    if (threadIdx.x >= args.count) return;
    const unsigned term = threadIdx.x;
    const unsigned end = term + 1 < args.count ? args.terms[term + 1].first : args.blocks;
    double loss = 0.0;
    for (unsigned block = args.terms[term].first; block < end; block++) loss += args.partials[block];
    args.losses[args.places[term]] = loss * args.factors[term];
}
