"""Choice of the operations by name. An explicit request is met or refused, never replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from ..checks import check_one_of
from . import gpu
from .interface import Operations
from .reference import ArrayOperations

BACKENDS = ("auto", "cpp", "cuda", "cuda-tf32", "cupy", "numpy")
# In the order in which "auto" takes them.
_PREFERENCE = ("cuda", "cupy", "cpp", "numpy")

_made: dict[str, Operations] = {}

_logger = logging.getLogger("grokrfm")


def make_operations(backend: str) -> Operations:
    """Return the operations of that backend.

    ============  ========================================================================
    cuda          compiled code for NVIDIA GPUs on CuPy arrays; networks by the array source
    cuda-tf32     the same; in the steps of conjugate gradients on the grid tensor cores take
                  the products of float32 matrices, factors rounded to 10 bits of mantissa
                  (TF32). Residuals, outputs and the AGOP stay in float32, and solves come to
                  about the tol that they come to without, below 1e-3 in more steps
    cupy          the array source on a GPU
    cpp           compiled code for the CPU
    numpy         the array source on the CPU, the reference
    auto          the first of cuda, cupy, cpp and numpy that can be had; logs which and why
    ============  ========================================================================

    Raises
    ------
    ValueError
        If the name is unknown.
    RuntimeError
        If the backend cannot be had here; the message says what is missing.
    """
    check_one_of("backend", backend, BACKENDS)
    if backend == "auto":
        obstacles = {}
        for backend in _PREFERENCE:
            reason = obstacle(backend)
            if reason is None:
                break
            obstacles[backend] = reason
        why = "; ".join(f"{name}: {reason}" for name, reason in obstacles.items())
        _logger.info("backend: auto chose %s%s", backend, f" ({why})" if why else "")
    elif reason := obstacle(backend):
        raise RuntimeError(f"backend: '{backend}' cannot be had: {reason}")
    if backend in ("cuda", "cuda-tf32"):
        return _cuda_operations(backend == "cuda-tf32")
    if backend == "cupy":
        return ArrayOperations(_import_cupy())
    return _once(backend, _cpp_operations) if backend == "cpp" else ArrayOperations()


def array_backend(backend: str) -> str:
    """Return the backend for functions on arrays: "auto" is cupy where it can be had, else numpy.

    Raises
    ------
    ValueError
        For one that runs compiled code.
    """
    if backend == "auto":
        backend = "numpy" if obstacle("cupy") else "cupy"
        _logger.info("backend: auto chose %s for a kernel of one's own", backend)
    if backend not in ("cupy", "numpy"):
        raise ValueError(
            f"backend: expected auto, cupy or numpy for a kernel of one's own, got '{backend}'"
        )
    return backend


def _once(name: str, make: Callable[[], Operations]) -> Operations:
    """Operations that are made once in a process, whichever of its threads comes first."""
    return _made[name] if name in _made else _made.setdefault(name, make())


class FittedBackend:
    """The backend of a fitted model: its name, and its operations in this process.

    Pickled and copied as the name alone; the operations are made anew on first use. Where the
    backend cannot be had, as for a model trained on a GPU and used elsewhere, they are those that
    `otherwise` takes, and a warning in the log says so.
    """

    def __init__(
        self, name: str, operations: Operations | None = None, otherwise: str = "auto"
    ) -> None:
        self.name = name
        self._otherwise = otherwise
        self._operations = operations

    @property
    def operations(self) -> Operations:
        if self._operations is None:
            reason = None if self.name == "auto" else obstacle(self.name)
            if reason:
                _logger.warning(
                    "backend: the model's '%s' cannot be had, '%s' takes its place: %s",
                    self.name,
                    self._otherwise,
                    reason,
                )
            self._operations = make_operations(self._otherwise if reason else self.name)
        return self._operations

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, None, self._otherwise)


def obstacle(backend: str) -> str | None:
    """Why a backend cannot be had here and how to get it, or None."""
    if backend == "cpp":
        return None if find_spec("grokrfm._cpu") else "the extension for the CPU was not built"
    if backend == "numpy":
        return None
    if backend != "cupy" and not find_spec("grokrfm._cuda"):
        return gpu.no_extension()
    try:
        cupy = _import_cupy()
    except ImportError:
        return gpu.no_cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return gpu.no_device(str(error))
    if count == 0:
        return gpu.no_device("it counts 0 devices")
    if backend != "cupy":
        try:
            _cuda_operations(backend == "cuda-tf32")
        except (ImportError, RuntimeError) as error:  # of a library, or of the driver
            return str(error)
    return None


def missing_backends() -> dict[str, str]:
    """Return the backends that cannot be had here, each with what to do."""
    reasons = {name: obstacle(name) for name in _PREFERENCE}
    return {name: reason for name, reason in reasons.items() if reason}


def _cpp_operations() -> Operations:
    from .cpp import CppOperations  # the extension may not have been built

    return CppOperations()


def _cuda_operations(tf32: bool) -> Operations:
    """Of the current GPU, to which the handles of the libraries belong."""
    cupy = _import_cupy()

    def make() -> Operations:
        from .. import _cuda  # it may not have been built
        from .cuda import CudaOperations, library_addresses

        addresses = library_addresses(_cuda.Device.routine_names())
        return CudaOperations(_cuda, _cuda.Device(addresses, tf32), cupy)

    return _once(f"cuda {cupy.cuda.runtime.getDevice()} {tf32}", make)


def _import_cupy() -> Any:
    import cupy

    return cupy
