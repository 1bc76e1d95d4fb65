// x'Mz by look-ups in M, for the bodies of loops on the device.
#pragma once

#include "../common/math.h"
#include "../common/views.h"
#include "launch.h"

namespace grokrfm::cuda {

template <class T>
GROKRFM_HOST_DEVICE T inner_product(const Matrix<const T>& m, const ActiveIndices& x,
                                    std::ptrdiff_t i, const ActiveIndices& z, std::ptrdiff_t j) {
    T sum = 0;
    for (std::ptrdiff_t s = 0; s < x.columns; ++s) {
        const std::int32_t u = x.data[i * x.columns + s];
        if (u < 0) continue;
        const T* row = m.data + u * m.columns;
        for (std::ptrdiff_t t = 0; t < z.columns; ++t) {
            const std::int32_t v = z.data[j * z.columns + t];
            if (v >= 0) sum += row[v];
        }
    }
    return sum;
}

// norms[i] = x_i'M x_i
template <class T>
void fill_norms(Device& device, Matrix<const T> m, ActiveIndices x, T* norms) {
    for_each(device, x.rows,
             [=] GROKRFM_BODY(std::ptrdiff_t i) { norms[i] = inner_product(m, x, i, x, i); });
}

// values[(i - first) ld + j] = h(x_i, z_j) for first <= i < last and all j.
template <class T, class Kernel>
void fill_values(Device& device, Kernel kernel, Matrix<const T> m, ActiveIndices x, const T* q_x,
                 std::ptrdiff_t first, std::ptrdiff_t last, ActiveIndices z, const T* q_z,
                 T* values) {
    for_rows(device, last - first, z.rows, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
        const std::ptrdiff_t i = first + row;
        values[row * z.rows + j] = kernel.value(inner_product(m, x, i, z, j), q_x[i], q_z[j]);
    });
}

}  // namespace grokrfm::cuda
