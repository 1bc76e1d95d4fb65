"""The round loop: one for a single run and for several that go in step."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.features import alignment, circulant_deviation, cross_block
from ..operations import Operations
from ..tasks import PairData
from ..training import (
    Checkpoint,
    Row,
    any_stops,
    check_checkpoint,
    closing,
    pack,
    score_columns,
    unpack_array,
    unpack_rows,
)
from .conjugate_gradients import ConjugateGradientMachine
from .evaluation import Evaluation, Machine, SolverWarning
from .requirements import require_memory
from .settings import Settings
from .solvers import make_machine
from .switching import SWITCHED, PreciseMachine


@dataclass(frozen=True)
class Round:
    """What a callback sees after each round.

    Attributes
    ----------
    iteration : int
        t: the predictor was solved with M_t.
    iterations : int
        T, the number of updates asked for.
    modulus : int
        p.
    record : dict of str to float
        The new row of the history. What a callback adds becomes a column of `history_`.
    feature_matrix : ndarray, shape (d, d)
        M_t, read-only; d = 2p, and a row for each task bit.
    memory : int
        Bytes that the run takes at most, with those that go in step with it.
    checkpoint : callable
        Returns arrays from which `RFMClassifier.fit` goes on after this round to the same history
        as if it had never stopped.
    """

    iteration: int
    iterations: int
    modulus: int
    record: dict[str, float]
    feature_matrix: NDArray[Any]
    memory: int
    checkpoint: Callable[[], Checkpoint]


Callback = Callable[[Round], object]


@dataclass
class Run:
    """A run: its data, callbacks and start, and the rounds that are complete.

    Attributes
    ----------
    start : ndarray, shape (d, d), or None
        The next feature matrix to solve with; None for the identity.
    rows : list
        Of the completed rounds.
    matrices : dict of int to ndarray
        Round -> its feature matrix: those kept, ascending, and always that of the last row.
    keep_every : int or None
        As in `Settings`.
    complaints : dict of int to str
        Of rounds whose solve is not what it should be.
    machine_state : mapping
        What its machine goes on from, of a checkpoint; empty for a new run.
    ended : bool
        Whether there will be no further rounds.
    spent : float
        Seconds that the coming round has taken already.
    dual_coefficients : ndarray, shape (n, c), or None
        Of the last complete round, once the run has ended; None of a run that solves for a few
        classes only.
    """

    data: PairData
    callbacks: tuple[Callback, ...]
    start: NDArray[Any] | None = None
    rows: list[Row] = field(default_factory=list)
    matrices: dict[int, NDArray[Any]] = field(default_factory=dict)
    keep_every: int | None = 1
    complaints: dict[int, str] = field(default_factory=dict)
    machine_state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    ended: bool = False
    spent: float = 0.0
    dual_coefficients: NDArray[Any] | None = None

    @classmethod
    def new(
        cls,
        data: PairData,
        settings: Settings,
        callbacks: Iterable[Callback] = (),
        start: NDArray[Any] | None = None,
        checkpoint: Mapping[str, NDArray[Any]] | None = None,
    ) -> Run:
        """Return a run from M_0 = `start`, the identity unless given, or on from a checkpoint.

        Raises
        ------
        ValueError
            If the checkpoint does not go with the data and settings.
        """
        d = data.dimension
        run = cls(data, tuple(callbacks), start, keep_every=settings.keep_every)
        if checkpoint is None:
            return run
        check_checkpoint(checkpoint, settings.fingerprint(data))
        run.start = unpack_array(checkpoint, "next_feature_matrix", (d, d), settings.dtype)
        run.rows = unpack_rows(checkpoint)
        kept, matrices = unpack_matrices(checkpoint, d, settings.dtype)
        run.matrices = dict(zip(kept.tolist(), matrices, strict=True))
        run.machine_state = checkpoint
        if len(run.rows) > settings.iterations + 1:
            raise ValueError(
                f"checkpoint: expected one of a run with at least {len(run.rows) - 1} iterations, "
                f"got iterations={settings.iterations}"
            )
        return run

    def add(self, row: Row, matrix: NDArray[Any]) -> None:
        """A round is complete."""
        t = len(self.rows)
        self.matrices[t] = matrix
        self.rows.append(row)
        if not self._keeps(t - 1):
            self.matrices.pop(t - 1, None)

    def _keeps(self, t: int) -> bool:
        return self.keep_every is not None and t % self.keep_every == 0

    @property
    def last_matrix(self) -> NDArray[Any]:
        """Feature matrix of the last complete round."""
        return self.matrices[len(self.rows) - 1]

    def switch(self, M: NDArray[Any], seconds: float) -> None:
        """Have the present round, with M, and all further ones solved otherwise than by cg."""
        self.start, self.machine_state, self.spent = M, SWITCHED, seconds
        self.complaints[len(self.rows)] = (
            "conjugate gradients missed the tolerance; from here on Cholesky in double precision."
        )

    def end(self, dual_coefficients: NDArray[Any] | None) -> None:
        """No further rounds: add to the rows what only the last feature matrix tells."""
        last = len(self.rows) - 1
        self.matrices = {
            t: matrix
            for t, matrix in self.matrices.items()
            if t == last or (t < last and self._keeps(t))  # one more of a round broken off
        }
        self.ended, self.dual_coefficients = True, dual_coefficients
        for t, row in enumerate(self.rows):
            known = t in self.matrices
            row["feature_alignment"] = (
                alignment(self.matrices[t], self.last_matrix) if known else float("nan")
            )

    def warn(self, stacklevel: int) -> None:
        """Warn once of all complaints, in the name of the caller of `fit`."""
        if not self.complaints:
            return
        first, complaint = next(iter(self.complaints.items()))
        message = f"iteration {first}: {complaint}"
        if others := len(self.complaints) - 1:
            worst = max(self.rows[t]["residual"] for t in self.complaints)
            message += (
                f" The same in {others} later iterations, largest relative residual {worst:.1e}; "
                "the history has them all."
            )
        warnings.warn(message, SolverWarning, stacklevel)


def run_rounds(
    settings: Settings, operations: Operations, solver: str, runs: Sequence[Run]
) -> None:
    """Take runs of one dimension through their rounds, several with one leading axis throughout.

    Whatever ends them, an exception too, completed rounds stay in the runs, with the dual
    coefficients of the last of them.

    Raises
    ------
    MemoryError
        If they cannot fit into the available memory, before any work.
    ValueError
        If too much would be kept.
    """
    need = require_memory(settings, solver, [run.data for run in runs], operations)
    make = partial(_make_machine, settings, operations, solver)
    groups = [list(runs)]
    callbacks = chain.from_iterable(run.callbacks for run in runs)
    with closing(callbacks), operations.device.own_threads():
        try:
            while groups:
                groups += _run_group(settings, operations, make, groups.pop(), need)
        except BaseException:
            for run in chain.from_iterable(groups):
                _end_early(operations, make([run]), [run])
            raise


def _make_machine(
    settings: Settings, operations: Operations, solver: str, runs: Sequence[Run]
) -> Machine:
    """The machine of runs that go in step, where they are."""
    machine = make_machine(
        solver,
        operations,
        settings.kernel,
        [run.data for run in runs],
        dtype=settings.dtype,
        ridge=settings.ridge,
        centred=settings.centred,
        tolerance=settings.tolerance,
        sampling=settings.sampling,
        switched="switched" in runs[0].machine_state,
    )
    for run in runs:
        stored = str(run.machine_state.get("solver", machine.solver))
        if stored != machine.solver:
            raise ValueError(
                f"checkpoint: expected one of solver '{machine.solver}', got one of '{stored}'"
            )
    if runs[0].machine_state:
        machine.restore([run.machine_state for run in runs])
    return machine


def _on_device(operations: Operations, matrices: Sequence[NDArray[Any]], dtype: Any) -> Any:
    """Feature matrices with one leading axis, of a single run without."""
    given = matrices[0] if len(matrices) == 1 else np.stack(matrices)
    return operations.device.asarray(given, dtype)


def _end_early(operations: Operations, machine: Machine, runs: Sequence[Run]) -> None:
    """End runs in the middle of a round, which may have left its dual coefficients."""
    if not runs[0].rows:
        return
    if machine.keeps_coefficients:
        last = [run.last_matrix for run in runs]
        machine.fit(_on_device(operations, last, last[0].dtype))
    for i, run in enumerate(runs):
        if not run.ended:
            run.end(machine.dual_coefficients(i))


def _run_group(
    settings: Settings,
    operations: Operations,
    make: Callable[[Sequence[Run]], Machine],
    runs: Sequence[Run],
    memory: int,
) -> list[list[Run]]:
    """Take runs in step through their rounds; return those that go on apart from each other."""
    machine = make(runs)
    try:
        if len(runs[0].rows) <= settings.iterations:
            identity = np.eye(runs[0].data.dimension)
            starts = [identity if run.start is None else run.start for run in runs]
            M = _on_device(operations, starts, settings.dtype)
            return _iterate(settings, operations, machine, runs, M, memory)
        # Only the dual coefficients are missing; of cholesky there is no state that has them.
        if machine.solver == "cg" and "switched" not in runs[0].machine_state:
            for i, run in enumerate(runs):
                run.end(machine.dual_coefficients(i))
        else:
            _end_early(operations, machine, runs)
        return []
    except BaseException:
        _end_early(operations, machine, runs)
        raise


def _iterate(
    settings: Settings,
    operations: Operations,
    machine: Machine,
    runs: Sequence[Run],
    M: Any,
    memory: int,
) -> list[list[Run]]:
    """Rounds from M on, until every run has all of them or was stopped by a callback of its own.

    Or until one must go on with another machine; returns who then goes on with whom.
    """
    to_numpy = operations.device.to_numpy
    began = time.perf_counter()
    for t in range(len(runs[0].rows), settings.iterations + 1):
        with _named(t):
            evaluations = machine.fit(M, settings.drawn_classes(t, runs[0].data.n_classes))
        matrices = to_numpy(M).reshape(len(runs), *M.shape[-2:])
        going = [i for i, run in enumerate(runs) if not run.ended]
        leaving = [
            i for i in going if _must_switch(settings, operations, machine, runs[i], evaluations[i])
        ]
        going = [i for i in going if i not in leaving]
        for i in going:
            row = _row(t, evaluations[i], matrices[i], runs[i].data)
            if settings.sampling and not settings.few_columns:  # all pairs by all classes
                row["test_accuracy_error"] = 0.0 if len(runs[i].data.test) else np.nan
            runs[i].add(row, matrices[i])
            if evaluations[i].complaint:
                runs[i].complaints[t] = evaluations[i].complaint
        share = (time.perf_counter() - began) / len(runs)
        for i in going:
            runs[i].rows[t]["seconds"] = share + runs[i].spent
            runs[i].spent = 0.0
        for i in leaving:
            runs[i].switch(matrices[i], share)

        next_matrix = cache(partial(_next_matrix, settings, operations, evaluations[0], t))
        for i in going:
            run = runs[i]
            current = Round(
                iteration=t,
                iterations=settings.iterations,
                modulus=run.data.modulus,
                record=run.rows[t],
                feature_matrix=_read_only(run.last_matrix),
                memory=memory,
                checkpoint=partial(_checkpoint, settings, operations, machine, next_matrix, run, i),
            )
            if any_stops(operations, run.callbacks, current) or t == settings.iterations:
                run.end(machine.dual_coefficients(i))
        staying = [i for i in going if not runs[i].ended]
        if leaving:
            for i in staying:
                state = _state(operations, machine, next_matrix, i)
                runs[i].start, runs[i].machine_state = state["next_feature_matrix"], state
            return [[runs[i]] for i in leaving] + ([[runs[i] for i in staying]] if staying else [])
        if not staying:
            break
        began = time.perf_counter()
        M = next_matrix()
    return []


def _must_switch(
    settings: Settings, operations: Operations, machine: Machine, run: Run, evaluation: Evaluation
) -> bool:
    """Whether cg, which was not asked for by name, is to give way to what can solve the round."""
    return (
        settings.solver == "auto"
        and isinstance(machine, ConjugateGradientMachine)
        and bool(evaluation.complaint)
        and PreciseMachine.is_affordable(run.data, evaluation.cg_iterations, operations)
    )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _next_matrix(settings: Settings, operations: Operations, evaluation: Evaluation, t: int) -> Any:
    with _named(t):
        return operations.matrix_power(evaluation.agop(), settings.agop_power)


@contextmanager
def _named(t: int) -> Iterator[None]:
    """Failures of linear algebra, most of them overflows, say in which iteration."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise np.linalg.LinAlgError(f"iteration {t}: {error}") from error


def _checkpoint(
    settings: Settings,
    operations: Operations,
    machine: Machine,
    next_matrix: Callable[[], Any],
    run: Run,
    i: int,
) -> Checkpoint:
    state = _state(operations, machine, next_matrix, i)
    arrays = {**pack_matrices(run.matrices), **state}
    return pack(run.rows, arrays, settings.fingerprint(run.data))


def _state(
    operations: Operations, machine: Machine, next_matrix: Callable[[], Any], i: int
) -> Checkpoint:
    """What the next round of a run starts from."""
    with operations.device.own_threads():  # as the loop itself computes it
        following = np.array(operations.device.to_numpy(next_matrix()))  # the run keeps its own
    return {
        "next_feature_matrix": following[i] if following.ndim == 3 else following,
        "solver": np.array(machine.solver),
        **machine.state(i),
    }


def pack_matrices(matrices: Mapping[int, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Feature matrices by round as arrays for a file."""
    return {
        "feature_matrices": np.stack(list(matrices.values())),
        "kept_iterations": np.array(list(matrices), dtype=np.int64),
    }


def unpack_matrices(
    arrays: Mapping[str, NDArray[Any]], dimension: int, dtype: Any
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Rounds and their feature matrices, (k,) and (k, d, d); all rounds in an earlier version's.

    Raises
    ------
    ValueError
        If they are missing or other ones.
    """
    matrices = unpack_array(arrays, "feature_matrices", (None, dimension, dimension), dtype)
    kept = np.arange(len(matrices))
    if "kept_iterations" in arrays:
        kept = unpack_array(arrays, "kept_iterations", kept.shape, np.int64)
    if len(kept) == 0 or kept[0] < 0 or (np.diff(kept) <= 0).any():
        raise ValueError(f"kept_iterations: expected rounds in ascending order, got {kept}")
    return kept, matrices


def _row(t: int, evaluation: Evaluation, M: NDArray[Any], data: PairData) -> Row:
    """Row t of a history, but for `seconds`."""
    operands = 2 * data.modulus
    block = cross_block(M[:operands, :operands], data.operation)
    return {
        "iteration": float(t),
        **score_columns(evaluation.train, evaluation.test),
        "feature_trace": float(M.trace(dtype=np.float64)),
        "circulant_deviation": circulant_deviation(block),
        "residual": evaluation.residual,
        "cg_iterations": float(evaluation.cg_iterations),
        "solver_fallback": float(evaluation.fallback),
    }
