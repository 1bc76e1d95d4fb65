"""Evaluation of the quadratic family on the grid of pairs, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import (
    Form,
    GridProblem,
    GridSums,
    Operations,
    agop_from_sums,
    coarse_matrix,
    fact_from_sums,
    fact_update,
    moment_in_metric,
    renumbered,
    second_moment,
)
from ..tasks import PairData
from ..training import scores
from .evaluation import Evaluation
from .sampling import Draw

_COPIED_BYTES = 64 << 20  # of dual coefficients at a time


class GridEvaluator:
    """Rounds of the quadratic family on the grid of pairs of one run, and their evaluation.

    Of several runs of one modulus all arrays have a leading axis, and the operations must be able
    to take it (`Operations.batched`).
    """

    def __init__(
        self,
        operations: Operations,
        form: Form,
        runs: Sequence[PairData],
        dtype: Any,
        ridge: float,
        centred: bool,
        fact: bool = False,
    ) -> None:
        self._operations, self._form, self._ridge = operations, form, ridge
        self._fact = fact
        self.runs = list(runs)
        self.leading = () if len(self.runs) == 1 else (len(self.runs),)
        p = self.runs[0].modulus
        xp = operations.device.xp
        self._train_labels, self._test_labels = (
            operations.device.asarray(np.stack(grids).reshape(*self.leading, p, p), np.int32)
            for grids in (
                [_label_grid(run.train, run.train_labels, p) for run in self.runs],
                [_label_grid(run.test, run.test_labels, p) for run in self.runs],
            )
        )
        self._mask = (self._train_labels >= 0).astype(xp.float64)
        S = second_moment(self._mask, centred, xp)
        self._second_moment = S.astype(dtype) if 2 * p > operations.large_rows else S
        self._own = xp.zeros((*self.leading, p, p), dtype=dtype)

    @cached_property
    def _orders(self) -> list[NDArray[np.int64]]:
        return [row_major_order(run.train, run.modulus) for run in self.runs]

    def to_grid_order(self, dual_coefficients: Any) -> Any:
        """(n, c) in the order of the data -> (c, n) in row-major order of the pairs."""
        xp = self._operations.device.xp
        return xp.ascontiguousarray(dual_coefficients[xp.asarray(self._orders[0])].T)

    def to_data_order(self, dual: Any, run: int = 0) -> NDArray[Any]:
        """(c, n) in row-major order of the pairs -> (n, c) in the order of the data, on the host.

        Some pairs at a time, transposed on the device, which at large moduli has no room for
        another copy; the host puts whole rows in their places.
        """
        to_numpy, order = self._operations.device.to_numpy, self._orders[run]
        ordered = np.empty(dual.shape[::-1], dtype=dual.dtype)
        size = max(1, _COPIED_BYTES // (len(dual) * dual.itemsize))
        for first in range(0, len(order), size):
            pairs = slice(first, first + size)
            ordered[order[pairs]] = to_numpy(dual[:, pairs].T)
        return ordered

    def problem(
        self, M: Any, tolerance: float, max_iterations: int, prediction: Any
    ) -> GridProblem:
        """What all columns of a round share: 2p × 2p algebra, about 40 p³ flops."""
        operations, S = self._operations, self._second_moment
        Q = M if self._fact else moment_in_metric(M, S, operations).astype(M.dtype, copy=False)
        return GridProblem(
            feature_matrix=M,
            form=self._form,
            ridge=self._ridge,
            train_labels=self._train_labels,
            test_labels=self._test_labels,
            coarse=coarse_matrix(M, self._form, self._ridge, self._mask, operations),
            moment=Q,
            tolerance=tolerance,
            max_iterations=max_iterations,
            prediction=prediction,
        )

    def of_classes(self, problem: GridProblem, classes: NDArray[np.int64]) -> GridProblem:
        """The problem with these classes, in their order, in the place of all."""
        xp, c = self._operations.device.xp, self.runs[0].n_classes
        chosen = self._operations.device.asarray(classes, np.int64)
        return replace(
            problem,
            train_labels=renumbered(problem.train_labels, chosen, c, xp),
            test_labels=renumbered(problem.test_labels, chosen, c, xp),
        )

    def agop(self, M: Any, sums: GridSums) -> Any:
        """AGOP from the sums over classes, or |F M| where that takes its place."""
        if self._fact:
            F = fact_from_sums(M, self._form, sums)
            return fact_update(self._operations.device.xp, F, M)
        return agop_from_sums(M, self._form, self._second_moment, sums, self._operations)

    def agop_of_draw(self, problem: GridProblem, solutions: Any, draw: Draw) -> Any:
        """The estimate of the AGOP from (…, m, 1, n) solutions of drawn classes.

        It is quadratic in the solutions, which are scaled by the roots of the weights.
        """
        xp = self._operations.device.xp
        roots = self._operations.device.asarray(np.sqrt(draw.weights), solutions.dtype)
        scaled = xp.ascontiguousarray(solutions * roots[:, None, None])
        problem = replace(self.of_classes(problem, draw.classes), max_iterations=0, prediction=[])
        sums = self._operations.grid_round(problem, scaled, xp.empty_like(self._own))
        return self.agop(problem.feature_matrix, sums)

    def round(
        self,
        M: Any,
        solutions: Any,
        tolerance: float,
        max_iterations: int,
        prediction: Any,
        draw: Draw | None = None,
    ) -> tuple[list[Evaluation], GridSums]:
        """Solve from the prediction (unless max_iterations is 0), evaluate, sum for the AGOP.

        One evaluation a run; they share the AGOP, which has the leading axis. It is estimated from
        drawn classes if they are given. The products of the sums come on the host.
        """
        problem = self.problem(M, tolerance, max_iterations, prediction)
        sums = self._operations.grid_round(problem, solutions, self._own)

        def agop() -> Any:
            if draw is None:
                return self.agop(M, sums)
            classes = self._operations.device.asarray(draw.classes, np.int64)
            return self.agop_of_draw(problem, solutions[..., classes, :1, :], draw)

        figures = self._figures(sums)
        sums.products = figures[..., 10:]
        return [
            Evaluation(
                scores(row[0:4], len(run.train), run.n_classes),
                scores(row[4:8], len(run.test), run.n_classes),
                float(row[8]),
                agop,
                cg_iterations=int(row[9]),
            )
            for row, run in zip(figures.reshape(len(self.runs), -1), self.runs, strict=True)
        ], sums

    def _figures(self, sums: GridSums) -> NDArray[np.float64]:
        """What is read of a round, in one copy to the host, (…, 10 + k).

        For training and test pairs: hits, Σ own, Σ (own − 1)², Σ squares; the largest residual; the
        most steps; the products.
        """
        xp, pairs = self._operations.device.xp, (-2, -1)
        own = self._own.astype(np.float64)
        figures = []
        for labels, squares in (
            (self._train_labels, sums.train_squares),
            (self._test_labels, sums.test_squares),
        ):
            known = labels >= 0
            figures += [
                (sums.best_class == labels).sum(axis=pairs),
                (own * known).sum(axis=pairs),
                ((own - 1) ** 2 * known).sum(axis=pairs),
                squares,
            ]
        figures += [sums.residuals.max(axis=-1), sums.iterations.max(axis=-1)]
        columns = [xp.asarray(figure, dtype=np.float64)[..., None] for figure in figures]
        everything = xp.concatenate([*columns, xp.asarray(sums.products)], axis=-1)
        return self._operations.device.to_numpy(everything)

    def __call__(self, M: Any, dual_coefficients: Any, draw: Draw | None = None) -> Evaluation:
        solutions = self.to_grid_order(dual_coefficients)[:, None, :]
        return self.round(M, solutions, 0.0, 0, [], draw)[0][0]


def row_major_order(pairs: NDArray[np.int64], modulus: int) -> NDArray[np.int64]:
    """Which of different pairs comes first, second, … on the grid; without sorting."""
    places = np.full(modulus**2, -1)
    places[pairs @ [modulus, 1]] = np.arange(len(pairs))
    return places[places >= 0]


def _label_grid(
    pairs: NDArray[np.int64], labels: NDArray[np.int64], modulus: int
) -> NDArray[np.int32]:
    grid = np.full((modulus, modulus), -1, dtype=np.int32)
    grid[tuple(pairs.T)] = labels
    return grid
