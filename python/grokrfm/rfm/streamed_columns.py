"""Columns of any kernel on pairs, by streamed products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import Kernel, Operations
from ..tasks import PairData, pair_indices
from ..training import ClassSums
from .columns import SolvedColumns, sums_by_label
from .sampling import Draw
from .streamed import BLOCK, StreamedSolver


class StreamedColumns:
    """Columns of any kernel, for pairs given once.

    All columns of a round go through each product together, 128 at most: a dozen arrays n × columns
    are in flight.
    """

    def __init__(
        self,
        operations: Operations,
        kernel: Kernel,
        data: PairData,
        *,
        dtype: Any,
        ridge: float,
        centred: bool,
        tolerance: float,
        pair_tolerance: float,
    ) -> None:
        self.operations, self.kernel, self.data = operations, kernel, data
        self.centred = centred
        self.tolerances = tolerance, pair_tolerance
        self.solver = StreamedSolver(operations, kernel, data, dtype, ridge)
        asarray = operations.device.asarray
        self.train, self.test = (self.inputs(pairs) for pairs in (data.train, data.test))
        self.labels = asarray(data.train_labels, np.int64)
        self.test_labels = asarray(data.test_labels, np.int64)

    def inputs(self, pairs: NDArray[np.int64]) -> Any:
        return self.operations.device.asarray(pair_indices(pairs, self.data.modulus), np.int32)

    def at(self, M: Any) -> StreamedColumnsOfMetric:
        return StreamedColumnsOfMetric(self, M)


class StreamedColumnsOfMetric:
    """`StreamedColumns` with a feature matrix."""

    def __init__(self, columns: StreamedColumns, M: Any) -> None:
        self._of, self._M = columns, M

    def solve(self, draw: Draw, pairs: NDArray[np.int64], start: Any = None) -> SolvedColumns:
        of, M = self._of, self._M
        operations, xp = of.operations, of.operations.device.xp
        to_numpy, m, k, n = operations.device.to_numpy, len(draw.classes), len(pairs), len(of.train)
        chosen = operations.device.asarray(draw.classes, np.int64)
        targets = xp.zeros((n, m + k), dtype=M.dtype)
        targets[:, :m] = of.labels[:, None] == chosen
        if k:
            inputs = of.inputs(pairs)
            targets[:, m:] = operations.kernel_matrix(of.kernel, M, of.train, inputs)
        starts = xp.zeros_like(targets)
        if start is not None:
            starts[:, m:] = start.T
        tolerances = operations.device.asarray(np.repeat(of.tolerances, (m, k)), np.float64)
        solution, outputs = xp.empty_like(targets), xp.empty_like(targets)
        residuals, limits, most = xp.empty(m + k), xp.empty(m + k), 0
        for first in range(0, m + k, BLOCK):
            block = slice(first, min(first + BLOCK, m + k))
            solution[:, block], outputs[:, block], iterations, residuals[block] = of.solver.solve(
                M, targets[:, block].copy(), starts[:, block].copy(), tolerances[block]
            )
            limits[block] = of.solver.limits(
                M, targets[:, block], solution[:, block], tolerances[block]
            )
            most = max(most, int(iterations.max()))
        alpha = xp.ascontiguousarray(solution[:, :m])
        roots = operations.device.asarray(np.sqrt(draw.weights), M.dtype)
        of_pairs = xp.ascontiguousarray(solution[:, m:].T)
        test_sums = ClassSums(0.0, 0.0, 0.0, 0, 0)
        if m and len(of.test):
            predicted = operations.kernel_product(of.kernel, M, of.test, alpha, of.train)
            test_sums = self._sums(predicted, of.test_labels, chosen)
        return SolvedColumns(
            train_sums=self._sums(outputs[:, :m], of.labels, chosen),
            test_sums=test_sums,
            agop=lambda: operations.agop(of.kernel, M, of.train, alpha * roots, of.centred),
            outputs=sums_by_label(operations.device, of_pairs, of.labels, of.data.n_classes),
            solutions=of_pairs,
            residuals=to_numpy(residuals),
            limits=to_numpy(limits),
            cg_iterations=most,
        )

    def _sums(self, outputs: Any, labels: Any, classes: Any) -> ClassSums:
        """Over the classes, of outputs (n, m)."""
        own = outputs[labels[:, None] == classes].astype(np.float64)
        squares = (outputs * outputs).sum(dtype=np.float64)
        return ClassSums(
            own=float(own.sum()),
            own_error=float(((own - 1) ** 2).sum()),
            squares=float(squares),
            drawn=len(own),
            outputs=len(labels) * len(classes),
        )
