// Rows of a kernel matrix by table look-ups.
//
// For one evaluation point z the table t[v] = sum_{u active in z} M[u, v] holds every product that
// can occur, so that x'Mz is a sum of k entries of t. The table has an extra entry, 0, to which the
// absent indices point: no branch in the loop.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../common/views.h"
#include "loops.h"

namespace grokrfm {

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
        for (std::ptrdiff_t i = 0; i < size; ++i) norms_[static_cast<std::size_t>(i)] = norm(i);
    }

    std::size_t table_size() const { return static_cast<std::size_t>(feature_matrix_.rows) + 1; }
    const std::int32_t* slot(std::ptrdiff_t t) const { return index_.data() + t * size; }
    const T* norms() const { return norms_.data(); }

    // The table of point i.
    void fill_table(std::ptrdiff_t i, T* table) const {
        const std::ptrdiff_t d = feature_matrix_.rows;
        std::fill(table, table + d + 1, T(0));
        for (std::ptrdiff_t t = 0; t < slots; ++t)
            if (const std::int32_t u = slot(t)[i]; u < d)
                loops<T>().add_row(feature_matrix_.row(u), d, table);
    }

    // out[i - begin] = x_i'Mz for the z of the table.
    void inner_products(const T* table, std::ptrdiff_t begin, std::ptrdiff_t end, T* out) const {
        for (std::ptrdiff_t t = 0; t < slots; ++t)
            loops<T>().look_up(table, slot(t) + begin, end - begin, t == 0, out);
    }

    const std::ptrdiff_t size, slots;

 private:
    // Without the table of a point, which takes d steps; summed in its order.
    T norm(std::ptrdiff_t i) const {
        const std::ptrdiff_t d = feature_matrix_.rows;
        T sum = 0;
        for (std::ptrdiff_t t = 0; t < slots; ++t) {
            T product = 0;
            for (std::ptrdiff_t r = 0; r < slots; ++r)
                if (slot(t)[i] < d && slot(r)[i] < d)
                    product += feature_matrix_.row(slot(r)[i])[slot(t)[i]];
            sum += product;
        }
        return sum;
    }

    Matrix<const T> feature_matrix_;
    std::vector<std::int32_t> index_;
    std::vector<T> norms_;
};

}  // namespace grokrfm
