// How a staged tile of sums, 128 rows by N columns of floats in shared memory, leaves a block: rounded and written or
// added, 16 bytes a thread, and its statistics.
//
// Lanes read eight neighbouring units of one row at a time, so shared memory has no conflicts; where a row has not a
// multiple of eight units, the lanes beyond it idle.
#pragma once

#include "conv_gather_product.cuh"

// Eight neighbouring columns of a staged row. Lanes of a quarter warp read units 0 to 7: the upper four take their two
// halves in the other order, so that each of the two reads has all banks.
__device__ __forceinline__ void load_unit(const float* unit, bool upper, float4& low, float4& high) {
    const float4 first = load4(unit + (upper ? 4 : 0)), second = load4(unit + (upper ? 0 : 4));
    low = upper ? second : first;
    high = upper ? first : second;
}

// Rows of a tile go to `positions`, or nowhere if that is negative; its columns to channels from `first` on, of which
// there are `pitch`.
template <int N, int kThreads>
__device__ __forceinline__ void store_tile(const float* tile, const int* positions, bf16* y, int first, int pitch,
                                           unsigned mode) {
    constexpr int kUnits = N / 8, kSlots = (kUnits + 7) / 8 * 8;
    for (int i = threadIdx.x; i < kRows * kSlots; i += kThreads) {
        const int row = i / kSlots, unit = i % kSlots, position = positions[row], channel = first + unit * 8;
        if (unit >= kUnits || position < 0 || channel >= pitch) continue;
        float4 low, high;
        load_unit(tile + row * kStagedPitch<N> + unit * 8, unit & 4, low, high);
        bf16* to = y + (size_t)position * pitch + channel;
        if (pitch == 4) {
            write4(to, low, mode);
            continue;
        }
        uint4* const all = reinterpret_cast<uint4*>(to);
        if (mode == kAccumulate) {
            const uint4 v = *all;
            low = low + make_float4(low_bf16(v.x), high_bf16(v.x), low_bf16(v.y), high_bf16(v.y));
            high = high + make_float4(low_bf16(v.z), high_bf16(v.z), low_bf16(v.w), high_bf16(v.w));
        }
        *all = make_uint4(pack_bf16(low.x, low.y), pack_bf16(low.z, low.w), pack_bf16(high.x, high.y),
                          pack_bf16(high.z, high.w));
    }
}

template <int N, int kThreads>
__device__ __forceinline__ void store_tile(const float* tile, const int* positions, float* y, int first, int pitch,
                                           unsigned mode) {
    constexpr int kUnits = N / 4, kSlots = (kUnits + 7) / 8 * 8;
    for (int i = threadIdx.x; i < kRows * kSlots; i += kThreads) {
        const int row = i / kSlots, unit = i % kSlots, position = positions[row], channel = first + unit * 4;
        if (unit >= kUnits || position < 0 || channel >= pitch) continue;
        write4(y + (size_t)position * pitch + channel, load4(tile + row * kStagedPitch<N> + unit * 4), mode);
    }
}

// As the tile is stored.
template <typename T>
__device__ __forceinline__ float4 rounded(float4 v);
template <>
__device__ __forceinline__ float4 rounded<float>(float4 v) { return v; }
template <>
__device__ __forceinline__ float4 rounded<bf16>(float4 v) {
    const unsigned xy = pack_bf16(v.x, v.y), zw = pack_bf16(v.z, v.w);
    return make_float4(low_bf16(xy), high_bf16(xy), low_bf16(zw), high_bf16(zw));
}

constexpr int kParts = 8;  // of a tile, whose sums are added in their order: 16 rows each, whatever N and T

// Threads by parts and units of four columns: calls run(turn, part, column) for each that is this thread's.
template <int N, int kThreads>
struct PartWalk {
    static constexpr int kUnits = N / 4, kSlots = (kUnits + 7) / 8 * 8;
    static constexpr int kTurns = (kParts * kSlots + kThreads - 1) / kThreads;
    static_assert(kSlots <= kThreads, "the first turn has the whole first part");

    template <typename Run>
    static __device__ __forceinline__ void each(Run&& run) {
#pragma unroll
        for (int turn = 0; turn < kTurns; turn++) {
            const int task = threadIdx.x + turn * kThreads, part = task / kSlots, unit = task % kSlots;
            if (part < kParts && unit < kUnits) run(turn, part, unit * 4);
        }
    }
};

// The sum of a column's parts, (kParts, N).
template <int N>
__device__ __forceinline__ float4 sum_parts(const float* parts, int column) {
    float4 sum = load4(parts + column);
#pragma unroll
    for (int part = 1; part < kParts; part++) sum = sum + load4(parts + part * N + column);
    return sum;
}

// The mean of each column over the first `rows` rows, as they are stored, and the sum of squared deviations from it;
// to[2 · column] and the next. `parts` has kParts · N floats. Two passes over the tile: none of it cancels.
template <typename T, int N, int kThreads>
__device__ __forceinline__ void store_statistics(const float* tile, float* parts, int rows, float* to, int columns) {
    using Parts = PartWalk<N, kThreads>;
    const auto add_rows = [&](int part, int column, auto&& term) {
        constexpr int kPart = kRows / kParts;
        const int last = min(rows, (part + 1) * kPart);
        float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll 4
        for (int row = part * kPart; row < last; row++)
            sum = sum + term(rounded<T>(load4(tile + row * kStagedPitch<N> + column)));
        store4(parts + part * N + column, sum);
    };
    float4 mean[Parts::kTurns];
    Parts::each([&](int, int part, int column) { add_rows(part, column, [](float4 v) { return v; }); });
    __syncthreads();
    Parts::each([&](int turn, int, int column) { mean[turn] = sum_parts<N>(parts, column) * (1.0f / rows); });
    __syncthreads();
    Parts::each([&](int turn, int part, int column) {
        const float4 m = mean[turn];
        add_rows(part, column, [m](float4 v) {
            const float4 d = v + m * -1.0f;
            return make_float4(d.x * d.x, d.y * d.y, d.z * d.z, d.w * d.w);
        });
    });
    __syncthreads();
    const int column = threadIdx.x * 4;
    if (column >= N || column >= columns) return;
    // Unit threadIdx.x of the first part was this thread's.
    const float4 m = mean[0], squares = sum_parts<N>(parts, column);
    store4(to + column * 2, make_float4(m.x, squares.x, m.y, squares.y));
    store4(to + column * 2 + 4, make_float4(m.z, squares.z, m.w, squares.w));
}
