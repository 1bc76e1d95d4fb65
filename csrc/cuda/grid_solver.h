// Preconditioned conjugate gradients for a block of grids, by the rule of
// ../common/conjugate_gradients.h for the columns of each run. Lengths, factors and flags of the
// columns stay on the device. A column that is done takes steps of length zero, so when the host
// looks whether any is open changes nothing but the work: it looks after a step where that is long,
// and else while the next one is under way.
//
// Besides its products a step reads and writes 15 grids, one more with a ridge: 60 bytes an entry
// in float32, and 2 of sums over tiles, beside the 10 p flops an entry of the products. It is 10
// launches and 6 products, 2 launches more with norms.
#pragma once

#include "grid_operator.h"

namespace grokrfm::cuda {

// solution = the combination of the last solutions with the weights of the run, newest first;
// first: the block's first column among all.
template <class T>
void scatter(Device& device, const GridBlock<T> g, const GridRuns<T>& all, std::ptrdiff_t first,
             const double* weights, std::ptrdiff_t count) {
    const std::ptrdiff_t columns = all.columns(), depth = all.depth, n = all.n;
    const T* solutions = all.solutions;
    for_rows(device, g.rows(), g.pitch, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y) {
        const auto at = g.split(row);
        const std::int32_t i = y < g.p ? g.ranks[(at.run * g.p + at.x) * g.p + y] : -1;
        const T* from = solutions + (at.run * columns + first + at.c) * depth * n;
        T sum = 0;
        if (i >= 0)
            for (std::ptrdiff_t k = 0; k < count; ++k) {
                const T weight =
                    weights == nullptr ? T(1) : static_cast<T>(weights[at.run * count + k]);
                sum += weight * from[k * n + i];
            }
        g.solution[row * g.pitch + y] = sum;
    });
}

constexpr int most_depth = 8;

using Products = Sums<double, most_depth>;

// Puts the solution in front of the last ones, which move on by one, with the products of the new
// one with all of them, most_depth a row.
template <class T>
void keep(Device& device, const GridBlock<T> g, const GridRuns<T>& all, std::ptrdiff_t first,
          double* row_products) {
    const std::ptrdiff_t columns = all.columns(), depth = all.depth, n = all.n;
    T* solutions = all.solutions;
    sum_rows<most_depth, double>(
        device, g.rows(), g.pitch,
        [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y, Products& sums) {
            const auto at = g.split(row);
            const std::int32_t i = y < g.p ? g.ranks[(at.run * g.p + at.x) * g.p + y] : -1;
            if (i < 0) return;
            T* mine = solutions + (at.run * columns + first + at.c) * depth * n + i;
            T moved = g.solution[row * g.pitch + y];
            const double newest = static_cast<double>(moved);
            for (int k = 0; k < most_depth; ++k)
                if (k < depth) {
                    const T old = mine[k * n];
                    mine[k * n] = moved;
                    sums.value[k] += newest * static_cast<double>(moved);
                    moved = old;
                }
        },
        [=] GROKRFM_BODY(std::ptrdiff_t row, const Products& sums) {
            for (int k = 0; k < most_depth; ++k) row_products[row * most_depth + k] = sums.value[k];
        });
}

// Adds them up over a block of classes, to `products`, runs x depth.
template <class T>
void add_products(Device& device, const GridBlock<T> g, const double* row_products,
                  double* class_products, std::ptrdiff_t depth, double* products) {
    sum_rows<most_depth, double>(
        device, g.columns(), g.p,
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t x, Products& sums) {
            const std::ptrdiff_t row = g.row(c / g.m, x, c % g.m);
            for (int k = 0; k < most_depth; ++k)
                sums.value[k] += row_products[row * most_depth + k];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t c, const Products& sums) {
            for (int k = 0; k < most_depth; ++k) class_products[c * most_depth + k] = sums.value[k];
        });
    sum_rows<most_depth, double>(
        device, g.runs, g.m,
        [=] GROKRFM_BODY(std::ptrdiff_t run, std::ptrdiff_t c, Products& sums) {
            for (int k = 0; k < most_depth; ++k)
                sums.value[k] += class_products[(run * g.m + c) * most_depth + k];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t run, const Products& sums) {
            for (int k = 0; k < most_depth; ++k)
                if (k < depth) products[run * depth + k] += sums.value[k];
        });
}

// residual = y - (K + ridge) solution, from the outputs in `image`.
template <class T>
void measure(Device& device, const GridBlock<T> g) {
    sum_grids<2>(device, g, [=] GROKRFM_BODY(const Tiles::Row& at, std::ptrdiff_t y, T* totals) {
        const std::ptrdiff_t here = g.of_grid(at) + y;
        const Two<T> f = load_two(g.image + here), solution = load_two(g.solution + here);
        const Two<T> mask = load_two(g.mask + g.of_pairs(at) + y);
        Two<T> rest;
        for (int k = 0; k < 2; ++k) {
            const T side = g.right_side(at, y + k);
            rest.value[k] =
                side - kernel_image(mask.value[k], f.value[k], g.ridge, solution.value[k]);
            totals[0] += rest.value[k] * rest.value[k];
            totals[1] += side * side;
        }
        store_two(g.residual + here, rest);
    });
    sum_parts<2>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 2>& sums) {
        g.solves[c].squares = sums.value[0];
        g.solves[c].target_norm = ConjugateGradients::norm_of_targets(sums.value[1]);
    });
}

template <class T>
void evaluate(Device& device, const GridBlock<T> g) {
    apply(device, g, g.solution);
    measure(device, g);
}

// To `count`: how many columns the predicate is true of.
template <class T, class Predicate>
void count_columns(Device& device, const GridBlock<T> g, Predicate predicate) {
    sum_rows<1, double>(
        device, 1, g.columns(),
        [=] GROKRFM_BODY(std::ptrdiff_t, std::ptrdiff_t c, Sums<double, 1>& sums) {
            sums.value[0] += predicate(c) ? 1 : 0;
        },
        [=] GROKRFM_BODY(std::ptrdiff_t, const Sums<double, 1>& sums) {
            *g.count = sums.value[0];
        });
}

// Whether all starts are zero: an application of the kernel is more than a look.
template <class T>
bool starts_at_zero(Device& device, const GridBlock<T> g) {
    sum_grids<1>(device, g, [=] GROKRFM_BODY(const Tiles::Row& at, std::ptrdiff_t y, T* totals) {
        const Two<T> solution = load_two(g.solution + g.of_grid(at) + y);
        for (int k = 0; k < 2; ++k) *totals += solution.value[k] == 0 ? T(0) : T(1);
    });
    sum_parts<1>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 1>& sums) {
        g.energy[c] = sums.value[0];
    });
    count_columns(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c) { return g.energy[c] > 0; });
    device.ask(g.count);
    return device.answer() == 0;
}

// Scales the predicted solution of every column, and its outputs, to the smallest error in the
// energy norm.
template <class T>
void scale_start(Device& device, const GridBlock<T> g) {
    sum_parts<1>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 1>& sums) {
        g.energy[c] = sums.value[0];
    });
    sum_grids<1>(device, g, [=] GROKRFM_BODY(const Tiles::Row& at, std::ptrdiff_t y, T* totals) {
        const Two<T> solution = load_two(g.solution + g.of_grid(at) + y);
        for (int k = 0; k < 2; ++k) *totals += g.right_side(at, y + k) * solution.value[k];
    });
    sum_parts<1>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 1>& sums) {
        g.factor[c] = static_cast<T>(start_factor(sums.value[0], g.energy[c]));
    });
    for_rows(device, g.rows(), g.pitch, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y) {
        const auto at = g.split(row);
        const T factor = g.factor[at.run * g.m + at.c];
        for (T* grid : {g.solution, g.image})
            grid[row * g.pitch + y] = scaled_start(factor, grid[row * g.pitch + y]);
    });
}

// A step along the direction as far as the residual goes; the solution follows in `turn`, where the
// direction is read anyway. The lines of u = residual / diag, the residual's squares, and its
// product with u. Not moving: these alone.
template <class T>
void advance(Device& device, const GridBlock<T> g, bool moves) {
    sum_to_lines<2>(device, g,
                    [=] GROKRFM_BODY(const Tiles::Row& at, std::ptrdiff_t y, T& row_sum,
                                     Two<T>& column_sums, T* totals) {
                        const std::ptrdiff_t here = g.of_grid(at) + y, pair = g.of_pairs(at) + y;
                        Two<T> rest = load_two(g.residual + here);
                        if (moves) {
                            const T length = g.step[g.column(at)];
                            const Two<T> f = output_at(g, at, y), mask = load_two(g.mask + pair);
                            Two<T> direction{};
                            if (g.ridge != 0) direction = load_two(g.direction + here);
                            for (int k = 0; k < 2; ++k)
                                rest.value[k] -= length * kernel_image(mask.value[k], f.value[k],
                                                                       g.ridge, direction.value[k]);
                            store_two(g.residual + here, rest);
                        }
                        const Two<T> inverse = load_two(g.inverse_diagonal + pair);
                        for (int k = 0; k < 2; ++k) {
                            const T u = rest.value[k] * inverse.value[k];
                            row_sum += u;
                            column_sums.value[k] += u;
                            totals[0] += rest.value[k] * rest.value[k];
                            totals[1] += rest.value[k] * u;
                        }
                    });
    // The count of open columns is zero by now: `choose_step`.
    sum_parts<2>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 2>& sums) {
        g.solves[c].squares = sums.value[0];
        g.weighted[c] = sums.value[1];
        if (g.is_open(c)) add_atomically(g.count, 1);
    });
}

// The share of the last direction in the next one. With l the lines of u = residual / diag,
//
//   P^-1 residual = u - (W coarse l) / diag,
//   residual . P^-1 residual = residual . u - l . (coarse l)
template <class T>
void precondition(Device& device, const GridBlock<T> g) {
    multiply_lines(device, g, g.coarse);
    sum_rows<1, double>(
        device, g.columns(), g.w,
        [=] GROKRFM_BODY(std::ptrdiff_t c, std::ptrdiff_t i, Sums<double, 1>& sums) {
            sums.value[0] += static_cast<double>(g.lines[c * g.w + i]) *
                             static_cast<double>(g.line_images[c * g.w + i]);
        },
        [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 1>& sums) {
            const double product = g.weighted[c] - sums.value[0];
            g.factor[c] = static_cast<T>(g.solves[c].direction_factor(product));
        });
}

// The last step of the solution; then direction = P^-1 residual + factor direction, with its lines.
template <class T>
void turn(Device& device, const GridBlock<T> g) {
    sum_to_lines<0>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Row& at, std::ptrdiff_t y, T& row_sum, Two<T>& column_sums,
                         T*) {
            const std::ptrdiff_t here = g.of_grid(at) + y, c = g.column(at);
            const T length = g.step[c], factor = g.factor[c];
            const T* images = g.line_images + g.of_column(at);
            const Two<T> inverse = load_two(g.inverse_diagonal + g.of_pairs(at) + y);
            const Two<T> rest = load_two(g.residual + here),
                         columns = load_two(images + g.pitch + y);
            Two<T> direction = load_two(g.direction + here), solution = load_two(g.solution + here);
            for (int k = 0; k < 2; ++k) {
                solution.value[k] += length * direction.value[k];
                direction.value[k] = factor * direction.value[k] +
                                     preconditioned(rest.value[k] * inverse.value[k], images[at.x],
                                                    columns.value[k], inverse.value[k]);
                row_sum += direction.value[k];
                column_sums.value[k] += direction.value[k];
            }
            store_two(g.solution + here, solution);
            store_two(g.direction + here, direction);
        });
}

// The step of the solution that `turn` has not taken yet.
template <class T>
void settle(Device& device, const GridBlock<T> g) {
    for_rows(device, g.rows(), g.pitch, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t y) {
        const std::ptrdiff_t here = row * g.pitch + y;
        g.solution[here] += g.step[g.column(g.split(row))] * g.direction[here];
    });
}

// The length of the step from V . (K + ridge) V in the parts.
template <class T>
void choose_step(Device& device, const GridBlock<T> g) {
    sum_parts<1>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t c, const Sums<double, 1>& sums) {
        const bool active = g.active[c / g.m] != 0;
        g.step[c] =
            active ? static_cast<T>(g.solves[c].step_length(sums.value[0], g.tolerance)) : T(0);
        if (c == 0) *g.count = 0;
    });
}

template <class T>
void begin_pass(Device& device, const GridBlock<T> g) {
    for_each(device, g.runs, [=] GROKRFM_BODY(std::ptrdiff_t run) {
        g.before[run] = g.worst(run);
        g.active[run] = g.finished[run] == 0 && g.before[run] > g.tolerance ? 1 : 0;
    });
    for_each(device, g.columns(), [=] GROKRFM_BODY(std::ptrdiff_t c) {
        g.step[c] = 0;
        g.solves[c].begin_pass();
        if (c == 0) *g.count = 0;
    });
    device.clear(g.direction, static_cast<std::size_t>(g.grid_size()) * sizeof(T));
}

template <class T>
void end_pass(Device& device, const GridBlock<T> g) {
    for_each(device, g.runs, [=] GROKRFM_BODY(std::ptrdiff_t run) {
        if (is_last_pass(g.before[run], g.worst(run))) g.finished[run] = 1;
    });
}

template <class T>
void put_step(Device& device, const GridBlock<T> g) {
    precondition(device, g);
    turn(device, g);
    {
        const Device::Rounding products(device);
        multiply_summed(device, g, g.direction);
    }
    measure_energy(device, g, g.direction, false);
    choose_step(device, g);
    advance(device, g, true);
}

// A look costs some 30 us, since the device runs dry meanwhile; a step too many costs one of about
// 30 of a pass. At 50 Tflop/s they cost the same where a step has so many flops.
constexpr double short_step_flops = 5e10;

// At most so many steps, at least one; returns how many.
template <class T>
int iterate(Device& device, const GridBlock<T> g, int most, bool looks_late,
            Device::Repeated& step) {
    for (int done = 1;; ++done) {
        step();
        if (looks_late && done > 1 && device.answer() == 0) return done;
        if (done == most) return done;
        device.ask(g.count);
        if (!looks_late && device.answer() == 0) return done;
    }
}

// Pass by pass. Leaves the outputs in `image`.
template <class T>
void solve(Device& device, const GridBlock<T> g, int most) {
    const auto p = static_cast<double>(g.p);
    const bool is_short = 10 * p * p * p * static_cast<double>(g.columns()) < short_step_flops;
    Device::Repeated step(device, [&device, g] { put_step(device, g); });
    while (most > 0) {
        begin_pass(device, g);
        advance(device, g, false);
        device.ask(g.count);
        if (device.answer() == 0) return;
        most -= iterate(device, g, most, is_short, step);
        settle(device, g);
        evaluate(device, g);
        end_pass(device, g);
    }
}

}  // namespace grokrfm::cuda
