"""A kernel machine: ridge regression with a given feature matrix, its scores and its AGOP.

The RFM loop knows nothing below this level: it hands over M, reads the scores and asks for the
AGOP.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import memory
from .array_operations import ArrayOperations
from .kernels import Kernel


class SolverWarning(RuntimeWarning):
    """A linear solve took its fallback, or its result misses the targets."""


@dataclass(frozen=True)
class Scores:
    """How a predictor does on a set of pairs; NaN on an empty set.

    `accuracy` is the share of pairs whose largest output is the label's, `mse` the mean of
    (f_c(x) − 1[c = y])² over pairs and classes, `correct_class_mse` the mean of (f_y(x) − 1)².
    """

    accuracy: float
    mse: float
    correct_class_mse: float


def score(outputs: NDArray[Any], labels: NDArray[np.int64]) -> Scores:
    """Scores of outputs (m, c) against labels (m,)."""
    m, c = outputs.shape
    if m == 0:
        return Scores(np.nan, np.nan, np.nan)
    own = outputs[np.arange(m), labels].astype(np.float64)
    squares = float(np.einsum("jc,jc->", outputs, outputs, dtype=np.float64))
    return Scores(
        accuracy=float((outputs.argmax(axis=1) == labels).mean()),
        mse=float((squares - 2 * own.sum() + m) / (m * c)),
        correct_class_mse=float(((own - 1) ** 2).mean()),
    )


class DenseMachine:
    """Kernel ridge regression by Cholesky factorisation of the n × n kernel matrix.

    Parameters
    ----------
    operations : ArrayOperations
        Where and how the array operations run.
    kernel : Kernel
    inputs, eval_inputs : ndarray of int32, shape (n, k) and (m, k)
        Active indices of training and evaluation points.
    labels, eval_labels : ndarray of int64, shape (n,) and (m,)
    n_classes : int
    dtype : numpy dtype
    ridge : float
        Added to the diagonal of the kernel matrix.
    centred : bool
        Whether the AGOP subtracts each class's mean gradient.

    Attributes
    ----------
    dual_coefficients : array, shape (n, c)
        Of the last `fit`.
    residual : float
        Largest relative residual ‖y_c − (K + ridge I) α_c‖ / ‖y_c‖ over the classes of the last
        `fit`, measured with a freshly evaluated K.
    fallback : bool
        Whether the last `fit` took the minimum-norm solution by eigenvalues, because K was not
        positive definite to working precision.
    """

    def __init__(
        self,
        operations: ArrayOperations,
        kernel: Kernel,
        inputs: NDArray[np.int32],
        labels: NDArray[np.int64],
        eval_inputs: NDArray[np.int32],
        eval_labels: NDArray[np.int64],
        *,
        n_classes: int,
        dtype: Any,
        ridge: float,
        centred: bool,
    ) -> None:
        self._operations = operations
        self._kernel = kernel
        self._inputs = operations.asarray(inputs, np.int32)
        self._eval_inputs = operations.asarray(eval_inputs, np.int32)
        self._labels, self._eval_labels = labels, eval_labels
        self._targets = operations.asarray(np.eye(n_classes, dtype=dtype)[labels], dtype)
        self._ridge, self._centred = ridge, centred
        self._workspace: Any = None
        self.dual_coefficients: Any = None
        self.residual = np.nan
        self.fallback = False

    @staticmethod
    def required_bytes(n: int, m: int, n_classes: int, dimension: int, itemsize: int) -> int:
        """Memory of one round: K, four n × c and one m × c arrays, block buffers."""
        numbers = n * n + 4 * n * n_classes + m * n_classes + 500 * n + 10 * dimension**2
        return numbers * itemsize + (16 << 20)

    def fit(self, M: Any) -> Scores:
        """Solve for the dual coefficients with feature matrix M; scores on the training points."""
        self._M = M
        self.fallback = False
        targets = self._targets
        try:
            self.dual_coefficients = self._operations.cholesky_solve(self._ridged_kernel(), targets)
            outputs = self._measure()
        except np.linalg.LinAlgError as error:
            reason = str(error)
        else:
            # A factorisation can go through on rounding errors alone; its solution then is noise.
            limit = float(np.finfo(targets.dtype).eps) ** 0.25
            if self.residual <= limit:
                return score(outputs, self._labels)
            reason = f"residual {self.residual:.1e} above {limit:.1e}"
        warnings.warn(
            f"Cholesky solve failed ({reason}); took the minimum-norm solution by eigenvalues. "
            "A ridge > 0 or dtype='float64' makes the kernel matrix better conditioned.",
            SolverWarning,
            stacklevel=2,
        )
        self.fallback = True
        self.dual_coefficients = self._operations.minimum_norm_solve(
            self._ridged_kernel(), targets
        )
        return score(self._measure(), self._labels)

    def _ridged_kernel(self) -> Any:
        K = self._operations.kernel_matrix(
            self._kernel, self._M, self._inputs, out=self._workspace
        )
        self._workspace = K
        if self._ridge:
            K.ravel()[:: len(K) + 1] += self._ridge
        return K

    def _measure(self) -> NDArray[Any]:
        """Outputs on the training points, in host memory; sets `residual`."""
        xp = self._operations.xp
        outputs = self._predict(self._inputs)
        misses = outputs + self._ridge * self.dual_coefficients - self._targets
        norms = xp.sqrt((self._targets**2).sum(axis=0))
        misses = xp.sqrt((misses**2).sum(axis=0))
        # A class without training pairs has target 0: its residual is absolute.
        residual = float((misses / xp.where(norms > 0, norms, 1)).max())
        self.residual = residual if np.isfinite(residual) else np.inf
        return self._operations.to_numpy(outputs)

    def _predict(self, inputs: Any) -> Any:
        return self._operations.decision_function(
            self._kernel, self._M, inputs, self._inputs, self.dual_coefficients
        )

    def evaluate(self) -> Scores:
        """Scores on the evaluation points."""
        if len(self._eval_labels) == 0:
            return Scores(np.nan, np.nan, np.nan)
        outputs = self._operations.to_numpy(self._predict(self._eval_inputs))
        return score(outputs, self._eval_labels)

    def agop(self) -> Any:
        """Average gradient outer product of the fitted predictor, (d, d)."""
        return self._operations.agop(
            self._kernel, self._M, self._inputs, self.dual_coefficients, self._centred
        )


def require_dense_memory(
    n: int, m: int, n_classes: int, dimension: int, itemsize: int, matrices: int
) -> None:
    """Raise MemoryError if a dense run with that many stored feature matrices cannot fit."""
    need = DenseMachine.required_bytes(n, m, n_classes, dimension, itemsize)
    need += matrices * dimension**2 * itemsize
    memory.require(need, f"a dense run on {n} training pairs",
                   "use fewer training pairs or dtype='float32'")
