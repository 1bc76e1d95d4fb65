#include "../cholesky_solve.h"

#include "blas.h"

namespace grokrfm {

template <class T>
int cholesky_solve(Matrix<T> kernel_matrix, Matrix<T> targets_transposed) {
    const std::ptrdiff_t n = kernel_matrix.rows;
    const int info = blas::potrf<T>(n, kernel_matrix.data, n);
    if (info != 0) return info;
    return blas::potrs<T>(n, targets_transposed.rows, kernel_matrix.data, n,
                          targets_transposed.data, n);
}

template int cholesky_solve(Matrix<float>, Matrix<float>);
template int cholesky_solve(Matrix<double>, Matrix<double>);

}  // namespace grokrfm
