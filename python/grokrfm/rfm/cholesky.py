"""Kernel ridge regression by Cholesky factorisation of the n × n kernel matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import Kernel, Operations, minimum_norm_solve
from ..tasks import PairData, pair_indices
from .evaluation import Evaluation, Evaluator
from .sampling import Draw


class CholeskyMachine:
    """Solves with a factor of K, for one run; any kernel, any points.

    Where K is not positive definite to working precision it takes the minimum-norm solution by
    eigenvalues, which the evaluation records as `fallback` and complains of.
    """

    solver = "cholesky"
    keeps_coefficients = True

    def __init__(
        self,
        operations: Operations,
        kernel: Kernel,
        data: PairData,
        dtype: Any,
        ridge: float,
        evaluator: Evaluator,
    ) -> None:
        self._operations, self._kernel, self._ridge = operations, kernel, ridge
        self._evaluate = evaluator
        asarray = operations.device.asarray
        self._train = asarray(pair_indices(data.train, data.modulus), np.int32)
        self._targets = asarray(data.targets(dtype), dtype)
        self._workspace: Any = None
        self._solution: Any = None

    @staticmethod
    def required_bytes(data: PairData, itemsize: int) -> int:
        """Memory of one round: K, four n × c and one m × c arrays, block buffers."""
        n, m, c = len(data.train), len(data.test), data.n_classes
        numbers = n * n + 4 * n * c + m * c + 500 * n + 10 * data.dimension**2
        return numbers * itemsize + (16 << 20)

    def dual_coefficients(self, run: int = 0) -> NDArray[Any]:
        return self._operations.device.to_numpy(self._solution)

    def state(self, run: int = 0) -> dict[str, NDArray[Any]]:
        """Nothing: every round starts anew."""
        return {}

    def restore(self, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Nothing to restore."""

    def fit(self, M: Any, draw: Draw | None = None) -> list[Evaluation]:
        try:
            solution = self._operations.cholesky_solve(self._ridged_kernel(M), self._targets)
            evaluation = self._evaluate(M, solution, draw)
        except np.linalg.LinAlgError as error:
            reason = str(error)
        else:
            # A factorisation can go through on rounding errors alone; its solution then is noise.
            limit = float(np.finfo(self._targets.dtype).eps) ** 0.25
            if evaluation.residual <= limit:
                self._solution = solution
                return [evaluation]
            reason = f"residual {evaluation.residual:.1e} above {limit:.1e}"
        xp = self._operations.device.xp
        self._solution = minimum_norm_solve(xp, self._ridged_kernel(M), self._targets)
        complaint = (
            f"Cholesky solve failed ({reason}); took the minimum-norm solution by eigenvalues. "
            "A ridge > 0 or dtype='float64' makes the kernel matrix better conditioned."
        )
        evaluation = self._evaluate(M, self._solution, draw)
        return [replace(evaluation, fallback=True, complaint=complaint)]

    def _ridged_kernel(self, M: Any) -> Any:
        K = self._operations.kernel_matrix(self._kernel, M, self._train, out=self._workspace)
        self._workspace = K
        if self._ridge:
            K.ravel()[:: len(K) + 1] += self._ridge
        return K
