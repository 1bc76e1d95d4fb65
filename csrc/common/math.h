// Elementary functions for host and device. The host exponential is ours so that loops over it
// vectorise without -ffast-math and without a vector math library.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define GROKRFM_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define GROKRFM_HOST_DEVICE inline __attribute__((always_inline))
#else
#define GROKRFM_HOST_DEVICE inline
#endif

namespace grokrfm {

template <class T>
GROKRFM_HOST_DEVICE constexpr T epsilon() {
    // Not std::numeric_limits: its functions belong to the host.
    return sizeof(T) == sizeof(float) ? T(FLT_EPSILON) : T(DBL_EPSILON);
}

template <class T>
GROKRFM_HOST_DEVICE constexpr T smallest_normal() {
    return sizeof(T) == sizeof(float) ? T(FLT_MIN) : T(DBL_MIN);
}

GROKRFM_HOST_DEVICE float magnitude(float x) {
    return fabsf(x);
}
GROKRFM_HOST_DEVICE double magnitude(double x) {
    return ::fabs(x);
}
GROKRFM_HOST_DEVICE float square_root(float x) {
    return sqrtf(x);
}
GROKRFM_HOST_DEVICE double square_root(double x) {
    return ::sqrt(x);
}
// max(x, 0), but NaN stays NaN.
template <class T>
GROKRFM_HOST_DEVICE T nonnegative(T x) {
    return x < 0 ? T(0) : x;
}
GROKRFM_HOST_DEVICE float arc_cosine(float x) {
    return acosf(x);
}
GROKRFM_HOST_DEVICE double arc_cosine(double x) {
    return ::acos(x);
}

#if defined(__CUDA_ARCH__)
GROKRFM_HOST_DEVICE float exp_nonpositive(float x) {
    return expf(x);
}
GROKRFM_HOST_DEVICE double exp_nonpositive(double x) {
    return ::exp(x);
}
#else
// exp(x) for x <= 0, within 2 ulp; 0 below the smallest normal number; NaN stays NaN. With
// r = x - k ln 2, k the integer next to x / ln 2, it is 2^k times the Taylor polynomial of exp(r).
// Adding `magic` (1.5 times 2^mantissa bits) rounds to an integer and leaves k in the low bits of
// the sum.
GROKRFM_HOST_DEVICE double exp_nonpositive(double x) {
    constexpr double magic = 6755399441055744.0, log2_e = 1.4426950408889634;
    constexpr double ln2_high = 0.6931471803691238, ln2_low = 1.9082149292705877e-10;
    const double y = x < -708.0 ? -708.0 : x;
    const double shifted = y * log2_e + magic;
    const double k = shifted - magic;
    const double r = (y - k * ln2_high) - k * ln2_low;
    double sum = 1.0 / 6227020800.0;  // 1/13!
    sum = sum * r + 1.0 / 479001600.0;
    sum = sum * r + 1.0 / 39916800.0;
    sum = sum * r + 1.0 / 3628800.0;
    sum = sum * r + 1.0 / 362880.0;
    sum = sum * r + 1.0 / 40320.0;
    sum = sum * r + 1.0 / 5040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    std::uint64_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023U) << 52U;
    double power_of_two;
    std::memcpy(&power_of_two, &bits, sizeof bits);
    return x < -708.0 ? 0.0 : sum * power_of_two;
}

GROKRFM_HOST_DEVICE float exp_nonpositive(float x) {
    constexpr float magic = 12582912.0F, log2_e = 1.44269504F;
    constexpr float ln2_high = 0.693359375F, ln2_low = -2.12194440e-4F;
    const float y = x < -87.0F ? -87.0F : x;
    const float shifted = y * log2_e + magic;
    const float k = shifted - magic;
    const float r = (y - k * ln2_high) - k * ln2_low;
    float sum = 1.0F / 5040.0F;  // 1/7!
    sum = sum * r + 1.0F / 720.0F;
    sum = sum * r + 1.0F / 120.0F;
    sum = sum * r + 1.0F / 24.0F;
    sum = sum * r + 1.0F / 6.0F;
    sum = sum * r + 0.5F;
    sum = sum * r + 1.0F;
    sum = sum * r + 1.0F;
    std::uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127U) << 23U;
    float power_of_two;
    std::memcpy(&power_of_two, &bits, sizeof bits);
    return x < -87.0F ? 0.0F : sum * power_of_two;
}
#endif

}  // namespace grokrfm
