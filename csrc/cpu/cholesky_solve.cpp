// Left-looking blocked factorisation with our threads over single-threaded BLAS. On two cores it
// beats the threaded LAPACK of OpenBLAS, whose workers besides go on spinning after the call and
// slow down the parallel regions that follow.
#include "../cholesky_solve.h"

#include <algorithm>

#include "blas.h"
#include "parallel.h"

namespace grokrfm {

namespace {

constexpr std::ptrdiff_t block = 128;

// Lower Cholesky factor of column-major a; parts of the strict upper triangle are overwritten too.
template <class T>
int factorise(Matrix<T> matrix, int threads) {
    const std::ptrdiff_t n = matrix.rows;
    const auto at = [&](std::ptrdiff_t i, std::ptrdiff_t j) { return matrix.data + j * n + i; };
    for (std::ptrdiff_t k = 0; k < n; k += block) {
        const std::ptrdiff_t width = std::min(block, n - k), next = k + width;
        // One share of the rows a thread: fewer, larger products.
        const auto for_rows = [&](std::ptrdiff_t first, auto body) {
            const std::ptrdiff_t share = std::max(block_count(n - first, threads), block / 2);
            parallel_for(block_count(n - first, share), threads, [&](std::ptrdiff_t b, int) {
                const std::ptrdiff_t i = first + b * share;
                body(i, std::min(share, n - i));
            });
        };
        if (k > 0)
            for_rows(k, [&](std::ptrdiff_t i, std::ptrdiff_t rows) {
                blas::gemm<T>('N', 'T', rows, width, k, -1, at(i, 0), n, at(k, 0), n, 1, at(i, k),
                              n);
            });
        if (const int info = blas::potrf<T>(width, at(k, k), n)) return static_cast<int>(k) + info;
        for_rows(next, [&](std::ptrdiff_t i, std::ptrdiff_t rows) {
            blas::solve_right_transposed<T>(rows, width, at(k, k), n, at(i, k), n);
        });
    }
    return 0;
}

}  // namespace

template <class T>
int cholesky_solve(Matrix<T> kernel_matrix, Matrix<T> targets_transposed, int threads) {
    if (const int info = factorise(kernel_matrix, threads)) return info;
    const std::ptrdiff_t n = kernel_matrix.rows, classes = targets_transposed.rows;
    const std::ptrdiff_t share = std::max<std::ptrdiff_t>(block_count(classes, threads), 1);
    parallel_for(block_count(classes, share), threads, [&](std::ptrdiff_t b, int) {
        blas::potrs<T>(n, std::min(share, classes - b * share), kernel_matrix.data, n,
                       targets_transposed.row(b * share), n);
    });
    return 0;
}

template <class T>
int cholesky_inverse(Matrix<T> matrix, Matrix<T> inverse, int threads) {
    if (const int info = factorise(matrix, threads)) return info;
    const std::ptrdiff_t n = matrix.rows, blocks = block_count(n, block);
    // Columns first to last, column-major, from the diagonal on: what they need of the factor.
    parallel_for(blocks, threads, [&](std::ptrdiff_t b, int) {
        const std::ptrdiff_t first = b * block, last = std::min(first + block, n);
        for (std::ptrdiff_t j = first; j < last; ++j) {
            std::fill_n(inverse.row(j) + first, n - first, T(0));
            inverse.row(j)[j] = 1;
        }
        blas::potrs<T>(n - first, last - first, matrix.row(first) + first, n,
                       inverse.row(first) + first, n);
    });
    // The other half.
    parallel_for(blocks, threads, [&](std::ptrdiff_t b, int) {
        const std::ptrdiff_t first = b * block, last = std::min(first + block, n);
        for (std::ptrdiff_t i = 0; i < last; i += block)
            for (std::ptrdiff_t j = first; j < last; ++j)
                for (std::ptrdiff_t k = i; k < std::min(i + block, j); ++k)
                    inverse.row(j)[k] = inverse.row(k)[j];
    });
    return 0;
}

template int cholesky_solve(Matrix<float>, Matrix<float>, int);
template int cholesky_solve(Matrix<double>, Matrix<double>, int);
template int cholesky_inverse(Matrix<float>, Matrix<float>, int);
template int cholesky_inverse(Matrix<double>, Matrix<double>, int);

}  // namespace grokrfm
