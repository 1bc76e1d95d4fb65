#include "../kernel_product.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "../decision_function.h"
#include "blas.h"
#include "interruption.h"
#include "loops.h"
#include "parallel.h"

namespace grokrfm {

namespace {

// Pairs sorted by their first index.
struct SortedPairs {
    std::vector<std::int32_t> order;    // position here -> row of the inputs
    std::vector<std::int32_t> a, b;     // indices in [0, p)
    std::vector<std::ptrdiff_t> first;  // those with first index a: first[a] up to first[a + 1]

    std::ptrdiff_t size() const { return static_cast<std::ptrdiff_t>(order.size()); }
};

// None unless every input has an index in [0, p) and one in [p, 2p), in this order.
std::optional<SortedPairs> sort_pairs(ActiveIndices inputs, std::ptrdiff_t p) {
    if (inputs.columns != 2) return std::nullopt;
    SortedPairs pairs;
    pairs.first.assign(static_cast<std::size_t>(p) + 1, 0);
    for (std::ptrdiff_t i = 0; i < inputs.rows; ++i) {
        const std::int32_t a = inputs.row(i)[0], b = inputs.row(i)[1];
        if (a < 0 || a >= p || b < p) return std::nullopt;
        ++pairs.first[static_cast<std::size_t>(a) + 1];
    }
    for (std::size_t a = 0; a < static_cast<std::size_t>(p); ++a)
        pairs.first[a + 1] += pairs.first[a];
    std::vector<std::ptrdiff_t> next(pairs.first);
    for (auto* column : {&pairs.order, &pairs.a, &pairs.b})
        column->resize(static_cast<std::size_t>(inputs.rows));
    for (std::ptrdiff_t i = 0; i < inputs.rows; ++i) {
        const std::int32_t a = inputs.row(i)[0];
        const auto at = static_cast<std::size_t>(next[static_cast<std::size_t>(a)]++);
        pairs.order[at] = static_cast<std::int32_t>(i);
        pairs.a[at] = a;
        pairs.b[at] = inputs.row(i)[1] - static_cast<std::int32_t>(p);
    }
    return pairs;
}

// Whether no squared distance is negative but by rounding errors of M.
template <class T>
bool is_semidefinite(Matrix<const T> m) {
    const std::ptrdiff_t d = m.rows;
    std::vector<double> shifted(m.data, m.data + d * d);
    double largest = 0;
    for (std::ptrdiff_t v = 0; v < d; ++v)
        largest = std::max(largest, std::fabs(static_cast<double>(m.row(v)[v])));
    const double shift =
        (8 * static_cast<double>(epsilon<T>()) + static_cast<double>(d) * epsilon<double>()) *
        largest;
    for (std::ptrdiff_t v = 0; v < d; ++v) shifted[static_cast<std::size_t>(v * d + v)] += shift;
    return largest == 0 || blas::potrf<double>(d, shifted.data(), d) == 0;
}

// The tables of the Gaussian kernel on pairs, each p x p.
template <class T>
struct GaussianTables {
    std::vector<T> first, second;                     // exp(-gamma delta_A), exp(-gamma delta_D)
    std::vector<T> cross, cross_transposed, inverse;  // exp(+-2 gamma B), B centred

    // None where a product of them could overflow, or an entry lose digits to underflow.
    static std::optional<GaussianTables> make(double gamma, Matrix<const T> m) {
        const std::ptrdiff_t p = m.rows / 2;
        const auto at = [p](std::ptrdiff_t i, std::ptrdiff_t j) {
            return static_cast<std::size_t>(i * p + j);
        };
        const std::vector<double> b = centred_block(m);
        double largest = 0;
        for (const double entry : b) {
            if (!(std::fabs(entry) <= std::numeric_limits<double>::max())) return std::nullopt;
            largest = std::max(largest, std::fabs(entry));
        }
        // Four factors of at most this exponent against one that is 0 below the smallest normal
        // number: 1e-10 of the largest entry, or less, is lost.
        const double limit = sizeof(T) == sizeof(float) ? 16 : 160;
        if (!(2 * gamma * largest <= limit) || !is_semidefinite(m)) return std::nullopt;

        GaussianTables tables;
        for (auto* table : {&tables.first, &tables.second, &tables.cross, &tables.cross_transposed,
                            &tables.inverse})
            table->resize(static_cast<std::size_t>(p * p));
        const auto squared_distance = [&m](std::ptrdiff_t u, std::ptrdiff_t v) {
            return static_cast<double>(m.row(u)[u]) + static_cast<double>(m.row(v)[v]) -
                   2 * static_cast<double>(m.row(u)[v]);
        };
        const auto decay = [gamma](double distance) {
            const T value = static_cast<T>(exp_nonpositive(-gamma * std::max(distance, 0.0)));
            return value < smallest_normal<T>() ? T(0) : value;
        };
        for (std::ptrdiff_t i = 0; i < p; ++i)
            for (std::ptrdiff_t j = 0; j < p; ++j) {
                tables.first[at(i, j)] = decay(squared_distance(i, j));
                tables.second[at(i, j)] = decay(squared_distance(p + i, p + j));
                const double cross = std::exp(2 * gamma * b[at(i, j)]);
                tables.cross[at(i, j)] = tables.cross_transposed[at(j, i)] = static_cast<T>(cross);
                tables.inverse[at(i, j)] = static_cast<T>(1 / cross);
            }
        return tables;
    }

 private:
    // B less its row and column means, which no distance depends on.
    static std::vector<double> centred_block(Matrix<const T> m) {
        const std::ptrdiff_t p = m.rows / 2;
        std::vector<double> b(static_cast<std::size_t>(p * p)),
            columns(static_cast<std::size_t>(p));
        for (std::ptrdiff_t i = 0; i < p; ++i) {
            double sum = 0;
            for (std::ptrdiff_t j = 0; j < p; ++j) sum += static_cast<double>(m.row(i)[p + j]);
            for (std::ptrdiff_t j = 0; j < p; ++j) {
                const double entry = static_cast<double>(m.row(i)[p + j]) - sum / double(p);
                b[static_cast<std::size_t>(i * p + j)] = entry;
                columns[static_cast<std::size_t>(j)] += entry / double(p);
            }
        }
        for (std::ptrdiff_t i = 0; i < p; ++i)
            for (std::ptrdiff_t j = 0; j < p; ++j)
                b[static_cast<std::size_t>(i * p + j)] -= columns[static_cast<std::size_t>(j)];
        return b;
    }
};

constexpr std::ptrdiff_t block_size = 256;  // inputs z whose part of T stays in L2

// Vectors as panels, (panels, rows, panel_columns), the last filled up with zeros.
template <class T>
struct Panels {
    Panels(Matrix<const T> vectors, const std::vector<std::int32_t>& order)
        : width(vectors.columns),
          rows(static_cast<std::ptrdiff_t>(order.size())),
          columns(loops<T>().panel_columns),
          count(block_count(width, columns)),
          data(zeros<T>(count * rows * columns)) {
        for (std::ptrdiff_t panel = 0; panel < count; ++panel) {
            const std::ptrdiff_t first = panel * columns;
            T* out = data.data() + first * rows;
            for (const std::int32_t j : order) {
                std::copy_n(vectors.row(j) + first, std::min(columns, width - first), out);
                out += columns;
            }
        }
    }
    const T* at(std::ptrdiff_t panel, std::ptrdiff_t row) const {
        return data.data() + (panel * rows + row) * columns;
    }

    const std::ptrdiff_t width, rows, columns, count;
    std::vector<T> data;
};

// Up to 64 bytes on, at the begin of a cache line, which no vector then straddles.
template <class T>
T* aligned(T* memory) {
    const auto beyond = reinterpret_cast<std::uintptr_t>(memory) % 64;
    return memory + (beyond == 0 ? 0 : (64 - beyond) / sizeof(T));
}

template <class T>
class GaussianProduct {
 public:
    GaussianProduct(const GaussianTables<T>& tables, std::ptrdiff_t p, const SortedPairs& rows,
                    const SortedPairs& columns, const Panels<T>& vectors, Matrix<T> out)
        : tables_(tables),
          p_(p),
          rows_(rows),
          columns_(columns),
          vectors_(vectors),
          out_(out),
          shared_(zeros<T>(p * block_size)),
          own_(zeros<T>(block_size)),
          factors_(zeros<T>(block_size)),
          scaled_memory_(zeros<T>(block_size * vectors.columns + 64)),
          scaled_(aligned(scaled_memory_.data())),
          sums_(zeros<T>(loops<T>().panel_rows * vectors.columns)),
          chosen_(static_cast<std::size_t>(loops<T>().panel_rows)) {}

    // The rows of the first indices [begin, end).
    void run(std::ptrdiff_t begin, std::ptrdiff_t end) {
        for (std::ptrdiff_t i = first_row(begin); i < first_row(end); ++i)
            std::fill_n(out_.row(rows_.order[static_cast<std::size_t>(i)]), out_.columns, T(0));
        for (std::ptrdiff_t z = 0; z < columns_.size(); z += block_size) {
            const std::ptrdiff_t size = std::min(block_size, columns_.size() - z);
            fill_shared(z, size);
            for (std::ptrdiff_t a = begin; a < end; ++a) {
                if (interrupted()) throw Interrupted{};
                if (first_row(a + 1) > first_row(a)) add_block(a, z, size);
            }
        }
        for (std::ptrdiff_t i = first_row(begin); i < first_row(end); ++i) {
            const auto at = static_cast<std::size_t>(i);
            loops<T>().scale_row(tables_.inverse[index(rows_.a[at], rows_.b[at])], out_.columns,
                                 out_.row(rows_.order[at]));
        }
    }

 private:
    std::size_t index(std::ptrdiff_t i, std::ptrdiff_t j) const {
        return static_cast<std::size_t>(i * p_ + j);
    }
    std::ptrdiff_t first_row(std::ptrdiff_t a) const {
        return rows_.first[static_cast<std::size_t>(a)];
    }

    // T for the inputs from z on, and exp(-2 gamma B) of their own.
    void fill_shared(std::ptrdiff_t z, std::ptrdiff_t size) {
        const std::int32_t *a = columns_.a.data() + z, *b = columns_.b.data() + z;
        for (std::ptrdiff_t row = 0; row < p_; ++row)
            loops<T>().multiply_looked_up(tables_.second.data() + row * p_, b,
                                          tables_.cross_transposed.data() + row * p_, a, size,
                                          shared_.data() + row * block_size);
        for (std::ptrdiff_t j = 0; j < size; ++j)
            own_[static_cast<std::size_t>(j)] = tables_.inverse[index(a[j], b[j])];
    }

    // out += T[rows of a, z ...] (w_a V)
    void add_block(std::ptrdiff_t a, std::ptrdiff_t z, std::ptrdiff_t size) {
        loops<T>().multiply_looked_up(tables_.first.data() + a * p_, columns_.a.data() + z,
                                      tables_.cross.data() + a * p_, columns_.b.data() + z, size,
                                      factors_.data());
        loops<T>().multiply_entries(factors_.data(), own_.data(), size, factors_.data());
        for (std::ptrdiff_t panel = 0; panel < vectors_.count; ++panel) {
            loops<T>().scale_panel(factors_.data(), vectors_.at(panel, z), size, scaled_);
            const std::ptrdiff_t first = panel * vectors_.columns;
            const std::ptrdiff_t width = std::min(vectors_.columns, vectors_.width - first);
            for (std::ptrdiff_t i = first_row(a); i < first_row(a + 1); i += loops<T>().panel_rows)
                add_rows(i, first_row(a + 1), size, first, width);
        }
    }

    // The rows from i on, `panel_rows` unless the last is less than that away.
    void add_rows(std::ptrdiff_t i, std::ptrdiff_t last, std::ptrdiff_t size, std::ptrdiff_t first,
                  std::ptrdiff_t width) {
        const std::ptrdiff_t height = std::min(loops<T>().panel_rows, last - i);
        for (std::ptrdiff_t r = 0; r < height; ++r)
            chosen_[static_cast<std::size_t>(r)] =
                shared_.data() + rows_.b[static_cast<std::size_t>(i + r)] * block_size;
        loops<T>().multiply_panel(chosen_.data(), height, size, scaled_, sums_.data());
        for (std::ptrdiff_t r = 0; r < height; ++r)
            loops<T>().add_row(sums_.data() + r * vectors_.columns, width,
                               out_.row(rows_.order[static_cast<std::size_t>(i + r)]) + first);
    }

    const GaussianTables<T>& tables_;
    const std::ptrdiff_t p_;
    const SortedPairs &rows_, &columns_;
    const Panels<T>& vectors_;  // in the order of the columns
    const Matrix<T> out_;
    std::vector<T> shared_, own_, factors_, scaled_memory_;
    T* const scaled_;
    std::vector<T> sums_;
    std::vector<const T*> chosen_;
};

// False if the look-ups have to do it.
template <class T>
bool gaussian_product(double gamma, Matrix<const T> m, ActiveIndices inputs,
                      const ActiveIndices* other, Matrix<const T> vectors, Matrix<T> out,
                      int threads) {
    if (m.rows % 2 != 0) return false;
    const std::ptrdiff_t p = m.rows / 2;
    const auto rows = sort_pairs(inputs, p);
    if (!rows) return false;
    const auto others = other ? sort_pairs(*other, p) : std::nullopt;
    if (other && !others) return false;
    const SortedPairs& columns = other ? *others : *rows;
    const auto tables = GaussianTables<T>::make(gamma, m);
    if (!tables) return false;
    const Panels<T> panels(vectors, columns.order);
    // Ranges of first indices with about the same number of rows, one a thread.
    const auto cut = [&](std::ptrdiff_t share) {
        const std::ptrdiff_t before = rows->size() * share / threads;
        return std::lower_bound(rows->first.begin(), rows->first.end(), before) -
               rows->first.begin();
    };
    threads = static_cast<int>(std::clamp<std::ptrdiff_t>(threads, 1, p));
    parallel_for(threads, threads, [&](std::ptrdiff_t share, int) {
        const std::ptrdiff_t begin = cut(share), end = share + 1 < threads ? cut(share + 1) : p;
        if (begin >= end) return;
        GaussianProduct<T>(*tables, p, *rows, columns, panels, out).run(begin, end);
    });
    return true;
}

}  // namespace

template <class T>
void kernel_product(const KernelChoice& kernel, Matrix<const T> feature_matrix,
                    ActiveIndices inputs, const ActiveIndices* other, Matrix<const T> vectors,
                    Matrix<T> out, int threads) {
    if (kernel.name == KernelName::gaussian &&
        gaussian_product(kernel.scale, feature_matrix, inputs, other, vectors, out, threads))
        return;
    decision_function(kernel, feature_matrix, inputs, other ? *other : inputs, vectors, out,
                      threads);
}

template void kernel_product(const KernelChoice&, Matrix<const float>, ActiveIndices,
                             const ActiveIndices*, Matrix<const float>, Matrix<float>, int);
template void kernel_product(const KernelChoice&, Matrix<const double>, ActiveIndices,
                             const ActiveIndices*, Matrix<const double>, Matrix<double>, int);

}  // namespace grokrfm
