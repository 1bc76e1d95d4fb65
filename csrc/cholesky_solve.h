// Solves K X = Y for symmetric positive definite K by Cholesky: n^3/3 + 2 n^2 c flops. K is
// overwritten by its factor, Y by the solution X'. Y comes as its transpose (c x n row-major is the
// n x c column-major array that LAPACK wants). Returns 0, or the 1-based order of the first leading
// minor that is not positive definite.
#pragma once

#include "common/views.h"

namespace grokrfm {

template <class T>
int cholesky_solve(Matrix<T> kernel_matrix, Matrix<T> targets_transposed, int threads);

// The inverse of K, symmetric to the last bit: n^3 flops, as K^-1 is, column by column, zero above
// the diagonal on the way and known from its other half in the end. K is overwritten.
template <class T>
int cholesky_inverse(Matrix<T> matrix, Matrix<T> inverse, int threads);

}  // namespace grokrfm
