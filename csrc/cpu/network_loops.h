// Leaf loops of network training: activations and optimiser steps over contiguous rows. Included by
// loops.cpp alone.
#pragma once

#include "activations.h"
#include "loops.h"

namespace grokrfm {

template <class T>
static void add_rows(const T* __restrict a, const T* __restrict b, std::ptrdiff_t size,
                     T* __restrict sum) {
    for (std::ptrdiff_t k = 0; k < size; ++k) sum[k] = a[k] + b[k];
}

template <class T>
static void scale_row(T factor, std::ptrdiff_t size, T* row) {
    for (std::ptrdiff_t k = 0; k < size; ++k) row[k] *= factor;
}

// out = a o b; out may be one of the two.
template <class T>
static void multiply_entries(const T* a, const T* b, std::ptrdiff_t size, T* out) {
    for (std::ptrdiff_t k = 0; k < size; ++k) out[k] = a[k] * b[k];
}

template <class T, class Phi>
static void phi_values(Phi, const T* z, std::ptrdiff_t size, T* out) {
    for (std::ptrdiff_t k = 0; k < size; ++k) out[k] = Phi::value(z[k]);
}

template <class T, class Phi>
static void phi_slopes(Phi, const T* __restrict z, std::ptrdiff_t size, T* __restrict out) {
    for (std::ptrdiff_t k = 0; k < size; ++k) out[k] = Phi::slope(z[k]);
}

template <class T, class Phi>
static void times_phi_slopes(Phi, const T* __restrict z, std::ptrdiff_t size, T* __restrict dz) {
    for (std::ptrdiff_t k = 0; k < size; ++k) dz[k] *= Phi::slope(z[k]);
}

// out = phi(z); out may be z.
template <class T>
static void activate(Activation activation, const T* z, std::ptrdiff_t size, T* out) {
    visit_activation(activation, [=](auto phi) { phi_values(phi, z, size, out); });
}

// out = phi'(z)
template <class T>
static void slopes_of(Activation activation, const T* z, std::ptrdiff_t size, T* out) {
    visit_activation(activation, [=](auto phi) { phi_slopes(phi, z, size, out); });
}

// dz *= phi'(z)
template <class T>
static void times_slope(Activation activation, const T* z, std::ptrdiff_t size, T* dz) {
    visit_activation(activation, [=](auto phi) { times_phi_slopes(phi, z, size, dz); });
}

template <class T>
static void adamw_step(const Step<T>& step, const T* __restrict gradient, std::ptrdiff_t size,
                       T* __restrict weights, T* __restrict mean, T* __restrict square) {
    for (std::ptrdiff_t k = 0; k < size; ++k) {
        const T g = gradient[k];
        const T m = mean[k] + step.mean_share * (g - mean[k]);
        const T v = step.square_kept * square[k] + step.square_share * g * g;
        mean[k] = m;
        square[k] = v;
        weights[k] = step.kept * weights[k] -
                     step.mean_rate * m / (square_root(v) * step.root_scale + step.epsilon);
    }
}

template <class T>
static void sgd_step(const Step<T>& step, const T* __restrict gradient, std::ptrdiff_t size,
                     T* __restrict weights) {
    for (std::ptrdiff_t k = 0; k < size; ++k)
        weights[k] -= step.rate * (gradient[k] + step.decay * weights[k]);
}

}  // namespace grokrfm
