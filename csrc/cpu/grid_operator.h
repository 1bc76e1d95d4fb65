// The kernel of the quadratic family as an operator on grids, for a block of m classes at a time.
// A block stores V[x, c, y]: products from the left and from the right both see one matrix.
#pragma once

#include <algorithm>
#include <vector>

#include "../grid_round.h"
#include "blas.h"
#include "rows.h"

namespace grokrfm {

// Row-major C = op(A) B + beta C with the usual leading dimensions; op(A) is m x k.
template <class T>
void row_major_gemm(char op_a, std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, const T* a,
                    std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, T beta, T* c,
                    std::ptrdiff_t ldc) {
    blas::gemm<T>('N', op_a, n, m, k, T(1), b, ldb, a, lda, beta, c, ldc);
}

// rows[x, c] = sum_y V[x, c, y] and columns[y, c] = sum_x V[x, c, y], stacked as (2p, m).
template <class T>
GROKRFM_CLONES void line_sums(const T* __restrict v, std::ptrdiff_t p, std::ptrdiff_t m,
                              T* __restrict columns_by_class, T* __restrict sums) {
    std::fill(columns_by_class, columns_by_class + m * p, T(0));
    for (std::ptrdiff_t xc = 0; xc < p * m; ++xc) {
        const T* __restrict row = v + xc * p;
        T* __restrict columns = columns_by_class + (xc % m) * p;
        T parts[16] = {};
        std::ptrdiff_t y = 0;
        for (; y + 16 <= p; y += 16)
            for (int k = 0; k < 16; ++k) parts[k] += row[y + k];
        T sum = 0;
        for (; y < p; ++y) sum += row[y];
        for (int k = 0; k < 16; ++k) sum += parts[k];
        sums[xc] = sum;
        for (y = 0; y < p; ++y) columns[y] += row[y];
    }
    for (std::ptrdiff_t c = 0; c < m; ++c)
        for (std::ptrdiff_t y = 0; y < p; ++y) sums[(p + y) * m + c] = columns_by_class[c * p + y];
}

// From products = V [D | B'] and the line sums: stacked = [V D + diag(r) B; diag(s) D] and the
// column sums of A o V B' and B o V D, per class.
template <class T>
GROKRFM_CLONES void combine(const T* __restrict products, const T* __restrict sums,
                            const T* __restrict a, const T* __restrict b, const T* __restrict d,
                            std::ptrdiff_t p, std::ptrdiff_t m, T* __restrict stacked,
                            T* __restrict diagonals) {
    std::fill(diagonals, diagonals + 2 * p * m, T(0));
    for (std::ptrdiff_t x = 0; x < p; ++x)
        for (std::ptrdiff_t c = 0; c < m; ++c) {
            const std::ptrdiff_t xc = x * m + c;
            const T* __restrict vd = products + xc * 2 * p;
            const T* __restrict vb = vd + p;
            const T *__restrict ax = a + x * p, *__restrict bx = b + x * p, *__restrict dx = d + x * p;
            T* __restrict top = stacked + xc * p;
            T* __restrict bottom = stacked + (p * m + xc) * p;
            T* __restrict w11 = diagonals + c * 2 * p;
            T* __restrict w22 = w11 + p;
            const T r = sums[xc], s = sums[p * m + xc];
            for (std::ptrdiff_t y = 0; y < p; ++y) {
                top[y] = vd[y] + r * bx[y];
                bottom[y] = s * dx[y];
                w11[y] += ax[y] * vb[y];
                w22[y] += bx[y] * vd[y];
            }
        }
}

// f = pairs (w11[a] + w22[b] + 2 W12) + norms t (q - shift), in place of W12.
template <class T>
GROKRFM_CLONES void finish_outputs(const T* __restrict diagonals, const T* __restrict norm_sums,
                                   const T* __restrict shifted_norms, T pairs, T norms,
                                   std::ptrdiff_t p, std::ptrdiff_t m, T* __restrict w) {
    for (std::ptrdiff_t x = 0; x < p; ++x)
        for (std::ptrdiff_t c = 0; c < m; ++c) {
            T* __restrict row = w + (x * m + c) * p;
            const T* __restrict w22 = diagonals + c * 2 * p + p;
            const T* __restrict q = shifted_norms + x * p;
            const T w11 = diagonals[c * 2 * p + x], t = norms * norm_sums[c];
            for (std::ptrdiff_t y = 0; y < p; ++y)
                row[y] = pairs * (w11 + w22[y] + 2 * row[y]) + t * q[y];
        }
}

template <class T>
class GridOperator {
   public:
    GridOperator(Matrix<const T> feature_matrix, const QuadraticForm& form)
        : p(feature_matrix.rows / 2),
          pairs(static_cast<T>(form.pairs)),
          norms(static_cast<T>(form.norms)),
          a_(zeros<T>(p * p)),
          b_(zeros<T>(p * p)),
          d_(zeros<T>(p * p)),
          right_(zeros<T>(2 * p * p)),
          squares_(zeros<T>(4 * p * p)),
          shifted_norms_(zeros<T>(p * p)) {
        const Matrix<const T>& m = feature_matrix;
        for (std::ptrdiff_t i = 0; i < p; ++i)
            for (std::ptrdiff_t j = 0; j < p; ++j) {
                const auto at = static_cast<std::size_t>(i * p + j);
                const auto row = static_cast<std::size_t>(i * 2 * p + j);
                a_[at] = m.row(i)[j];
                b_[at] = m.row(i)[p + j];
                d_[at] = m.row(p + i)[p + j];
                right_[row] = m.row(p + i)[p + j];
                right_[row + static_cast<std::size_t>(p)] = m.row(j)[p + i];
                shifted_norms_[at] = m.row(i)[i] + m.row(p + j)[p + j] + 2 * m.row(i)[p + j] -
                                     static_cast<T>(form.shift);
            }
        left_.assign(m.data, m.data + 2 * p * p);  // [A | B], the first p rows of M
        for (std::size_t k = 0; k < squares_.size(); ++k) squares_[k] = m.data[k] * m.data[k];
    }

    struct Workspace {
        Workspace(std::ptrdiff_t p, std::ptrdiff_t m)
            : columns(zeros<T>(m * p)),
              sums(zeros<T>(2 * p * m)),
              norm_sums(zeros<T>(m)),
              products(zeros<T>(2 * p * p * m)),
              stacked(zeros<T>(2 * p * p * m)),
              diagonals(zeros<T>(2 * p * m)) {}
        std::vector<T> columns, sums, norm_sums, products, stacked, diagonals;
    };

    // f(V) on all pairs for m classes; leaves the line sums and t of V in the workspace.
    void apply(const T* v, std::ptrdiff_t m, Workspace& w, T* out) const {
        line_sums(v, p, m, w.columns.data(), w.sums.data());
        sum_norms(v, m, w);
        T *products = w.products.data(), *stacked = w.stacked.data();
        row_major_gemm<T>('N', p * m, 2 * p, p, v, p, right_.data(), 2 * p, 0, products, 2 * p);
        combine(products, w.sums.data(), a_.data(), b_.data(), d_.data(), p, m, stacked,
                w.diagonals.data());
        // W12 = [A | B] stacked + (V B')' B
        row_major_gemm<T>('N', p, p * m, 2 * p, left_.data(), 2 * p, stacked, p * m, 0, out, p * m);
        for (std::ptrdiff_t c = 0; c < m; ++c)
            row_major_gemm<T>('T', p, p, p, products + c * 2 * p + p, m * 2 * p, b_.data(), p, 1,
                              out + c * p, m * p);
        // diagonals[c, :] = 2 diagonals[c, :] + (M o M) sums[:, c]
        blas::gemm<T>('N', 'T', 2 * p, m, 2 * p, T(1), squares_.data(), 2 * p, w.sums.data(), m,
                      T(2), w.diagonals.data(), 2 * p);
        finish_outputs(w.diagonals.data(), w.norm_sums.data(), shifted_norms_.data(), pairs, norms,
                       p, m, out);
    }

    // k(x, x) on all pairs.
    std::vector<T> diagonal(T shift) const {
        std::vector<T> result(shifted_norms_.size());
        for (std::size_t k = 0; k < result.size(); ++k) {
            const T shifted = shifted_norms_[k], q = shifted + shift;
            result[k] = pairs * q * q + norms * shifted * shifted;
        }
        return result;
    }

    // t = sum V (q - shift), per class; left at 0 for kernels that have no use for it
    void sum_norms(const T* v, std::ptrdiff_t m, Workspace& w) const {
        if (norms == 0) return;
        std::vector<double> sums(static_cast<std::size_t>(m), 0.0);
        for (std::ptrdiff_t xc = 0; xc < p * m; ++xc) {
            const T* q = shifted_norms_.data() + (xc / m) * p;
            T sum = 0;
            for (std::ptrdiff_t y = 0; y < p; ++y) sum += v[xc * p + y] * q[y];
            sums[static_cast<std::size_t>(xc % m)] += sum;
        }
        for (std::size_t c = 0; c < sums.size(); ++c) w.norm_sums[c] = static_cast<T>(sums[c]);
    }

    const std::ptrdiff_t p;
    const T pairs, norms;

   private:
    std::vector<T> a_, b_, d_, left_, right_, squares_, shifted_norms_;
};

}  // namespace grokrfm
