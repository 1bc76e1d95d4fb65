"""Choice of the operations by name. An explicit request is met or refused, never replaced."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec

from .array_operations import ArrayOperations
from .checks import check_one_of

BACKENDS = ("auto", "cpp", "cuda", "cupy", "numpy")

_logger = logging.getLogger("grokrfm")


def make_operations(backend: str) -> ArrayOperations:
    """Return the operations of that backend.

    "cpp" is compiled code for the CPU, "numpy" the reference, "cupy" the same source on a GPU;
    "auto" takes cpp if it was built, else numpy, and logs which.

    Raises
    ------
    ValueError
        If the name is unknown.
    RuntimeError
        If the backend cannot be had here; the message says what is missing.
    """
    check_one_of("backend", backend, BACKENDS)
    if backend == "auto":
        backend = "cpp" if find_spec("grokrfm._cpu") else "numpy"
        _logger.info("backend: auto chose %s", backend)
    if backend == "numpy":
        return ArrayOperations()
    if backend == "cpp":
        return _cpp_operations()
    if backend == "cupy":
        return ArrayOperations(_import_cupy())
    raise RuntimeError(
        "backend: 'cuda' is not part of this build; 'cupy' runs the array source on a GPU"
    )


@cache
def _cpp_operations() -> ArrayOperations:
    from .cpp import CppOperations  # the extension may not have been built

    return CppOperations()


def _import_cupy() -> object:
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(
            "backend: 'cupy' needs CuPy, pip install 'grokrfm[cuda12]' or 'grokrfm[cuda13]'"
        ) from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"backend: 'cupy' needs a GPU: {error}") from error
    return cupy
