"""The quadratic family on the grid of pairs: evaluation in closed form, conjugate gradients."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array_operations import ArrayOperations
from .grid import Form, GridProblem, GridSums, agop_from_sums, coarse_matrix, second_moment
from .machines import Data, Evaluation, SolverWarning, scores

MAX_CG_ITERATIONS = 1000


class Grid:
    """The grid of pairs of a run: rounds of the quadratic family, and their evaluation."""

    def __init__(
        self,
        operations: ArrayOperations,
        form: Form,
        data: Data,
        dtype: Any,
        ridge: float,
        centred: bool,
    ) -> None:
        self._operations, self._form, self._ridge, self._data = operations, form, ridge, data
        p = data.modulus
        self._train_labels, self._test_labels = (
            operations.asarray(_label_grid(pairs, labels, p), np.int32)
            for pairs, labels in ((data.train, data.train_labels), (data.test, data.test_labels))
        )
        xp = operations.xp
        self._mask = (self._train_labels >= 0).astype(xp.float64)
        self._second_moment = second_moment(self._mask, centred, xp)
        self._own = xp.zeros((p, p), dtype=dtype)
        # Row-major positions on the grid, and the rank of each training pair among them.
        self._train_pairs, self._test_pairs = data.train @ [p, 1], data.test @ [p, 1]
        self._rank = np.argsort(np.argsort(self._train_pairs))

    def to_grid_order(self, dual_coefficients: Any) -> Any:
        """(n, c) in the order of the data -> (c, n) in row-major order of the pairs."""
        dual = self._operations.xp.empty_like(dual_coefficients)
        dual[self._rank] = dual_coefficients
        return self._operations.xp.ascontiguousarray(dual.T)

    def to_data_order(self, dual: Any) -> Any:
        """(c, n) in row-major order of the pairs -> (n, c) in the order of the data."""
        return dual.T[self._rank]

    def round(
        self,
        M: Any,
        solutions: Any,
        tolerance: float,
        max_iterations: int,
        prediction: list[float],
    ) -> tuple[Evaluation, GridSums]:
        """Solve from the prediction (unless max_iterations is 0), evaluate, sum for the AGOP."""
        operations, form, S = self._operations, self._form, self._second_moment
        coarse = coarse_matrix(M, form, self._ridge, self._mask, operations.xp)
        m = M.astype(S.dtype)
        problem = GridProblem(
            feature_matrix=M,
            form=form,
            ridge=self._ridge,
            train_labels=self._train_labels,
            test_labels=self._test_labels,
            coarse=coarse,
            moment=(m @ S @ m).astype(M.dtype),
            tolerance=tolerance,
            max_iterations=max_iterations,
            prediction=prediction,
        )
        sums = operations.grid_round(problem, solutions, self._own)
        best, own = (operations.to_numpy(grid).ravel() for grid in (sums.best_class, self._own))
        train, test = (
            scores(best[pairs], own[pairs], squares, labels, self._data.n_classes)
            for pairs, labels, squares in (
                (self._train_pairs, self._data.train_labels, sums.train_squares),
                (self._test_pairs, self._data.test_labels, sums.test_squares),
            )
        )
        residual = float(sums.residuals.max())
        return Evaluation(train, test, residual, lambda: agop_from_sums(M, form, S, sums)), sums

    def __call__(self, M: Any, dual_coefficients: Any) -> Evaluation:
        solutions = self.to_grid_order(dual_coefficients)[:, None, :]
        return self.round(M, solutions, tolerance=1.0, max_iterations=0, prediction=[])[0]


class GridMachine:
    """Kernel ridge regression by preconditioned conjugate gradients on the grid of pairs.

    Each round starts from a prediction: the combination of the five solutions before the last that
    is nearest to the last one, moved on by a round. `fallback` stays False: a class that misses the
    tolerance is warned of and shows in the residual.
    """

    fallback = False
    depth = 6  # solutions kept

    def __init__(
        self, operations: ArrayOperations, grid: Grid, data: Data, dtype: Any, tolerance: float
    ) -> None:
        self._operations, self._grid, self._tolerance = operations, grid, tolerance
        shape = (data.n_classes, self.depth, len(data.train))
        self._solutions = operations.xp.zeros(shape, dtype=dtype)
        self._gram = np.zeros((self.depth, self.depth))  # of the solutions, all classes together
        self._rounds = 0
        self.cg_iterations = 0

    @classmethod
    def required_bytes(cls, data: Data, itemsize: int) -> int:
        """Memory of one round: the last solutions, and some eighty p × p arrays."""
        numbers = cls.depth * data.n_classes * len(data.train) + 80 * data.modulus**2
        return numbers * itemsize + (16 << 20)

    @property
    def dual_coefficients(self) -> Any:
        """Of the last `fit`, (n, c)."""
        return self._grid.to_data_order(self._solutions[:, 0])

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the next round starts from, in host memory."""
        return {
            "solutions": self._operations.to_numpy(self._solutions),
            "gram": self._gram,
            "rounds": np.array(self._rounds),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        solutions, kept = state["solutions"], self._solutions
        if solutions.shape != kept.shape or solutions.dtype != kept.dtype:
            raise ValueError(
                f"checkpoint: expected {kept.dtype} solutions of shape {kept.shape}, "
                f"got {solutions.dtype} of {solutions.shape}"
            )
        self._solutions = self._operations.asarray(solutions, solutions.dtype)
        self._gram = state["gram"].copy()
        self._rounds = int(state["rounds"])

    def _prediction(self) -> list[float]:
        """Weights of the last solutions for the next start."""
        known = min(self._rounds, self.depth) - 1
        if known < 1:
            return [1.0] * self._rounds
        gram = self._gram[: known + 1, : known + 1]
        weights = np.linalg.lstsq(gram[1:, 1:], gram[1:, 0], rcond=1e-12)[0]
        return [float(weight) for weight in weights]

    def fit(self, M: Any) -> Evaluation:
        """Solve for the dual coefficients with feature matrix M, evaluate."""
        evaluation, sums = self._grid.round(
            M, self._solutions, self._tolerance, MAX_CG_ITERATIONS, self._prediction()
        )
        self._gram[1:, 1:] = self._gram[:-1, :-1].copy()
        self._gram[0] = self._gram[:, 0] = self._operations.to_numpy(sums.products)
        self._rounds += 1
        self.cg_iterations = int(sums.iterations.max())
        # Rounding errors alone leave a residual of some hundred units of the last place.
        limit = max(self._tolerance, 300 * float(np.finfo(M.dtype).eps))
        if not evaluation.residual <= limit:
            missed = int((sums.residuals > limit).sum())
            warnings.warn(
                f"conjugate gradients stopped with {missed} classes above the tolerance, largest "
                f"relative residual {evaluation.residual:.1e}; solver='cholesky' or a ridge > 0 "
                "may help.",
                SolverWarning,
                stacklevel=2,
            )
        return evaluation


def _label_grid(
    pairs: NDArray[np.int64], labels: NDArray[np.int64], modulus: int
) -> NDArray[np.int32]:
    grid = np.full((modulus, modulus), -1, dtype=np.int32)
    grid[tuple(pairs.T)] = labels
    return grid
