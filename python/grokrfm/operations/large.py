"""Products, inverses and square roots of large matrices, on threads of our own.

BLAS is single-threaded while a run goes on (`ThreadedHost.own_threads`), and its own threads would
spin on after a call and take processors from the parallel regions that follow. So each thread of
ours takes slabs of rows of a product. What a slab is depends on the matrix alone: products do not
depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .. import _cpu

# Relative to the norm: what is added to the eigenvalues before a square root, a few rounding errors
# of float32; where those have made an eigenvalue more negative, a few more.
FLOORS = (2.0**-26, 2.0**-22)


def product(A: Any, B: Any, threads: int, symmetric: bool = False) -> Any:
    """A B, (n, m), in the dtype of both; half the flops if it is known to be symmetric.

    2 n m k flops for A (n, k). The symmetric product is so to the last bit.
    """
    out = np.empty((len(A), B.shape[1]), dtype=A.dtype)
    size = max(256, len(A) // 24)

    def slab(first: int) -> None:
        rows = slice(first, first + size)
        columns = slice(0, first + size if symmetric else None)
        out[rows, columns] = A[rows] @ B[:, columns]
        if symmetric:
            out[:first, rows] = out[rows, :first].T
            corner = np.tril(out[rows, rows])
            out[rows, rows] = corner + np.tril(corner, -1).T

    # The longest first, which leaves the least to wait for at the end.
    _in_threads(slab, reversed(range(0, len(A), size)), threads)
    return out


def _in_threads(work: Callable[[int], None], items: Iterable[int], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, items))


def _solve(K: Any, rows: Any, threads: int) -> None:
    """Replace each row x by K⁻¹ x, and K by its Cholesky factor, upper triangular.

    Raises
    ------
    numpy.linalg.LinAlgError
        If K is not positive definite to working precision.
    """
    _check(_cpu.cholesky_solve(K, rows, threads))


def _inverse(K: Any, threads: int) -> Any:
    """K⁻¹, symmetric to the last bit; K is overwritten. Raises as `_solve` does."""
    inverse = np.empty_like(K)
    _check(_cpu.cholesky_inverse(K, inverse, threads))
    return inverse


def _check(info: int) -> None:
    if info:
        raise np.linalg.LinAlgError(f"not positive definite, the leading minor {info} fails")


def damped_inverse(C: Any, G: Any, threads: int) -> Any:
    """(C⁻¹ + G)⁻¹ for positive definite C and semidefinite G, (d, d): 2 d³ flops.

    For C of a condition number up to about 1e5 in float32: it is inverted.

    Raises
    ------
    numpy.linalg.LinAlgError
        If C is not positive definite to working precision.
    """
    inverse = _inverse(C.copy(), threads)
    inverse += G
    return _inverse(inverse, threads)


def square_root(G: Any, threads: int) -> Any:
    """√G of a positive semidefinite float32 matrix, (d, d), symmetric to the last bit.

    With G = RᵀR (Cholesky) and the polar decomposition R = U √G, it is UᵀR. U comes from two steps
    of the dynamically weighted Halley iteration in Cholesky form (Nakatsukasa, Bai & Gygi 2010) and
    a polynomial: about 12 d³ flops in matrix products and triangular solves, where eigenvectors
    take half of theirs in products with vectors. Only the first step needs float64. The eigenvalues
    of the result are √(λ + ε) with ε = ‖G‖₁ times one of `FLOORS`; beside that, it is good to 2e-6
    of the largest. Coupled Newton–Schulz steps on G itself take 100 d³ flops to a residual ten
    times as large, and lose by every step after that.

    Raises
    ------
    numpy.linalg.LinAlgError
        If G is not finite, 0, or not positive definite after ε was added.
    """
    scale = float(np.abs(G).sum(axis=0).max())  # no less than the largest eigenvalue
    if not 0 < scale < np.inf:
        raise np.linalg.LinAlgError(f"square root: expected a finite matrix, not 0; norm {scale}")
    for floor in FLOORS:
        scaled = G.astype(np.float64)
        scaled /= scale
        _add_to_diagonal(scaled, floor)
        R = scaled.copy()
        try:
            _solve(R, np.zeros_like(R[:1]), threads)
            break
        except np.linalg.LinAlgError:
            if floor == FLOORS[-1]:
                raise
    R = np.triu(R)
    rounded = R.astype(np.float32)
    U = _polar_factor(R, scaled, floor**0.5, threads)
    root = product(U.T, rounded, threads, symmetric=True)
    # tr (√G)² = tr G tells a wrong result at the cost of reading it.
    squares = float(np.einsum("ij,ij->", root, root, dtype=np.float64))
    trace = float(G.trace(dtype=np.float64)) / scale + len(G) * floor
    if not abs(squares - trace) <= 1e-4 * trace:
        raise np.linalg.LinAlgError(f"square root: its squares sum to {squares}, not {trace}")
    root *= scale**0.5
    return root


def _polar_factor(R: Any, K: Any, least: float, threads: int) -> Any:
    """U of R = U √K, float32; K = RᵀR has its eigenvalues in [least², 1]. Both are overwritten."""
    U = R
    while least < 0.89:
        inner, outer, weight = _halley(least)
        K *= weight
        _add_to_diagonal(K, 1)
        ratio = outer / weight
        # U (ratio + (inner − ratio) K⁻¹)
        solved = U.copy()
        _solve(K, solved, threads)
        U *= ratio
        solved *= inner - ratio
        U += solved
        U = U.astype(np.float32, copy=False)
        K = product(U.T, U, threads, symmetric=True)
        least *= (inner + outer * least**2) / (1 + weight * least**2)
    # U K^(−1/2): 1 − K is now at most 0.21, and a polynomial of degree 4 in it off by 4e-7 at most.
    rest = np.negative(K, out=K)
    _add_to_diagonal(rest, 1)
    series = np.polynomial.Chebyshev.interpolate(
        lambda x: (1 - x) ** -0.5, 4, domain=[0, 1 - least**2]
    )
    c = series.convert(kind=np.polynomial.Polynomial).coef.astype(np.float32)
    square = product(rest, rest, threads, symmetric=True)
    power = product(square, c[3] * rest + c[4] * square, threads, symmetric=True)
    power += c[2] * square
    power += c[1] * rest
    _add_to_diagonal(power, c[0])
    return product(U, power, threads)


def _add_to_diagonal(matrix: Any, number: Any) -> None:
    matrix.ravel()[:: len(matrix) + 1] += number


def _halley(least: float) -> tuple[float, float, float]:
    """a, b, c of x (a + b x²) / (1 + c x²), which takes [least, 1] nearest to 1."""
    d = (4 * (1 - least**2) / least**4) ** (1 / 3)
    root = (1 + d) ** 0.5
    a = root + 0.5 * (8 - 4 * d + 8 * (2 - least**2) / (least**2 * root)) ** 0.5
    b = (a - 1) ** 2 / 4
    return a, b, a + b - 1
