// The general corpus of the parser's tests: shuffles, atomics, switches, calls, local arrays, initialisers.
// nvcc -ptx -arch=compute_80 -lineinfo general.cu; paths in `.file` are cut to names.
#include <cuda_fp16.h>
#include <cstdio>

struct Pair { const int* pointer; long long count; };
struct Big { float value[37]; char flag; };

__constant__ float taps[5] = {0.1f, -0.2f, 0.4f, -0.2f, 0.1f};
__constant__ double scale = 1.0 / 3.0;
__device__ int table[3][4] = {{1, 2, 3, 4}, {-5, 6}, {7}};
__device__ unsigned char bytes[] = {1, 2, 255};
__device__ Pair pairs[2] = {{&table[0][1], 3}, {&table[2][0], -1}};
__device__ unsigned long long counter;
__device__ half2 halves;
extern __shared__ float dynamic[];

__device__ __noinline__ float twice(float x, const Big& big) { return x * big.value[3] + big.flag; }
__device__ __noinline__ Big make(int n) { Big b = {}; b.value[n & 31] = 1.0f; b.flag = 2; return b; }
__device__ float plus(float a, float b) { return a + b; }
__device__ float times(float a, float b) { return a * b; }
typedef float (*Op)(float, float);
__device__ Op ops[2] = {plus, times};

extern "C" __global__ void __launch_bounds__(256, 2) reduce(const float* __restrict__ in, float* out, int n) {
    __shared__ float partial[8];
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += in[i];
#pragma unroll
    for (int d = 16; d; d >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, d);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < 8; ++w) sum += partial[w];
        atomicAdd(out, sum);
        atomicAdd(&counter, 1ull);
        atomicCAS((int*)out + 1, 3, 4);
    }
}

extern "C" __global__ void choose(int* data, int k, Op which) {
    int x = data[threadIdx.x];
    switch (k) {
        case 0: data[1] = __popc(x); break;
        case 1: atomicMax(data, x); break;
        case 2: x = __ffs(x); data[2] = x; break;
        case 3: x ^= 0x55; __syncthreads(); break;
        case 4: x = x / 7; __threadfence(); break;
        case 5: x = table[x & 1][x & 3] + bytes[x & 1]; break;
        case 6: x = (int)pairs[x & 1].count; data[5] = 1; break;
        case 7: atomicExch(data, x); break;
        case 8: x = *pairs[x & 1].pointer; break;
        default: x = -1;
    }
    data[threadIdx.x] = x + (int)which(1.0f, 2.0f) + (int)ops[x & 1](2.0f, taps[x & 3]);
}

extern "C" __global__ void calls(float* data, const Big big) {
    Big made = make(threadIdx.x);
    dynamic[threadIdx.x] = twice(data[threadIdx.x], big) + twice(1.0f, made);
    __syncthreads();
    float local[16];
    for (int i = 0; i < 16; ++i) local[i] = data[i];
    local[(int)data[0] & 15] = 3.0f;
    data[threadIdx.x] = local[(int)data[1] & 15] + dynamic[threadIdx.x ^ 1];
}

extern "C" __global__ void doubles(double* d, half2* h, long long n) {
    double x = d[threadIdx.x];
    d[threadIdx.x] = sqrt(fma(x, scale, 1.5)) / (x + 1e-300) + (double)n;
    h[threadIdx.x] = __hfma2(h[threadIdx.x], halves, __float2half2_rn(2.0f));
    if (__any_sync(~0u, x > 2.0)) __trap();
    int lane; asm volatile("{.reg .u32 t;\n mov.u32 t, %%laneid;\n add.u32 %0, t, -1;}" : "=r"(lane));
    if (lane == 7) printf("%d %f\n", lane, x);
}
