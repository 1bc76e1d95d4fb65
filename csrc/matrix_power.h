// G^s of a symmetric positive semidefinite G through its eigenvalues, those below zero taken as
// zero. Computed in float64 whatever the storage type: the square root of an eigenvalue near zero
// has half its digits. Returns 0, or LAPACK's positive info if the eigenvalues did not converge.
#pragma once

#include "common/views.h"

namespace grokrfm {

template <class T>
int matrix_power(Matrix<const T> matrix, double exponent, Matrix<T> out);

}  // namespace grokrfm
