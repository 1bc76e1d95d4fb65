"""How a predictor does on a set of pairs."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scores:
    """How a predictor does on a set of pairs; NaN on an empty set.

    `accuracy` is the share of pairs whose largest output is the label's, `mse` the mean of
    (f_c(x) − 1[c = y])² over pairs and classes, `correct_class_mse` the mean of (f_y(x) − 1)².
    `task_accuracy` is the accuracy on each of several tasks, `accuracy_error` its standard error
    where it is that of pairs drawn from more.
    """

    accuracy: float
    mse: float
    correct_class_mse: float
    task_accuracy: tuple[float, ...] = ()
    accuracy_error: float | None = None


def scores(sums: Iterable[float], m: int, n_classes: int) -> Scores:
    """Scores of m pairs from sums over them: hits, Σ f_y, Σ (f_y − 1)², Σ f_c² over all classes.

    A pair is a hit if its best class is the label's.
    """
    if m == 0:
        return Scores(np.nan, np.nan, np.nan)
    hits, own, own_error, squares = sums
    return Scores(
        accuracy=float(hits / m),
        mse=max(float(squares - 2 * own + m), 0.0) / (m * n_classes),  # < 0 by rounding alone
        correct_class_mse=float(own_error / m),
    )


@dataclass(frozen=True)
class ClassSums:
    """Sums over pairs for some of the classes; those of other classes add to them.

    Σ f_y and Σ (f_y − 1)² over the `drawn` pairs that belong to the classes, Σ f_c² over all
    `outputs`, pairs times classes.
    """

    own: float
    own_error: float
    squares: float
    drawn: int
    outputs: int

    def __add__(self, other: ClassSums) -> ClassSums:
        return ClassSums(*map(operator.add, astuple(self), astuple(other)))

    @property
    def losses(self) -> Scores:
        """Means; the accuracy, which takes the outputs of all classes, is NaN."""
        if self.outputs == 0:
            return Scores(np.nan, np.nan, np.nan)
        return Scores(
            accuracy=np.nan,
            mse=max(self.squares - 2 * self.own + self.drawn, 0.0) / self.outputs,
            correct_class_mse=self.own_error / self.drawn if self.drawn else np.nan,
        )


def sampled_accuracy(hits: int, k: int, m: int) -> tuple[float, float]:
    """Accuracy on k of m pairs drawn without replacement, and its standard error.

    √(a (1 − a) / k · (m − k) / (m − 1)); 0 when all are taken, NaN without any.
    """
    if k == 0:
        return np.nan, np.nan
    accuracy = hits / k
    share = (m - k) / (m - 1) if m > 1 else 0.0
    return accuracy, float(np.sqrt(accuracy * (1 - accuracy) / k * share))


def scores_of_outputs(outputs: Any, labels: Any, xp: Any = np) -> Scores:
    """Scores of outputs (m, c) against labels (m,), arrays of the module `xp`."""
    m, c = outputs.shape
    if m == 0:
        return scores((), m, c)
    own = outputs[xp.arange(m), labels].astype(np.float64)
    sums = (
        (outputs.argmax(axis=1) == labels).sum(),
        own.sum(),
        ((own - 1) ** 2).sum(),
        (outputs * outputs).sum(dtype=np.float64),
    )
    return scores(map(float, sums), m, c)
