"""Kernel ridge regression on pairs by conjugate gradients, for any kernel, without a kernel matrix.

Every step is one product of the kernel matrix with a block of columns, which
`Operations.kernel_product` streams. The preconditioner is λ + W C Wᵀ, W the indicators of the rows
and columns of the grid of pairs: C the part of the kernel that depends on them alone
(`operations.AdditivePart`), λ the mean rest of the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import (
    AdditivePart,
    Kernel,
    Operations,
    coarse_inverse,
    conjugate_gradients,
    pair_sums,
)
from ..tasks import PairData, pair_indices
from ..training import unpack_array
from .conjugate_gradients import MAX_CG_ITERATIONS
from .evaluation import DenseEvaluator, Evaluation, missed_tolerance
from .sampling import Draw

BLOCK = 128  # columns at a time


class StreamedSolver:
    """Solves (K + ridge) α = y for columns y, all at once; pairs given once, any kernel.

    Keeps nothing of a solve but the preconditioner of the last feature matrix.
    """

    def __init__(
        self, operations: Operations, kernel: Kernel, data: PairData, dtype: Any, ridge: float
    ) -> None:
        self._operations, self._kernel, self._ridge = operations, kernel, ridge
        self._p, self._dtype = data.modulus, np.dtype(dtype)
        asarray = operations.device.asarray
        self._inputs = asarray(pair_indices(data.train, data.modulus), np.int32)
        self._places = asarray(data.train @ [data.modulus, 1], np.int64)
        self._additive = AdditivePart(operations, kernel, data.modulus)
        mask = np.zeros((data.modulus, data.modulus))
        mask[tuple(data.train.T)] = 1
        self._indicator_sums = pair_sums(mask)  # WᵀW
        self._known: tuple[Any, Callable[[Any], Any]] | None = None

    def solve(self, M: Any, targets: Any, start: Any, tolerance: Any) -> tuple[Any, Any, Any, Any]:
        """Solve for the columns of `targets`, (n, k), in the order of the data.

        Parameters
        ----------
        M : array, shape (2p, 2p)
        targets : array, shape (n, k)
        start : array, shape (n, k), or None
            Scaled per column to the smallest error in the energy norm.
        tolerance : float or array, shape (k,)
            Relative residual at which a column is done.

        Returns
        -------
        coefficients : array, shape (n, k)
        outputs : array, shape (n, k)
            K times them.
        iterations, residuals : array, shape (k,)
            Steps and true relative residual of each column.
        """
        xp, ridge = self._operations.device.xp, self._ridge

        def times_kernel(V: Any, open_: Any) -> Any:
            """Of the open columns alone: a product with fewer columns takes less."""
            columns = slice(None) if bool(open_.all()) else xp.nonzero(open_)[0]
            chosen = xp.ascontiguousarray(V[:, columns])
            image = self._operations.kernel_product(self._kernel, M, self._inputs, chosen)
            if ridge:
                image = image + self._dtype.type(ridge) * chosen
            if isinstance(columns, slice):
                return image
            whole = xp.zeros_like(V)
            whole[:, columns] = image
            return whole

        def dots(U: Any, V: Any) -> Any:
            return (U * V).sum(axis=0, dtype=np.float64)

        def spread(numbers: Any) -> Any:
            return numbers.astype(self._dtype)[None, :]

        V, R = xp.zeros_like(targets), targets
        if start is not None:
            image = times_kernel(start, xp.ones(targets.shape[1], dtype=bool))
            energy = dots(start, image)
            usable = (energy > 0) & xp.isfinite(energy)
            factor = xp.where(usable, dots(start, targets) / xp.where(usable, energy, 1), 0)
            V = xp.where(usable, spread(factor) * start, V)
            R = xp.where(usable, targets - spread(factor) * image, R)
        V, R, iterations, residuals = conjugate_gradients(
            xp,
            times_kernel,
            self._preconditioner(M),
            dots,
            spread,
            targets,
            V,
            R,
            tolerance,
            MAX_CG_ITERATIONS,
        )
        return V, targets - R - self._dtype.type(ridge) * V, iterations, residuals

    def limits(self, M: Any, targets: Any, coefficients: Any, tolerance: Any) -> Any:
        """Relative residuals to complain above, (k,): what rounding errors of a product can leave.

        Each entry of K has some of its own, which add up like a random walk. Ridgeless Gaussian
        machines in float32 get no further than 1e-3.
        """
        xp = self._operations.device.xp
        norms, sizes = (
            xp.sqrt((V * V).sum(axis=0, dtype=np.float64)) for V in (targets, coefficients)
        )
        largest = abs(self._additive.diagonal(M, self._inputs)).max()
        epsilon = float(np.finfo(self._dtype).eps)
        errors = 4 * epsilon * len(targets) ** 0.5 * largest
        lowest = xp.maximum(tolerance, 300 * epsilon)
        useless = xp.maximum(lowest, epsilon**0.25)  # as of a factorisation
        return xp.clip(errors * sizes / xp.where(norms > 0, norms, 1), lowest, useless)

    def _preconditioner(self, M: Any) -> Callable[[Any], Any]:
        if self._known is None or self._known[0] is not M:
            self._known = M, self._make_preconditioner(M)
        return self._known[1]

    def _make_preconditioner(self, M: Any) -> Callable[[Any], Any]:
        device, p = self._operations.device, self._p
        C = self._additive(M)
        entries = self._additive.diagonal(M, self._inputs) + self._ridge
        mean = float(entries.mean(dtype=np.float64))
        # Σ_x w_xᵀ C w_x over the training pairs is the sum of the entries of C ∘ WᵀW.
        rest = mean - float((C * self._indicator_sums).sum()) / len(self._inputs)
        rest = max(rest, 1e-3 * abs(mean)) or 1.0
        coarse = device.asarray(
            coarse_inverse(np, C, self._indicator_sums / rest) / rest, self._dtype
        )
        scale = self._dtype.type(1 / rest)
        first, second = self._inputs[:, 0], self._inputs[:, 1]

        def precondition(R: Any) -> Any:
            grid = device.xp.zeros((p * p, R.shape[1]), dtype=R.dtype)
            grid[self._places] = R
            grid = grid.reshape(p, p, -1)
            sums = device.xp.concatenate([grid.sum(axis=1), grid.sum(axis=0)])
            lines = coarse @ sums
            return scale * (R - lines[first] - lines[second])

        return precondition


class StreamedEvaluator(DenseEvaluator):
    """Sums over the training points, with predictions by products of the kernel matrix."""

    def _predict(self, M: Any, inputs: Any, dual_coefficients: Any) -> Any:
        return self._operations.kernel_product(
            self._kernel, M, inputs, dual_coefficients, self._train
        )


class StreamedMachine:
    """Solves for all classes by conjugate gradients, for one run; any kernel, pairs given once.

    Each round starts from the last solution. There is no fallback: a class that misses the
    tolerance is complained of and shows in the residual.
    """

    solver = "cg"
    keeps_coefficients = True

    def __init__(
        self,
        operations: Operations,
        kernel: Kernel,
        data: PairData,
        dtype: Any,
        ridge: float,
        centred: bool,
        tolerance: float,
    ) -> None:
        self._operations, self._tolerance = operations, tolerance
        self._solver = StreamedSolver(operations, kernel, data, dtype, ridge)
        self._evaluate = StreamedEvaluator(operations, kernel, data, dtype, ridge, centred)
        self._labels = operations.device.asarray(data.train_labels, np.int64)
        self._shape, self._dtype = (len(data.train), data.n_classes), np.dtype(dtype)
        self._solution: Any = None

    @staticmethod
    def required_bytes(data: PairData, itemsize: int, operations: Operations) -> int:
        """Memory of a round: four n × c and one m × c arrays, a dozen of a block, block buffers."""
        n, m, c = len(data.train), len(data.test), data.n_classes
        vectors = 4 * n * c + m * c + 12 * n * min(c, BLOCK)
        numbers = vectors + 500 * n + 150 * data.modulus**2
        return numbers * itemsize + operations.streamed_bytes + (16 << 20)

    @staticmethod
    def state_bytes(data: PairData, itemsize: int) -> int:
        """What `state` takes, on the host."""
        return len(data.train) * data.n_classes * itemsize

    def dual_coefficients(self, run: int = 0) -> NDArray[Any]:
        return self._operations.device.to_numpy(self._solution)

    def state(self, run: int = 0) -> dict[str, NDArray[Any]]:
        return {"solution": np.array(self._operations.device.to_numpy(self._solution))}

    def restore(self, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        solution = unpack_array(states[0], "solution", self._shape, self._dtype)
        self._solution = self._operations.device.asarray(solution, self._dtype)

    def fit(self, M: Any, draw: Draw | None = None) -> list[Evaluation]:
        xp, (n, c) = self._operations.device.xp, self._shape
        solution, outputs = (xp.empty((n, c), dtype=self._dtype) for _ in range(2))
        most, missed = 0, 0
        for classes in np.array_split(np.arange(c), -(-c // BLOCK)):
            block = slice(classes[0], classes[-1] + 1)
            targets = (self._labels[:, None] == xp.asarray(classes)[None, :]).astype(self._dtype)
            start = self._solution
            solution[:, block], outputs[:, block], iterations, residuals = self._solver.solve(
                M,
                targets,
                None if start is None else xp.ascontiguousarray(start[:, block]),
                self._tolerance,
            )
            most = max(most, int(iterations.max()))
            limits = self._solver.limits(M, targets, solution[:, block], self._tolerance)
            missed += int((~(residuals <= limits)).sum())
        self._solution = solution
        evaluation = self._evaluate(M, solution, draw, outputs)
        complaint = missed_tolerance(missed, evaluation.residual) if missed else ""
        return [replace(evaluation, cg_iterations=most, complaint=complaint)]
