// Preconditioned conjugate gradients for a block of classes, from start to end on one thread.
#pragma once

#include <cmath>
#include <vector>

#include "grid_operator.h"

namespace grokrfm {

// What every block of a round reads.
template <class T>
struct GridRound {
    explicit GridRound(const GridProblem<T>& given)
        : problem(given),
          map(given.feature_matrix, given.form),
          mask(indicator(given.train_labels)),
          test_mask(indicator(given.test_labels)),
          inverse_diagonal(make_grid<T>(map.p, map.pitch, [&](auto x, auto y) {
              const auto at = static_cast<std::size_t>(x * map.pitch + y);
              const T diagonal = map.diagonal[at] + given.ridge;
              return mask[at] > 0 && diagonal > 0 ? 1 / diagonal : T(0);
          })) {}

    const GridProblem<T>& problem;
    const GridOperator<T> map;
    const std::vector<T> mask, test_mask, inverse_diagonal;

 private:
    std::vector<T> indicator(Matrix<const std::int32_t> labels) const {
        return make_grid<T>(map.p, map.pitch,
                            [&](auto x, auto y) { return labels.row(x)[y] >= 0 ? T(1) : T(0); });
    }
};

template <class T>
class GridSolver {
 public:
    GridSolver(const GridRound<T>& round, BlockShape widest)
        : round_(round), workspace(widest), coarse_columns_(workspace.columns) {
        for (auto* grid : {&solution, &outputs, &residual_, &direction, &image, &scaled_})
            *grid = zeros<T>(widest.size());
    }

    // Takes the classes first_class ... first_class + m - 1, whose dual coefficients are the rows
    // from `row` of dual and previous. Leaves solution and outputs.
    void run(BlockShape block, std::int32_t first_class, std::ptrdiff_t row, Matrix<T> dual,
             Matrix<T> previous) {
        shape = block;
        first = first_class;
        const auto classes = static_cast<std::size_t>(shape.m);
        target_norms_.assign(classes, 0.0);
        for_labels(round_.problem.train_labels,
                   [&](std::ptrdiff_t, std::size_t c, std::size_t) { target_norms_[c] += 1; });
        for (double& norm : target_norms_) norm = norm > 0 ? std::sqrt(norm) : 1.0;
        squares_.assign(classes, 0.0);
        iterations.assign(classes, 0);
        stopped_.assign(classes, false);
        if (round_.problem.max_iterations == 0) {
            scatter(dual, row, solution);
            evaluate();
            return;
        }
        start(dual, previous, row);
        solve();
        for (std::ptrdiff_t c = 0; c < shape.m; ++c)
            std::copy_n(dual.row(row + c), dual.columns, previous.row(row + c));
        for_training([&](std::ptrdiff_t i, std::ptrdiff_t at) {
            for (std::ptrdiff_t c = 0; c < shape.m; ++c)
                dual.row(row + c)[i] = solution[static_cast<std::size_t>(at + c * shape.pitch)];
        });
    }

    // ||y - (K + ridge) alpha|| / ||y||; absolute for a class without training pairs.
    double relative_residual(std::size_t c) const {
        return std::sqrt(squares_[c]) / target_norms_[c];
    }

    // Calls body(pair, c, position in a block) for the pairs whose label is in the block.
    template <class Body>
    void for_labels(Matrix<const std::int32_t> labels, const Body& body) const {
        for (std::ptrdiff_t x = 0; x < shape.p; ++x)
            for (std::ptrdiff_t y = 0; y < shape.p; ++y) {
                const std::ptrdiff_t c = labels.row(x)[y] - first;
                if (c >= 0 && c < shape.m)
                    body(x * shape.p + y, static_cast<std::size_t>(c),
                         static_cast<std::size_t>((x * shape.m + c) * shape.pitch + y));
            }
    }

 private:
    const GridRound<T>& round_;

 public:
    BlockShape shape{};
    std::int32_t first = 0;
    typename GridOperator<T>::Workspace workspace;
    std::vector<T> solution, outputs, direction, image;  // the last two are free after run
    std::vector<std::int32_t> iterations;

 private:
    // Calls body(i, position of class 0 in a block) for the training pairs in row-major order.
    template <class Body>
    void for_training(const Body& body) const {
        std::ptrdiff_t i = 0;
        for (std::ptrdiff_t x = 0; x < shape.p; ++x)
            for (std::ptrdiff_t y = 0; y < shape.p; ++y)
                if (round_.problem.train_labels.row(x)[y] >= 0)
                    body(i++, x * shape.m * shape.pitch + y);
    }

    void scatter(Matrix<T> compact, std::ptrdiff_t row, std::vector<T>& grid) const {
        std::fill_n(grid.begin(), shape.size(), T(0));
        for_training([&](std::ptrdiff_t i, std::ptrdiff_t at) {
            for (std::ptrdiff_t c = 0; c < shape.m; ++c)
                grid[static_cast<std::size_t>(at + c * shape.pitch)] = compact.row(row + c)[i];
        });
    }

    void evaluate() {
        round_.map.apply(shape, solution.data(), workspace, outputs.data());
        measure();
    }

    // residual = y - (K + ridge) solution, from the outputs.
    void measure() {
        negate_image(shape, outputs.data(), solution.data(), round_.mask.data(),
                     round_.problem.ridge, residual_.data());
        for_labels(round_.problem.train_labels,
                   [&](std::ptrdiff_t, std::size_t, std::size_t at) { residual_[at] += 1; });
        dots(shape, residual_.data(), residual_.data(), squares_.data());
    }

    // The combination of the last two solutions with the smallest error in the energy norm: the
    // solutions change slowly from round to round, their scale with that of M.
    void start(Matrix<T> dual, Matrix<T> previous, std::ptrdiff_t row) {
        const int starts = round_.problem.starts;
        if (starts == 0) {
            std::fill_n(solution.begin(), shape.size(), T(0));
            std::fill_n(outputs.begin(), shape.size(), T(0));
            measure();
            return;
        }
        scatter(dual, row, solution);
        round_.map.apply(shape, solution.data(), workspace, outputs.data());
        std::vector<double> h11 = workspace.dots, h12(h11.size(), 0.0), h22(h12), g2(h12);
        add_ridge(solution, solution, h11);
        const std::vector<double> g1 = dot_targets(solution);
        if (starts > 1) {
            scatter(previous, row, direction);
            round_.map.apply(shape, direction.data(), workspace, image.data());
            h22 = workspace.dots;
            add_ridge(direction, direction, h22);
            dots(shape, solution.data(), image.data(), h12.data());
            add_ridge(solution, direction, h12);
            g2 = dot_targets(direction);
        }
        std::vector<T> first_factor(h11.size(), T(0)), second_factor(first_factor);
        for (std::size_t c = 0; c < static_cast<std::size_t>(shape.m); ++c) {
            const double determinant = h11[c] * h22[c] - h12[c] * h12[c];
            // Of nearly parallel solutions the second would add rounding errors alone.
            if (determinant > 1e-6 * h11[c] * h22[c]) {
                first_factor[c] = static_cast<T>((g1[c] * h22[c] - g2[c] * h12[c]) / determinant);
                second_factor[c] = static_cast<T>((g2[c] * h11[c] - g1[c] * h12[c]) / determinant);
            } else if (h11[c] > 0) {
                first_factor[c] = static_cast<T>(g1[c] / h11[c]);
            }
        }
        const auto merge = [&](std::vector<T>& into, const std::vector<T>& other) {
            combine(shape, first_factor.data(), second_factor.data(), other.data(), into.data(),
                    workspace.sums.data(), workspace.columns.data());
        };
        merge(outputs, image);
        merge(solution, direction);
        measure();
    }

    std::vector<double> dot_targets(const std::vector<T>& v) const {
        std::vector<double> result(static_cast<std::size_t>(shape.m), 0.0);
        for_labels(round_.problem.train_labels, [&](std::ptrdiff_t, std::size_t c, std::size_t at) {
            result[c] += static_cast<double>(v[at]);
        });
        return result;
    }

    // products += ridge u . v
    void add_ridge(const std::vector<T>& u, const std::vector<T>& v,
                   std::vector<double>& products) const {
        if (!(round_.problem.ridge > 0)) return;
        std::vector<double> plain(products.size());
        dots(shape, u.data(), v.data(), plain.data());
        for (std::size_t c = 0; c < static_cast<std::size_t>(shape.m); ++c)
            products[c] += static_cast<double>(round_.problem.ridge) * plain[c];
    }

    bool open(std::size_t c) const {
        return !stopped_[c] && relative_residual(c) > round_.problem.tolerance;
    }

    double worst() const {
        double result = 0;
        for (std::size_t c = 0; c < squares_.size(); ++c)
            if (!stopped_[c]) result = std::max(result, relative_residual(c));
        return result;
    }

    // Until the recursion of every class says so, then the true residual; on from there as long as
    // that halves what is left.
    void solve() {
        for (int left = round_.problem.max_iterations; left > 0;) {
            const double before = worst();
            if (before <= round_.problem.tolerance) return;
            left -= iterate(left);
            evaluate();
            if (worst() > 0.5 * before) return;
        }
    }

    // At most so many steps; returns how many. A class with no positive curvature, which an
    // indefinite M can bring about, stops where it is.
    int iterate(int most) {
        const auto classes = static_cast<std::size_t>(shape.m);
        std::vector<double> product(classes), next(classes), curvature(classes);
        std::vector<T> step(classes, T(0)), factor(classes, T(0));
        const std::vector<T> ones(classes, T(1));
        std::fill_n(direction.begin(), shape.size(), T(0));
        step_and_precondition(step, product);  // of length 0
        for (int done = 0;; ++done) {
            combine(shape, factor.data(), ones.data(), scaled_.data(), direction.data(),
                    workspace.sums.data(), workspace.columns.data());
            if (done == most || worst() <= round_.problem.tolerance) return std::max(done, 1);
            round_.map.apply_to_summed(shape, direction.data(), workspace, image.data());
            std::copy_n(workspace.dots.begin(), classes, curvature.begin());
            add_ridge(direction, direction, curvature);
            for (std::size_t c = 0; c < classes; ++c) {
                step[c] = 0;
                if (!open(c)) continue;
                stopped_[c] = !(curvature[c] > 0 && product[c] > 0);
                if (stopped_[c]) continue;
                step[c] = static_cast<T>(product[c] / curvature[c]);
                ++iterations[c];
            }
            step_and_precondition(step, next);
            for (std::size_t c = 0; c < classes; ++c)
                factor[c] = product[c] > 0 ? static_cast<T>(next[c] / product[c]) : T(0);
            product = next;
        }
    }

    // A step along the direction, then scaled = P^-1 residual and its products with the residual:
    // u = residual / diag, then u - (W coarse W'u) / diag.
    void step_and_precondition(const std::vector<T>& step, std::vector<double>& product) {
        advance(shape, step.data(), direction.data(), image.data(), round_.mask.data(),
                round_.problem.ridge, round_.inverse_diagonal.data(), solution.data(),
                residual_.data(), scaled_.data(), workspace.sums.data(), workspace.columns.data(),
                squares_.data());
        round_.map.multiply_lines(shape, round_.problem.coarse.data, workspace);
        for (std::ptrdiff_t c = 0; c < shape.m; ++c)
            for (std::ptrdiff_t y = 0; y < shape.p; ++y)
                coarse_columns_[static_cast<std::size_t>(c * shape.pitch + y)] =
                    workspace.lines[static_cast<std::size_t>((shape.p + y) * shape.m + c)];
        subtract_coarse(shape, workspace.lines.data(), coarse_columns_.data(),
                        round_.inverse_diagonal.data(), residual_.data(), scaled_.data(),
                        product.data());
    }

    std::vector<T> residual_, scaled_, coarse_columns_;
    std::vector<double> target_norms_, squares_;
    std::vector<bool> stopped_;
};

}  // namespace grokrfm
