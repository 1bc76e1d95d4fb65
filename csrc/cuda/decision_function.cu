// Blocks of evaluation points: their rows of the kernel matrix, then one product with the dual
// coefficients.
#include <algorithm>

#include "../decision_function.h"
#include "lookups.h"
#include "operations.h"

namespace grokrfm::cuda {

template <class T>
void decision_function(Device& device, Arena& arena, const KernelChoice& kernel,
                       Matrix<const T> feature_matrix, ActiveIndices evaluation,
                       ActiveIndices train, Matrix<const T> dual_coefficients, Matrix<T> out) {
    const std::ptrdiff_t n = train.rows, classes = dual_coefficients.columns;
    // A block of rows takes 256 MB at most, and is a large product all the same.
    const std::ptrdiff_t row_bytes = n * static_cast<std::ptrdiff_t>(sizeof(T));
    const std::ptrdiff_t block =
        std::min(evaluation.rows, std::max<std::ptrdiff_t>((256 << 20) / row_bytes, 64));
    T* q_x = arena.take<T>(evaluation.rows);
    T* q_z = arena.take<T>(n);
    T* values = arena.take<T>(block * n);
    if (arena.counting()) return;
    fill_norms(device, feature_matrix, evaluation, q_x);
    fill_norms(device, feature_matrix, train, q_z);
    visit_kernel<T>(kernel, [&](auto functor) {
        for (std::ptrdiff_t first = 0; first < evaluation.rows; first += block) {
            const std::ptrdiff_t last = std::min(first + block, evaluation.rows);
            fill_values(device, functor, feature_matrix, evaluation, q_x, first, last, train, q_z,
                        values);
            device.multiply<T>(last - first, classes, n, 1, {'N', values, n},
                               {'N', dual_coefficients.data, classes}, 0,
                               {out.row(first), classes});
        }
    });
}

template void decision_function(Device&, Arena&, const KernelChoice&, Matrix<const float>,
                                ActiveIndices, ActiveIndices, Matrix<const float>, Matrix<float>);
template void decision_function(Device&, Arena&, const KernelChoice&, Matrix<const double>,
                                ActiveIndices, ActiveIndices, Matrix<const double>, Matrix<double>);

}  // namespace grokrfm::cuda
