"""Figures. Each function draws on the given Axes, or a new one, and returns it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .features import reorder_by_discrete_logarithm
from .tasks import is_multiplicative

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _time(history: Mapping[str, NDArray[Any]]) -> tuple[str, NDArray[Any]]:
    """Return the name of a row, "iteration" or "epoch", and its number."""
    name = "iteration" if "iteration" in history else "epoch"
    return name, history[name]


def plot_accuracy(history: Mapping[str, NDArray[Any]], ax: Axes | None = None) -> Axes:
    """Training and test accuracy over iterations."""
    ax = ax or _new_axes()
    name, time = _time(history)
    ax.plot(time, 100 * history["train_accuracy"], color="0.6", label="training")
    ax.plot(time, 100 * history["test_accuracy"], color="C0", label="test")
    ax.set(xlabel=name, ylabel="accuracy (%)", ylim=(-3, 103))
    ax.legend(frameon=False, loc="center left")
    return ax


def plot_loss(history: Mapping[str, NDArray[Any]], ax: Axes | None = None) -> Axes:
    """Test squared error over iterations: of the correct class (left) and of all (right axis)."""
    ax = ax or _new_axes()
    name, time = _time(history)
    ax.plot(time, history["test_correct_class_mse"], color="C3")
    ax.set_xlabel(name)
    ax.set_ylabel("correct-class\nsquared error", color="C3")
    ax.set_ylim(bottom=0)
    right = ax.twinx()
    right.plot(time, history["test_mse"], color="C1")
    right.set_ylabel("mean squared\nerror", color="C1")
    right.set_ylim(bottom=0)
    return ax


def plot_progress_measures(history: Mapping[str, NDArray[Any]], ax: Axes | None = None) -> Axes:
    """Circulant deviation and alignment with the final feature matrix, over iterations."""
    ax = ax or _new_axes()
    name, time = _time(history)
    measured = np.isfinite(history["feature_alignment"])  # networks are not measured in every row
    for key, color, label in (
        ("circulant_deviation", "C2", "circulant deviation"),
        ("feature_alignment", "C4", "alignment with final $M$"),
    ):
        ax.plot(time[measured], history[key][measured], color=color, label=label)
    ax.set(xlabel=name, ylabel="measure", ylim=(-0.03, 1.03))
    ax.legend(frameon=False, loc="center right")
    return ax


def plot_feature_matrix(M: ArrayLike, operation: str = "x+y", ax: Axes | None = None) -> Axes:
    """A feature matrix (2p, 2p) without its diagonal, blocks marked, colours centred on zero.

    For "x*y" and "x/y" modulo a prime the residues are in the order of discrete logarithms.
    """
    ax = ax or _new_axes()
    matrix = np.array(M, dtype=np.float64)
    p = len(matrix) // 2
    by_logarithm = is_multiplicative(operation, p)
    if by_logarithm:
        matrix = reorder_by_discrete_logarithm(matrix, p)
    np.fill_diagonal(matrix, 0)
    # A few rows (the zero class of a product) can dwarf the rest.
    limit = float(np.percentile(np.abs(matrix), 99.5)) or 1.0
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    for line in (ax.axhline, ax.axvline):
        line(p - 0.5, color="0.2", linewidth=0.6)
    order = " (discrete-log order)" if by_logarithm else ""
    ax.set(
        xticks=[(p - 1) / 2, p + (p - 1) / 2],
        yticks=[(p - 1) / 2, p + (p - 1) / 2],
        xticklabels=["first operand", "second operand"],
        xlabel=f"residues{order}",
    )
    ax.set_yticklabels(["first operand", "second operand"], rotation=90, va="center")
    ax.tick_params(length=0)
    ax.figure.colorbar(image, ax=ax, label="entry, diagonal removed", shrink=0.85)
    return ax


def plot_run(
    history: Mapping[str, NDArray[Any]], M: ArrayLike, operation: str, title: str
) -> Figure:
    """A run on one page: accuracy, loss, progress measures and the final feature matrix."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic(
        [["accuracy", "features"], ["loss", "features"], ["measures", "features"]],
        figsize=(11, 6.6),
        layout="constrained",
        width_ratios=[1, 1.45],
    )
    plot_accuracy(history, axes["accuracy"])
    plot_loss(history, axes["loss"])
    plot_progress_measures(history, axes["measures"])
    for name in ("accuracy", "loss"):
        axes[name].set_xlabel("")
        axes[name].tick_params(labelbottom=False)
        axes[name].sharex(axes["measures"])
    plot_feature_matrix(M, operation, axes["features"])
    name, time = _time(history)
    axes["features"].set_title(f"feature matrix after {name} {int(time[-1])}")
    figure.suptitle(title)
    return figure
