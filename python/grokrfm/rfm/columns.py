"""Solutions for some of the columns of a round: for classes, and for pairs whose outputs are asked.

A function of the feature matrix and the columns, without a state of its own: rounds can be divided
by columns, and the AGOPs of their classes add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..operations import GridProblem, Kernel, Operations
from ..tasks import pair_indices
from ..training import Scores, losses_of_classes
from .grid import GridEvaluator


@dataclass(frozen=True)
class SolvedColumns:
    """What the solutions for some classes and some pairs tell.

    Attributes
    ----------
    train, test : Scores
        Losses over the classes; NaN for what all classes together tell alone.
    agop : callable
        Returns the AGOP summed over the classes, (d, d).
    outputs : ndarray, shape (k, c)
        Of the pairs, for every class of the task.
    solutions : array, shape (k, n)
        For the pairs: a start for the next feature matrix; on the device.
    residuals : array, shape (m + k,)
        Relative residuals, of the classes first.
    cg_iterations : int
        Most steps of a column.
    """

    train: Scores
    test: Scores
    agop: Callable[[], Any]
    outputs: NDArray[Any]
    solutions: Any
    residuals: NDArray[np.float64]
    cg_iterations: int


class ColumnsOfMetric(Protocol):
    """Solves for columns with a feature matrix; what they share has been computed."""

    def solve(
        self, classes: NDArray[np.int64], pairs: NDArray[np.int64], start: Any = None
    ) -> SolvedColumns:
        """Solve for classes, (m,), and pairs, (k, 2).

        `start`: solutions for the pairs with another feature matrix, (k, n); zeros unless given.
        """
        ...


class Columns(Protocol):
    """Solves for columns."""

    def at(self, M: Any) -> ColumnsOfMetric: ...


class GridColumns:
    """Columns of the quadratic family on the grid of pairs."""

    def __init__(
        self,
        operations: Operations,
        kernel: Kernel,
        grid: GridEvaluator,
        tolerance: float,
        pair_tolerance: float,
        max_iterations: int,
    ) -> None:
        [data] = grid.runs
        self.operations, self.kernel, self.data, self.grid = operations, kernel, data, grid
        self.tolerance, self.pair_tolerance = tolerance, pair_tolerance
        self.max_iterations = max_iterations
        order = np.argsort(data.train @ [data.modulus, 1])  # row-major
        self.labels = data.train_labels[order]
        self.inputs = operations.device.asarray(
            pair_indices(data.train[order], data.modulus), np.int32
        )

    def at(self, M: Any) -> GridColumnsOfMetric:
        return GridColumnsOfMetric(self, M)


class GridColumnsOfMetric:
    """`GridColumns` with a feature matrix."""

    def __init__(self, columns: GridColumns, M: Any) -> None:
        self._of, self._M = columns, M
        self._problem: GridProblem = columns.grid.problem(
            M, columns.tolerance, columns.max_iterations, [1.0]
        )

    def solve(
        self, classes: NDArray[np.int64], pairs: NDArray[np.int64], start: Any = None
    ) -> SolvedColumns:
        of, M = self._of, self._M
        operations, grid, c = of.operations, of.grid, of.data.n_classes
        xp, to_numpy = operations.device.xp, operations.device.to_numpy
        m, k = len(classes), len(pairs)
        problem = grid.of_classes(self._problem, classes)
        targets = None
        if k:
            inputs = operations.device.asarray(pair_indices(pairs, of.data.modulus), np.int32)
            targets = operations.kernel_matrix(of.kernel, M, inputs, of.inputs)
        solutions = xp.zeros((m + k, 1, len(of.inputs)), dtype=M.dtype)
        if start is not None:
            solutions[m:, 0] = start
        own = xp.zeros(problem.train_labels.shape, dtype=M.dtype)
        sums = operations.grid_round(
            problem, solutions, own, targets=targets, target_tolerance=of.pair_tolerance
        )

        def losses(labels: Any, squares: Any) -> Scores:
            chosen = (labels >= 0) & (labels < m)
            outputs = xp.where(chosen, own, 0).astype(np.float64)
            figures = outputs.sum(), (xp.where(chosen, outputs - 1, 0) ** 2).sum(), squares
            count = int((labels >= 0).sum())
            return losses_of_classes(map(float, figures), count, int(chosen.sum()), m)

        of_pairs = solutions[m:, 0]
        return SolvedColumns(
            train=losses(problem.train_labels, sums.train_squares),
            test=losses(problem.test_labels, sums.test_squares),
            agop=lambda: grid.agop(M, sums),
            outputs=sums_by_label(to_numpy(of_pairs), of.labels, c),
            solutions=of_pairs,
            residuals=to_numpy(xp.asarray(sums.residuals, dtype=np.float64)),
            cg_iterations=int(sums.iterations.max()),
        )


def sums_by_label(
    solutions: NDArray[Any], labels: NDArray[np.int64], n_classes: int
) -> NDArray[Any]:
    """All outputs of pairs, (k, c), from their solutions, (k, n): f_c(x*) = Σ β over class c."""
    sums = [np.bincount(labels, weights=row, minlength=n_classes) for row in solutions]
    return np.array(sums, dtype=solutions.dtype).reshape(len(solutions), n_classes)


def outputs_of_pairs(
    columns: ColumnsOfMetric,
    pairs: NDArray[np.int64],
    block: int,
    progress: Callable[[int, int], object] | None,
) -> NDArray[Any]:
    """All outputs, (k, c), by one solve a pair, a block of pairs at a time."""
    outputs = []
    for first in range(0, len(pairs), block):
        solved = columns.solve(np.empty(0, np.int64), pairs[first : first + block])
        outputs.append(solved.outputs)
        if progress is not None:
            progress(min(first + block, len(pairs)), len(pairs))
    return np.concatenate(outputs)
