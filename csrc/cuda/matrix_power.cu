// Eigenvalues in float64, one decomposition or a batch, then (Q L^{s/2})(Q L^{s/2})'.
#include <cmath>
#include <vector>

#include "../matrix_power.h"
#include "operations.h"
#include "symmetric.h"

namespace grokrfm::cuda {

namespace {

// vectors[k] *= lambda_k^power, vector k of a matrix being row k.
void scale_vectors(Device& device, std::ptrdiff_t vectors_count, std::ptrdiff_t d,
                   const double* values, double power, double* vectors) {
    for_rows(device, vectors_count, d, [=] GROKRFM_BODY(std::ptrdiff_t k, std::ptrdiff_t i) {
        vectors[k * d + i] *= values[k] > 0 ? ::pow(values[k], power) : 0.0;
    });
}

template <class T>
void widen(Device& device, const T* from, std::ptrdiff_t count, double* to) {
    for_each(device, count,
             [=] GROKRFM_BODY(std::ptrdiff_t i) { to[i] = static_cast<double>(from[i]); });
}

}  // namespace

template <class T>
int matrix_power(Device& device, Arena& arena, const T* matrices, std::ptrdiff_t d,
                 std::ptrdiff_t batch, double exponent, T* out) {
    double* vectors = arena.take<double>(batch * d * d);
    double* power = arena.take<double>(batch * d * d);
    double* values = arena.take<double>(batch * d);
    int* info = arena.take<int>(batch);
    const std::size_t bytes = device.eigen_bytes(d, vectors, values, batch);
    char* work = arena.take<char>(static_cast<std::ptrdiff_t>(bytes));
    if (arena.counting()) return 0;
    widen(device, matrices, batch * d * d, vectors);
    device.eigen(d, vectors, values, work, bytes, info, batch);
    scale_vectors(device, batch * d, d, values, exponent / 2, vectors);
    device.multiply<double>(d, d, d, 1, {'T', vectors, d, d * d}, {'N', vectors, d, d * d}, 0,
                            {power, d, d * d}, batch);
    store_symmetric(device, batch, d, power, out);
    std::vector<int> results(static_cast<std::size_t>(batch));
    device.read(info, results.data(), results.size() * sizeof(int));
    for (const int result : results)
        if (result != 0) return result;
    return 0;
}

template int matrix_power(Device&, Arena&, const float*, std::ptrdiff_t, std::ptrdiff_t, double,
                          float*);
template int matrix_power(Device&, Arena&, const double*, std::ptrdiff_t, std::ptrdiff_t, double,
                          double*);

}  // namespace grokrfm::cuda
