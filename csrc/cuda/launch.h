// Loops over elements and sums over rows on the device. The bodies are written once: lambdas that
// capture by value, marked GROKRFM_BODY, which read and write device memory. This file holds all
// code that depends on how a GPU runs threads. The test suite replaces it by plain loops, and once
// runs it as it is with lanes that take turns.
//
// A warp takes a row, so that neither shared memory nor a barrier is needed and a sum has one order
// whatever the launch. Rows and elements are counted in 64 bits and walked in strides of the grid.
#pragma once

#include <algorithm>
#include <cstddef>

#include "device.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define GROKRFM_BODY __device__
#else
#define GROKRFM_BODY
#endif

namespace grokrfm::cuda {

template <class T, int count>
struct Sums {
    T value[count];
};

#if defined(__CUDACC__)

constexpr int block_threads = 256, warp_threads = 32;
constexpr unsigned every_lane = 0xffffffffU;

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
        for (int s = 0; s < count; ++s)
            for (int distance = warp_threads / 2; distance > 0; distance /= 2)
                sums.value[s] += __shfl_down_sync(every_lane, sums.value[s], distance);
        if (thread % warp_threads == 0) finish(row, sums);
    }
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

}  // namespace grokrfm::cuda
