// The leaf loops of all operations, behind a table of pointers: loops.cpp is compiled once for each
// instruction set, and the best table that the processor supports is taken when the module is
// loaded. What the loops do is said beside their definitions, in row_loops.h, grid_loops.h and
// network_loops.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "../common/kernels.h"
#include "../network.h"
#include "product.h"

namespace grokrfm {

// A block of grids V[x, c, y]: p values of x, m classes c, `pitch` values of y, which is p rounded
// up to whole `lanes`.
struct BlockShape {
    std::ptrdiff_t p, pitch, m;
    GROKRFM_HOST_DEVICE std::ptrdiff_t rows() const { return p * m; }
    GROKRFM_HOST_DEVICE std::ptrdiff_t size() const { return p * m * pitch; }
};
constexpr std::ptrdiff_t lanes = 8;

// The numbers of one optimiser step.
template <class T>
struct Step {
    T rate, decay, kept, mean_share, square_kept, square_share, epsilon;
    T mean_rate, root_scale;
};

template <class T>
struct Loops {
    using Size = std::ptrdiff_t;

    void (*add_row)(const T* source, Size size, T* sum);
    void (*add_scaled)(const T* source, T factor, Size size, T* sum);
    void (*look_up)(const T* table, const std::int32_t* index, Size size, bool first, T* out);
    void (*gather)(const T* source, const std::int32_t* order, Size size, T* out);
    void (*multiply_looked_up)(const T* first, const std::int32_t* first_index, const T* second,
                               const std::int32_t* second_index, Size size, T* out);
    // Products of rows with a panel, (size, panel_columns): see row_loops.h.
    Size panel_rows, panel_columns;
    void (*scale_panel)(const T* factors, const T* panel, Size size, T* out);
    void (*multiply_panels)(Factor<T> left, Size rows, Size size, const T* panels, Size columns,
                            bool add, T* out, Size out_stride);
    void (*multiply_panel)(const T* const* rows, Size height, Size size, const T* panel, T* sums);
    // Products to about 16 bits: see tile_loops.h. Null where there are none.
    Size tile_bytes;
    void (*multiply_tiles)(const Product<T>&, void* workspace);
    void (*apply_value)(const KernelChoice&, const T* q_x, T q_z, Size size, T* s);
    void (*apply_slopes)(const KernelChoice&, const T* q_x, T q_z, Size size, T* s, T* d_q);

    void (*line_sums)(BlockShape, const T* v, T* sums, T* columns);
    void (*dots)(BlockShape, const T* u, const T* v, double* result);
    double (*precise_dot)(const T* u, const T* v, Size size);
    void (*combine_rows)(const T* rows, Size count, Size size, const double* weights, T* out);
    void (*weighted_sums)(BlockShape, const T* v, const T* grid, double* result);
    void (*weighted_squares)(BlockShape, const T* v, const T* grid, double* result);
    void (*combine_products)(BlockShape, const T* products, const T* sums, const T* columns,
                             const T* a, const T* b, const T* d, Size panel, T* stacked,
                             T* diagonals);
    void (*finish_outputs)(BlockShape, const T* diagonals, T pairs, const T* offset,
                           const T* shifted_norms, const T* v, T* f, double* result);
    void (*negate_image)(BlockShape, const T* f, const T* v, const T* mask, T ridge, T* residual);
    void (*advance)(BlockShape, const T* step, const T* direction, const T* image, const T* mask,
                    T ridge, const T* inverse_diagonal, T* v, T* residual, T* scaled, T* sums,
                    T* columns, double* squares);
    void (*subtract_coarse)(BlockShape, const T* coarse, const T* coarse_columns,
                            const T* inverse_diagonal, const T* residual, T* scaled,
                            double* result);
    void (*add_scaled_classes)(BlockShape, const T* factor, const T* v, T* out);
    void (*scale_start)(BlockShape, const T* factor, T* v);
    void (*turn)(BlockShape, const T* factor, const T* scaled, T* direction, T* sums, T* columns);
    void (*keep_best)(BlockShape, const T* f, std::int32_t first_class, T* best,
                      std::int32_t* best_class);
    void (*combine_moments)(BlockShape, const T* products, const T* sums, const T* columns,
                            const T* q12, T* h, T* left, T* cross);

    void (*add_rows)(const T* a, const T* b, Size size, T* sum);
    void (*scale_row)(T factor, Size size, T* row);
    void (*multiply_entries)(const T* a, const T* b, Size size, T* out);
    void (*activate)(Activation, const T* z, Size size, T* out);
    void (*slopes_of)(Activation, const T* z, Size size, T* out);
    void (*times_slope)(Activation, const T* z, Size size, T* dz);
    void (*adamw_step)(const Step<T>&, const T* gradient, Size size, T* weights, T* mean,
                       T* square);
    void (*sgd_step)(const Step<T>&, const T* gradient, Size size, T* weights);
};

struct LoopTables {
    Loops<float> in_float;
    Loops<double> in_double;
};

// The tables in use, those of the baseline until `use_instruction_set` has been called.
extern const LoopTables* loops_in_use;

template <class T>
const Loops<T>& loops() {
    if constexpr (std::is_same_v<T, float>)
        return loops_in_use->in_float;
    else
        return loops_in_use->in_double;
}

// The instruction sets built, lowest first.
std::vector<std::string> instruction_sets();
std::string instruction_set_in_use();

// Takes the set of that name, or the best one that the processor supports if the name is empty.
void use_instruction_set(const std::string& name);

}  // namespace grokrfm
