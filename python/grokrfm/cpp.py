"""The compiled operations for the CPU, under the names and meanings of `array_operations`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from . import _cpu
from .array_operations import ArrayOperations
from .grid import GridProblem, GridSums
from .kernels import Kernel
from .network_arrays import Network, Training


class CppOperations(ArrayOperations):
    """Operations in C++ on NumPy arrays, float32 or float64, with the GIL released.

    The number of threads is GROKRFM_NUM_THREADS from the environment or else that of the BLAS:
    OPENBLAS_NUM_THREADS or `threadpoolctl.threadpool_limits` govern both. What is not overridden
    here is the array source.
    """

    compiled = True

    def __init__(self) -> None:
        super().__init__(np)
        self._blas = ThreadpoolController().select(user_api="blas")
        self._held = 0  # threads of the region in progress, if any

    @property
    def threads(self) -> int:
        """Threads in use: as set, else the BLAS's, else (a BLAS not seen) one a processor."""
        wanted = os.environ.get("GROKRFM_NUM_THREADS")
        if wanted is not None:
            if not wanted.strip().isdecimal() or int(wanted) < 1:
                raise ValueError(
                    f"GROKRFM_NUM_THREADS: expected a positive integer, got {wanted!r}"
                )
            return int(wanted)
        if pools := self._blas.lib_controllers:
            return int(max(pool.num_threads for pool in pools))
        if sys.platform == "linux":
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    @contextmanager
    def own_threads(self) -> Iterator[int]:
        """Yield the number of threads, with BLAS kept to one: each of ours calls it.

        Around a whole run too, and then once: BLAS workers go on spinning after a threaded call and
        would slow down the parallel regions that follow.
        """
        if self._held:
            yield self._held
            return
        self._held = self.threads
        try:
            with self._blas.limit(limits=1):
                yield self._held
        finally:
            self._held = 0

    def kernel_matrix(
        self, kernel: Kernel, M: Any, inputs: Any, other: Any = None, out: Any = None
    ) -> Any:
        with self.own_threads() as threads:
            return _cpu.kernel_matrix(kernel, M, inputs, other, out, threads)

    def cholesky_solve(self, K: Any, Y: Any) -> Any:
        solution = np.array(Y.T, order="C")
        with self.own_threads() as threads:
            info = _cpu.cholesky_solve(K, solution, threads)
        if info != 0:
            raise np.linalg.LinAlgError(
                f"kernel matrix: not positive definite, the leading minor of order {info} fails"
            )
        return np.ascontiguousarray(solution.T)

    def decision_function(
        self, kernel: Kernel, M: Any, evaluation: Any, train: Any, dual_coefficients: Any
    ) -> Any:
        with self.own_threads() as threads:
            return _cpu.decision_function(kernel, M, evaluation, train, dual_coefficients, threads)

    def agop(
        self, kernel: Kernel, M: Any, train: Any, dual_coefficients: Any, centred: bool
    ) -> Any:
        with self.own_threads() as threads:
            return _cpu.agop(kernel, M, train, dual_coefficients, centred, threads)

    def grid_round(
        self, problem: GridProblem, solutions: Any, own: Any, first_class: int = 0
    ) -> GridSums:
        with self.own_threads() as threads:
            sums = _cpu.grid_round(
                **{**vars(problem), "prediction": list(problem.prediction)},
                solutions=solutions,
                own=own,
                first_class=first_class,
                threads=threads,
            )
        return GridSums(**sums)

    def network_epoch(
        self,
        training: Training,
        network: Network,
        inputs: Any,
        labels: Any,
        transform: Any = None,
    ) -> Network:
        settings = vars(training).copy()
        del settings["optimizer"]  # moments mean AdamW
        after = network.map(np.copy)
        with self.own_threads() as threads:
            _cpu.network_epoch(
                **settings,
                first=after.first,
                second=after.second,
                moments=after.moments,
                inputs=inputs,
                labels=labels[:, None],
                transform=transform,
                steps=network.steps,
                threads=threads,
            )
        steps = network.steps - (-len(inputs) // training.batch_size)
        return replace(after, steps=steps)

    def network_outputs(
        self, activation: str, network: Network, inputs: Any, transform: Any = None
    ) -> Any:
        with self.own_threads() as threads:
            return _cpu.network_outputs(
                activation, network.first, network.second, inputs, transform, threads
            )

    def matrix_power(self, G: Any, exponent: float) -> Any:
        with self.own_threads():
            return _cpu.matrix_power(G, exponent)
