"""What goes on where conjugate gradients miss their tolerance: Cholesky in double precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import Form, Kernel, Operations, memory
from ..tasks import PairData
from .cholesky import CholeskyMachine
from .evaluation import Evaluation
from .grid import GridEvaluator
from .sampling import Draw

SWITCHED = {"solver": np.array("cg"), "switched": np.array(True)}  # state of a run that does
_ITEMSIZE = np.dtype(np.float64).itemsize


class PreciseMachine:
    """Solves and evaluates in double precision what is left of a run, whatever its precision.

    Where M is nearly singular, so is the kernel matrix: conjugate gradients stagnate, and a
    factorisation in single precision fails. Its evaluations are marked as fallbacks.
    """

    solver = "cg"  # of the run
    keeps_coefficients = True

    def __init__(
        self,
        operations: Operations,
        kernel: Kernel,
        form: Form,
        data: PairData,
        dtype: Any,
        ridge: float,
        centred: bool,
        fact: bool = False,
    ) -> None:
        memory.require(
            CholeskyMachine.required_bytes(data, _ITEMSIZE),
            operations.device.available_bytes(),
            f"the kernel matrix of {len(data.train)} training pairs, which the run went on with,",
            "go on where there is more memory",
        )
        grid = GridEvaluator(operations, form, [data], np.float64, ridge, centred, fact)
        self._cholesky = CholeskyMachine(operations, kernel, data, np.float64, ridge, grid)
        self._dtype = dtype

    @staticmethod
    def is_affordable(data: PairData, steps: int, operations: Operations) -> bool:
        """Whether the kernel matrix fits into memory, and its factor costs about what cg does.

        That is at most three times the flops of so many steps, two thirds of them at large p.
        """
        available = operations.device.available_bytes()
        if available is not None and CholeskyMachine.required_bytes(data, _ITEMSIZE) > available:
            return False
        n, c = len(data.train), data.n_classes
        return n**3 / 3 + 2 * n**2 * c <= 3 * steps * 10 * data.modulus**3 * c

    def dual_coefficients(self, run: int = 0) -> NDArray[Any]:
        return self._cholesky.dual_coefficients().astype(self._dtype)

    def state(self, run: int = 0) -> dict[str, NDArray[Any]]:
        return dict(SWITCHED)

    def restore(self, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Nothing to restore: every round starts anew."""

    def fit(self, M: Any, draw: Draw | None = None) -> list[Evaluation]:
        [evaluation] = self._cholesky.fit(M.astype(np.float64), draw)

        def agop() -> Any:
            return evaluation.agop().astype(self._dtype)

        return [replace(evaluation, agop=agop, fallback=True)]
