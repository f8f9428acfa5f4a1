// Softmax cross-entropy of logits with the classes of their rows, forward and backward at once:
//
//     loss = (1/R) Σ_r −log softmax(z_r)[c_r],   dz[r, c] = (softmax(z_r)[c] − [c = c_r])/R
//
// and the fraction of rows whose largest logit, the first of several, is that of their class.
//
// Layouts: z, dz (R, pitch) f32, labels (R) u32, rows (R) {loss, right} f64, losses (2) f64. Padding of dz becomes 0.
//
// Two launches. cross_entropy: a warp a row, a lane every 32nd class; three passes over a row of at most some hundred
// logits, which L1 keeps. cross_entropy_total, one block: a thread every 256th row, then a tree, both in fixed order.
//
// Shared memory: total 4,096 bytes, a pair of doubles a thread; a quarter warp reads 128 bytes in a row: no bank conflicts.
//
// Bound: launch. 32 rows of 101 classes are 13 KB.
// Not yet measured on a GPU.

#include "common/element.cuh"

struct RowFigures {
    double loss;
    double right;  // 1 or 0
};

struct CrossEntropyArgs {
    const float* z;
    const unsigned* labels;
    float* dz;
    RowFigures* rows;
    double* losses;  // mean loss, fraction right
    unsigned count;  // rows
    unsigned classes;
    unsigned pitch;
    unsigned unused;
};
static_assert(sizeof(CrossEntropyArgs) == 56, "the host's struct has the same size");

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / 32;

extern "C" __global__ void __launch_bounds__(kThreads) cross_entropy(const CrossEntropyArgs a) {
    const unsigned row = blockIdx.x * kWarps + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= a.count) return;
    const float* z = a.z + static_cast<size_t>(row) * a.pitch;
    float* dz = a.dz + static_cast<size_t>(row) * a.pitch;
    const unsigned label = a.labels[row];

    // The largest logit and the first class that has it. A NaN never wins, but makes the loss NaN.
    float largest = -INFINITY;
    unsigned first = ~0u;
    for (unsigned c = lane; c < a.classes; c += 32) {
        if (z[c] > largest) {
            largest = z[c];
            first = c;
        }
    }
#pragma unroll
    for (unsigned apart = 16; apart > 0; apart /= 2) {
        const float other = __shfl_xor_sync(~0u, largest, apart);
        const unsigned at = __shfl_xor_sync(~0u, first, apart);
        if (other > largest || (other == largest && at < first)) {
            largest = other;
            first = at;
        }
    }
    float total = 0.f;
    for (unsigned c = lane; c < a.classes; c += 32) total += expf(z[c] - largest);
#pragma unroll
    for (unsigned apart = 16; apart > 0; apart /= 2) total += __shfl_xor_sync(~0u, total, apart);

    const float share = 1.f / total, scale = 1.f / static_cast<float>(a.count);
    for (unsigned c = lane; c < a.pitch; c += 32) {
        const float p = c < a.classes ? expf(z[c] - largest) * share : 0.f;
        dz[c] = scale * (c == label ? p - 1.f : p);
    }
    if (lane == 0) {
        const double loss = static_cast<double>(largest - z[label]) + static_cast<double>(logf(total));
        a.rows[row] = {loss, first == label ? 1. : 0.};
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) cross_entropy_total(const CrossEntropyArgs a) {
    __shared__ RowFigures sums[kThreads];
    RowFigures sum = {};
    for (unsigned row = threadIdx.x; row < a.count; row += kThreads) {
        const RowFigures r = a.rows[row];
        sum.loss += r.loss;
        sum.right += r.right;
    }
    sums[threadIdx.x] = sum;
    for (unsigned half = kThreads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            sums[threadIdx.x].loss += sums[threadIdx.x + half].loss;
            sums[threadIdx.x].right += sums[threadIdx.x + half].right;
        }
    }
    if (threadIdx.x == 0) {
        a.losses[0] = sums[0].loss / a.count;
        a.losses[1] = sums[0].right / a.count;
    }
}
