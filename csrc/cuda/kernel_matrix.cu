// One warp a row of K, one entry a lane and step: 2 k^2 loads from M, which the L2 cache holds, and
// one coalesced store. Bound by the stores and the kernel's own arithmetic.
#include "../kernel_matrix.h"
#include "lookups.h"
#include "operations.h"

namespace grokrfm::cuda {

namespace {

// Both halves are evaluated, each entry from the smaller index to the larger one: symmetric to the
// last bit without a second pass over K.
template <class T, class Kernel>
void fill_symmetric(Device& device, Kernel kernel, Matrix<const T> m, ActiveIndices x, const T* q,
                    T* out) {
    for_rows(device, x.rows, x.rows, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t column) {
        const std::ptrdiff_t i = row < column ? row : column, j = row < column ? column : row;
        out[row * x.rows + column] = kernel.value(inner_product(m, x, i, x, j), q[i], q[j]);
    });
}

}  // namespace

template <class T>
void kernel_matrix(Device& device, Arena& arena, const KernelChoice& kernel,
                   Matrix<const T> feature_matrix, ActiveIndices inputs, const ActiveIndices* other,
                   Matrix<T> out) {
    T* q_x = arena.take<T>(inputs.rows);
    T* q_z = other == nullptr ? q_x : arena.take<T>(other->rows);
    if (arena.counting()) return;
    fill_norms(device, feature_matrix, inputs, q_x);
    if (other != nullptr) fill_norms(device, feature_matrix, *other, q_z);
    visit_kernel<T>(kernel, [&](auto functor) {
        if (other == nullptr)
            fill_symmetric(device, functor, feature_matrix, inputs, q_x, out.data);
        else
            fill_values(device, functor, feature_matrix, inputs, q_x, 0, inputs.rows, *other, q_z,
                        out.data);
    });
}

template void kernel_matrix(Device&, Arena&, const KernelChoice&, Matrix<const float>,
                            ActiveIndices, const ActiveIndices*, Matrix<float>);
template void kernel_matrix(Device&, Arena&, const KernelChoice&, Matrix<const double>,
                            ActiveIndices, const ActiveIndices*, Matrix<double>);

}  // namespace grokrfm::cuda
