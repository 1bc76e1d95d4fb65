// Array views: what an operation sees of its arguments. Row-major and contiguous throughout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace grokrfm {

template <class T>
struct Matrix {
    T* data;
    std::ptrdiff_t rows, columns;
    T* row(std::ptrdiff_t i) const { return data + i * columns; }
};

// n inputs, each the sum of the unit vectors named in its row; -1 names none. Every index is below
// the size d of the feature matrix in use (the adapter has checked).
using ActiveIndices = Matrix<const std::int32_t>;

// Memory to work in.
template <class T>
std::vector<T> zeros(std::ptrdiff_t size) {
    return std::vector<T>(static_cast<std::size_t>(size), T(0));
}

}  // namespace grokrfm
