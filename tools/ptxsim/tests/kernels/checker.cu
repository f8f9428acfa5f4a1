// What a race checker must and must not report: each kernel is right with bug = 0. x holds 0, 1, 2, …, y zeros, and
// nothing has written z.
#define HOPPER
#include "prim.cuh"
#include <cuda_runtime.h>

#define CASE(name) extern "C" __global__ void name(int* x, int* y, int* z, int bug)
#define TID static_cast<int>(threadIdx.x)
#define WARP (TID >> 5)

DEV void bar_sync(int id, int count) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(count) : "memory"); }
DEV void bar_arrive(int id, int count) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(count) : "memory"); }

CASE(warp_synchronous) {
    __shared__ int s[32];
    s[TID] = x[TID];
    if (!bug) __syncwarp();
    y[TID] = s[31 - TID];
}

// Warp 0 produces, warp 1 consumes; barrier 1 says full, barrier 2 empty.
CASE(producer_consumer) {
    __shared__ int s[32];
    if (WARP == 0) {
        for (int i = 0; i < 4; i++) {
            if (i > 0 && bug != 2) bar_sync(2, 64);
            if (bug == 1) bar_arrive(1, 64);
            s[TID] = x[TID] + i;
            if (i > 0 && bug == 2) bar_sync(2, 64);
            if (bug != 1) bar_arrive(1, 64);
        }
    } else {
        int sum = 0;
        for (int i = 0; i < 4; i++) {
            bar_sync(1, 64);
            sum += s[63 - TID];
            if (i < 3) bar_arrive(2, 64);
        }
        y[TID - 32] = sum;
    }
}

// The last block sums up what the others left.
CASE(last_block) {
    if (TID != 0) return;
    y[1 + blockIdx.x] = x[blockIdx.x];
    if (!bug) __threadfence();
    auto count = reinterpret_cast<unsigned*>(y + 100);
    if (atomicInc(count, gridDim.x - 1) != gridDim.x - 1) return;
    __threadfence();
    int sum = 0;
    for (int i = 0; i < gridDim.x; i++) sum += y[1 + i];
    y[0] = sum;
}

// All blocks read a word; the last one overwrites it.
CASE(last_block_writes) {
    if (TID != 0) return;
    y[1 + blockIdx.x] = x[5];
    if (!bug) __threadfence();
    auto count = reinterpret_cast<unsigned*>(y + 100);
    if (atomicInc(count, gridDim.x - 1) != gridDim.x - 1) return;
    __threadfence();
    x[5] = 77;
}

// A lock around a plain counter.
CASE(spin_lock) {
    __shared__ int lock, counter;
    if (TID == 0) lock = counter = 0;
    __syncthreads();
    const uint32_t at = smem_addr(&lock);
    int taken;
    do {
        if (bug) asm volatile("atom.relaxed.cta.shared.cas.b32 %0, [%1], 0, 1;" : "=r"(taken) : "r"(at) : "memory");
        else asm volatile("atom.acquire.cta.shared.cas.b32 %0, [%1], 0, 1;" : "=r"(taken) : "r"(at) : "memory");
        if (taken == 0) {
            counter += 1;
            if (bug) asm volatile("st.relaxed.cta.shared.b32 [%0], 0;" ::"r"(at) : "memory");
            else asm volatile("st.release.cta.shared.b32 [%0], 0;" ::"r"(at) : "memory");
        }
    } while (taken != 0);
    __syncthreads();
    if (TID == 0) y[0] = counter;
}

// Block 0 tells block 1.
CASE(between_blocks) {
    if (TID != 0) return;
    if (blockIdx.x == 0) {
        y[0] = x[42];
        if (bug) asm volatile("st.relaxed.gpu.global.b32 [%0], 1;" ::"l"(y + 50) : "memory");
        else asm volatile("st.release.gpu.global.b32 [%0], 1;" ::"l"(y + 50) : "memory");
    } else {
        int seen;
        do asm volatile("ld.acquire.gpu.global.b32 %0, [%1];" : "=r"(seen) : "l"(y + 50) : "memory"); while (seen == 0);
        y[1] = y[0] + 1;
    }
}

// Warp 0 tells warp 1: through a shared address and a generic one, or through a volatile flag and fences.
CASE(between_warps) {
    __shared__ int data[2];
    __shared__ volatile int flag[2];
    if (TID == 0) flag[0] = flag[1] = 0;
    __syncthreads();
    if (TID == 0) {
        data[0] = x[10];
        const uint32_t at = smem_addr(const_cast<int*>(&flag[0]));
        asm volatile("st.release.cta.shared.b32 [%0], 1;" ::"r"(at) : "memory");
        data[1] = x[11];
        if (!bug) __threadfence_block();
        flag[1] = 1;
    } else if (TID == 32) {
        int seen;
        do asm volatile("ld.acquire.cta.b32 %0, [%1];" : "=r"(seen) : "l"(&flag[0]) : "memory"); while (seen == 0);
        y[0] = data[0];
        while (flag[1] == 0) {}
        __threadfence_block();
        y[1] = data[1];
    }
}

CASE(bytes_of_a_word) {
    __shared__ uint8_t s[64];
    s[TID] = x[TID];
    reinterpret_cast<uint8_t*>(y)[TID] = x[TID];
    __syncthreads();
    if (TID < 16) y[16 + TID] = reinterpret_cast<int*>(s)[15 - TID];
}

CASE(atomics) {
    __shared__ int bins[8];
    if (bug != 1) {
        if (TID < 8) bins[TID] = 0;
        __syncthreads();
    } else if (TID < 8) bins[TID] = 0;
    atomicAdd(&bins[x[TID] & 7], 1);
    if (bug == 2 && blockIdx.x == 1) y[TID & 7] = 0;
    __syncthreads();
    if (TID < 8) atomicAdd(&y[TID], bins[TID]);
}

// Two pairs of warps, each with a barrier and half a buffer of its own.
CASE(pairs_of_warps) {
    __shared__ int s[128];
    const int pair = TID >> 6, first = pair * 64, i = TID & 63;
    int sum = 0;
    for (int round = 0; round < 3; round++) {
        s[first + i] = x[TID] + round;
        bar_sync(1 + pair, 64);
        sum += s[(bug ? 64 - first : first) + 63 - i];
        bar_sync(1 + pair, 64);
    }
    y[TID] = sum;
}

DEV void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Each thread copies 16 bytes and reads its own, then, after a barrier, another's.
CASE(copies) {
    __shared__ __align__(16) int s[4 * 64];
    cp_async_16(smem_addr(s + 4 * TID), x + 4 * TID, true);
    if (bug != 1) cp_async_wait_all();
    y[TID] = s[4 * TID];
    if (bug != 2) __syncthreads();
    y[64 + TID] = s[4 * (63 - TID)];
}

// Threads that have ended take no part in barriers.
CASE(early_exit) {
    __shared__ int s[40];
    if (TID >= 40) return;
    s[TID] = x[TID];
    __syncthreads();
    if (TID == 7) return;
    y[TID] = s[39 - TID];
    __syncthreads();
    s[TID] = 0;
}

CASE(divergent_barriers) {
    if (TID < 16) {
        y[TID] = 1;
        asm volatile("bar.sync 0;" ::: "memory");
    } else {
        y[TID] = 2;
        asm volatile("bar.sync 0;" ::: "memory");
        y[TID] = x[TID];
    }
}

CASE(half_of_the_warps) {
    if (WARP % 2 == 0) bar_sync(1, 128);
    y[TID] = 1;
}

CASE(lanes_never_meet) {
    int v = x[TID];
    if (TID < 16) asm volatile("shfl.sync.down.b32 %0, %0, 1, 31, 0xffffffff;" : "+r"(v));
    else asm volatile("{.reg .pred p;\nsetp.ne.b32 p, %0, 0;\nvote.sync.ballot.b32 %0, p, 0xffffffff;}" : "+r"(v));
    y[TID] = v;
}

CASE(endless) {
    while (atomicAdd(&y[1], 0) == 0) {}
    y[0] = 1;
}

DEV void mbar_arrive_n(uint32_t b, int n) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(n) : "memory"); }

// Two threads arrive, all wait.
CASE(mbarrier_arrivals) {
    __shared__ uint64_t barrier;
    __shared__ int s[2];
    const uint32_t at = smem_addr(&barrier);
    if (TID == 0) mbar_init(at, 2);
    __syncthreads();
    if (TID % 32 == 0 && !(bug == 2 && TID == 32)) {
        s[WARP] = x[TID];
        mbar_arrive_n(at, bug == 1 ? 3 : 1);
    }
    if (bug != 1) mbar_wait(at, 0);
    if (bug != 1) y[TID] = s[0] + s[1];
}

// A product of zeros.
CASE(accumulators) {
    SMEM_DYN(smem);
    for (int i = TID; i < 4096; i += 128) reinterpret_cast<int*>(smem)[i] = 0;
    fence_proxy_async();
    __syncthreads();
    const uint64_t a = (smem_addr(smem) & 0x3ffff) >> 4 | 1 << 16 | 64ull << 32 | 1ull << 62;
    float acc[32];
    for (int i = 0; i < 32; i++) acc[i] = 1;
    if (bug != 2) wgmma_fence();
    wgmma_m64n64k16_bf16(acc, a, a + (8192 >> 4));
    wgmma_commit();
    if (bug == 1) asm volatile("add.f32 %0, %0, 0f3F800000;" : "+f"(acc[3]));
    wgmma_wait<0>();
    y[TID] = acc[3];
}

// Operands are overwritten by a fifth warp when some threads of the warpgroup have said that they may be.
DEV void release_operands(int* y, bool releases, int releasers, bool early) {
    SMEM_DYN(smem);
    __shared__ uint64_t barrier;
    const uint32_t at = smem_addr(&barrier);
    if (TID == 0) mbar_init(at, releasers);
    for (int i = TID; i < 4096; i += 160) reinterpret_cast<int*>(smem)[i] = 0;
    fence_proxy_async();
    __syncthreads();
    if (TID == 128) {
        mbar_wait(at, 0);
        for (int i = 0; i < 4096; i++) reinterpret_cast<int*>(smem)[i] = 7;
    }
    if (TID >= 128) return;
    const uint64_t a = (smem_addr(smem) & 0x3ffff) >> 4 | 1 << 16 | 64ull << 32 | 1ull << 62;
    float acc[32];
    for (int i = 0; i < 32; i++) acc[i] = 1;
    wgmma_fence();
    wgmma_m64n64k16_bf16(acc, a, a + (8192 >> 4));
    wgmma_commit();
    if (early && releases) mbar_arrive(at);
    wgmma_wait<0>();
    if (!early && releases) mbar_arrive(at);
    y[TID] = acc[3];
}

// A lane of each warp says so, not the first.
CASE(operands_released) { release_operands(y, TID % 32 == 5, 4, bug); }

// One thread says so for the warpgroup, whose group of products it has waited for.
CASE(operands_released_by_one) { release_operands(y, TID == 5, 1, bug); }

DEV void bulk_load(uint32_t to, const void* from, int bytes, uint32_t bar) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(to), "l"(from), "r"(bytes), "r"(bar) : "memory");
}

// Shared memory is written out in bulk, then used again.
CASE(bulk_store) {
    __shared__ __align__(128) int s[64];
    s[TID] = x[TID];
    if (bug != 2) fence_proxy_async();
    __syncthreads();
    if (TID == 0) {
        asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], 256;" ::"l"(y), "r"(smem_addr(s)) : "memory");
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        if (bug != 1) asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
    }
    __syncthreads();
    s[TID] = 0;
    __syncthreads();
    if (TID == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

// Two copies that one mbarrier counts.
CASE(two_bulk_loads) {
    __shared__ __align__(128) int s[128];
    __shared__ uint64_t barrier;
    const uint32_t at = smem_addr(&barrier);
    if (TID == 0) {
        mbar_init(at, 1);
        fence_mbar_init();
        mbar_expect_tx(at, bug ? 256 : 512);
        bulk_load(smem_addr(s), x, 256, at);
        bulk_load(smem_addr(s + 64), x + 100, 256, at);
    }
    __syncthreads();
    mbar_wait(at, 0);
    y[TID] = s[127 - TID] + s[TID];
}

CASE(uninitialised_global) {
    if (bug) x = z;
    y[TID] = x[TID];
}

// Shared or global memory, which only the address tells.
CASE(generic_pointers) {
    __shared__ int s[64];
    s[TID] = x[TID] + 1;
    if (!bug) __syncthreads();
    const int* p = (TID & 1 ? s : x) + (TID ^ 33);
    y[TID] = *p;
}

// Reads of a barrier that orders, between blocks nothing does.
CASE(read_then_written_by_another_block) {
    if (blockIdx.x == 0) y[TID] = x[TID];
    else if (bug) x[TID] = 0;
}

struct Config { int a, b; };
extern "C" __global__ void parameters(const __grid_constant__ Config c, int* y, int bug) {
    const int* p = TID & 1 ? &c.b : &c.a;
    y[TID] = *p;
    if (bug) *const_cast<int*>(p) = 1;
}
