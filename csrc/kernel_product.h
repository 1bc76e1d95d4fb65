// K V for K[i, j] = k(x_i, z_j), streamed: no n x m kernel matrix is stored. Without `other` K is
// the kernel matrix of the inputs with themselves. 2 n m k flops for V of k columns.
//
// The Gaussian kernel on pairs needs no kernel evaluation at all. For x = (a, b), z = (a', b')
// the squared distance is
//   delta_A(a, a') + delta_D(b, b') + 2 (B[a, b] - B[a, b'] - B[a', b] + B[a', b']),
// delta_A and delta_D those of the diagonal blocks, and B may be centred in rows and columns. So
// the entry is a product of six table entries, of which
//   T[b, z] = exp(-gamma delta_D(b, b')) exp(2 gamma B[a', b])
// serves every a, and the others scale V and the result:
//   (K V)[(a, b)] = exp(-2 gamma B[a, b]) sum_z T[b, z] (w_a[z] V[z]),
//   w_a[z] = exp(-gamma delta_A(a, a')) exp(2 gamma B[a, b']) exp(-2 gamma B[a', b']),
// one matrix product for each a, with the rows b of T that it has inputs for. The tables are
// computed in double precision, so an entry has a few roundings of its own, whatever the size of
// its exponents. All others, an M so large that the tables could overflow and one that is not
// positive semidefinite (whose negative distances count as 0) included, go by look-ups.
#pragma once

#include "common/kernels.h"
#include "common/views.h"

namespace grokrfm {

template <class T>
void kernel_product(const KernelChoice& kernel, Matrix<const T> feature_matrix,
                    ActiveIndices inputs, const ActiveIndices* other, Matrix<const T> vectors,
                    Matrix<T> out, int threads);

}  // namespace grokrfm
