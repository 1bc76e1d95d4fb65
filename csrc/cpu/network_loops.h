// Leaf loops of network training: activations and optimiser steps over contiguous rows.
#pragma once

#include <cmath>
#include <cstddef>

#include "../network.h"
#include "rows.h"

namespace grokrfm {

// phi, phi' and the constant phi''.
namespace activations {

struct Quadratic {
    template <class T>
    static GROKRFM_HOST_DEVICE T value(T z) {
        return z * z;
    }
    template <class T>
    static GROKRFM_HOST_DEVICE T slope(T z) {
        return 2 * z;
    }
    static constexpr double curvature = 2;
};

struct Relu {
    template <class T>
    static GROKRFM_HOST_DEVICE T value(T z) {
        return z > 0 ? z : T(0);
    }
    template <class T>
    static GROKRFM_HOST_DEVICE T slope(T z) {
        return z > 0 ? T(1) : T(0);
    }
    static constexpr double curvature = 0;
};

// (z^2 - 1) / sqrt(2), of mean 0 and variance 1 for Gaussian z.
struct Hermite {
    static constexpr double curvature = 1.4142135623730951;
    template <class T>
    static GROKRFM_HOST_DEVICE T value(T z) {
        return (z * z - 1) * static_cast<T>(0.5 * curvature);
    }
    template <class T>
    static GROKRFM_HOST_DEVICE T slope(T z) {
        return static_cast<T>(curvature) * z;
    }
};

}  // namespace activations

template <class T>
GROKRFM_CLONES void add_rows(const T* __restrict a, const T* __restrict b, std::ptrdiff_t size,
                             T* __restrict sum) {
    for (std::ptrdiff_t k = 0; k < size; ++k) sum[k] = a[k] + b[k];
}

template <class T>
GROKRFM_CLONES void scale_row(T factor, std::ptrdiff_t size, T* row) {
    for (std::ptrdiff_t k = 0; k < size; ++k) row[k] *= factor;
}

// out = a o b; out may be one of the two.
template <class T>
GROKRFM_CLONES void multiply_entries(const T* a, const T* b, std::ptrdiff_t size, T* out) {
    for (std::ptrdiff_t k = 0; k < size; ++k) out[k] = a[k] * b[k];
}

// out may be z.
template <class T, class Phi>
GROKRFM_CLONES void activate(const T* z, std::ptrdiff_t size, T* out) {
    for (std::ptrdiff_t k = 0; k < size; ++k) out[k] = Phi::value(z[k]);
}

template <class T, class Phi>
GROKRFM_CLONES void slopes_of(const T* __restrict z, std::ptrdiff_t size, T* __restrict out) {
    for (std::ptrdiff_t k = 0; k < size; ++k) out[k] = Phi::slope(z[k]);
}

template <class T, class Phi>
GROKRFM_CLONES void times_slope(const T* __restrict z, std::ptrdiff_t size, T* __restrict dz) {
    for (std::ptrdiff_t k = 0; k < size; ++k) dz[k] *= Phi::slope(z[k]);
}

// The numbers of one optimiser step, the `steps`-th.
template <class T>
struct Step {
    Step(const Training& training, std::ptrdiff_t steps)
        : rate(static_cast<T>(training.learning_rate)),
          decay(static_cast<T>(training.weight_decay)),
          kept(static_cast<T>(1 - training.learning_rate * training.weight_decay)),
          mean_share(static_cast<T>(1 - training.beta_mean)),
          square_kept(static_cast<T>(training.beta_square)),
          square_share(static_cast<T>(1 - training.beta_square)),
          epsilon(static_cast<T>(training.epsilon)) {
        const auto count = static_cast<double>(steps);
        mean_rate =
            static_cast<T>(training.learning_rate / (1 - std::pow(training.beta_mean, count)));
        root_scale = static_cast<T>(1 / std::sqrt(1 - std::pow(training.beta_square, count)));
    }
    T rate, decay, kept, mean_share, square_kept, square_share, epsilon;
    T mean_rate, root_scale;
};

template <class T>
GROKRFM_CLONES void adamw_step(Step<T> step, const T* __restrict gradient, std::ptrdiff_t size,
                               T* __restrict weights, T* __restrict mean, T* __restrict square) {
    for (std::ptrdiff_t k = 0; k < size; ++k) {
        const T g = gradient[k];
        const T m = mean[k] + step.mean_share * (g - mean[k]);
        const T v = step.square_kept * square[k] + step.square_share * g * g;
        mean[k] = m;
        square[k] = v;
        weights[k] = step.kept * weights[k] -
                     step.mean_rate * m / (std::sqrt(v) * step.root_scale + step.epsilon);
    }
}

template <class T>
GROKRFM_CLONES void sgd_step(Step<T> step, const T* __restrict gradient, std::ptrdiff_t size,
                             T* __restrict weights) {
    for (std::ptrdiff_t k = 0; k < size; ++k)
        weights[k] -= step.rate * (gradient[k] + step.decay * weights[k]);
}

}  // namespace grokrfm
