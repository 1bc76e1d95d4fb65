"""The named operations: labels of pairs of residues by formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..checks import check_one_of
from .arithmetic import inverses, is_prime

IntArray = NDArray[np.int64]


def _divide(x: IntArray, y: IntArray, p: int) -> IntArray:
    return x * inverses(p)[y] % p


# operation -> labels of the pairs (x, y) modulo p; squares are reduced before they are multiplied
FORMULAS: dict[str, Callable[[IntArray, IntArray, int], IntArray]] = {
    "x+y": lambda x, y, p: (x + y) % p,
    "x-y": lambda x, y, p: (x - y) % p,
    "x*y": lambda x, y, p: x * y % p,
    "x/y": _divide,
    "x^2+y": lambda x, y, p: (x * x + y) % p,
    "x^2+y^2": lambda x, y, p: (x * x + y * y) % p,
    "x^2+xy+y^2": lambda x, y, p: (x * x + x * y + y * y) % p,
    "x^2+xy+y^2+x": lambda x, y, p: (x * x + x * y + y * y + x) % p,
    "x^3+xy": lambda x, y, p: (x * x % p * x + x * y) % p,
    "x^3+xy^2+x": lambda x, y, p: (x * x % p * x + y * y % p * x + x) % p,
    "x/y if y odd else x-y": lambda x, y, p: np.where(y % 2 == 1, _divide(x, y, p), (x - y) % p),
}
OPERATIONS = tuple(FORMULAS)


def check_operation(operation: str) -> str:
    """Return the name of an operation, written with any spaces; ValueError for an unknown one."""
    compact = {name.replace(" ", ""): name for name in OPERATIONS}
    if isinstance(operation, str):
        operation = compact.get(operation.replace(" ", ""), operation)
    return check_one_of("operation", operation, OPERATIONS)


def is_multiplicative(operation: str, modulus: int) -> bool:
    """Whether the operation is that of the multiplicative group of a prime field."""
    return operation.replace(" ", "") in ("x*y", "x/y") and is_prime(modulus)
