// Products of large float32 matrices on tiles of bfloat16 (AMX), for solves whose tolerance is far
// above what they are off by.
//
// x = x0 + x1 + rest with x0 = bfloat16(x), x1 = bfloat16(x - x0), |rest| <= 2^-16 |x|. Of a b the
// products a0 b0, a0 b1 and a1 b0 are added up in float32; what is left out is below
// 3 2^-16 |a b|, of either sign. So 6 flops of bfloat16 stand for 2 of float32, on a unit that does
// 16 times as many. Infinity, and what rounds to it in bfloat16, becomes NaN; numbers below 1e-33
// count for less than that, or for nothing.
//
// Packed, a left factor is strips of 16 rows, a right one of 16 columns; a strip goes on in steps
// of 32 terms; a step is one tile of x0 and one of x1, of 16 rows x 32 terms or of 16 pairs of
// terms x 16 columns x 2 terms.
//
// A strip of the left factor stays in the nearest cache while those of the right pass by, from the
// next one. Three of the eight tiles are used: a core that two threads share has few to rename them
// to, and with all eight in use its products take twice as long.
#pragma once

#include <immintrin.h>

#include "loops.h"

namespace grokrfm {

namespace tiles_of_bfloat16 {

using Size = std::ptrdiff_t;

constexpr Size strip = 16, step = 32;          // rows or columns, terms
constexpr Size packed_tile = strip * step;     // bfloat16
constexpr Size packed_step = 2 * packed_tile;  // of 16 x 32 entries
constexpr Size most_rows = 256, most_columns = 1024, most_terms = 256;
constexpr Size left_size = most_rows / strip * (most_terms / step) * packed_step;
constexpr Size right_size = most_columns / strip * (most_terms / step) * packed_step;

static inline __m512i count_to_15() {
    return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

struct Parts {
    __m512i first, second;  // 32 bfloat16 each
};

// Of 32 numbers, the lower half and the upper one.
static inline Parts split(__m512 low, __m512 high) {
    const auto rounded = [](__m512 lower, __m512 upper) {
        return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(upper, lower));
    };
    const auto widened = [](__m256i half) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    };
    const __m512i first = rounded(low, high);
    return {first, rounded(_mm512_sub_ps(low, widened(_mm512_castsi512_si256(first))),
                           _mm512_sub_ps(high, widened(_mm512_extracti64x4_epi64(first, 1))))};
}

// The numbers of the lower half and of the upper one in turn.
static inline __m512i interleave(__m512i numbers) {
    const __m512i lower = count_to_15(), upper = _mm512_add_epi32(lower, _mm512_set1_epi32(16));
    return _mm512_permutexvar_epi16(_mm512_or_si512(lower, _mm512_slli_epi32(upper, 16)), numbers);
}

static inline Size smaller(Size a, Size b) {
    return a < b ? a : b;
}

static inline Size steps_of(Size terms) {
    return (terms + step - 1) / step;
}

static inline Factor<float> shifted(Factor<float> factor, Size rows, Size columns) {
    return {factor.data + rows * factor.row_stride + columns * factor.step, factor.row_stride,
            factor.step};
}

// Up to 16 numbers of a row of a factor, zeros beyond; 15 steps of it are below 2^31.
static inline __m512 load(Factor<float> factor, Size row, Size column, Size count) {
    if (count <= 0) return _mm512_setzero_ps();
    const float* data = factor.data + row * factor.row_stride + column * factor.step;
    const auto mask = static_cast<__mmask16>((1U << smaller(count, 16)) - 1);
    if (factor.step == 1) return _mm512_maskz_loadu_ps(mask, data);
    const __m512i positions =
        _mm512_mullo_epi32(count_to_15(), _mm512_set1_epi32(static_cast<int>(factor.step)));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, positions, data, sizeof(float));
}

// Calls body(row, column) for the tiles of a factor, those that lie together in memory in turn.
template <class Body>
static inline void for_tiles(Factor<float> factor, Size rows, Size height, Size columns, Size width,
                             const Body& body) {
    if (factor.step == 1)
        for (Size i = 0; i < rows; i += height)
            for (Size j = 0; j < columns; j += width) body(i, j);
    else
        for (Size j = 0; j < columns; j += width)
            for (Size i = 0; i < rows; i += height) body(i, j);
}

// Rows x terms of a left factor.
static void pack_left(Factor<float> left, Size rows, Size terms, std::uint16_t* packed) {
    const Size steps = steps_of(terms);
    for_tiles(left, rows, strip, terms, step, [&](Size i, Size k) {
        std::uint16_t* to = packed + (i / strip * steps + k / step) * packed_step;
        for (Size row = i; row < i + strip; ++row, to += step) {
            const Size count = row < rows ? terms - k : 0;
            const Parts parts =
                split(load(left, row, k, count), load(left, row, k + 16, count - 16));
            _mm512_store_si512(to, parts.first);
            _mm512_store_si512(to + packed_tile, parts.second);
        }
    });
}

// Terms x columns of a right factor.
static void pack_right(Factor<float> right, Size terms, Size columns, std::uint16_t* packed) {
    const Size steps = steps_of(terms);
    for_tiles(right, terms, step, columns, strip, [&](Size k, Size j) {
        std::uint16_t* to = packed + (j / strip * steps + k / step) * packed_step;
        for (Size row = k; row < k + step; row += 2, to += 2 * strip) {
            const Parts parts = split(load(right, row, j, row < terms ? columns - j : 0),
                                      load(right, row + 1, j, row + 1 < terms ? columns - j : 0));
            _mm512_store_si512(to, interleave(parts.first));
            _mm512_store_si512(to + packed_tile, interleave(parts.second));
        }
    });
}

// out = left right, 16 x 16, or added to it. The compiler is told that memory is touched: the
// intrinsics do not. They take nothing but names: where theirs are macros, some compilers' lack
// parentheses.
static inline void multiply_strips(const std::uint16_t* left, const std::uint16_t* right,
                                   Size steps, bool add, float* out, Size stride) {
    constexpr Size row_bytes = step * sizeof(std::uint16_t);
    const Size bytes = stride * static_cast<Size>(sizeof(float));
    asm volatile("" ::: "memory");
    if (add)
        _tile_loadd(0, out, bytes);
    else
        _tile_zero(0);
    for (; steps > 0; --steps, left += packed_step, right += packed_step) {
        const std::uint16_t *small_left = left + packed_tile, *small_right = right + packed_tile;
        _tile_loadd(1, left, row_bytes);
        _tile_loadd(2, small_right, row_bytes);
        _tile_dpbf16ps(0, 1, 2);
        _tile_loadd(2, right, row_bytes);
        _tile_dpbf16ps(0, 1, 2);
        _tile_loadd(1, small_left, row_bytes);
        _tile_dpbf16ps(0, 1, 2);
    }
    _tile_stored(0, out, bytes);
    asm volatile("" ::: "memory");
}

static void multiply_packed(const std::uint16_t* left, const std::uint16_t* right, Size rows,
                            Size columns, Size steps, bool add, float* out, Size stride) {
    alignas(64) float square[strip * strip];
    for (Size i = 0; i < rows; i += strip)
        for (Size j = 0; j < columns; j += strip) {
            const std::uint16_t* from_left = left + i / strip * steps * packed_step;
            const std::uint16_t* from_right = right + j / strip * steps * packed_step;
            float* to = out + i * stride + j;
            if (i + strip <= rows && j + strip <= columns) {
                multiply_strips(from_left, from_right, steps, add, to, stride);
                continue;
            }
            multiply_strips(from_left, from_right, steps, false, square, strip);
            for (Size x = 0; x < smaller(strip, rows - i); ++x)
                for (Size y = 0; y < smaller(strip, columns - j); ++y)
                    to[x * stride + y] = square[x * strip + y] + (add ? to[x * stride + y] : 0);
        }
}

}  // namespace tiles_of_bfloat16

// Of the workspace, at a multiple of 64.
constexpr std::ptrdiff_t tile_bytes =
    2 * (tiles_of_bfloat16::left_size + tiles_of_bfloat16::right_size);

static void multiply_tiles(const Product<float>& product, void* workspace) {
    using namespace tiles_of_bfloat16;
    // Palette 1, three tiles of 16 rows of 64 bytes.
    struct alignas(64) {
        std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
        std::uint16_t row_bytes[16] = {64, 64, 64};
        std::uint8_t rows[16] = {16, 16, 16};
    } configuration;
    asm volatile("ldtilecfg %0" ::"m"(configuration));
    auto* left = static_cast<std::uint16_t*>(workspace);
    std::uint16_t* right = left + left_size;
    for (Size j = 0; j < product.columns; j += most_columns)
        for (Size k = 0; k < product.terms; k += most_terms) {
            const Size columns = smaller(most_columns, product.columns - j);
            const Size terms = smaller(most_terms, product.terms - k);
            pack_right(shifted(product.right, k, j), terms, columns, right);
            for (Size i = 0; i < product.rows; i += most_rows) {
                const Size rows = smaller(most_rows, product.rows - i);
                pack_left(shifted(product.left, i, k), rows, terms, left);
                multiply_packed(left, right, rows, columns, steps_of(terms), k > 0 || product.add,
                                product.out + i * product.out_stride + j, product.out_stride);
            }
        }
    _tile_release();
}

}  // namespace grokrfm
