// The kernel functions k(x, z) = h(s, q_x, q_z) with s = x'Mz, q_x = x'Mx, q_z = z'Mz.
//
// A kernel is a functor with the value h and the slopes dh/ds and dh/dq_z; it is written once for
// host and device, and nothing else in the code knows which kernel it runs. To add one: write the
// functor, add its name and it below, name it in python/grokrfm/operations/kernels.py.
#pragma once

#include <stdexcept>
#include <string>

#include "math.h"

namespace grokrfm {

// How dh/dq_z follows from dh/ds; the two special cases save a matrix product in the AGOP.
enum class SlopeInNorm {
    none,        // h does not depend on q_z
    minus_half,  // h depends on the distance q_x + q_z - 2s alone: dh/dq_z = -dh/ds / 2
    general,
};

template <class T>
struct Slopes {
    T s;    // dh/ds
    T q_z;  // dh/dq_z
};

// h = kappa s^2
template <class T>
struct Quadratic {
    static constexpr SlopeInNorm slope_in_norm = SlopeInNorm::none;
    T kappa;
    GROKRFM_HOST_DEVICE T value(T s, T, T) const { return kappa * s * s; }
    GROKRFM_HOST_DEVICE Slopes<T> slopes(T s, T, T) const { return {2 * kappa * s, T(0)}; }
};

// h = (q_x - 1)(q_z - 1) / 2 + s^2
template <class T>
struct GeneralQuadratic {
    static constexpr SlopeInNorm slope_in_norm = SlopeInNorm::general;
    GROKRFM_HOST_DEVICE T value(T s, T q_x, T q_z) const {
        return T(0.5) * (q_x - 1) * (q_z - 1) + s * s;
    }
    GROKRFM_HOST_DEVICE Slopes<T> slopes(T s, T q_x, T) const {
        return {2 * s, T(0.5) * (q_x - 1)};
    }
};

// h = exp(-gamma delta), delta = max(q_x + q_z - 2s, 0) the squared distance in the metric M
template <class T>
struct Gaussian {
    static constexpr SlopeInNorm slope_in_norm = SlopeInNorm::minus_half;
    T gamma;
    GROKRFM_HOST_DEVICE T value(T s, T q_x, T q_z) const {
        const T delta = q_x + q_z - 2 * s;
        return exp_nonpositive(-gamma * nonnegative(delta));
    }
    GROKRFM_HOST_DEVICE Slopes<T> slopes(T s, T q_x, T q_z) const {
        const T d_s = 2 * gamma * value(s, q_x, q_z);
        return {d_s, T(-0.5) * d_s};
    }
};

// h = exp(-gamma sqrt(delta)); not differentiable at delta = 0, where the slope is taken as 0
template <class T>
struct Laplace {
    static constexpr SlopeInNorm slope_in_norm = SlopeInNorm::minus_half;
    T gamma;
    GROKRFM_HOST_DEVICE T value(T s, T q_x, T q_z) const {
        const T delta = q_x + q_z - 2 * s;
        return exp_nonpositive(-gamma * square_root(nonnegative(delta)));
    }
    GROKRFM_HOST_DEVICE Slopes<T> slopes(T s, T q_x, T q_z) const {
        const T delta = q_x + q_z - 2 * s;
        // A squared distance below the rounding error of its three terms is no distance.
        const bool together = delta <= 4 * epsilon<T>() * (magnitude(q_x) + magnitude(q_z));
        const T distance = square_root(together ? T(1) : delta);
        const T d_s = gamma * exp_nonpositive(-gamma * distance) / distance;
        return {together ? T(0) : d_s, together ? T(0) : T(-0.5) * d_s};
    }
};

// Neural tangent kernel of a network with x^2 activation: h = (q_x q_z + 6 s^2) / d^2
template <class T>
struct QuadraticNtk {
    static constexpr SlopeInNorm slope_in_norm = SlopeInNorm::general;
    T scale;  // 1 / d^2
    GROKRFM_HOST_DEVICE T value(T s, T q_x, T q_z) const { return scale * (q_x * q_z + 6 * s * s); }
    GROKRFM_HOST_DEVICE Slopes<T> slopes(T s, T q_x, T) const {
        return {12 * scale * s, scale * q_x};
    }
};

// Neural tangent kernel of a ReLU network with `depth` hidden layers (Jacot et al. 2018; Cho & Saul
// 2009): h = sqrt(q_x q_z) theta(rho), rho = s / sqrt(q_x q_z), by the arc-cosine recursion
//   rho <- kappa_1(rho),  theta <- theta kappa_0(rho) + kappa_1(rho),  theta = rho at depth 0.
// At rho = 1 theta has a vertical tangent whose contributions to the gradient of k(x, x) cancel;
// there kappa_0' counts as 0. A point with q <= 0 is the zero vector of the metric: h = 0.
template <class T>
struct ReluNtk {
    static constexpr SlopeInNorm slope_in_norm = SlopeInNorm::general;
    int depth;

    struct Theta {
        T value;
        T slope;  // d theta / d rho
    };
    // Clipped: rounding, or an indefinite M, can take |s| past the product of the norms.
    GROKRFM_HOST_DEVICE static T cosine(T s, T norm) {
        const T rho = s / norm;
        return rho > 1 ? T(1) : (rho < -1 ? T(-1) : rho);
    }
    GROKRFM_HOST_DEVICE Theta theta(T rho) const {
        constexpr T pi = T(3.14159265358979323846);
        T value = rho, slope = 1, rho_slope = 1;  // slopes in the rho of the inputs
        for (int layer = 0; layer < depth; ++layer) {
            const T sine_squared = (1 - rho) * (1 + rho);
            const T sine = square_root(sine_squared);
            const T kappa_0 = 1 - arc_cosine(rho) / pi;
            const T kappa_0_slope = sine_squared > 4 * epsilon<T>() ? 1 / (pi * sine) : T(0);
            const T kappa_1 = rho * kappa_0 + sine / pi;
            slope = slope * kappa_0 + value * kappa_0_slope * rho_slope + kappa_0 * rho_slope;
            value = value * kappa_0 + kappa_1;
            rho_slope *= kappa_0;
            rho = kappa_1 < 1 ? kappa_1 : T(1);
        }
        return {value, slope};
    }
    GROKRFM_HOST_DEVICE T value(T s, T q_x, T q_z) const {
        if (q_x <= 0 || q_z <= 0) return 0;
        const T norm = square_root(q_x * q_z);
        return norm * theta(cosine(s, norm)).value;
    }
    GROKRFM_HOST_DEVICE Slopes<T> slopes(T s, T q_x, T q_z) const {
        if (q_x <= 0 || q_z <= 0) return {0, 0};
        const T norm = square_root(q_x * q_z), rho = cosine(s, norm);
        const Theta at = theta(rho);
        return {at.slope, T(0.5) * norm / q_z * (at.value - rho * at.slope)};
    }
};

enum class KernelName { quadratic, general_quadratic, gaussian, laplace, quadratic_ntk, ntk };

inline KernelName kernel_named(const std::string& name) {
    if (name == "quadratic") return KernelName::quadratic;
    if (name == "general_quadratic") return KernelName::general_quadratic;
    if (name == "gaussian") return KernelName::gaussian;
    if (name == "laplace") return KernelName::laplace;
    if (name == "quadratic_ntk") return KernelName::quadratic_ntk;
    if (name == "ntk") return KernelName::ntk;
    throw std::invalid_argument("kernel: no compiled kernel function is named '" + name + "'");
}

// Which kernel, with its numbers, as the Python layer hands it over.
struct KernelChoice {
    KernelChoice(const std::string& name_, double scale_, int depth_)
        : name(kernel_named(name_)), scale(scale_), depth(depth_) {}
    KernelName name;
    double scale;
    int depth;
};

// Calls visitor(functor) with the functor of that name.
template <class T, class Visitor>
auto visit_kernel(const KernelChoice& kernel, Visitor&& visitor) {
    const T scale = static_cast<T>(kernel.scale);
    switch (kernel.name) {
        case KernelName::quadratic:
            return visitor(Quadratic<T>{scale});
        case KernelName::general_quadratic:
            return visitor(GeneralQuadratic<T>{});
        case KernelName::gaussian:
            return visitor(Gaussian<T>{scale});
        case KernelName::laplace:
            return visitor(Laplace<T>{scale});
        case KernelName::quadratic_ntk:
            return visitor(QuadraticNtk<T>{scale});
        case KernelName::ntk:
            break;
    }
    return visitor(ReluNtk<T>{kernel.depth});
}

}  // namespace grokrfm
