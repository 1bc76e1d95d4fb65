"""The array source of every operation: the reference under NumPy, the GPU path under CuPy.

Plain formulas, nothing cached; compiled operations must agree with these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from . import grid, kernels, networks
from .device import Device
from .grid import GridProblem, GridSums
from .interface import Operations
from .kernels import Kernel
from .networks import Network, Training

_BLOCK = 256  # evaluation points at a time, so that no n × c × d array appears


def one_hot(xp: Any, inputs: Any, d: int, dtype: Any) -> Any:
    """Return inputs, (n, k) active indices, as rows, (n, d)."""
    rows = xp.zeros((len(inputs), d + 1), dtype=dtype)
    for slot in range(inputs.shape[1]):
        rows[xp.arange(len(inputs)), inputs[:, slot]] += 1  # −1 is the extra column d
    return rows[:, :d]


def minimum_norm_solve(xp: Any, K: Any, Y: Any) -> Any:
    """The least-squares solution of K X = Y of minimum norm, for any symmetric K.

    Eigenvalues below n ε max|λ| count as zero. About 9 n³ flops and 2 n² numbers.
    """
    eigenvalues, vectors = xp.linalg.eigh(K)
    magnitude = xp.abs(eigenvalues)
    kept = magnitude > len(K) * xp.finfo(K.dtype).eps * magnitude.max()
    inverse = xp.where(kept, 1 / xp.where(kept, eigenvalues, 1), 0)
    return vectors @ (inverse[:, None] * (vectors.T @ Y))


def network_rows(xp: Any, network: Network, inputs: Any, transform: Any = None) -> Any:
    """Inputs of a network as rows, (n, d): one-hot, or times `transform` (d, d)."""
    rows = one_hot(xp, inputs, len(network.first), network.first.dtype)
    return rows if transform is None else rows @ transform


class ArrayNetworks(Operations):
    """The operations on networks, for backends without compiled ones."""

    def network_epoch(
        self, training: Training, network: Network, inputs: Any, labels: Any, transform: Any = None
    ) -> Network:
        xp = self.device.xp
        X = network_rows(xp, network, inputs, transform)
        return networks.epoch(xp, training, network, X, labels)

    def network_outputs(
        self, activation: str, network: Network, inputs: Any, transform: Any = None
    ) -> Any:
        X = network_rows(self.device.xp, network, inputs, transform)
        return networks.outputs(activation, network, X)


class ArrayOperations(ArrayNetworks):
    """The operations on arrays of the module `xp` (numpy or cupy)."""

    compiled = False
    batched = False
    grid_arrays = 80
    block_bytes = 0

    def __init__(self, xp: Any = np) -> None:
        super().__init__(Device(xp))

    def kernel_matrix(
        self, kernel: Kernel, M: Any, inputs: Any, other: Any = None, out: Any = None
    ) -> Any:
        products = self._products(M, inputs, inputs if other is None else other)
        K = kernels.value(kernel, *products, self.device.xp)
        if out is None:
            return K
        out[...] = K
        return out

    def _products(self, M: Any, inputs: Any, other: Any) -> tuple[Any, Any, Any]:
        """S (n, m), q_x (n, 1) and q_z (1, m)."""
        X, Z = (one_hot(self.device.xp, points, len(M), M.dtype) for points in (inputs, other))
        q_x, q_z = ((V @ M * V).sum(axis=1) for V in (X, Z))
        return X @ M @ Z.T, q_x[:, None], q_z[None, :]

    def cholesky_solve(self, K: Any, Y: Any) -> Any:
        xp, linalg = self.device.xp, self._linalg()
        factor = xp.linalg.cholesky(K)
        if not bool(xp.isfinite(factor).all()):  # CuPy reports a failure as NaN
            raise np.linalg.LinAlgError("kernel matrix: not positive definite")
        half = linalg.solve_triangular(factor, Y, lower=True)
        return linalg.solve_triangular(factor, half, lower=True, trans="T")

    def _linalg(self) -> Any:
        if self.device.xp is np:
            return scipy.linalg
        import cupyx.scipy.linalg

        return cupyx.scipy.linalg

    def decision_function(
        self, kernel: Kernel, M: Any, evaluation: Any, train: Any, dual_coefficients: Any
    ) -> Any:
        return self.kernel_product(kernel, M, evaluation, dual_coefficients, train)

    def kernel_product(
        self, kernel: Kernel, M: Any, inputs: Any, vectors: Any, other: Any = None
    ) -> Any:
        columns = inputs if other is None else other
        blocks = [
            self.kernel_matrix(kernel, M, inputs[i : i + _BLOCK], columns) @ vectors
            for i in range(0, len(inputs), _BLOCK)
        ]
        return self.device.xp.concatenate(blocks)

    def agop(
        self, kernel: Kernel, M: Any, train: Any, dual_coefficients: Any, centred: bool
    ) -> Any:
        xp, alpha = self.device.xp, dual_coefficients
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
            active = one_hot(xp, block, d, M.dtype)
            u += 2 * active.T[:, :, None] * (d_q.T @ alpha)[None, :, :]
            total += u.sum(axis=1)
            u = u.reshape(d, -1)
            outer += u @ u.T
        if centred:
            outer -= total @ total.T / n
        gradient_outer = M @ outer @ M / n
        return 0.5 * (gradient_outer + gradient_outer.T)

    def column_bytes(self, modulus: int, classes: int, targets: int, itemsize: int) -> int:
        return (80 + 20 * (classes + targets)) * modulus**2 * itemsize

    def grid_round(
        self,
        problem: GridProblem,
        solutions: Any,
        own: Any,
        first_class: int = 0,
        targets: Any = None,
        target_tolerance: float = 0.0,
    ) -> GridSums:
        return grid.grid_round(
            self.device.xp, problem, solutions, own, first_class, targets, target_tolerance
        )

    def matrix_power(self, G: Any, exponent: float) -> Any:
        xp = self.device.xp
        eigenvalues, vectors = xp.linalg.eigh(G.astype(xp.float64))
        half = vectors * xp.maximum(eigenvalues, 0) ** (exponent / 2)
        return (half @ half.T).astype(G.dtype)
