#include "../grid_round.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "grid_operator.h"
#include "parallel.h"

namespace grokrfm {

namespace {

// Loops over a block V[x, c, y]; `grid` arrays are p x p and shared by all classes.

template <class T>
GROKRFM_CLONES T dot_row(const T* __restrict u, const T* __restrict v, std::ptrdiff_t size) {
    T parts[16] = {};
    std::ptrdiff_t y = 0;
    for (; y + 16 <= size; y += 16)
        for (int k = 0; k < 16; ++k) parts[k] += u[y + k] * v[y + k];
    T sum = 0;
    for (; y < size; ++y) sum += u[y] * v[y];
    for (int k = 0; k < 16; ++k) sum += parts[k];
    return sum;
}

// Rows in single precision, their sums in double.
template <class T>
void dots(const T* u, const T* v, std::ptrdiff_t p, std::ptrdiff_t m, double* result) {
    std::fill(result, result + m, 0.0);
    for (std::ptrdiff_t xc = 0; xc < p * m; ++xc)
        result[xc % m] += dot_row(u + xc * p, v + xc * p, p);
}

// solution += step direction, residual -= step (mask image + ridge direction)
template <class T>
GROKRFM_CLONES void advance_row(T step, const T* __restrict direction, const T* __restrict image,
                                const T* __restrict mask, T ridge, std::ptrdiff_t size,
                                T* __restrict solution, T* __restrict residual) {
    for (std::ptrdiff_t y = 0; y < size; ++y) {
        solution[y] += step * direction[y];
        residual[y] -= step * (mask[y] * image[y] + ridge * direction[y]);
    }
}

template <class T>
GROKRFM_CLONES void multiply_row(const T* __restrict u, const T* __restrict grid,
                                 std::ptrdiff_t size, T* __restrict out) {
    for (std::ptrdiff_t y = 0; y < size; ++y) out[y] = u[y] * grid[y];
}

// out = out - (row + columns) grid
template <class T>
GROKRFM_CLONES void subtract_coarse_row(T row, const T* __restrict columns,
                                        const T* __restrict grid, std::ptrdiff_t size,
                                        T* __restrict out) {
    for (std::ptrdiff_t y = 0; y < size; ++y) out[y] -= (row + columns[y]) * grid[y];
}

// out = add + factor out
template <class T>
GROKRFM_CLONES void scale_and_add_row(T factor, const T* __restrict add, std::ptrdiff_t size,
                                      T* __restrict out) {
    for (std::ptrdiff_t y = 0; y < size; ++y) out[y] = add[y] + factor * out[y];
}

// What every block of a round reads.
template <class T>
struct Shared {
    explicit Shared(const GridProblem<T>& given)
        : problem(given),
          map(given.feature_matrix, given.form),
          mask(zeros<T>(map.p * map.p)),
          inverse_diagonal(zeros<T>(map.p * map.p)) {
        const std::vector<T> diagonal = map.diagonal(static_cast<T>(given.form.shift));
        for (std::size_t k = 0; k < mask.size(); ++k) {
            if (given.train_labels.data[k] < 0) continue;
            mask[k] = 1;
            inverse_diagonal[k] = 1 / (diagonal[k] + given.ridge);
            positions.push_back(static_cast<std::ptrdiff_t>(k));
        }
        const std::ptrdiff_t p = map.p;
        for (std::ptrdiff_t x = 0; x < p; ++x) {
            const T* q = given.moment.row(x);
            q11.insert(q11.end(), q, q + p);
            q12.insert(q12.end(), q + p, q + 2 * p);
            for (std::ptrdiff_t y = 0; y < p; ++y) q_right.push_back(given.moment.row(y)[p + x]);
            const T* q22 = given.moment.row(p + x) + p;
            q_right.insert(q_right.end(), q22, q22 + p);
        }
    }
    const GridProblem<T>& problem;
    GridOperator<T> map;
    std::vector<T> mask, inverse_diagonal;
    std::vector<std::ptrdiff_t> positions;   // of the training pairs on the grid
    std::vector<T> q11, q12, q_right;        // Q's blocks; q_right = [Q12' | Q22]
};

// A block of m classes: its grids, its solve and its share of the sums.
template <class T>
class Block {
   public:
    Block(const Shared<T>& shared, std::ptrdiff_t width)
        : shared_(shared),
          p_(shared.map.p),
          width_(width),
          operator_workspace_(p_, width),
          coarse_(zeros<T>(2 * p_ * width)) {
        for (auto* grid : {&solution_, &residual_, &direction_, &image_, &correction_, &outputs_})
            *grid = zeros<T>(p_ * p_ * width);
        sums_.zqz = zeros<T>(4 * p_ * p_);
        sums_.tz = zeros<T>(4 * p_ * p_);
        sums_.best.assign(shared.mask.size(), -std::numeric_limits<T>::infinity());
        sums_.best_class.assign(shared.mask.size(), 0);
        s11_ = s12_ = s22_ = zeros<T>(p_ * p_);
        line_products_ = zeros<T>(4 * p_ * p_);
    }

    // Takes classes first ... first + m - 1, which are rows [row, row + m) of dual and previous.
    void run(std::int32_t first, std::ptrdiff_t row, std::ptrdiff_t m, Matrix<T> dual,
             Matrix<T> previous, Matrix<T> own, std::int32_t* iterations, double* residuals) {
        m_ = m;
        first_ = first;
        const GridProblem<T>& problem = shared_.problem;
        target_norms();
        if (problem.max_iterations == 0) {
            scatter(dual, row, solution_);
            evaluate();
            measure();
        } else {
            start(dual, previous, row);
            solve();
            gather_row_blocks(dual, previous, row);
        }
        for (std::ptrdiff_t c = 0; c < m; ++c) {
            iterations[c] = iterations_[static_cast<std::size_t>(c)];
            residuals[c] = relative_residual(c);
        }
        add_scores(own);
        add_moments();
    }

    // The sums of all blocks so far.
    GridSums<T>& finish() {
        const std::ptrdiff_t p = p_;
        const Matrix<const T>& q = shared_.problem.moment;
        for (std::ptrdiff_t i = 0; i < p; ++i)
            for (std::ptrdiff_t j = 0; j < p; ++j) {
                const auto ij = static_cast<std::size_t>(i * p + j);
                const auto ji = static_cast<std::size_t>(j * p + i);
                const auto at = [&](std::ptrdiff_t row, std::ptrdiff_t column) -> T& {
                    return sums_.zqz[static_cast<std::size_t>(row * 2 * p + column)];
                };
                const auto lines = [&](std::ptrdiff_t row, std::ptrdiff_t column) {
                    return line_products_[static_cast<std::size_t>(row * 2 * p + column)] *
                           q.row(row)[column];
                };
                at(i, j) = T(0.5) * (s11_[ij] + s11_[ji]) + lines(i, j);
                at(p + i, p + j) = T(0.5) * (s22_[ij] + s22_[ji]) + lines(p + i, p + j);
                at(i, p + j) = at(p + j, i) = s12_[ij] + lines(i, p + j);
            }
        return sums_;
    }

   private:
    T* row_of(std::vector<T>& grid, std::ptrdiff_t xc) const { return grid.data() + xc * p_; }

    // Calls body(x, c, xc) for every row of the block.
    template <class Body>
    void for_rows(const Body& body) const {
        for (std::ptrdiff_t x = 0; x < p_; ++x)
            for (std::ptrdiff_t c = 0; c < m_; ++c) body(x, c, x * m_ + c);
    }

    void scatter(Matrix<const T> compact, std::ptrdiff_t row, std::vector<T>& grid) const {
        std::fill(grid.begin(), grid.begin() + p_ * p_ * m_, T(0));
        for (std::ptrdiff_t c = 0; c < m_; ++c)
            for (std::size_t i = 0; i < shared_.positions.size(); ++i) {
                const std::ptrdiff_t x = shared_.positions[i] / p_, y = shared_.positions[i] % p_;
                grid[static_cast<std::size_t>((x * m_ + c) * p_ + y)] =
                    compact.row(row + c)[i];
            }
    }
    void scatter(Matrix<T> compact, std::ptrdiff_t row, std::vector<T>& grid) const {
        scatter(Matrix<const T>{compact.data, compact.rows, compact.columns}, row, grid);
    }

    // previous <- dual, dual <- solution
    void gather_row_blocks(Matrix<T> dual, Matrix<T> previous, std::ptrdiff_t row) {
        for (std::ptrdiff_t c = 0; c < m_; ++c) {
            std::copy_n(dual.row(row + c), dual.columns, previous.row(row + c));
            for (std::size_t i = 0; i < shared_.positions.size(); ++i) {
                const std::ptrdiff_t x = shared_.positions[i] / p_, y = shared_.positions[i] % p_;
                dual.row(row + c)[i] =
                    solution_[static_cast<std::size_t>((x * m_ + c) * p_ + y)];
            }
        }
    }

    // Whether the pair is a training pair of class first_ + c.
    T target(std::ptrdiff_t pair, std::ptrdiff_t c) const {
        return shared_.problem.train_labels.data[pair] == first_ + c ? T(1) : T(0);
    }

    void target_norms() {
        target_norms_.assign(static_cast<std::size_t>(m_), 0.0);
        for (std::ptrdiff_t pair = 0; pair < p_ * p_; ++pair) {
            const std::ptrdiff_t c = shared_.problem.train_labels.data[pair] - first_;
            if (c >= 0 && c < m_) target_norms_[static_cast<std::size_t>(c)] += 1;
        }
        for (double& norm : target_norms_) norm = std::sqrt(norm);
        iterations_.assign(static_cast<std::size_t>(m_), 0);
        squares_.assign(static_cast<std::size_t>(m_), 0.0);
    }

    double relative_residual(std::ptrdiff_t c) const {
        const double norm = target_norms_[static_cast<std::size_t>(c)];
        return std::sqrt(squares_[static_cast<std::size_t>(c)]) / (norm > 0 ? norm : 1);
    }

    void evaluate() {
        shared_.map.apply(solution_.data(), m_, operator_workspace_, outputs_.data());
    }

    // residual = mask (y - outputs) - ridge solution, and its squared norms.
    void measure() {
        const T ridge = shared_.problem.ridge;
        for_rows([&](std::ptrdiff_t x, std::ptrdiff_t c, std::ptrdiff_t xc) {
            const T *f = row_of(outputs_, xc), *v = row_of(solution_, xc);
            T* r = row_of(residual_, xc);
            for (std::ptrdiff_t y = 0; y < p_; ++y)
                r[y] = shared_.mask[static_cast<std::size_t>(x * p_ + y)] *
                       (target(x * p_ + y, c) - f[y] - ridge * v[y]);
        });
        dots(residual_.data(), residual_.data(), p_, m_, squares_.data());
    }

    // The combination of the last solutions with the smallest error in the energy norm; zero where
    // there is none. Leaves outputs, residual and squares of the start.
    void start(Matrix<T> dual, Matrix<T> previous, std::ptrdiff_t row) {
        const int starts = shared_.problem.starts;
        std::fill(solution_.begin(), solution_.end(), T(0));
        std::fill(outputs_.begin(), outputs_.end(), T(0));
        if (starts > 0) {
            scatter(dual, row, solution_);
            evaluate();
        }
        if (starts > 1) {
            scatter(previous, row, direction_);
            shared_.map.apply(direction_.data(), m_, operator_workspace_, image_.data());
        }
        if (starts > 0) combine_starts(starts);
        measure();
    }

    void combine_starts(int starts) {
        const double ridge = shared_.problem.ridge;
        const auto energy = [&](std::vector<T>& u, std::vector<T>& v, std::vector<T>& image_of_v) {
            std::vector<double> plain(static_cast<std::size_t>(m_)), result(plain);
            dots(u.data(), image_of_v.data(), p_, m_, result.data());  // u is zero off the mask
            dots(u.data(), v.data(), p_, m_, plain.data());
            for (std::size_t c = 0; c < result.size(); ++c) result[c] += ridge * plain[c];
            return result;
        };
        const auto against_target = [&](std::vector<T>& u) {
            std::vector<double> result(static_cast<std::size_t>(m_), 0.0);
            for_rows([&](std::ptrdiff_t x, std::ptrdiff_t c, std::ptrdiff_t xc) {
                for (std::ptrdiff_t y = 0; y < p_; ++y)
                    result[static_cast<std::size_t>(c)] +=
                        target(x * p_ + y, c) * row_of(u, xc)[y];
            });
            return result;
        };
        const auto h11 = energy(solution_, solution_, outputs_), g1 = against_target(solution_);
        std::vector<double> h12, h22, g2;
        if (starts > 1) {
            h12 = energy(solution_, direction_, image_);
            h22 = energy(direction_, direction_, image_);
            g2 = against_target(direction_);
        }
        for (std::ptrdiff_t c = 0; c < m_; ++c) {
            const auto k = static_cast<std::size_t>(c);
            double first = h11[k] > 0 ? g1[k] / h11[k] : 0.0, second = 0;
            if (starts > 1) {
                const double determinant = h11[k] * h22[k] - h12[k] * h12[k];
                // Nearly parallel solutions: the second adds rounding errors alone.
                if (determinant > 1e-6 * h11[k] * h22[k]) {
                    first = (g1[k] * h22[k] - g2[k] * h12[k]) / determinant;
                    second = (g2[k] * h11[k] - g1[k] * h12[k]) / determinant;
                }
            }
            for (std::ptrdiff_t x = 0; x < p_; ++x) {
                const std::ptrdiff_t xc = x * m_ + c;
                T *v = row_of(solution_, xc), *f = row_of(outputs_, xc);
                for (std::ptrdiff_t y = 0; y < p_; ++y) {
                    v[y] *= static_cast<T>(first);
                    f[y] *= static_cast<T>(first);
                }
                if (second == 0) continue;
                const T *u = row_of(direction_, xc), *g = row_of(image_, xc);
                for (std::ptrdiff_t y = 0; y < p_; ++y) {
                    v[y] += static_cast<T>(second) * u[y];
                    f[y] += static_cast<T>(second) * g[y];
                }
            }
        }
    }

    // correction = P^-1 residual: u = residual / diag, then u - (W coarse W'u) / diag.
    void precondition() {
        auto& w = operator_workspace_;
        const T* grid = shared_.inverse_diagonal.data();
        for_rows([&](std::ptrdiff_t x, std::ptrdiff_t, std::ptrdiff_t xc) {
            multiply_row(row_of(residual_, xc), grid + x * p_, p_, row_of(correction_, xc));
        });
        line_sums(correction_.data(), p_, m_, w.columns.data(), w.sums.data());
        row_major_gemm<T>('N', 2 * p_, m_, 2 * p_, shared_.problem.coarse.data, 2 * p_,
                          w.sums.data(), m_, 0, coarse_.data(), m_);
        for (std::ptrdiff_t c = 0; c < m_; ++c)
            for (std::ptrdiff_t y = 0; y < p_; ++y)
                w.columns[static_cast<std::size_t>(c * p_ + y)] =
                    coarse_[static_cast<std::size_t>((p_ + y) * m_ + c)];
        for_rows([&](std::ptrdiff_t x, std::ptrdiff_t c, std::ptrdiff_t xc) {
            subtract_coarse_row(coarse_[static_cast<std::size_t>(xc)], w.columns.data() + c * p_,
                                grid + x * p_, p_, row_of(correction_, xc));
        });
    }

    bool converged(std::ptrdiff_t c) const {
        return relative_residual(c) <= shared_.problem.tolerance;
    }

    // Conjugate gradients until every class's recursion says so, then the true residual; again
    // from there while that halves what is left. A class whose curvature is not positive stops.
    void solve() {
        stopped_.assign(static_cast<std::size_t>(m_), false);
        for (int left = shared_.problem.max_iterations; left > 0;) {
            const double before = worst();
            if (before <= shared_.problem.tolerance) break;
            left -= iterate(left);
            evaluate();
            measure();
            if (worst() > 0.5 * before) break;
        }
    }

    double worst() const {
        double result = 0;
        for (std::ptrdiff_t c = 0; c < m_; ++c)
            if (!stopped_[static_cast<std::size_t>(c)])
                result = std::max(result, relative_residual(c));
        return result;
    }

    int iterate(int most) {
        const auto classes = static_cast<std::size_t>(m_);
        std::vector<double> product(classes), next(classes), curvature(classes), plain(classes);
        precondition();
        std::copy_n(correction_.begin(), p_ * p_ * m_, direction_.begin());
        dots(residual_.data(), correction_.data(), p_, m_, product.data());
        int done = 0;
        for (; done < most && worst() > shared_.problem.tolerance; ++done) {
            shared_.map.apply(direction_.data(), m_, operator_workspace_, image_.data());
            dots(direction_.data(), image_.data(), p_, m_, curvature.data());
            if (shared_.problem.ridge > 0) {
                dots(direction_.data(), direction_.data(), p_, m_, plain.data());
                for (std::size_t c = 0; c < classes; ++c)
                    curvature[c] += static_cast<double>(shared_.problem.ridge) * plain[c];
            }
            for (std::size_t c = 0; c < classes; ++c) {
                if (stopped_[c] || converged(static_cast<std::ptrdiff_t>(c))) continue;
                if (curvature[c] > 0 && product[c] > 0)
                    ++iterations_[c];
                else
                    stopped_[c] = true;
            }
            advance(product, curvature);
            dots(residual_.data(), residual_.data(), p_, m_, squares_.data());
            precondition();
            dots(residual_.data(), correction_.data(), p_, m_, next.data());
            for_rows([&](std::ptrdiff_t, std::ptrdiff_t c, std::ptrdiff_t xc) {
                const auto k = static_cast<std::size_t>(c);
                const double factor = product[k] > 0 ? next[k] / product[k] : 0.0;
                scale_and_add_row(static_cast<T>(factor), row_of(correction_, xc), p_,
                                  row_of(direction_, xc));
            });
            product = next;
        }
        return std::max(done, 1);
    }

    void advance(const std::vector<double>& product, const std::vector<double>& curvature) {
        std::vector<T> steps(static_cast<std::size_t>(m_));
        for (std::size_t c = 0; c < steps.size(); ++c)
            steps[c] = stopped_[c] || converged(static_cast<std::ptrdiff_t>(c))
                           ? T(0)
                           : static_cast<T>(product[c] / curvature[c]);
        const T ridge = shared_.problem.ridge;
        for_rows([&](std::ptrdiff_t x, std::ptrdiff_t c, std::ptrdiff_t xc) {
            advance_row(steps[static_cast<std::size_t>(c)], row_of(direction_, xc),
                        row_of(image_, xc), shared_.mask.data() + x * p_, ridge, p_,
                        row_of(solution_, xc), row_of(residual_, xc));
        });
    }

    // Largest output and its class, the own output and the squares of the labelled pairs.
    void add_scores(Matrix<T> own) {
        const auto& problem = shared_.problem;
        for_rows([&](std::ptrdiff_t x, std::ptrdiff_t c, std::ptrdiff_t xc) {
            const T* f = row_of(outputs_, xc);
            const auto label = static_cast<std::int32_t>(first_ + c);
            double train = 0, test = 0;
            for (std::ptrdiff_t y = 0; y < p_; ++y) {
                const std::ptrdiff_t pair = x * p_ + y;
                const auto k = static_cast<std::size_t>(pair);
                if (f[y] > sums_.best[k]) {
                    sums_.best[k] = f[y];
                    sums_.best_class[k] = label;
                }
                const std::int32_t train_label = problem.train_labels.data[pair];
                const std::int32_t test_label = problem.test_labels.data[pair];
                const double square = static_cast<double>(f[y]) * static_cast<double>(f[y]);
                train += train_label >= 0 ? square : 0.0;
                test += test_label >= 0 ? square : 0.0;
                if (train_label == label || test_label == label) own.data[pair] = f[y];
            }
            sums_.train_squares += train;
            sums_.test_squares += test;
        });
    }

    // Z Q Z block by block. With H = Q11 V, X = V Q22 and Y = V Q12':
    //   11: sym(sum (X + 2 r o Q12) V'), 22: sym(sum V'(H + 2 Q12 o s)),
    //   12: sum Y V + r o H + X o s, and in all blocks (sum [r; s][r; s]') o Q.
    void add_moments() {
        auto& w = operator_workspace_;
        const std::ptrdiff_t p = p_, m = m_;
        line_sums(solution_.data(), p, m, w.columns.data(), w.sums.data());
        T* products = w.products.data();  // (x, c) rows: [Y | X]
        row_major_gemm<T>('N', p * m, 2 * p, p, solution_.data(), p, shared_.q_right.data(), 2 * p,
                          0, products, 2 * p);
        T* h = image_.data();
        row_major_gemm<T>('N', p, p * m, p, shared_.q11.data(), p, solution_.data(), p * m, 0, h,
                          p * m);
        for (std::ptrdiff_t c = 0; c < m; ++c)
            row_major_gemm<T>('N', p, p, p, products + c * 2 * p, m * 2 * p,
                              solution_.data() + c * p, m * p, 1, s12_.data(), p);
        T* left = direction_.data();
        for_rows([&](std::ptrdiff_t x, std::ptrdiff_t c, std::ptrdiff_t xc) {
            const T r = w.sums[static_cast<std::size_t>(xc)];
            const T *columns = w.columns.data() + c * p, *q12 = shared_.q12.data() + x * p;
            const T* product = products + xc * 2 * p + p;
            T *h_row = h + xc * p, *left_row = left + xc * p, *s12 = s12_.data() + x * p;
            for (std::ptrdiff_t y = 0; y < p; ++y) {
                s12[y] += r * h_row[y] + product[y] * columns[y];
                left_row[y] = product[y] + 2 * r * q12[y];
                h_row[y] += 2 * q12[y] * columns[y];
            }
        });
        // s11[x, x'] += sum_{c, y} left[x, c, y] V[x', c, y]
        blas::gemm<T>('T', 'N', p, p, p * m, T(1), solution_.data(), p * m, left, p * m, T(1),
                      s11_.data(), p);
        row_major_gemm<T>('T', p, p, p * m, solution_.data(), p, h, p, 1, s22_.data(), p);
        blas::gemm<T>('T', 'N', 2 * p, 2 * p, m, T(1), w.sums.data(), m, w.sums.data(), m, T(1),
                      line_products_.data(), 2 * p);
        if (shared_.map.norms != 0) add_norm_moments();
    }

    // sum t Z and sum t^2
    void add_norm_moments() {
        auto& w = operator_workspace_;
        shared_.map.sum_norms(solution_.data(), m_, w);
        const std::ptrdiff_t p = p_;
        const auto at = [&](std::ptrdiff_t i, std::ptrdiff_t j) -> T& {
            return sums_.tz[static_cast<std::size_t>(i * 2 * p + j)];
        };
        for (std::ptrdiff_t c = 0; c < m_; ++c) {
            const T t = w.norm_sums[static_cast<std::size_t>(c)];
            sums_.t_squared += static_cast<double>(t) * static_cast<double>(t);
            for (std::ptrdiff_t i = 0; i < 2 * p; ++i)
                at(i, i) += t * w.sums[static_cast<std::size_t>(i * m_ + c)];
        }
        for_rows([&](std::ptrdiff_t x, std::ptrdiff_t c, std::ptrdiff_t xc) {
            const T t = w.norm_sums[static_cast<std::size_t>(c)];
            const T* v = row_of(solution_, xc);
            for (std::ptrdiff_t y = 0; y < p; ++y) {
                at(x, p + y) += t * v[y];
                at(p + y, x) += t * v[y];
            }
        });
    }

    const Shared<T>& shared_;
    std::ptrdiff_t p_, width_, m_ = 0;
    std::int32_t first_ = 0;
    typename GridOperator<T>::Workspace operator_workspace_;
    std::vector<T> solution_, residual_, direction_, image_, correction_, outputs_, coarse_;
    std::vector<T> s11_, s12_, s22_, line_products_;
    std::vector<double> target_norms_, squares_;
    std::vector<std::int32_t> iterations_;
    std::vector<bool> stopped_;
    GridSums<T> sums_;
};

template <class T>
void merge(const GridSums<T>& from, GridSums<T>& to) {
    for (std::size_t k = 0; k < to.zqz.size(); ++k) {
        to.zqz[k] += from.zqz[k];
        to.tz[k] += from.tz[k];
    }
    to.t_squared += from.t_squared;
    to.train_squares += from.train_squares;
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
GridSums<T> grid_round(const GridProblem<T>& problem, std::int32_t first_class, Matrix<T> dual,
                       Matrix<T> previous, Matrix<T> own, std::int32_t* iterations,
                       double* residuals, int threads) {
    const Shared<T> shared(problem);
    const std::ptrdiff_t classes = dual.rows, p = shared.map.p;
    // About ten grids a class are worked on at a time; they are kept to a core's cache.
    const std::ptrdiff_t grids_bytes = 10 * p * p * static_cast<std::ptrdiff_t>(sizeof(T));
    const std::ptrdiff_t share = block_count(classes, std::max(threads, 1));
    const std::ptrdiff_t blocks_a_share =
        block_count(share, std::clamp<std::ptrdiff_t>((1 << 20) / grids_bytes, 1, share));
    const std::ptrdiff_t width = block_count(share, blocks_a_share);
    const std::ptrdiff_t blocks = block_count(classes, width);
    threads = static_cast<int>(std::clamp<std::ptrdiff_t>(threads, 1, blocks));
    std::vector<Block<T>> workers;
    for (int thread = 0; thread < threads; ++thread) workers.emplace_back(shared, width);
    parallel_for(blocks, threads, [&](std::ptrdiff_t block, int thread) {
        const std::ptrdiff_t row = block * width, m = std::min(width, classes - row);
        workers[static_cast<std::size_t>(thread)].run(
            first_class + static_cast<std::int32_t>(row), row, m, dual, previous, own,
            iterations + row, residuals + row);
    });
    GridSums<T>& total = workers[0].finish();
    for (std::size_t k = 1; k < workers.size(); ++k) merge(workers[k].finish(), total);
    return std::move(total);
}

template GridSums<float> grid_round(const GridProblem<float>&, std::int32_t, Matrix<float>,
                                    Matrix<float>, Matrix<float>, std::int32_t*, double*, int);
template GridSums<double> grid_round(const GridProblem<double>&, std::int32_t, Matrix<double>,
                                     Matrix<double>, Matrix<double>, std::int32_t*, double*, int);

}  // namespace grokrfm
