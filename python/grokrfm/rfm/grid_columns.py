"""Columns of the quadratic family on the grid of pairs, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import GridProblem, Kernel, Operations
from ..tasks import pair_indices
from ..training import ClassSums
from .columns import SolvedColumns, sums_by_label
from .conjugate_gradients import MAX_CG_ITERATIONS
from .evaluation import tolerable_residual
from .grid import GridEvaluator, row_major_order
from .sampling import Draw


class GridColumns:
    """Columns of the quadratic family on the grid of pairs."""

    def __init__(
        self,
        operations: Operations,
        kernel: Kernel,
        grid: GridEvaluator,
        tolerance: float,
        pair_tolerance: float,
    ) -> None:
        [data] = grid.runs
        self.operations, self.kernel, self.data, self.grid = operations, kernel, data, grid
        self.tolerances = tolerance, pair_tolerance
        order = row_major_order(data.train, data.modulus)
        self.labels = operations.device.asarray(data.train_labels[order], np.int64)
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
            M, columns.tolerances[0], MAX_CG_ITERATIONS, [1.0]
        )

    def solve(self, draw: Draw, pairs: NDArray[np.int64], start: Any = None) -> SolvedColumns:
        of, M = self._of, self._M
        operations, grid, c = of.operations, of.grid, of.data.n_classes
        xp, to_numpy = operations.device.xp, operations.device.to_numpy
        m, k = len(draw.classes), len(pairs)
        problem = grid.of_classes(self._problem, draw.classes)
        targets = None
        if k:
            inputs = operations.device.asarray(pair_indices(pairs, of.data.modulus), np.int32)
            targets = operations.kernel_matrix(of.kernel, M, inputs, of.inputs)
        solutions = xp.zeros((m + k, 1, len(of.inputs)), dtype=M.dtype)
        if start is not None:
            solutions[m:, 0] = start
        own = xp.zeros(problem.train_labels.shape, dtype=M.dtype)
        sums = operations.grid_round(
            problem, solutions, own, targets=targets, target_tolerance=of.tolerances[1]
        )

        def class_sums(labels: Any, squares: Any) -> ClassSums:
            chosen = (labels >= 0) & (labels < m)
            outputs = xp.where(chosen, own, 0).astype(np.float64)
            return ClassSums(
                own=float(outputs.sum()),
                own_error=float((xp.where(chosen, outputs - 1, 0) ** 2).sum()),
                squares=float(squares),
                drawn=int(chosen.sum()),
                outputs=int((labels >= 0).sum()) * m,
            )

        def agop() -> Any:
            if np.ptp(draw.weights) > 0:
                return grid.agop_of_draw(self._problem, solutions[:m], draw)
            return grid.agop(M, sums) * M.dtype.type(draw.weights[0])

        of_pairs = solutions[m:, 0]
        return SolvedColumns(
            train_sums=class_sums(problem.train_labels, sums.train_squares),
            test_sums=class_sums(problem.test_labels, sums.test_squares),
            agop=agop,
            outputs=sums_by_label(operations.device, of_pairs, of.labels, c),
            solutions=of_pairs,
            residuals=to_numpy(xp.asarray(sums.residuals, dtype=np.float64)),
            limits=np.repeat([tolerable_residual(t, M.dtype) for t in of.tolerances], (m, k)),
            cg_iterations=int(sums.iterations.max()),
        )
