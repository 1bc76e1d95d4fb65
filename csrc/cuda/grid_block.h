// A block of m columns of each of several runs: what lies where on the device. The columns are
// classes from first_class on, or else targets.
//
// As on the CPU a grid is V[x, c, y] with `pitch` values of y, p rounded up; what lies beyond p is
// zero, so that products and loops need not know of it. Left and right products both see one matrix
// a run, and the runs are the batch. Matrices of pairs (2p x 2p) have their blocks at multiples of
// the pitch too, width w = 2 pitch, so that every block begins at a multiple of 32 bytes.
#pragma once

#include "../common/conjugate_gradients.h"
#include "launch.h"
#include "operations.h"

namespace grokrfm::cuda {

constexpr std::ptrdiff_t lanes = 8;

template <class T>
struct GridBlock {
    std::ptrdiff_t runs, p, pitch, w, m;
    std::int32_t first_class;
    const T* targets;  // null for classes
    std::ptrdiff_t n, target_count;
    QuadraticForm form;
    T ridge;
    double tolerance;
    const std::int32_t *train_labels, *test_labels, *ranks;  // runs x p x p

    T *metric, *squares, *coarse, *moment;       // runs x w x w
    T *shifted_norms, *mask, *inverse_diagonal;  // runs x p x pitch

    // Grids, runs x p x m x pitch. vd = V D, vb = V B'.
    T *solution, *residual, *direction, *image, *vd, *vb;
    T* turned;        // runs x m x pitch x pitch, V'B class by class
    T* stacked;       // runs x w x m x pitch, [V D + diag(r) B; V'B + diag(s) D]
    T* lines;         // runs x m x w, row sums r and column sums s
    T* line_images;   // runs x m x w, a 2p x 2p matrix times those
    T* diagonals;     // runs x m x w, the diagonal blocks' part of W
    T* parts;         // tiles x 2, sums over a tile
    T* column_parts;  // tiles x 2 x pitch, sums over its rows

    // A column each, runs x m.
    ConjugateGradients* solves;
    double *energy, *norm_sum;
    double* weighted;  // residual . residual / diag
    T *step, *factor;
    // A run each.
    double* before;
    std::int32_t *active, *finished;
    double* count;  // one number

    std::ptrdiff_t rows() const { return runs * p * m; }
    std::ptrdiff_t columns() const { return runs * m; }
    std::ptrdiff_t grid_size() const { return rows() * pitch; }

    Tiles tiles() const { return {runs, p, m, pitch}; }

    // A row of a grid, row = (run p + x) m + c.
    struct Row {
        std::ptrdiff_t run, x, c;
    };
    // In 32 bits, which the rows of a block fit into: a GPU divides 64 bits several times slower.
    GROKRFM_HOST_DEVICE Row split(std::ptrdiff_t row) const {
        const auto all = static_cast<std::uint32_t>(row);
        const auto columns = static_cast<std::uint32_t>(m), first = all / columns;
        const auto extent = static_cast<std::uint32_t>(p);
        return {first / extent, first % extent, all % columns};
    }
    GROKRFM_HOST_DEVICE std::ptrdiff_t row(std::ptrdiff_t run, std::ptrdiff_t x,
                                           std::ptrdiff_t c) const {
        return (run * p + x) * m + c;
    }
    // Of arrays runs x m, runs x m x w, and of matrices runs x w x w.
    template <class At>
    GROKRFM_HOST_DEVICE std::ptrdiff_t column(const At& at) const {
        return at.run * m + at.c;
    }
    template <class At>
    GROKRFM_HOST_DEVICE std::ptrdiff_t of_column(const At& at) const {
        return column(at) * w;
    }
    GROKRFM_HOST_DEVICE std::ptrdiff_t of_matrix(std::ptrdiff_t run, std::ptrdiff_t i) const {
        return (run * w + i) * w;
    }
    // The right-hand side: 1 at the training pairs of the row's class, or as given.
    GROKRFM_HOST_DEVICE T right_side(const Tiles::Place& at, std::ptrdiff_t y) const {
        if (y >= p) return 0;
        const std::ptrdiff_t pair = (at.run * p + at.x) * p + y;
        if (targets == nullptr) return train_labels[pair] == first_class + at.c ? T(1) : T(0);
        const std::int32_t i = ranks[pair];
        return i < 0 ? T(0) : targets[(at.run * target_count + at.c) * n + i];
    }
    GROKRFM_HOST_DEVICE bool is_open(std::ptrdiff_t c) const {
        return active[c / m] != 0 && solves[c].is_open(tolerance);
    }
    GROKRFM_HOST_DEVICE double worst(std::ptrdiff_t run) const {
        return worst_residual(solves + run * m, m);
    }

    Factor<T> grid(const T* v) const { return {'N', v, pitch, p * m * pitch}; }
    Factor<T> wide(const T* v) const { return {'N', v, m * pitch, p * m * pitch}; }
    Factor<T> matrix(const T* a) const { return {'N', a, w, w * w}; }
    Factor<T> transposed(Factor<T> factor) const {
        factor.op = 'T';
        return factor;
    }
};

// A pass over the grids that adds up `count` numbers a column, with use(place, loaded, totals);
// sum_parts gives the sums.
template <int count, class T, class Load, class Use>
void sum_grids(Device& device, const GridBlock<T> g, Load load, Use use) {
    using Loaded = decltype(load(Tiles::Place{}));
    sum_tiles<0, 0, count>(
        device, g.tiles(), g.column_parts, g.parts, load,
        [=] GROKRFM_BODY(const Tiles::Place& at, const Loaded& loaded, T*, Two<T>*, T* totals) {
            use(at, loaded, totals);
        },
        [] GROKRFM_BODY(const Tiles::Place&, const T*) {});
}

// finish(column, sums) with the `count` sums of a pass, in doubles.
template <int count, class T, class Finish>
void sum_parts(Device& device, const GridBlock<T> g, Finish finish) {
    const Tiles tiles = g.tiles();
    sum_rows<count, double>(
        device, g.columns(), tiles.a_column(),
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t i, Sums<double, count>& sums) {
            const T* parts = g.parts + tiles.tile(c, i) * count;
            for (int k = 0; k < count; ++k) sums.value[k] += static_cast<double>(parts[k]);
        },
        finish);
}

// finish(column, y, sums) with the `count` sums over x of a pass.
template <int count, class T, class Finish>
void sum_column_parts(Device& device, const GridBlock<T> g, Finish finish) {
    const Tiles tiles = g.tiles();
    const std::ptrdiff_t pitch = g.pitch;
    for_each(device, g.columns() * pitch, [=] GROKRFM_BODY(std::ptrdiff_t place) {
        const std::ptrdiff_t c = place / pitch, y = place % pitch;
        Sums<T, count> sums{};
        for (std::ptrdiff_t i = 0; i < tiles.a_column(); ++i)
            for (int k = 0; k < count; ++k)
                sums.value[k] += g.column_parts[(tiles.tile(c, i) * count + k) * pitch + y];
        finish(c, y, sums);
    });
}

// A pass that leaves both halves of the lines, row sums and column sums of what is added to them:
// use(place, loaded, row_sum, column_sums, totals).
template <int per_tile, class T, class Load, class Use>
void sum_to_lines(Device& device, const GridBlock<T> g, Load load, Use use) {
    using Loaded = decltype(load(Tiles::Place{}));
    sum_tiles<1, 1, per_tile>(
        device, g.tiles(), g.column_parts, g.parts, load,
        [=] GROKRFM_BODY(const Tiles::Place& at, const Loaded& loaded, T* row_sums,
                         Two<T>* column_sums,
                         T* totals) { use(at, loaded, *row_sums, *column_sums, totals); },
        [=] GROKRFM_BODY(const Tiles::Place& at, const T* row_sums) {
            g.lines[g.of_column(at) + at.x] = *row_sums;
        });
    sum_column_parts<1>(
        device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t y, const Sums<T, 1>& sums) {
            g.lines[c * g.w + g.pitch + y] = sums.value[0];
        });
}

template <class T>
void sum_lines(Device& device, const GridBlock<T> g, const T* v) {
    sum_to_lines<0>(
        device, g, [=] GROKRFM_BODY(const Tiles::Place& at) { return load_two(v + at.here); },
        [] GROKRFM_BODY(const Tiles::Place&, const Two<T>& both, T& row_sum, Two<T>& column_sums,
                        T*) {
            for (int k = 0; k < 2; ++k) {
                row_sum += both.value[k];
                column_sums.value[k] += both.value[k];
            }
        });
}

// line_images[c] = matrix lines[c]
template <class T>
void multiply_lines(Device& device, const GridBlock<T> g, const T* matrix) {
    device.multiply<T>(g.m, g.w, g.w, 1, {'N', g.lines, g.w, g.m * g.w},
                       g.transposed(g.matrix(matrix)), 0, {g.line_images, g.w, g.m * g.w}, g.runs);
}

}  // namespace grokrfm::cuda
