#include "../kernel_matrix.h"

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "rows.h"

namespace grokrfm {

namespace {

constexpr std::ptrdiff_t tile = 64;  // a tile and its mirror image stay in L1/L2

}  // namespace

template <class T>
void kernel_matrix(const KernelChoice& kernel, Matrix<const T> feature_matrix, ActiveIndices inputs,
                   const ActiveIndices* other, Matrix<T> out, int threads) {
    const bool symmetric = other == nullptr;
    const Points<T> rows(feature_matrix, inputs);
    const Points<T> columns(feature_matrix, symmetric ? inputs : *other);
    const std::ptrdiff_t height =  // every thread has a share of few rows
        symmetric ? tile : std::clamp<std::ptrdiff_t>(block_count(rows.size, threads), 1, tile);
    parallel_for(block_count(rows.size, height), threads, [&](std::ptrdiff_t block, int) {
        const std::ptrdiff_t first = block * height, last = std::min(first + height, rows.size);
        // The symmetric case starts at the diagonal tile and mirrors what lies beyond it.
        const std::ptrdiff_t begin = symmetric ? first : 0, width = columns.size - begin;
        std::vector<T> table(rows.table_size());
        for (std::ptrdiff_t i = first; i < last; ++i) {
            rows.fill_table(i, table.data());
            T* row = out.row(i) + begin;
            columns.inner_products(table.data(), begin, columns.size, row);
            loops<T>().apply_value(kernel, columns.norms() + begin, rows.norms()[i], width, row);
        }
        if (!symmetric) return;
        for (std::ptrdiff_t j0 = first; j0 < columns.size; j0 += tile) {
            const std::ptrdiff_t j1 = std::min(j0 + tile, columns.size);
            for (std::ptrdiff_t j = j0; j < j1; ++j)
                for (std::ptrdiff_t i = first; i < std::min(last, j); ++i)
                    out.row(j)[i] = out.row(i)[j];
        }
    });
}

template void kernel_matrix(const KernelChoice&, Matrix<const float>, ActiveIndices,
                            const ActiveIndices*, Matrix<float>, int);
template void kernel_matrix(const KernelChoice&, Matrix<const double>, ActiveIndices,
                            const ActiveIndices*, Matrix<double>, int);

}  // namespace grokrfm
