// Rounds on the grid for runs of one modulus, block of columns by block of columns. On the device
// stay the last solutions and the shared matrices; a block of m columns works in nine grids,
//
//   itemsize (9 m p pitch + 20 pitch^2 + 6 p pitch) a run, an eighth of a grid a column for sums
// over tiles, and arrays that are smaller by far.
//
// Counted for one run in float32 with half of all pairs, n = p^2 / 2, a solution being 4 p n bytes
// and the p x p arrays of a round, those of the eigenvalue problem and of the array source among
// them, at most 200:
//
//              solutions kept         block of classes,     p x p     together
//                                     at most 4.3 GB        arrays
//   p = 997    6 of 1.98 GB = 11.9    111: 4.1 GB           .8 GB     17 GB
//   p = 1999   4 of 15.98 GB = 63.9   26: 4.2 GB            3.2 GB    71 GB
//
// Both fit into 80 GB: at p = 1999 four solutions are kept instead of six, as
// ConjugateGradientMachine decides by the free memory. Larger blocks would buy nothing: the long
// side of a block's products is m p, over 40,000.
#include "../grid_round.h"
#include "grid_solver.h"

namespace grokrfm::cuda {

namespace {

// What the sums over blocks are collected in, and what a block of columns works in.
template <class T>
struct RoundArrays {
    GridBlock<T> g;
    T *s11, *s12, *s22;  // runs x p x pitch
    T* line_products;    // runs x w x w
    double *row_products, *class_products;
    double* score_squares;  // runs x p x 2: of the outputs on training and test pairs, by row

    RoundArrays(Arena& arena, const GridRuns<T>& all, std::ptrdiff_t m) : g{} {
        const std::ptrdiff_t pitch = (all.p + lanes - 1) / lanes * lanes, w = 2 * pitch;
        const std::ptrdiff_t runs = all.runs, grid = runs * all.p * m * pitch;
        g.runs = runs, g.p = all.p, g.pitch = pitch, g.w = w, g.m = m;
        g.form = all.form, g.ridge = all.ridge;
        g.train_labels = all.train_labels, g.test_labels = all.test_labels, g.ranks = all.ranks;
        g.n = all.n, g.target_count = all.target_count;
        for (T** matrix : {&g.metric, &g.squares, &g.coarse, &g.moment, &line_products})
            *matrix = arena.take<T>(runs * w * w);
        for (T** pairs : {&g.shifted_norms, &g.mask, &g.inverse_diagonal, &s11, &s12, &s22})
            *pairs = arena.take<T>(runs * all.p * pitch);
        for (T** v : {&g.solution, &g.residual, &g.direction, &g.image, &g.vd, &g.vb})
            *v = arena.take<T>(grid);
        g.stacked = arena.take<T>(runs * w * m * pitch);
        g.turned = arena.take<T>(runs * m * pitch * pitch);
        for (T** lines : {&g.lines, &g.line_images, &g.diagonals})
            *lines = arena.take<T>(runs * m * w);
        g.parts = arena.take<T>(2 * g.tiles().count());
        g.column_parts = arena.take<T>(2 * g.tiles().count() * pitch);
        row_products = arena.take<double>(runs * all.p * m * most_depth);
        class_products = arena.take<double>(runs * m * most_depth);
        score_squares = arena.take<double>(runs * all.p * 2);
        g.solves = arena.take<ConjugateGradients>(runs * m);
        for (double** numbers : {&g.energy, &g.norm_sum, &g.weighted})
            *numbers = arena.take<double>(runs * m);
        g.step = arena.take<T>(runs * m), g.factor = arena.take<T>(runs * m);
        g.before = arena.take<double>(runs);
        g.active = arena.take<std::int32_t>(runs);
        g.finished = arena.take<std::int32_t>(runs);
        g.count = arena.take<double>(1);
    }
};

// Zero padding for blocks of this many columns: what no loop or product writes afterwards.
template <class T>
void clear_grids(Device& device, const GridBlock<T>& g) {
    const auto grid = static_cast<std::size_t>(g.grid_size()) * sizeof(T);
    T* const grids[] = {g.solution, g.residual, g.direction, g.image, g.vd, g.vb};
    for (T* v : grids) device.clear(v, grid);
    const auto bytes = [](std::ptrdiff_t count) {
        return static_cast<std::size_t>(count) * sizeof(T);
    };
    device.clear(g.stacked, bytes(g.runs * g.w * g.m * g.pitch));
    device.clear(g.turned, bytes(g.columns() * g.pitch * g.pitch));
    device.clear(g.lines, bytes(g.columns() * g.w));
}

// From minus infinity: an output that is not a number is never the largest.
template <class T>
void begin_scores(Device& device, const GridRuns<T>& all) {
    T* best = all.best;
    std::int32_t* best_class = all.best_class;
    const std::int32_t first_class = all.first_class;
    for_each(device, all.runs * all.p * all.p, [=] GROKRFM_BODY(std::ptrdiff_t pair) {
        best[pair] = T(-HUGE_VAL);
        best_class[pair] = first_class;
    });
}

// Largest output and class of every pair, the own outputs, and the squares by row.
template <class T>
void add_scores(Device& device, const GridBlock<T> g, const GridRuns<T>& all, double* squares) {
    T *best = all.best, *own = all.own;
    std::int32_t* best_class = all.best_class;
    sum_rows<2, double>(
        device, g.runs * g.p, g.p,
        [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y, Sums<double, 2>& sums) {
            const std::ptrdiff_t pair = row * g.p + y;
            const T* f = g.image + g.row(row / g.p, row % g.p, 0) * g.pitch + y;
            const std::int32_t train = g.train_labels[pair], test = g.test_labels[pair];
            const std::int32_t label = (train >= 0 ? train : test) - g.first_class;
            T largest = best[pair], total = 0;
            std::int32_t largest_class = best_class[pair];
            for (std::int32_t c = 0; c < g.m; ++c) {
                const T value = f[c * g.pitch];
                if (value > largest) {
                    largest = value;
                    largest_class = g.first_class + c;
                }
                if (c == label) own[pair] = value;
                total += value * value;
            }
            best[pair] = largest;
            best_class[pair] = largest_class;
            if (train >= 0) sums.value[0] += static_cast<double>(total);
            if (test >= 0) sums.value[1] += static_cast<double>(total);
        },
        [=] GROKRFM_BODY(std::ptrdiff_t row, const Sums<double, 2>& sums) {
            squares[row * 2] += sums.value[0];
            squares[row * 2 + 1] += sums.value[1];
        });
}

// sum t Z and sum t^2
template <class T>
void add_norm_moments(Device& device, const GridBlock<T> g, T* tz, double* t_squared) {
    sum_norms(device, g, g.solution);
    const std::ptrdiff_t d = 2 * g.p;
    for_rows(device, g.runs * d, d, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
        const std::ptrdiff_t run = row / d, i = row % d;
        const bool upper = i < g.p && j >= g.p, lower = i >= g.p && j < g.p;
        if (!upper && !lower && i != j) return;
        T sum = 0;
        for (std::ptrdiff_t c = 0; c < g.m; ++c) {
            const T t = static_cast<T>(g.norm_sum[run * g.m + c]);
            const std::ptrdiff_t x = upper ? i : j, y = (upper ? j : i) - g.p;
            const std::ptrdiff_t line = i < g.p ? i : g.pitch + i - g.p;
            sum += t * (i == j ? g.lines[(run * g.m + c) * g.w + line]
                               : g.solution[g.row(run, x, c) * g.pitch + y]);
        }
        tz[row * d + j] += sum;
    });
    sum_rows<1, double>(
        device, g.runs, g.m,
        [=] GROKRFM_BODY(std::ptrdiff_t run, std::ptrdiff_t c, Sums<double, 1>& sums) {
            sums.value[0] += g.norm_sum[run * g.m + c] * g.norm_sum[run * g.m + c];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t run, const Sums<double, 1>& sums) {
            t_squared[run] += sums.value[0];
        });
}

// Z Q Z block by block. With H = Q11 V, X = V Q22 and Y = V Q12':
//   11: sym(sum (X + 2 r o Q12) V'), 22: sym(sum V'(H + 2 Q12 o s)),
//   12: sum Y V + r o H + X o s, and in all blocks (sum [r; s][r; s]') o Q.
// H takes the place of the image, X and Y those of vd and vb, and V class by class that of turned.
template <class T>
void add_moments(Device& device, const RoundArrays<T>& arrays) {
    const GridBlock<T> g = arrays.g;
    const std::ptrdiff_t p = g.p, pitch = g.pitch, width = g.m * pitch, block = p * width;
    const T *q12 = g.moment + pitch, *q22 = g.moment + pitch * g.w + pitch;
    const T* v = g.solution;
    T *h = g.image, *left = g.direction, *cross = arrays.s12;
    sum_lines(device, g, v);
    device.multiply<T>(p * g.m, pitch, pitch, 1, g.grid(v), g.matrix(q22), 0, {g.vd, pitch, block},
                       g.runs);
    device.multiply<T>(p * g.m, pitch, pitch, 1, g.grid(v), g.transposed(g.matrix(q12)), 0,
                       {g.vb, pitch, block}, g.runs);
    device.multiply<T>(p, width, p, 1, g.matrix(g.moment), g.wide(v), 0, {h, width, block}, g.runs);
    for_rows(device, g.rows(), pitch, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y) {
        const auto at = g.split(row);
        g.turned[((at.run * g.m + at.c) * pitch + at.x) * pitch + y] = v[row * pitch + y];
    });
    device.multiply<T>(p, pitch, width, 1, g.wide(g.vb), {'N', g.turned, pitch, width * pitch}, 1,
                       {cross, pitch, p * pitch}, g.runs);
    for_rows(device, g.runs * p, pitch, [=] GROKRFM_BODY(std::ptrdiff_t pairs, std::ptrdiff_t y) {
        const std::ptrdiff_t run = pairs / p, x = pairs % p;
        const T q = q12[g.of_matrix(run, x) + y];
        T sum = cross[pairs * pitch + y];
        for (std::ptrdiff_t c = 0; c < g.m; ++c) {
            const T* line = g.lines + (run * g.m + c) * g.w;
            const std::ptrdiff_t at = g.row(run, x, c) * pitch + y;
            const auto entries = moment_entries(g.vd[at], h[at], line[x], line[pitch + y], q);
            sum += entries.cross;
            left[at] = entries.left;
            h[at] = entries.right;
        }
        cross[pairs * pitch + y] = sum;
    });
    device.multiply<T>(p, p, width, 1, g.wide(left), g.transposed(g.wide(v)), 1,
                       {arrays.s11, pitch, p * pitch}, g.runs);
    device.multiply<T>(p, pitch, p * g.m, 1, g.transposed(g.grid(v)), g.grid(h), 1,
                       {arrays.s22, pitch, p * pitch}, g.runs);
    const Factor<T> lines{'N', g.lines, g.w, g.m * g.w};
    device.multiply<T>(g.w, g.w, g.m, 1, g.transposed(lines), lines, 1,
                       {arrays.line_products, g.w, g.w * g.w}, g.runs);
}

template <class T>
void finish(Device& device, const RoundArrays<T>& arrays, const GridRuns<T>& all) {
    const GridBlock<T> g = arrays.g;
    const std::ptrdiff_t p = g.p, pitch = g.pitch, d = 2 * p;
    const T *s11 = arrays.s11, *s12 = arrays.s12, *s22 = arrays.s22,
            *products = arrays.line_products;
    T* zqz = all.zqz;
    for_rows(device, g.runs * d, d, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t j) {
        const std::ptrdiff_t run = row / d, i = row % d;
        const std::ptrdiff_t x = i < p ? i : i - p, y = j < p ? j : j - p;
        const std::ptrdiff_t xy = (run * p + x) * pitch + y, yx = (run * p + y) * pitch + x;
        T sum = i < p ? s12[xy] : s12[yx];
        if (i < p && j < p) sum = T(0.5) * (s11[xy] + s11[yx]);
        if (i >= p && j >= p) sum = T(0.5) * (s22[xy] + s22[yx]);
        const std::ptrdiff_t at = g.of_matrix(run, i < p ? x : pitch + x) + (j < p ? y : pitch + y);
        zqz[row * d + j] = sum + products[at] * g.moment[at];
    });
    double *train = all.train_squares, *test = all.test_squares;
    const double* squares = arrays.score_squares;
    sum_rows<2, double>(
        device, g.runs, p,
        [=] GROKRFM_BODY(std::ptrdiff_t run, std::ptrdiff_t x, Sums<double, 2>& sums) {
            for (int k = 0; k < 2; ++k) sums.value[k] += squares[(run * p + x) * 2 + k];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t run, const Sums<double, 2>& sums) {
            train[run] = sums.value[0];
            test[run] = sums.value[1];
        });
}

// Steps and residuals of the block's columns to their places.
template <class T>
void report(Device& device, const GridBlock<T> g, const GridRuns<T>& all, std::ptrdiff_t first) {
    std::int32_t* iterations = all.iterations;
    double* residuals = all.residuals;
    const std::ptrdiff_t columns = all.columns();
    for_each(device, g.columns(), [=] GROKRFM_BODY(std::ptrdiff_t c) {
        const std::ptrdiff_t to = c / g.m * columns + first + c % g.m;
        iterations[to] = g.solves[c].iterations;
        residuals[to] = g.solves[c].relative_residual();
    });
}

// Classes or targets, in blocks whose sizes differ by one at most.
struct Division {
    Division(std::ptrdiff_t first_column, std::ptrdiff_t columns, std::ptrdiff_t most)
        : first(first_column), count(columns), blocks((columns + most - 1) / most) {}
    std::ptrdiff_t widest() const { return blocks > 0 ? (count + blocks - 1) / blocks : 0; }
    std::ptrdiff_t begin(std::ptrdiff_t block) const { return first + block * count / blocks; }

    std::ptrdiff_t first, count, blocks;
};

// Into blocks of as many columns as the budget holds, but one at least.
template <class T>
Division divide(const GridRuns<T>& all, std::ptrdiff_t first, std::ptrdiff_t columns,
                std::size_t budget) {
    std::ptrdiff_t m = 1;
    for (std::ptrdiff_t above = columns + 1; above - m > 1;) {
        const std::ptrdiff_t middle = (m + above) / 2;
        Arena count;
        const RoundArrays<T> arrays(count, all, middle);
        (count.used() <= budget ? m : above) = middle;
    }
    return {first, columns, m};
}

// Solves for the columns of a block, from `first` on, and puts the solutions in their places.
// Leaves them and their outputs.
template <class T>
void solve_block(Device& device, const RoundArrays<T>& arrays, const GridRuns<T>& all,
                 std::ptrdiff_t first) {
    const GridBlock<T> g = arrays.g;
    device.clear(g.solves, static_cast<std::size_t>(g.columns()) * sizeof(*g.solves));
    device.clear(g.finished, static_cast<std::size_t>(all.runs) * sizeof(*g.finished));
    const bool solves = all.max_iterations > 0;
    if (solves)
        scatter(device, g, all, first, all.prediction, all.weights);
    else
        scatter(device, g, all, first, static_cast<const double*>(nullptr), 1);
    if (starts_at_zero(device, g)) {
        device.clear(g.image, static_cast<std::size_t>(g.grid_size()) * sizeof(T));
    } else {
        apply(device, g, g.solution);
        if (solves) scale_start(device, g);
    }
    measure(device, g);
    if (solves) {
        solve(device, g, all.max_iterations);
        keep(device, g, all, first, arrays.row_products);
    }
    report(device, g, all, first);
}

}  // namespace

template <class T>
void grid_round(Device& device, Arena& arena, const GridRuns<T>& all, std::size_t budget) {
    const Division of_classes = divide(all, 0, all.classes, budget);
    const Division of_targets = divide(all, all.classes, all.target_count, budget);
    RoundArrays<T> arrays(arena, all, std::max(of_classes.widest(), of_targets.widest()));
    if (arena.counting()) return;
    GridBlock<T>& g = arrays.g;
    const auto clear = [&](auto* data, std::ptrdiff_t count) {
        device.clear(data, static_cast<std::size_t>(count) * sizeof(*data));
    };
    T* const sums[] = {arrays.s11, arrays.s12, arrays.s22};
    for (T* pairs : sums) clear(pairs, all.runs * g.p * g.pitch);
    clear(arrays.line_products, all.runs * g.w * g.w);
    clear(arrays.score_squares, all.runs * g.p * 2);
    clear(all.tz, all.runs * 4 * g.p * g.p);
    clear(all.t_squared, all.runs);
    clear(all.products, all.runs * all.depth);
    begin_scores(device, all);
    prepare_runs(device, g, all.feature_matrix, all.coarse, all.moment);
    g.m = 0;
    const auto begin = [&](const Division& division, std::ptrdiff_t block) {
        const std::ptrdiff_t first = division.begin(block), m = division.begin(block + 1) - first;
        if (m != g.m) {
            g.m = m;
            clear_grids(device, g);
        }
        return first;
    };
    g.tolerance = all.tolerance;
    for (std::ptrdiff_t block = 0; block < of_classes.blocks; ++block) {
        const std::ptrdiff_t first = begin(of_classes, block);
        g.first_class = all.first_class + static_cast<std::int32_t>(first);
        solve_block(device, arrays, all, first);
        if (all.max_iterations > 0)
            add_products(device, g, arrays.row_products, arrays.class_products, all.depth,
                         all.products);
        add_scores(device, g, all, arrays.score_squares);
        add_moments(device, arrays);
        if (g.form.norms != 0) add_norm_moments(device, g, all.tz, all.t_squared);
    }
    g.tolerance = all.target_tolerance;
    for (std::ptrdiff_t block = 0; block < of_targets.blocks; ++block) {
        const std::ptrdiff_t first = begin(of_targets, block);
        g.targets = all.targets + (first - all.classes) * all.n;
        solve_block(device, arrays, all, first);
    }
    finish(device, arrays, all);
}

template <class T>
std::size_t grid_round_bytes(std::ptrdiff_t p, std::ptrdiff_t classes, std::ptrdiff_t targets,
                             std::size_t budget) {
    GridRuns<T> all{};
    all.runs = 1, all.p = p;
    const std::ptrdiff_t widest = std::max(divide(all, 0, classes, budget).widest(),
                                           divide(all, classes, targets, budget).widest());
    Arena count;
    const RoundArrays<T> arrays(count, all, widest);
    return count.used();
}

template void grid_round(Device&, Arena&, const GridRuns<float>&, std::size_t);
template void grid_round(Device&, Arena&, const GridRuns<double>&, std::size_t);
template std::size_t grid_round_bytes<float>(std::ptrdiff_t, std::ptrdiff_t, std::ptrdiff_t,
                                             std::size_t);
template std::size_t grid_round_bytes<double>(std::ptrdiff_t, std::ptrdiff_t, std::ptrdiff_t,
                                              std::size_t);

}  // namespace grokrfm::cuda
