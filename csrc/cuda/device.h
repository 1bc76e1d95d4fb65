// What the operations know of a device: memory that is handed to them, copies, matrix products and
// factorisations. Two implementations: device_cuda.cu, and device_host.cpp, with which the test
// suite runs the very same operations on the CPU. Loops over elements are in launch.h.
//
// Everything is asynchronous in the order of one stream; `read` and `answer` alone wait. Nothing
// here allocates device memory: an operation takes what it needs from an arena, and the caller
// keeps that memory for the stream until the work that was put on it is done.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace grokrfm::cuda {

// Hands out parts of one piece of memory. Without memory it only counts: an operation begins with
// all it takes and returns there if the arena is counting, so that one list serves both.
class Arena {
 public:
    Arena() = default;
    Arena(void* memory, std::size_t bytes) : memory_(static_cast<char*>(memory)), bytes_(bytes) {
#if defined(GROKRFM_EMULATED)
        std::memset(memory, untouched, bytes);  // NaN, whatever is read before it is written
#endif
    }
    bool counting() const { return memory_ == nullptr; }
    std::size_t used() const { return used_; }

    template <class T>
    T* take(std::ptrdiff_t count) {
        constexpr std::size_t alignment = 256;
        const std::size_t begin = used_;
        used_ +=
            (static_cast<std::size_t>(count) * sizeof(T) + alignment - 1) / alignment * alignment;
#if defined(GROKRFM_EMULATED)
        zones_.push_back(used_);
        used_ += zone_bytes;
#endif
        if (counting()) return reinterpret_cast<T*>(alignment);  // an address nobody reads
        if (used_ > bytes_) throw std::logic_error("an operation took more than it had counted");
        return reinterpret_cast<T*>(memory_ + begin);
    }

#if defined(GROKRFM_EMULATED)
    // Behind each part lies a zone that nobody is to write to.
    bool is_intact() const {
        return std::all_of(zones_.begin(), zones_.end(), [this](std::size_t zone) {
            return std::all_of(memory_ + zone, memory_ + zone + zone_bytes,
                               [](char byte) { return byte == static_cast<char>(untouched); });
        });
    }
#endif

 private:
    char* memory_ = nullptr;
    std::size_t bytes_ = 0, used_ = 0;
#if defined(GROKRFM_EMULATED)
    static constexpr int untouched = 0xff;
    static constexpr std::size_t zone_bytes = 256;
    std::vector<std::size_t> zones_;
#endif
};

// A row-major matrix of a product, op 'N' or 'T', `ld` from row to row, `stride` from one matrix of
// a batch to the next (0: all are the same).
template <class T>
struct Factor {
    char op;
    const T* data;
    std::ptrdiff_t ld, stride = 0;
};

template <class T>
struct Product {
    T* data;
    std::ptrdiff_t ld, stride = 0;
};

class Device {
 public:
    // Names of the cuBLAS and cuSOLVER functions in use.
    static std::vector<std::string> routine_names();
    // Their addresses by name. tf32: where `Rounding` says so, tensor cores take products of
    // float32 matrices, with factors rounded to 10 bits of mantissa.
    Device(const std::map<std::string, std::uintptr_t>& addresses, bool tf32);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    // While one lives, products may round their factors.
    class Rounding {
     public:
        explicit Rounding(Device& device) : device_(device) { device_.rounding_ = true; }
        ~Rounding() { device_.rounding_ = false; }
        Rounding(const Rounding&) = delete;
        Rounding& operator=(const Rounding&) = delete;

     private:
        Device& device_;
    };

    // Number of devices; 0 without a driver.
    static int count();
    // The stream of all work that follows.
    void use_stream(std::uintptr_t stream);
    std::uintptr_t stream() const { return stream_; }

    void clear(void* data, std::size_t bytes);
    // Copies to the host and waits for everything put on the stream so far.
    void read(const void* from, void* to, std::size_t bytes);
    // Asks for a number on the device. The answer waits for the question alone, not for what was
    // put on the stream after it. One question at a time.
    void ask(const double* number);
    double answer();

    // Work that is put on the stream again and again as it is. From the second time on it may go
    // there as a recording, one launch for all.
    class Repeated {
     public:
        Repeated(Device& device, std::function<void()> put);
        ~Repeated();
        Repeated(const Repeated&) = delete;
        Repeated& operator=(const Repeated&) = delete;
        void operator()();

     private:
        struct Recording;
        Device& device_;
        std::function<void()> put_;
        std::unique_ptr<Recording> recording_;
    };

    // C = alpha op(A) op(B) + beta C for a batch of row-major matrices; op(A) is m x k, op(B) k x
    // n.
    template <class T>
    void multiply(std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, T alpha, Factor<T> a,
                  Factor<T> b, T beta, Product<T> c, std::ptrdiff_t batch = 1);

    // Cholesky factor of a symmetric n x n matrix in place, and X in K X = Y with the rows of
    // x = Y' as right-hand sides, in place. `info`, on the device, gets LAPACK's info.
    template <class T>
    std::size_t factorise_bytes(std::ptrdiff_t n, T* a);
    template <class T>
    void factorise(std::ptrdiff_t n, T* a, void* work, std::size_t bytes, int* info);
    template <class T>
    void solve_factorised(std::ptrdiff_t n, std::ptrdiff_t rows, const T* factor, T* x, int* info);

    // Eigenvalues, ascending, and eigenvectors of a batch of symmetric d x d matrices; vector k is
    // row k. info: one a matrix, on the device.
    std::size_t eigen_bytes(std::ptrdiff_t d, double* a, double* values, std::ptrdiff_t batch);
    void eigen(std::ptrdiff_t d, double* a, double* values, void* work, std::size_t bytes,
               int* info, std::ptrdiff_t batch);

    std::mutex mutex;  // held by the caller during an operation

 private:
    struct Libraries;
    std::unique_ptr<Libraries> libraries_;
    std::uintptr_t stream_ = 0;
    const bool tf32_;
    bool rounding_ = false;
};

}  // namespace grokrfm::cuda
