// The Hopper corpus of the parser's tests: mbarrier, TMA and wgmma by inline assembly.
// nvcc -ptx -arch=compute_90a hopper.cu
#include <cstdint>
struct alignas(64) Map { char bytes[128]; };

__device__ __forceinline__ uint32_t shared_address(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void wait(uint32_t bar, uint32_t parity) {
    asm volatile("{.reg .pred P;\nW: mbarrier.try_wait.parity.shared::cta.b64 P, [%0], %1;\n@P bra D;\nbra W;\nD:}" ::"r"(bar), "r"(parity) : "memory");
}

extern "C" __global__ void __launch_bounds__(128, 1) __cluster_dims__(1, 1, 1)
tile(const __grid_constant__ Map a, const __grid_constant__ Map b, float* out, uint64_t policy) {
    extern __shared__ __align__(1024) uint8_t smem[];
    __shared__ __align__(8) uint64_t full[2];
    uint32_t bar = shared_address(full), dst = shared_address(smem);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(bar));
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async;" ::: "memory");
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(16384) : "memory");
        asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3,%3,%3,%3,%3}], [%2];"
                     ::"r"(dst), "l"(&a), "r"(bar), "r"(0) : "memory");
        asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3,%3,%3,%3}], [%2], {%4,%5}, %6;"
                     ::"r"(dst), "l"(&b), "r"(bar), "r"(-1), "h"((short)1), "h"((short)2), "l"(policy) : "memory");
    }
    __syncthreads();
    wait(bar, 0);
    float d[8] = {};
    uint64_t da = 0x4000004000010000ull | (dst >> 4), db = da + 512;
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    for (int k = 0; k < 4; ++k)
        asm volatile("{.reg .pred p;\nsetp.ne.b32 p, %10, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7}, %8, %9, p, 1, 1, 0, 1;}"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
                     : "l"(da + 2 * k), "l"(db + 2 * k), "r"(k));
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    wait(bar, 1);
    uint32_t leader;
    asm volatile("{.reg .pred P;\n elect.sync _|P, 0xffffffff;\n selp.u32 %0, 1, 0, P;}" : "=r"(leader));
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    asm volatile("bar.sync 1, 128;" ::: "memory");
    if (leader) {
        asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2,%3}], [%1];" ::"l"(&a), "r"(dst), "r"(1), "r"(2) : "memory");
        asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;" ::: "memory");
    }
    for (int i = 0; i < 8; ++i) out[threadIdx.x * 8 + i] = d[i];
}

extern "C" __global__ void copy(const uint4* in, uint4* out) {
    __shared__ uint4 stage[32];
    uint32_t s = shared_address(&stage[threadIdx.x]), r[4];
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;\ncp.async.wait_all;" ::"r"(s), "l"(in + threadIdx.x) : "memory");
    __syncwarp();
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(s));
    uint64_t pol;
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(pol));
    asm volatile("st.global.L1::no_allocate.L2::cache_hint.v4.b32 [%0], {%1,%2,%3,%4}, %5;" ::"l"(out + threadIdx.x), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]), "l"(pol) : "memory");
}
