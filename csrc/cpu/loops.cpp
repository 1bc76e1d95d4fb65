// Compiled once for each instruction set, with GROKRFM_LOOPS the name of its tables.
//
// Whatever else an object for a higher set let the linker see could be taken for all of the module,
// and fail on older processors. So the loops are static, what they call is inlined by force, and
// they keep off the functions of the standard library: the tables are all that is exported.
#include "loops.h"

#include "grid_loops.h"
#include "network_loops.h"
#include "row_loops.h"
#if defined(__AMX_BF16__)
#include "tile_loops.h"
#endif

namespace grokrfm {

template <class T>
static constexpr Loops<T> table() {
    Loops<T> loops{};
    loops.add_row = add_row<T>;
    loops.add_scaled = add_scaled<T>;
    loops.look_up = look_up<T>;
    loops.gather = gather<T>;
    loops.multiply_looked_up = multiply_looked_up<T>;
    loops.panel_rows = panel_rows;
    loops.panel_columns = panel_columns<T>;
    loops.scale_panel = scale_panel<T>;
    loops.multiply_panels = multiply_panels<T>;
    loops.multiply_panel = multiply_panel<T>;
#if defined(__AMX_BF16__)
    if constexpr (std::is_same_v<T, float>) {
        loops.tile_bytes = tile_bytes;
        loops.multiply_tiles = multiply_tiles;
    }
#endif
    loops.apply_value = apply_value<T>;
    loops.apply_slopes = apply_slopes<T>;
    loops.line_sums = line_sums<T>;
    loops.dots = dots<T>;
    loops.precise_dot = precise_dot<T>;
    loops.combine_rows = combine_rows<T>;
    loops.weighted_sums = weighted_sums<T>;
    loops.weighted_squares = weighted_squares<T>;
    loops.combine_products = combine_products<T>;
    loops.finish_outputs = finish_outputs<T>;
    loops.negate_image = negate_image<T>;
    loops.advance = advance<T>;
    loops.subtract_coarse = subtract_coarse<T>;
    loops.add_scaled_classes = add_scaled_classes<T>;
    loops.scale_start = scale_start<T>;
    loops.turn = turn<T>;
    loops.keep_best = keep_best<T>;
    loops.combine_moments = combine_moments<T>;
    loops.add_rows = add_rows<T>;
    loops.scale_row = scale_row<T>;
    loops.multiply_entries = multiply_entries<T>;
    loops.activate = activate<T>;
    loops.slopes_of = slopes_of<T>;
    loops.times_slope = times_slope<T>;
    loops.adamw_step = adamw_step<T>;
    loops.sgd_step = sgd_step<T>;
    return loops;
}

extern const LoopTables GROKRFM_LOOPS;
constexpr LoopTables GROKRFM_LOOPS{table<float>(), table<double>()};

}  // namespace grokrfm
