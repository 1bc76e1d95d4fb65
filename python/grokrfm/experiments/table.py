"""The table of a sweep: one row a run."""

from __future__ import annotations

import csv
import html
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files import digest, write_atomically
from .store import ResultStore
from .task_runs import Experiment, Result

TableRow = dict[str, Any]
DONE, FAILED, MISSING = "done", "failed", "missing"
LEVELS = (50, 90, 99)
_NO_MEASURES = ("iteration", "epoch", "seconds", "residual", "cg_iterations", "solver_fallback")
# What notebooks show of a table: of the outcome these columns, and so many rows.
_OUTCOME = ("status", "error", "rounds", "passed_90", "final_test_accuracy", "seconds")
_SHOWN_ROWS = 30
_logger = logging.getLogger("grokrfm")


def described(experiment: Experiment) -> TableRow:
    """The fields of a description as they stand in a row; of a table of labels its digest."""
    row = {"experiment": type(experiment).__name__}
    for field in fields(experiment):  # type: ignore[arg-type]
        value = getattr(experiment, field.name)
        row[field.name] = digest(value)[:12] if field.name == "table" and value else value
    return row


def row_of(experiment: Experiment, header: Mapping[str, Any], result: Result) -> TableRow:
    """The row of a run that is done: scalars alone."""
    accuracy = np.asarray(result["test_accuracy"], dtype=np.float64)
    unit = "iteration" if "iteration" in result else "epoch"
    row = {**described(experiment), "status": DONE, "error": "", "rounds": int(result[unit][-1])}
    row["best_test_accuracy"] = float(np.max(accuracy, initial=-np.inf, where=accuracy > -1))
    for level in LEVELS:
        row[f"passed_{level}"] = first_passed(result[unit], accuracy, level / 100)
    for name, column in result.items():
        if column.shape == accuracy.shape and name not in _NO_MEASURES:
            row[f"final_{name}"] = float(column[-1])
    if "residual" in result:
        row["largest_residual"] = float(np.nanmax(result["residual"]))
        row["cg_iterations"] = int(result["cg_iterations"].max())
        row["solver_fallback"] = bool(result["solver_fallback"].any())
    row["seconds"] = float(result["run_seconds"])
    return {**row, "version": header["version"], "sources": header["sources"][:12]}


def first_passed(x: ArrayLike, values: ArrayLike, level: float) -> float:
    """Where values over ascending x first reach the level, linear in between; NaN if never."""
    x, values = np.asarray(x, dtype=np.float64), np.asarray(values, dtype=np.float64)
    reached = np.flatnonzero(values >= level)
    if not reached.size:
        return float("nan")
    t = int(reached[0])
    if t == 0 or not np.isfinite(values[t - 1]):
        return float(x[t])
    share = (level - values[t - 1]) / (values[t] - values[t - 1])
    return float(x[t - 1] + share * (x[t] - x[t - 1]))


class SweepTable(Sequence[TableRow]):
    """One row a run, a dict, in the order of the runs asked for.

    Columns: the fields of the description; status ("done", "failed" or "missing") and error (text);
    rounds done; best_test_accuracy; passed_50, passed_90, passed_99 (iteration or epoch at which
    that many per cent were first reached, interpolated, NaN if never); final_<name> of every
    quantity of the history; of RFMs largest_residual, cg_iterations (most of a round) and
    solver_fallback (whether there was one); seconds; version and sources (digest) that did the run.
    """

    def __init__(self, rows: Sequence[TableRow], runs: Sequence[Experiment], folder: Path) -> None:
        self._rows, self._runs, self.folder = list(rows), list(runs), folder
        versions = {row["sources"] for row in rows if "sources" in row}
        if len(versions) > 1:
            _logger.warning(
                "%s: rows come from %d states of the sources, see column 'sources'",
                folder,
                len(versions),
            )
        for status in (FAILED, MISSING):
            if count := sum(row["status"] == status for row in rows):
                _logger.warning("%s: %d of %d runs %s", folder, count, len(rows), status)

    @property
    def columns(self) -> list[str]:
        """Names of the columns; a row that failed lacks some."""
        return list(dict.fromkeys(name for row in self._rows for name in row))

    def column(self, name: str) -> NDArray[Any]:
        """Return a column; NaN where a row lacks it.

        Raises
        ------
        ValueError
            If no row has it.
        """
        if name not in self.columns:
            raise ValueError(f"column: expected one of {', '.join(self.columns)}; got {name!r}")
        values = [row.get(name, np.nan) for row in self._rows]
        if any(isinstance(value, tuple) for value in values):
            column = np.empty(len(values), dtype=object)
            column[:] = values
            return column
        return np.array(values)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[TableRow]:
        return iter(self._rows)

    def __repr__(self) -> str:
        done = sum(row["status"] == DONE for row in self._rows)
        return f"SweepTable({done} of {len(self)} runs done, {str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """What differs between the runs and how they ended, of the first runs, for notebooks."""
        described = [name for row in self._rows for name in takewhile("status".__ne__, row)]
        shown = [
            name
            for name in dict.fromkeys(described)
            if len({repr(row.get(name)) for row in self._rows}) > 1
        ]
        shown += [name for name in _OUTCOME if any(row.get(name, "") != "" for row in self._rows)]
        lines = [[_cell(row.get(name, "")) for name in shown] for row in self._rows[:_SHOWN_ROWS]]
        text = [_html_row("th", shown), *(_html_row("td", line) for line in lines)]
        more = f", the first {_SHOWN_ROWS}" if len(self) > _SHOWN_ROWS else ""
        caption = html.escape(repr(self) + more)
        return f"<table><caption>{caption}</caption>{''.join(text)}</table>"

    def to_csv(self, path: str | Path) -> None:
        """Write the table to a file with one line of names; several operations apart by spaces.

        Raises
        ------
        OSError
            That names the path, if it cannot be written.
        """
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="")
        writer.writeheader()
        for row in self._rows:
            writer.writerow(
                {k: " ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in row.items()}
            )
        write_atomically(Path(path), lambda file: file.write(text.getvalue().encode()))

    def to_pandas(self) -> Any:
        """Return the table as a pandas data frame; ImportError without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas: pandas is missing, pip install pandas") from error
        return pandas.DataFrame(self._rows, columns=self.columns)

    def histories(self) -> Iterator[tuple[Experiment, Result]]:
        """Yield description and result, history and matrices, of every run that is done."""
        store = ResultStore(self.folder)
        for run, row in zip(self._runs, self._rows, strict=True):
            if row["status"] == DONE and (done := store.stored(run)) is not None:
                yield run, done[1]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
