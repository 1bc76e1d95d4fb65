"""Feature matrices: how circulant they are, their spectrum, rearrangements, made-up ones.

M = [[A, Cᵀ], [C, A']] couples the two operands through its bottom-left p × p block C. A block is
circulant if constant along wrapped diagonals, C[i, j] = c[(i − j) mod p], and Hankel if constant
along wrapped anti-diagonals, C[i, j] = c[(i + j) mod p]. Any feature matrix will do, a neural
network's too, as a NumPy or CuPy array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import array_module, to_numpy
from ..checks import (
    check_blocks,
    check_integer,
    check_one_of,
    check_square,
    check_symmetric,
)
from ..operations import ArrayOperations
from ..tasks import (
    check_operation,
    formula_of,
    is_multiplicative,
    primitive_root,
    require_prime,
)
from .reflections import orbit, reflection_matrix

__all__ = [
    "ORIENTATIONS",
    "alignment",
    "circulant",
    "circulant_deviation",
    "cross_block",
    "discrete_logarithm",
    "effective_rank",
    "enforce_structure",
    "lines",
    "orbit",
    "random_circulant",
    "reflection_matrix",
    "reorder_by_discrete_logarithm",
    "spectrum",
]

_WIDTH = 1024  # of a part of a large matrix that a float64 copy is made of

# operation -> how RFM's cross block comes out; × and ÷ in the order of discrete logarithms
ORIENTATIONS = {"x+y": "circulant", "x-y": "hankel", "x*y": "circulant", "x/y": "hankel"}


def lines(block: Any, orientation: str) -> Any:
    """Return the wrapped lines of square blocks as columns, (…, p, p).

    Column k holds the entries with j − i ≡ k (circulant) or i + j ≡ −1 − k (Hankel), mod p.
    """
    xp, (*leading, _, p) = array_module(block), block.shape
    # Twice the block side by side, with rows one longer than they are: each row starts one later.
    twice = xp.zeros_like(block, shape=(*leading, p * (2 * p + 1)))
    flat = twice[..., : 2 * p * p].reshape(*leading, p, 2 * p)
    flat[..., :p] = flat[..., p:] = block if orientation == "circulant" else block[..., ::-1]
    return twice.reshape(*leading, p, 2 * p + 1)[..., :p]


def circulant_deviation(block: Any, orientation: str = "best", normalize: str = "sum") -> float:
    """Share of a block's squared Frobenius norm that lies off its circulant part.

    Parameters
    ----------
    block : array_like, shape (p, p)
        Such as `cross_block(M, operation)`.
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
    TypeError, ValueError
        If the block is not a finite square matrix or a name is unknown.
    """
    check_one_of("orientation", orientation, ("best", "circulant", "hankel"))
    check_one_of("normalize", normalize, ("sum", "mean"))
    matrix = check_square("block", block, dtype=None)
    deviation = float(circulant_deviations(matrix, orientation))
    return deviation / len(matrix) if normalize == "mean" else deviation


def circulant_deviations(blocks: Any, orientation: str = "best") -> Any:
    """`circulant_deviation` of blocks that need no checks, (…, p, p), as an array (…)."""
    xp = array_module(blocks)
    norms = _sums_over_columns(blocks, np.square)
    tried = ("circulant", "hankel") if orientation == "best" else (orientation,)
    off = [_sums_over_columns(lines(blocks, name), _off_means) for name in tried]
    least = off[0] if len(off) == 1 else xp.minimum(*off)
    return xp.where(norms == 0, np.nan, least / xp.where(norms == 0, 1, norms))


def _off_means(columns: Any) -> Any:
    return (columns - columns.mean(axis=-2, keepdims=True)) ** 2


def _sums_over_columns(matrices: Any, value: Callable[[Any], Any]) -> Any:
    """Sums of what is made of columns in float64, so many at a time that copies stay small."""
    return sum(
        value(matrices[..., first : first + _WIDTH].astype(np.float64)).sum(axis=(-2, -1))
        for first in range(0, matrices.shape[-1], _WIDTH)
    )


def alignment(A: Any, B: Any) -> float:
    """Cosine of two matrices as vectors, ⟨A, B⟩ / (‖A‖_F ‖B‖_F); NaN if one is zero.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    xp = array_module(A)
    a, b = xp.asarray(A), xp.asarray(B)
    if a.shape != b.shape:
        raise ValueError(f"B: expected the shape of A, {a.shape}, got {b.shape}")
    # Not by BLAS, whose threads cost more than they gain at such sizes.
    sums = xp.zeros(3)
    for first in range(0, len(a), _WIDTH):
        x, y = (matrix[first : first + _WIDTH].astype(np.float64) for matrix in (a, b))
        sums += xp.stack([xp.einsum("ij,ij->", *pair) for pair in ((x, y), (x, x), (y, y))])
    product, *squares = (float(each) for each in sums)
    norms = math.sqrt(squares[0]) * math.sqrt(squares[1])
    return product / norms if norms > 0 else float("nan")


def spectrum(M: Any) -> Any:
    """Eigenvalues of a symmetric matrix, descending, (d,), float64.

    Raises
    ------
    TypeError, ValueError
        If M is not a finite symmetric matrix.
    """
    matrix = check_symmetric("M", M)
    return array_module(matrix).linalg.eigvalsh(matrix)[::-1]


def effective_rank(M: Any) -> float:
    """Participation ratio (tr M)² / ‖M‖_F² of the eigenvalues of a positive semidefinite matrix.

    k for a matrix with k equal eigenvalues and zeros besides, between 1 and d; NaN for M = 0. Needs
    no eigenvalues: 2 d² flops.

    Raises
    ------
    TypeError, ValueError
        If M is not a finite square matrix.
    """
    matrix = check_square("M", M, dtype=None)
    norm = float(_sums_over_columns(matrix, np.square))
    trace = float(matrix.trace(dtype=np.float64))
    return trace**2 / norm if norm > 0 else float("nan")


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


@cache
def _logarithmic_order(modulus: int) -> NDArray[np.int64]:
    """Residues in the order 0, g⁰, g¹, …; the logarithm of 0 counts as −1."""
    return np.argsort(discrete_logarithm(modulus), kind="stable")


def reorder_by_discrete_logarithm(M: Any, modulus: int) -> Any:
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
    TypeError, ValueError
        If the modulus is not prime or M is not a finite square matrix with a multiple of p rows.
    """
    order = _logarithmic_order(check_integer("modulus", modulus, minimum=2))
    matrix = check_square("M", M)
    if len(matrix) % modulus:
        raise ValueError(
            f"M: expected a square matrix with a multiple of {modulus} rows, "
            f"got shape {matrix.shape}"
        )
    index = (np.arange(0, len(matrix), modulus)[:, None] + order[None, :]).ravel()
    return matrix[index[:, None], index[None, :]]


def cross_block(M: Any, operation: str | None = "x+y", dtype: Any = np.float64) -> Any:
    """Block of a feature matrix that becomes circulant or Hankel as a task is learnt.

    Parameters
    ----------
    M : array_like, shape (2p, 2p)
        A feature matrix.
    operation : str, optional
        Of the task, one of `grokrfm.tasks.OPERATIONS`, with or without spaces. For "x*y" and "x/y"
        modulo a prime the block is reordered by discrete logarithm and loses index 0; for the
        others it comes as it stands, and so it does for None, "table" and the name of a function.
    dtype : dtype, optional
        Of the result. None: that of M, and where the block comes as it stands a view of M.

    Returns
    -------
    array, shape (p, p) or (p − 1, p − 1)
        The bottom-left block, which couples the second operand (rows) to the first.

    Raises
    ------
    TypeError, ValueError
        If M is not a finite matrix of that shape, or for an unknown formula.
    """
    formula = formula_of(operation)
    matrix, p = check_blocks("M", M, dtype=None)
    blocks = cross_blocks(array_module(matrix), matrix, p, formula)
    return blocks if dtype is None else blocks.astype(dtype)


def cross_blocks(xp: Any, M: Any, modulus: int, formula: str | None) -> Any:
    """`cross_block` of matrices that need no checks, (…, d, d), whatever follows their operands."""
    block = M[..., modulus : 2 * modulus, :modulus]
    if not is_multiplicative(formula, modulus):
        return block
    units = xp.asarray(_logarithmic_order(modulus)[1:])
    return block[..., units[:, None], units[None, :]]


def circulant(first_column: Any, orientation: str = "circulant") -> NDArray[np.float64]:
    """Return the circulant or Hankel matrix with that first column, (p, p).

    Raises
    ------
    ValueError
        If the orientation is unknown or the column is not a non-empty vector.
    """
    check_one_of("orientation", orientation, ("circulant", "hankel"))
    column = np.asarray(first_column, dtype=np.float64)
    if column.ndim != 1 or column.size == 0:
        raise ValueError(f"first_column: expected shape (p,), got {column.shape}")
    i, j = np.ogrid[: len(column), : len(column)]
    index = i - j if orientation == "circulant" else i + j
    structured: NDArray[np.float64] = column[index % len(column)]
    return structured


def random_circulant(operation: str, modulus: int, seed: int = 0) -> NDArray[np.float64]:
    """Return a random feature matrix with the structure that solves an operation, (2p, 2p).

    The positive part of M*^{1/2} with M* = [[A, Cᵀ], [C, A]], A = I − 11ᵀ/p, C circulant or Hankel
    (`ORIENTATIONS`) from a centred column uniform on [0, 1]; for × and ÷ on the residues 1…p−1 in
    the order of their discrete logarithms. Paper, section 5: a kernel machine with this feature
    matrix generalises at once. M* is indefinite: its negative eigenvalues count as zero.

    Parameters
    ----------
    operation : {"x+y", "x-y", "x*y", "x/y"}
    modulus : int
        p ≥ 2, prime for × and ÷.
    seed : int

    Raises
    ------
    TypeError, ValueError
        For an unknown operation, a composite modulus where a prime is needed, a negative seed.
    """
    operation = check_operation(operation, ORIENTATIONS)
    p = check_integer("modulus", modulus, minimum=2)
    rng = np.random.default_rng(check_integer("seed", seed, minimum=0))
    C = np.zeros((p, p))
    residues = _solving_order(operation, p)
    column = rng.uniform(size=len(residues))
    C[residues[:, None], residues[None, :]] = circulant(
        column - column.mean(), ORIENTATIONS[operation]
    )
    root: NDArray[np.float64] = ArrayOperations().matrix_power(_assemble(C), 0.5)
    return root


def enforce_structure(
    M: Any, operation: str = "x+y", orientation: str | None = None
) -> NDArray[np.float64]:
    """Return M with exact block-circulant structure, (2p, 2p), float64 (paper, appendix F).

    M is scaled to unit diagonal, its diagonal blocks become I − 11ᵀ/p, and its cross block the
    circulant or Hankel matrix (`ORIENTATIONS`) of its first column. For × and ÷ the column is that
    of the residue 1 in the order of discrete logarithms; index 0 stays as it is.

    Parameters
    ----------
    M : array_like, shape (2p, 2p)
        A feature matrix with a positive diagonal.
    operation : {"x+y", "x-y", "x*y", "x/y"}
    orientation : {"circulant", "hankel"}, optional
        RFM's own for the operation unless given; neural networks end with the other one.

    Raises
    ------
    TypeError, ValueError
        For an unknown operation, a matrix of another shape or one whose diagonal is not positive, a
        composite modulus where a prime is needed.
    """
    operation = check_operation(operation, ORIENTATIONS)
    orientation = orientation or ORIENTATIONS[operation]
    matrix, p = check_blocks("M", M)
    matrix = to_numpy(matrix)
    diagonal = np.diagonal(matrix)
    if not (diagonal > 0).all():
        raise ValueError(f"M: expected a positive diagonal, got {diagonal.min():.3g} on it")
    scale = 1 / np.sqrt(diagonal)
    C = (matrix * scale[:, None] * scale[None, :])[p:, :p]
    residues = _solving_order(operation, p)
    C[residues[:, None], residues[None, :]] = circulant(C[residues, residues[0]], orientation)
    return _assemble(C)


def _solving_order(operation: str, modulus: int) -> NDArray[np.int64]:
    """Residues in the order in which the operation is addition or subtraction."""
    if operation in ("x*y", "x/y"):
        return _logarithmic_order(modulus)[1:]
    return np.arange(modulus)


def _assemble(C: NDArray[np.float64]) -> NDArray[np.float64]:
    """[[A, Cᵀ], [C, A]] with A = I − 11ᵀ/p."""
    p = len(C)
    A = np.eye(p) - 1 / p
    return np.block([[A, C.T], [C, A]])
