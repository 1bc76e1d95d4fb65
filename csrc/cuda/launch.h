// Loops over elements and sums over rows on the device. The bodies are written once: lambdas that
// capture by value, marked GROKRFM_BODY, which read and write device memory. This file holds all
// code that depends on how a GPU runs threads. The test suite replaces it by plain loops, and once
// runs it as it is with lanes that take turns.
//
// A warp takes a row, or a tile of rows, so that neither shared memory nor a barrier is needed and
// a sum has one order whatever the launch. Rows and elements are counted in 64 bits and walked in
// strides of the grid.
#pragma once

#include <algorithm>
#include <cstddef>

#include "../common/math.h"
#include "device.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define GROKRFM_BODY __device__
#else
#define GROKRFM_BODY
#endif
#if defined(__NVCC__)
#define GROKRFM_PRAGMA(text) _Pragma(#text)
#define GROKRFM_UNROLL(times) GROKRFM_PRAGMA(unroll times)
#else
#define GROKRFM_UNROLL(times)
#endif

namespace grokrfm::cuda {

template <class T, int count>
struct Sums {
    T value[count];
};

// Two neighbours of a row, read and written at once: two entries a lane fill a warp at p = 61.
template <class T>
struct alignas(2 * sizeof(T)) Two {
    T value[2];
};
template <class T>
GROKRFM_HOST_DEVICE Two<T> load_two(const T* from) {
    return *reinterpret_cast<const Two<T>*>(from);
}
template <class T>
GROKRFM_HOST_DEVICE void store_two(T* to, Two<T> both) {
    *reinterpret_cast<Two<T>*>(to) = both;
}

// Grids V[run, x, c, y] of m columns of each of several runs, cut into tiles of rows x.
constexpr int tile_rows = 16;

struct Tiles {
    std::ptrdiff_t runs, p, m, pitch;

    // A row of a grid.
    struct Row {
        std::ptrdiff_t run, x, c;
    };
    GROKRFM_HOST_DEVICE std::ptrdiff_t a_column() const { return (p + tile_rows - 1) / tile_rows; }
    GROKRFM_HOST_DEVICE std::ptrdiff_t count() const { return runs * a_column() * m; }
    // The tiles of a column, one of runs m, are m from each other: those that lie together in
    // memory follow one another.
    GROKRFM_HOST_DEVICE std::ptrdiff_t tile(std::ptrdiff_t column, std::ptrdiff_t i) const {
        return (column / m * a_column() + i) * m + column % m;
    }
    GROKRFM_HOST_DEVICE Row first_row(std::ptrdiff_t tile) const {
        const std::ptrdiff_t run = tile / m / a_column();
        return {run, tile / m % a_column() * tile_rows, tile % m};
    }
};

// The length of an array that may hold nothing.
template <int count>
constexpr int or_one = count > 0 ? count : 1;

#if defined(__CUDACC__)

constexpr int block_threads = 256, warp_threads = 32;
constexpr unsigned every_lane = 0xffffffffU;

// The sums over the lanes of a warp, on lane 0.
template <class T>
__device__ __forceinline__ void add_lanes(T* sums, int count) {
    for (int s = 0; s < count; ++s)
        for (int distance = warp_threads / 2; distance > 0; distance /= 2)
            sums[s] += __shfl_down_sync(every_lane, sums[s], distance);
}

// A warp for each row, as far as there is room; the stride of the grid covers the rest.
template <class... Parameters>
void launch_rows(Device& device, std::ptrdiff_t rows, void (*kernel)(Parameters...),
                 const Parameters&... arguments) {
    constexpr std::ptrdiff_t most = 1 << 16, warps = block_threads / warp_threads;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(std::min((rows + warps - 1) / warps, most)));
    config.blockDim = dim3(block_threads);
    config.stream = reinterpret_cast<cudaStream_t>(device.stream());
    if (const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
        error != cudaSuccess)
        throw std::runtime_error(std::string("CUDA: a kernel could not be launched: ") +
                                 cudaGetErrorString(error));
}

template <class Body>
__global__ void __launch_bounds__(block_threads)
    rows_kernel(std::ptrdiff_t rows, std::ptrdiff_t length, Body body) {
    const std::ptrdiff_t thread =
        static_cast<std::ptrdiff_t>(blockIdx.x) * block_threads + threadIdx.x;
    const std::ptrdiff_t warps =
        static_cast<std::ptrdiff_t>(gridDim.x) * (block_threads / warp_threads);
    for (std::ptrdiff_t row = thread / warp_threads; row < rows; row += warps)
        for (std::ptrdiff_t k = thread % warp_threads; k < length; k += warp_threads) body(row, k);
}

template <int count, class T, class Body, class Finish>
__global__ void __launch_bounds__(block_threads)
    sums_kernel(std::ptrdiff_t rows, std::ptrdiff_t length, Body body, Finish finish) {
    const std::ptrdiff_t thread =
        static_cast<std::ptrdiff_t>(blockIdx.x) * block_threads + threadIdx.x;
    const std::ptrdiff_t warps =
        static_cast<std::ptrdiff_t>(gridDim.x) * (block_threads / warp_threads);
    // All lanes of a warp have the same row: none leaves the loop before the others.
    for (std::ptrdiff_t row = thread / warp_threads; row < rows; row += warps) {
        Sums<T, count> sums{};
        for (std::ptrdiff_t k = thread % warp_threads; k < length; k += warp_threads)
            body(row, k, sums);
        add_lanes(sums.value, count);
        if (thread % warp_threads == 0) finish(row, sums);
    }
}

// For whole numbers, whose sums do not depend on their order.
inline __device__ void add_atomically(double* sum, double number) {
    atomicAdd(sum, number);
}

#else

template <class T>
void add_lanes(T*, int) {}

inline void add_atomically(double* sum, double number) {
    *sum += number;
}

#endif

// The part of `lane` in a tile; see sum_tiles.
template <int per_row, int per_column, int per_tile, class T, class Body, class Finish>
GROKRFM_BODY void walk_tile(const Tiles& tiles, std::ptrdiff_t tile, int lane, int lane_count,
                            T* column_parts, T* parts, const Body& body, const Finish& finish) {
    const Tiles::Row first = tiles.first_row(tile);
    // Sums of the rows live in registers, which have no indices; else fewer rows do for their
    // loads.
    [[maybe_unused]] constexpr int unrolled = per_row > 0 ? tile_rows : 4;
    T row_sums[tile_rows][or_one<per_row>] = {}, totals[or_one<per_tile>] = {};
    for (std::ptrdiff_t y = 2 * lane; y < tiles.pitch; y += 2 * lane_count) {
        Two<T> column_sums[or_one<per_column>] = {};
        GROKRFM_UNROLL(unrolled)
        for (int r = 0; r < tile_rows; ++r)
            if (first.x + r < tiles.p)
                body(Tiles::Row{first.run, first.x + r, first.c}, y, row_sums[r], column_sums,
                     totals);
        for (int k = 0; k < per_column; ++k)
            store_two(column_parts + (tile * per_column + k) * tiles.pitch + y, column_sums[k]);
    }
    GROKRFM_UNROLL(tile_rows)
    for (int r = 0; r < tile_rows; ++r) {
        add_lanes(row_sums[r], per_row);
        if (per_row > 0 && lane == 0 && first.x + r < tiles.p)
            finish(Tiles::Row{first.run, first.x + r, first.c}, row_sums[r]);
    }
    add_lanes(totals, per_tile);
    if (lane == 0)
        for (int k = 0; k < per_tile; ++k) parts[tile * per_tile + k] = totals[k];
}

#if defined(__CUDACC__)

template <int per_row, int per_column, int per_tile, class T, class Body, class Finish>
__global__ void __launch_bounds__(block_threads)
    tiles_kernel(Tiles tiles, T* column_parts, T* parts, Body body, Finish finish) {
    const std::ptrdiff_t thread =
        static_cast<std::ptrdiff_t>(blockIdx.x) * block_threads + threadIdx.x;
    const std::ptrdiff_t warps =
        static_cast<std::ptrdiff_t>(gridDim.x) * (block_threads / warp_threads);
    for (std::ptrdiff_t tile = thread / warp_threads; tile < tiles.count(); tile += warps)
        walk_tile<per_row, per_column, per_tile>(tiles, tile,
                                                 static_cast<int>(thread % warp_threads),
                                                 warp_threads, column_parts, parts, body, finish);
}

#endif

// body(row, k) for all rows and 0 <= k < length.
template <class Body>
void for_rows(Device& device, std::ptrdiff_t rows, std::ptrdiff_t length, Body body) {
    if (rows == 0 || length == 0) return;
#if defined(__CUDACC__)
    launch_rows(device, rows, &rows_kernel<Body>, rows, length, body);
#else
    (void)device;
    for (std::ptrdiff_t row = 0; row < rows; ++row)
        for (std::ptrdiff_t k = 0; k < length; ++k) body(row, k);
#endif
}

template <class Body>
struct Each {
    std::ptrdiff_t count;
    Body body;
    GROKRFM_BODY void operator()(std::ptrdiff_t row, std::ptrdiff_t k) const {
        if (const std::ptrdiff_t i = 32 * row + k; i < count) body(i);
    }
};

// body(i) for 0 <= i < count.
template <class Body>
void for_each(Device& device, std::ptrdiff_t count, Body body) {
    for_rows(device, (count + 31) / 32, 32, Each<Body>{count, body});
}

// For every row body(row, k, sums) over 0 <= k < length adds to sums that begin at zero; then
// finish(row, sums).
template <int count, class T, class Body, class Finish>
void sum_rows(Device& device, std::ptrdiff_t rows, std::ptrdiff_t length, Body body,
              Finish finish) {
    if (rows == 0) return;
#if defined(__CUDACC__)
    launch_rows(device, rows, &sums_kernel<count, T, Body, Finish>, rows, length, body, finish);
#else
    (void)device;
    for (std::ptrdiff_t row = 0; row < rows; ++row) {
        Sums<T, count> sums{};
        for (std::ptrdiff_t k = 0; k < length; ++k) body(row, k, sums);
        finish(row, sums);
    }
#endif
}

// One pass over the grids: body(row, y, row_sums, column_sums, totals) for every second y takes the
// entries y and y + 1 and adds to sums that begin at zero, `per_row` of the row, `per_column` for
// both y, `per_tile` of the column. finish(row, row_sums) gets those of a row. Those for y over the
// rows of a tile go to column_parts, tiles x per_column x pitch; those of a tile to parts, tiles x
// per_tile.
template <int per_row, int per_column, int per_tile, class T, class Body, class Finish>
void sum_tiles(Device& device, const Tiles& tiles, T* column_parts, T* parts, Body body,
               Finish finish) {
    if (tiles.count() == 0) return;
#if defined(__CUDACC__)
    launch_rows(device, tiles.count(),
                &tiles_kernel<per_row, per_column, per_tile, T, Body, Finish>, tiles, column_parts,
                parts, body, finish);
#else
    (void)device;
    for (std::ptrdiff_t tile = 0; tile < tiles.count(); ++tile)
        walk_tile<per_row, per_column, per_tile>(tiles, tile, 0, 1, column_parts, parts, body,
                                                 finish);
#endif
}

}  // namespace grokrfm::cuda
