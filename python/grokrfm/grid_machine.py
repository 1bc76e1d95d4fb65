"""The quadratic family on the grid of pairs: evaluation in closed form, conjugate gradients."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array_operations import ArrayOperations
from .grid import Form, GridProblem, GridSums, agop_from_sums, coarse_matrix, second_moment
from .machines import Data, Evaluation, SolverWarning, scores

MAX_CG_ITERATIONS = 1000

_logger = logging.getLogger("grokrfm")


class Grid:
    """The grid of pairs of a run: rounds of the quadratic family, and their evaluation.

    Of several runs of one modulus, given as a sequence of data, all arrays have a leading axis, and
    the operations must be able to take it (`ArrayOperations.batched`).
    """

    def __init__(
        self,
        operations: ArrayOperations,
        form: Form,
        data: Data | Sequence[Data],
        dtype: Any,
        ridge: float,
        centred: bool,
    ) -> None:
        self._operations, self._form, self._ridge = operations, form, ridge
        self.runs = [data] if isinstance(data, Data) else list(data)
        self.leading = () if isinstance(data, Data) else (len(self.runs),)
        p = self.runs[0].modulus
        xp = operations.xp
        self._train_labels, self._test_labels = (
            operations.asarray(np.stack(grids).reshape(*self.leading, p, p), np.int32)
            for grids in (
                [_label_grid(run.train, run.train_labels, p) for run in self.runs],
                [_label_grid(run.test, run.test_labels, p) for run in self.runs],
            )
        )
        self._mask = (self._train_labels >= 0).astype(xp.float64)
        self._second_moment = second_moment(self._mask, centred, xp)
        self._own = xp.zeros((*self.leading, p, p), dtype=dtype)
        # The rank of each training pair among those of its run in row-major order.
        self._ranks = [np.argsort(np.argsort(run.train @ [p, 1])) for run in self.runs]

    def to_grid_order(self, dual_coefficients: Any) -> Any:
        """(n, c) in the order of the data -> (c, n) in row-major order of the pairs."""
        xp = self._operations.xp
        dual = xp.empty_like(dual_coefficients)
        dual[xp.asarray(self._ranks[0])] = dual_coefficients
        return xp.ascontiguousarray(dual.T)

    def to_data_order(self, dual: Any, run: int = 0) -> NDArray[Any]:
        """(c, n) in row-major order of the pairs -> (n, c) in the order of the data, on the host.

        There, since at large moduli a device has no room for another copy. Not by `np.take`, which
        would copy the strided input first.
        """
        ordered: NDArray[Any] = self._operations.to_numpy(dual)[:, self._ranks[run]].T
        return ordered

    def rounds(
        self, M: Any, solutions: Any, tolerance: float, max_iterations: int, prediction: Any
    ) -> tuple[list[Evaluation], GridSums]:
        """Solve from the prediction (unless max_iterations is 0), evaluate, sum for the AGOP.

        One evaluation a run; they share the AGOP, which has the leading axis.
        """
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

        def agop() -> Any:
            return agop_from_sums(M, form, S, sums)

        figures = self._figures(sums).reshape(len(self.runs), -1)
        return [
            Evaluation(
                scores(row[0:4], len(run.train), run.n_classes),
                scores(row[4:8], len(run.test), run.n_classes),
                float(row[8]),
                agop,
            )
            for row, run in zip(figures, self.runs, strict=True)
        ], sums

    def _figures(self, sums: GridSums) -> NDArray[np.float64]:
        """What the scores need, in one copy to the host, (…, 9).

        For training and test pairs: hits, Σ own, Σ (own − 1)², Σ squares; the largest residual.
        """
        xp, pairs = self._operations.xp, (-2, -1)
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
        figures.append(sums.residuals.max(axis=-1))
        columns = [xp.asarray(figure, dtype=np.float64) for figure in figures]
        return self._operations.to_numpy(xp.stack(columns, axis=-1))

    def round(
        self, M: Any, solutions: Any, tolerance: float, max_iterations: int, prediction: Any
    ) -> tuple[Evaluation, GridSums]:
        """`rounds` of a single run."""
        evaluations, sums = self.rounds(M, solutions, tolerance, max_iterations, prediction)
        return evaluations[0], sums

    def __call__(self, M: Any, dual_coefficients: Any) -> Evaluation:
        solutions = self.to_grid_order(dual_coefficients)[:, None, :]
        return self.round(M, solutions, tolerance=1.0, max_iterations=0, prediction=[])[0]


class GridMachine:
    """Kernel ridge regression by preconditioned conjugate gradients on the grid of pairs.

    Each round starts from a prediction: the combination of the solutions before the last that is
    nearest to the last one, moved on by a round. `fallback` stays False: a class that misses the
    tolerance is warned of and shows in the residual.
    """

    fallback = False
    depth = 6  # solutions kept, where there is memory for them

    def __init__(
        self,
        operations: ArrayOperations,
        grid: Grid,
        data: Data | Sequence[Data],
        dtype: Any,
        tolerance: float,
    ) -> None:
        self._operations, self._grid, self._tolerance = operations, grid, tolerance
        run = grid.runs[0]
        pairs = max(len(run.train) for run in grid.runs)
        self.depth = self._affordable_depth(np.dtype(dtype).itemsize)
        shape = (*grid.leading, run.n_classes, self.depth, pairs)
        self._solutions = operations.xp.zeros(shape, dtype=dtype)
        # Of the solutions of a run, all classes together.
        self._gram = np.zeros((*grid.leading, self.depth, self.depth))
        self._rounds = 0
        self._cg_iterations = np.zeros(len(grid.runs))

    @staticmethod
    def required_bytes(
        runs: Sequence[Data], itemsize: int, operations: ArrayOperations, depth: int = 1
    ) -> int:
        """Memory of a round: the last solutions, the dual coefficients at the end, p × p arrays."""
        solutions = (depth + 1) * runs[0].n_classes * max(len(run.train) for run in runs)
        numbers = solutions + operations.grid_arrays * runs[0].modulus ** 2
        return len(runs) * numbers * itemsize + (16 << 20)

    def _affordable_depth(self, itemsize: int) -> int:
        """How many solutions there is memory for: fewer give starts a little further off."""
        runs, operations = self._grid.runs, self._operations
        available = operations.available_bytes()
        depth = self.depth
        while depth > 1 and available is not None:
            need = self.required_bytes(runs, itemsize, operations, depth)
            if need + operations.block_bytes <= available:
                break
            depth -= 1
        if depth < self.depth:
            _logger.info("solver: cg keeps %d solutions, %d need more memory", depth, self.depth)
        return depth

    @property
    def cg_iterations(self) -> int:
        """Steps of the last `fit`, most over the classes."""
        return self.cg_iterations_of(0)

    def cg_iterations_of(self, run: int) -> int:
        """Of one of several runs."""
        return int(self._cg_iterations[run])

    @property
    def dual_coefficients(self) -> NDArray[Any]:
        """Of the last `fit`, (n, c), on the host."""
        return self._grid.to_data_order(self._solutions[:, 0])

    def dual_coefficients_of(self, run: int) -> NDArray[Any]:
        """Of one of several runs, (n, c), on the host."""
        pairs = len(self._grid.runs[run].train)
        return self._grid.to_data_order(self._solutions[run, :, 0, :pairs], run)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the next round starts from, in host memory; later rounds leave it alone."""
        solutions = self._operations.to_numpy(self._solutions)
        return {
            "solutions": solutions.copy() if solutions is self._solutions else solutions,
            "gram": self._gram.copy(),
            "rounds": np.array(self._rounds),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned, with as many solutions as that run kept."""
        solutions = state["solutions"]
        classes, _, pairs = shape = self._solutions.shape
        fits = solutions.ndim == 3 and solutions.shape[::2] == (classes, pairs)
        if not fits or solutions.dtype != self._solutions.dtype:
            raise ValueError(
                f"checkpoint: expected {self._solutions.dtype} solutions of shape {shape}, "
                f"got {solutions.dtype} of {solutions.shape}"
            )
        self.depth = solutions.shape[1]
        self._solutions = self._operations.asarray(solutions, solutions.dtype)
        self._gram = state["gram"].copy()
        self._rounds = int(state["rounds"])

    def _prediction(self) -> NDArray[np.float64]:
        """Weights of the last solutions for the next start, (…, weights)."""
        known = min(self._rounds, self.depth) - 1
        if known < 1:
            return np.ones((*self._grid.leading, min(self._rounds, 1)))
        newest = self._gram[..., 1 : known + 1, :1]
        earlier = self._gram[..., 1 : known + 1, 1 : known + 1]
        weights = np.linalg.pinv(earlier, rcond=1e-12, hermitian=True) @ newest
        return np.asarray(weights[..., 0])

    def fit(self, M: Any) -> Evaluation:
        """Solve for the dual coefficients with feature matrix M, evaluate."""
        return self.fit_runs(M)[0]

    def fit_runs(self, M: Any) -> list[Evaluation]:
        """Return an evaluation a run; M has the leading axis of the grid."""
        evaluations, sums = self._grid.rounds(
            M, self._solutions, self._tolerance, MAX_CG_ITERATIONS, self._prediction()
        )
        to_numpy, gram = self._operations.to_numpy, self._gram
        gram[..., 1:, 1:] = gram[..., :-1, :-1].copy()
        gram[..., 0, :] = gram[..., :, 0] = to_numpy(sums.products)
        self._rounds += 1
        self._cg_iterations = to_numpy(sums.iterations.max(axis=-1)).reshape(-1)
        # Rounding errors alone leave a residual of some hundred units of the last place.
        limit = max(self._tolerance, 300 * float(np.finfo(M.dtype).eps))
        worst = max(evaluation.residual for evaluation in evaluations)
        if not worst <= limit:
            missed = int((to_numpy(sums.residuals) > limit).sum())
            warnings.warn(
                f"conjugate gradients stopped with {missed} classes above the tolerance, largest "
                f"relative residual {worst:.1e}; solver='cholesky' or a ridge > 0 may help.",
                SolverWarning,
                stacklevel=3,
            )
        return evaluations


def _label_grid(
    pairs: NDArray[np.int64], labels: NDArray[np.int64], modulus: int
) -> NDArray[np.int32]:
    grid = np.full((modulus, modulus), -1, dtype=np.int32)
    grid[tuple(pairs.T)] = labels
    return grid
