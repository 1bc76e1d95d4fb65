"""Makes figures: runs what is missing, draws, stores picture and numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..experiments import Experiment, sweep
from ..files import locked, remove_parts, write_atomically
from ..operations import build_info
from . import (
    abelian,
    controls,
    critical,
    fact,
    groups,
    longer,
    network,
    noise,
    plateau,
    rfm,
    symmetric,
)
from .panels import off_screen
from .registry import Figure, Numbers, Settings

FIGURES = (
    rfm.FIGURES
    + network.FIGURES
    + controls.FIGURES
    + critical.FIGURES
    + longer.FIGURES
    + plateau.FIGURES
    + noise.FIGURES
    + groups.FIGURES
    + abelian.FIGURES
    + symmetric.FIGURES
    + fact.FIGURES
)

MOST_LISTED = 12  # numbers of a field in figures.json


def choose_figures(names: Sequence[str] | None) -> list[Figure]:
    """Return the figures of these names in their own order; all unless given.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    if names is None:
        return list(FIGURES)
    known = {figure.name: figure for figure in FIGURES}
    wanted = [names] if isinstance(names, str) else names
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"figures: expected names among {', '.join(known)}; got {', '.join(unknown)}"
        )
    return [figure for figure in FIGURES if figure.name in wanted]


def make_figures(
    output: str | Path, names: Sequence[str] | None = None, settings: Settings | None = None
) -> float:
    """Make figures in a folder: figure_<name>.png, and the plotted numbers as .npz.

    Results of runs are kept under `output`/runs, and used again by every figure that needs them.
    figures.json says from what runs and on what machine each figure was made, and how many seconds
    its runs took when they were done; "total" counts every run once, and the drawing.

    Returns
    -------
    float
        Seconds of the runs and of the drawing, runs that were there already included.

    Raises
    ------
    ValueError
        For an unknown figure, a damaged report.
    OSError
        If the folder cannot be written.
        BlockingIOError if another process makes figures there.
    RuntimeError
        If matplotlib or tqdm is missing.
    """
    chosen, output = choose_figures(names), Path(output).expanduser()
    try:
        import matplotlib  # noqa: F401
        import tqdm  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            "figures: matplotlib and tqdm are missing, pip install 'grokrfm[plot]'"
        ) from error
    output.mkdir(parents=True, exist_ok=True)
    with locked(output), off_screen():
        remove_parts(output)
        remove_parts(output / "runs")
        return _make(chosen, output, settings or Settings())


def _make(chosen: Sequence[Figure], output: Path, settings: Settings) -> float:
    """Make figures in a folder that is there and locked; return the seconds of `make_figures`."""
    report, drawing = Report(output / "figures.json"), 0.0
    seconds_of: dict[Experiment, float] = {}
    for figure in chosen:
        series = figure.series(settings)
        runs = list(dict.fromkeys(run for over_seeds in series.values() for run in over_seeds))
        folder = output / "runs"
        table = sweep(runs, folder=folder, errors="raise", progress=f"figure {figure.name}")
        began = time.perf_counter()
        results = dict(table.histories())
        seconds = {run: float(result["run_seconds"]) for run, result in results.items()}
        seconds_of |= seconds
        data = figure.collect(series, results)
        picture = np.ravel([figure.plot(data)])[0].figure
        picture.suptitle(figure.title)
        stem = output / f"figure_{figure.name}"
        write_atomically(stem.with_suffix(".png"), partial(picture.savefig, format="png", dpi=130))
        write_atomically(stem.with_suffix(".npz"), partial(_save, data))
        report.add(
            figure.name,
            {
                "title": figure.title,
                "quick": settings.quick,
                "seeds": settings.n_seeds,
                "runs": len(runs),
                "settings": settings_of(runs),
                "run_seconds": round(sum(seconds.values()), 2),
                "machine": build_info(),
            },
        )
        drawing += time.perf_counter() - began
    total = drawing + sum(seconds_of.values())
    report.add(
        "total", {"figures": len(chosen), "runs": len(seconds_of), "seconds": round(total, 1)}
    )
    return total


def settings_of(runs: Sequence[Experiment]) -> dict[str, dict[str, str]]:
    """What the fields of runs hold, of each kind of run, without those at their default in all."""
    kinds: dict[str, list[Experiment]] = {}
    for run in runs:
        kinds.setdefault(type(run).__name__, []).append(run)
    found: dict[str, dict[str, str]] = {}
    for kind, of_kind in kinds.items():
        values = {
            each.name: dict.fromkeys(getattr(run, each.name) for run in of_kind)
            for each in fields(of_kind[0])  # type: ignore[arg-type]
            if any(getattr(run, each.name) != each.default for run in of_kind)
        }
        found[kind] = {name: _listed(list(distinct)) for name, distinct in values.items()}
    return found


def _listed(values: list[Any]) -> str:
    """Distinct values of a field as text, the ends alone of many numbers."""
    if all(isinstance(value, int | float) for value in values):
        values = sorted(values)
        if len(values) > MOST_LISTED:
            return f"{len(values)} from {values[0]} to {values[-1]}"
    return ", ".join(
        f"table of {len(value)}" if isinstance(value, tuple) and np.ndim(value) == 2 else str(value)
        for value in values
    )


class Report:
    """figures.json: one entry a figure, the last one made.

    Raises
    ------
    ValueError
        If the file is there and not a report.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._entries = path, {}
        if path.exists():
            try:
                self._entries = dict(json.loads(path.read_text()))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: not a report of figures, to be removed") from error
        self._write()

    def add(self, name: str, entry: dict[str, Any]) -> None:
        """Add or replace an entry."""
        self._entries[name] = entry
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._entries, indent=1) + "\n"
        write_atomically(self._path, lambda file: file.write(text.encode()))


def _save(data: Numbers, file: BinaryIO) -> None:
    arrays: dict[str, Any] = dict(data)
    np.savez_compressed(file, **arrays)
