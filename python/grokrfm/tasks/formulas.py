"""The named operations: labels of pairs of residues by formula."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_one_of
from .arithmetic import inverses, is_prime

IntArray = NDArray[np.int64]
SHUFFLED = " (labels shuffled)"  # after the name of a task's operation


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
_BY_COMPACT_NAME = {name.replace(" ", ""): name for name in OPERATIONS}


def check_operation(operation: Any, names: Iterable[str] = OPERATIONS) -> str:
    """Return the one of the names, all in `OPERATIONS`, that is meant, whatever its spaces.

    Raises
    ------
    ValueError
        For any other, naming them all.
    """
    if isinstance(operation, str):
        operation = _BY_COMPACT_NAME.get("".join(operation.split()), operation)
    return check_one_of("operation", operation, names)


def formula_of(operation: str | None) -> str | None:
    """Return the name in `OPERATIONS` behind that of a task, or None if there is none.

    None, "table" and the name of a function, which is an identifier, stand for tasks without a
    formula; a task with shuffled labels has the formula that it had before. Anything else is taken
    for a formula, "xy" too.

    Raises
    ------
    ValueError
        For a formula that is not among them.
    """
    if operation is None:
        return None
    if isinstance(operation, str):
        operation = operation.removesuffix(SHUFFLED)
        named = operation.isidentifier() and not set(operation) <= {"x", "y"}
        if named or operation == "<lambda>":
            return None
    return check_operation(operation)


def is_multiplicative(operation: str | None, modulus: int) -> bool:
    """Whether the operation is that of the multiplicative group of a prime field."""
    return operation in ("x*y", "x/y") and is_prime(modulus)
