"""A run as an animation: the feature matrix takes shape beside the growing accuracy curve."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_integer
from ..files import read_arrays
from ..training import stored_history
from .panels import (
    arranged,
    new_figure,
    off_screen,
    plot_accuracy,
    plot_feature_matrix,
    row_numbers,
)

_DPI = 100
_COLOURS = 31  # of the matrix: noise in 256 of them makes a file 2.7 times as large
_SECONDS_OF_THE_LAST = 2


def animate_run(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    frames_per_second: int = 5,
) -> Path:
    """Draw the run of a folder as an animation, a frame for every feature matrix that was kept.

    Left the accuracy up to that round, right the feature matrix as `plot_feature_matrix` draws it:
    without its diagonal, of x*y and x/y in the order of discrete logarithms, each frame in colours
    of its own scale.

    Parameters
    ----------
    folder : path
        Of `grokrfm run` or `grokrfm train-net`, the run complete or interrupted.
    output : path, optional
        A file that ends in .gif, written by Pillow, or in .mp4, which takes ffmpeg.
        `folder`/run.gif unless given; replaced if it is there.
    frames_per_second : int
        At least 1; the last frame stays for two seconds.

    Returns
    -------
    Path
        The output.

    Raises
    ------
    TypeError, ValueError
        For another suffix or a bad number; if features.npz of the folder is damaged, something
        else, or holds fewer than two feature matrices (`keep_features`).
    RuntimeError
        If matplotlib, or for .mp4 ffmpeg, is missing.
    OSError
        If the folder cannot be read or the output not be written.
    """
    folder = Path(folder)
    output = folder / "run.gif" if output is None else Path(output)
    rate = check_integer("frames_per_second", frames_per_second, minimum=1)
    writer = _writer(output, rate)
    config, history, matrices, rounds = _read(folder)
    with off_screen():
        figure, draw = _prepare(config, history, matrices, rounds)
    with tempfile.TemporaryDirectory(prefix=".", dir=output.parent) as scratch:
        unfinished = Path(scratch) / output.name
        with writer.saving(figure, str(unfinished), _DPI):
            for i in [*range(len(rounds)), *[len(rounds) - 1] * (rate * _SECONDS_OF_THE_LAST)]:
                draw(i)
                writer.grab_frame()
        unfinished.replace(output)
    return output


def _writer(output: Path, rate: int) -> Any:
    """The writer of matplotlib's that the suffix asks for."""
    if output.suffix not in (".gif", ".mp4"):
        raise ValueError(f"output: expected a file that ends in .gif or .mp4, got {output}")
    try:
        from matplotlib.animation import FFMpegWriter, PillowWriter
    except ImportError as error:
        raise RuntimeError(
            "animate_run: matplotlib is missing, pip install 'grokrfm[plot]'"
        ) from error
    if output.suffix == ".gif":
        return PillowWriter(fps=rate)
    if not FFMpegWriter.isAvailable():
        raise RuntimeError(f"output: {output.name} takes ffmpeg, which is not there; .gif does not")
    return FFMpegWriter(fps=rate)


def _read(
    folder: Path,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], NDArray[Any], NDArray[np.int64]]:
    """Settings, history, feature matrices and the numbers of their rounds."""
    path = folder / "features.npz"
    config, arrays = read_arrays(path)
    history = stored_history(arrays)
    try:
        matrices = arrays["feature_matrices"]
        rounds = arrays["kept_iterations" if config["command"] == "run" else "feature_epochs"]
        rows = len(history["test_accuracy"])
    except KeyError as error:
        raise ValueError(f"{path}: expected the features of a run, {error} is missing") from error
    if len(matrices) < 2 or len(matrices) != len(rounds) or rounds.max() >= rows:
        raise ValueError(
            f"{path}: expected two feature matrices or more, each of a round of the history, got "
            f"{len(matrices)} of rounds {rounds.tolist()}, {rows} rows"
        )
    return config, history, matrices, rounds


def _prepare(
    config: Mapping[str, Any],
    history: Mapping[str, NDArray[Any]],
    matrices: NDArray[Any],
    rounds: NDArray[np.int64],
) -> tuple[Any, Callable[[int], None]]:
    """Return the figure, laid out, and what makes it show a frame."""
    operation = str(config["operation"])
    figure = new_figure(8, 3.9)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    plot_accuracy(history, left)
    plot_feature_matrix(matrices[-1], operation, right)
    image, unit = right.images[0], row_numbers(history)[0]
    image.set_cmap(image.get_cmap().resampled(_COLOURS))
    # Entries grow and shrink with M: a scale that changed from frame to frame would only flicker.
    image.colorbar.set_ticks([])
    curves = [(line, *line.get_data()) for line in left.lines]
    figure.suptitle(f"{operation} mod {config['modulus']}")
    right.set_title(f"feature matrix, {unit} {rounds[-1]}")
    figure.draw_without_rendering()  # the layout of the last frame is that of all
    figure.set_layout_engine("none")

    def draw(i: int) -> None:
        matrix, limit = arranged(matrices[i], operation)
        image.set_data(matrix)
        image.set_clim(-limit, limit)
        right.set_title(f"feature matrix, {unit} {rounds[i]}")
        for line, x, y in curves:
            line.set_data(x[: rounds[i] + 1], y[: rounds[i] + 1])

    return figure, draw
