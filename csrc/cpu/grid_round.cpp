#include "../grid_round.h"

#include <atomic>
#include <limits>
#include <optional>
#include <utility>

#include "grid_solver.h"
#include "parallel.h"

namespace grokrfm {

namespace {

// One thread's share of a round: its blocks are solved, scored and added to the moments.
template <class T>
class ThreadShare {
 public:
    ThreadShare(const GridRound<T>& round, BlockShape widest, std::ptrdiff_t depth)
        : round_(round),
          p_(widest.p),
          pitch_(widest.pitch),
          solver_(round, widest, depth),
          q11_(block_of_q(0, 0)),
          q12_(block_of_q(0, p_)),
          q_right_(
              side_by_side(make_grid<T>(p_, pitch_, [&](auto x, auto y) { return q()(y, p_ + x); }),
                           block_of_q(p_, p_), pitch_),
              p_) {
        for (auto* grid : {&s11_, &s12_, &s22_}) *grid = zeros<T>(p_ * pitch_);
        line_products_ = zeros<T>(4 * p_ * p_);
        sums_.zqz = zeros<T>(4 * p_ * p_);
        sums_.tz = zeros<T>(4 * p_ * p_);
        sums_.best.assign(static_cast<std::size_t>(p_ * p_), -std::numeric_limits<T>::infinity());
        sums_.best_class.assign(static_cast<std::size_t>(p_ * p_), round.first_class);
    }

    // Takes m columns of the round from `row` on.
    void run(std::ptrdiff_t m, std::ptrdiff_t row, Solutions<T> solutions, Matrix<T> own,
             std::int32_t* iterations, double* residuals) {
        solver_.run({p_, pitch_, m}, row, solutions);
        for (std::ptrdiff_t c = 0; c < m; ++c) {
            const ConjugateGradients& solved = solver_.classes[static_cast<std::size_t>(c)];
            iterations[c] = solved.iterations;
            residuals[c] = solved.relative_residual();
        }
        if (row >= round_.classes) return;
        add_scores(own, round_.first_class + static_cast<std::int32_t>(row));
        add_moments();
    }

    // The sums over all blocks so far.
    GridSums<T>& finish() {
        const auto zqz = [&](std::ptrdiff_t i, std::ptrdiff_t j) -> T& {
            return sums_.zqz[static_cast<std::size_t>(i * 2 * p_ + j)];
        };
        const auto lines = [&](std::ptrdiff_t i, std::ptrdiff_t j) {
            return line_products_[static_cast<std::size_t>(i * 2 * p_ + j)] * q()(i, j);
        };
        for (std::ptrdiff_t i = 0; i < p_; ++i)
            for (std::ptrdiff_t j = 0; j < p_; ++j) {
                const auto ij = static_cast<std::size_t>(i * pitch_ + j);
                const auto ji = static_cast<std::size_t>(j * pitch_ + i);
                zqz(i, j) = T(0.5) * (s11_[ij] + s11_[ji]) + lines(i, j);
                zqz(p_ + i, p_ + j) = T(0.5) * (s22_[ij] + s22_[ji]) + lines(p_ + i, p_ + j);
                zqz(i, p_ + j) = zqz(p_ + j, i) = s12_[ij] + lines(i, p_ + j);
            }
        sums_.products = solver_.gram_row;
        return sums_;
    }

 private:
    auto q() const {
        return
            [this](std::ptrdiff_t i, std::ptrdiff_t j) { return round_.problem.moment.row(i)[j]; };
    }
    std::vector<T> block_of_q(std::ptrdiff_t i, std::ptrdiff_t j) const {
        return make_grid<T>(p_, pitch_, [&](auto x, auto y) { return q()(i + x, j + y); });
    }

    // Largest output and its class, the own outputs, the squares on training and test pairs.
    void add_scores(Matrix<T> own, std::int32_t first_class) {
        const std::vector<T>& f = solver_.outputs;
        loops<T>().keep_best(solver_.shape, f.data(), first_class, sums_.best.data(),
                             sums_.best_class.data());
        std::vector<double> squares(static_cast<std::size_t>(solver_.shape.m));
        const auto total = [&](const std::vector<T>& mask) {
            loops<T>().weighted_squares(solver_.shape, f.data(), mask.data(), squares.data());
            double sum = 0;
            for (const double square : squares) sum += square;
            return sum;
        };
        sums_.train_squares += total(round_.train_mask);
        sums_.test_squares += total(round_.test_mask);
        const auto keep_own = [&](std::ptrdiff_t pair, std::size_t, std::size_t at) {
            own.data[pair] = f[at];
        };
        solver_.for_labels(round_.train, keep_own);
        solver_.for_labels(round_.test, keep_own);
    }

    // Z Q Z block by block. With H = Q11 V, X = V Q22 and Y = V Q12':
    //   11: sym(sum (X + 2 r o Q12) V'), 22: sym(sum V'(H + 2 Q12 o s)),
    //   12: sum Y V + r o H + X o s, and in all blocks (sum [r; s][r; s]') o Q.
    void add_moments() {
        const BlockShape shape = solver_.shape;
        const std::ptrdiff_t m = shape.m, width = m * pitch_;
        auto& buffers = solver_.buffers;
        const T* v = solver_.solution.data();
        T *products = buffers.right_products.data(), *h = solver_.image.data();
        T* left = solver_.direction.data();
        loops<T>().line_sums(shape, v, buffers.sums.data(), buffers.columns.data());
        const auto& map = round_.map;
        const Products kind = solver_.products();
        map.multiply_right(shape, v, q_right_, products, kind, buffers);
        const Factor<T> q11{q11_.data(), pitch_, 1};
        map.multiply({p_, p_, width, q11, {v, width, 1}, h, width, false}, kind, buffers);
        for (std::ptrdiff_t c = 0; c < m; ++c) {
            const Factor<T> y{products + c * 2 * pitch_, m * 2 * pitch_, 1};
            const Factor<T> of_class{v + c * pitch_, width, 1};
            map.multiply({p_, p_, pitch_, y, of_class, s12_.data(), pitch_, true}, kind, buffers);
        }
        loops<T>().combine_moments(shape, products, buffers.sums.data(), buffers.columns.data(),
                                   q12_.data(), h, left, s12_.data());
        // s11[x, x'] += sum_{c, y} left[x, c, y] V[x', c, y]; s22 += V'h over (x, c)
        const Factor<T> left_rows{left, width, 1}, v_transposed{v, 1, width};
        map.multiply({p_, width, p_, left_rows, v_transposed, s11_.data(), pitch_, true}, kind,
                     buffers);
        const Factor<T> by_column{v, 1, pitch_}, h_rows{h, pitch_, 1};
        map.multiply({p_, shape.rows(), pitch_, by_column, h_rows, s22_.data(), pitch_, true}, kind,
                     buffers);
        add_line_products(shape);
        if (round_.map.uses_norms()) add_norm_moments(shape);
    }

    // sum_c [r; s][r; s]'
    void add_line_products(BlockShape shape) {
        auto& buffers = solver_.buffers;
        std::copy_n(buffers.sums.begin(), shape.rows(), buffers.lines.begin());
        for (std::ptrdiff_t c = 0; c < shape.m; ++c)
            for (std::ptrdiff_t y = 0; y < p_; ++y)
                buffers.lines[static_cast<std::size_t>((p_ + y) * shape.m + c)] =
                    buffers.columns[static_cast<std::size_t>(c * pitch_ + y)];
        blas::gemm<T>('T', 'N', 2 * p_, 2 * p_, shape.m, T(1), buffers.lines.data(), shape.m,
                      buffers.lines.data(), shape.m, T(1), line_products_.data(), 2 * p_);
    }

    // sum t Z and sum t^2
    void add_norm_moments(BlockShape shape) {
        auto& buffers = solver_.buffers;
        round_.map.sum_norms(shape, solver_.solution.data(), buffers);
        const auto tz = [&](std::ptrdiff_t i, std::ptrdiff_t j) -> T& {
            return sums_.tz[static_cast<std::size_t>(i * 2 * p_ + j)];
        };
        for (std::ptrdiff_t c = 0; c < shape.m; ++c) {
            const double t = buffers.norm_sums[static_cast<std::size_t>(c)];
            sums_.t_squared += t * t;
            for (std::ptrdiff_t i = 0; i < 2 * p_; ++i)
                tz(i, i) +=
                    static_cast<T>(t) * buffers.lines[static_cast<std::size_t>(i * shape.m + c)];
            for (std::ptrdiff_t x = 0; x < p_; ++x) {
                const T* v = solver_.solution.data() + (x * shape.m + c) * pitch_;
                for (std::ptrdiff_t y = 0; y < p_; ++y) {
                    tz(x, p_ + y) += static_cast<T>(t) * v[y];
                    tz(p_ + y, x) += static_cast<T>(t) * v[y];
                }
            }
        }
    }

    const GridRound<T>& round_;
    std::ptrdiff_t p_, pitch_;
    GridSolver<T> solver_;
    std::vector<T> q11_, q12_;  // blocks of Q
    RightFactor<T> q_right_;    // [Q12' | Q22]
    std::vector<T> s11_, s12_, s22_, line_products_;
    GridSums<T> sums_;
};

constexpr std::ptrdiff_t in_flight = std::ptrdiff_t(4) << 30;  // bytes of the columns side by side

// Columns in blocks. About ten grids a column are worked on at a time; a block's are kept to 2 MB,
// about a core's cache. Every thread gets as many blocks as the others, of sizes that differ by one
// at most.
struct Division {
    Division(std::ptrdiff_t first_column, std::ptrdiff_t columns, int threads,
             std::ptrdiff_t grid_bytes)
        : first(first_column), count(columns) {
        const std::ptrdiff_t share = std::max<std::ptrdiff_t>(block_count(count, threads), 1);
        const std::ptrdiff_t width =
            std::clamp<std::ptrdiff_t>((1 << 21) / (10 * grid_bytes), 1, share);
        blocks = std::min(block_count(share, width) * threads, count);
    }
    std::ptrdiff_t widest() const { return count > 0 ? block_count(count, blocks) : 0; }
    // The first column and the number of columns.
    std::pair<std::ptrdiff_t, std::ptrdiff_t> block(std::ptrdiff_t b) const {
        const std::ptrdiff_t begin = b * count / blocks;
        return {first + begin, (b + 1) * count / blocks - begin};
    }

    std::ptrdiff_t first, count, blocks;
};

template <class T>
void merge(const GridSums<T>& from, GridSums<T>& to) {
    for (std::size_t k = 0; k < to.zqz.size(); ++k) {
        to.zqz[k] += from.zqz[k];
        to.tz[k] += from.tz[k];
    }
    to.t_squared += from.t_squared;
    to.train_squares += from.train_squares;
    for (std::size_t k = 0; k < to.products.size(); ++k) to.products[k] += from.products[k];
    to.test_squares += from.test_squares;
    for (std::size_t k = 0; k < to.best.size(); ++k) {
        const bool tie = from.best[k] == to.best[k] && from.best_class[k] < to.best_class[k];
        if (from.best[k] > to.best[k] || tie) {
            to.best[k] = from.best[k];
            to.best_class[k] = from.best_class[k];
        }
    }
}

}  // namespace

template <class T>
GridSums<T> grid_round(const GridProblem<T>& problem, std::int32_t first_class,
                       const Targets<T>& targets, Solutions<T> solutions, Matrix<T> own,
                       std::int32_t* iterations, double* residuals, int threads) {
    const std::ptrdiff_t columns = solutions.columns, classes = columns - targets.rows.rows;
    check_extents(problem.feature_matrix.rows, columns);
    const std::ptrdiff_t p = problem.train_labels.rows, pitch = block_count(p, lanes) * lanes;
    const std::ptrdiff_t grid_bytes = p * pitch * static_cast<std::ptrdiff_t>(sizeof(T));
    // Columns side by side, as many as threads or as fit. Threads that are left share the products,
    // if these are so large that starting a thread for each is nothing.
    const std::ptrdiff_t side_by_side =
        std::min(columns, std::max<std::ptrdiff_t>(in_flight / (26 * grid_bytes), 1));
    const int team =
        p < 500 ? 1 : static_cast<int>(std::max<std::ptrdiff_t>(threads / side_by_side, 1));
    threads = static_cast<int>(std::clamp<std::ptrdiff_t>(threads, 1, side_by_side));
    const GridRound<T> round(problem, first_class, classes, targets, team);
    const Division of_classes(0, classes, threads, grid_bytes);
    const Division of_targets(classes, targets.rows.rows, threads, grid_bytes);
    const BlockShape widest{p, pitch, std::max(of_classes.widest(), of_targets.widest())};
    // Each thread makes its own, so that their memory is touched in parallel. The same classes are
    // always one share, so that the sums are the same. Of targets there is nothing to sum: whoever
    // is free takes the next.
    std::vector<std::optional<ThreadShare<T>>> shares(static_cast<std::size_t>(threads));
    std::atomic<std::ptrdiff_t> next{0};
    parallel_for(threads, threads, [&](std::ptrdiff_t share, int) {
        auto& mine =
            shares[static_cast<std::size_t>(share)].emplace(round, widest, solutions.depth);
        const auto take = [&](std::pair<std::ptrdiff_t, std::ptrdiff_t> block) {
            const auto [row, m] = block;
            mine.run(m, row, solutions, own, iterations + row, residuals + row);
        };
        for (std::ptrdiff_t b = share; b < of_classes.blocks; b += threads)
            take(of_classes.block(b));
        for (std::ptrdiff_t b = next++; b < of_targets.blocks; b = next++)
            take(of_targets.block(b));
    });
    GridSums<T>& total = shares[0]->finish();
    for (std::size_t k = 1; k < shares.size(); ++k) merge(shares[k]->finish(), total);
    return std::move(total);
}

template GridSums<float> grid_round(const GridProblem<float>&, std::int32_t, const Targets<float>&,
                                    Solutions<float>, Matrix<float>, std::int32_t*, double*, int);
template GridSums<double> grid_round(const GridProblem<double>&, std::int32_t,
                                     const Targets<double>&, Solutions<double>, Matrix<double>,
                                     std::int32_t*, double*, int);

}  // namespace grokrfm
