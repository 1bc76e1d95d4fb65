// The device layer on the host, for tests without a GPU: the operations of this folder run as they
// are, with memory of the host as device memory and SciPy's BLAS.
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "../cpu/blas.h"
#include "device.h"

namespace grokrfm::cuda {

struct Device::Libraries {
    double answer = 0;
};

struct Device::Repeated::Recording {};

std::vector<std::string> Device::routine_names() {
    return {};
}

Device::Device(const std::map<std::string, std::uintptr_t>&, bool tf32)
    : libraries_(std::make_unique<Libraries>()), tf32_(tf32) {}

Device::~Device() = default;

int Device::count() {
    return 1;
}

void Device::use_stream(std::uintptr_t stream) {
    stream_ = stream;
}

void Device::clear(void* data, std::size_t bytes) {
    std::memset(data, 0, bytes);
}

void Device::read(const void* from, void* to, std::size_t bytes) {
    std::memcpy(to, from, bytes);
}

void Device::ask(const double* number) {
    libraries_->answer = *number;
}

double Device::answer() {
    return libraries_->answer;
}

Device::Repeated::Repeated(Device& device, std::function<void()> put)
    : device_(device), put_(std::move(put)) {}

Device::Repeated::~Repeated() = default;

void Device::Repeated::operator()() {
    put_();
}

namespace {

// The stored rows of a factor, rounded to the 10 explicit bits of mantissa of TF32.
std::vector<float> rounded(const float* data, std::ptrdiff_t rows, std::ptrdiff_t columns,
                           std::ptrdiff_t ld) {
    std::vector<float> result(static_cast<std::size_t>((rows - 1) * ld + columns), 0.0F);
    for (std::ptrdiff_t i = 0; i < rows; ++i)
        for (std::ptrdiff_t j = 0; j < columns; ++j) {
            int exponent = 0;
            const float mantissa = std::frexp(data[i * ld + j], &exponent);
            result[static_cast<std::size_t>(i * ld + j)] =
                std::ldexp(std::nearbyint(std::ldexp(mantissa, 11)), exponent - 11);
        }
    return result;
}

}  // namespace

template <class T>
void Device::multiply(std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, T alpha, Factor<T> a,
                      Factor<T> b, T beta, Product<T> c, std::ptrdiff_t batch) {
    for (std::ptrdiff_t r = 0; r < batch; ++r) {
        const T *left = a.data + r * a.stride, *right = b.data + r * b.stride;
        std::vector<float> rounded_left, rounded_right;
        if constexpr (sizeof(T) == sizeof(float))
            if (tf32_ && rounding_) {
                rounded_left = a.op == 'T' ? rounded(left, k, m, a.ld) : rounded(left, m, k, a.ld);
                rounded_right =
                    b.op == 'T' ? rounded(right, n, k, b.ld) : rounded(right, k, n, b.ld);
                left = rounded_left.data(), right = rounded_right.data();
            }
        blas::gemm<T>(b.op, a.op, n, m, k, alpha, right, b.ld, left, a.ld, beta,
                      c.data + r * c.stride, c.ld);
    }
}

template <class T>
std::size_t Device::factorise_bytes(std::ptrdiff_t, T*) {
    return 0;
}

template <class T>
void Device::factorise(std::ptrdiff_t n, T* a, void*, std::size_t, int* info) {
    *info = blas::potrf<T>(n, a, n);
}

template <class T>
void Device::solve_factorised(std::ptrdiff_t n, std::ptrdiff_t rows, const T* factor, T* x,
                              int* info) {
    *info = blas::potrs<T>(n, rows, factor, n, x, n);
}

std::size_t Device::eigen_bytes(std::ptrdiff_t, double*, double*, std::ptrdiff_t) {
    return 0;
}

void Device::eigen(std::ptrdiff_t d, double* a, double* values, void*, std::size_t, int* info,
                   std::ptrdiff_t batch) {
    for (std::ptrdiff_t r = 0; r < batch; ++r)
        info[r] = blas::syevd(d, a + r * d * d, d, values + r * d);
}

#define GROKRFM_INSTANTIATE(T)                                                              \
    template void Device::multiply<T>(std::ptrdiff_t, std::ptrdiff_t, std::ptrdiff_t, T,    \
                                      Factor<T>, Factor<T>, T, Product<T>, std::ptrdiff_t); \
    template std::size_t Device::factorise_bytes<T>(std::ptrdiff_t, T*);                    \
    template void Device::factorise<T>(std::ptrdiff_t, T*, void*, std::size_t, int*);       \
    template void Device::solve_factorised<T>(std::ptrdiff_t, std::ptrdiff_t, const T*, T*, int*);
GROKRFM_INSTANTIATE(float)
GROKRFM_INSTANTIATE(double)
#undef GROKRFM_INSTANTIATE

}  // namespace grokrfm::cuda
