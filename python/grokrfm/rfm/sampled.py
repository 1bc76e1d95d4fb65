"""Rounds of a few classes: the AGOP from drawn ones, the accuracy from drawn pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import Operations
from ..tasks import PairData
from ..training import sampled_accuracy, unpack_array
from .columns import Columns
from .evaluation import Evaluation, missed_tolerance
from .sampling import Draw
from .streamed import BLOCK


class SampledMachine:
    """Solves for the drawn classes, from zero, and for evaluation pairs, from the last round.

    The work of a round does not grow with the number of classes. It leaves no dual coefficients.
    """

    solver = "cg"
    keeps_coefficients = False

    def __init__(
        self,
        operations: Operations,
        columns: Columns,
        data: PairData,
        drawn_pairs: NDArray[np.int64],
        dtype: Any,
    ) -> None:
        self._operations, self._columns, self._data = operations, columns, data
        self._pairs, self._labels = data.test[drawn_pairs], data.test_labels[drawn_pairs]
        self._dtype = np.dtype(dtype)
        self._solutions: Any = None

    @staticmethod
    def required_bytes(
        data: PairData,
        itemsize: int,
        operations: Operations,
        classes: int,
        pairs: int,
        on_the_grid: bool,
    ) -> int:
        """Memory of a round: vectors of the columns, p × p arrays."""
        columns, n, p = classes + pairs, len(data.train), data.modulus
        if on_the_grid:
            # Solutions of this round and of the last one, the targets; the inputs.
            numbers = (2 * columns + pairs + 2) * n
            arrays = operations.column_bytes(p, classes, pairs, itemsize)
        else:
            numbers = (5 * columns + 12 * min(columns, BLOCK) + 500) * n + classes * len(data.test)
            arrays = 150 * p**2 * itemsize + operations.streamed_bytes
        return numbers * itemsize + arrays + (16 << 20)

    def dual_coefficients(self, run: int = 0) -> None:
        return None

    def state(self, run: int = 0) -> dict[str, NDArray[Any]]:
        return {"pair_solutions": self._operations.device.to_numpy(self._solutions).copy()}

    def restore(self, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        shape = (len(self._pairs), len(self._data.train))
        [state] = states
        stored = unpack_array(state, "pair_solutions", shape, self._dtype)
        self._solutions = self._operations.device.asarray(stored, self._dtype)

    def fit(self, M: Any, draw: Draw | None = None) -> list[Evaluation]:
        c = self._data.n_classes
        draw = draw or Draw(np.arange(c), np.ones(c))
        classes = draw.classes
        solved = self._columns.at(M).solve(draw, self._pairs, self._solutions)
        self._solutions = solved.solutions
        hits = int((solved.outputs.argmax(axis=1) == self._labels).sum())
        accuracy, error = sampled_accuracy(hits, len(self._pairs), len(self._data.test))
        missed = int((~(solved.residuals <= solved.limits)).sum())
        worst = float(solved.residuals.max())
        return [
            Evaluation(
                train=solved.train,
                test=replace(solved.test, accuracy=accuracy, accuracy_error=error),
                # Of the classes, which the features come from.
                residual=float(solved.residuals[: len(classes)].max()),
                agop=solved.agop,
                cg_iterations=solved.cg_iterations,
                complaint=missed_tolerance(missed, worst) if missed else "",
            )
        ]
