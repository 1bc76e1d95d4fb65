#include "../matrix_power.h"

#include <cmath>
#include <vector>

#include "blas.h"

namespace grokrfm {

template <class T>
int matrix_power(Matrix<const T> matrix, double exponent, Matrix<T> out) {
    const std::ptrdiff_t d = matrix.rows;
    const auto size = static_cast<std::size_t>(d * d);
    std::vector<double> vectors(matrix.data, matrix.data + size), scaled(size), power(size);
    std::vector<double> eigenvalues(static_cast<std::size_t>(d));
    if (const int info = blas::syevd(d, vectors.data(), d, eigenvalues.data())) return info;
    // G^s = (Q L^{s/2}) (Q L^{s/2})': symmetric to the last bit.
    for (std::ptrdiff_t k = 0; k < d; ++k) {
        const double eigenvalue = eigenvalues[static_cast<std::size_t>(k)];
        const double factor = eigenvalue > 0 ? std::pow(eigenvalue, exponent / 2) : 0.0;
        for (std::ptrdiff_t i = k * d; i < (k + 1) * d; ++i)
            scaled[static_cast<std::size_t>(i)] = factor * vectors[static_cast<std::size_t>(i)];
    }
    blas::gemm<double>('N', 'T', d, d, d, 1, scaled.data(), d, scaled.data(), d, 0, power.data(),
                       d);
    for (std::ptrdiff_t i = 0; i < d; ++i)
        for (std::ptrdiff_t j = 0; j <= i; ++j)
            out.row(i)[j] = out.row(j)[i] =
                static_cast<T>(power[static_cast<std::size_t>(i * d + j)]);
    return 0;
}

template int matrix_power(Matrix<const float>, double, Matrix<float>);
template int matrix_power(Matrix<const double>, double, Matrix<double>);

}  // namespace grokrfm
