// Mean over the middle axis of (G, P, C), and its gradient: S-Avg (G = clips · slots, P = H·W) and G-Avg (G = clips,
// P = slots); up to three of them in one launch: those of a step's blocks.
//
//     forward:   y[g, c] = Σ_p x[g, p, c] / P
//     backward:  dx[g, p, c] = dy[g, c] / P, written or added
//
// Layouts: x and dx (G, P, pitch), f32 or bf16; y and dy (G, pitch), always f32.
//
// Who owns what: a block one group and 64 channels of one problem; a thread four of them and every 16th position. Forward
// then adds the 16 partial sums of a channel in a fixed order, in shared memory: 16 rows of 64 floats, 4 KB, read and
// written a row at a time by a quarter of the block, so without bank conflicts.
//
// Bound: memory. Each byte of x is read once, or of dx written once (read and written when adding).
// Not yet measured on a GPU.

#include "common/element.cuh"

constexpr unsigned kMaxProblems = 3;

struct SlotPoolProblem {
    const void* from;  // x, or dy
    void* to;          // y, or dx
    unsigned positions;
    unsigned pitch;    // a multiple of 4
    unsigned columns;  // blocks side by side, for all channels of a group
    unsigned first;    // block of the launch
    unsigned mode;     // of dx
    unsigned unused;
};
static_assert(sizeof(SlotPoolProblem) == 40, "the host's struct has the same size");

struct SlotPoolArgs {
    SlotPoolProblem problems[kMaxProblems];
    unsigned count;
    unsigned unused;
};
static_assert(sizeof(SlotPoolArgs) == 128, "the host's struct has the same size");

constexpr unsigned kChannels = 64;
constexpr unsigned kColumns = kChannels / 4;  // threads side by side
constexpr unsigned kRows = 16;
constexpr unsigned kThreads = kColumns * kRows;

// Which problem this block works on, which group of it, and this thread's first channel.
struct Place {
    SlotPoolProblem p;
    size_t group;
    unsigned channel;

    __device__ __forceinline__ explicit Place(const SlotPoolArgs& args) {
        unsigned number = 0;
        while (number + 1 < args.count && blockIdx.x >= args.problems[number + 1].first) number++;
        p = args.problems[number];
        const unsigned block = blockIdx.x - p.first;
        group = block / p.columns;
        channel = block % p.columns * kChannels + threadIdx.x % kColumns * 4;
    }
};

template <typename T>
__device__ __forceinline__ void forward(const SlotPoolArgs& args) {
    __shared__ float4 sums[kRows][kColumns];
    const Place at(args);
    const SlotPoolProblem& p = at.p;
    const unsigned column = threadIdx.x % kColumns, row = threadIdx.x / kColumns;
    const bool inside = at.channel < p.pitch;
    const T* x = static_cast<const T*>(p.from) + at.group * p.positions * p.pitch + at.channel;
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    if (inside)
        for (unsigned i = row; i < p.positions; i += kRows) sum = sum + load4(x + (size_t)i * p.pitch);
    sums[row][column] = sum;
    __syncthreads();
    if (row == 0 && inside) {
        for (unsigned r = 1; r < kRows; r++) sum = sum + sums[r][column];
        store4(static_cast<float*>(p.to) + at.group * p.pitch + at.channel, sum * (1.0f / p.positions));
    }
}

template <typename T>
__device__ __forceinline__ void backward(const SlotPoolArgs& args) {
    const Place at(args);
    const SlotPoolProblem& p = at.p;
    if (at.channel >= p.pitch) return;
    const float4 share =
        load4(static_cast<const float*>(p.from) + at.group * p.pitch + at.channel) * (1.0f / p.positions);
    T* dx = static_cast<T*>(p.to) + at.group * p.positions * p.pitch + at.channel;
    for (unsigned i = threadIdx.x / kColumns; i < p.positions; i += kRows)
        write4(dx + (size_t)i * p.pitch, share, p.mode);
}

#define ENTRY(name, pass, T)                                                                                 \
    extern "C" __global__ void __launch_bounds__(kThreads) name(const __grid_constant__ SlotPoolArgs args) { \
        pass<T>(args);                                                                                       \
    }

ENTRY(slot_pool_forward_f32, forward, float)
ENTRY(slot_pool_forward_bf16, forward, bf16)
ENTRY(slot_pool_backward_f32, backward, float)
ENTRY(slot_pool_backward_bf16, backward, bf16)
