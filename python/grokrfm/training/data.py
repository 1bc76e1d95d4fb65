"""The data of a fit: pairs and labels as given, checked."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from .. import checks
from ..tasks import PairData, Split


def check_classes(n_classes: int | None, modulus: int) -> int:
    """Return the number of classes: the modulus unless given."""
    if n_classes is None:
        return modulus
    return checks.check_integer("n_classes", n_classes, minimum=1)


def check_data(
    X: ArrayLike | Split,
    y: ArrayLike | None,
    eval_set: Any,
    modulus: int,
    n_classes: int,
    n_tasks: int = 1,
) -> PairData:
    """Return training and evaluation pairs with their labels; TypeError or ValueError if bad.

    X may be a split, without y: then the evaluation pairs are its test pairs unless given, and the
    operation is known.
    """
    operation = None
    if isinstance(X, Split):
        if y is not None:
            raise ValueError("y: expected None with a split, which has its labels, got labels too")
        if X.modulus not in (None, modulus):
            raise ValueError(f"X: expected a split modulo {modulus}, got one modulo {X.modulus}")
        eval_set = (X.X_test, X.y_test) if eval_set is None else eval_set
        y, operation, X = X.y_train, X.operation, X.X_train
    X_train = checks.check_pairs("X", X, modulus, n_tasks)
    if len(X_train) == 0:
        raise ValueError("X: expected at least one training pair, got none")
    if y is None:
        raise ValueError("y: expected labels, got None")
    y_train = checks.check_labels("y", y, len(X_train), n_classes)
    X_test, y_test = X_train[:0], y_train[:0]
    if eval_set is not None:
        if not isinstance(eval_set, tuple | list) or len(eval_set) != 2:
            raise TypeError(
                f"eval_set: expected a tuple (X_test, y_test), got {type(eval_set).__name__}"
            )
        X_test = checks.check_pairs("eval_set[0]", eval_set[0], modulus, n_tasks)
        y_test = checks.check_labels("eval_set[1]", eval_set[1], len(X_test), n_classes)
    return PairData(X_train, y_train, X_test, y_test, modulus, n_classes, n_tasks, operation)
