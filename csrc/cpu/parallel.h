// Threads over blocks of work. Block b always goes to thread b mod threads, so that sums kept per
// thread come out the same on every run with that many threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace grokrfm {

inline std::ptrdiff_t block_count(std::ptrdiff_t size, std::ptrdiff_t block) {
    return (size + block - 1) / block;
}

// Calls body(block, thread) for every block; the first exception of any thread is thrown on.
template <class Body>
void parallel_for(std::ptrdiff_t blocks, int threads, const Body& body) {
    const int used = static_cast<int>(
        std::clamp<std::ptrdiff_t>(threads, 1, std::max<std::ptrdiff_t>(blocks, 1)));
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(used));
    const auto work = [&](int thread) {
        try {
            for (std::ptrdiff_t block = thread; block < blocks; block += used) body(block, thread);
        } catch (...) {
            errors[static_cast<std::size_t>(thread)] = std::current_exception();
        }
    };
    std::vector<std::thread> pool;
    for (int thread = 1; thread < used; ++thread) pool.emplace_back(work, thread);
    work(0);
    for (auto& thread : pool) thread.join();
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
}

}  // namespace grokrfm
