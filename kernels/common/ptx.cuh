// The PTX that C++ has no words for: asynchronous copies to shared memory, fragments, products of tensor cores.
// Shared memory is addressed by 32-bit offsets, as these instructions want it.
#pragma once

__device__ __forceinline__ unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Starts to copy 16 or 8 bytes from global memory; writes as many zeros, and reads nothing, unless `valid`. Sixteen go
// past the first-level cache (.cg), which eight cannot.
template <int kBytes>
__device__ __forceinline__ void copy_async(unsigned to, const void* from, bool valid) {
    static_assert(kBytes == 16 || kBytes == 8, "what cp.async copies");
    const int bytes = valid ? kBytes : 0;
    if constexpr (kBytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// Ends a group: the copies that this thread started since the last one.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of this thread's groups are unfinished.
template <int kPending>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Two floats in one 8-byte write, which the compiler would sometimes take apart.
__device__ __forceinline__ void store_shared(unsigned to, float first, float second) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(first), "f"(second) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements. Lanes 8·i to 8·i + 7 give the addresses of the eight rows of the i-th, 16
// bytes each; lane l receives, of each, elements 2·(l % 4) and 2·(l % 4) + 1 of row l / 4.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row)
                 : "memory");
}
// Two, whose rows lanes 0 to 15 give.
__device__ __forceinline__ void load_matrices(unsigned (&to)[2], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(row)
                 : "memory");
}
// The same, each matrix transposed on the way: lane l receives elements of column l / 4.
__device__ __forceinline__ void load_transposed(unsigned (&to)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row)
                 : "memory");
}
__device__ __forceinline__ void load_transposed(unsigned (&to)[2], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(row)
                 : "memory");
}

// sum += a · b with a 16 x 16 (row, k), b 16 x 8 (k, column), both bf16, and sums in f32. Lane l holds, g = l / 4 and
// t = l % 4: of a rows g and g + 8 at k = 2t, 2t + 1 (a[0], a[1]) and 8 further (a[2], a[3]); of b column g at the
// same k (b0) and 8 further (b1); of sum columns 2t and 2t + 1 of row g (sum[0], sum[1]) and of row g + 8.
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
