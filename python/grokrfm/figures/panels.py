"""Panels: what a figure is put together from. Each function draws on one Axes and returns it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..analysis.features import reorder_by_discrete_logarithm
from ..arrays import to_numpy
from ..checks import check_blocks
from ..tasks import formula_of, is_multiplicative

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNS = {"x+y": "x + y", "x-y": "x − y", "x*y": "x · y", "x/y": "x / y", "x^2+y^2": "x² + y²"}
COLOURS = {"x+y": "C0", "x-y": "C1", "x*y": "C2", "x/y": "C3"}


_OFF_SCREEN = ContextVar("off_screen", default=False)


@contextmanager
def off_screen() -> Iterator[None]:
    """New figures are for a file: pyplot, its windows and its backend stay out of it."""
    token = _OFF_SCREEN.set(True)
    try:
        yield
    finally:
        _OFF_SCREEN.reset(token)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches."""
    size = (width, height)
    if _OFF_SCREEN.get():
        from matplotlib.figure import Figure

        return Figure(figsize=size, layout="constrained")
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout="constrained")


def new_axes(columns: int = 1, rows: int = 1, width: float = 4.0, height: float = 3.2) -> Any:
    """Return an array of `columns` new Axes, (columns,), or (rows, columns) of several rows."""
    axes = new_figure(width * columns, height * rows).subplots(rows, columns, squeeze=False)
    return axes[0] if rows == 1 else axes


def panel(ax: Any, ylabel: str, xlabel: str = "iteration", percent: bool = False) -> None:
    """Label the axes of a panel whose values start at 0, or are per cent."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if percent:
        ax.set_ylim(-3, 103)
    else:
        ax.set_ylim(bottom=0)


def plot_band(x: ArrayLike, curves: ArrayLike, ax: Axes, **style: Any) -> Axes:
    """Mean of curves (seeds, t) over x (t,), with the range over the seeds as a band."""
    values = np.atleast_2d(np.asarray(curves, dtype=np.float64))
    line = ax.plot(x, values.mean(axis=0), **style)[0]
    if len(values) > 1:
        ax.fill_between(
            x, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2, lw=0
        )
    return ax


def plot_by_operation(
    data: Mapping[str, NDArray[Any]], column: str, ax: Axes, scale: float = 1, **style: Any
) -> Axes:
    """A band for each operation in data["labels"], over rounds or epochs, in its own colour."""
    x = np.arange(data[column].shape[-1])
    for label, curves in zip(data["labels"], data[column], strict=True):
        name = str(label)
        line = {"color": COLOURS[name], "label": SIGNS[name], **style}
        plot_band(x, scale * curves, ax, **line)
    return ax


def arranged(
    M: ArrayLike, operation: str | None = "x+y", reorder: bool = True
) -> tuple[NDArray[np.float64], float]:
    """Return a feature matrix as it is drawn, (2p, 2p), and the entry of the strongest colour."""
    checked, p = check_blocks("M", M)
    matrix = np.array(to_numpy(checked))
    if reorder and is_multiplicative(formula_of(operation), p):
        matrix = reorder_by_discrete_logarithm(matrix, p)
    np.fill_diagonal(matrix, 0)
    # A few rows (the zero class of a product) can dwarf the rest.
    return matrix, float(np.percentile(np.abs(matrix), 99.5)) or 1.0


def plot_feature_matrix(
    M: ArrayLike, operation: str = "x+y", ax: Axes | None = None, reorder: bool = True
) -> Axes:
    """A feature matrix (2p, 2p) without its diagonal, blocks marked, colours centred on zero.

    For "x*y" and "x/y" modulo a prime the residues are in the order of discrete logarithms, unless
    `reorder` is false.
    """
    matrix, limit = arranged(M, operation, reorder)
    p = len(matrix) // 2
    ax = new_axes()[0] if ax is None else ax
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    for line in (ax.axhline, ax.axvline):
        line(p - 0.5, color="0.2", linewidth=0.6)
    by_logarithm = reorder and is_multiplicative(formula_of(operation), p)
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


def row_numbers(history: Mapping[str, NDArray[Any]]) -> tuple[str, NDArray[Any]]:
    """Return what the rows of a history count, "iteration" or "epoch", and their numbers."""
    unit = "iteration" if "iteration" in history else "epoch"
    return unit, history[unit]


def plot_accuracy(history: Mapping[str, NDArray[Any]], ax: Axes | None = None) -> Axes:
    """Training and test accuracy over iterations."""
    ax = new_axes()[0] if ax is None else ax
    unit, rows = row_numbers(history)
    if not np.isnan(history["train_accuracy"]).all():  # a sampled run does not know it
        ax.plot(rows, 100 * history["train_accuracy"], color="0.6", label="training")
    ax.plot(rows, 100 * history["test_accuracy"], color="C0", label="test")
    ax.set(xlabel=unit, ylabel="accuracy (%)", ylim=(-3, 103))
    ax.legend(frameon=False, loc="center left")
    return ax


def plot_loss(history: Mapping[str, NDArray[Any]], ax: Axes | None = None) -> Axes:
    """Test squared error over iterations: of the correct class (left) and of all (right axis)."""
    ax = new_axes()[0] if ax is None else ax
    unit, rows = row_numbers(history)
    ax.plot(rows, history["test_correct_class_mse"], color="C3")
    ax.set_xlabel(unit)
    ax.set_ylabel("correct-class\nsquared error", color="C3")
    ax.set_ylim(bottom=0)
    right = ax.twinx()
    right.plot(rows, history["test_mse"], color="C1")
    right.set_ylabel("mean squared\nerror", color="C1")
    right.set_ylim(bottom=0)
    return ax


def plot_measures(history: Mapping[str, NDArray[Any]], ax: Axes | None = None) -> Axes:
    """Circulant deviation and alignment with the final feature matrix, over iterations."""
    ax = new_axes()[0] if ax is None else ax
    unit, rows = row_numbers(history)
    measured = np.isfinite(history["feature_alignment"])  # networks skip epochs
    for key, colour, label in (
        ("circulant_deviation", "C2", "circulant deviation"),
        ("feature_alignment", "C4", "alignment with final $M$"),
    ):
        ax.plot(rows[measured], history[key][measured], color=colour, label=label)
    ax.set(xlabel=unit, ylabel="measure", ylim=(-0.03, 1.03))
    ax.legend(frameon=False, loc="center right")
    return ax
