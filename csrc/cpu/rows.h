// Rows of a kernel matrix by table look-ups: the leaf loops, compiled for several instruction sets.
//
// For one evaluation point z the table t[v] = sum_{u active in z} M[u, v] holds every product that
// can occur, so that x'Mz is a sum of k entries of t. The table has an extra entry, 0, to which the
// absent indices point: no branch in the loop.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../common/kernels.h"
#include "../common/views.h"

#if defined(GROKRFM_TARGET_CLONES)
#define GROKRFM_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define GROKRFM_CLONES
#endif

namespace grokrfm {

template <class T>
GROKRFM_CLONES void add_row(const T* __restrict source, std::ptrdiff_t size, T* __restrict sum) {
    for (std::ptrdiff_t v = 0; v < size; ++v) sum[v] += source[v];
}

template <class T>
GROKRFM_CLONES void look_up(const T* __restrict table, const std::int32_t* __restrict index,
                            std::ptrdiff_t size, bool first, T* __restrict out) {
    if (first)
        for (std::ptrdiff_t i = 0; i < size; ++i) out[i] = table[index[i]];
    else
        for (std::ptrdiff_t i = 0; i < size; ++i) out[i] += table[index[i]];
}

template <class T, class Kernel>
GROKRFM_CLONES void apply_value(Kernel kernel, const T* __restrict q_x, T q_z, std::ptrdiff_t size,
                                T* __restrict s) {
    for (std::ptrdiff_t i = 0; i < size; ++i) s[i] = kernel.value(s[i], q_x[i], q_z);
}

// s becomes dh/ds; d_q, unless null, becomes dh/dq_z.
template <class T, class Kernel>
GROKRFM_CLONES void apply_slopes(Kernel kernel, const T* __restrict q_x, T q_z, std::ptrdiff_t size,
                                 T* __restrict s, T* __restrict d_q) {
    if (d_q == nullptr)
        for (std::ptrdiff_t i = 0; i < size; ++i) s[i] = kernel.slopes(s[i], q_x[i], q_z).s;
    else
        for (std::ptrdiff_t i = 0; i < size; ++i) {
            const Slopes<T> slopes = kernel.slopes(s[i], q_x[i], q_z);
            s[i] = slopes.s;
            d_q[i] = slopes.q_z;
        }
}

template <class T>
std::vector<T> zeros(std::ptrdiff_t size) {
    return std::vector<T>(static_cast<std::size_t>(size), T(0));
}

// Inputs ready for look-ups: active indices slot by slot, and q_i = x_i'M x_i.
template <class T>
class Points {
 public:
    Points(Matrix<const T> feature_matrix, ActiveIndices inputs)
        : size(inputs.rows),
          slots(inputs.columns),
          feature_matrix_(feature_matrix),
          index_(static_cast<std::size_t>(inputs.rows * inputs.columns)),
          norms_(static_cast<std::size_t>(inputs.rows)) {
        const auto absent = static_cast<std::int32_t>(feature_matrix.rows);
        for (std::ptrdiff_t i = 0; i < size; ++i)
            for (std::ptrdiff_t t = 0; t < slots; ++t) {
                const std::int32_t v = inputs.row(i)[t];
                index_[static_cast<std::size_t>(t * size + i)] = v < 0 ? absent : v;
            }
        std::vector<T> table(table_size());
        for (std::ptrdiff_t i = 0; i < size; ++i) {
            fill_table(i, table.data());
            inner_products(table.data(), i, i + 1, norms_.data() + i);
        }
    }

    std::size_t table_size() const { return static_cast<std::size_t>(feature_matrix_.rows) + 1; }
    const std::int32_t* slot(std::ptrdiff_t t) const { return index_.data() + t * size; }
    const T* norms() const { return norms_.data(); }

    // The table of point i.
    void fill_table(std::ptrdiff_t i, T* table) const {
        const std::ptrdiff_t d = feature_matrix_.rows;
        std::fill(table, table + d + 1, T(0));
        for (std::ptrdiff_t t = 0; t < slots; ++t)
            if (const std::int32_t u = slot(t)[i]; u < d) add_row(feature_matrix_.row(u), d, table);
    }

    // out[i - begin] = x_i'Mz for the z of the table.
    void inner_products(const T* table, std::ptrdiff_t begin, std::ptrdiff_t end, T* out) const {
        for (std::ptrdiff_t t = 0; t < slots; ++t)
            look_up(table, slot(t) + begin, end - begin, t == 0, out);
    }

    const std::ptrdiff_t size, slots;

 private:
    Matrix<const T> feature_matrix_;
    std::vector<std::int32_t> index_;
    std::vector<T> norms_;
};

}  // namespace grokrfm
