"""What the estimators share: scikit-learn's parameter conventions, data checks, scores."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..tasks import PairData
from .history import Row
from .scores import Scores, scores_of_outputs

DTYPES = ("float32", "float64")

Self = TypeVar("Self", bound="Estimator")


class NotFittedError(ValueError, AttributeError):
    """The estimator is used before `fit`."""


class Estimator:
    """Base of the classifiers: the constructor stores its parameters untouched."""

    modulus: Any

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Names of the constructor's parameters."""
        return tuple(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters as given; `deep` is accepted for scikit-learn."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set constructor parameters by name; ValueError for an unknown name."""
        for name, value in params.items():
            if name not in self.parameter_names():
                raise ValueError(
                    f"{name}: not a parameter of {type(self).__name__}; expected one of "
                    f"{', '.join(self.parameter_names())}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        parameters = ", ".join(f"{k}={v!r}" for k, v in self.get_params().items())
        return f"{type(self).__name__}({parameters})"

    def require_fit(self) -> None:
        """Raise NotFittedError before `fit`."""
        if not hasattr(self, "history_"):
            raise NotFittedError(f"{type(self).__name__}: expected a call of fit before this one")

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Outputs f_c(x) of the final predictor, (m, c), for pairs X, (m, 2)."""
        raise NotImplementedError

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Labels with the largest output, (m,), for pairs X, (m, 2)."""
        labels: NDArray[np.int64] = self.decision_function(X).argmax(axis=1)
        return labels

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Accuracy on pairs X, (m, 2), with labels y, (m,)."""
        outputs = self.decision_function(X)
        return scores_of_outputs(outputs, checks.check_labels("y", y, *outputs.shape)).accuracy


def check_classes(n_classes: int | None, modulus: int) -> int:
    """Return the number of classes: the modulus unless given."""
    if n_classes is None:
        return modulus
    return checks.check_integer("n_classes", n_classes, minimum=1)


def check_data(
    X: ArrayLike, y: ArrayLike, eval_set: Any, modulus: int, n_classes: int, n_tasks: int = 1
) -> PairData:
    """Return training and evaluation pairs with their labels; TypeError or ValueError if bad."""
    X_train = checks.check_pairs("X", X, modulus, n_tasks)
    if len(X_train) == 0:
        raise ValueError("X: expected at least one training pair, got none")
    y_train = checks.check_labels("y", y, len(X_train), n_classes)
    X_test, y_test = X_train[:0], y_train[:0]
    if eval_set is not None:
        if not isinstance(eval_set, tuple | list) or len(eval_set) != 2:
            raise TypeError(
                f"eval_set: expected a tuple (X_test, y_test), got {type(eval_set).__name__}"
            )
        X_test = checks.check_pairs("eval_set[0]", eval_set[0], modulus, n_tasks)
        y_test = checks.check_labels("eval_set[1]", eval_set[1], len(X_test), n_classes)
    return PairData(X_train, y_train, X_test, y_test, modulus, n_classes, n_tasks)


def score_columns(train: Scores, test: Scores) -> Row:
    """train_accuracy, test_accuracy, train_mse … for a row of the history."""
    row: Row = {}
    for prefix, scores in (("train", train), ("test", test)):
        values = asdict(scores)
        for task, accuracy in enumerate(values.pop("task_accuracy")):
            values[f"accuracy_task_{task}"] = accuracy
        row |= {f"{prefix}_{name}": value for name, value in values.items()}
    return row
