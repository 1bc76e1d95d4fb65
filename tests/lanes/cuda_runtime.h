// As much of CUDA's runtime as launch.h needs, on one thread of the CPU: the lanes of a warp are
// contexts that meet at shuffles. Blocks, warps and, between shuffles, lanes take turns in random
// order, so that what depends on it comes out different from one launch to the next.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(threads)
#define __forceinline__ inline __attribute__((always_inline))

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess };
inline const char* cudaGetErrorString(cudaError_t) {
    return "";
}

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    dim3(unsigned width = 1) : x(width) {}  // NOLINT: numbers are extents
};

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    std::size_t dynamicSmemBytes = 0;
    cudaStream_t stream = nullptr;
};

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace lanes {

constexpr int warp_size = 32;
constexpr std::size_t stack_bytes = 64 << 10, widest_value = 16;

struct Lane {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(stack_bytes);
    bool done = false;
    char given[widest_value];
};

struct Warp {
    ucontext_t scheduler;
    std::vector<Lane> lanes = std::vector<Lane>(warp_size);
    int lane = 0;  // whose turn it is
    char taken[warp_size][widest_value];
    std::function<void()> body;
};

inline Warp warp;
inline std::mt19937 random{12345};

inline void begin() {
    warp.body();
    warp.lanes[static_cast<std::size_t>(warp.lane)].done = true;
}

inline std::vector<unsigned> shuffled(unsigned count) {
    std::vector<unsigned> order(count);
    std::iota(order.begin(), order.end(), 0U);
    std::shuffle(order.begin(), order.end(), random);
    return order;
}

inline void run_warp(unsigned first_thread) {
    for (int i = 0; i < warp_size; ++i) {
        Lane& lane = warp.lanes[static_cast<std::size_t>(i)];
        lane.done = false;
        getcontext(&lane.context);
        lane.context.uc_stack.ss_sp = lane.stack.data();
        lane.context.uc_stack.ss_size = lane.stack.size();
        lane.context.uc_link = &warp.scheduler;
        makecontext(&lane.context, begin, 0);
    }
    for (std::ptrdiff_t done = 0; done < warp_size;) {
        for (const unsigned i : shuffled(warp_size)) {
            Lane& lane = warp.lanes[i];
            if (lane.done) continue;
            warp.lane = static_cast<int>(i);
            threadIdx.x = first_thread + i;
            swapcontext(&warp.scheduler, &lane.context);
        }
        const auto count = [](auto predicate) {
            return std::count_if(warp.lanes.begin(), warp.lanes.end(), predicate);
        };
        done = count([](const Lane& lane) { return lane.done; });
        if (done > 0 && done < warp_size)
            throw std::logic_error("a lane ended where others wait for it");
        for (int i = 0; i < warp_size; ++i)
            std::memcpy(warp.taken[i], warp.lanes[static_cast<std::size_t>(i)].given, widest_value);
    }
}

}  // namespace lanes

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
    static_assert(sizeof(T) <= lanes::widest_value);
    lanes::Warp& warp = lanes::warp;
    const int mine = warp.lane;
    if (mask != 0xffffffffU) std::abort();  // part of a warp: not written
    lanes::Lane& lane = warp.lanes[static_cast<std::size_t>(mine)];
    std::memcpy(lane.given, &value, sizeof value);
    swapcontext(&lane.context, &warp.scheduler);
    std::memcpy(&value, warp.taken[mine ^ distance], sizeof value);
    return value;
}

inline double atomicAdd(double* sum, double number) {
    const double before = *sum;
    *sum += number;
    return before;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
    gridDim = config->gridDim, blockDim = config->blockDim;
    lanes::warp.body = [&] { kernel(static_cast<Parameters>(arguments)...); };
    for (const unsigned block : lanes::shuffled(gridDim.x)) {
        blockIdx.x = block;
        for (const unsigned warp : lanes::shuffled(blockDim.x / lanes::warp_size))
            lanes::run_warp(warp * lanes::warp_size);
    }
    return cudaSuccess;
}
