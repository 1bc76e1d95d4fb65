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
    T* stacked;      // runs x w x m x pitch, [V D + diag(r) B; diag(s) D]
    T* across;       // runs x m x pitch x pitch: class by class, row x
    T* lines;        // runs x m x w, row sums r and column sums s
    T* line_images;  // runs x m x w, a 2p x 2p matrix times those
    T* diagonals;    // runs x m x w, the diagonal blocks' part of W
    T* parts;        // two sums a row of the grid
    T* chunk_parts;  // runs x m x chunks x pitch x 2, two sums over a chunk of x

    // A column each, runs x m.
    ConjugateGradients* solves;
    double *energy, *norm_sum;
    T *step, *factor;
    // A run each.
    double* before;
    std::int32_t *active, *finished;
    double* count;  // one number

    std::ptrdiff_t rows() const { return runs * p * m; }
    std::ptrdiff_t columns() const { return runs * m; }
    std::ptrdiff_t grid_size() const { return rows() * pitch; }

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
    // Of arrays runs x m x w, and of matrices runs x w x w.
    GROKRFM_HOST_DEVICE std::ptrdiff_t of_column(const Row& at) const {
        return (at.run * m + at.c) * w;
    }
    GROKRFM_HOST_DEVICE std::ptrdiff_t of_matrix(std::ptrdiff_t run, std::ptrdiff_t i) const {
        return (run * w + i) * w;
    }
    // Of arrays runs x p x pitch.
    GROKRFM_HOST_DEVICE std::ptrdiff_t of_pairs(const Row& at) const {
        return (at.run * p + at.x) * pitch;
    }
    // The right-hand side: 1 at the training pairs of the row's class, or as given.
    GROKRFM_HOST_DEVICE T right_side(const Row& at, std::ptrdiff_t y) const {
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

// Sums of the parts of a column over x: finish(column, sums) with `count` sums of doubles.
template <int count, class T, class Finish>
void sum_parts(Device& device, const GridBlock<T> g, Finish finish) {
    sum_rows<count, double>(
        device, g.columns(), g.p,
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t x, Sums<double, count>& sums) {
            const std::ptrdiff_t row = g.row(c / g.m, x, c % g.m);
            for (int k = 0; k < count; ++k)
                sums.value[k] += static_cast<double>(g.parts[row * count + k]);
        },
        finish);
}

// Sums over x: body(c, x, y, sums) adds to sums that begin at zero, then finish(c, y, sums). A
// thread has one y, so that neighbours read what lies together, and a chunk of x: with all x for
// each a GPU would wait for one load after the other with most of its threads idle.
constexpr std::ptrdiff_t chunk_rows = 64;

constexpr std::ptrdiff_t chunks_of(std::ptrdiff_t p) {
    return (p + chunk_rows - 1) / chunk_rows;
}

template <int count, class T, class Body, class Finish>
void sum_over_x(Device& device, const GridBlock<T> g, Body body, Finish finish) {
    const std::ptrdiff_t chunks = chunks_of(g.p), pitch = g.pitch;
    for_each(device, g.columns() * chunks * pitch, [=] GROKRFM_BODY(std::ptrdiff_t i) {
        const std::ptrdiff_t y = i % pitch, chunk = i / pitch % chunks, c = i / pitch / chunks;
        const std::ptrdiff_t end = chunk + 1 < chunks ? (chunk + 1) * chunk_rows : g.p;
        Sums<T, count> sums{};
        for (std::ptrdiff_t x = chunk * chunk_rows; x < end; ++x) body(c, x, y, sums);
        if (chunks == 1) return finish(c, y, sums);
        for (int k = 0; k < count; ++k) g.chunk_parts[i * count + k] = sums.value[k];
    });
    if (chunks == 1) return;
    for_each(device, g.columns() * pitch, [=] GROKRFM_BODY(std::ptrdiff_t i) {
        const std::ptrdiff_t y = i % pitch, c = i / pitch;
        Sums<T, count> sums{};
        for (std::ptrdiff_t chunk = 0; chunk < chunks; ++chunk)
            for (int k = 0; k < count; ++k)
                sums.value[k] += g.chunk_parts[((c * chunks + chunk) * pitch + y) * count + k];
        finish(c, y, sums);
    });
}

// The half of the lines of a grid that sums over x: of value(place in a grid, place among the
// pairs).
template <class T, class Value>
void sum_columns(Device& device, const GridBlock<T> g, Value value) {
    sum_over_x<1>(
        device, g,
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t x, std::ptrdiff_t y, Sums<T, 1>& sums) {
            const std::ptrdiff_t run = c / g.m;
            sums.value[0] +=
                value(g.row(run, x, c % g.m) * g.pitch + y, (run * g.p + x) * g.pitch + y);
        },
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t y, const Sums<T, 1>& sums) {
            g.lines[c * g.w + g.pitch + y] = sums.value[0];
        });
}

// Both halves.
template <class T>
void sum_lines(Device& device, const GridBlock<T> g, const T* v) {
    sum_rows<1, T>(
        device, g.rows(), g.pitch,
        [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y, Sums<T, 1>& sums) {
            sums.value[0] += v[row * g.pitch + y];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t row, const Sums<T, 1>& sums) {
            const auto at = g.split(row);
            g.lines[g.of_column(at) + at.x] = sums.value[0];
        });
    sum_columns(device, g, [=] GROKRFM_BODY(std::ptrdiff_t at, std::ptrdiff_t) { return v[at]; });
}

// line_images[c] = matrix lines[c]
template <class T>
void multiply_lines(Device& device, const GridBlock<T> g, const T* matrix) {
    device.multiply<T>(g.m, g.w, g.w, 1, {'N', g.lines, g.w, g.m * g.w},
                       g.transposed(g.matrix(matrix)), 0, {g.line_images, g.w, g.m * g.w}, g.runs);
}

}  // namespace grokrfm::cuda
