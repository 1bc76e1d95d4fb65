// Products of large float32 matrices on tiles of bfloat16 (AMX), for solves whose tolerance is far
// above what they are off by.
//
// x = x0 + x1 + rest with x0 = bfloat16(x), x1 = bfloat16(x - x0), |rest| <= 2^-16 |x|. Of a b the
// products a0 b0, a0 b1 and a1 b0 are added up in float32; what is left out is below
// 3 2^-16 |a b|, of either sign. So 6 flops of bfloat16 stand for 2 of float32, on a unit that does
// 16 times as many. Infinity, and what rounds to it in bfloat16, becomes NaN; numbers below 1e-33
// count for less than that, or for nothing.
//
// Packed, a left factor is strips of 32 rows, a right one of 32 columns; a strip goes on in steps
// of 32 terms; a step is both parts in two tiles each, of 16 rows x 32 terms or of 16 pairs of
// terms x 16 columns x 2 terms.
//
// A strip of the right factor, 64 kB at most, stays near while the strips of the left pass by:
// 8 tiles are loaded for 12 products of tiles, sums of 32 x 32 in four accumulators.
#pragma once

#include <immintrin.h>

#include "loops.h"

namespace grokrfm {

namespace tiles_of_bfloat16 {

using Size = std::ptrdiff_t;

constexpr Size strip = 32, half = 16;
constexpr Size packed_tile = half * strip;         // bfloat16
constexpr Size packed_step = 2 * 2 * packed_tile;  // of 32 x 32 entries
constexpr Size most_rows = 512, most_columns = 1024, most_terms = 512;
constexpr Size left_size = most_rows / strip * (most_terms / strip) * packed_step;
constexpr Size right_size = most_columns / strip * (most_terms / strip) * packed_step;

struct Parts {
    __m512 first, second;  // bfloat16, as float32
};

static inline Parts split(__m512 x) {
    const auto rounded = [](__m512 value) {
        const auto bits = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    };
    const __m512 first = rounded(x);
    return {first, rounded(_mm512_sub_ps(x, first))};
}

// The upper halves of two registers of float32, one after the other.
static inline __m512i join(__m512 low, __m512 high) {
    const auto upper = [](__m512 value) {
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(value), 16));
    };
    return _mm512_inserti64x4(_mm512_castsi256_si512(upper(low)), upper(high), 1);
}

// The upper halves of two registers of float32, in turn.
static inline __m512i interleave(__m512 even, __m512 odd) {
    return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16),
                           _mm512_castps_si512(odd));
}

struct alignas(64) Square {
    float entry[strip][strip];
};

// Rows x columns of a factor, zeros beyond.
static inline void copy(Factor<float> factor, Size rows, Size columns, Square& to) {
    if (rows < strip || columns < strip)
        for (Size i = 0; i < strip; ++i)
            for (Size j = 0; j < strip; ++j) to.entry[i][j] = 0;
    if (factor.step == 1)
        for (Size i = 0; i < rows; ++i)
            for (Size j = 0; j < columns; ++j)
                to.entry[i][j] = factor.data[i * factor.row_stride + j];
    else
        for (Size j = 0; j < columns; ++j)
            for (Size i = 0; i < rows; ++i)
                to.entry[i][j] = factor.data[i * factor.row_stride + j * factor.step];
}

static inline Size smaller(Size a, Size b) {
    return a < b ? a : b;
}

static inline Factor<float> shifted(Factor<float> factor, Size rows, Size columns) {
    return {factor.data + rows * factor.row_stride + columns * factor.step, factor.row_stride,
            factor.step};
}

// Rows x terms of a left factor.
static void pack_left(Factor<float> left, Size rows, Size terms, std::uint16_t* packed) {
    Square square;
    for (Size i = 0; i < rows; i += strip)
        for (Size k = 0; k < terms; k += strip, packed += packed_step) {
            copy(shifted(left, i, k), smaller(strip, rows - i), smaller(strip, terms - k), square);
            for (Size row = 0; row < strip; ++row) {
                const Parts low = split(_mm512_load_ps(square.entry[row]));
                const Parts high = split(_mm512_load_ps(square.entry[row] + half));
                std::uint16_t* to = packed + row * strip;
                _mm512_store_si512(to, join(low.first, high.first));
                _mm512_store_si512(to + 2 * packed_tile, join(low.second, high.second));
            }
        }
}

// Terms x columns of a right factor.
static void pack_right(Factor<float> right, Size terms, Size columns, std::uint16_t* packed) {
    Square square;
    for (Size j = 0; j < columns; j += strip)
        for (Size k = 0; k < terms; k += strip, packed += packed_step) {
            copy(shifted(right, k, j), smaller(strip, terms - k), smaller(strip, columns - j),
                 square);
            for (Size pair = 0; pair < half; ++pair)
                for (Size side = 0; side < 2; ++side) {
                    const Parts even = split(_mm512_load_ps(square.entry[2 * pair] + side * half));
                    const Parts odd =
                        split(_mm512_load_ps(square.entry[2 * pair + 1] + side * half));
                    std::uint16_t* to = packed + side * packed_tile + pair * strip;
                    _mm512_store_si512(to, interleave(even.first, odd.first));
                    _mm512_store_si512(to + 2 * packed_tile, interleave(even.second, odd.second));
                }
        }
}

// out = left right, 32 x 32. The compiler is told that memory is touched: the intrinsics do not.
// They take nothing but names: where theirs are macros, some compilers' lack parentheses.
static void multiply_strips(const std::uint16_t* left, const std::uint16_t* right, Size steps,
                            float* out, Size stride) {
    constexpr Size row_bytes = strip * sizeof(std::uint16_t);
    const Size bytes = stride * static_cast<Size>(sizeof(float));
    float *out_right = out + half, *below = out + half * stride, *below_right = below + half;
    asm volatile("" ::: "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; steps > 0; --steps, left += packed_step, right += packed_step) {
        // Both halves of both parts. Numbers of tiles must be constants.
        const std::uint16_t *left0 = left, *left1 = left + packed_tile;
        const std::uint16_t *right0 = right, *right1 = right + packed_tile;
        const std::uint16_t *small_left0 = left1 + packed_tile,
                            *small_left1 = small_left0 + packed_tile;
        const std::uint16_t *small_right0 = right1 + packed_tile,
                            *small_right1 = small_right0 + packed_tile;
#define GROKRFM_MULTIPLY_TILES() \
    _tile_dpbf16ps(0, 4, 6);     \
    _tile_dpbf16ps(1, 4, 7);     \
    _tile_dpbf16ps(2, 5, 6);     \
    _tile_dpbf16ps(3, 5, 7)
        _tile_loadd(4, left0, row_bytes);
        _tile_loadd(5, left1, row_bytes);
        _tile_loadd(6, small_right0, row_bytes);
        _tile_loadd(7, small_right1, row_bytes);
        GROKRFM_MULTIPLY_TILES();
        _tile_loadd(6, right0, row_bytes);
        _tile_loadd(7, right1, row_bytes);
        GROKRFM_MULTIPLY_TILES();
        _tile_loadd(4, small_left0, row_bytes);
        _tile_loadd(5, small_left1, row_bytes);
        GROKRFM_MULTIPLY_TILES();
#undef GROKRFM_MULTIPLY_TILES
    }
    _tile_stored(0, out, bytes);
    _tile_stored(1, out_right, bytes);
    _tile_stored(2, below, bytes);
    _tile_stored(3, below_right, bytes);
    asm volatile("" ::: "memory");
}

static void multiply_packed(const std::uint16_t* left, const std::uint16_t* right, Size rows,
                            Size columns, Size steps, bool add, float* out, Size stride) {
    alignas(64) float square[strip * strip];
    for (Size j = 0; j < columns; j += strip)
        for (Size i = 0; i < rows; i += strip) {
            const std::uint16_t* from_left = left + i / strip * steps * packed_step;
            const std::uint16_t* from_right = right + j / strip * steps * packed_step;
            float* to = out + i * stride + j;
            if (!add && i + strip <= rows && j + strip <= columns) {
                multiply_strips(from_left, from_right, steps, to, stride);
                continue;
            }
            multiply_strips(from_left, from_right, steps, square, strip);
            const Size width = smaller(strip, columns - j);
            for (Size x = 0; x < smaller(strip, rows - i); ++x)
                for (Size y = 0; y < width; ++y)
                    to[x * stride + y] = square[x * strip + y] + (add ? to[x * stride + y] : 0);
        }
}

}  // namespace tiles_of_bfloat16

// Of the workspace, at a multiple of 64.
constexpr std::ptrdiff_t tile_bytes =
    2 * (tiles_of_bfloat16::left_size + tiles_of_bfloat16::right_size);

static void multiply_tiles(const Product<float>& product, void* workspace) {
    using namespace tiles_of_bfloat16;
    // Palette 1: eight tiles of 16 rows of 64 bytes.
    struct alignas(64) {
        std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
        std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
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
                multiply_packed(left, right, rows, columns, (terms + strip - 1) / strip,
                                k > 0 || product.add, product.out + i * product.out_stride + j,
                                product.out_stride);
            }
        }
    _tile_release();
}

}  // namespace grokrfm
