// Preconditioned conjugate gradients for a block of classes, from start to end on one thread, by
// the rule of ../common/conjugate_gradients.h.
#pragma once

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "../common/conjugate_gradients.h"
#include "grid_operator.h"
#include "interruption.h"

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
    std::size_t count(std::size_t c) const { return first[c + 1] - first[c]; }

    std::vector<Pair> all, of_class;
    std::vector<std::size_t> first;
};

// 1 at the labelled pairs of a grid.
template <class T>
std::vector<T> mask_of(Matrix<const std::int32_t> labels, std::ptrdiff_t pitch) {
    return make_grid<T>(labels.rows, pitch,
                        [&](auto x, auto y) { return labels.row(x)[y] >= 0 ? T(1) : T(0); });
}

// What every block of a round reads.
template <class T>
struct GridRound {
    GridRound(const GridProblem<T>& given, std::int32_t first, std::ptrdiff_t n_classes,
              const Targets<T>& others, int team)
        : problem(given),
          first_class(first),
          classes(n_classes),
          targets(others),
          train(given.train_labels, first, classes),
          test(given.test_labels, first, classes),
          map(given.feature_matrix, given.form, team),
          train_mask(mask_of<T>(given.train_labels, map.pitch)),
          test_mask(mask_of<T>(given.test_labels, map.pitch)),
          inverse(make_grid<T>(map.p, map.pitch, [&](auto x, auto y) {
              const auto at = static_cast<std::size_t>(x * map.pitch + y);
              return inverted_diagonal(train_mask[at], map.diagonal()[at], given.ridge);
          })) {}

    const GridProblem<T>& problem;
    const std::int32_t first_class;
    const std::ptrdiff_t classes;  // the first columns
    const Targets<T> targets;      // of the others
    const LabelledPairs train, test;
    const GridOperator<T> map;
    const std::vector<T> train_mask, test_mask;
    const std::vector<T> inverse;  // 1 / diag(K + ridge)
};

template <class T>
class GridSolver {
 public:
    GridSolver(const GridRound<T>& round, BlockShape widest, std::ptrdiff_t depth)
        : buffers(widest, round.map.team),
          gram_row(static_cast<std::size_t>(depth), 0.0),
          round_(round),
          coarse_columns_(buffers.columns) {
        for (auto* grid : {&solution, &outputs, &direction, &image, &residual_, &scaled_})
            *grid = zeros<T>(widest.size());
    }

    // Takes the columns of the round from `row` on, all of them classes or none. Leaves solution,
    // outputs and classes, and adds to gram_row.
    void run(BlockShape block, std::ptrdiff_t row, Solutions<T> solutions) {
        shape = block;
        row_ = row;
        tolerance_ = row < round_.classes ? round_.problem.tolerance : round_.targets.tolerance;
        classes.assign(static_cast<std::size_t>(shape.m), {});
        for (std::size_t c = 0; c < classes.size(); ++c)
            classes[c].target_norm = ConjugateGradients::norm_of_targets(
                target_squares(row + static_cast<std::ptrdiff_t>(c)));
        if (round_.problem.max_iterations == 0) {
            scatter(solutions, {1.0});
            evaluate();
            return;
        }
        start(solutions);
        solve();
        keep(solutions);
    }

    // Rough ones are off by some 1e-5, far less than the tolerance. A check of the residual is
    // exact.
    Products products() const {
        constexpr double loose = 1e-3;
        return tolerance_ >= loose ? Products::rough : Products::exact;
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

    BlockShape shape{};
    BlockBuffers<T> buffers;
    std::vector<T> solution, outputs, direction, image;  // the last two are free after run
    std::vector<ConjugateGradients> classes;
    std::vector<double> gram_row;  // of the newest solutions with the last ones, all classes so far

 private:
    // The predicted solution, scaled per class to the smallest error in the energy norm.
    void start(Solutions<T> solutions) {
        scatter(solutions, round_.problem.prediction);
        if (round_.problem.prediction.empty()) {
            std::fill_n(outputs.begin(), shape.size(), T(0));
            measure();
            return;
        }
        if (std::all_of(solution.begin(), solution.begin() + shape.size(),
                        [](T entry) { return entry == 0; })) {
            std::fill_n(outputs.begin(), shape.size(), T(0));
            measure();
            return;
        }
        round_.map.apply(shape, solution.data(), buffers, outputs.data(), products());
        const std::vector<double> energy = energies(solution), along = dot_targets(solution);
        std::vector<T> factor(classes.size());
        for (std::size_t c = 0; c < classes.size(); ++c)
            factor[c] = static_cast<T>(start_factor(along[c], energy[c]));
        for (auto* grid : {&solution, &outputs})
            loops<T>().scale_start(shape, factor.data(), grid->data());
        measure();
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

    // Pass by pass.
    void solve() {
        for (int left = round_.problem.max_iterations; left > 0;) {
            const double before = worst();
            if (before <= tolerance_) return;
            left -= iterate(left);
            const bool done = worst() <= tolerance_;
            if (done && recursion_serves()) return;
            evaluate();
            recursion_agrees_ = done && worst() <= tolerance_;
            if (is_last_pass(before, worst())) return;
        }
    }

    // A pass: at most so many steps, at least one; returns how many.
    int iterate(int most) {
        std::vector<T> step(classes.size(), T(0)), factor(classes.size());
        std::fill_n(direction.begin(), shape.size(), T(0));
        for (ConjugateGradients& one : classes) one.begin_pass();
        // Of length 0: scales the residual. The image is still that of other classes, and zero
        // times what is not finite is not zero.
        take_step(step, outputs);
        for (int done = 1;; ++done) {
            precondition(factor);
            loops<T>().turn(shape, factor.data(), scaled_.data(), direction.data(),
                            buffers.sums.data(), buffers.columns.data());
            round_.map.apply_to_summed(shape, direction.data(), buffers, image.data(), products());
            const std::vector<double> curvature = energies(direction);
            for (std::size_t c = 0; c < classes.size(); ++c)
                step[c] = static_cast<T>(classes[c].step_length(curvature[c], tolerance_));
            take_step(step, image);
            if (row_ < round_.classes && tolerance_allows_recursion())
                loops<T>().add_scaled_classes(shape, step.data(), image.data(), outputs.data());
            if (interrupted()) throw Interrupted{};
            if (done == most || worst() <= tolerance_) return done;
        }
    }

    // A step along the direction, whose image that is; scaled = residual / diag, with its line
    // sums.
    void take_step(const std::vector<T>& step, const std::vector<T>& image_of_direction) {
        std::vector<double> squares(classes.size());
        loops<T>().advance(shape, step.data(), direction.data(), image_of_direction.data(),
                           round_.train_mask.data(), round_.problem.ridge, round_.inverse.data(),
                           solution.data(), residual_.data(), scaled_.data(), buffers.sums.data(),
                           buffers.columns.data(), squares.data());
        set_squares(squares);
    }

    // scaled = P^-1 residual, from u = scaled: u - (W coarse W'u) / diag; then the share of the
    // last direction in the next one.
    void precondition(std::vector<T>& factor) {
        round_.map.multiply_lines(shape, round_.problem.coarse.data, buffers);
        for (std::ptrdiff_t c = 0; c < shape.m; ++c)
            for (std::ptrdiff_t y = 0; y < shape.p; ++y)
                coarse_columns_[static_cast<std::size_t>(c * shape.pitch + y)] =
                    buffers.lines[static_cast<std::size_t>((shape.p + y) * shape.m + c)];
        std::vector<double> product(classes.size());
        loops<T>().subtract_coarse(shape, buffers.lines.data(), coarse_columns_.data(),
                                   round_.inverse.data(), residual_.data(), scaled_.data(),
                                   product.data());
        for (std::size_t c = 0; c < classes.size(); ++c)
            factor[c] = static_cast<T>(classes[c].direction_factor(product[c]));
    }

    void evaluate() {
        round_.map.apply(shape, solution.data(), buffers, outputs.data(), Products::exact);
        measure();
    }

    // residual = y - (K + ridge) solution, from the outputs.
    void measure() {
        loops<T>().negate_image(shape, outputs.data(), solution.data(), round_.train_mask.data(),
                                round_.problem.ridge, residual_.data());
        for_targets([&](std::size_t, std::size_t at, T target) { residual_[at] += target; });
        set_squares(dots(residual_));
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
        if (row_ >= round_.classes) return;
        for (std::ptrdiff_t c = row_; c < row_ + shape.m; ++c)
            for (std::ptrdiff_t k = 0; k < solutions.depth; ++k)
                gram_row[static_cast<std::size_t>(k)] +=
                    loops<T>().precise_dot(solutions.of(c, 0), solutions.of(c, k), solutions.n);
    }

    double worst() const { return worst_residual(classes.data(), shape.m); }

    void set_squares(const std::vector<double>& squares) {
        for (std::size_t c = 0; c < classes.size(); ++c) classes[c].squares = squares[c];
    }

    // v . (K + ridge) v, of the grid that the operator was applied to last.
    std::vector<double> energies(const std::vector<T>& v) const {
        std::vector<double> result(buffers.dots.begin(), buffers.dots.begin() + shape.m);
        if (round_.problem.ridge > 0) {
            const std::vector<double> squares = dots(v);
            for (std::size_t c = 0; c < result.size(); ++c)
                result[c] += static_cast<double>(round_.problem.ridge) * squares[c];
        }
        return result;
    }

    std::vector<double> dots(const std::vector<T>& v) const {
        std::vector<double> result(classes.size());
        loops<T>().dots(shape, v.data(), v.data(), result.data());
        return result;
    }

    std::vector<double> dot_targets(const std::vector<T>& v) const {
        std::vector<double> result(classes.size(), 0.0);
        for_targets([&](std::size_t c, std::size_t at, T target) {
            result[c] += static_cast<double>(target) * static_cast<double>(v[at]);
        });
        return result;
    }

    // Whether the residual of the recursion does for the true one, and the outputs that were added
    // up step by step for those of the solution: of a target, whose outputs are not asked for, and
    // of classes once the recursion was right about a block of them.
    bool recursion_serves() const {
        return tolerance_allows_recursion() && (row_ >= round_.classes || recursion_agrees_);
    }

    // Far above rounding errors.
    bool tolerance_allows_recursion() const {
        return tolerance_ >= 1000 * static_cast<double>(std::numeric_limits<T>::epsilon());
    }

    double target_squares(std::ptrdiff_t column) const {
        if (column < round_.classes)
            return static_cast<double>(round_.train.count(static_cast<std::size_t>(column)));
        const T* target = round_.targets.rows.row(column - round_.classes);
        return loops<T>().precise_dot(target, target, round_.targets.rows.columns);
    }

    // Calls body(c, position in a block, entry) for the entries of the right-hand sides; those of
    // classes are 1 or left out.
    template <class Body>
    void for_targets(const Body& body) const {
        if (row_ < round_.classes)
            for_labels(round_.train,
                       [&](std::ptrdiff_t, std::size_t c, std::size_t at) { body(c, at, T(1)); });
        else
            for (std::ptrdiff_t c = 0; c < shape.m; ++c) {
                const T* target = round_.targets.rows.row(row_ + c - round_.classes);
                for_training([&](std::ptrdiff_t i, std::ptrdiff_t at) {
                    body(static_cast<std::size_t>(c),
                         static_cast<std::size_t>(at + c * shape.pitch), target[i]);
                });
            }
    }

    // Calls body(i, position of class 0 in a block) for the training pairs in row-major order.
    template <class Body>
    void for_training(const Body& body) const {
        std::ptrdiff_t i = 0;
        for (const auto [x, y] : round_.train.all) body(i++, x * shape.m * shape.pitch + y);
    }

    const GridRound<T>& round_;
    std::vector<T> residual_, scaled_, coarse_columns_;
    std::vector<T> start_;  // of one class, the training pairs in row-major order
    std::ptrdiff_t row_ = 0;
    double tolerance_ = 0;
    bool recursion_agrees_ = false;  // of the last block of classes that was evaluated
};

}  // namespace grokrfm
