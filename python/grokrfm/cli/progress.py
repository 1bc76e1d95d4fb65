"""The progress line of a run."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable

from ..training import Recorded, Row


class Progress:
    """One line a round: in place on a terminal, below each other otherwise.

    Parameters
    ----------
    unit : str
        "iteration" or "epoch", the column of the history that counts rounds.
    total : int
        Rounds asked for.
    columns : callable
        Row of the history -> what the line says beside the accuracies.
    """

    def __init__(self, unit: str, total: int, columns: Callable[[Row], str]) -> None:
        self._unit, self._total, self._columns = unit, total, columns
        self._live = sys.stdout.isatty()
        self._began = time.perf_counter()
        self._recent: list[float] = []
        self.rounds = 0

    def __call__(self, current: Recorded) -> None:
        record, unit = current.record, self._unit
        self.rounds += 1
        now = time.perf_counter()
        # Rounds grow longer as the features form; callbacks count too.
        self._recent = [*self._recent[-2:], now - self._began]
        self._began = now
        left = (self._total - record[unit]) * sum(self._recent) / len(self._recent)
        # A sampled run has no accuracy on the training pairs, and on others one with an error.
        train, error = record["train_accuracy"], record.get("test_accuracy_error", 0.0)
        line = (
            f"{unit} {int(record[unit]):3d}/{self._total}"
            + ("" if math.isnan(train) else f"  train {100 * train:6.2f} %")
            + f"  test {100 * record['test_accuracy']:6.2f} %"
            + (f" ± {100 * error:.1f}" if error else "")
            + f"  {self._columns(record)}"
            f"  {record['seconds']:.2f} s"
            f"  {duration(left)} left"
        )
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r\x1b[K" + line[:width])
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        if self._live:
            sys.stdout.write("\n")


def duration(seconds: float) -> str:
    """Return seconds in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 100 else f"{minutes // 60}:{minutes % 60:02d} h"
