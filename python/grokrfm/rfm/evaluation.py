"""What dual coefficients do: scores, residual, AGOP; and the same by sums over training points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..operations import Kernel, Operations, fact_matrix, fact_update
from ..tasks import PairData, pair_indices
from ..training import Scores, scores_of_outputs
from .sampling import Draw


class SolverWarning(RuntimeWarning):
    """A linear solve took its fallback, or its result misses the targets."""


@dataclass(frozen=True)
class Evaluation:
    """A predictor: scores, largest relative residual of its solve over the classes, AGOP on demand.

    Runs that go together share the AGOP, which has their leading axis. `cg_iterations`: most over
    the classes, 0 for Cholesky; `fallback`: whether the solve took its fallback; `complaint`: what
    a warning says about the solve, if anything.
    """

    train: Scores
    test: Scores
    residual: float
    agop: Callable[[], Any]
    cg_iterations: int = 0
    fallback: bool = False
    complaint: str = ""


def tolerable_residual(tolerance: float, dtype: Any) -> float:
    """The residual to complain above: rounding leaves some hundred units of the last place."""
    return max(tolerance, 300 * float(np.finfo(dtype).eps))


def missed_tolerance(columns: int, residual: float) -> str:
    """The complaint about so many columns of conjugate gradients, with the largest residual."""
    return (
        f"conjugate gradients stopped with {columns} classes above the tolerance, largest relative "
        f"residual {residual:.1e}; solver='cholesky' or a ridge > 0 may help."
    )


class Evaluator(Protocol):
    """Tells what dual coefficients (n, c) do with feature matrix M.

    The AGOP is estimated from drawn classes if they are given.
    """

    def __call__(self, M: Any, dual_coefficients: Any, draw: Draw | None = None) -> Evaluation: ...


class Machine(Protocol):
    """Kernel ridge regression with a given feature matrix, for one run or for several in step."""

    solver: str
    keeps_coefficients: bool  # whether there are dual coefficients, those of all classes

    def fit(self, M: Any, draw: Draw | None = None) -> list[Evaluation]:
        """Solve for the dual coefficients with M, (d, d) or (runs, d, d); an evaluation a run.

        `draw`: the classes from which the AGOP is estimated; all unless given.
        """
        ...

    def dual_coefficients(self, run: int = 0) -> NDArray[Any] | None:
        """Of the last `fit`, (n, c), on the host, in the order of the run's data; None without."""
        ...

    def state(self, run: int = 0) -> dict[str, NDArray[Any]]:
        """What the next round of a run starts from, on the host; later rounds leave it alone."""
        ...

    def restore(self, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Go on from what `state` returned for each run."""
        ...


class DenseEvaluator:
    """Predictions and AGOP by sums over the training points: any kernel, any points."""

    def __init__(
        self,
        operations: Operations,
        kernel: Kernel,
        data: PairData,
        dtype: Any,
        ridge: float,
        centred: bool,
        fact: bool = False,
    ) -> None:
        asarray = operations.device.asarray
        self._operations, self._kernel = operations, kernel
        self._ridge, self._centred, self._fact = ridge, centred, fact
        self._train, self._test = (
            asarray(pair_indices(pairs, data.modulus), np.int32)
            for pairs in (data.train, data.test)
        )
        self._targets = asarray(data.targets(dtype), dtype)
        self._train_labels, self._test_labels = (
            asarray(labels, np.int64) for labels in (data.train_labels, data.test_labels)
        )
        self._n_tasks = data.n_tasks
        # The third column, where there are several tasks.
        self._train_tasks, self._test_tasks = (
            asarray(pairs[:, -1], np.int64) for pairs in (data.train, data.test)
        )

    def __call__(
        self,
        M: Any,
        dual_coefficients: Any,
        draw: Draw | None = None,
        outputs: Any = None,
    ) -> Evaluation:
        """`outputs`: those of the training points, (n, c), where they are known."""
        operations, xp = self._operations, self._operations.device.xp
        if outputs is None:
            outputs = self._predict(M, self._train, dual_coefficients)
        test_outputs = (
            self._predict(M, self._test, dual_coefficients)
            if len(self._test)
            else xp.empty((0, outputs.shape[1]))
        )

        def agop() -> Any:
            alpha = dual_coefficients
            if self._fact:
                return fact_update(xp, fact_matrix(xp, self._kernel, M, self._train, alpha), M)
            if draw is not None:  # the AGOP is quadratic in them
                alpha = alpha[:, operations.device.asarray(draw.classes, np.int64)]
                roots = operations.device.asarray(np.sqrt(draw.weights), alpha.dtype)
                alpha = xp.ascontiguousarray(alpha * roots)
            return operations.agop(self._kernel, M, self._train, alpha, self._centred)

        return Evaluation(
            self._scores(outputs, self._train_labels, self._train_tasks),
            self._scores(test_outputs, self._test_labels, self._test_tasks),
            self._residual(outputs, dual_coefficients),
            agop,
        )

    def _predict(self, M: Any, inputs: Any, dual_coefficients: Any) -> Any:
        return self._operations.decision_function(
            self._kernel, M, inputs, self._train, dual_coefficients
        )

    def _scores(self, outputs: Any, labels: Any, tasks: Any) -> Scores:
        xp = self._operations.device.xp
        scores = scores_of_outputs(outputs, labels, xp)
        if self._n_tasks == 1:
            return scores
        each = [tasks == task for task in range(self._n_tasks)]
        accuracies = [scores_of_outputs(outputs[rows], labels[rows], xp).accuracy for rows in each]
        return replace(scores, task_accuracy=tuple(accuracies))

    def _residual(self, outputs: Any, dual_coefficients: Any) -> float:
        xp, targets = self._operations.device.xp, self._targets
        misses = outputs + self._ridge * dual_coefficients - targets
        norms = xp.sqrt((targets**2).sum(axis=0))
        # A class without training pairs has target 0: its residual is absolute.
        relative = xp.sqrt((misses**2).sum(axis=0)) / xp.where(norms > 0, norms, 1)
        return float(relative.max())
