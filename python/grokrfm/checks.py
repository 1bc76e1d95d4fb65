"""Checks of arguments: each names the argument, what was expected and what came."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import array_module


def check_integer(
    name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None
) -> int:
    """Return the value as an int within the bounds."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    number = int(value)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        bounds = f">= {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise ValueError(f"{name}: expected an integer {bounds}, got {value}")
    return number


def check_real(name: str, value: Any, *, positive: bool = False) -> float:
    """Return the value as a finite float, > 0 if `positive`, else ≥ 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a real number, got {value!r}")
    number = _to_float(value)
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(
            f"{name}: expected a finite number {'>' if positive else '>='} 0, got {number}"
        )
    return number


def check_fraction(name: str, value: Any, *, zero: bool = False) -> float:
    """Return the value as a float in (0, 1), or in [0, 1) if `zero`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a real number, got {value!r}")
    number = _to_float(value)
    if not (0 < number < 1 or (zero and number == 0)):
        raise ValueError(f"{name}: expected a number in {'[' if zero else '('}0, 1), got {number}")
    return number


def _to_float(value: Any) -> float:
    """The value as a float, infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def check_one_of(name: str, value: Any, names: Iterable[str]) -> str:
    """Return the value, one of the names."""
    names = tuple(names)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(names)}; got {value!r}")
    return value


def check_integer_array(name: str, value: Any, *, ndim: int) -> NDArray[np.int64]:
    """Return the value as an int64 array with that many axes."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, got rows of different lengths") from error
    if array.dtype == object and all(type(entry) is int for entry in array.flat):
        with suppress(OverflowError):  # nullable integers of a data frame
            array = array.astype(np.int64)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected an integer dtype, got {array.dtype}")
    _check_unmasked(name, value)
    if array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} axes, got shape {array.shape}")
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: expected integers of 64 bits, got {array.max()}")
    return array.astype(np.int64)


def _check_unmasked(name: str, value: Any) -> None:
    if np.ma.is_masked(value):
        count = int(np.ma.getmaskarray(value).sum())
        raise ValueError(f"{name}: expected no masked entries, got {count}")


def check_pairs(name: str, value: Any, modulus: int, n_tasks: int = 1) -> NDArray[np.int64]:
    """Return the value as (n, 2) pairs of residues; of several tasks as (n, 3), the task last."""
    pairs = check_integer_array(name, value, ndim=2)
    width = 2 if n_tasks == 1 else 3
    if pairs.shape[1] != width:
        raise ValueError(f"{name}: expected shape (n, {width}), got {pairs.shape}")
    _check_range(name, "residues", pairs[:, :2], modulus)
    _check_range(name, "tasks", pairs[:, 2:], n_tasks)
    return pairs


def check_labels(name: str, value: Any, count: int, n_classes: int) -> NDArray[np.int64]:
    """Return the value as `count` class labels."""
    labels = check_integer_array(name, value, ndim=1)
    if len(labels) != count:
        raise ValueError(f"{name}: expected {count} labels, one a pair, got {len(labels)}")
    _check_range(name, "labels", labels, n_classes)
    return labels


def _check_range(name: str, what: str, array: NDArray[np.int64], size: int) -> None:
    outside = array[(array < 0) | (array >= size)]
    if outside.size:
        raise ValueError(f"{name}: expected {what} in [0, {size}), got {outside[0]}")


def check_consistent(pairs: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """Raise ValueError if a pair is given twice with different labels."""
    order = np.lexsort((labels, *pairs.T[::-1]))
    pairs, labels = pairs[order], labels[order]
    clash = np.flatnonzero((pairs[1:] == pairs[:-1]).all(axis=1) & (labels[1:] != labels[:-1]))
    if clash.size:
        i = int(clash[0])
        pair = tuple(int(value) for value in pairs[i])
        raise ValueError(
            f"y: expected one label a pair, got {labels[i]} and {labels[i + 1]} for the pair {pair}"
        )


def check_square(
    name: str, value: Any, dimension: int | None = None, dtype: Any = np.float64
) -> Any:
    """Return the value as a finite square matrix, (d, d) if given, of its array module.

    A copy in that dtype; as it is, without a copy, for None.
    """
    xp = array_module(value)
    try:
        matrix = xp.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, got rows of different lengths") from error
    if matrix.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected a real dtype, got {matrix.dtype}")
    _check_unmasked(name, value)
    if dimension is not None and matrix.shape != (dimension, dimension):
        raise ValueError(f"{name}: expected shape {(dimension, dimension)}, got {matrix.shape}")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"{name}: expected a square matrix, got shape {matrix.shape}")
    if dtype is not None:
        matrix = matrix.astype(dtype)
    if not bool(xp.isfinite(matrix).all()):
        raise ValueError(f"{name}: expected finite entries, got {matrix[~xp.isfinite(matrix)][0]}")
    return matrix


def check_symmetric(name: str, value: Any, dimension: int | None = None) -> Any:
    """Return the value as `check_square` does, symmetric to the last bit."""
    matrix = check_square(name, value, dimension)
    asymmetry = float(abs(matrix - matrix.T).max())
    if asymmetry > 1e-5 * float(abs(matrix).max()):
        raise ValueError(
            f"{name}: expected a symmetric matrix, "
            f"got entries that differ by {asymmetry:.3g} from their mirror image"
        )
    return 0.5 * (matrix + matrix.T)


def check_blocks(name: str, value: Any, dtype: Any = np.float64) -> tuple[Any, int]:
    """Return the value as `check_square` does, of shape (2p, 2p), and p."""
    matrix = check_square(name, value, dtype=dtype)
    if len(matrix) % 2:
        raise ValueError(f"{name}: expected shape (2p, 2p), got {matrix.shape}")
    return matrix, len(matrix) // 2
