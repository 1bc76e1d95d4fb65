// What matrix_power.cu and square_root.cu give back.
#pragma once

#include "launch.h"

namespace grokrfm::cuda {

// The lower triangle and its mirror image: symmetric to the last bit.
template <class T>
void store_symmetric(Device& device, std::ptrdiff_t batch, std::ptrdiff_t d, const double* from,
                     T* to) {
    for_rows(device, batch * d, d, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
        const std::ptrdiff_t i = row % d, matrix = row - i;
        to[row * d + j] =
            static_cast<T>(i < j ? from[(matrix + j) * d + i] : from[(matrix + i) * d + j]);
    });
}

}  // namespace grokrfm::cuda
