// How blocks share out (clips, positions, pitch): each has a run of a clip's positions and a slice of the channels. Its
// threads lie (rows, columns): columns are vectors of V channels side by side, and row r takes positions r, r + rows, …
#pragma once

// As the host plans it.
struct Runs {
    unsigned positions;  // of a clip
    unsigned pitch;
    unsigned rows;       // threads beyond rows·columns idle
    unsigned columns;
    unsigned slices;     // blocks side by side over the channels
    unsigned run;        // positions of a block; the last run of a clip may be shorter
    unsigned runs;       // of a clip
    unsigned unused;
};
static_assert(sizeof(Runs) == 32, "the host's struct has the same size");

// Where a thread stands. Elements of a run are counted in 32 bits, from its first one.
template <int V>
struct Place {
    unsigned row, channel;
    unsigned run, count;  // which one, and its positions
    size_t clip;
    size_t start;  // this thread's channels at the run's first position
    bool inside;

    // blockIdx.x counts clips, runs, slices, the last one fastest: neighbours share lines of memory.
    __device__ __forceinline__ explicit Place(const Runs& r) {
        const unsigned slice = blockIdx.x % r.slices;
        run = blockIdx.x / r.slices % r.runs;
        clip = blockIdx.x / r.slices / r.runs;
        row = threadIdx.x / r.columns;
        channel = (slice * r.columns + threadIdx.x % r.columns) * V;
        count = min(r.run, r.positions - run * r.run);
        start = (clip * r.positions + run * r.run) * r.pitch + channel;
        inside = row < r.rows && channel < r.pitch;
    }

    // This thread's channels in a buffer of (clips, pitch), and in one of (clips, runs, pitch).
    __device__ __forceinline__ size_t in_clip(const Runs& r) const { return clip * r.pitch + channel; }
    __device__ __forceinline__ size_t in_run(const Runs& r) const { return (clip * r.runs + run) * r.pitch + channel; }
};
