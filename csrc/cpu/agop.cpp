#include "../agop.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "blas.h"
#include "parallel.h"
#include "rows.h"

namespace grokrfm {

namespace {

// The training points with the same index in one slot, as a range of that slot's order.
struct Group {
    std::ptrdiff_t bin, begin, end;
    bool first;  // no earlier slot has put anything into this bin
};

struct SlotGroups {
    std::vector<std::int32_t> order;  // position in this slot's order -> training point
    std::vector<Group> groups;
};

std::vector<SlotGroups> group_by_index(const std::int32_t* index, std::ptrdiff_t points,
                                       std::ptrdiff_t slots, std::ptrdiff_t bins) {
    std::vector<SlotGroups> result(static_cast<std::size_t>(slots));
    std::vector<bool> touched(static_cast<std::size_t>(bins), false);
    for (auto& slot : result) {
        slot.order.resize(static_cast<std::size_t>(points));
        std::iota(slot.order.begin(), slot.order.end(), 0);
        std::stable_sort(slot.order.begin(), slot.order.end(),
                         [index](std::int32_t i, std::int32_t j) { return index[i] < index[j]; });
        for (std::ptrdiff_t begin = 0, end; begin < points; begin = end) {
            const auto at = [&](std::ptrdiff_t r) {
                return index[slot.order[static_cast<std::size_t>(r)]];
            };
            for (end = begin; end < points && at(end) == at(begin);) ++end;
            const auto bin = static_cast<std::size_t>(at(begin));
            slot.groups.push_back({at(begin), begin, end, !touched[bin]});
            touched[bin] = true;
        }
        index += points;
    }
    return result;
}

// What one thread sums and works in.
template <class T>
struct Workspace {
    std::vector<T> outer;        // d x d, upper triangle (column-major) of sum_jc u_jc u_jc'
    std::vector<T> slope_sums;   // n, sum_j dh/ds(i, j)
    std::vector<T> norm_sums;    // (d + 1) x c, sum_j 2 x_j sum_i alpha_ic dh/dq_z(i, j)
    std::vector<T> slopes;       // block x n, dh/ds
    std::vector<T> norm_slopes;  // block x n, dh/dq_z where it is general
    std::vector<T> reordered;    // block x n, dh/ds in the order of another slot
    std::vector<T> gradients;    // (d + 1) x block x c, the u_jc; bin d: absent indices
    std::vector<T> norm_terms;   // block x c, sum_i alpha_ic dh/dq_z(i, j)
    std::vector<T> table;
};

template <class T>
class AgopSum {
 public:
    AgopSum(const KernelChoice& kernel, Matrix<const T> feature_matrix, ActiveIndices train,
            Matrix<const T> dual_coefficients, std::ptrdiff_t block)
        : kernel_(kernel),
          slope_in_norm_(visit_kernel<T>(kernel, [](auto k) { return k.slope_in_norm; })),
          points_(feature_matrix, train),
          bins_(feature_matrix.rows + 1),
          classes_(dual_coefficients.columns),
          bin_size_(block * classes_),
          slots_(group_by_index(points_.slot(0), points_.size, points_.slots, bins_)) {
        for (const auto& slot : slots_) {
            auto& sorted = sorted_coefficients_.emplace_back(zeros<T>(points_.size * classes_));
            T* out = sorted.data();
            for (const std::int32_t i : slot.order)
                out = std::copy_n(dual_coefficients.row(i), classes_, out);
        }
    }

    // Adds the block of evaluation points [first, last) to the sums of the workspace.
    void add_block(std::ptrdiff_t first, std::ptrdiff_t last, Workspace<T>& w) const {
        evaluate_slopes(first, last, w);
        const std::ptrdiff_t rows = last - first;
        for (std::size_t t = 0; t < slots_.size(); ++t) {
            sum_groups(t, rows, w);
            if (t == 0 && slope_in_norm_ != SlopeInNorm::none) sum_norm_terms(rows, w);
        }
        if (slope_in_norm_ != SlopeInNorm::none) add_norm_terms(first, last, w);
        const std::ptrdiff_t d = bins_ - 1;
        blas::syrk<T>(d, rows * classes_, 1, w.gradients.data(), bin_size_, 1, w.outer.data(), d);
    }

    Workspace<T> workspace() const {
        const std::ptrdiff_t d = bins_ - 1, n = points_.size, block = bin_size_ / classes_;
        const bool general = slope_in_norm_ == SlopeInNorm::general;
        return {zeros<T>(d * d),
                zeros<T>(n),
                zeros<T>(bins_ * classes_),
                zeros<T>(block * n),
                zeros<T>(general ? block * n : 0),
                zeros<T>(block * n),
                zeros<T>(bins_ * bin_size_),
                zeros<T>(bin_size_),
                zeros<T>(bins_)};
    }

    // Adds the sums of `from` to those of `to`.
    static void merge(const Workspace<T>& from, Workspace<T>& to) {
        const auto add = [](const std::vector<T>& source, std::vector<T>& sum) {
            loops<T>().add_scaled(source.data(), T(1), static_cast<std::ptrdiff_t>(sum.size()),
                                  sum.data());
        };
        add(from.outer, to.outer);
        add(from.slope_sums, to.slope_sums);
        add(from.norm_sums, to.norm_sums);
    }

    // Subtracts n mean_c mean_c' from the sum of outer products.
    void centre(Workspace<T>& w) const {
        std::vector<T>& sums = w.norm_sums;  // becomes (d + 1) x c, sum_j u_jc
        for (std::size_t t = 0; t < slots_.size(); ++t)
            for (const Group& group : slots_[t].groups)
                for (std::ptrdiff_t r = group.begin; r < group.end; ++r)
                    loops<T>().add_scaled(sorted_coefficients_[t].data() + r * classes_,
                                          w.slope_sums[static_cast<std::size_t>(
                                              slots_[t].order[static_cast<std::size_t>(r)])],
                                          classes_, sums.data() + group.bin * classes_);
        blas::syrk<T>(bins_ - 1, classes_, T(-1) / static_cast<T>(points_.size), sums.data(),
                      classes_, 1, w.outer.data(), bins_ - 1);
    }

 private:
    void evaluate_slopes(std::ptrdiff_t first, std::ptrdiff_t last, Workspace<T>& w) const {
        const std::ptrdiff_t n = points_.size;
        const bool general = slope_in_norm_ == SlopeInNorm::general;
        for (std::ptrdiff_t j = first; j < last; ++j) {
            T* row = w.slopes.data() + (j - first) * n;
            points_.fill_table(j, w.table.data());
            points_.inner_products(w.table.data(), 0, n, row);
            loops<T>().apply_slopes(kernel_, points_.norms(), points_.norms()[j], n, row,
                                    general ? w.norm_slopes.data() + (j - first) * n : nullptr);
            loops<T>().add_scaled(row, T(1), n, w.slope_sums.data());
        }
    }

    // gradients[bin] += dh/ds(., group)' alpha(group, .) for every group of slot t.
    void sum_groups(std::size_t t, std::ptrdiff_t rows, Workspace<T>& w) const {
        const std::ptrdiff_t n = points_.size;
        for (std::ptrdiff_t j = 0; j < rows; ++j)
            loops<T>().gather(w.slopes.data() + j * n, slots_[t].order.data(), n,
                              w.reordered.data() + j * n);
        for (const Group& group : slots_[t].groups)
            blas::gemm<T>('N', 'N', classes_, rows, group.end - group.begin, 1,
                          sorted_coefficients_[t].data() + group.begin * classes_, classes_,
                          w.reordered.data() + group.begin, n, group.first ? T(0) : T(1),
                          w.gradients.data() + group.bin * bin_size_, classes_);
    }

    // norm_terms = sum_i alpha_ic dh/dq_z(i, j), while slot 0 alone is in the gradients.
    void sum_norm_terms(std::ptrdiff_t rows, Workspace<T>& w) const {
        const std::ptrdiff_t n = points_.size, length = rows * classes_;
        if (slope_in_norm_ == SlopeInNorm::general) {
            for (std::ptrdiff_t j = 0; j < rows; ++j)
                loops<T>().gather(w.norm_slopes.data() + j * n, slots_[0].order.data(), n,
                                  w.reordered.data() + j * n);
            blas::gemm<T>('N', 'N', classes_, rows, n, 1, sorted_coefficients_[0].data(), classes_,
                          w.reordered.data(), n, 0, w.norm_terms.data(), classes_);
        } else {
            std::fill_n(w.norm_terms.begin(), length, T(0));
            for (const Group& group : slots_[0].groups)
                loops<T>().add_scaled(w.gradients.data() + group.bin * bin_size_, T(-0.5), length,
                                      w.norm_terms.data());
        }
    }

    void add_norm_terms(std::ptrdiff_t first, std::ptrdiff_t last, Workspace<T>& w) const {
        for (std::ptrdiff_t j = first; j < last; ++j)
            for (std::ptrdiff_t t = 0; t < points_.slots; ++t) {
                const std::ptrdiff_t bin = points_.slot(t)[j];
                const T* term = w.norm_terms.data() + (j - first) * classes_;
                loops<T>().add_scaled(
                    term, T(2), classes_,
                    w.gradients.data() + bin * bin_size_ + (j - first) * classes_);
                loops<T>().add_scaled(term, T(2), classes_, w.norm_sums.data() + bin * classes_);
            }
    }

    const KernelChoice& kernel_;
    SlopeInNorm slope_in_norm_;
    Points<T> points_;
    std::ptrdiff_t bins_, classes_, bin_size_;
    std::vector<SlotGroups> slots_;
    std::vector<std::vector<T>> sorted_coefficients_;
};

// out = M S M / n for S given by its upper triangle (column-major).
template <class T>
void sandwich(Matrix<const T> m, std::vector<T>& s, std::ptrdiff_t n, Matrix<T> out) {
    const std::ptrdiff_t d = m.rows;
    for (std::ptrdiff_t i = 0; i < d; ++i)
        for (std::ptrdiff_t j = 0; j < i; ++j)
            s[static_cast<std::size_t>(j * d + i)] = s[static_cast<std::size_t>(i * d + j)];
    std::vector<T> product(s.size());
    blas::gemm<T>('N', 'N', d, d, d, 1, m.data, d, s.data(), d, 0, product.data(), d);
    blas::gemm<T>('N', 'N', d, d, d, T(1) / static_cast<T>(n), product.data(), d, m.data, d, 0,
                  out.data, d);
    for (std::ptrdiff_t i = 0; i < d; ++i)
        for (std::ptrdiff_t j = 0; j < i; ++j)
            out.row(i)[j] = out.row(j)[i] = T(0.5) * (out.row(i)[j] + out.row(j)[i]);
}

}  // namespace

template <class T>
void agop(const KernelChoice& kernel, Matrix<const T> feature_matrix, ActiveIndices train,
          Matrix<const T> dual_coefficients, bool centred, Matrix<T> out, int threads) {
    const std::ptrdiff_t n = train.rows;
    // The gradients of a block, (d + 1) x block x c, are kept to 1 MB, a core's cache: they are
    // written by the group sums and read by the outer products right after.
    const std::ptrdiff_t row_bytes = (feature_matrix.rows + 1) * dual_coefficients.columns *
                                     static_cast<std::ptrdiff_t>(sizeof(T));
    const std::ptrdiff_t block =
        std::min(n, std::clamp<std::ptrdiff_t>((1 << 20) / row_bytes, 8, 128));
    const std::ptrdiff_t blocks = block_count(n, block);
    const AgopSum<T> sum(kernel, feature_matrix, train, dual_coefficients, block);
    threads = static_cast<int>(std::clamp<std::ptrdiff_t>(threads, 1, blocks));
    std::vector<Workspace<T>> workspaces;
    for (int thread = 0; thread < threads; ++thread) workspaces.push_back(sum.workspace());
    parallel_for(blocks, threads, [&](std::ptrdiff_t b, int thread) {
        sum.add_block(b * block, std::min((b + 1) * block, n),
                      workspaces[static_cast<std::size_t>(thread)]);
    });
    for (std::size_t thread = 1; thread < workspaces.size(); ++thread)
        sum.merge(workspaces[thread], workspaces[0]);
    if (centred) sum.centre(workspaces[0]);
    sandwich(feature_matrix, workspaces[0].outer, n, out);
}

template void agop(const KernelChoice&, Matrix<const float>, ActiveIndices, Matrix<const float>,
                   bool, Matrix<float>, int);
template void agop(const KernelChoice&, Matrix<const double>, ActiveIndices, Matrix<const double>,
                   bool, Matrix<double>, int);

}  // namespace grokrfm
