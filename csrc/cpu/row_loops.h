// Leaf loops over rows of a kernel matrix and of the AGOP's sums. Included by loops.cpp alone.
#pragma once

#include <utility>

#include "loops.h"

namespace grokrfm {

template <class T>
static void add_row(const T* __restrict source, std::ptrdiff_t size, T* __restrict sum) {
    for (std::ptrdiff_t v = 0; v < size; ++v) sum[v] += source[v];
}

template <class T>
static void add_scaled(const T* __restrict source, T factor, std::ptrdiff_t size,
                       T* __restrict sum) {
    for (std::ptrdiff_t i = 0; i < size; ++i) sum[i] += factor * source[i];
}

template <class T>
static void look_up(const T* __restrict table, const std::int32_t* __restrict index,
                    std::ptrdiff_t size, bool first, T* __restrict out) {
    if (first)
        for (std::ptrdiff_t i = 0; i < size; ++i) out[i] = table[index[i]];
    else
        for (std::ptrdiff_t i = 0; i < size; ++i) out[i] += table[index[i]];
}

template <class T>
static void gather(const T* __restrict source, const std::int32_t* __restrict order,
                   std::ptrdiff_t size, T* __restrict out) {
    for (std::ptrdiff_t i = 0; i < size; ++i) out[i] = source[order[i]];
}

// Products of entries >= 0 of two tables. Below the smallest normal number they count as 0:
// processors are slow on what lies there.
template <class T>
static void multiply_looked_up(const T* __restrict first,
                               const std::int32_t* __restrict first_index,
                               const T* __restrict second,
                               const std::int32_t* __restrict second_index, std::ptrdiff_t size,
                               T* __restrict out) {
    for (std::ptrdiff_t i = 0; i < size; ++i) {
        const T product = first[first_index[i]] * second[second_index[i]];
        out[i] = product < smallest_normal<T>() ? T(0) : product;
    }
}

// A panel has two vectors of columns; the sums of so many rows stay in the 16 or 32 registers.
#if defined(__AVX512F__)
constexpr std::ptrdiff_t vector_bytes = 64, panel_rows = 12;
#else
constexpr std::ptrdiff_t vector_bytes = 32, panel_rows = 6;
#endif
template <class T>
constexpr std::ptrdiff_t panel_columns = 2 * vector_bytes / static_cast<std::ptrdiff_t>(sizeof(T));

template <class T>
struct Vector {
#if defined(__GNUC__)
    typedef T Type __attribute__((vector_size(vector_bytes), aligned(alignof(T)), may_alias));
#else
    struct Type {
        T entries[vector_bytes / sizeof(T)];
        Type& operator+=(const Type& other) {
            for (std::size_t k = 0; k < vector_bytes / sizeof(T); ++k)
                entries[k] += other.entries[k];
            return *this;
        }
        friend Type operator*(T factor, Type vector) {
            for (T& entry : vector.entries) entry *= factor;
            return vector;
        }
    };
#endif
};

// out[i] = factors[i] panel[i]
template <class T>
static void scale_panel(const T* __restrict factors, const T* __restrict panel, std::ptrdiff_t size,
                        T* __restrict out) {
    using V = typename Vector<T>::Type;
    const V* from = reinterpret_cast<const V*>(panel);
    V* to = reinterpret_cast<V*>(out);
    for (std::ptrdiff_t i = 0; i < size; ++i) {
        to[2 * i] = factors[i] * from[2 * i];
        to[2 * i + 1] = factors[i] * from[2 * i + 1];
    }
}

// R rows times a panel, for `multiply_panels`: the sums stay in registers. An entry of a row is
// `step` from the last one.
template <class T, int R>
static void multiply_tile(const T* const* rows, std::ptrdiff_t step, std::ptrdiff_t size,
                          const T* __restrict panel, std::ptrdiff_t columns, bool add, T* out,
                          std::ptrdiff_t out_stride) {
    using V = typename Vector<T>::Type;
    const T* entries[R];
    for (int r = 0; r < R; ++r) entries[r] = rows[r];
    V first[R] = {}, second[R] = {};
    for (std::ptrdiff_t k = 0; k < size; ++k) {
        const V* pair = reinterpret_cast<const V*>(panel + k * panel_columns<T>);
        const V a = pair[0], b = pair[1];
        for (int r = 0; r < R; ++r) {
            const T factor = *entries[r];
            entries[r] += step;
            first[r] += factor * a;
            second[r] += factor * b;
        }
    }
    for (int r = 0; r < R; ++r, out += out_stride) {
        T sums[panel_columns<T>];
        const bool whole = columns == panel_columns<T> && !add;
        V* both = reinterpret_cast<V*>(whole ? out : sums);
        both[0] = first[r], both[1] = second[r];
        if (add)
            for (std::ptrdiff_t j = 0; j < columns; ++j) out[j] += sums[j];
        else if (!whole)
            for (std::ptrdiff_t j = 0; j < columns; ++j) out[j] = sums[j];
    }
}

// `multiply_tile` for 1, 2, ..., panel_rows rows.
template <class T>
struct Tiles {
    decltype(&multiply_tile<T, 1>) of[panel_rows];
};

template <class T, int... R>
static constexpr Tiles<T> make_tiles(std::integer_sequence<int, R...>) {
    return {{multiply_tile<T, R + 1>...}};
}

template <class T>
static constexpr Tiles<T> tiles = make_tiles<T>(std::make_integer_sequence<int, panel_rows>());

// out = left right (+ out), rows x columns, with the right factor, size x columns, in panels.
template <class T>
static void multiply_panels(Factor<T> left, std::ptrdiff_t rows, std::ptrdiff_t size,
                            const T* panels, std::ptrdiff_t columns, bool add, T* out,
                            std::ptrdiff_t out_stride) {
    // Blocks of rows of sizes that differ by one at most.
    const std::ptrdiff_t blocks = (rows + panel_rows - 1) / panel_rows;
    for (std::ptrdiff_t j = 0; j < columns;
         j += panel_columns<T>, panels += size * panel_columns<T>) {
        const std::ptrdiff_t width =
            columns - j < panel_columns<T> ? columns - j : panel_columns<T>;
        for (std::ptrdiff_t block = 0; block < blocks; ++block) {
            const std::ptrdiff_t row = block * rows / blocks, next = (block + 1) * rows / blocks;
            const T* from[panel_rows];
            for (std::ptrdiff_t r = row; r < next; ++r)
                from[r - row] = left.data + r * left.row_stride;
            tiles<T>.of[next - row - 1](from, left.step, size, panels, width, add,
                                        out + row * out_stride + j, out_stride);
        }
    }
}

// sums = rows panel, (height, panel_columns), at most panel_rows of them
template <class T>
static void multiply_panel(const T* const* rows, std::ptrdiff_t height, std::ptrdiff_t size,
                           const T* __restrict panel, T* __restrict sums) {
    tiles<T>.of[height - 1](rows, 1, size, panel, panel_columns<T>, false, sums, panel_columns<T>);
}

template <class T, class Kernel>
static void values_of(Kernel kernel, const T* __restrict q_x, T q_z, std::ptrdiff_t size,
                      T* __restrict s) {
    for (std::ptrdiff_t i = 0; i < size; ++i) s[i] = kernel.value(s[i], q_x[i], q_z);
}

template <class T, class Kernel>
static void slopes_of(Kernel kernel, const T* __restrict q_x, T q_z, std::ptrdiff_t size,
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

// s becomes h
template <class T>
static void apply_value(const KernelChoice& choice, const T* q_x, T q_z, std::ptrdiff_t size,
                        T* s) {
    visit_kernel<T>(choice, [=](auto kernel) { values_of(kernel, q_x, q_z, size, s); });
}

// s becomes dh/ds; d_q, unless null, becomes dh/dq_z.
template <class T>
static void apply_slopes(const KernelChoice& choice, const T* q_x, T q_z, std::ptrdiff_t size, T* s,
                         T* d_q) {
    visit_kernel<T>(choice, [=](auto kernel) { slopes_of(kernel, q_x, q_z, size, s, d_q); });
}

}  // namespace grokrfm
