"""The compiled operations for the CPU, under the names and meanings of `interface`."""

from __future__ import annotations

import logging
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from .. import _cpu
from . import large
from .device import ThreadedHost
from .grid import GridProblem, GridSums
from .interface import Operations
from .kernels import Kernel
from .networks import Network, Training

_logger = logging.getLogger("grokrfm")


class CppOperations(Operations):
    """Operations in C++ on NumPy arrays, float32 or float64, with the GIL released."""

    compiled = True
    batched = False
    grid_arrays = 80
    block_bytes = 0
    large_rows: float = 1000

    def __init__(self) -> None:
        self._host = ThreadedHost()
        super().__init__(self._host)

    def for_few_columns(self) -> CppOperations:
        operations = copy(self)
        operations.large_rows = 300
        return operations

    def product(self, A: Any, B: Any, symmetric: bool = False) -> Any:
        if len(A) <= self.large_rows:
            return super().product(A, B)
        with self.device.own_threads() as threads:
            return large.product(A, B, threads, symmetric)

    def damped_inverse(self, C: Any, G: Any) -> Any:
        if len(C) > self.large_rows:
            try:
                with self.device.own_threads() as threads:
                    return large.damped_inverse(C, G, threads)
            except np.linalg.LinAlgError as error:
                _logger.info("damped inverse: %s; took the general solve", error)
        return super().damped_inverse(C, G)

    def kernel_matrix(
        self, kernel: Kernel, M: Any, inputs: Any, other: Any = None, out: Any = None
    ) -> Any:
        with self.device.own_threads() as threads:
            return _cpu.kernel_matrix(kernel, M, inputs, other, out, threads)

    def cholesky_solve(self, K: Any, Y: Any) -> Any:
        solution = np.array(Y.T, order="C")
        with self.device.own_threads() as threads:
            info = _cpu.cholesky_solve(K, solution, threads)
        if info != 0:
            raise np.linalg.LinAlgError(
                f"kernel matrix: not positive definite, the leading minor of order {info} fails"
            )
        return np.ascontiguousarray(solution.T)

    def decision_function(
        self, kernel: Kernel, M: Any, evaluation: Any, train: Any, dual_coefficients: Any
    ) -> Any:
        with self.device.own_threads() as threads:
            return _cpu.decision_function(kernel, M, evaluation, train, dual_coefficients, threads)

    def kernel_product(
        self, kernel: Kernel, M: Any, inputs: Any, vectors: Any, other: Any = None
    ) -> Any:
        with self.device.own_threads() as threads:
            return _cpu.kernel_product(kernel, M, inputs, vectors, other, threads)

    def agop(
        self, kernel: Kernel, M: Any, train: Any, dual_coefficients: Any, centred: bool
    ) -> Any:
        with self.device.own_threads() as threads:
            return _cpu.agop(kernel, M, train, dual_coefficients, centred, threads)

    def column_bytes(self, modulus: int, classes: int, targets: int, itemsize: int) -> int:
        in_flight = min(self._host.threads, max(classes + targets, 1))
        tiles = self._host.threads * (5 << 18) if modulus > 128 else 0  # csrc/cpu/tile_loops.h
        return (80 + 26 * in_flight) * modulus**2 * itemsize + tiles

    def grid_round(
        self,
        problem: GridProblem,
        solutions: Any,
        own: Any,
        first_class: int = 0,
        targets: Any = None,
        target_tolerance: float = 0.0,
    ) -> GridSums:
        with self.device.own_threads() as threads:
            sums = _cpu.grid_round(
                **{**vars(problem), "prediction": list(problem.prediction)},
                solutions=solutions,
                own=own,
                first_class=first_class,
                targets=targets,
                target_tolerance=target_tolerance,
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
        with self.device.own_threads() as threads:
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
        with self.device.own_threads() as threads:
            return _cpu.network_outputs(
                activation, network.first, network.second, inputs, transform, threads
            )

    def matrix_power(self, G: Any, exponent: float) -> Any:
        """By eigenvectors; the square root of a large float32 matrix by `large.square_root`."""
        with self.device.own_threads() as threads:
            if exponent == 0.5 and len(G) > self.large_rows and G.dtype == np.float32:
                try:
                    return large.square_root(G, threads)
                except np.linalg.LinAlgError as error:
                    _logger.info("matrix power: %s; took the eigenvectors", error)
            return _cpu.matrix_power(G, exponent)
