"""Kernel machines: ridge regression with a given feature matrix, its scores and its AGOP.

A machine solves for the dual coefficients; an evaluator tells what they do. The RFM loop knows
nothing below this level: it hands over M and gets an `Evaluation`.

    CholeskyMachine, DenseEvaluator                   any kernel, by sums over training points
    grid_machine.GridMachine, grid_machine.Grid       the quadratic family, on the grid of pairs
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .array_operations import ArrayOperations
from .kernels import Kernel


class SolverWarning(RuntimeWarning):
    """A linear solve took its fallback, or its result misses the targets."""


@dataclass(frozen=True)
class Scores:
    """How a predictor does on a set of pairs; NaN on an empty set.

    `accuracy` is the share of pairs whose largest output is the label's, `mse` the mean of
    (f_c(x) − 1[c = y])² over pairs and classes, `correct_class_mse` the mean of (f_y(x) − 1)².
    `task_accuracy` is the accuracy on each of several tasks.
    """

    accuracy: float
    mse: float
    correct_class_mse: float
    task_accuracy: tuple[float, ...] = ()


def scores(sums: Iterable[float], m: int, n_classes: int) -> Scores:
    """Scores of m pairs from sums over them: hits, Σ f_y, Σ (f_y − 1)², Σ f_c² over all classes.

    A pair is a hit if its best class is the label's.
    """
    if m == 0:
        return Scores(np.nan, np.nan, np.nan)
    hits, own, own_error, squares = sums
    return Scores(
        accuracy=float(hits / m),
        mse=max(float(squares - 2 * own + m), 0.0) / (m * n_classes),  # < 0 by rounding alone
        correct_class_mse=float(own_error / m),
    )


def scores_of_outputs(outputs: Any, labels: Any, xp: Any = np) -> Scores:
    """Scores of outputs (m, c) against labels (m,), arrays of the module `xp`."""
    m, c = outputs.shape
    if m == 0:
        return scores((), m, c)
    own = outputs[xp.arange(m), labels].astype(np.float64)
    sums = (
        (outputs.argmax(axis=1) == labels).sum(),
        own.sum(),
        ((own - 1) ** 2).sum(),
        (outputs * outputs).sum(dtype=np.float64),
    )
    return scores(map(float, sums), m, c)


@dataclass(frozen=True)
class Evaluation:
    """What dual coefficients do: scores, relative residual of the solve, AGOP on demand."""

    train: Scores
    test: Scores
    residual: float
    agop: Callable[[], Any]


@dataclass(frozen=True)
class Data:
    """Pairs and labels of a run, on the host.

    `train`, `test`: (n, 2) and (m, 2) int64 residues, with a third column that numbers the task
    where there are several; `train_labels`, `test_labels`: int64.
    """

    train: NDArray[np.int64]
    train_labels: NDArray[np.int64]
    test: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    modulus: int
    n_classes: int
    n_tasks: int = 1

    @property
    def dimension(self) -> int:
        """Of the inputs: 2p, and a bit for each task after the first."""
        return input_dimension(self.modulus, self.n_tasks)


def input_dimension(modulus: int, n_tasks: int) -> int:
    """2p, and a bit for each task after the first."""
    return 2 * modulus + n_tasks - 1


def pair_indices(pairs: NDArray[np.int64], modulus: int) -> NDArray[np.int32]:
    """Active indices of the inputs: (n, 2) for e_a ⊕ e_b, (n, 3) with the bit of a task t.

    Task 0 has no bit, index −1.
    """
    offsets = np.array([0, modulus, 2 * modulus - 1])[: pairs.shape[1]]
    indices: NDArray[np.int32] = (pairs + offsets).astype(np.int32)
    if pairs.shape[1] == 3:
        indices[pairs[:, 2] == 0, 2] = -1
    return indices


class Evaluator(Protocol):
    """Tells what dual coefficients (n, c) do with feature matrix M."""

    def __call__(self, M: Any, dual_coefficients: Any) -> Evaluation: ...


class DenseEvaluator:
    """Predictions and AGOP by sums over the training points: any kernel, any points."""

    def __init__(
        self,
        operations: ArrayOperations,
        kernel: Kernel,
        data: Data,
        dtype: Any,
        ridge: float,
        centred: bool,
    ) -> None:
        self._operations, self._kernel = operations, kernel
        self._ridge, self._centred = ridge, centred
        self._train = operations.asarray(pair_indices(data.train, data.modulus), np.int32)
        self._test = operations.asarray(pair_indices(data.test, data.modulus), np.int32)
        self._targets = operations.asarray(one_hot_targets(data, dtype), dtype)
        self._train_labels, self._test_labels = (
            operations.asarray(labels, np.int64) for labels in (data.train_labels, data.test_labels)
        )
        self._n_tasks = data.n_tasks
        # The third column, where there are several tasks.
        self._train_tasks, self._test_tasks = (
            operations.asarray(pairs[:, -1], np.int64) for pairs in (data.train, data.test)
        )

    def __call__(self, M: Any, dual_coefficients: Any) -> Evaluation:
        operations, xp = self._operations, self._operations.xp
        outputs = self._predict(M, self._train, dual_coefficients)
        test_outputs = (
            self._predict(M, self._test, dual_coefficients)
            if len(self._test)
            else xp.empty((0, outputs.shape[1]))
        )
        return Evaluation(
            self._scores(outputs, self._train_labels, self._train_tasks),
            self._scores(test_outputs, self._test_labels, self._test_tasks),
            self._residual(outputs, dual_coefficients),
            lambda: operations.agop(self._kernel, M, self._train, dual_coefficients, self._centred),
        )

    def _predict(self, M: Any, inputs: Any, dual_coefficients: Any) -> Any:
        return self._operations.decision_function(
            self._kernel, M, inputs, self._train, dual_coefficients
        )

    def _scores(self, outputs: Any, labels: Any, tasks: Any) -> Scores:
        xp = self._operations.xp
        scores = scores_of_outputs(outputs, labels, xp)
        if self._n_tasks == 1:
            return scores
        each = [tasks == task for task in range(self._n_tasks)]
        accuracies = [scores_of_outputs(outputs[rows], labels[rows], xp).accuracy for rows in each]
        return replace(scores, task_accuracy=tuple(accuracies))

    def _residual(self, outputs: Any, dual_coefficients: Any) -> float:
        xp, targets = self._operations.xp, self._targets
        misses = outputs + self._ridge * dual_coefficients - targets
        norms = xp.sqrt((targets**2).sum(axis=0))
        # A class without training pairs has target 0: its residual is absolute.
        relative = xp.sqrt((misses**2).sum(axis=0)) / xp.where(norms > 0, norms, 1)
        return float(relative.max())


class CholeskyMachine:
    """Kernel ridge regression by Cholesky factorisation of the n × n kernel matrix.

    Attributes
    ----------
    dual_coefficients : array, shape (n, c)
        Of the last `fit`.
    fallback : bool
        Whether the last `fit` took the minimum-norm solution by eigenvalues, because K was not
        positive definite to working precision.
    cg_iterations : int
        0.
    """

    cg_iterations = 0

    def __init__(
        self,
        operations: ArrayOperations,
        kernel: Kernel,
        data: Data,
        dtype: Any,
        ridge: float,
        evaluator: Evaluator,
    ) -> None:
        self._operations, self._kernel, self._ridge = operations, kernel, ridge
        self._evaluate = evaluator
        self._train = operations.asarray(pair_indices(data.train, data.modulus), np.int32)
        self._targets = operations.asarray(one_hot_targets(data, dtype), dtype)
        self._workspace: Any = None
        self.dual_coefficients: Any = None
        self.fallback = False

    @staticmethod
    def required_bytes(data: Data, itemsize: int) -> int:
        """Memory of one round: K, four n × c and one m × c arrays, block buffers."""
        n, m, c = len(data.train), len(data.test), data.n_classes
        numbers = n * n + 4 * n * c + m * c + 500 * n + 10 * data.dimension**2
        return numbers * itemsize + (16 << 20)

    def state(self) -> dict[str, NDArray[Any]]:
        """Nothing: every round starts anew."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to restore."""

    def fit(self, M: Any) -> Evaluation:
        """Solve for the dual coefficients with feature matrix M."""
        self.fallback = False
        try:
            solution = self._operations.cholesky_solve(self._ridged_kernel(M), self._targets)
            evaluation = self._evaluate(M, solution)
        except np.linalg.LinAlgError as error:
            reason = str(error)
        else:
            # A factorisation can go through on rounding errors alone; its solution then is noise.
            limit = float(np.finfo(self._targets.dtype).eps) ** 0.25
            if evaluation.residual <= limit:
                self.dual_coefficients = solution
                return evaluation
            reason = f"residual {evaluation.residual:.1e} above {limit:.1e}"
        warnings.warn(
            f"Cholesky solve failed ({reason}); took the minimum-norm solution by eigenvalues. "
            "A ridge > 0 or dtype='float64' makes the kernel matrix better conditioned.",
            SolverWarning,
            stacklevel=2,
        )
        self.fallback = True
        self.dual_coefficients = self._operations.minimum_norm_solve(
            self._ridged_kernel(M), self._targets
        )
        return self._evaluate(M, self.dual_coefficients)

    def _ridged_kernel(self, M: Any) -> Any:
        K = self._operations.kernel_matrix(self._kernel, M, self._train, out=self._workspace)
        self._workspace = K
        if self._ridge:
            K.ravel()[:: len(K) + 1] += self._ridge
        return K


def one_hot_targets(data: Data, dtype: Any) -> NDArray[Any]:
    """One-hot labels of the training pairs, (n, c)."""
    return np.eye(data.n_classes, dtype=dtype)[data.train_labels]
