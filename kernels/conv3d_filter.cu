// What a convolution's gradients do with filters.
//
// conv3d_filter_flip: the filter as dgrad gathers with it (common/conv_gather.cuh): transposed, the taps of a class of
// residues side by side and, on each axis, in falling order:
//
//     flipped[c, before(class) + tap', k] = w[k, tap, c]
//
// Layouts: w (pitch_k, T, R, S, pitch_c), flipped (pitch_c, T·R·S, pitch_k), f32 or bf16. A block moves 32 x 32
// channels of one tap through shared memory, 4 KB (bf16: 2 KB), whose rows are four bytes longer than what they hold:
// a warp writes a row and reads a column, neither with bank conflicts. Bound: memory; each byte is read and written
// once.
//
// conv3d_filter_reduce: the sum of wgrad's splits, in their order, written or added:
//
//     dw[i] = Σ_split parts[split, i]
//
// Both f32, (pitch_k, T, R, S, pitch_c) flat. A thread owns four neighbouring elements. Bound: memory; each byte of the
// parts is read once.
//
// Not yet measured on a GPU.

#include "common/element.cuh"

struct FlipArgs {
    const void* w;
    void* flipped;
    int filter[3];
    int stride[3];
    int pitch_c, pitch_k;
};
static_assert(sizeof(FlipArgs) == 48, "the host's struct has the same size");

struct ReduceArgs {
    const float* parts;
    float* dw;
    unsigned long long elements;  // of dw, a multiple of four
    unsigned splits;
    unsigned mode;
};
static_assert(sizeof(ReduceArgs) == 32, "the host's struct has the same size");

constexpr int kThreads = 256;
constexpr int kSide = 32;  // channels of a block

// A tap on one axis: how many share its residue, how many have lower ones, and which of its own it is from the last.
struct FlippedTap {
    int taps, taps_before, index;

    __device__ __forceinline__ FlippedTap(int tap, int filter, int stride) {
        const int residue = tap % stride, each = filter / stride, more = filter % stride;
        taps = each + (residue < more);
        taps_before = each * residue + min(more, residue);
        index = taps - 1 - tap / stride;
    }
};

template <typename T>
__device__ __forceinline__ void flip(const FlipArgs& a) {
    __shared__ T tile[kSide][kSide + 4 / sizeof(T)];
    const int column = threadIdx.x % kSide, row = threadIdx.x / kSide, tap = blockIdx.x;
    const int taps = a.filter[0] * a.filter[1] * a.filter[2];
    const int first_c = blockIdx.y * kSide, first_k = blockIdx.z * kSide;
    const FlippedTap t(tap / a.filter[2] / a.filter[1], a.filter[0], a.stride[0]),
        r(tap / a.filter[2] % a.filter[1], a.filter[1], a.stride[1]), s(tap % a.filter[2], a.filter[2], a.stride[2]);
    const int to = (t.taps_before * a.filter[1] + t.taps * r.taps_before) * a.filter[2] +
                   t.taps * r.taps * s.taps_before + (t.index * r.taps + r.index) * s.taps + s.index;
    for (int i = row; i < kSide; i += kThreads / kSide) {
        const int k = first_k + i, c = first_c + column;
        if (k < a.pitch_k && c < a.pitch_c)
            tile[i][column] = static_cast<const T*>(a.w)[((size_t)k * taps + tap) * a.pitch_c + c];
    }
    __syncthreads();
    for (int i = row; i < kSide; i += kThreads / kSide) {
        const int c = first_c + i, k = first_k + column;
        if (k < a.pitch_k && c < a.pitch_c)
            static_cast<T*>(a.flipped)[((size_t)c * taps + to) * a.pitch_k + k] = tile[column][i];
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) conv3d_filter_flip_f32(const FlipArgs a) { flip<float>(a); }
extern "C" __global__ void __launch_bounds__(kThreads) conv3d_filter_flip_bf16(const FlipArgs a) { flip<bf16>(a); }

extern "C" __global__ void __launch_bounds__(kThreads) conv3d_filter_reduce(const ReduceArgs a) {
    const unsigned long long i = (blockIdx.x * (unsigned long long)kThreads + threadIdx.x) * 4;
    if (i >= a.elements) return;
    const float* from = a.parts + i;
    float4 sum = load4(from);
#pragma unroll 4
    for (unsigned split = 1; split < a.splits; split++) sum = sum + load4(from += a.elements);
    write4(a.dw + i, sum, a.mode);
}
