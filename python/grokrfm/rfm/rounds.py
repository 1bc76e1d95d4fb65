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
from .conjugate_gradients import ConjugateGradientMachine
from .evaluation import Evaluation, Machine, SolverWarning
from .solvers import make_machine, require_memory
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

    def fingerprint(self, data: PairData) -> str:
        """What checkpoints of a run belong to; it may go on for more iterations."""
        # Its matrices tell the modulus, it names its solver, and goes on with another backend.
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
    rows, matrices : list
        Of the completed rounds: there are as many as rows.
    complaints : dict of int to str
        Of rounds whose solve is not what it should be.
    machine_state : mapping
        What its machine goes on from, of a checkpoint; empty for a new run.
    spent : float
        Seconds that the coming round has taken already.
    dual_coefficients : ndarray, shape (n, c), or None
        Of the last complete round, once the run has ended.
    """

    data: PairData
    callbacks: tuple[Callback, ...]
    start: NDArray[Any] | None = None
    rows: list[Row] = field(default_factory=list)
    matrices: list[NDArray[Any]] = field(default_factory=list)
    complaints: dict[int, str] = field(default_factory=dict)
    machine_state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
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
        run = cls(data, tuple(callbacks), start)
        if checkpoint is None:
            return run
        check_checkpoint(checkpoint, settings.fingerprint(data))
        run.start = unpack_array(checkpoint, "next_feature_matrix", (d, d), settings.dtype)
        run.rows = unpack_rows(checkpoint)
        shape = (len(run.rows), d, d)
        run.matrices = list(unpack_array(checkpoint, "feature_matrices", shape, settings.dtype))
        run.machine_state = checkpoint
        if len(run.rows) > settings.iterations + 1:
            raise ValueError(
                f"checkpoint: expected one of a run with at least {len(run.rows) - 1} iterations, "
                f"got iterations={settings.iterations}"
            )
        return run

    def switch(self, M: NDArray[Any], seconds: float) -> None:
        """Have the present round, with M, and all further ones solved otherwise than by cg."""
        self.start, self.machine_state, self.spent = M, SWITCHED, seconds
        self.complaints[len(self.rows)] = (
            "conjugate gradients missed the tolerance; from here on Cholesky in double precision."
        )

    def end(self, dual_coefficients: NDArray[Any]) -> None:
        """No further rounds: add to the rows what only the last feature matrix tells."""
        del self.matrices[len(self.rows) :]  # of a round that was broken off between the two
        self.dual_coefficients = dual_coefficients
        for row, matrix in zip(self.rows, self.matrices, strict=True):
            row["feature_alignment"] = alignment(matrix, self.matrices[-1])

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
    """
    data, itemsize = [run.data for run in runs], settings.dtype.itemsize
    need = require_memory(solver, data, itemsize, settings.iterations + 1, operations)
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
    last = [run.matrices[len(run.rows) - 1] for run in runs]
    machine.fit(_on_device(operations, last, last[0].dtype))
    for i, run in enumerate(runs):
        if run.dual_coefficients is None:
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
        if isinstance(machine, ConjugateGradientMachine):
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
            evaluations = machine.fit(M)
        matrices = to_numpy(M).reshape(len(runs), *M.shape[-2:])
        going = [i for i, run in enumerate(runs) if run.dual_coefficients is None]
        leaving = [
            i for i in going if _must_switch(settings, operations, machine, runs[i], evaluations[i])
        ]
        going = [i for i in going if i not in leaving]
        for i in going:
            runs[i].matrices.append(matrices[i])
            runs[i].rows.append(_row(t, evaluations[i], matrices[i], runs[i].data))
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
                feature_matrix=_read_only(run.matrices[t]),
                memory=memory,
                checkpoint=partial(_checkpoint, settings, operations, machine, next_matrix, run, i),
            )
            if any_stops(operations, run.callbacks, current) or t == settings.iterations:
                run.end(machine.dual_coefficients(i))
        staying = [i for i in going if runs[i].dual_coefficients is None]
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
    arrays = {"feature_matrices": np.stack(run.matrices), **state}
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
