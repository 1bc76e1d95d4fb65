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
#define GROKRFM_UNROLL _Pragma("unroll")
#else
#define GROKRFM_UNROLL
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
// By name where nvcc, left to itself, may write one after the other.
template <class T>
GROKRFM_HOST_DEVICE void store_two(T* to, Two<T> both) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(T) == sizeof(float))
        __stwb(reinterpret_cast<float2*>(to), make_float2(both.value[0], both.value[1]));
    else
        __stwb(reinterpret_cast<double2*>(to), make_double2(both.value[0], both.value[1]));
#else
    *reinterpret_cast<Two<T>*>(to) = both;
#endif
}
template <class T, int count>
struct Twos {
    Two<T> of[count];
};

// Grids V[run, x, c, y] of m columns of each of several runs, cut into tiles of rows x. A lane has
// the loads of a few rows under way before it uses any.
constexpr int tile_rows = 16, loaded_rows = 4;

struct Tiles {
    std::ptrdiff_t runs, p, m, pitch;

    // Two neighbours y and y + 1 of a row: their run, x and column of the run, and where they are
    // in a grid and in an array of the pairs of all runs.
    struct Place {
        std::ptrdiff_t run, x, c, y, here, pair;
    };
    GROKRFM_HOST_DEVICE std::ptrdiff_t a_column() const { return (p + tile_rows - 1) / tile_rows; }
    GROKRFM_HOST_DEVICE std::ptrdiff_t count() const { return runs * a_column() * m; }
    GROKRFM_HOST_DEVICE int rows_from(std::ptrdiff_t x) const {
        return p - x < tile_rows ? static_cast<int>(p - x) : tile_rows;
    }
    // The tiles of a column, one of runs m, are m from each other: those that lie together in
    // memory follow one another.
    GROKRFM_HOST_DEVICE std::ptrdiff_t tile(std::ptrdiff_t column, std::ptrdiff_t i) const {
        return (column / m * a_column() + i) * m + column % m;
    }
    // The first place of a tile.
    GROKRFM_HOST_DEVICE Place first(std::ptrdiff_t tile) const {
        const std::ptrdiff_t run = tile / m / a_column(), c = tile % m;
        const std::ptrdiff_t x = tile / m % a_column() * tile_rows, pairs = run * p + x;
        return {run, x, c, 0, (pairs * m + c) * pitch, pairs * pitch};
    }
    GROKRFM_HOST_DEVICE Place moved(Place at, std::ptrdiff_t rows, std::ptrdiff_t y) const {
        return {at.run,
                at.x + rows,
                at.c,
                y,
                at.here + rows * m * pitch + y,
                at.pair + rows * pitch + y};
    }
};

// The length of an array that may hold nothing.
template <int count>
constexpr int or_one = count > 0 ? count : 1;

#if defined(__CUDACC__)

constexpr int block_threads = 256, warp_threads = 32;
constexpr unsigned every_lane = 0xffffffffU;

// The sums over the lanes of a warp, on all of them.
template <class T>
__device__ __forceinline__ void add_lanes(T* sums, int count) {
    for (int s = 0; s < count; ++s)
        for (int distance = warp_threads / 2; distance > 0; distance /= 2)
            sums[s] += __shfl_xor_sync(every_lane, sums[s], distance);
}

// A warp for each row, as far as there is room; the stride of the grid covers the rest.
template <class... Parameters>
void launch_rows(Device& device, std::ptrdiff_t rows, void (*kernel)(Parameters...), int threads,
                 const Parameters&... arguments) {
    constexpr std::ptrdiff_t most = 1 << 16;
    const std::ptrdiff_t warps = threads / warp_threads;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(std::min((rows + warps - 1) / warps, most)));
    config.blockDim = dim3(static_cast<unsigned>(threads));
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

// A tile to a warp; see sum_tiles. Lane r keeps the sums of row r: registers have no indices.
template <int per_row, int per_column, int per_tile, class T, class Load, class Use, class Finish>
__device__ void walk_tile(const Tiles& tiles, std::ptrdiff_t tile, int lane, T* column_parts,
                          T* parts, const Load& load, const Use& use, const Finish& finish) {
    const Tiles::Place first = tiles.first(tile);
    const int rows = tiles.rows_from(first.x);
    T mine[or_one<per_row>] = {}, totals[or_one<per_tile>] = {};
    for (std::ptrdiff_t begin = 0; begin < tiles.pitch; begin += 2 * warp_threads) {
        const std::ptrdiff_t y = begin + 2 * lane;
        const bool inside = y < tiles.pitch;
        Two<T> column_sums[or_one<per_column>] = {};
        for (int r = 0; r < rows; r += loaded_rows) {
            // What lies beyond is not used: the last row and the first place do for it.
            const auto place = [&](int k) {
                return tiles.moved(first, r + k < rows ? r + k : rows - 1, inside ? y : 0);
            };
            decltype(load(first)) loaded[loaded_rows];
            T sums[loaded_rows][or_one<per_row>] = {};
            GROKRFM_UNROLL
            for (int k = 0; k < loaded_rows; ++k) loaded[k] = load(place(k));
            GROKRFM_UNROLL
            for (int k = 0; k < loaded_rows; ++k)
                if (inside && r + k < rows) use(place(k), loaded[k], sums[k], column_sums, totals);
            GROKRFM_UNROLL
            for (int k = 0; k < loaded_rows; ++k) {
                add_lanes(sums[k], per_row);
                for (int s = 0; s < per_row; ++s)
                    if (lane == r + k) mine[s] += sums[k][s];
            }
        }
        if (inside)
            for (int k = 0; k < per_column; ++k)
                store_two(column_parts + (tile * per_column + k) * tiles.pitch + y, column_sums[k]);
    }
    if (per_row > 0 && lane < rows) finish(tiles.moved(first, lane, 0), mine);
    add_lanes(totals, per_tile);
    if (lane == 0)
        for (int k = 0; k < per_tile; ++k) parts[tile * per_tile + k] = totals[k];
}

// Small blocks: a run of p = 61 has 244 tiles.
constexpr int tile_block_threads = 64;

template <int per_row, int per_column, int per_tile, class T, class Load, class Use, class Finish>
__global__ void __launch_bounds__(tile_block_threads)
    tiles_kernel(Tiles tiles, T* column_parts, T* parts, Load load, Use use, Finish finish) {
    const std::ptrdiff_t thread =
        static_cast<std::ptrdiff_t>(blockIdx.x) * tile_block_threads + threadIdx.x;
    const std::ptrdiff_t warps =
        static_cast<std::ptrdiff_t>(gridDim.x) * (tile_block_threads / warp_threads);
    for (std::ptrdiff_t tile = thread / warp_threads; tile < tiles.count(); tile += warps)
        walk_tile<per_row, per_column, per_tile>(tiles, tile,
                                                 static_cast<int>(thread % warp_threads),
                                                 column_parts, parts, load, use, finish);
}

#else

inline void add_atomically(double* sum, double number) {
    *sum += number;
}

template <int per_row, int per_column, int per_tile, class T, class Load, class Use, class Finish>
void walk_tile(const Tiles& tiles, std::ptrdiff_t tile, T* column_parts, T* parts, const Load& load,
               const Use& use, const Finish& finish) {
    const Tiles::Place first = tiles.first(tile);
    T row_sums[tile_rows][or_one<per_row>] = {}, totals[or_one<per_tile>] = {};
    for (std::ptrdiff_t y = 0; y < tiles.pitch; y += 2) {
        Two<T> column_sums[or_one<per_column>] = {};
        for (int r = 0; r < tiles.rows_from(first.x); ++r) {
            const Tiles::Place at = tiles.moved(first, r, y);
            use(at, load(at), row_sums[r], column_sums, totals);
        }
        for (int k = 0; k < per_column; ++k)
            store_two(column_parts + (tile * per_column + k) * tiles.pitch + y, column_sums[k]);
    }
    if (per_row > 0)
        for (int r = 0; r < tiles.rows_from(first.x); ++r)
            finish(tiles.moved(first, r, 0), row_sums[r]);
    for (int k = 0; k < per_tile; ++k) parts[tile * per_tile + k] = totals[k];
}

#endif

// body(row, k) for all rows and 0 <= k < length.
template <class Body>
void for_rows(Device& device, std::ptrdiff_t rows, std::ptrdiff_t length, Body body) {
    if (rows == 0 || length == 0) return;
#if defined(__CUDACC__)
    launch_rows(device, rows, &rows_kernel<Body>, block_threads, rows, length, body);
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
    launch_rows(device, rows, &sums_kernel<count, T, Body, Finish>, block_threads, rows, length,
                body, finish);
#else
    (void)device;
    for (std::ptrdiff_t row = 0; row < rows; ++row) {
        Sums<T, count> sums{};
        for (std::ptrdiff_t k = 0; k < length; ++k) body(row, k, sums);
        finish(row, sums);
    }
#endif
}

// One pass over the grids, by twos of y: use(place, loaded, row_sums, column_sums, totals) gets
// what load(place) returned, which may read what only `use` at the same place writes, and adds to
// sums that begin at zero, `per_row` of the row, `per_column` for both y over the rows of the tile,
// `per_tile` of the tile. finish(place, row_sums) gets those of a row; the others go to
// column_parts, tiles x per_column x pitch, and to parts, tiles x per_tile.
template <int per_row, int per_column, int per_tile, class T, class Load, class Use, class Finish>
void sum_tiles(Device& device, const Tiles& tiles, T* column_parts, T* parts, Load load, Use use,
               Finish finish) {
    if (tiles.count() == 0) return;
#if defined(__CUDACC__)
    launch_rows(device, tiles.count(),
                &tiles_kernel<per_row, per_column, per_tile, T, Load, Use, Finish>,
                tile_block_threads, tiles, column_parts, parts, load, use, finish);
#else
    (void)device;
    for (std::ptrdiff_t tile = 0; tile < tiles.count(); ++tile)
        walk_tile<per_row, per_column, per_tile>(tiles, tile, column_parts, parts, load, use,
                                                 finish);
#endif
}

}  // namespace grokrfm::cuda
