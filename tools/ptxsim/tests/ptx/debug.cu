// A kernel with debug sections, for the parser's tests. nvcc -ptx -arch=compute_80 -G debug.cu
extern "C" __global__ void axpy(float a, const float* x, float* y) { y[threadIdx.x] += a * x[threadIdx.x]; }
