"""The training fraction at which runs begin to generalise, by bisection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import check_fraction, check_integer
from .sweep import listed, sweep
from .table import DONE, SweepTable, TableRow, described
from .task_runs import Experiment, Result

_SETTLED_ROUNDS = 5
_SETTLED = 0.01  # a curve that has moved less in its last rounds is at rest
_PERFECT = 0.99


@dataclass
class _Search:
    """An interval of training fractions: below accuracy at its lower end, above at its upper."""

    experiment: Any
    lower: float
    upper: float
    row: TableRow
    runs: int = 0
    extended: int = 0
    ended: bool = False

    @property
    def next(self) -> Any:
        """The run in the middle."""
        # Equal fractions are equal numbers: files of an earlier search serve.
        middle = round((self.lower + self.upper) / 2, 6)
        unit = _unit(self.experiment)
        longer = getattr(self.experiment, unit) + self.extended
        return replace(self.experiment, train_fraction=middle, **{unit: longer})


def critical_fraction(
    experiment: Experiment | Iterable[Experiment],
    over: Mapping[str, Iterable[Any]] | None = None,
    *,
    folder: str | Path,
    accuracy: float = 0.5,
    resolution: float = 0.01,
    bounds: tuple[float, float] = (0.05, 0.95),
    seeds: Iterable[int] | None = None,
    more_iterations: int = 0,
    executor: Any = None,
    progress: bool | str = True,
) -> SweepTable:
    """Bisect the training fraction from which on runs reach an accuracy.

    Steps of all combinations go side by side through `sweep`, with its folder: a search that was
    killed goes on, and a finer resolution uses the runs of a coarser one.

    Parameters
    ----------
    experiment : RFMRun or NetworkRun, or an iterable of them
        Its train_fraction is what is searched.
    over : mapping of str to iterable, optional
        As in `sweep`, without train_fraction.
    folder : str or Path
        As in `sweep`.
    accuracy : float in (0, 1)
        Best test accuracy of a run that counts as above.
    resolution : float
        Width of the interval at which a search ends.
    bounds : (float, float)
        Fractions between which it is searched, taken to be below and above.
    seeds : iterable of int, optional
        Every combination is searched for each; the experiment's own unless given.
    more_iterations : int
        A run below that has not settled is done with so many more iterations or epochs before it
        counts.
    executor, progress :
        As in `sweep`.

    Returns
    -------
    SweepTable
        One row a search: its description; lower, upper and critical, their middle; seconds and runs
        of the search; flag, with the words that apply: "unsettled" (the last run below was still on
        its way up), "plateau" (the last run above has come to rest below 99 %), "bounds" (no run
        was below, or none above: the interval ends at a bound that was not tried). A search of
        which a run failed ends with status "failed", and the interval so far.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, before any work.
    """
    check_fraction("accuracy", accuracy)
    check_fraction("resolution", resolution)
    check_integer("more_iterations", more_iterations, minimum=0)
    lowest, highest = (check_fraction("bounds", bound) for bound in bounds)
    if highest - lowest <= resolution:
        raise ValueError(f"bounds: expected them further apart than {resolution}, got {bounds}")
    if over is not None and "train_fraction" in over:
        raise ValueError("over: expected fields other than train_fraction, which is searched")
    given = {**(over or {})} if seeds is None else {**(over or {}), "seed": seeds}
    starts = listed(experiment, given or None)
    for start in starts:
        if getattr(start, "train_count", None) is not None:
            raise ValueError("train_count: expected None, the fraction is searched")
    searches = [
        _Search(
            start,
            lowest,
            highest,
            {**described(start), "status": DONE, "error": "", "flag": "", "seconds": 0.0},
        )
        for start in dict.fromkeys(replace(start, train_fraction=lowest) for start in starts)  # type: ignore[type-var]
    ]
    step = 0
    while going := [search for search in searches if not search.ended]:
        step += 1
        text = progress if isinstance(progress, str) else f"step {step}, {len(going)} runs"
        table = sweep(
            [search.next for search in going],
            folder=folder,
            executor=executor,
            progress=progress and text,
        )
        results = dict(table.histories())
        for search, row in zip(going, table, strict=True):
            _take(search, row, results.get(search.next), accuracy, more_iterations)
            search.ended |= search.upper - search.lower <= resolution
    rows = [_finished(search, bounds) for search in searches]
    return SweepTable(rows, [search.experiment for search in searches], Path(folder))


def _take(
    search: _Search, row: TableRow, result: Result | None, accuracy: float, more_iterations: int
) -> None:
    """Narrow the interval by the run in its middle, or do that run again for longer."""
    if row["status"] != DONE or result is None:
        search.row |= {"status": row["status"], "error": row["error"]}
        search.ended = True
        return
    search.runs += 1
    search.row["seconds"] += row["seconds"]
    curve = np.asarray(result["test_accuracy"])
    last = curve[-_SETTLED_ROUNDS - 1 :]
    moving = float(np.max(last) - np.min(last)) > _SETTLED
    middle = search.next.train_fraction
    if row["best_test_accuracy"] >= accuracy:
        search.upper, search.extended = middle, 0
        search.row["plateau"] = not moving and row["best_test_accuracy"] < _PERFECT
    elif moving and more_iterations and not search.extended:
        search.extended = more_iterations
    else:
        search.lower, search.extended = middle, 0
        search.row["unsettled"] = moving


def _finished(search: _Search, bounds: tuple[float, float]) -> TableRow:
    flags = [name for name in ("unsettled", "plateau") if search.row.pop(name, False)]
    if search.lower == bounds[0] or search.upper == bounds[1]:
        flags.append("bounds")
    del search.row["train_fraction"]
    interval = {
        "lower": search.lower,
        "upper": search.upper,
        "critical": (search.lower + search.upper) / 2,
    }
    return {**search.row, **interval, "runs": search.runs, "flag": " ".join(flags)}


def _unit(experiment: Any) -> str:
    names = {field.name for field in fields(experiment)}
    return "iterations" if "iterations" in names else "epochs"
