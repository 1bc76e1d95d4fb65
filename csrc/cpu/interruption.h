// How a long operation is stopped half-way: it asks `interrupted()` between blocks of work, and
// what that asks in turn, whether the user pressed Ctrl-C say, is up to who began the operation.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace grokrfm {

// Thrown by an operation that has been stopped. What it has written by then is of no use.
struct Interrupted {};

// An operation under way, from its beginning in the calling thread to its end there.
class Operation {
 public:
    // stop_wanted is called in the calling thread alone, every 50 ms at most; null: never stops.
    explicit Operation(bool (*stop_wanted)()) : stop_wanted_(stop_wanted), outer_(current) {
        current = this;
    }
    ~Operation() { current = outer_; }
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    bool interrupted() {
        if (stop_wanted_ && !stopped_ && std::this_thread::get_id() == caller_) {
            const auto now = std::chrono::steady_clock::now();
            if (now >= next_) {
                next_ = now + std::chrono::milliseconds(50);
                if (stop_wanted_()) stopped_ = true;
            }
        }
        return stopped_;
    }

    // What this thread works on; set in the threads of an operation too.
    static inline thread_local Operation* current = nullptr;

 private:
    bool (*const stop_wanted_)();
    Operation* const outer_;  // begun by a signal's handler
    const std::thread::id caller_ = std::this_thread::get_id();
    std::chrono::steady_clock::time_point next_ =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    std::atomic<bool> stopped_{false};
};

// Whether the operation of this thread is to stop, by throwing Interrupted. For any of its threads.
inline bool interrupted() {
    return Operation::current != nullptr && Operation::current->interrupted();
}

}  // namespace grokrfm
