// The formulas of ../grid_round.h for one entry of a grid, for the loops of host and device.
#pragma once

#include "math.h"

namespace grokrfm {

// q(x, y) - shift, of the entries of M at (x, x), (y, y) and (x, y).
template <class T>
GROKRFM_HOST_DEVICE T shifted_norm(T m_xx, T m_yy, T m_xy, T shift) {
    return m_xx + m_yy + 2 * m_xy - shift;
}

// k(x, x) of the pair with that q - shift.
template <class T>
GROKRFM_HOST_DEVICE T kernel_diagonal(T pairs, T norms, T shift, T shifted) {
    const T q = shifted + shift;
    return pairs * q * q + norms * shifted * shifted;
}

// 1 / (k(x, x) + ridge) at a training pair; 0 elsewhere, and where that is not positive.
template <class T>
GROKRFM_HOST_DEVICE T inverted_diagonal(T mask, T diagonal, T ridge) {
    return mask > 0 && diagonal + ridge > 0 ? 1 / (diagonal + ridge) : T(0);
}

// f, with offset = norms t and shifted = q - shift.
template <class T>
GROKRFM_HOST_DEVICE T output(T offset, T shifted, T pairs, T w11, T w22, T w12) {
    return pairs * (w11 + w22 + 2 * w12) + offset * shifted;
}

// (K + ridge) V, of f and V.
template <class T>
GROKRFM_HOST_DEVICE T kernel_image(T mask, T f, T ridge, T v) {
    return mask * f + ridge * v;
}

// P^-1 residual, of u = residual / diag and the images of the line sums of u: the coarse part of
// the row and of the column.
template <class T>
GROKRFM_HOST_DEVICE T preconditioned(T u, T row, T column, T inverse) {
    return u - (row + column) * inverse;
}

// A start scaled by `start_factor`, where 0 stands for zeros whatever the start.
template <class T>
GROKRFM_HOST_DEVICE T scaled_start(T factor, T v) {
    return factor == 0 ? T(0) : factor * v;
}

// The entries of Z Q Z off the products, of X = V Q22, H = Q11 V, the line sums r and s, and Q12:
// what goes into block 12 itself, and what is multiplied by V for blocks 11 and 22.
template <class T>
struct MomentEntries {
    T cross, left, right;
};
template <class T>
GROKRFM_HOST_DEVICE MomentEntries<T> moment_entries(T x, T h, T r, T s, T q12) {
    return {r * h + x * s, x + 2 * r * q12, h + 2 * q12 * s};
}

}  // namespace grokrfm
