"""The part of a kernel on pairs that depends on rows and columns of their grid alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import pair_sums
from .interface import Operations
from .kernels import Kernel, value

# Pairs of the sample in every row and column of the grid: 16 take as many steps of conjugate
# gradients as all pairs do.
_LINES = 16


class AdditivePart:
    """Fits k(x, z) by w_xᵀ C w_z, w_x the indicators of the row and the column of pair x.

    By least squares over a fixed sample of pairs, `_LINES` in every row and column (all where there
    are no more): C = W⁺ K W⁺ᵀ, positive semidefinite with K. (16 p)² kernel evaluations.
    """

    def __init__(self, operations: Operations, kernel: Kernel, modulus: int) -> None:
        self._operations, self._kernel, self._p = operations, kernel, modulus
        p, rng = modulus, np.random.default_rng(0)
        order, shifts = rng.permutation(p), rng.permutation(p)[:_LINES]
        first = np.arange(p)
        seconds = [order[(first + shift) % p] for shift in shifts]
        counts = np.zeros((p, p))
        for second in seconds:
            counts[first, second] = 1
        # WᵀW inverted: a function of rows and one of columns are told apart but for a constant.
        self._pseudo_inverse = np.linalg.pinv(pair_sums(counts), rcond=1e-10, hermitian=True)
        asarray = operations.device.asarray
        self._columns = [asarray(p + second, np.int64) for second in seconds]
        self._inputs = [
            asarray(np.stack([first, p + second], axis=1), np.int32) for second in seconds
        ]
        self._sample = operations.device.xp.concatenate(self._inputs)

    def __call__(self, M: Any) -> NDArray[np.float64]:
        """C, (2p, 2p), on the host; negative eigenvalues, which an indefinite K has, count as 0."""
        xp, p = self._operations.device.xp, self._p
        half = xp.zeros((2 * p, len(self._sample)))
        for columns, inputs in zip(self._columns, self._inputs, strict=True):
            K = self._operations.kernel_matrix(self._kernel, M, inputs, self._sample)
            half[:p] += K
            half[columns] += K
        sums = xp.zeros((2 * p, 2 * p))  # Wᵀ K W
        for i, columns in enumerate(self._columns):
            block = half[:, i * p : (i + 1) * p]
            sums[:, :p] += block
            sums[:, columns] += block
        C: NDArray[np.float64] = self._operations.device.to_numpy(sums)
        C = self._pseudo_inverse @ C @ self._pseudo_inverse
        return _semidefinite(0.5 * (C + C.T))

    def diagonal(self, M: Any, inputs: Any) -> Any:
        """k(x, x) of pairs given as active indices, (n,)."""
        a, b = inputs[:, 0], inputs[:, 1]
        q = M[a, a] + M[b, b] + 2 * M[a, b]
        return value(self._kernel, q, q, q, self._operations.device.xp)


def _semidefinite(C: NDArray[np.float64]) -> NDArray[np.float64]:
    """C, or C with its negative eigenvalues at 0 where they are more than rounding errors."""
    shifted: NDArray[np.float64] = C + 1e-6 * abs(C).max() * np.eye(len(C))
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(C)
        shifted = (vectors * np.maximum(eigenvalues, 0)) @ vectors.T
    return shifted
