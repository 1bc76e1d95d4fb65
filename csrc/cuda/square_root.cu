// Coupled Newton and Schulz steps in float64,
//
//   T = a (3 - a^2 Z Y) / 2,  Y <- Y T,  Z <- T Z,  from Y = G / ||G|| + floor, Z = 1,
//
// which take Y to the square root and Z to its inverse. With l^2 the least eigenvalue of Z Y the
// factor a^2 = 3 / (1 + l + l^2) makes the step as long as it may be (Chen & Chow 2014): 13 steps,
// or 78 d^3 flops, from a floor of 2^-26, all in products; half of an eigenvalue problem are
// products with vectors.
#include <cmath>
#include <utility>
#include <vector>

#include "operations.h"
#include "symmetric.h"

namespace grokrfm::cuda {

namespace {

// totals[matrix] = the sum of value(row, j) over its d rows.
template <class Value>
void sum_matrices(Device& device, std::ptrdiff_t batch, std::ptrdiff_t d, double* by_row,
                  double* totals, Value value) {
    sum_rows<1, double>(
        device, batch * d, d,
        [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j, Sums<double, 1>& sums) {
            sums.value[0] += value(row, j);
        },
        [=] GROKRFM_BODY(std::ptrdiff_t row, const Sums<double, 1>& sums) {
            by_row[row] = sums.value[0];
        });
    sum_rows<1, double>(
        device, batch, d,
        [=] GROKRFM_BODY(std::ptrdiff_t matrix, std::ptrdiff_t i, Sums<double, 1>& sums) {
            sums.value[0] += by_row[matrix * d + i];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t matrix, const Sums<double, 1>& sums) {
            totals[matrix] = sums.value[0];
        });
}

}  // namespace

double square_root(Device& device, Arena& arena, const float* matrices, std::ptrdiff_t d,
                   std::ptrdiff_t batch, double floor, float* out) {
    const std::ptrdiff_t size = batch * d * d;
    double *y = arena.take<double>(size), *z = arena.take<double>(size);
    double *t = arena.take<double>(size), *next = arena.take<double>(size);
    double* by_row = arena.take<double>(batch * d);
    double* norms = arena.take<double>(batch);  // squared
    double *traces = arena.take<double>(2 * batch), *squares = traces + batch;
    if (arena.counting()) return 0;

    sum_matrices(device, batch, d, by_row, norms,
                 [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
                     const auto entry = static_cast<double>(matrices[row * d + j]);
                     return entry * entry;
                 });
    for_rows(device, batch * d, d, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
        const bool diagonal = row % d == j;
        y[row * d + j] = static_cast<double>(matrices[row * d + j]) / ::sqrt(norms[row / d]) +
                         (diagonal ? floor : 0.0);
        z[row * d + j] = diagonal ? 1.0 : 0.0;
    });
    sum_matrices(device, batch, d, by_row, traces,
                 [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
                     return row % d == j ? y[row * d + j] : 0.0;
                 });

    const auto multiply = [&](const double* a, const double* b, double* c) {
        device.multiply<double>(d, d, d, 1, {'N', a, d, d * d}, {'N', b, d, d * d}, 0,
                                {c, d, d * d}, batch);
    };
    for (double least = std::sqrt(floor); 1 - least > 1e-9;) {
        const double a = std::sqrt(3 / (1 + least + least * least));
        multiply(z, y, t);
        for_rows(device, batch * d, d, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
            const double unit = row % d == j ? 3.0 : 0.0;
            t[row * d + j] = 0.5 * a * (unit - a * a * t[row * d + j]);
        });
        multiply(y, t, next);
        std::swap(y, next);
        multiply(t, z, next);
        std::swap(z, next);
        least *= 0.5 * a * (3 - a * a * least * least);
    }

    sum_matrices(device, batch, d, by_row, squares,
                 [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
                     return y[row * d + j] * y[row * d + j];
                 });
    for_rows(device, batch * d, d, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
        y[row * d + j] *= ::sqrt(::sqrt(norms[row / d]));
    });
    store_symmetric(device, batch, d, y, out);
    const auto count = static_cast<std::size_t>(batch);
    std::vector<double> sums(2 * count);
    device.read(traces, sums.data(), sums.size() * sizeof(double));
    double worst = 0;
    for (std::size_t r = 0; r < count; ++r) {
        const double off = std::abs(sums[count + r] / sums[r] - 1);
        if (!std::isfinite(off)) return HUGE_VAL;
        worst = std::max(worst, off);
    }
    return worst;
}

}  // namespace grokrfm::cuda
