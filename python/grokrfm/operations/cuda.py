"""The compiled operations for NVIDIA GPUs, under the names and meanings of `interface`."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from .device import Device
from .grid import GridProblem, GridSums
from .kernels import Kernel
from .large import FLOORS
from .reference import ArrayNetworks

_logger = logging.getLogger("grokrfm")


def library_addresses(routines: list[str]) -> dict[str, int]:
    """Return the addresses of functions of cuBLAS and cuSOLVER, of the copies CuPy loads.

    Raises
    ------
    RuntimeError
        If a library is missing or lacks a function.
    """
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    addresses: dict[str, int] = {}
    for routine in routines:
        name = "cublas" if routine.startswith("cublas") else "cusolver"
        try:
            library = ctypes.CDLL(load_nvidia_dynamic_lib(name).abs_path)
        except DynamicLibNotFoundError as error:
            raise RuntimeError(
                f"backend: 'cuda' needs {name}, pip install 'grokrfm[cuda13]': {error}"
            ) from error
        if not hasattr(library, routine):
            raise RuntimeError(
                f"backend: 'cuda' needs {name} of CUDA 12.6.2 or later: {routine} is missing"
            )
        addresses[routine] = ctypes.cast(getattr(library, routine), ctypes.c_void_p).value or 0
    return addresses


class CudaOperations(ArrayNetworks):
    """Operations in CUDA on CuPy arrays, float32 or float64, in the order of CuPy's current stream.

    Arrays stay on the device, work memory comes from CuPy's pool. Networks have the array source.

    Parameters
    ----------
    library : module
        `grokrfm._cuda`.
    device : grokrfm._cuda.Device
    xp : module
        cupy. (The tests run the library's host build on NumPy arrays.)
    """

    compiled = True
    batched = True
    large_rows = 4000  # float64 would take tens of GB
    root_rows = 1000  # of the largest float32 matrices whose square roots take eigenvectors
    grid_arrays = 200
    block_bytes = 4 << 30  # of a block of columns; its products are large long before that
    streamed_bytes = 512 << 20

    def __init__(self, library: Any, device: Any, xp: Any) -> None:
        super().__init__(Device(xp))
        self._library, self._handle = library, device
        self._known: dict[str, tuple[Any, Any]] = {}
        self._lock = threading.RLock()  # the handle has one stream at a time

    @contextmanager
    def _place(self) -> Iterator[Any]:
        """Where one call of the library runs; calls of several Python threads take turns."""
        with self._lock:
            yield self._library.Place(
                self._handle,
                self._stream(),
                lambda size: self.device.xp.empty(size, dtype=self.device.xp.uint8),
            )

    def _stream(self) -> int:
        if self.device.xp is np:
            return 0
        return int(self.device.xp.cuda.get_current_stream().ptr or self._beside_default.ptr)

    @cached_property
    def _beside_default(self) -> Any:
        """A stream that can be recorded: it and the default one, which cannot, wait for another."""
        return self.device.xp.cuda.Stream(non_blocking=False)

    def _once(self, what: str, array: Any, make: Any) -> Any:
        """Return make(array), made anew only for another array than the last time.

        That is the array's own even if another Python thread comes with its own meanwhile.
        """
        known = self._known.get(what)
        if known is None or known[0] is not array:
            known = (array, make(array))
            self._known[what] = known
        return known[1]

    def kernel_matrix(
        self, kernel: Kernel, M: Any, inputs: Any, other: Any = None, out: Any = None
    ) -> Any:
        if out is None:
            columns = inputs if other is None else other
            out = self.device.xp.empty((len(inputs), len(columns)), dtype=M.dtype)
        with self._place() as place:
            self._library.kernel_matrix(place, kernel, M, inputs, other, out)
        return out

    def cholesky_solve(self, K: Any, Y: Any) -> Any:
        solution = self.device.xp.array(Y.T, order="C")
        with self._place() as place:
            info = self._library.cholesky_solve(place, K, solution)
        if info != 0:
            raise np.linalg.LinAlgError(
                f"kernel matrix: not positive definite, the leading minor of order {info} fails"
            )
        return self.device.xp.ascontiguousarray(solution.T)

    def decision_function(
        self, kernel: Kernel, M: Any, evaluation: Any, train: Any, dual_coefficients: Any
    ) -> Any:
        shape = (len(evaluation), dual_coefficients.shape[1])
        out = self.device.xp.empty(shape, dtype=M.dtype)
        with self._place() as place:
            self._library.decision_function(
                place, kernel, M, evaluation, train, dual_coefficients, out
            )
        return out

    def kernel_product(
        self, kernel: Kernel, M: Any, inputs: Any, vectors: Any, other: Any = None
    ) -> Any:
        columns = inputs if other is None else other
        return self.decision_function(kernel, M, inputs, columns, vectors)

    def agop(
        self, kernel: Kernel, M: Any, train: Any, dual_coefficients: Any, centred: bool
    ) -> Any:
        out = self.device.xp.empty_like(M)
        slots = self._once(f"chunks {len(M)}", train, lambda points: self._chunks(points, len(M)))
        with self._place() as place:
            self._library.agop(place, kernel, M, train, slots, dual_coefficients, centred, out)
        return out

    def _chunks(self, train: Any, d: int) -> list[tuple[Any, Any, int]]:
        """Per slot: its order, the chunks (first, last, index) and their greatest length.

        A chunk is cut at one and a half times the mean, so that padding stays bounded whatever the
        points; absent indices count as index d.
        """
        xp, slots = self.device.xp, []
        for slot in range(train.shape[1]):
            index = xp.where(train[:, slot] < 0, d, train[:, slot])
            if bool((index > d).any()):
                raise ValueError(f"train: expected indices from -1 to {d - 1}")
            order = xp.argsort(index, kind="stable").astype(np.int32)
            counts = self.device.to_numpy(xp.bincount(index, minlength=d + 1))
            longest = min(counts.max(), -(-3 * len(train) // (2 * np.count_nonzero(counts))))
            ends = np.cumsum(counts)
            chunks = [
                (first, min(first + longest, end), v)
                for v, end in enumerate(ends)
                for first in range(end - counts[v], end, longest)
            ]
            slots.append((order, self.device.asarray(chunks, np.int32), int(longest)))
        return slots

    def column_bytes(self, modulus: int, classes: int, targets: int, itemsize: int) -> int:
        """What the columns share, 80 p² numbers, and the columns in flight.

        Those are a block at a time, in float32 one by one from p = 5000 on: 14.0 GB at p = 9973,
        beside 31.8 GB of the rest. No solutions are kept but those of the columns themselves.
        """
        shared = 80 * modulus**2 * itemsize
        in_flight: int = self._library.grid_round_bytes(
            modulus, classes, targets, itemsize, self.block_bytes
        )
        return shared + in_flight

    def grid_round(
        self,
        problem: GridProblem,
        solutions: Any,
        own: Any,
        first_class: int = 0,
        targets: Any = None,
        target_tolerance: float = 0.0,
    ) -> GridSums:
        """Solve, evaluate and sum, for one run or for several that share a leading axis.

        Runs may differ in their number of pairs: `solutions` is (runs, columns, k, n) with n that
        of the largest, and the others use the front of it; so it is with `targets`, (runs, r, n).
        """
        xp = self.device.xp
        single = problem.feature_matrix.ndim == 2
        labels = problem.train_labels
        ranks, most = self._once("ranks", labels, self._ranks)
        if most > solutions.shape[-1]:
            raise ValueError(
                f"solutions: expected room for {most} training pairs, got {solutions.shape[-1]}"
            )
        weights = xp.asarray(problem.prediction, dtype=np.float64)
        dtype = problem.feature_matrix.dtype

        def runs(array: Any) -> Any:
            return array[None] if single else array

        if single:
            solutions, own, weights = solutions[None], own[None], weights[None]
        count, columns, depth, _ = solutions.shape
        p = labels.shape[-1]
        inputs = {
            "feature_matrix": problem.feature_matrix,
            "coarse": problem.coarse,
            "moment": problem.moment,
            "train_labels": labels,
            "test_labels": problem.test_labels,
            "ranks": ranks,
        }
        outputs = {
            "zqz": xp.empty((count, 2 * p, 2 * p), dtype=dtype),
            "tz": xp.empty((count, 2 * p, 2 * p), dtype=dtype),
            "best": xp.empty((count, p, p), dtype=dtype),
            "best_class": xp.empty((count, p, p), dtype=np.int32),
            "t_squared": xp.empty(count, dtype=np.float64),
            "train_squares": xp.empty(count, dtype=np.float64),
            "test_squares": xp.empty(count, dtype=np.float64),
            "products": xp.empty((count, depth), dtype=np.float64),
            "iterations": xp.empty((count, columns), dtype=np.int32),
            "residuals": xp.empty((count, columns), dtype=np.float64),
        }
        budget = self._once("budget", labels, lambda _: self._budget())
        with self._place() as place:
            self._library.grid_round(
                place,
                budget,
                **{name: xp.ascontiguousarray(runs(array)) for name, array in inputs.items()},
                form=problem.form,
                ridge=problem.ridge,
                tolerance=problem.tolerance,
                max_iterations=problem.max_iterations,
                prediction=xp.ascontiguousarray(weights),
                targets=None if targets is None else xp.ascontiguousarray(runs(targets)),
                target_tolerance=target_tolerance,
                solutions=solutions,
                first_class=first_class,
                own=own,
                **outputs,
            )
        outputs["t_squared"] = outputs["t_squared"][:, None, None]
        return GridSums(**{name: array[0] if single else array for name, array in outputs.items()})

    def _budget(self) -> int:
        available = self.device.available_bytes()
        return self.block_bytes if available is None else min(self.block_bytes, available * 9 // 10)

    def _ranks(self, train_labels: Any) -> tuple[Any, int]:
        """Place of each training pair among those of its run, −1 off them; the most of a run."""
        xp = self.device.xp
        known = train_labels >= 0
        flat = known.reshape(*known.shape[:-2], -1)
        ranks = xp.cumsum(flat, axis=-1, dtype=np.int32).reshape(known.shape) - 1
        ranks = xp.where(known, ranks, -1).astype(np.int32, copy=False)
        return ranks, int(flat.sum(axis=-1).max())

    def matrix_power(self, G: Any, exponent: float) -> Any:
        """G^s, (d, d), or of a batch, (runs, d, d).

        By eigenvectors; the square root of large float32 matrices by Newton–Schulz steps, with
        eigenvalues √(λ + ε) as in `large.square_root` but ε relative to the Frobenius norm.
        """
        matrices = self.device.xp.ascontiguousarray(G if G.ndim == 3 else G[None])
        out = self.device.xp.empty_like(matrices)
        with self._place() as place:
            if exponent == 0.5 and G.shape[-1] > self.root_rows and G.dtype == np.float32:
                for floor in FLOORS:
                    if self._library.square_root(place, matrices, floor, out) <= 1e-4:
                        return out.reshape(G.shape)
                _logger.info("matrix power: not semidefinite to float32; took the eigenvectors")
            failed = self._library.matrix_power(place, matrices, exponent, out) != 0
        if failed:
            raise np.linalg.LinAlgError("matrix power: the eigenvalues did not converge")
        return out.reshape(G.shape)
