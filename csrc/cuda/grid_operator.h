// The kernel of the quadratic family on a block of grids, 10 p^3 flops a column in five products
// that take all columns of a run at once; mathematics in ../grid_round.h. (V B')' B comes out
// column by column, [c, x, y], where the rest is [x, c, y]: the last pass over the outputs reads
// both.
#pragma once

#include "../common/grid_entries.h"
#include "grid_block.h"

namespace grokrfm::cuda {

// What depends on the feature matrices alone.
template <class T>
void prepare_runs(Device& device, const GridBlock<T> g, const T* feature_matrix, const T* coarse,
                  const T* moment) {
    const std::ptrdiff_t d = 2 * g.p;
    for_rows(device, g.runs * g.w, g.w, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
        const std::ptrdiff_t run = row / g.w, i = row % g.w, x = i % g.pitch, y = j % g.pitch;
        const bool inside = x < g.p && y < g.p;
        const std::ptrdiff_t from =
            (run * d + (i < g.pitch ? x : g.p + x)) * d + (j < g.pitch ? y : g.p + y);
        const T entry = inside ? feature_matrix[from] : T(0);
        g.metric[row * g.w + j] = entry;
        g.squares[row * g.w + j] = entry * entry;
        g.coarse[row * g.w + j] = inside ? coarse[from] : T(0);
        g.moment[row * g.w + j] = inside ? moment[from] : T(0);
    });
    const T pairs = static_cast<T>(g.form.pairs), norms = static_cast<T>(g.form.norms);
    const T shift = static_cast<T>(g.form.shift);
    for_rows(device, g.runs * g.p, g.pitch, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y) {
        const std::ptrdiff_t run = row / g.p, x = row % g.p;
        const bool inside = y < g.p;
        const T mask = inside && g.train_labels[row * g.p + y] >= 0 ? T(1) : T(0);
        const T* m_x = g.metric + g.of_matrix(run, x);
        const T* m_y = g.metric + g.of_matrix(run, g.pitch + y);
        const T norm =
            inside ? shifted_norm(m_x[x], m_y[g.pitch + y], m_x[g.pitch + y], shift) : T(0);
        const std::ptrdiff_t pair = row * g.pitch + y;
        g.shifted_norms[pair] = norm;
        g.mask[pair] = mask;
        g.inverse_diagonal[pair] =
            inverted_diagonal(mask, kernel_diagonal(pairs, norms, shift, norm), g.ridge);
    });
}

// norm_sum = t = sum V (q - shift) per column.
template <class T>
void sum_norms(Device& device, const GridBlock<T> g, const T* v) {
    sum_rows<1, T>(
        device, g.rows(), g.pitch,
        [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y, Sums<T, 1>& sums) {
            sums.value[0] += v[row * g.pitch + y] * g.shifted_norms[g.of_pairs(g.split(row)) + y];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t row, const Sums<T, 1>& sums) {
            g.parts[row] = sums.value[0];
        });
    sum_parts<1>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 1>& sums) {
        g.norm_sum[c] = sums.value[0];
    });
}

// out = f(V) on all pairs, given the lines of V; the parts become V . (f + ridge V).
template <class T>
void apply_to_summed(Device& device, const GridBlock<T> g, const T* v, T* out) {
    const std::ptrdiff_t pitch = g.pitch, block = g.p * g.m * pitch;
    const T *b = g.metric + pitch, *d = g.metric + pitch * g.w + pitch;
    const bool uses_norms = g.form.norms != 0;
    if (uses_norms) sum_norms(device, g, v);
    device.multiply<T>(g.p * g.m, pitch, g.p, 1, g.grid(v), g.matrix(d), 0, {g.vd, pitch, block},
                       g.runs);
    device.multiply<T>(g.p * g.m, pitch, g.p, 1, g.grid(v), g.transposed(g.matrix(b)), 0,
                       {g.vb, pitch, block}, g.runs);
    multiply_lines(device, g, g.squares);
    for_rows(device, g.rows(), pitch, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y) {
        const auto at = g.split(row);
        const T r = g.lines[g.of_column(at) + at.x], s = g.lines[g.of_column(at) + pitch + at.x];
        const std::ptrdiff_t top = ((at.run * g.w + at.x) * g.m + at.c) * pitch + y;
        g.stacked[top] = g.vd[row * pitch + y] + r * b[g.of_matrix(at.run, at.x) + y];
        g.stacked[top + pitch * g.m * pitch] = s * d[g.of_matrix(at.run, at.x) + y];
    });
    // diagonals = (M o M) [r; s] + 2 [colsum(A o V B'); colsum(B o V D)]
    sum_over_x<2>(
        device, g,
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t x, std::ptrdiff_t y, Sums<T, 2>& sums) {
            const std::ptrdiff_t run = c / g.m, at = g.row(run, x, c % g.m) * pitch + y;
            sums.value[0] += g.metric[g.of_matrix(run, x) + y] * g.vb[at];
            sums.value[1] += b[g.of_matrix(run, x) + y] * g.vd[at];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t y, const Sums<T, 2>& sums) {
            for (std::ptrdiff_t k = 0; k < 2; ++k) {
                const std::ptrdiff_t line = c * g.w + k * pitch + y;
                g.diagonals[line] = 2 * sums.value[k] + g.line_images[line];
            }
        });
    device.multiply<T>(g.p, g.m * pitch, g.w, 1, g.matrix(g.metric),
                       {'N', g.stacked, g.m * pitch, g.w * g.m * pitch}, 0,
                       {out, g.m * pitch, block}, g.runs);
    device.multiply<T>(g.m * pitch, pitch, g.p, 1, g.transposed(g.wide(g.vb)), g.matrix(b), 0,
                       {g.across, pitch, g.m * pitch * pitch}, g.runs);
    const T pairs = static_cast<T>(g.form.pairs), norms = static_cast<T>(g.form.norms);
    sum_rows<1, T>(
        device, g.rows(), pitch,
        [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y, Sums<T, 1>& sums) {
            const auto at = g.split(row);
            const std::ptrdiff_t here = row * pitch + y, c = at.run * g.m + at.c;
            const T w12 = out[here] + g.across[(c * pitch + at.x) * pitch + y];
            const T offset = uses_norms ? norms * static_cast<T>(g.norm_sum[c]) : T(0);
            const T f = output(offset, g.shifted_norms[g.of_pairs(at) + y], pairs,
                               g.diagonals[c * g.w + at.x], g.diagonals[c * g.w + pitch + y], w12);
            out[here] = f;
            sums.value[0] += v[here] * (f + g.ridge * v[here]);
        },
        [=] GROKRFM_BODY(std::ptrdiff_t row, const Sums<T, 1>& sums) {
            g.parts[row] = sums.value[0];
        });
}

template <class T>
void apply(Device& device, const GridBlock<T> g, const T* v, T* out) {
    sum_lines(device, g, v);
    apply_to_summed(device, g, v, out);
}

}  // namespace grokrfm::cuda
