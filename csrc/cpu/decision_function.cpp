#include "../decision_function.h"

#include <algorithm>
#include <vector>

#include "blas.h"
#include "parallel.h"
#include "rows.h"

namespace grokrfm {

namespace {

constexpr std::ptrdiff_t block_rows = 64;

}  // namespace

template <class T>
void decision_function(const KernelChoice& kernel, Matrix<const T> feature_matrix,
                       ActiveIndices evaluation, ActiveIndices train,
                       Matrix<const T> dual_coefficients, Matrix<T> out, int threads) {
    const Points<T> rows(feature_matrix, evaluation), columns(feature_matrix, train);
    const std::ptrdiff_t n = columns.size, classes = dual_coefficients.columns;
    const std::ptrdiff_t blocks = block_count(rows.size, block_rows);
    threads = static_cast<int>(std::clamp<std::ptrdiff_t>(threads, 1, blocks));
    std::vector<std::vector<T>> buffers(
        static_cast<std::size_t>(threads),
        std::vector<T>(static_cast<std::size_t>(block_rows * n) + rows.table_size()));
    parallel_for(blocks, threads, [&](std::ptrdiff_t block, int thread) {
        const std::ptrdiff_t first = block * block_rows;
        const std::ptrdiff_t last = std::min(first + block_rows, rows.size);
        T* values = buffers[static_cast<std::size_t>(thread)].data();
        T* table = values + block_rows * n;
        for (std::ptrdiff_t j = first; j < last; ++j) {
            rows.fill_table(j, table);
            T* row = values + (j - first) * n;
            columns.inner_products(table, 0, n, row);
            loops<T>().apply_value(kernel, columns.norms(), rows.norms()[j], n, row);
        }
        blas::gemm<T>('N', 'N', classes, last - first, n, 1, dual_coefficients.data, classes,
                      values, n, 0, out.row(first), classes);
    });
}

template void decision_function(const KernelChoice&, Matrix<const float>, ActiveIndices,
                                ActiveIndices, Matrix<const float>, Matrix<float>, int);
template void decision_function(const KernelChoice&, Matrix<const double>, ActiveIndices,
                                ActiveIndices, Matrix<const double>, Matrix<double>, int);

}  // namespace grokrfm
