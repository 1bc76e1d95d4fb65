"""Kernel machines: ridge regression with a given feature matrix, its scores and its AGOP.

A machine solves for the dual coefficients; an evaluator tells what they do. The RFM loop knows
nothing below this level: it hands over M and gets an `Evaluation`.

    CholeskyMachine, DenseEvaluator                   any kernel, by sums over training points
    grid_machine.GridMachine, grid_machine.Grid       the quadratic family, on the grid of pairs
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
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


def scores(best_class: Any, own: Any, squares: float, labels: Any, n_classes: int) -> Scores:
    """Scores from each pair's best class and own output, (m,), and the sum of all squares."""
    m = len(labels)
    if m == 0:
        return Scores(np.nan, np.nan, np.nan)
    own = own.astype(np.float64)
    return Scores(
        accuracy=float((best_class == labels).mean()),
        mse=max(float(squares - 2 * own.sum() + m), 0.0) / (m * n_classes),  # < 0 by rounding alone
        correct_class_mse=float(((own - 1) ** 2).mean()),
    )


def scores_of_outputs(outputs: NDArray[Any], labels: NDArray[np.int64]) -> Scores:
    """Scores of outputs (m, c) against labels (m,)."""
    m, c = outputs.shape
    squares = float(np.einsum("jc,jc->", outputs, outputs, dtype=np.float64))
    return scores(outputs.argmax(axis=1), outputs[np.arange(m), labels], squares, labels, c)


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
        self._operations, self._kernel, self._data = operations, kernel, data
        self._ridge, self._centred = ridge, centred
        self._train = operations.asarray(pair_indices(data.train, data.modulus), np.int32)
        self._test = operations.asarray(pair_indices(data.test, data.modulus), np.int32)
        self._targets = operations.asarray(one_hot_targets(data, dtype), dtype)

    def __call__(self, M: Any, dual_coefficients: Any) -> Evaluation:
        operations, data = self._operations, self._data
        outputs = self._predict(M, self._train, dual_coefficients)
        test_outputs = (
            self._predict(M, self._test, dual_coefficients)
            if len(data.test)
            else np.empty((0, data.n_classes))
        )
        return Evaluation(
            self._scores(outputs, data.train, data.train_labels),
            self._scores(test_outputs, data.test, data.test_labels),
            self._residual(outputs, dual_coefficients),
            lambda: operations.agop(self._kernel, M, self._train, dual_coefficients, self._centred),
        )

    def _predict(self, M: Any, inputs: Any, dual_coefficients: Any) -> Any:
        return self._operations.decision_function(
            self._kernel, M, inputs, self._train, dual_coefficients
        )

    def _scores(self, outputs: Any, pairs: NDArray[np.int64], labels: NDArray[np.int64]) -> Scores:
        outputs = self._operations.to_numpy(outputs)
        scores = scores_of_outputs(outputs, labels)
        if self._data.n_tasks == 1:
            return scores
        each = [pairs[:, 2] == task for task in range(self._data.n_tasks)]
        accuracies = [scores_of_outputs(outputs[rows], labels[rows]).accuracy for rows in each]
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
