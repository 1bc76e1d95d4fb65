// Preconditioned conjugate gradients for a block of classes, from start to end on one thread.
#pragma once

#include <cmath>
#include <numeric>
#include <vector>

#include "grid_operator.h"

namespace grokrfm {

// The labelled pairs of a grid, in row-major order and class by class: those of class c are
// of_class[first[c]] up to of_class[first[c + 1]].
struct LabelledPairs {
    struct Pair {
        std::ptrdiff_t x, y;
    };
    LabelledPairs(Matrix<const std::int32_t> labels, std::int32_t first_class,
                  std::ptrdiff_t classes)
        : first(static_cast<std::size_t>(classes) + 1, 0) {
        const auto row = [&](const Pair& pair) { return labels.row(pair.x)[pair.y] - first_class; };
        const auto is_here = [&](const Pair& pair) {
            return row(pair) >= 0 && row(pair) < classes;
        };
        for (std::ptrdiff_t x = 0; x < labels.rows; ++x)
            for (std::ptrdiff_t y = 0; y < labels.columns; ++y)
                if (labels.row(x)[y] >= 0) all.push_back({x, y});
        for (const Pair& pair : all)
            if (is_here(pair)) ++first[static_cast<std::size_t>(row(pair)) + 1];
        std::partial_sum(first.begin(), first.end(), first.begin());
        of_class.resize(first.back());
        std::vector<std::size_t> next(first);
        for (const Pair& pair : all)
            if (is_here(pair)) of_class[next[static_cast<std::size_t>(row(pair))]++] = pair;
    }
    std::vector<Pair> all, of_class;
    std::vector<std::size_t> first;
};

// What every block of a round reads.
template <class T>
struct GridRound {
    GridRound(const GridProblem<T>& given, std::int32_t first, std::ptrdiff_t classes)
        : problem(given),
          first_class(first),
          train(given.train_labels, first, classes),
          test(given.test_labels, first, classes),
          map(given.feature_matrix, given.form),
          mask(indicator(given.train_labels)),
          test_mask(indicator(given.test_labels)),
          inverse_diagonal(make_grid<T>(map.p, map.pitch, [&](auto x, auto y) {
              const auto at = static_cast<std::size_t>(x * map.pitch + y);
              const T diagonal = map.diagonal[at] + given.ridge;
              return mask[at] > 0 && diagonal > 0 ? 1 / diagonal : T(0);
          })) {}

    const GridProblem<T>& problem;
    const std::int32_t first_class;
    const LabelledPairs train, test;
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
    GridSolver(const GridRound<T>& round, BlockShape widest, std::ptrdiff_t depth)
        : round_(round),
          workspace(widest),
          products(static_cast<std::size_t>(depth), 0.0),
          coarse_columns_(workspace.columns) {
        for (auto* grid : {&solution, &outputs, &residual_, &direction, &image, &scaled_})
            *grid = zeros<T>(widest.size());
    }

    // Takes the classes of the round from `row` on, which are rows of the solutions. Leaves
    // solution and outputs, and the products of the solutions in `products`.
    void run(BlockShape block, std::ptrdiff_t row, Solutions<T> solutions) {
        shape = block;
        row_ = row;
        const auto classes = static_cast<std::size_t>(shape.m);
        target_norms_.assign(classes, 1.0);
        for (std::size_t c = 0; c < classes; ++c) {
            const auto at = static_cast<std::size_t>(row) + c;
            const std::size_t count = round_.train.first[at + 1] - round_.train.first[at];
            if (count > 0) target_norms_[c] = std::sqrt(static_cast<double>(count));
        }
        squares_.assign(classes, 0.0);
        iterations.assign(classes, 0);
        stopped_.assign(classes, false);
        if (round_.problem.max_iterations == 0) {
            scatter(solutions, {1.0});
            evaluate();
            return;
        }
        start(solutions);
        solve();
        keep(solutions);
    }

    // ||y - (K + ridge) alpha|| / ||y||; absolute for a class without training pairs.
    double relative_residual(std::size_t c) const {
        return std::sqrt(squares_[c]) / target_norms_[c];
    }

    // Calls body(pair, c, position in a block) for the pairs whose label is in the block.
    template <class Body>
    void for_labels(const LabelledPairs& labelled, const Body& body) const {
        for (std::ptrdiff_t c = 0; c < shape.m; ++c)
            for (std::size_t i = labelled.first[static_cast<std::size_t>(row_ + c)];
                 i < labelled.first[static_cast<std::size_t>(row_ + c) + 1]; ++i) {
                const auto [x, y] = labelled.of_class[i];
                body(x * shape.p + y, static_cast<std::size_t>(c),
                     static_cast<std::size_t>((x * shape.m + c) * shape.pitch + y));
            }
    }

 private:
    const GridRound<T>& round_;

 public:
    BlockShape shape{};
    typename GridOperator<T>::Workspace workspace;
    std::vector<T> solution, outputs, direction, image;  // the last two are free after run
    std::vector<std::int32_t> iterations;
    std::vector<double> products;  // of the newest solution with the last ones, over all runs

 private:
    // Calls body(i, position of class 0 in a block) for the training pairs in row-major order.
    template <class Body>
    void for_training(const Body& body) const {
        std::ptrdiff_t i = 0;
        for (const auto [x, y] : round_.train.all) body(i++, x * shape.m * shape.pitch + y);
    }

    // solution = the combination of the last solutions with these weights, newest first
    void scatter(Solutions<T> solutions, const std::vector<double>& weights) {
        std::fill_n(solution.begin(), shape.size(), T(0));
        if (weights.empty()) return;
        start_.resize(static_cast<std::size_t>(solutions.n));
        for (std::ptrdiff_t c = 0; c < shape.m; ++c) {
            loops<T>().combine_rows(solutions.of(row_ + c, 0),
                                    static_cast<std::ptrdiff_t>(weights.size()), solutions.n,
                                    weights.data(), start_.data());
            for_training([&](std::ptrdiff_t i, std::ptrdiff_t at) {
                solution[static_cast<std::size_t>(at + c * shape.pitch)] =
                    start_[static_cast<std::size_t>(i)];
            });
        }
    }

    // Puts the solution in front of the last ones.
    void keep(Solutions<T> solutions) {
        for (std::ptrdiff_t c = row_; c < row_ + shape.m; ++c)
            std::copy_backward(solutions.of(c, 0), solutions.of(c, solutions.depth - 1),
                               solutions.of(c, solutions.depth));
        for_training([&](std::ptrdiff_t i, std::ptrdiff_t at) {
            for (std::ptrdiff_t c = 0; c < shape.m; ++c)
                solutions.of(row_ + c, 0)[i] =
                    solution[static_cast<std::size_t>(at + c * shape.pitch)];
        });
        for (std::ptrdiff_t c = row_; c < row_ + shape.m; ++c)
            for (std::ptrdiff_t k = 0; k < solutions.depth; ++k)
                products[static_cast<std::size_t>(k)] +=
                    loops<T>().precise_dot(solutions.of(c, 0), solutions.of(c, k), solutions.n);
    }

    void evaluate() {
        round_.map.apply(shape, solution.data(), workspace, outputs.data());
        measure();
    }

    // residual = y - (K + ridge) solution, from the outputs.
    void measure() {
        loops<T>().negate_image(shape, outputs.data(), solution.data(), round_.mask.data(),
                                round_.problem.ridge, residual_.data());
        for_labels(round_.train,
                   [&](std::ptrdiff_t, std::size_t, std::size_t at) { residual_[at] += 1; });
        loops<T>().dots(shape, residual_.data(), residual_.data(), squares_.data());
    }

    // The predicted solution, scaled per class to the smallest error in the energy norm.
    void start(Solutions<T> solutions) {
        scatter(solutions, round_.problem.prediction);
        if (round_.problem.prediction.empty()) {
            std::fill_n(outputs.begin(), shape.size(), T(0));
            measure();
            return;
        }
        round_.map.apply(shape, solution.data(), workspace, outputs.data());
        std::vector<double> energy = workspace.dots;
        add_ridge(solution, solution, energy);
        const std::vector<double> along = dot_targets(solution);
        const auto classes = static_cast<std::size_t>(shape.m);
        std::vector<T> factor(classes, T(0)), none(classes, T(0));
        for (std::size_t c = 0; c < classes; ++c)
            if (energy[c] > 0) factor[c] = static_cast<T>(along[c] / energy[c]);
        for (auto* grid : {&solution, &outputs})
            loops<T>().combine(shape, factor.data(), none.data(), direction.data(), grid->data(),
                               workspace.sums.data(), workspace.columns.data());
        measure();
    }

    std::vector<double> dot_targets(const std::vector<T>& v) const {
        std::vector<double> result(static_cast<std::size_t>(shape.m), 0.0);
        for_labels(round_.train, [&](std::ptrdiff_t, std::size_t c, std::size_t at) {
            result[c] += static_cast<double>(v[at]);
        });
        return result;
    }

    // products += ridge u . v
    void add_ridge(const std::vector<T>& u, const std::vector<T>& v,
                   std::vector<double>& products) const {
        if (!(round_.problem.ridge > 0)) return;
        std::vector<double> plain(products.size());
        loops<T>().dots(shape, u.data(), v.data(), plain.data());
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

    // At most so many steps, at least one; returns how many. A class with no positive curvature,
    // which an indefinite M can bring about, stops where it is.
    int iterate(int most) {
        const auto classes = static_cast<std::size_t>(shape.m);
        std::vector<double> product(classes), next(classes), curvature(classes);
        std::vector<T> step(classes, T(0)), factor(classes, T(0));
        const std::vector<T> ones(classes, T(1));
        std::fill_n(direction.begin(), shape.size(), T(0));
        take_step(step);  // of length 0: scales the residual
        precondition(product);
        for (int done = 1;; ++done) {
            loops<T>().combine(shape, factor.data(), ones.data(), scaled_.data(), direction.data(),
                               workspace.sums.data(), workspace.columns.data());
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
            take_step(step);
            if (done == most || worst() <= round_.problem.tolerance) return done;
            precondition(next);
            for (std::size_t c = 0; c < classes; ++c)
                factor[c] = product[c] > 0 ? static_cast<T>(next[c] / product[c]) : T(0);
            product = next;
        }
    }

    // A step along the direction; scaled = residual / diag, with its line sums.
    void take_step(const std::vector<T>& step) {
        loops<T>().advance(shape, step.data(), direction.data(), image.data(), round_.mask.data(),
                           round_.problem.ridge, round_.inverse_diagonal.data(), solution.data(),
                           residual_.data(), scaled_.data(), workspace.sums.data(),
                           workspace.columns.data(), squares_.data());
    }

    // scaled = P^-1 residual, from u = scaled: u - (W coarse W'u) / diag; its products with the
    // residual.
    void precondition(std::vector<double>& product) {
        round_.map.multiply_lines(shape, round_.problem.coarse.data, workspace);
        for (std::ptrdiff_t c = 0; c < shape.m; ++c)
            for (std::ptrdiff_t y = 0; y < shape.p; ++y)
                coarse_columns_[static_cast<std::size_t>(c * shape.pitch + y)] =
                    workspace.lines[static_cast<std::size_t>((shape.p + y) * shape.m + c)];
        loops<T>().subtract_coarse(shape, workspace.lines.data(), coarse_columns_.data(),
                                   round_.inverse_diagonal.data(), residual_.data(), scaled_.data(),
                                   product.data());
    }

    std::vector<T> residual_, scaled_, coarse_columns_;
    std::vector<double> target_norms_, squares_;
    std::vector<bool> stopped_;
    std::vector<T> start_;
    std::ptrdiff_t row_ = 0;
};

}  // namespace grokrfm
