"""What the estimators share: scikit-learn's parameter conventions, data checks, scores."""

from __future__ import annotations

import inspect
import numbers
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._version import __version__
from ..files import write_arrays
from ..operations import Kernel
from ..tasks import Task
from .data import encode_labels
from .history import Row
from .scores import Scores

DTYPES = ("float32", "float64")
# Of the files that `save` writes; the version grows when older code could not read them.
MODEL_FORMAT = "grokrfm model"
MODEL_FORMAT_VERSION = 1
_HISTORY = "history/"  # before the names of its columns in a file
_LABELS = ("y_train", "classes")  # arrays of a file that may hold text

Self = TypeVar("Self", bound="Estimator")


class NotFittedError(ValueError, AttributeError):
    """The estimator is used before `fit`."""


class Estimator:
    """Base of the classifiers: the constructor stores its parameters untouched.

    A fitted model can be pickled, copied and saved. It keeps its results and the parameters of the
    fit, so that `set_params` changes the next fit alone, but no operations: those are made anew,
    see `operations.FittedBackend`.
    """

    modulus: Any
    history_: dict[str, NDArray[Any]]
    classes_: NDArray[Any]
    X_train_: NDArray[np.int64]

    @classmethod
    def for_task(cls: type[Self], task: Task, **parameters: Any) -> Self:
        """Return an estimator for a task, which gives modulus, n_classes and n_tasks.

        Parameters
        ----------
        task : ModularTask or MultiTask
        **parameters
            The others.

        Raises
        ------
        TypeError, ValueError
            For something else than a task, a parameter that the task gives, and several operations
            where the estimator learns one.
        """
        if not isinstance(task, Task):
            raise TypeError(f"task: expected ModularTask or MultiTask, got {type(task).__name__}")
        given = {"modulus": task.modulus, "n_classes": task.n_classes, "n_tasks": task.n_tasks}
        for name in given:
            if name in parameters:
                raise TypeError(f"{name}: expected from the task alone, got {parameters[name]!r}")
        if "n_tasks" not in cls.parameter_names():
            if task.n_tasks > 1:
                raise ValueError(f"task: expected one operation, got {task.n_tasks}")
            del given["n_tasks"]
        return cls(**given, **parameters)

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Names of the constructor's parameters."""
        return tuple(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters as given; `deep` is accepted for scikit-learn."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def plain_params(self) -> dict[str, Any]:
        """Return the parameters, checked before, as plain Python values, whatever NumPy's types."""
        return {name: _plain(value) for name, value in self.get_params().items()}

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
        # Those that were given; by their text, for a value that is not allowed may be anything.
        parameters = inspect.signature(type(self)).parameters
        given = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if repr(value) != repr(parameters[name].default)
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def require_fit(self) -> None:
        """Raise NotFittedError before `fit`."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"{type(self).__name__}: expected a call of fit before this one")

    def fitted_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays, and values for JSON, that make up the fitted model beside its history.

        Among the values are the parameters of the fit.
        """
        raise NotImplementedError

    def restore(
        self: Self,
        history: dict[str, NDArray[Any]],
        arrays: Mapping[str, NDArray[Any]],
        values: Mapping[str, Any],
    ) -> Self:
        """Become the fitted model of what `fitted_state` returned, with the parameters as they are.

        Raises
        ------
        KeyError, TypeError, ValueError
            If anything is missing or does not go with the parameters.
        """
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file that `grokrfm.load` reads.

        The file is a .npz of plain arrays, without pickles, with a description and a checksum; it
        is there whole or not at all. It holds the parameters of the fit.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If callbacks added something to the history, or kept something, that is no number.
        OSError
            That names the path, if it cannot be written.
        """
        self.require_fit()
        arrays, values = self.fitted_state()
        arrays |= {_HISTORY + key: column for key, column in self.history_.items()}
        for name, array in arrays.items():
            if array.dtype.kind not in ("biufcU" if name in _LABELS else "biufc"):
                raise TypeError(f"save: expected numbers in {name}, got {array.dtype}")
        header = {
            "format": MODEL_FORMAT,
            "format_version": MODEL_FORMAT_VERSION,
            "version": __version__,
            "estimator": type(self).__name__,
            **values,
        }
        write_arrays(Path(path), arrays, header)

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Outputs f_c(x) of the final predictor, (m, c), for pairs X, (m, 2)."""
        raise NotImplementedError

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels with the largest output, (m,), for pairs X, (m, 2)."""
        best = self._best_classes(X)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def _best_classes(self, X: ArrayLike) -> NDArray[np.int64]:
        numbers: NDArray[np.int64] = self.decision_function(X).argmax(axis=1)
        return numbers

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy on pairs X, (m, 2), with labels y, (m,), weighted by `sample_weight`, (m,).

        NaN without pairs.
        """
        best = self._best_classes(X)
        hits = best == encode_labels("y", y, len(best), self.classes_)
        if sample_weight is None:
            return float(hits.mean()) if len(hits) else float("nan")
        weights = np.asarray(sample_weight, dtype=np.float64)
        if weights.shape != hits.shape or not weights.sum() > 0 or weights.min() < 0:
            raise ValueError(
                f"sample_weight: expected {len(hits)} numbers >= 0, one a pair and not all 0, "
                f"got shape {weights.shape}, sum {weights.sum():.3g}"
            )
        return float(np.average(hits, weights=weights))

    # What scikit-learn asks of a classifier, without depending on it.
    _estimator_type = "classifier"  # before version 1.6

    @property
    def n_features_in_(self) -> int:
        """Columns of X: two operands, and the task where there are several."""
        return int(self.X_train_.shape[1])

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(categorical=True, positive_only=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "history_")


def _plain(value: Any) -> Any:
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return value if value is None or isinstance(value, Kernel) else str(value)


def stored_history(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the history among the arrays of a file that `save` wrote."""
    return {
        name.removeprefix(_HISTORY): column
        for name, column in arrays.items()
        if name.startswith(_HISTORY)
    }


def check_history(history: Mapping[str, NDArray[Any]], count: int) -> None:
    """Raise ValueError unless every column of a stored history has that many rows."""
    for name, column in history.items():
        if column.shape != (count,):
            raise ValueError(f"history: expected {count} rows, got {name} of shape {column.shape}")


def score_columns(train: Scores, test: Scores) -> Row:
    """train_accuracy, test_accuracy, train_mse … for a row of the history."""
    row: Row = {}
    for prefix, scores in (("train", train), ("test", test)):
        values = asdict(scores)
        if values["accuracy_error"] is None:
            del values["accuracy_error"]
        for task, accuracy in enumerate(values.pop("task_accuracy")):
            values[f"accuracy_task_{task}"] = accuracy
        row |= {f"{prefix}_{name}": value for name, value in values.items()}
    return row
