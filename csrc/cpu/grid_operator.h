// The kernel of the quadratic family as an operator on a block of grids; mathematics in
// ../grid_round.h. A block stores V[x, c, y], so that products from the left and from the right
// both see one matrix. Grids shared by all classes have the block's pitch.
#pragma once

#include <vector>

#include "../grid_round.h"
#include "blas.h"
#include "loops.h"
#include "parallel.h"

namespace grokrfm {

// Row-major C = op(A) B + beta C with the usual leading dimensions; op(A) is m x k.
template <class T>
void row_major_gemm(char op_a, std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, const T* a,
                    std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, T beta, T* c,
                    std::ptrdiff_t ldc) {
    blas::gemm<T>('N', op_a, n, m, k, T(1), b, ldb, a, lda, beta, c, ldc);
}

// A p x p grid with the pitch of a block, entry (x, y) = value(x, y).
template <class T, class Value>
std::vector<T> make_grid(std::ptrdiff_t p, std::ptrdiff_t pitch, const Value& value) {
    std::vector<T> grid = zeros<T>(p * pitch);
    for (std::ptrdiff_t x = 0; x < p; ++x)
        for (std::ptrdiff_t y = 0; y < p; ++y)
            grid[static_cast<std::size_t>(x * pitch + y)] = value(x, y);
    return grid;
}

// The matrix [L | R] of two grids side by side.
template <class T>
std::vector<T> side_by_side(const std::vector<T>& left, const std::vector<T>& right,
                            std::ptrdiff_t pitch) {
    std::vector<T> result;
    for (auto l = left.begin(), r = right.begin(); l != left.end(); l += pitch, r += pitch) {
        result.insert(result.end(), l, l + pitch);
        result.insert(result.end(), r, r + pitch);
    }
    return result;
}

template <class T>
class GridOperator {
 public:
    // What the work on a block needs besides the block itself. `sums` and `columns` are r and s.
    struct Workspace {
        explicit Workspace(BlockShape shape)
            : sums(zeros<T>(shape.rows())),
              columns(zeros<T>(shape.m * shape.pitch)),
              offset(zeros<T>(shape.m)),
              norm_sums(static_cast<std::size_t>(shape.m), 0.0),
              dots(norm_sums),
              products(zeros<T>(2 * shape.size())),
              stacked(zeros<T>(2 * shape.size())),
              diagonals(zeros<T>(2 * shape.m * shape.pitch)),
              lines(zeros<T>(2 * shape.rows())) {}
        std::vector<T> sums, columns, offset;
        std::vector<double> norm_sums, dots;
        std::vector<T> products, stacked, diagonals, lines;
    };

    GridOperator(Matrix<const T> m, const QuadraticForm& form)
        : p(m.rows / 2),
          pitch(block_count(p, lanes) * lanes),
          pairs_(static_cast<T>(form.pairs)),
          norms_(static_cast<T>(form.norms)),
          m_(m),
          a_(make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(x)[y]; })),
          b_(make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(x)[p + y]; })),
          d_(make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(p + x)[p + y]; })),
          right_(side_by_side(
              d_, make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(y)[p + x]; }), pitch)),
          squares_(zeros<T>(4 * p * p)),
          shifted_norms_(make_grid<T>(p, pitch,
                                      [&](auto x, auto y) {
                                          return m.row(x)[x] + m.row(p + y)[p + y] +
                                                 2 * m.row(x)[p + y] - static_cast<T>(form.shift);
                                      })),
          diagonal(make_grid<T>(p, pitch, [&](auto x, auto y) {
              const T shifted = shifted_norms_[static_cast<std::size_t>(x * pitch + y)];
              const T q = shifted + static_cast<T>(form.shift);
              return pairs_ * q * q + norms_ * shifted * shifted;
          })) {
        for (std::size_t k = 0; k < squares_.size(); ++k) squares_[k] = m.data[k] * m.data[k];
    }

    // out = f(V) on all pairs, given the line sums of V in the workspace; leaves V . f there.
    void apply_to_summed(BlockShape shape, const T* v, Workspace& w, T* out) const {
        sum_norms(shape, v, w);
        T* products = w.products.data();
        row_major_gemm<T>('N', shape.rows(), 2 * pitch, p, v, pitch, right_.data(), 2 * pitch, 0,
                          products, 2 * pitch);
        loops<T>().combine_products(shape, products, w.sums.data(), w.columns.data(), a_.data(),
                                    b_.data(), d_.data(), w.stacked.data(), w.diagonals.data());
        // W12 = [A | B] stacked + (V B')' B
        const std::ptrdiff_t width = shape.m * pitch;
        row_major_gemm<T>('N', p, width, 2 * p, m_.data, 2 * p, w.stacked.data(), width, 0, out,
                          width);
        for (std::ptrdiff_t c = 0; c < shape.m; ++c)
            row_major_gemm<T>('T', p, pitch, p, products + (2 * c + 1) * pitch, 2 * shape.m * pitch,
                              b_.data(), pitch, 1, out + c * pitch, width);
        add_squares(shape, w);
        loops<T>().finish_outputs(shape, w.diagonals.data(), pairs_, w.offset.data(),
                                  shifted_norms_.data(), v, out, w.dots.data());
    }

    void apply(BlockShape shape, const T* v, Workspace& w, T* out) const {
        loops<T>().line_sums(shape, v, w.sums.data(), w.columns.data());
        apply_to_summed(shape, v, w, out);
    }

    // t = sum V (q - shift) per class, for the kernels that use it.
    void sum_norms(BlockShape shape, const T* v, Workspace& w) const {
        if (!uses_norms()) return;
        loops<T>().weighted_sums(shape, v, shifted_norms_.data(), w.norm_sums.data());
        for (std::size_t c = 0; c < w.norm_sums.size(); ++c)
            w.offset[c] = norms_ * static_cast<T>(w.norm_sums[c]);
    }

    bool uses_norms() const { return norms_ != 0; }

    // lines[2p, m] = matrix [r; s] for a 2p x 2p matrix and the line sums in the workspace.
    void multiply_lines(BlockShape shape, const T* matrix, Workspace& w) const {
        row_major_gemm<T>('N', 2 * p, shape.m, p, matrix, 2 * p, w.sums.data(), shape.m, 0,
                          w.lines.data(), shape.m);
        // The columns are stored per class: their transpose is the second factor.
        blas::gemm<T>('T', 'N', shape.m, 2 * p, p, T(1), w.columns.data(), pitch, matrix + p, 2 * p,
                      T(1), w.lines.data(), shape.m);
    }

    const std::ptrdiff_t p, pitch;

 private:
    // diagonals = 2 diagonals + (M o M) [r; s]
    void add_squares(BlockShape shape, Workspace& w) const {
        multiply_lines(shape, squares_.data(), w);
        for (std::ptrdiff_t half = 0; half < 2; ++half)
            for (std::ptrdiff_t x = 0; x < p; ++x)
                for (std::ptrdiff_t c = 0; c < shape.m; ++c) {
                    T& entry = w.diagonals[static_cast<std::size_t>((2 * c + half) * pitch + x)];
                    entry =
                        2 * entry + w.lines[static_cast<std::size_t>((half * p + x) * shape.m + c)];
                }
    }

    T pairs_, norms_;
    Matrix<const T> m_;  // its first p rows are [A | B]
    std::vector<T> a_, b_, d_, right_, squares_, shifted_norms_;

 public:
    const std::vector<T> diagonal;  // k(x, x) on all pairs
};

}  // namespace grokrfm
