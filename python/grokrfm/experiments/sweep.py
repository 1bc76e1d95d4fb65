"""Many runs: those that are not done yet are done, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..checks import check_one_of
from ..training import bar_class
from .executors import Outcome, check_executor, run_all
from .store import ResultStore
from .table import SweepTable, TableRow, described, row_of
from .task_runs import Experiment


def sweep(
    experiment: Experiment | Iterable[Experiment] | None = None,
    over: Mapping[str, Iterable[Any]] | Iterable[Experiment] | None = None,
    *,
    folder: str | Path,
    executor: Any = None,
    errors: str = "record",
    progress: bool | str = True,
) -> SweepTable:
    """Do runs that are not done yet, and return the table of all of them.

    Each run has a file in the folder, written whole by the worker that did it; a run is done if its
    file is there. A sweep that was killed goes on when it is called again, one with more values
    does the new runs alone, and several processes may share a folder. A run that failed has no
    file: the next call tries it again.

    Parameters
    ----------
    experiment : RFMRun or NetworkRun, or an iterable of them
        What the runs have in common, or the runs themselves.
    over : mapping of str to iterable, optional
        Field -> its values: every combination is run, the last field changes fastest. Or an
        iterable of descriptions, which are the runs themselves.
    folder : str or Path
        Made if it is not there; of remote workers a shared one.
    executor : None, int, concurrent.futures.Executor or dask.distributed.Client
        None: this process, with all its threads, several runs at a time on a GPU. A number: that
        many worker processes, each with cores // workers threads; a script guards its main part
        with ``if __name__ == "__main__":``. Anything else runs where it runs, with the threads that
        its workers have; about two runs a worker are in flight.
    errors : {"record", "raise"}
        Whether a run that fails is a row with status "failed", or ends the sweep.
    progress : bool or str
        Whether to show a bar, by the runs' cost, if tqdm is installed; a text stands in front.

    Returns
    -------
    SweepTable

    Raises
    ------
    TypeError, ValueError
        For bad descriptions, fields, values or executors, before any work.
    RuntimeError
        That names the run, if one fails and `errors` is "raise"; in this process what it raised.
    OSError
        If the folder cannot be written.
    KeyboardInterrupt
        After Ctrl-C: what was finished is kept.
    """
    runs = listed(experiment, over)
    executor = check_executor(executor)
    record = check_one_of("errors", errors, ("record", "raise")) == "record"
    folder = Path(folder).expanduser().absolute()  # of workers elsewhere, too
    store, rows = ResultStore(folder), dict[Experiment, TableRow]()
    store.remove_stale_parts()
    for run in runs:
        if (done := store.stored(run)) is not None:
            rows[run] = row_of(run, *done)
    missing = [run for run in runs if run not in rows]
    with _bar(missing, progress) as advance:

        def report(run: Experiment, outcome: Outcome) -> None:
            if outcome.row is None and not record:
                raise RuntimeError(f"{run}: {outcome.error}")
            failure = {**described(run), "status": outcome.status, "error": outcome.error}
            rows[run] = outcome.row or failure
            advance(run.cost)

        if missing:
            run_all(executor, missing, folder, report, record)
    return SweepTable([rows[run] for run in runs], runs, folder)


def listed(
    experiment: Experiment | Iterable[Experiment] | None,
    over: Mapping[str, Iterable[Any]] | Iterable[Experiment] | None,
) -> list[Experiment]:
    """Return the runs that `sweep` is asked for, each once, or raise for the first bad one."""
    if not isinstance(over, Mapping):
        given = experiment if over is None else over
        runs = [given] if is_dataclass(given) or not isinstance(given, Iterable) else list(given)
        for run in runs:
            _check_description(run)
        return list(dict.fromkeys(runs))  # type: ignore[arg-type]  # None is refused
    _check_description(experiment)
    names = [field.name for field in fields(experiment)]  # type: ignore[arg-type]
    values = {}
    for name, each in over.items():
        if name not in names:
            raise ValueError(f"over: expected fields among {', '.join(names)}; got {name!r}")
        if isinstance(each, str) or not isinstance(each, Iterable):
            raise TypeError(f"over: expected values of {name} in a list, got {each!r}")
        values[name] = list(each)
        if not values[name]:
            raise ValueError(f"over: expected at least one value of {name}, got none")
    combinations = (dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))
    return list(
        dict.fromkeys(replace(experiment, **chosen) for chosen in combinations)  # type: ignore
    )


def _check_description(run: Any) -> None:
    if not (is_dataclass(run) and callable(getattr(run, "run", None)) and hasattr(run, "cost")):
        raise TypeError(f"experiment: expected RFMRun or NetworkRun, got {type(run).__name__}")


@contextmanager
def _bar(runs: list[Experiment], progress: bool | str) -> Iterator[Callable[[float], object]]:
    """A bar over the cost of runs; a function that moves it on."""
    try:
        make = bar_class()
    except ImportError:
        progress = False
    if not progress or not runs:
        yield lambda cost: None
        return
    layout = "{desc} {percentage:3.0f} % |{bar}| {elapsed} passed, {remaining} left"
    front = progress if isinstance(progress, str) else f"{len(runs)} runs"
    total = sum(run.cost for run in runs)
    with make(total=total, desc=front, bar_format=layout) as bar:
        yield bar.update
