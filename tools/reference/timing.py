"""What the PyTorch benchmarks share: switches, timers, and the CPU allocator's settings."""
import gc
import os
import statistics
import sys
import time

import torch

import ref

AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}


def setup(device, dtype, threads):
    if threads:
        torch.set_num_threads(threads)
    tf = dtype != "fp32"
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = tf
    torch.backends.cuda.matmul.allow_tf32 = tf
    torch.manual_seed(0)


def storage(dtype):
    return AMP.get(dtype, torch.float32)


def fmt(channels_last):
    return torch.channels_last_3d if channels_last else torch.contiguous_format


def sync(dev):
    if dev == "cuda":
        torch.cuda.synchronize()


def free(dev):
    gc.collect()
    if dev == "cuda":
        torch.cuda.empty_cache()


def times_ms(fn, dev, warmup=2, target_s=0.15, lo=3, hi=30):
    """list of per-call milliseconds; CUDA events on the GPU, perf_counter on the CPU."""
    for _ in range(warmup):
        fn()
    sync(dev)
    t0 = time.perf_counter()
    fn()
    sync(dev)
    once = time.perf_counter() - t0
    n = int(max(lo, min(hi, target_s / max(once, 1e-6))))
    if dev == "cuda":
        ev = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(n)]
        for a, b in ev:
            a.record()
            fn()
            b.record()
        torch.cuda.synchronize()
        return [a.elapsed_time(b) for a, b in ev]
    out = []
    for _ in range(n):
        t0 = time.perf_counter()
        fn()
        out.append((time.perf_counter() - t0) * 1e3)
    return out


def med(fn, dev, **kw):
    """operator time: median on the GPU; minimum on a (shared) CPU, where the scheduler swamps the median."""
    return (min if dev == "cpu" else statistics.median)(times_ms(fn, dev, **kw))


CPU_MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 35), "MALLOC_TOP_PAD_": str(1 << 28)}


def tune_cpu_malloc():
    """glibc otherwise maps and unmaps every big activation: page faults cost C3D 1.7x.  Re-exec once."""
    if "MALLOC_MMAP_MAX_" not in os.environ:
        os.environ.update(CPU_MALLOC)
        os.execv(sys.executable, [sys.executable, *sys.argv])


def is_oom(e):
    s = str(e).lower()
    return isinstance(e, torch.cuda.OutOfMemoryError) or "out of memory" in s or "can't allocate" in s


def pick_chunk(backbone, n, thw):
    """largest divisor of n whose biggest activation stays under 2^31 elements (cuDNN's 32-bit paths)."""
    info = ref.conv_layers(backbone, thw=thw)
    per = max(c[2] * c[7][0] * c[7][1] * c[7][2] for c in info["convs"])
    return max(d for d in range(1, n + 1) if n % d == 0 and (d * per < 2 ** 31 or d == 1))
