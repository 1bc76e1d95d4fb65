// A matrix product to be done.
#pragma once

#include <cstddef>

namespace grokrfm {

// A factor of a product: entry (i, j) is data[i * row_stride + j * step].
template <class T>
struct Factor {
    const T* data;
    std::ptrdiff_t row_stride, step;
};

// out = left right, or added to it, rows x columns, each entry a sum of so many terms.
template <class T>
struct Product {
    std::ptrdiff_t rows, terms, columns;
    Factor<T> left, right;
    T* out;
    std::ptrdiff_t out_stride;
    bool add;
};

}  // namespace grokrfm
