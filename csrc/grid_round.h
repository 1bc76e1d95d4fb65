// A round of the quadratic family on the p x p grid of pairs, without a kernel matrix.
//
// Kernels k = pairs s^2 + norms (q_x - shift)(q_z - shift) with s = x'Mz, M = [[A, B], [B', D]].
// The dual coefficients of class c are a grid V (zero off the training pairs) with row sums r and
// column sums s; Z = sum_i alpha_i x_i x_i' = [[diag r, V], [V', diag s]]. Then on all pairs
//   f(a, b) = pairs (W11[a, a] + W22[b, b] + 2 W12[a, b]) + norms t (q(a, b) - shift),
//   W = M Z M, t = sum_i alpha_i (q_i - shift),
//   W12 = A (V D + diag(r) B) + B diag(s) D + (V B')' B,
//   [diag W11; diag W22] = (M o M) [r; s] + 2 [colsum(A o V B'); colsum(B o V D)]:
// 10 p^3 flops a class in three matrix products that take a whole block of classes.
//
// K alpha = y is solved by conjugate gradients, preconditioned by diag(K) + W C W' with W the
// indicators of rows and columns and C = 2 (pairs M o M + norms v v'), the part of k that depends
// on rows and columns alone; the cross terms are left to the diagonal. Woodbury's formula inverts
// it in O(p^2) a class once the 2p x 2p matrix `coarse` is known. Solutions change smoothly from
// round to round: the start is a given combination of the last ones, scaled per class to the
// smallest error.
//
// The right-hand sides are the indicators of the classes, and any others that a caller has: with
// k(., x*) of a pair the solution beta tells all outputs there, f_c(x*) = sum of beta over the
// training pairs of class c. These are solved alone: no scores, nothing for the AGOP.
//
// The gradient of f is 2 M (pairs Z M + norms t I) x, so the AGOP needs of a block of classes only
// sum_c Z Q Z (Q = M S M, S the second moment of the training inputs), sum_c t Z and sum_c t^2:
// 12 p^3 flops a class.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "common/views.h"

namespace grokrfm {

struct QuadraticForm {
    double pairs, norms, shift;
};

// What all classes of a round share.
template <class T>
struct GridProblem {
    Matrix<const T> feature_matrix;  // 2p x 2p
    QuadraticForm form;
    T ridge;
    Matrix<const std::int32_t> train_labels;  // p x p, -1 off the training pairs
    Matrix<const std::int32_t> test_labels;   // p x p, -1 off the test pairs
    Matrix<const T> coarse;                   // 2p x 2p, C (I + W' diag(K)^-1 W C)^-1
    Matrix<const T> moment;                   // 2p x 2p, Q
    double tolerance;                         // relative residual ||y - K alpha|| / ||y||
    int max_iterations;                       // 0: the newest solutions are taken as they are
    std::vector<double> prediction;           // weights of the last solutions, newest first
};

// The last solutions of the columns, newest first: columns x depth x n, the training pairs in
// row-major order.
template <class T>
struct Solutions {
    T* data;
    std::ptrdiff_t columns, depth, n;
    T* of(std::ptrdiff_t c, std::ptrdiff_t k) const { return data + (c * depth + k) * n; }
};

// Further right-hand sides, k x n, and the relative residual at which they are done.
//
// A residual is computed from the solution, by applying the operator once more, where the tolerance
// is less than 1000 units of the last place. Above that, where the residual of the recursion
// differs from it by far less than the tolerance, it is computed for one block of classes in each
// thread, and for the following ones too until a block confirms the recursion. At a tolerance of
// 1e-3 or more the products of the solve and of the sums, but not those of such a check, may be
// exact to 16 bits alone: cpu/tile_loops.h.
template <class T>
struct Targets {
    Matrix<const T> rows;
    double tolerance;
};

// Sums over a range of classes; ranges add up. A class whose numbers are not finite shows in them,
// in its residual and in its own outputs, but not in what the other classes get. A start that is
// not finite counts as zeros.
template <class T>
struct GridSums {
    std::vector<T> zqz;  // 2p x 2p, sum_c Z Q Z
    std::vector<T> tz;   // 2p x 2p, sum_c t Z
    double t_squared = 0;
    std::vector<T> best;  // p x p, largest output of a pair
    std::vector<std::int32_t> best_class;
    double train_squares = 0, test_squares = 0;  // of the outputs
    std::vector<double> products;                // depth, newest solution . k-th newest
};

// Throws std::invalid_argument unless there is something to solve: the work is divided by p and by
// the number of classes.
inline void check_extents(std::ptrdiff_t d, std::ptrdiff_t classes) {
    if (d < 2 || d % 2 != 0)
        throw std::invalid_argument(
            "feature_matrix: expected an even number of rows, 2 at least, got " +
            std::to_string(d));
    if (classes < 1)
        throw std::invalid_argument("solutions: expected one column at least, got none");
}

// Solves, evaluates and sums for a range of classes from first_class on, and solves for the
// targets, to which the last columns of the solutions belong. A solve puts its solutions
// in front and drops the oldest. own: p x p, the output of each pair's own class where that class
// is in the range. iterations, residuals: one entry a column.
//
// Each thread works on some 13 p x p arrays a column, of as many columns at a time as fit into 2 MB
// (or of one), and holds 13 p x p arrays of its own, and 3 MB for tiles; 16 more are shared.
// Columns are side by side as many as there are threads and as fit into 4 GB; threads that are left
// share the products of p = 500 and more.
template <class T>
GridSums<T> grid_round(const GridProblem<T>& problem, std::int32_t first_class,
                       const Targets<T>& targets, Solutions<T> solutions, Matrix<T> own,
                       std::int32_t* iterations, double* residuals, int threads);

}  // namespace grokrfm
