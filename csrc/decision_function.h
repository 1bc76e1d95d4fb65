// f(z_j) = sum_i alpha_i k(x_i, z_j), streamed in blocks of evaluation points: an n x m kernel
// matrix is never stored. 2 n m c flops and n m kernel evaluations.
#pragma once

#include "common/kernels.h"
#include "common/views.h"

namespace grokrfm {

template <class T>
void decision_function(const KernelChoice& kernel, Matrix<const T> feature_matrix,
                       ActiveIndices evaluation, ActiveIndices train,
                       Matrix<const T> dual_coefficients, Matrix<T> out, int threads);

}  // namespace grokrfm
