// Leaf loops over rows of a kernel matrix and of the AGOP's sums. Included by loops.cpp alone.
#pragma once

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

// out[i] = factors[i] rows[i]
template <class T>
static void scale_rows(const T* __restrict factors, const T* __restrict rows, std::ptrdiff_t count,
                       std::ptrdiff_t size, T* __restrict out) {
    for (std::ptrdiff_t i = 0; i < count; ++i)
        for (std::ptrdiff_t k = 0; k < size; ++k)
            out[i * size + k] = factors[i] * rows[i * size + k];
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
