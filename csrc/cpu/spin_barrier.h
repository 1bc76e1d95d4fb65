// A barrier for threads that meet every few microseconds, where sleeping would cost more than the
// work in between. After a while it yields, so that a thread without a core of its own gets on.
#pragma once

#include <atomic>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace grokrfm {

class SpinBarrier {
 public:
    explicit SpinBarrier(int threads) : threads_(threads) {}

    void wait() {
        const int round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
            if (spins < 4096)
                pause();
            else
                std::this_thread::yield();
    }

 private:
    static void pause() {
#if defined(__x86_64__)
        _mm_pause();
#endif
    }

    const int threads_;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> round_{0};
};

}  // namespace grokrfm
