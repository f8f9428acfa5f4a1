// Mean over the middle axis of (G, P, C), and its gradient: S-Avg (G = clips · slots, P = H·W) and G-Avg (G = clips,
// P = slots).
//
//     forward:   y[g, c] = Σ_p x[g, p, c] / P
//     backward:  dx[g, p, c] = dy[g, c] / P, written or added
//
// Layouts: x and dx (G, P, pitch), f32 or bf16; y and dy (G, pitch), always f32.
//
// Who owns what: a block one group and 64 channels; a thread four of them and every 16th position. Forward then adds the
// 16 partial sums of a channel in a fixed order, in shared memory: 16 rows of 64 floats, 4 KB, read and written a row at a
// time by a quarter of the block, so without bank conflicts.
//
// Bound: memory. Each byte of x is read once, or of dx written once (read and written when adding).
// Not yet measured on a GPU.

#include "common/element.cuh"

struct SlotPoolArgs {
    const void* from;  // x, or dy
    void* to;          // y, or dx
    unsigned positions;
    unsigned pitch;  // a multiple of 4
    unsigned mode;   // of dx
    unsigned unused;
};
static_assert(sizeof(SlotPoolArgs) == 32, "the host's struct has the same size");

constexpr unsigned kChannels = 64;
constexpr unsigned kColumns = kChannels / 4;  // threads side by side
constexpr unsigned kRows = 16;
constexpr unsigned kThreads = kColumns * kRows;

template <typename T>
__device__ __forceinline__ void forward(const SlotPoolArgs& a) {
    __shared__ float4 sums[kRows][kColumns];
    const unsigned column = threadIdx.x % kColumns, row = threadIdx.x / kColumns;
    const unsigned channel = blockIdx.y * kChannels + column * 4;
    const bool inside = channel < a.pitch;
    const T* x = static_cast<const T*>(a.from) + (size_t)blockIdx.x * a.positions * a.pitch + channel;
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    if (inside)
        for (unsigned p = row; p < a.positions; p += kRows) sum = sum + load4(x + (size_t)p * a.pitch);
    sums[row][column] = sum;
    __syncthreads();
    if (row == 0 && inside) {
        for (unsigned r = 1; r < kRows; r++) sum = sum + sums[r][column];
        store4(static_cast<float*>(a.to) + (size_t)blockIdx.x * a.pitch + channel, sum * (1.0f / a.positions));
    }
}

template <typename T>
__device__ __forceinline__ void backward(const SlotPoolArgs& a) {
    const unsigned column = threadIdx.x % kColumns, row = threadIdx.x / kColumns;
    const unsigned channel = blockIdx.y * kChannels + column * 4;
    if (channel >= a.pitch) return;
    const float4 share =
        load4(static_cast<const float*>(a.from) + (size_t)blockIdx.x * a.pitch + channel) * (1.0f / a.positions);
    T* dx = static_cast<T*>(a.to) + (size_t)blockIdx.x * a.positions * a.pitch + channel;
    for (unsigned p = row; p < a.positions; p += kRows) write4(dx + (size_t)p * a.pitch, share, a.mode);
}

extern "C" __global__ void __launch_bounds__(kThreads) slot_pool_forward_f32(const SlotPoolArgs a) { forward<float>(a); }
extern "C" __global__ void __launch_bounds__(kThreads) slot_pool_forward_bf16(const SlotPoolArgs a) { forward<bf16>(a); }
extern "C" __global__ void __launch_bounds__(kThreads) slot_pool_backward_f32(const SlotPoolArgs a) { backward<float>(a); }
extern "C" __global__ void __launch_bounds__(kThreads) slot_pool_backward_bf16(const SlotPoolArgs a) { backward<bf16>(a); }
