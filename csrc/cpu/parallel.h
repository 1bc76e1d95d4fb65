// Threads over blocks of work, and threads that work together. Both see to interruption.h:
// between blocks by themselves, inside a long block where it asks `interrupted()`.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "interruption.h"

namespace grokrfm {

inline std::ptrdiff_t block_count(std::ptrdiff_t size, std::ptrdiff_t block) {
    return (size + block - 1) / block;
}

// Threads that end with the scope, however it is left: as many of those wanted as can be had.
class ThreadGroup {
 public:
    // Each calls work(index), which must not throw.
    template <class Work>
    ThreadGroup(int wanted, const Work& work) {
        threads_.reserve(static_cast<std::size_t>(wanted));
        try {
            for (int index = 0; index < wanted; ++index)
                threads_.emplace_back([index, &work, operation = Operation::current] {
                    Operation::current = operation;
                    work(index);
                });
        } catch (const std::exception&) {  // the system's limit of threads, or of memory
        }
    }
    ~ThreadGroup() {
        for (auto& thread : threads_) thread.join();
    }
    ThreadGroup(const ThreadGroup&) = delete;
    ThreadGroup& operator=(const ThreadGroup&) = delete;

    int started() const { return static_cast<int>(threads_.size()); }

 private:
    std::vector<std::thread> threads_;
};

// Calls body(block, share) for every block; the first exception of any share is thrown on. Block b
// belongs to share b mod threads, so that sums kept per share come out the same on every run with
// that many threads. A share is worked on by one thread at a time, its own unless that could not
// be started.
template <class Body>
void parallel_for(std::ptrdiff_t blocks, int threads, const Body& body) {
    const int shares = static_cast<int>(
        std::clamp<std::ptrdiff_t>(threads, 1, std::max<std::ptrdiff_t>(blocks, 1)));
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(shares));
    std::atomic<int> next{0};
    const auto work = [&](int) {
        for (int share = next++; share < shares; share = next++) try {
                for (std::ptrdiff_t block = share; block < blocks; block += shares) {
                    if (interrupted()) throw Interrupted{};
                    body(block, share);
                }
            } catch (...) {
                errors[static_cast<std::size_t>(share)] = std::current_exception();
            }
    };
    {
        const ThreadGroup others(shares - 1, work);
        work(0);
    }
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
}

// Calls body(thread), which must not throw, for so many threads at once, which may wait for one
// another; thread 0 is the calling one. None begins unless all can be had.
template <class Body>
void run_together(int threads, const Body& body) {
    std::promise<bool> complete;
    const std::shared_future<bool> begin = complete.get_future().share();
    const auto work = [&](int index) {
        if (begin.get()) body(index + 1);
    };
    const ThreadGroup others(threads - 1, work);
    const int started = others.started() + 1;
    complete.set_value(started == threads);
    if (started < threads)
        throw std::runtime_error("threads: " + std::to_string(threads) + " wanted, but only " +
                                 std::to_string(started) + " could be started");
    body(0);
}

}  // namespace grokrfm
