// Average gradient outer product of f_c = sum_i alpha_ic k(x_i, .) over the training points.
//
// The gradient at x_j is M u_jc with
//   u_jc = sum_i alpha_ic dh/ds(i, j) x_i + 2 x_j sum_i alpha_ic dh/dq_z(i, j),
// so AGOP = M (1/n sum_jc (u_jc - mean_c)(u_jc - mean_c)') M. The first sum is a group sum into the
// d bins of the feature matrix: with the training points sorted by the index in a slot it is one
// matrix product a bin. 2 n^2 c flops a slot, n c d^2 for the outer products (one triangle), and
// 2 n^2 c more for kernels whose slope in q_z does not follow from the slope in s.
#pragma once

#include "common/kernels.h"
#include "common/views.h"

namespace grokrfm {

template <class T>
void agop(const KernelChoice& kernel, Matrix<const T> feature_matrix, ActiveIndices train,
          Matrix<const T> dual_coefficients, bool centred, Matrix<T> out, int threads);

}  // namespace grokrfm
