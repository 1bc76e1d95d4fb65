"""The data of a fit: pairs and labels as given, checked; labels of any kind as class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    n_classes: int | None,
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
    classes, y_train = find_classes("y", y, len(X_train), n_classes, modulus)
    X_test, y_test = X_train[:0], y_train[:0]
    if eval_set is not None:
        if not isinstance(eval_set, tuple | list) or len(eval_set) != 2:
            raise TypeError(
                f"eval_set: expected a tuple (X_test, y_test), got {type(eval_set).__name__}"
            )
        X_test = checks.check_pairs("eval_set[0]", eval_set[0], modulus, n_tasks)
        y_test = encode_labels("eval_set[1]", eval_set[1], len(X_test), classes)
        if (y_test < 0).any():
            unknown = np.asarray(eval_set[1])[y_test < 0][0]
            raise ValueError(f"eval_set[1]: expected labels that y has too, got {unknown!r}")
    return PairData(
        X_train, y_train, X_test, y_test, modulus, len(classes), n_tasks, operation, classes
    )


def find_classes(
    name: str, value: ArrayLike, count: int, n_classes: int | None, modulus: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the classes, (c,), and the class numbers of `count` labels.

    Integers in [0, n_classes), the modulus unless given, are class numbers as they stand; other
    labels make up classes of their own, in ascending order. Where n_classes is given integers must
    lie there.
    """
    labels, most = _check_any_labels(name, value, count), check_classes(n_classes, modulus)
    if labels.dtype.kind == "i" and (
        n_classes is not None or ((labels >= 0) & (labels < most)).all()
    ):
        return np.arange(most), checks.check_labels(name, labels, count, most)
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) > most:
        raise ValueError(
            f"{name}: expected labels in [0, {most}), or other ones of at most {most} kinds, "
            f"got {len(classes)}"
        )
    return classes, numbers.astype(np.int64)


def encode_labels(
    name: str, value: ArrayLike, count: int, classes: NDArray[Any]
) -> NDArray[np.int64]:
    """Return the class numbers of `count` labels, −1 for one that is no class.

    If the classes are their own numbers, labels must be classes.
    """
    labels = _check_any_labels(name, value, count)
    if is_numbered(classes):
        return checks.check_labels(name, labels, count, len(classes))
    if labels.dtype.kind != classes.dtype.kind:
        raise TypeError(f"{name}: expected labels such as {classes[0]!r}, got {labels.dtype}")
    numbers = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[numbers] == labels, numbers, -1)


def is_numbered(classes: NDArray[Any]) -> bool:
    """Whether the classes are 0…c−1."""
    return classes.dtype.kind == "i" and bool((classes == np.arange(len(classes))).all())


def _check_any_labels(name: str, value: ArrayLike, count: int) -> NDArray[Any]:
    """Return `count` labels as an array of int64, bool or str."""
    try:
        labels = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, got rows of different lengths") from error
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    if labels.dtype.kind not in "bU" or labels.size == 0:
        labels = checks.check_integer_array(name, value, ndim=1)
    if labels.ndim != 1:
        raise ValueError(f"{name}: expected 1 axes, got shape {labels.shape}")
    if len(labels) != count:
        raise ValueError(f"{name}: expected {count} labels, one a pair, got {len(labels)}")
    return labels
