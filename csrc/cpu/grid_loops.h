// Leaf loops over a block of grids V[x, c, y]: p values of x, m classes c, `pitch` values of y,
// which is p rounded up so that no loop has a remainder; what lies beyond p is zero. Each loop does
// all that can be done in one pass over its arrays. Rows are summed in T, sums of rows in double.
#pragma once

#include "../common/grid_entries.h"
#include "loops.h"

namespace grokrfm {

template <class T>
static void set_zero(T* __restrict out, std::ptrdiff_t size) {
    for (std::ptrdiff_t i = 0; i < size; ++i) out[i] = 0;
}

template <class T>
GROKRFM_HOST_DEVICE T sum_of(const T* parts) {
    T sum = 0;
    for (std::ptrdiff_t k = 0; k < lanes; ++k) sum += parts[k];
    return sum;
}

// sums[x, c] = sum_y V[x, c, y]; columns[c, y] = sum_x V[x, c, y]
template <class T>
static void line_sums(BlockShape shape, const T* __restrict v, T* __restrict sums,
                      T* __restrict columns) {
    set_zero(columns, shape.m * shape.pitch);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, v += shape.pitch) {
        T* __restrict column = columns + row % shape.m * shape.pitch;
        T parts[lanes] = {};
        for (std::ptrdiff_t y = 0; y < shape.pitch; y += lanes)
            for (std::ptrdiff_t k = 0; k < lanes; ++k) {
                parts[k] += v[y + k];
                column[y + k] += v[y + k];
            }
        sums[row] = sum_of(parts);
    }
}

// result[c] = sum_{x, y} U[x, c, y] V[x, c, y]
template <class T>
static void dots(BlockShape shape, const T* __restrict u, const T* __restrict v,
                 double* __restrict result) {
    set_zero(result, shape.m);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, u += shape.pitch, v += shape.pitch) {
        T parts[lanes] = {};
        for (std::ptrdiff_t y = 0; y < shape.pitch; y += lanes)
            for (std::ptrdiff_t k = 0; k < lanes; ++k) parts[k] += u[y + k] * v[y + k];
        result[row % shape.m] += static_cast<double>(sum_of(parts));
    }
}

// u . v with products and sum in double
template <class T>
static double precise_dot(const T* __restrict u, const T* __restrict v, std::ptrdiff_t size) {
    double parts[lanes] = {};
    std::ptrdiff_t i = 0;
    for (; i + lanes <= size; i += lanes)
        for (std::ptrdiff_t k = 0; k < lanes; ++k)
            parts[k] += static_cast<double>(u[i + k]) * static_cast<double>(v[i + k]);
    for (; i < size; ++i) parts[0] += static_cast<double>(u[i]) * static_cast<double>(v[i]);
    return sum_of(parts);
}

// out = sum_k weights[k] rows[k], of `count` rows of that size
template <class T>
static void combine_rows(const T* __restrict rows, std::ptrdiff_t count, std::ptrdiff_t size,
                         const double* __restrict weights, T* __restrict out) {
    set_zero(out, size);
    for (std::ptrdiff_t k = 0; k < count; ++k, rows += size) {
        const T weight = static_cast<T>(weights[k]);
        for (std::ptrdiff_t i = 0; i < size; ++i) out[i] += weight * rows[i];
    }
}

// result[c] = sum_{x, y} grid[x, y] term(V[x, c, y])
template <class T, class Term>
static void sum_weighted(BlockShape shape, const T* __restrict v, const T* __restrict grid,
                         double* __restrict result, Term term) {
    set_zero(result, shape.m);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, v += shape.pitch) {
        const T* __restrict weight = grid + row / shape.m * shape.pitch;
        T parts[lanes] = {};
        for (std::ptrdiff_t y = 0; y < shape.pitch; y += lanes)
            for (std::ptrdiff_t k = 0; k < lanes; ++k) parts[k] += weight[y + k] * term(v[y + k]);
        result[row % shape.m] += static_cast<double>(sum_of(parts));
    }
}
template <class T>
static void weighted_sums(BlockShape shape, const T* v, const T* grid, double* result) {
    sum_weighted(shape, v, grid, result, [](T x) { return x; });
}
template <class T>
static void weighted_squares(BlockShape shape, const T* v, const T* grid, double* result) {
    sum_weighted(shape, v, grid, result, [](T x) { return x * x; });
}

// From products = V [D | B'] and the line sums r, s of V: stacked = [V D + diag(r) B; diag(s) D],
// 2p x (m pitch) in panels of so many columns, and, per class, the column sums of A o V B' and of
// B o V D.
template <class T>
static void combine_products(BlockShape shape, const T* __restrict products,
                             const T* __restrict sums, const T* __restrict columns,
                             const T* __restrict a, const T* __restrict b, const T* __restrict d,
                             std::ptrdiff_t panel, T* __restrict stacked, T* __restrict diagonals) {
    const std::ptrdiff_t pitch = shape.pitch;
    set_zero(diagonals, 2 * shape.m * pitch);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row) {
        const std::ptrdiff_t x = row / shape.m, c = row % shape.m;
        const T* __restrict vd = products + row * 2 * pitch;
        const T* __restrict vb = vd + pitch;
        const T* __restrict a_row = a + x * pitch;
        const T* __restrict b_row = b + x * pitch;
        const T* __restrict d_row = d + x * pitch;
        T* __restrict w11 = diagonals + c * 2 * pitch;
        T* __restrict w22 = w11 + pitch;
        const T r = sums[row], s = columns[c * pitch + x];
        std::ptrdiff_t at = c * pitch % panel;
        T* __restrict top = stacked + (c * pitch / panel * 2 * shape.p + x) * panel;
        for (std::ptrdiff_t y = 0; y < pitch; y += lanes, at += lanes) {
            if (at == panel) {
                at = 0;
                top += 2 * shape.p * panel;
            }
            T* __restrict bottom = top + shape.p * panel;
            for (std::ptrdiff_t k = 0; k < lanes; ++k) {
                top[at + k] = vd[y + k] + r * b_row[y + k];
                bottom[at + k] = s * d_row[y + k];
                w11[y + k] += a_row[y + k] * vb[y + k];
                w22[y + k] += b_row[y + k] * vd[y + k];
            }
        }
    }
}

// f on all pairs from W12, which it replaces, and the diagonals; its dots with V.
template <class T>
static void finish_outputs(BlockShape shape, const T* __restrict diagonals, T pairs,
                           const T* __restrict offset, const T* __restrict shifted_norms,
                           const T* __restrict v, T* __restrict f, double* __restrict result) {
    const std::ptrdiff_t pitch = shape.pitch;
    set_zero(result, shape.m);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, v += pitch, f += pitch) {
        const std::ptrdiff_t x = row / shape.m, c = row % shape.m;
        const T* __restrict w22 = diagonals + c * 2 * pitch + pitch;
        const T* __restrict norm_row = shifted_norms + x * pitch;
        const T w11 = diagonals[c * 2 * pitch + x], t = offset[c];
        T parts[lanes] = {};
        for (std::ptrdiff_t y = 0; y < pitch; y += lanes)
            for (std::ptrdiff_t k = 0; k < lanes; ++k) {
                const T value = output(t, norm_row[y + k], pairs, w11, w22[y + k], f[y + k]);
                f[y + k] = value;
                parts[k] += v[y + k] * value;
            }
        result[c] += static_cast<double>(sum_of(parts));
    }
}

// residual = -(mask f + ridge V)
template <class T>
static void negate_image(BlockShape shape, const T* __restrict f, const T* __restrict v,
                         const T* __restrict mask, T ridge, T* __restrict residual) {
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row) {
        const T* __restrict mask_row = mask + row / shape.m * shape.pitch;
        for (std::ptrdiff_t y = 0; y < shape.pitch; ++y, ++f, ++v, ++residual)
            *residual = -kernel_image(mask_row[y], *f, ridge, *v);
    }
}

// The first half of a step: V += step direction, residual -= step (mask image + ridge direction),
// scaled = residual / diag, with the line sums of scaled and the squares of the residual.
template <class T>
static void advance(BlockShape shape, const T* __restrict step, const T* __restrict direction,
                    const T* __restrict image, const T* __restrict mask, T ridge,
                    const T* __restrict inverse_diagonal, T* __restrict v, T* __restrict residual,
                    T* __restrict scaled, T* __restrict sums, T* __restrict columns,
                    double* __restrict squares) {
    const std::ptrdiff_t pitch = shape.pitch;
    set_zero(columns, shape.m * pitch);
    set_zero(squares, shape.m);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row) {
        const std::ptrdiff_t x = row / shape.m, c = row % shape.m;
        const T* __restrict mask_row = mask + x * pitch;
        const T* __restrict inverse_row = inverse_diagonal + x * pitch;
        T* __restrict column = columns + c * pitch;
        const T length = step[c];
        T parts[lanes] = {}, square_parts[lanes] = {};
        for (std::ptrdiff_t y = 0; y < pitch; y += lanes)
            for (std::ptrdiff_t k = 0; k < lanes; ++k) {
                const std::ptrdiff_t at = y + k;
                v[at] += length * direction[at];
                const T rest = residual[at] -
                               length * kernel_image(mask_row[at], image[at], ridge, direction[at]);
                residual[at] = rest;
                const T u = rest * inverse_row[at];
                scaled[at] = u;
                column[at] += u;
                parts[k] += u;
                square_parts[k] += rest * rest;
            }
        sums[row] = sum_of(parts);
        squares[c] += static_cast<double>(sum_of(square_parts));
        direction += pitch, image += pitch, v += pitch, residual += pitch, scaled += pitch;
    }
}

// scaled -= (coarse[x, c] + coarse_columns[c, y]) / diag, and its dots with the residual.
template <class T>
static void subtract_coarse(BlockShape shape, const T* __restrict coarse,
                            const T* __restrict coarse_columns,
                            const T* __restrict inverse_diagonal, const T* __restrict residual,
                            T* __restrict scaled, double* __restrict result) {
    const std::ptrdiff_t pitch = shape.pitch;
    set_zero(result, shape.m);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, residual += pitch, scaled += pitch) {
        const std::ptrdiff_t x = row / shape.m, c = row % shape.m;
        const T* __restrict inverse_row = inverse_diagonal + x * pitch;
        const T* __restrict column = coarse_columns + c * pitch;
        const T row_value = coarse[row];
        T parts[lanes] = {};
        for (std::ptrdiff_t y = 0; y < pitch; y += lanes)
            for (std::ptrdiff_t k = 0; k < lanes; ++k) {
                const T z =
                    preconditioned(scaled[y + k], row_value, column[y + k], inverse_row[y + k]);
                scaled[y + k] = z;
                parts[k] += z * residual[y + k];
            }
        result[c] += static_cast<double>(sum_of(parts));
    }
}

// out += factor[c] V
template <class T>
static void add_scaled_classes(BlockShape shape, const T* __restrict factor, const T* __restrict v,
                               T* __restrict out) {
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, v += shape.pitch, out += shape.pitch) {
        const T scale = factor[row % shape.m];
        for (std::ptrdiff_t y = 0; y < shape.pitch; ++y) out[y] += scale * v[y];
    }
}

// V times the factor of its class.
template <class T>
static void scale_start(BlockShape shape, const T* __restrict factor, T* __restrict v) {
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, v += shape.pitch) {
        const T scale = factor[row % shape.m];
        for (std::ptrdiff_t y = 0; y < shape.pitch; ++y) v[y] = scaled_start(scale, v[y]);
    }
}

// direction = scaled + factor[c] direction, with its line sums.
template <class T>
static void turn(BlockShape shape, const T* __restrict factor, const T* __restrict scaled,
                 T* __restrict direction, T* __restrict sums, T* __restrict columns) {
    const std::ptrdiff_t pitch = shape.pitch;
    set_zero(columns, shape.m * pitch);
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, scaled += pitch, direction += pitch) {
        const std::ptrdiff_t c = row % shape.m;
        T* __restrict column = columns + c * pitch;
        const T kept = factor[c];
        T parts[lanes] = {};
        for (std::ptrdiff_t y = 0; y < pitch; y += lanes)
            for (std::ptrdiff_t k = 0; k < lanes; ++k) {
                const T value = kept * direction[y + k] + scaled[y + k];
                direction[y + k] = value;
                column[y + k] += value;
                parts[k] += value;
            }
        sums[row] = sum_of(parts);
    }
}

// Keeps, for each pair, the largest output and its class, first_class + c.
template <class T>
static void keep_best(BlockShape shape, const T* __restrict f, std::int32_t first_class,
                      T* __restrict best, std::int32_t* __restrict best_class) {
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, f += shape.pitch) {
        const std::ptrdiff_t x = row / shape.m;
        const auto label = first_class + static_cast<std::int32_t>(row % shape.m);
        T* __restrict best_row = best + x * shape.p;
        std::int32_t* __restrict class_row = best_class + x * shape.p;
        for (std::ptrdiff_t y = 0; y < shape.p; ++y) {
            const bool better = f[y] > best_row[y];
            best_row[y] = better ? f[y] : best_row[y];
            class_row[y] = better ? label : class_row[y];
        }
    }
}

// In place, with products = V [Q12' | Q22] and h = Q11 V, the entries of Z Q Z: those of h become
// what is multiplied by V for block 22, and cross adds up over the classes.
template <class T>
static void combine_moments(BlockShape shape, const T* __restrict products,
                            const T* __restrict sums, const T* __restrict columns,
                            const T* __restrict q12, T* __restrict h, T* __restrict left,
                            T* __restrict cross) {
    const std::ptrdiff_t pitch = shape.pitch;
    for (std::ptrdiff_t row = 0; row < shape.rows(); ++row, h += pitch, left += pitch) {
        const std::ptrdiff_t x = row / shape.m;
        const T* __restrict product = products + row * 2 * pitch + pitch;
        const T* __restrict s = columns + row % shape.m * pitch;
        const T* __restrict q = q12 + x * pitch;
        T* __restrict cross_row = cross + x * pitch;
        const T r = sums[row];
        for (std::ptrdiff_t y = 0; y < pitch; ++y) {
            const MomentEntries<T> entries = moment_entries(product[y], h[y], r, s[y], q[y]);
            cross_row[y] += entries.cross;
            left[y] = entries.left;
            h[y] = entries.right;
        }
    }
}

}  // namespace grokrfm
