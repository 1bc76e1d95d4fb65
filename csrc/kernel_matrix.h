// K[i, j] = k(x_i, z_j) from look-ups in M. Without `other` the kernel matrix of the inputs with
// themselves: one triangle is evaluated and mirrored. About 2k loads, k additions and one kernel
// evaluation an entry.
#pragma once

#include "common/kernels.h"
#include "common/views.h"

namespace grokrfm {

template <class T>
void kernel_matrix(const KernelChoice& kernel, Matrix<const T> feature_matrix, ActiveIndices inputs,
                   const ActiveIndices* other, Matrix<T> out, int threads);

}  // namespace grokrfm
