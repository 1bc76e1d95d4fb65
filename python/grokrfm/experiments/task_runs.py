"""What descriptions of runs have in common: the task, its split, when the run ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..checks import check_fraction, check_integer, check_real
from ..network import FCNClassifier
from ..rfm import RFMClassifier
from ..tasks import ModularTask, MultiTask, Split, Task
from ..training import Recorded

Result = dict[str, NDArray[Any]]
MODULUS = 61  # unless given
Table = tuple[tuple[int, ...], ...]
# Of fields that came in later: at their default they are left out of the names of results.
LATER = {"later": True}


class Experiment(Protocol):
    """A frozen dataclass whose fields say everything that the result depends on."""

    @property
    def cost(self) -> float:
        """Rough count of floating-point operations, for the progress bar."""
        ...

    def run(self) -> Result: ...


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """The task and split of a run, and when it ends; fields as in `RFMRun`."""

    operation: str | tuple[str, ...] = "x+y"
    modulus: int = MODULUS
    table: Table | None = None
    random_labels: bool = False
    train_fraction: float = 0.5
    train_count: int | None = None
    label_noise: float = 0.0
    seed: int = 0
    stop_accuracy: float | None = None
    random_circulant: bool = False
    reflection: int | None = None
    moved_out: int | None = None

    estimator: ClassVar[type[RFMClassifier] | type[FCNClassifier]]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = _plain(getattr(self, field.name))
            if isinstance(field.default, bool) and not isinstance(value, bool):
                raise TypeError(f"{field.name}: expected True or False, got {value!r}")
            if isinstance(field.default, float) and type(value) is int:
                value = float(value)
            object.__setattr__(self, field.name, value)
        if isinstance(self.operation, tuple) and len(self.operation) == 1:
            object.__setattr__(self, "operation", self.operation[0])
        if self.table is not None:
            if self.operation not in ("x+y", "table"):
                raise ValueError(f"operation: expected none beside a table, got {self.operation!r}")
            if self.modulus not in (MODULUS, len(self.table)):
                raise ValueError(
                    f"modulus: expected that of the table, {len(self.table)}, got {self.modulus}"
                )
            object.__setattr__(self, "operation", "table")
            object.__setattr__(self, "modulus", len(self.table))
        self.check()

    def check(self) -> None:
        """Raise TypeError or ValueError for the first bad field, before any work."""
        check_integer("seed", self.seed, minimum=0)
        task = self.task()
        if self.random_circulant and (isinstance(task, MultiTask) or self.table is not None):
            raise ValueError(
                f"random_circulant: expected False without one named operation, got "
                f"{self.operation!r}"
            )
        if self.train_count is None:
            check_fraction("train_fraction", self.train_fraction)
        else:
            check_integer("train_count", self.train_count, minimum=1)
        check_fraction("label_noise", self.label_noise, zero=True)
        self._check_reflection(task)
        if self.stop_accuracy is not None and check_real("stop_accuracy", self.stop_accuracy) > 1:
            raise ValueError(
                f"stop_accuracy: expected a number in [0, 1], got {self.stop_accuracy}"
            )
        self.model().check_parameters()

    def _check_reflection(self, task: Task) -> None:
        if self.reflection is None:
            if self.moved_out is not None:
                raise ValueError(
                    f"moved_out: expected None without a reflection, got {self.moved_out}"
                )
            return
        check_integer("reflection", self.reflection)
        check_integer("moved_out", self.moved_out or 0, minimum=0)
        if not isinstance(task, ModularTask) or self.label_noise or self.train_count is not None:
            raise ValueError(
                "reflection: expected None with several operations, label_noise or train_count, "
                f"got {self.reflection}"
            )

    def task(self) -> Task:
        """Return the task."""
        return _task(self.operation, self.modulus, self.table, self.random_labels, self.seed)

    def split(self) -> Split:
        """Return its training and test pairs."""
        task = self.task()
        if self.reflection is not None and isinstance(task, ModularTask):
            return task.symmetric_split(
                self.train_fraction,
                self.seed,
                reflection=self.reflection,
                moved_out=self.moved_out or 0,
            )
        return task.split(
            self.train_fraction,
            self.seed,
            train_count=self.train_count,
            label_noise=self.label_noise,
        )

    def model(self) -> Any:
        """Return the estimator, not fitted."""
        given = set(self.estimator.parameter_names()) - {"modulus", "n_classes", "n_tasks"}
        parameters = {name: getattr(self, name) for name in given}
        return self.estimator.for_task(self.task(), **parameters)

    def enough(self) -> list[Callable[[Recorded], bool]]:
        """The callback that ends the run at `stop_accuracy`, if there is one."""
        enough = self.stop_accuracy
        if enough is None:
            return []
        return [lambda current: current.record["test_accuracy"] >= enough]

    @property
    def memory(self) -> int:
        """Bytes that the run takes; MemoryError if it would not fit."""
        count = int(self.n_train)
        rest = max(0, len(self.task().pairs) - count)
        return int(self.model().require_memory(count, rest))

    @property
    def n_train(self) -> float:
        """About how many training pairs there are."""
        per_draw = len(self.operation) if isinstance(self.operation, tuple) else 1
        drawn = self.train_count or self.train_fraction * self.modulus**2
        return drawn * per_draw


@lru_cache(maxsize=16)  # the runs of a sweep have few tasks
def _task(
    operation: str | tuple[str, ...],
    modulus: int,
    table: Table | None,
    random_labels: bool,
    seed: int,
) -> Task:
    if isinstance(operation, tuple):
        if random_labels:
            raise ValueError(f"random_labels: expected False with operations {operation}")
        return MultiTask(operation, modulus)
    plain = ModularTask(operation, modulus) if table is None else ModularTask.from_table(table)
    return plain.with_random_labels(seed) if random_labels else plain


def _plain(value: Any) -> Any:
    """Plain Python values for NumPy's, tuples for lists and arrays."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value
