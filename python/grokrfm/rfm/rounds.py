"""The round loop: one for a single run and for several that go in step."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.features import alignment, circulant_deviation, cross_block
from ..operations import Kernel, Operations
from ..tasks import PairData
from ..training import (
    Checkpoint,
    Row,
    any_stops,
    check_checkpoint,
    closing,
    fingerprint,
    pack,
    score_columns,
    unpack_array,
    unpack_rows,
)
from .evaluation import Evaluation, Machine, SolverWarning
from .solvers import make_machine, require_memory

KEPT_BYTES = 4 * 10**9  # most that the feature matrices of all rounds may take unless asked for


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
    checkpoint : callable
        Returns arrays from which `RFMClassifier.fit` goes on after this round to the same history
        as if it had never stopped.
    """

    iteration: int
    iterations: int
    modulus: int
    record: dict[str, float]
    feature_matrix: NDArray[Any]
    checkpoint: Callable[[], Checkpoint]


Callback = Callable[[Round], object]


@dataclass(frozen=True)
class Settings:
    """The parameters of `RFMClassifier`, checked, as what they stand for.

    `parameters` are themselves, as plain Python values.
    """

    parameters: Mapping[str, Any]
    modulus: int
    n_tasks: int
    backend: str
    solver: str
    kernel: Kernel
    n_classes: int
    iterations: int
    agop_power: float
    ridge: float
    centred: bool
    tolerance: float
    dtype: np.dtype[Any]
    keep_every: int | None  # rounds from a kept feature matrix to the next; None: only the last

    @property
    def matrices_held(self) -> int:
        """How many feature matrices a run has in memory at a time, at most."""
        kept = 0 if self.keep_every is None else self.iterations // self.keep_every + 1
        # One that is not kept goes when the next round is complete.
        return min(kept + 2, self.iterations + 1)

    def fingerprint(self, data: PairData) -> str:
        """What checkpoints of a run belong to; it may go on for more iterations."""
        # Its matrices tell the modulus, it names its solver, and goes on with another backend.
        # Which matrices are kept changes nothing in the rounds to come.
        names = ("n_classes", "agop_power", "ridge", "centred", "tolerance", "dtype")
        given = {"kernel": asdict(self.kernel), **{name: getattr(self, name) for name in names}}
        return fingerprint(data, given)


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
    dual_coefficients : ndarray, shape (n, c), or None
        Of the last complete round, once the run has ended.
    """

    data: PairData
    callbacks: tuple[Callback, ...]
    start: NDArray[Any] | None = None
    rows: list[Row] = field(default_factory=list)
    matrices: dict[int, NDArray[Any]] = field(default_factory=dict)
    keep_every: int | None = 1
    complaints: dict[int, str] = field(default_factory=dict)
    machine_state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
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

    def end(self, dual_coefficients: NDArray[Any]) -> None:
        """No further rounds: add to the rows what only the last feature matrix tells."""
        last = len(self.rows) - 1
        self.matrices = {
            t: matrix
            for t, matrix in self.matrices.items()
            if t == last or (t < last and self._keeps(t))  # one more of a round broken off
        }
        self.dual_coefficients = dual_coefficients
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


def require_room(
    settings: Settings,
    solver: str,
    runs: Sequence[PairData],
    operations: Operations,
    checkpoints: bool = False,
) -> int:
    """Return the bytes of runs side by side, as `require_memory` does.

    Raises
    ------
    MemoryError
        If they are not available.
    ValueError
        If all feature matrices are to be kept and take more than `KEPT_BYTES` a run.
    """
    itemsize, held = settings.dtype.itemsize, settings.matrices_held
    need = require_memory(solver, runs, itemsize, held, operations, checkpoints)
    kept = held * runs[0].dimension ** 2 * itemsize
    if settings.keep_every == 1 and kept > KEPT_BYTES:
        raise ValueError(
            f"keep_features: expected 'last' or a number of rounds above 1, since all {held} "
            f"feature matrices take {kept / 1e9:.1f} GB, more than {KEPT_BYTES / 1e9:.0f} GB; "
            f"got {settings.parameters['keep_features']!r}"
        )
    return need


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
    data = [run.data for run in runs]
    require_room(settings, solver, data, operations)
    machine = make_machine(
        solver,
        operations,
        settings.kernel,
        data,
        dtype=settings.dtype,
        ridge=settings.ridge,
        centred=settings.centred,
        tolerance=settings.tolerance,
    )
    if runs[0].rows:
        _restore(machine, runs)

    def on_device(matrices: Sequence[NDArray[Any] | None]) -> Any:
        each = [np.eye(data[0].dimension) if M is None else M for M in matrices]
        return operations.device.asarray(each[0] if len(each) == 1 else each, settings.dtype)

    callbacks = chain.from_iterable(run.callbacks for run in runs)
    with closing(callbacks), operations.device.own_threads():
        try:
            if len(runs[0].rows) > settings.iterations:  # only the dual coefficients are missing
                if machine.solver == "cholesky":  # whose state has none
                    machine.fit(on_device([run.last_matrix for run in runs]))
                for i, run in enumerate(runs):
                    run.end(machine.dual_coefficients(i))
            else:
                start = on_device([run.start for run in runs])
                _iterate(settings, operations, machine, runs, start)
        except BaseException:
            # The broken round may have left its dual coefficients: back to the last complete one.
            if runs[0].rows:
                machine.fit(on_device([run.last_matrix for run in runs]))
                for i, run in enumerate(runs):
                    if run.dual_coefficients is None:
                        run.end(machine.dual_coefficients(i))
            raise


def _restore(machine: Machine, runs: Sequence[Run]) -> None:
    """Go on from checkpoints of the same solver."""
    for run in runs:
        if (solver := str(run.machine_state["solver"])) != machine.solver:
            raise ValueError(
                f"checkpoint: expected one of solver '{machine.solver}', got one of '{solver}'"
            )
    machine.restore([run.machine_state for run in runs])


def _iterate(
    settings: Settings, operations: Operations, machine: Machine, runs: Sequence[Run], M: Any
) -> None:
    """Rounds from M on, until every run has all of them or was stopped by a callback of its own."""
    to_numpy = operations.device.to_numpy
    began = time.perf_counter()
    for t in range(len(runs[0].rows), settings.iterations + 1):
        with _named(t):
            evaluations = machine.fit(M)
        matrices = to_numpy(M).reshape(len(runs), *M.shape[-2:])
        going = [i for i, run in enumerate(runs) if run.dual_coefficients is None]
        for i in going:
            runs[i].add(_row(t, evaluations[i], matrices[i], runs[i].data), matrices[i])
            if evaluations[i].complaint:
                runs[i].complaints[t] = evaluations[i].complaint
        share = (time.perf_counter() - began) / len(runs)
        for i in going:
            runs[i].rows[t]["seconds"] = share

        next_matrix = cache(partial(_next_matrix, settings, operations, evaluations[0], t))
        for i in going:
            run = runs[i]
            current = Round(
                iteration=t,
                iterations=settings.iterations,
                modulus=run.data.modulus,
                record=run.rows[t],
                feature_matrix=_read_only(run.last_matrix),
                checkpoint=partial(_checkpoint, settings, operations, machine, next_matrix, run, i),
            )
            if any_stops(operations, run.callbacks, current) or t == settings.iterations:
                run.end(machine.dual_coefficients(i))
        if all(run.dual_coefficients is not None for run in runs):
            return
        began = time.perf_counter()
        M = next_matrix()


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
    with operations.device.own_threads():  # as the loop itself computes it
        following = np.array(operations.device.to_numpy(next_matrix()))  # the run keeps its own
    arrays = {
        **pack_matrices(run.matrices),
        "next_feature_matrix": following[i] if following.ndim == 3 else following,
    }
    state = {**arrays, "solver": np.array(machine.solver), **machine.state(i)}
    return pack(run.rows, state, settings.fingerprint(run.data))


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
    block = cross_block(M[:operands, :operands], data.operation, dtype=None)
    return {
        "iteration": float(t),
        **score_columns(evaluation.train, evaluation.test),
        "feature_trace": float(M.trace(dtype=np.float64)),
        "circulant_deviation": circulant_deviation(block),
        "residual": evaluation.residual,
        "cg_iterations": float(evaluation.cg_iterations),
        "solver_fallback": float(evaluation.fallback),
    }
