"""Measures and rearrangements of feature matrices: how circulant, how aligned.

A block is circulant if constant along wrapped diagonals, C[i, j] = c[(i − j) mod p], and Hankel if
constant along wrapped anti-diagonals, C[i, j] = c[(i + j) mod p].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import primitive_root, require_prime
from .checks import check_integer, check_one_of
from .tasks import is_multiplicative


def circulant_deviation(block: Any, orientation: str = "best", normalize: str = "sum") -> float:
    """Share of a block's squared Frobenius norm that lies off its circulant part.

    Parameters
    ----------
    block : array_like, shape (p, p)
        Such as M[p:, :p]. For multiplication and division reorder it by discrete logarithm and
        drop index 0 first.
    orientation : {"best", "circulant", "hankel"}
        Which lines should be constant; "best" takes the smaller deviation.
    normalize : {"sum", "mean"}
        "sum" is Σ_lines Σ (entry − line mean)² / ‖block‖_F², in [0, 1], the definition in the
        paper's section 4; "mean" divides it by p, the scale of the paper's plots.

    Returns
    -------
    float
        0 for an exactly circulant block, NaN for a zero block.

    Raises
    ------
    ValueError
        If the block is not square or a name is unknown.
    """
    check_one_of("orientation", orientation, ("best", "circulant", "hankel"))
    check_one_of("normalize", normalize, ("sum", "mean"))
    matrix = np.asarray(block, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"block: expected shape (p, p), got {matrix.shape}")
    if orientation == "best":
        return float(
            np.minimum(
                circulant_deviation(matrix, "circulant", normalize),
                circulant_deviation(matrix, "hankel", normalize),
            )
        )
    p = len(matrix)
    norm = float((matrix**2).sum())
    if norm == 0:
        return float("nan")
    rows = np.arange(p)[:, None]
    sign = 1 if orientation == "circulant" else -1
    # Row ℓ moved by ℓ against the slope of the lines: each line becomes a column.
    lines = matrix[rows, (np.arange(p)[None, :] + sign * rows) % p]
    deviation = float(((lines - lines.mean(axis=0)) ** 2).sum()) / norm
    return deviation / p if normalize == "mean" else deviation


def alignment(A: Any, B: Any) -> float:
    """Cosine of two matrices as vectors, ⟨A, B⟩ / (‖A‖_F ‖B‖_F); NaN if one is zero.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    a, b = np.asarray(A, dtype=np.float64), np.asarray(B, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"B: expected the shape of A, {a.shape}, got {b.shape}")
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / norms if norms > 0 else float("nan")


def discrete_logarithm(modulus: int) -> NDArray[np.int64]:
    """Discrete logarithms to the smallest primitive root of a prime.

    Returns
    -------
    ndarray of int64, shape (p,)
        Entry r ≥ 1 is the exponent e in 0…p−2 with gᵉ ≡ r; entry 0 is unused and −1.

    Raises
    ------
    ValueError
        If the modulus is not prime.
    """
    modulus = check_integer("modulus", modulus, minimum=2)
    require_prime(modulus, "a discrete logarithm")
    generator, residue = primitive_root(modulus), 1
    logarithm = np.full(modulus, -1, dtype=np.int64)
    for exponent in range(modulus - 1):
        logarithm[residue] = exponent
        residue = residue * generator % modulus
    return logarithm


def reorder_by_discrete_logarithm(M: Any, modulus: int) -> NDArray[Any]:
    """Rows and columns of each p × p block by discrete logarithm, index 0 first.

    Index 1 + e of a block of the result is the residue gᵉ. The features of multiplication and
    division are block-circulant in this order, index 0 apart.

    Parameters
    ----------
    M : array_like, shape (kp, kp)
        A feature matrix (k = 2) or one block (k = 1).
    modulus : int
        A prime p.

    Raises
    ------
    ValueError
        If the modulus is not prime or M is not square with a multiple of p rows.
    """
    matrix = np.asarray(M)
    logarithm = discrete_logarithm(modulus)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) % modulus:
        raise ValueError(
            f"M: expected a square matrix with a multiple of {modulus} rows, "
            f"got shape {matrix.shape}"
        )
    order = np.argsort(logarithm, kind="stable")  # entry 0 holds −1 and stays first
    blocks = np.arange(0, len(matrix), modulus)[:, None]
    index = (blocks + order[None, :]).ravel()
    reordered: NDArray[Any] = matrix[np.ix_(index, index)]
    return reordered


def cross_block(M: Any, operation: str = "x+y") -> NDArray[Any]:
    """Block of a feature matrix that becomes circulant or Hankel as a task is learnt.

    Parameters
    ----------
    M : array_like, shape (2p, 2p)
        A feature matrix.
    operation : str
        For "x*y" and "x/y" modulo a prime the block is reordered by discrete logarithm and loses
        index 0.

    Returns
    -------
    ndarray, shape (p, p) or (p − 1, p − 1)
        The bottom-left block, which couples the second operand (rows) to the first.
    """
    matrix = np.asarray(M)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) % 2:
        raise ValueError(f"M: expected shape (2p, 2p), got {matrix.shape}")
    p = len(matrix) // 2
    if is_multiplicative(operation, p):
        matrix = reorder_by_discrete_logarithm(matrix, p)
        return np.asarray(matrix[p + 1 :, 1:p])
    return np.asarray(matrix[p:, :p])
