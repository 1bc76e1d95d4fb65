"""What a figure is: the experiments it needs, the numbers drawn from them, the drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_integer
from ..experiments import Experiment, Result

Numbers = Mapping[str, NDArray[Any]]
Results = Mapping[Experiment, Result]
Series = Mapping[str, Sequence[Experiment]]  # label -> experiments over the seeds


@dataclass(frozen=True)
class Settings:
    """How thorough the figures are: small moduli and few points if `quick`; number of seeds."""

    quick: bool = False
    n_seeds: int = 3

    def __post_init__(self) -> None:
        check_integer("n_seeds", self.n_seeds, minimum=1)

    @property
    def seeds(self) -> range:
        return range(self.n_seeds)


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name : str
        As in the paper, or a word of our own.
    title : str
        What it shows, one line.
    series : callable
        Settings -> experiments over the seeds for each label.
    collect : callable
        (series, results) -> the numbers that are plotted, by name.
    plot : callable
        (numbers, Axes or None) -> the Axes drawn on: one, or an array of them.
    """

    name: str
    title: str
    series: Callable[[Settings], Series]
    collect: Callable[[Series, Results], Numbers]
    plot: Callable[..., Any]


def columns(*names: str) -> Callable[[Series, Results], Numbers]:
    """Return a collector of whole history columns and matrices: (labels, seeds, …) each."""

    def collect(series: Series, results: Results) -> Numbers:
        return {"labels": np.array(list(series)), **_stacked(series, results, names)}

    return collect


def last_rows(*names: str) -> Callable[[Series, Results], Numbers]:
    """Return a collector of the last entry of history columns: (labels, seeds) each."""

    def collect(series: Series, results: Results) -> Numbers:
        last = {
            name: np.array([[results[run][name][-1] for run in runs] for runs in series.values()])
            for name in names
        }
        return {"labels": np.array(list(series)), **last}

    return collect


def accuracy_by_label(series: Series, results: Results) -> Numbers:
    """Accuracy curves (seeds, t) under their labels: they differ in length."""
    return {
        label: np.array([results[run]["test_accuracy"] for run in runs])
        for label, runs in series.items()
    }


def _stacked(series: Series, results: Results, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    return {
        name: np.array([[results[run][name] for run in runs] for runs in series.values()])
        for name in names
    }
