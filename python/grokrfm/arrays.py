"""Which module an array belongs to: one source for NumPy and CuPy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_module(array: Any) -> Any:
    """Return cupy for a CuPy array, numpy for anything else."""
    cupy = sys.modules.get("cupy")  # nobody has a CuPy array without having imported CuPy
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def to_numpy(array: Any) -> NDArray[Any]:
    """Return the array in host memory."""
    return array.get() if hasattr(array, "get") else np.asarray(array)
