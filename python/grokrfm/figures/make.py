"""Makes figures: runs what is missing, draws, stores picture and numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..experiments import Experiment, ResultStore
from ..info import build_info
from ..storage import write_atomically
from . import network, rfm
from .registry import Data, Figure, Grid, Settings

FIGURES = rfm.FIGURES + network.FIGURES


def choose_figures(names: Sequence[str] | None) -> list[Figure]:
    """Return the figures of these names in their own order; all unless given.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    known = {figure.name: figure for figure in FIGURES}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(
            f"figures: expected names among {', '.join(known)}; got {', '.join(unknown)}"
        )
    return [figure for figure in FIGURES if not names or figure.name in names]


def make_figures(
    output: Path, names: Sequence[str] | None = None, settings: Settings | None = None
) -> float:
    """Make figures in a folder: figure_<name>.png, and the plotted numbers as .npz.

    Results of runs are kept under `output`/runs, and used again by every figure that needs them.
    figures.json says with which settings, on what and in how many seconds each figure was made;
    runs that were there already take no time.

    Returns
    -------
    float
        Seconds taken.

    Raises
    ------
    ValueError
        For an unknown figure.
    OSError
        If the folder cannot be written.
    RuntimeError
        If matplotlib or tqdm is missing.
    """
    chosen = choose_figures(names)
    settings = settings or Settings()
    try:
        import matplotlib
        from tqdm import tqdm
    except ImportError as error:
        raise RuntimeError(
            "figures: matplotlib and tqdm are missing, pip install 'grokrfm[plot]'"
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    began = time.perf_counter()
    store = ResultStore(output / "runs")
    grids = {figure.name: figure.grid(settings) for figure in chosen}
    needed = {run for grid in grids.values() for run in _runs(grid)}
    cost = sum(run.cost for run in needed if store.load(run) is None)
    bar_format = "{desc}{percentage:3.0f} % |{bar}| {elapsed} passed, {remaining} left"
    with tqdm(total=cost, bar_format=bar_format) as bar:
        for figure in chosen:
            started = time.perf_counter()
            bar.set_description(f"figure {figure.name}")
            grid, runs_done = grids[figure.name], 0

            def done(cost: float) -> None:
                nonlocal runs_done
                runs_done += 1
                bar.update(cost)

            data = figure.collect(grid, store.results(_runs(grid), done))
            axes = figure.plot(data)
            picture = np.ravel([axes])[0].figure
            picture.suptitle(figure.title)
            stem = output / f"figure_{figure.name}"
            write_atomically(stem.with_suffix(".png"), partial(picture.savefig, dpi=130))
            write_atomically(stem.with_suffix(".npz"), partial(_save, data))
            plt.close(picture)
            entry = {
                "title": figure.title,
                "quick": settings.quick,
                "seeds": settings.n_seeds,
                "runs": len(_runs(grid)),
                "runs_done_now": runs_done,
                "seconds": round(time.perf_counter() - started, 2),
            }
            _report(output / "figures.json", {figure.name: entry, "machine": build_info()})
    return time.perf_counter() - began


def _runs(grid: Grid) -> list[Experiment]:
    return list(dict.fromkeys(run for over_seeds in grid.values() for run in over_seeds))


def _save(data: Data, file: BinaryIO) -> None:
    arrays: dict[str, Any] = dict(data)
    np.savez_compressed(file, **arrays)


def _report(path: Path, entries: dict[str, Any]) -> None:
    """Add entries to a JSON file."""
    report = json.loads(path.read_text()) if path.exists() else {}
    text = json.dumps(report | entries, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
