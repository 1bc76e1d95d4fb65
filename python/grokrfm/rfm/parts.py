"""One sampled run over several machines: the columns of a round go to an executor, in parts.

A part is a function of the feature matrix and its columns and leaves nothing behind, so that it can
be done anywhere, and again. What comes back is added in the order of the parts.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..executors import as_executor, worker_count
from ..operations import Operations, make_operations
from .columns import Columns, SolvedColumns
from .sampling import Draw

MakeColumns = Callable[[Operations], Columns]

_logger = logging.getLogger("grokrfm")


@dataclass(frozen=True)
class Recipe:
    """How the columns of a run are made, with which backend; two of one name are the same."""

    name: str
    make: MakeColumns = field(compare=False)
    backend: str = field(compare=False)


@dataclass(frozen=True)
class Shared:
    """What the parts of a round share; M on the host."""

    recipe: Recipe
    M: NDArray[Any]


@dataclass(frozen=True)
class Part:
    """Classes and pairs to solve for, and a start for the pairs, on the host."""

    draw: Draw
    pairs: NDArray[np.int64]
    start: NDArray[Any] | None


def divide(
    draw: Draw, pairs: NDArray[np.int64], start: NDArray[Any] | None, count: int
) -> list[Part]:
    """So many parts, or fewer if there are fewer columns, with a share of both kinds each."""
    count = min(count, max(len(draw.classes), len(pairs)))
    split = partial(np.array_split, indices_or_sections=count)  # into views
    starts = [None] * count if start is None else split(start)
    of_draw = map(Draw, split(draw.classes), split(draw.weights))
    return list(map(Part, of_draw, split(pairs), starts))


@lru_cache(maxsize=1)
def _make(recipe: Recipe) -> tuple[Operations, Columns]:
    """Once a run and process, while its parts come there."""
    operations = make_operations(recipe.backend).for_few_columns()
    return operations, recipe.make(operations)


def solve(shared: Shared, part: Part) -> SolvedColumns:
    """Do a part. What is returned can travel: arrays on the host, the AGOP known."""
    operations, columns = _make(shared.recipe)
    device, dtype = operations.device, shared.M.dtype
    with device.own_threads():
        M = device.asarray(shared.M, dtype)
        start = None if part.start is None else device.asarray(part.start, dtype)
        solved = columns.at(M).solve(part.draw, part.pairs, start)
        agop = solved.agop() if len(part.draw.classes) else np.zeros_like(shared.M)
        return replace(
            solved,
            agop=partial(np.asarray, device.to_numpy(agop)),
            solutions=device.to_numpy(solved.solutions),
        )


def add(parts: Sequence[SolvedColumns]) -> SolvedColumns:
    """What the columns of all parts tell together."""

    def classes_first(name: str) -> NDArray[np.float64]:
        pieces = [
            np.split(getattr(part, name), [len(part.residuals) - len(part.outputs)])
            for part in parts
        ]
        return np.concatenate([piece for kind in zip(*pieces, strict=True) for piece in kind])

    first, others = parts[0], parts[1:]
    agop = sum((part.agop() for part in others), first.agop())
    return SolvedColumns(
        train_sums=sum((part.train_sums for part in others), first.train_sums),
        test_sums=sum((part.test_sums for part in others), first.test_sums),
        agop=partial(np.asarray, agop),
        outputs=np.concatenate([part.outputs for part in parts]),
        solutions=np.concatenate([part.solutions for part in parts]),
        residuals=classes_first("residuals"),
        limits=classes_first("limits"),
        cg_iterations=max(part.cg_iterations for part in parts),
    )


@dataclass(frozen=True)
class ColumnsInParts:
    """`Columns` whose solves go to workers; with M also `ColumnsOfMetric`."""

    recipe: Recipe
    operations: Operations
    workers: Workers
    M: Any = None

    def at(self, M: Any) -> ColumnsInParts:
        return replace(self, M=M)

    def solve(self, draw: Draw, pairs: NDArray[np.int64], start: Any = None) -> SolvedColumns:
        device, dtype = self.operations.device, self.M.dtype
        shared = Shared(self.recipe, device.to_numpy(self.M))
        start = None if start is None else device.to_numpy(start)
        parts = divide(draw, pairs, start, self.workers.count())
        solved = add(self.workers.results(solve, shared, parts))
        agop = solved.agop
        return replace(
            solved,
            agop=lambda: device.asarray(agop(), dtype),
            solutions=device.xp.asarray(solved.solutions),
        )


class Workers:
    """An executor of someone's own, for one run, and this process in its place once it is lost.

    Parameters
    ----------
    executor : concurrent.futures.Executor or dask.distributed.Client
    backend : str
        Of the operations there.
    """

    def __init__(self, executor: Any, backend: str) -> None:
        if not callable(getattr(executor, "submit", None)):
            raise TypeError(
                "executor: expected a concurrent.futures.Executor or a dask.distributed.Client, "
                f"got {type(executor).__name__}"
            )
        self.backend = backend
        self._given, self._executor = executor, as_executor(executor)
        if worker_count(executor) is None:
            _logger.warning("executor: it does not tell how many workers it has, taken to be 2")
        self._error: Exception | None = None  # the last one of the executor
        self._lost = False

    def columns(self, make: MakeColumns, operations: Operations) -> Columns:
        """The columns of the run, with those operations for what is done here."""
        return ColumnsInParts(Recipe(uuid4().hex, make, self.backend), operations, self)

    def count(self) -> int:
        """How many parts can be worked on at a time."""
        return 1 if self._lost else worker_count(self._given) or 2

    def results(
        self,
        function: Callable[[Shared, Part], SolvedColumns],
        shared: Shared,
        parts: Sequence[Part],
    ) -> list[SolvedColumns]:
        """function(shared, part) for each part, in their order.

        What is lost is sent once more. If it is lost again this process does it, and all that
        comes after.
        """
        done: dict[int, SolvedColumns] = {}
        for again in () if self._lost else (False, True):
            left = {i: part for i, part in enumerate(parts) if i not in done}
            if again and left:
                _logger.info("executor: %d parts lost (%r), sent again", len(left), self._error)
            done |= self._sent(function, shared, left) if left else {}
        if len(done) < len(parts) and not self._lost:
            self._lost = True
            warnings.warn(
                f"executor: parts of a round were lost twice, {self._error!r}; this process does "
                "the rest of the run by itself",
                RuntimeWarning,
                stacklevel=2,
            )
        return [done[i] if i in done else function(shared, part) for i, part in enumerate(parts)]

    def _sent(
        self,
        function: Callable[[Shared, Part], SolvedColumns],
        shared: Shared,
        parts: Mapping[int, Part],
    ) -> dict[int, SolvedColumns]:
        """What comes back of these parts; exceptions of the function pass through."""
        futures, done = {}, {}
        try:
            try:
                with warnings.catch_warnings():
                    # Dask advises to scatter what is large. But a scattered array dies with the
                    # worker that has it, and what waits for it may wait for ever.
                    warnings.filterwarnings("ignore", "Sending large graph")
                    for i, part in parts.items():
                        futures[i] = self._executor.submit(_outcome, function, shared, part)
            except Exception as error:
                self._error = error
            for i, future in futures.items():
                try:
                    outcome = future.result()
                except Exception as error:
                    self._error = error
                    continue
                if isinstance(outcome, Exception):
                    raise outcome
                done[i] = outcome
            return done
        finally:
            for future in futures.values():
                future.cancel()


def _outcome(
    function: Callable[[Shared, Part], SolvedColumns], shared: Shared, part: Part
) -> SolvedColumns | Exception:
    """Its own exceptions as values: any other is the executor's."""
    try:
        return function(shared, part)
    except Exception as error:
        return error
