// The kernel of the quadratic family as an operator on a block of grids; mathematics in
// ../grid_round.h.
//
// A block stores V[x, c, y] of m classes c, so that products from the right and from the left both
// see one matrix. `pitch` is p rounded up to whole lanes. V and the masks are zero beyond p; what
// outputs hold there counts for nothing.
//
//                   y = 0 ... p - 1   pitch
//                   +---------------+---+
//     x = 0  c = 0  |               | 0 |     all rows:        (p m) x pitch,  for V [D | B']
//            ...    |               | 0 |     a row every x:   p x (m pitch),  for [A | B] stacked
//            m - 1  |               | 0 |     class c alone:   p x pitch, every m-th row
//                   +---------------+---+
//     x = 1  c = 0  |               | 0 |     Grids that all classes share are p x pitch, too.
//            ...    |               | 0 |
//
//     product            rows x columns, sums of   into
//     V [D | B']         (p m) x 2 pitch, p        right_products
//     (M o M) [r; s]     2p x m, 2p                lines
//     [A | B] stacked    p x (m pitch), 2p         out: W12 but for its last term
//     (V B')' B          p x pitch, p, a class     out, added
//
// One pass over right_products makes `stacked` and `diagonals`; with the lines added, a last pass
// makes f of out and `diagonals`.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "../common/grid_entries.h"
#include "../grid_round.h"
#include "blas.h"
#include "loops.h"
#include "parallel.h"

namespace grokrfm {

// A p x p grid with the pitch of a block, entry (x, y) = value(x, y).
template <class T, class Value>
std::vector<T> make_grid(std::ptrdiff_t p, std::ptrdiff_t pitch, const Value& value) {
    std::vector<T> grid = zeros<T>(p * pitch);
    for (std::ptrdiff_t x = 0; x < p; ++x)
        for (std::ptrdiff_t y = 0; y < p; ++y)
            grid[static_cast<std::size_t>(x * pitch + y)] = value(x, y);
    return grid;
}

// The matrix [L | R] of two grids side by side.
template <class T>
std::vector<T> side_by_side(const std::vector<T>& left, const std::vector<T>& right,
                            std::ptrdiff_t pitch) {
    std::vector<T> result;
    for (auto l = left.begin(), r = right.begin(); l != left.end(); l += pitch, r += pitch) {
        result.insert(result.end(), l, l + pitch);
        result.insert(result.end(), r, r + pitch);
    }
    return result;
}

// Whether products in panels are faster than BLAS: 2p rows of a panel take 128 p or, with AVX-512,
// 256 p bytes and should stay in the nearest caches.
constexpr bool panels_serve(std::ptrdiff_t p) {
    return p <= 256;
}

// Whether tiles, where there are any, are faster than either: packing takes p^2, products p^3.
constexpr bool tiles_serve(std::ptrdiff_t p) {
    return p > 128;
}

// A grid, or two side by side, as the right factor of products: p x columns.
template <class T>
struct RightFactor {
    RightFactor(std::vector<T> matrix, std::ptrdiff_t p)
        : rows(std::move(matrix)), columns(static_cast<std::ptrdiff_t>(rows.size()) / p) {
        if (!panels_serve(p)) return;
        const std::ptrdiff_t panel = loops<T>().panel_columns;
        panels = zeros<T>(block_count(columns, panel) * p * panel);
        for (std::ptrdiff_t row = 0; row < p; ++row)
            for (std::ptrdiff_t column = 0; column < columns; ++column)
                panels[static_cast<std::size_t>((column / panel * p + row) * panel +
                                                column % panel)] =
                    rows[static_cast<std::size_t>(row * columns + column)];
    }
    Factor<T> factor() const { return {rows.data(), columns, 1}; }

    std::vector<T> rows, panels;
    std::ptrdiff_t columns;
};

// Products exact to rounding, or to about 16 bits where tiles serve.
enum class Products { exact, rough };

// What the work on a block needs besides the block itself.
template <class T>
struct BlockBuffers {
    BlockBuffers(BlockShape shape, int team)
        : sums(zeros<T>(shape.rows())),
          columns(zeros<T>(shape.m * shape.pitch)),
          offset(zeros<T>(shape.m)),
          norm_sums(static_cast<std::size_t>(shape.m), 0.0),
          dots(norm_sums),
          right_products(zeros<T>(2 * shape.size())),
          stacked(zeros<T>(2 * shape.p * (shape.m * shape.pitch + loops<T>().panel_columns))),
          diagonals(zeros<T>(2 * shape.m * shape.pitch)),
          lines(zeros<T>(2 * shape.rows())),
          tiles(static_cast<std::size_t>(tiles_serve(shape.p) ? team * tile_lines() : 0)) {}

    bool has_tiles() const { return !tiles.empty(); }
    // For tiles, of one of the team.
    void* workspace(std::ptrdiff_t member) { return tiles.data() + member * tile_lines(); }

    std::vector<T> sums, columns;         // r[x, c] and s[c, y]
    std::vector<T> offset;                // m, norms t
    std::vector<double> norm_sums, dots;  // m, t and V . f
    std::vector<T> right_products;        // p x m x 2 x pitch
    std::vector<T> stacked;               // 2p x (m pitch) in panels, or as one
    std::vector<T> diagonals;             // m x 2 x pitch, the diagonals of W11 and of W22
    std::vector<T> lines;                 // 2p x m, a 2p x 2p matrix times [r; s]

 private:
    struct alignas(64) CacheLine {
        std::byte bytes[64];
    };
    static std::ptrdiff_t tile_lines() { return loops<T>().tile_bytes / 64; }

    std::vector<CacheLine> tiles;
};

template <class T>
class GridOperator {
 public:
    const std::ptrdiff_t p, pitch;
    const int team;

    // A team of so many threads shares the products of a block.
    GridOperator(Matrix<const T> m, const QuadraticForm& form, int threads)
        : p(m.rows / 2),
          pitch(block_count(p, lanes) * lanes),
          team(threads),
          pairs_(static_cast<T>(form.pairs)),
          norms_(static_cast<T>(form.norms)),
          m_(m),
          a_(make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(x)[y]; })),
          d_(make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(p + x)[p + y]; })),
          b_(make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(x)[p + y]; }), p),
          right_(side_by_side(
                     d_, make_grid<T>(p, pitch, [&](auto x, auto y) { return m.row(y)[p + x]; }),
                     pitch),
                 p),
          squares_(zeros<T>(4 * p * p)),
          shifted_norms_(make_grid<T>(p, pitch,
                                      [&](auto x, auto y) {
                                          return shifted_norm(m.row(x)[x], m.row(p + y)[p + y],
                                                              m.row(x)[p + y],
                                                              static_cast<T>(form.shift));
                                      })),
          diagonal_(make_grid<T>(p, pitch, [&](auto x, auto y) {
              return kernel_diagonal(pairs_, norms_, static_cast<T>(form.shift),
                                     shifted_norms_[static_cast<std::size_t>(x * pitch + y)]);
          })) {
        for (std::size_t k = 0; k < squares_.size(); ++k) squares_[k] = m.data[k] * m.data[k];
    }

    // k(x, x) on all pairs, p x pitch.
    const std::vector<T>& diagonal() const { return diagonal_; }

    // By the team: each takes rows of the product.
    void multiply(const Product<T>& product, Products kind, BlockBuffers<T>& buffers) const {
        parallel_for(team, team, [&](std::ptrdiff_t share, int) {
            const std::ptrdiff_t first = share * product.rows / team;
            Product<T> mine = product;
            mine.rows = (share + 1) * product.rows / team - first;
            mine.left.data += first * product.left.row_stride;
            mine.out += first * product.out_stride;
            if (kind == Products::rough && buffers.has_tiles())
                loops<T>().multiply_tiles(mine, buffers.workspace(share));
            else
                blas::multiply(mine);
        });
    }

    // out = V R, (p m) x columns.
    void multiply_right(BlockShape shape, const T* v, const RightFactor<T>& right, T* out,
                        Products kind, BlockBuffers<T>& buffers) const {
        const Factor<T> left{v, pitch, 1};
        if (!in_panels(kind, buffers))
            multiply(
                {shape.rows(), p, right.columns, left, right.factor(), out, right.columns, false},
                kind, buffers);
        else
            loops<T>().multiply_panels(left, shape.rows(), p, right.panels.data(), right.columns,
                                       false, out, right.columns);
    }

    // out = f(V) on all pairs; leaves V . f in the buffers.
    void apply(BlockShape shape, const T* v, BlockBuffers<T>& buffers, T* out,
               Products kind) const {
        loops<T>().line_sums(shape, v, buffers.sums.data(), buffers.columns.data());
        apply_to_summed(shape, v, buffers, out, kind);
    }

    // The same, given the line sums of V in the buffers.
    void apply_to_summed(BlockShape shape, const T* v, BlockBuffers<T>& buffers, T* out,
                         Products kind) const {
        sum_norms(shape, v, buffers);
        T *products = buffers.right_products.data(), *stacked = buffers.stacked.data();
        const std::ptrdiff_t width = shape.m * pitch;
        multiply_right(shape, v, right_, products, kind, buffers);
        const bool panels = in_panels(kind, buffers);
        loops<T>().combine_products(shape, products, buffers.sums.data(), buffers.columns.data(),
                                    a_.data(), b_.rows.data(), d_.data(),
                                    panels ? loops<T>().panel_columns : width, stacked,
                                    buffers.diagonals.data());
        const Factor<T> a_and_b{m_.data, 2 * p, 1};
        if (panels)
            loops<T>().multiply_panels(a_and_b, p, 2 * p, stacked, width, false, out, width);
        else
            multiply({p, 2 * p, width, a_and_b, {stacked, width, 1}, out, width, false}, kind,
                     buffers);
        for (std::ptrdiff_t c = 0; c < shape.m; ++c) {
            const Factor<T> vb_transposed{products + (2 * c + 1) * pitch, 1, 2 * width};
            if (panels)
                loops<T>().multiply_panels(vb_transposed, p, p, b_.panels.data(), pitch, true,
                                           out + c * pitch, width);
            else
                multiply({p, p, pitch, vb_transposed, b_.factor(), out + c * pitch, width, true},
                         kind, buffers);
        }
        add_squares(shape, buffers);
        loops<T>().finish_outputs(shape, buffers.diagonals.data(), pairs_, buffers.offset.data(),
                                  shifted_norms_.data(), v, out, buffers.dots.data());
    }

    // t = sum V (q - shift) per class, for the kernels that use it.
    void sum_norms(BlockShape shape, const T* v, BlockBuffers<T>& buffers) const {
        if (!uses_norms()) return;
        loops<T>().weighted_sums(shape, v, shifted_norms_.data(), buffers.norm_sums.data());
        for (std::size_t c = 0; c < static_cast<std::size_t>(shape.m); ++c)
            buffers.offset[c] = norms_ * static_cast<T>(buffers.norm_sums[c]);
    }

    bool uses_norms() const { return norms_ != 0; }

    // lines = matrix [r; s] for a 2p x 2p matrix and the line sums in the buffers.
    void multiply_lines(BlockShape shape, const T* matrix, BlockBuffers<T>& buffers) const {
        blas::row_major_gemm<T>('N', 'N', 2 * p, shape.m, p, T(1), matrix, 2 * p,
                                buffers.sums.data(), shape.m, 0, buffers.lines.data(), shape.m);
        // The columns are stored per class: their transpose is the second factor.
        blas::gemm<T>('T', 'N', shape.m, 2 * p, p, T(1), buffers.columns.data(), pitch, matrix + p,
                      2 * p, T(1), buffers.lines.data(), shape.m);
    }

 private:
    bool in_panels(Products kind, const BlockBuffers<T>& buffers) const {
        return panels_serve(p) && !(kind == Products::rough && buffers.has_tiles());
    }

    // diagonals = 2 diagonals + (M o M) [r; s]
    void add_squares(BlockShape shape, BlockBuffers<T>& buffers) const {
        multiply_lines(shape, squares_.data(), buffers);
        for (std::ptrdiff_t half = 0; half < 2; ++half)
            for (std::ptrdiff_t x = 0; x < p; ++x)
                for (std::ptrdiff_t c = 0; c < shape.m; ++c) {
                    const auto line = static_cast<std::size_t>((half * p + x) * shape.m + c);
                    T& entry =
                        buffers.diagonals[static_cast<std::size_t>((2 * c + half) * pitch + x)];
                    entry = 2 * entry + buffers.lines[line];
                }
    }

    const T pairs_, norms_;
    const Matrix<const T> m_;  // its first p rows are [A | B]
    const std::vector<T> a_, d_;
    const RightFactor<T> b_, right_;  // right_ = [D | B']
    std::vector<T> squares_;          // M o M
    const std::vector<T> shifted_norms_, diagonal_;
};

}  // namespace grokrfm
