"""Reflections of x + y: as feature matrices, and what follows from them about predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_integer, check_pairs
from ..tasks import reflect


def reflection_matrix(modulus: int, k: int = 0) -> NDArray[np.float64]:
    """Permutation matrix R of the reflection s rᵏ of the dihedral group on inputs, (2p, 2p).

    The group acts on pairs of residues and leaves their sum alone: the rotation r takes (a, b) to
    (a + 1, b − 1), the reflection s exchanges a and b, and s rᵏ, r first, takes (a, b) to
    (b − k, a + k). For inputs x = e_a ⊕ e_b that is linear, x ↦ R x with R = [[0, Cᵀ], [C, 0]]
    and C[i, j] = 1 where i − j ≡ k: R is symmetric and its own inverse, and a circulant cross
    block, the features of x + y, is a sum of reflections. C is 1 exactly at the fixed points
    (a, a + k).

    With M = I + R a pair and its mirror image are one to every kernel, xᵀMz = (Rx)ᵀMz; AGOP = M(…)M
    keeps that for all rounds to come. Such a machine knows the mirror images of its training pairs
    (`orbit`). M = I − R makes them opposites, xᵀMz = −(Rx)ᵀMz, which is the same to kernels of
    (xᵀMz)² alone.

    Parameters
    ----------
    modulus : int
        p ≥ 2.
    k : int
        Counts modulo p.

    Raises
    ------
    TypeError, ValueError
        For a bad modulus or k.

    Notes
    -----
    Tomàs Bernal et al. 2026, arXiv 2604.00316, find that features learnt from training sets which
    s rᵏ leaves alone encode its matrix.
    """
    p = check_integer("modulus", modulus, minimum=2)
    C = np.roll(np.eye(p), check_integer("k", k) % p, axis=0)
    nothing = np.zeros((p, p))
    return np.block([[nothing, C.T], [C, nothing]])


def orbit(X: ArrayLike, X_train: ArrayLike, modulus: int, k: int = 0) -> NDArray[np.bool_]:
    """Whether pairs are training pairs or mirror images of some under s rᵏ.

    Of test pairs of x + y these are the ones that a machine which knows this reflection and nothing
    else gets right.

    Parameters
    ----------
    X : array_like of int, shape (m, 2)
        Pairs (a, b).
    X_train : array_like of int, shape (n, 2)
        Training pairs.
    modulus : int
        p ≥ 2.
    k : int
        As in `reflection_matrix`.

    Returns
    -------
    ndarray of bool, shape (m,)

    Raises
    ------
    TypeError, ValueError
        For a bad modulus or k, pairs of another shape or out of range.
    """
    p = check_integer("modulus", modulus, minimum=2)
    pairs, train = check_pairs("X", X, p), check_pairs("X_train", X_train, p)
    known = np.zeros((p, p), dtype=bool)
    for reached in (train, reflect(train, p, check_integer("k", k))):
        known[tuple(reached.T)] = True
    within: NDArray[np.bool_] = known[tuple(pairs.T)]
    return within
