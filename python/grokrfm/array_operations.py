"""The operations on arrays: the reference on NumPy and, by the same source, the CuPy fallback.

Inputs are given as active indices, (n, k) int32: row i names the unit vectors whose sum is x_i, −1
names none. Plain formulas, nothing cached; the compiled operations in `cpp` must agree with these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.linalg

from . import arrays, kernels, memory, network_arrays
from .grid import GridProblem, GridSums, grid_round
from .kernels import Kernel
from .network_arrays import Network, Training

_BLOCK = 256  # evaluation points at a time, so that no n × c × d array appears


class ArrayOperations:
    """The operations on arrays of the module `xp` (numpy or cupy)."""

    compiled = False
    batched = False  # whether `grid_round` and `matrix_power` take several runs at once
    # What a round on the grid of pairs works in: p × p arrays, and blocks of classes if they are
    # large.
    grid_arrays = 80
    block_bytes = 0

    def __init__(self, xp: Any = np) -> None:
        self.xp = xp

    @contextmanager
    def own_threads(self) -> Iterator[int]:
        """Region in which the operations thread by themselves; nothing to do for arrays."""
        yield 1

    def asarray(self, array: Any, dtype: Any) -> Any:
        """Copy `array` to the device, C-contiguous, in that dtype."""
        return self.xp.array(array, dtype=dtype, order="C")

    def to_numpy(self, array: Any) -> np.ndarray[Any, Any]:
        """Return the array in host memory."""
        return arrays.to_numpy(array)

    def available_bytes(self) -> int | None:
        """Memory that arrays can take; None where the system does not tell."""
        if self.xp is np:
            return memory.available_bytes()
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free) + int(self.xp.get_default_memory_pool().free_bytes())

    def one_hot(self, inputs: Any, d: int, dtype: Any) -> Any:
        """Return the inputs as rows, (n, d)."""
        xp = self.xp
        rows = xp.zeros((len(inputs), d + 1), dtype=dtype)
        for slot in range(inputs.shape[1]):
            rows[xp.arange(len(inputs)), inputs[:, slot]] += 1  # −1 is the extra column d
        return rows[:, :d]

    def _products(self, M: Any, inputs: Any, other: Any) -> tuple[Any, Any, Any]:
        """S (n, m), q_x (n, 1) and q_z (1, m)."""
        X = self.one_hot(inputs, len(M), M.dtype)
        Z = self.one_hot(other, len(M), M.dtype)
        q_x, q_z = ((V @ M * V).sum(axis=1) for V in (X, Z))
        return X @ M @ Z.T, q_x[:, None], q_z[None, :]

    def kernel_matrix(
        self, kernel: Kernel, M: Any, inputs: Any, other: Any = None, out: Any = None
    ) -> Any:
        """K[i, j] = k(x_i, z_j), (n, m); of the inputs with themselves without `other`."""
        K = kernels.value(
            kernel, *self._products(M, inputs, inputs if other is None else other), self.xp
        )
        if out is None:
            return K
        out[...] = K
        return out

    def cholesky_solve(self, K: Any, Y: Any) -> Any:
        """X with K X = Y, (n, c), for symmetric positive definite K; K may be overwritten.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K is not positive definite to working precision.
        """
        factor = self.xp.linalg.cholesky(K)
        if not bool(self.xp.isfinite(factor).all()):  # CuPy reports a failure as NaN
            raise np.linalg.LinAlgError("kernel matrix: not positive definite")
        linalg = self._linalg()
        half = linalg.solve_triangular(factor, Y, lower=True)
        return linalg.solve_triangular(factor, half, lower=True, trans="T")

    def _linalg(self) -> Any:
        if self.xp is np:
            return scipy.linalg
        import cupyx.scipy.linalg

        return cupyx.scipy.linalg

    def minimum_norm_solve(self, K: Any, Y: Any) -> Any:
        """The least-squares solution of K X = Y of minimum norm, for any symmetric K.

        Eigenvalues below n ε max|λ| count as zero. About 9 n³ flops and 2 n² numbers.
        """
        xp = self.xp
        eigenvalues, vectors = xp.linalg.eigh(K)
        magnitude = xp.abs(eigenvalues)
        kept = magnitude > len(K) * xp.finfo(K.dtype).eps * magnitude.max()
        inverse = xp.where(kept, 1 / xp.where(kept, eigenvalues, 1), 0)
        return vectors @ (inverse[:, None] * (vectors.T @ Y))

    def decision_function(
        self, kernel: Kernel, M: Any, evaluation: Any, train: Any, dual_coefficients: Any
    ) -> Any:
        """f(z_j) = Σ_i α_i k(x_i, z_j), (m, c)."""
        blocks = [
            self.kernel_matrix(kernel, M, evaluation[j : j + _BLOCK], train) @ dual_coefficients
            for j in range(0, len(evaluation), _BLOCK)
        ]
        return self.xp.concatenate(blocks)

    def agop(
        self, kernel: Kernel, M: Any, train: Any, dual_coefficients: Any, centred: bool
    ) -> Any:
        """Average gradient outer product over the training points, (d, d).

        The gradient of f_c at x_j is M u_jc with
        u_jc = Σ_i α_ic ∂h/∂s(i,j) x_i + 2 x_j Σ_i α_ic ∂h/∂q_z(i,j); `centred` subtracts its mean
        over j for each class.
        """
        xp, alpha = self.xp, dual_coefficients
        n, d, c = len(train), len(M), dual_coefficients.shape[1]
        rows_of = [xp.nonzero((train == v).any(axis=1))[0] for v in range(d)]
        outer = xp.zeros((d, d), dtype=M.dtype)
        total = xp.zeros((d, c), dtype=M.dtype)
        for j in range(0, n, _BLOCK):
            block = train[j : j + _BLOCK]
            s, q_x, q_z = self._products(M, train, block)
            d_s, d_q = kernels.slopes(kernel, s, q_x, q_z, xp)
            u = xp.empty((d, len(block), c), dtype=M.dtype)
            for v in range(d):
                u[v] = d_s[rows_of[v]].T @ alpha[rows_of[v]]
            active = self.one_hot(block, d, M.dtype)
            u += 2 * active.T[:, :, None] * (d_q.T @ alpha)[None, :, :]
            total += u.sum(axis=1)
            u = u.reshape(d, -1)
            outer += u @ u.T
        if centred:
            outer -= total @ total.T / n
        gradient_outer = M @ outer @ M / n
        return 0.5 * (gradient_outer + gradient_outer.T)

    def grid_round(
        self, problem: GridProblem, solutions: Any, own: Any, first_class: int = 0
    ) -> GridSums:
        """Solve, evaluate and sum for a range of classes; see `grid.grid_round`."""
        return grid_round(self.xp, problem, solutions, own, first_class)

    def network_inputs(self, network: Network, inputs: Any, transform: Any = None) -> Any:
        """Inputs of a network as rows, (n, d): one-hot, or times `transform` (d, d)."""
        rows = self.one_hot(inputs, len(network.first), network.first.dtype)
        return rows if transform is None else rows @ transform

    def network_epoch(
        self,
        training: Training,
        network: Network,
        inputs: Any,
        labels: Any,
        transform: Any = None,
    ) -> Network:
        """The network after steps through the inputs in the order given; see `network_arrays`."""
        X = self.network_inputs(network, inputs, transform)
        return network_arrays.epoch(self.xp, training, network, X, labels)

    def network_outputs(
        self, activation: str, network: Network, inputs: Any, transform: Any = None
    ) -> Any:
        """Outputs of a network on inputs (n, 2), (n, c)."""
        return network_arrays.outputs(
            activation, network, self.network_inputs(network, inputs, transform)
        )

    def matrix_power(self, G: Any, exponent: float) -> Any:
        """G^s of a symmetric positive semidefinite G, computed in float64; the dtype of G."""
        xp = self.xp
        eigenvalues, vectors = xp.linalg.eigh(G.astype(xp.float64))
        half = vectors * xp.maximum(eigenvalues, 0) ** (exponent / 2)
        return (half @ half.T).astype(G.dtype)
