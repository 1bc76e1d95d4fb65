// The activations of the networks: phi, phi' and the constant phi''.
#pragma once

#include "../common/math.h"
#include "../network.h"

namespace grokrfm {

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

// Calls visitor(functor) with the activation's.
template <class Visitor>
auto visit_activation(Activation activation, const Visitor& visitor) {
    switch (activation) {
        case Activation::quadratic:
            return visitor(activations::Quadratic{});
        case Activation::relu:
            return visitor(activations::Relu{});
        case Activation::hermite:
            break;
    }
    return visitor(activations::Hermite{});
}

}  // namespace grokrfm
