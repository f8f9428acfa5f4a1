// Dropout by a mask that the host drew: y[i] = x[i]·mask[i], forward and, of the gradients, backward.
//
// Layouts, all f32: x, y, mask (R, pitch), a multiple of four elements.
//
// Who owns what: a thread four neighbouring elements. No shared memory.
//
// Bound: launch. The pooled vectors of 32 clips of 512 channels are 64 KB.
// Not yet measured on a GPU.

#include "common/element.cuh"

struct DropoutArgs {
    const float* x;
    const float* mask;
    float* y;
    unsigned vectors;  // of four elements
    unsigned unused;
};
static_assert(sizeof(DropoutArgs) == 32, "the host's struct has the same size");

constexpr unsigned kThreads = 256;

extern "C" __global__ void __launch_bounds__(kThreads) dropout(const DropoutArgs a) {
    const unsigned i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= a.vectors) return;
    const float4 x = load4(a.x + 4 * i), mask = load4(a.mask + 4 * i);
    store4(a.y + 4 * i, make_float4(x.x * mask.x, x.y * mask.y, x.z * mask.z, x.w * mask.w));
}
