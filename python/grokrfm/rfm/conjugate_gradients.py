"""Kernel ridge regression by preconditioned conjugate gradients on the grid of pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import Operations
from ..tasks import PairData
from ..training import unpack_array
from .evaluation import Evaluation, missed_tolerance, tolerable_residual
from .grid import GridEvaluator
from .sampling import Draw

MAX_CG_ITERATIONS = 1000

_logger = logging.getLogger("grokrfm")


class ConjugateGradientMachine:
    """Solves on the grid of pairs, for one run or for several in step; the quadratic family.

    Each round starts from a prediction: the combination of the solutions before the last that is
    nearest to the last one, moved on by a round. There is no fallback: a class that misses the
    tolerance is complained of and shows in the residual.
    """

    solver = "cg"
    keeps_coefficients = True
    depth = 6  # solutions kept, where there is memory for them

    def __init__(
        self,
        operations: Operations,
        grid: GridEvaluator,
        dtype: Any,
        tolerance: float,
    ) -> None:
        self._operations, self._grid, self._tolerance = operations, grid, tolerance
        self._dtype = np.dtype(dtype)
        self._allocate(self._affordable_depth())
        self._rounds = 0

    def _allocate(self, depth: int) -> None:
        runs, leading = self._grid.runs, self._grid.leading
        self.depth = depth
        pairs = max(len(run.train) for run in runs)
        shape = (*leading, runs[0].n_classes, depth, pairs)
        self._solutions = self._operations.device.xp.zeros(shape, dtype=self._dtype)
        # Of the solutions of a run, all classes together.
        self._gram = np.zeros((*leading, depth, depth))

    @staticmethod
    def required_bytes(
        runs: Sequence[PairData], itemsize: int, operations: Operations, depth: int = 1
    ) -> int:
        """Memory of a round: the last solutions, p × p arrays; at the end dual coefficients.

        Those of runs on a GPU go to the host.
        """
        copies = depth + (operations.device.xp is np)
        solutions = copies * runs[0].n_classes * max(len(run.train) for run in runs)
        numbers = solutions + operations.grid_arrays * runs[0].modulus ** 2
        return len(runs) * numbers * itemsize + (16 << 20)

    @classmethod
    def state_bytes(cls, runs: Sequence[PairData], itemsize: int) -> int:
        """What `state` of all runs takes, on the host."""
        return cls.depth * runs[0].n_classes * sum(len(run.train) for run in runs) * itemsize

    def _affordable_depth(self) -> int:
        """How many solutions there is memory for: fewer give starts a little further off."""
        runs, operations = self._grid.runs, self._operations
        available = operations.device.available_bytes()
        depth = self.depth
        while depth > 1 and available is not None:
            need = self.required_bytes(runs, self._dtype.itemsize, operations, depth)
            if need + operations.block_bytes <= available:
                break
            depth -= 1
        if depth < self.depth:
            _logger.info("solver: cg keeps %d solutions, %d need more memory", depth, self.depth)
        return depth

    def _of(self, array: Any, run: int) -> Any:
        """Return one run's part of an array with the leading axis of the grid."""
        return array[run] if self._grid.leading else array

    def _solutions_of(self, run: int) -> Any:
        """The last solutions of a run, (c, depth, n): the runs share an axis of the longest n."""
        pairs = len(self._grid.runs[run].train)
        return self._of(self._solutions, run)[..., :pairs]

    def dual_coefficients(self, run: int = 0) -> NDArray[Any]:
        return self._grid.to_data_order(self._solutions_of(run)[:, 0], run)

    def state(self, run: int = 0) -> dict[str, NDArray[Any]]:
        device = self._operations.device
        solutions = device.to_numpy(self._solutions_of(run))
        return {
            "solutions": solutions.copy() if device.xp is np else solutions,
            "gram": self._of(self._gram, run).copy(),
            "rounds": np.array(self._rounds),
        }

    def restore(self, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Go on from what `state` returned, with as many solutions as those runs kept."""
        depth = unpack_array(states[0], "gram", (None, None), np.float64).shape[0]
        self._allocate(depth)
        for run, state in enumerate(states):
            classes, _, pairs = self._solutions_of(run).shape
            solutions = unpack_array(state, "solutions", (classes, depth, pairs), self._dtype)
            self._solutions_of(run)[...] = self._operations.device.asarray(solutions, self._dtype)
            self._of(self._gram, run)[...] = unpack_array(state, "gram", (depth, depth), np.float64)
        self._rounds = int(unpack_array(states[0], "rounds", (), np.int64))

    def _prediction(self) -> NDArray[np.float64]:
        """Weights of the last solutions for the next start, (…, weights).

        The newest alone after rounds that were not finite.
        """
        known = min(self._rounds, self.depth) - 1
        if known < 1:
            return np.ones((*self._grid.leading, min(self._rounds, 1)))
        finite = np.asarray(np.isfinite(self._gram).all(axis=(-2, -1)))[..., None]
        gram = self._gram if finite.all() else np.where(finite[..., None], self._gram, 0)
        newest = gram[..., 1 : known + 1, :1]
        earlier = gram[..., 1 : known + 1, 1 : known + 1]
        weights = np.linalg.pinv(earlier, rcond=1e-12, hermitian=True) @ newest
        return np.where(finite, weights[..., 0], np.eye(1, known)[0])

    def fit(self, M: Any, draw: Draw | None = None) -> list[Evaluation]:
        evaluations, sums = self._grid.round(
            M, self._solutions, self._tolerance, MAX_CG_ITERATIONS, self._prediction(), draw
        )
        gram = self._gram
        gram[..., 1:, 1:] = gram[..., :-1, :-1].copy()
        gram[..., 0, :] = gram[..., :, 0] = sums.products
        self._rounds += 1
        limit = tolerable_residual(self._tolerance, M.dtype)

        def complaint(run: int, worst: float) -> str:
            if worst <= limit:
                return ""
            return missed_tolerance(int((~(self._of(sums.residuals, run) <= limit)).sum()), worst)

        return [
            replace(evaluation, complaint=complaint(run, evaluation.residual))
            for run, evaluation in enumerate(evaluations)
        ]
