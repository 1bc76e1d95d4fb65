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
    using Loaded = Twos<T, 3>;
    sum_grids<2>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Place& at) {
            return Loaded{load_two(g.image + at.here), load_two(g.solution + at.here),
                          load_two(g.mask + at.pair)};
        },
        [=] GROKRFM_BODY(const Tiles::Place& at, const Loaded& loaded, T* totals) {
            const auto& [f, solution, mask] = loaded.of;
            Two<T> rest;
            for (int k = 0; k < 2; ++k) {
                const T side = g.right_side(at, at.y + k);
                rest.value[k] =
                    side - kernel_image(mask.value[k], f.value[k], g.ridge, solution.value[k]);
                totals[0] += rest.value[k] * rest.value[k];
                totals[1] += side * side;
            }
            store_two(g.residual + at.here, rest);
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

// Whether all starts are zero: an application of the kernel is more than a look.
template <class T>
bool starts_at_zero(Device& device, const GridBlock<T> g) {
    device.clear(g.count, sizeof *g.count);
    sum_grids<1>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Place& at) { return load_two(g.solution + at.here); },
        [] GROKRFM_BODY(const Tiles::Place&, const Two<T>& solution, T* totals) {
            for (int k = 0; k < 2; ++k) *totals += solution.value[k] == 0 ? T(0) : T(1);
        });
    sum_parts<1>(device, g, [=] GROKRFM_BODY(std::ptrdiff_t, const Sums<double, 1>& sums) {
        if (sums.value[0] > 0) add_atomically(g.count, 1);
    });
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
    sum_grids<1>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Place& at) { return load_two(g.solution + at.here); },
        [=] GROKRFM_BODY(const Tiles::Place& at, const Two<T>& solution, T* totals) {
            for (int k = 0; k < 2; ++k) *totals += g.right_side(at, at.y + k) * solution.value[k];
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
// direction is read anyway. The lines of u = residual / diag, the residual's squares and its
// product with u, and how many columns are open, the count being zero before. Not moving: these
// alone.
template <class T>
void advance(Device& device, const GridBlock<T> g, bool moves) {
    using Loaded = Twos<T, 7>;
    const bool needs_direction = moves && g.ridge != 0;
    sum_to_lines<2>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Place& at) {
            Loaded loaded{load_two(g.residual + at.here), load_two(g.inverse_diagonal + at.pair)};
            if (moves) {
                loaded.of[2] = load_two(g.image + at.here);
                loaded.of[3] = load_w22(g, at);
                loaded.of[4] = load_two(g.shifted_norms + at.pair);
                loaded.of[5] = load_two(g.mask + at.pair);
            }
            if (needs_direction) loaded.of[6] = load_two(g.direction + at.here);
            return loaded;
        },
        [=] GROKRFM_BODY(const Tiles::Place& at, const Loaded& loaded, T& row_sum,
                         Two<T>& column_sums, T* totals) {
            const auto& [residual, inverse, w12, w22, shifted, mask, direction] = loaded.of;
            Two<T> rest = residual;
            if (moves) {
                const T length = g.step[g.column(at)];
                const Two<T> f = output_at(g, at, w12, w22, shifted);
                for (int k = 0; k < 2; ++k)
                    rest.value[k] -= length * kernel_image(mask.value[k], f.value[k], g.ridge,
                                                           direction.value[k]);
                store_two(g.residual + at.here, rest);
            }
            for (int k = 0; k < 2; ++k) {
                const T u = rest.value[k] * inverse.value[k];
                row_sum += u;
                column_sums.value[k] += u;
                totals[0] += rest.value[k] * rest.value[k];
                totals[1] += rest.value[k] * u;
            }
        });
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

// The last step of the solution; then direction = P^-1 residual + factor direction, with its lines
// and norm sums.
template <class T>
void turn(Device& device, const GridBlock<T> g) {
    using Loaded = Twos<T, 6>;
    const bool uses_norms = g.form.norms != 0;
    sum_to_lines<1>(
        device, g,
        [=] GROKRFM_BODY(const Tiles::Place& at) {
            const T* columns = g.line_images + g.of_column(at) + g.pitch;
            Loaded loaded{load_two(g.residual + at.here), load_two(g.direction + at.here),
                          load_two(g.solution + at.here), load_two(g.inverse_diagonal + at.pair),
                          load_two(columns + at.y)};
            if (uses_norms) loaded.of[5] = load_two(g.shifted_norms + at.pair);
            return loaded;
        },
        [=] GROKRFM_BODY(const Tiles::Place& at, const Loaded& loaded, T& row_sum,
                         Two<T>& column_sums, T* totals) {
            const auto& [rest, last, before, inverse, column, shifted] = loaded.of;
            const std::ptrdiff_t c = g.column(at);
            const T length = g.step[c], factor = g.factor[c], row = g.line_images[c * g.w + at.x];
            Two<T> solution, direction;
            for (int k = 0; k < 2; ++k) {
                solution.value[k] = before.value[k] + length * last.value[k];
                direction.value[k] =
                    factor * last.value[k] + preconditioned(rest.value[k] * inverse.value[k], row,
                                                            column.value[k], inverse.value[k]);
                row_sum += direction.value[k];
                column_sums.value[k] += direction.value[k];
                *totals += direction.value[k] * shifted.value[k];
            }
            store_two(g.solution + at.here, solution);
            store_two(g.direction + at.here, direction);
        });
    if (uses_norms) keep_norms(device, g);
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
