"""The picture of one run, for its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from .panels import (
    new_figure,
    plot_accuracy,
    plot_feature_matrix,
    plot_loss,
    plot_measures,
    row_numbers,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_run(
    history: Mapping[str, NDArray[Any]], M: ArrayLike, operation: str, title: str
) -> Figure:
    """A run on one page: accuracy, loss, progress measures and the final feature matrix."""
    figure = new_figure(11, 6.6)
    axes = figure.subplot_mosaic(
        [["accuracy", "features"], ["loss", "features"], ["measures", "features"]],
        width_ratios=[1, 1.45],
    )
    plot_accuracy(history, axes["accuracy"])
    plot_loss(history, axes["loss"])
    plot_measures(history, axes["measures"])
    for name in ("accuracy", "loss"):
        axes[name].set_xlabel("")
        axes[name].tick_params(labelbottom=False)
        axes[name].sharex(axes["measures"])
    plot_feature_matrix(M, operation, axes["features"])
    unit, rows = row_numbers(history)
    axes["features"].set_title(f"feature matrix after {unit} {int(rows[-1])}")
    figure.suptitle(title)
    return figure
