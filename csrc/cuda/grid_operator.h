// The kernel of the quadratic family on a block of grids, 10 p^3 flops a column in five products
// that take all columns of a run at once; mathematics in ../grid_round.h. V'B comes out column by
// column, [c, x, y], where the rest is [x, c, y]: the pass that stacks the right factors of
// [A | B] reads both.
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

// norm_sum = t = sum V (q - shift) per column, from the sums of a pass.
template <class T>
void keep_norms(Device& device, const GridBlock<T> g) {
    sum_parts<1>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 1>& sums) {
        g.norm_sum[c] = sums.value[0];
    });
}

template <class T>
void sum_norms(Device& device, const GridBlock<T> g, const T* v) {
    sum_grids<1>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Place& at) {
            return Twos<T, 2>{load_two(v + at.here), load_two(g.shifted_norms + at.pair)};
        },
        [] GROKRFM_BODY(const Tiles::Place&, const Twos<T, 2>& loaded, T* totals) {
            for (int k = 0; k < 2; ++k) *totals += loaded.of[0].value[k] * loaded.of[1].value[k];
        });
    keep_norms(device, g);
}

// Leaves W12 in the image and the diagonals of W11 and W22, all that `output_at` needs, given the
// lines and norm sums of V.
template <class T>
void multiply_summed(Device& device, const GridBlock<T> g, const T* v) {
    const std::ptrdiff_t pitch = g.pitch, width = g.m * pitch, block = g.p * width;
    const T *b = g.metric + pitch, *d = g.metric + pitch * g.w + pitch;
    // Sums over all of a row, what lies beyond p being zero: factors whose rows have an odd length
    // are read number by number.
    device.multiply<T>(g.p * g.m, pitch, pitch, 1, g.grid(v), g.matrix(d), 0, {g.vd, pitch, block},
                       g.runs);
    device.multiply<T>(g.p * g.m, pitch, pitch, 1, g.grid(v), g.transposed(g.matrix(b)), 0,
                       {g.vb, pitch, block}, g.runs);
    device.multiply<T>(width, pitch, g.p, 1, g.transposed(g.wide(v)), g.matrix(b), 0,
                       {g.turned, pitch, width * pitch}, g.runs);
    multiply_lines(device, g, g.squares);
    // diagonals = (M o M) [r; s] + 2 [colsum(A o V B'); colsum(B o V D)]
    using Loaded = Twos<T, 6>;
    sum_tiles<0, 2, 0>(
        device, g.tiles(), g.column_parts, g.parts,
        [=] GROKRFM_BODY(const Tiles::Place& at) {
            const std::ptrdiff_t matrix = g.of_matrix(at.run, at.x) + at.y;
            const std::ptrdiff_t across = (g.column(at) * pitch + at.x) * pitch + at.y;
            return Loaded{load_two(g.vd + at.here),    load_two(g.vb + at.here),
                          load_two(g.turned + across), load_two(g.metric + matrix),
                          load_two(b + matrix),        load_two(d + matrix)};
        },
        [=] GROKRFM_BODY(const Tiles::Place& at, const Loaded& loaded, T*, Two<T>* column_sums,
                         T*) {
            const auto& [vd, vb, turned, a_x, b_x, d_x] = loaded.of;
            const T *lines = g.lines + g.of_column(at), r = lines[at.x], s = lines[pitch + at.x];
            Two<T> upper, lower;
            for (int k = 0; k < 2; ++k) {
                upper.value[k] = vd.value[k] + r * b_x.value[k];
                lower.value[k] = turned.value[k] + s * d_x.value[k];
                column_sums[0].value[k] += a_x.value[k] * vb.value[k];
                column_sums[1].value[k] += b_x.value[k] * vd.value[k];
            }
            T* top = g.stacked + ((at.run * g.w + at.x) * g.m + at.c) * pitch + at.y;
            store_two(top, upper);
            store_two(top + pitch * width, lower);
        },
        [] GROKRFM_BODY(const Tiles::Place&, const T*) {});
    sum_column_parts<2>(
        device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t y, const Sums<T, 2>& sums) {
            for (std::ptrdiff_t k = 0; k < 2; ++k) {
                const std::ptrdiff_t line = c * g.w + k * pitch + y;
                g.diagonals[line] = 2 * sums.value[k] + g.line_images[line];
            }
        });
    device.multiply<T>(g.p, width, g.w, 1, g.matrix(g.metric), {'N', g.stacked, width, g.w * width},
                       0, {g.image, width, block}, g.runs);
}

// f at two neighbours, of W12 there, the diagonal of W22 and the shifted norms.
template <class T>
GROKRFM_HOST_DEVICE Two<T> output_at(const GridBlock<T>& g, const Tiles::Place& at,
                                     const Two<T>& w12, const Two<T>& w22, const Two<T>& shifted) {
    const T pairs = static_cast<T>(g.form.pairs), norms = static_cast<T>(g.form.norms);
    const std::ptrdiff_t c = g.column(at);
    const T offset = norms != 0 ? norms * static_cast<T>(g.norm_sum[c]) : T(0);
    const T w11 = g.diagonals[c * g.w + at.x];
    Two<T> f;
    for (int k = 0; k < 2; ++k)
        f.value[k] = output(offset, shifted.value[k], pairs, w11, w22.value[k], w12.value[k]);
    return f;
}
template <class T>
GROKRFM_HOST_DEVICE Two<T> load_w22(const GridBlock<T>& g, const Tiles::Place& at) {
    return load_two(g.diagonals + g.of_column(at) + g.pitch + at.y);
}

// The parts become those of V . (f + ridge V), of the V multiplied last; the image f, if it is to.
template <class T>
void measure_energy(Device& device, const GridBlock<T> g, const T* v, bool keeps_outputs) {
    using Loaded = Twos<T, 4>;
    sum_grids<1>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Place& at) {
            return Loaded{load_two(v + at.here), load_two(g.image + at.here), load_w22(g, at),
                          load_two(g.shifted_norms + at.pair)};
        },
        [=] GROKRFM_BODY(const Tiles::Place& at, const Loaded& loaded, T* totals) {
            const auto& [both, w12, w22, shifted] = loaded.of;
            const Two<T> f = output_at(g, at, w12, w22, shifted);
            for (int k = 0; k < 2; ++k)
                *totals += both.value[k] * (f.value[k] + g.ridge * both.value[k]);
            if (keeps_outputs) store_two(g.image + at.here, f);
        });
}

// image = f(V) on all pairs, with the energies in the parts.
template <class T>
void apply(Device& device, const GridBlock<T> g, const T* v) {
    sum_lines(device, g, v);
    if (g.form.norms != 0) sum_norms(device, g, v);
    multiply_summed(device, g, v);
    measure_energy(device, g, v, true);
}

}  // namespace grokrfm::cuda
