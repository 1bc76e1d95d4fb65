// The rule of preconditioned conjugate gradients, class by class, for host and device.
//
// A pass goes on until the recursion says of every class that it is done. Then the residual is
// computed anew, and another pass begins unless the last one did not halve what was left. A class
// that is done takes steps of length zero, and so does one whose residual is not a number: no
// comparison with it holds. A class whose residual does not halve within `patience` steps stops
// where it is: a tolerance of 1e-5 may be 17 halvings off, and a solve has not so many steps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "math.h"

namespace grokrfm {

constexpr std::int32_t patience = 150;  // PATIENCE of the array version

// One class in the course of its solve. Cleared memory is a class that has not begun.
struct ConjugateGradients {
    double target_norm;   // ||y||, or 1 where y = 0
    double squares;       // ||y - (K + ridge) alpha||^2
    double product;       // residual . P^-1 residual; 0 at the beginning of a pass
    double halved;        // the squares at the last halving in this pass
    std::int32_t waited;  // steps since
    std::int32_t iterations;
    bool stopped;

    GROKRFM_HOST_DEVICE static double norm_of_targets(double squares_of_y) {
        return squares_of_y > 0 ? square_root(squares_of_y) : 1.0;
    }
    // ||y - (K + ridge) alpha|| / ||y||; absolute where y = 0.
    GROKRFM_HOST_DEVICE double relative_residual() const {
        return square_root(squares) / target_norm;
    }
    GROKRFM_HOST_DEVICE bool is_open(double tolerance) const {
        return !stopped && relative_residual() > tolerance;
    }
    // From the true residual.
    GROKRFM_HOST_DEVICE void begin_pass() {
        product = 0;
        halved = squares;
        waited = 0;
    }
    // The share of the last direction in the next one, from the new product.
    GROKRFM_HOST_DEVICE double direction_factor(double next_product) {
        const double factor = product > 0 ? next_product / product : 0.0;
        product = next_product;
        return factor;
    }
    // The length of a step, from direction . (K + ridge) direction. A class with no positive
    // curvature, which an indefinite M can bring about, stops where it is.
    GROKRFM_HOST_DEVICE double step_length(double curvature, double tolerance) {
        if (!is_open(tolerance)) return 0;
        if (squares <= 0.25 * halved) {
            halved = squares;
            waited = 0;
        }
        stopped = !(curvature > 0 && product > 0 && waited < patience);
        if (stopped) return 0;
        ++iterations;
        ++waited;
        return product / curvature;
    }
};

// The factor that takes a start V to the smallest error in the energy norm, from V . y and
// V . (K + ridge) V. A start without finite positive energy is none: the factor 0 stands for zeros.
GROKRFM_HOST_DEVICE double start_factor(double along, double energy) {
    return energy > 0 && energy <= DBL_MAX ? along / energy : 0.0;
}

// The largest relative residual of the classes that have not stopped.
GROKRFM_HOST_DEVICE double worst_residual(const ConjugateGradients* classes, std::ptrdiff_t count) {
    double worst = 0;
    for (std::ptrdiff_t c = 0; c < count; ++c) {
        const double residual = classes[c].stopped ? 0.0 : classes[c].relative_residual();
        worst = residual > worst ? residual : worst;
    }
    return worst;
}

// Whether a pass that went from one worst residual to another is the last.
GROKRFM_HOST_DEVICE bool is_last_pass(double worst_before, double worst_after) {
    return worst_after > 0.5 * worst_before;
}

}  // namespace grokrfm
