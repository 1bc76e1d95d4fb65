"""The round loop: one for a single run and for several that go in step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.features import circulant_deviations, cross_blocks
from ..checks import check_square
from ..operations import Operations
from ..tasks import formula_of
from ..training import (
    Checkpoint,
    Row,
    any_stops,
    closing,
    pack,
    score_columns,
)
from .conjugate_gradients import ConjugateGradientMachine
from .evaluation import Evaluation, Machine
from .requirements import require_memory
from .run import Round, Run, pack_matrices
from .settings import Settings
from .solvers import make_machine
from .switching import PreciseMachine


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
        fact=settings.fact,
        sampling=settings.sampling,
        switched="switched" in runs[0].machine_state,
        workers=runs[0].workers,
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
    to_numpy, data = operations.device.to_numpy, runs[0].data
    sizes = np.bincount(data.train_labels, minlength=data.n_classes)
    began = time.perf_counter()
    for t in range(len(runs[0].rows), settings.iterations + 1):
        with _named(t):
            draw = settings.sampling.draw(t, sizes) if settings.sampling else None
            evaluations = machine.fit(M, draw)
        matrices = to_numpy(M).reshape(len(runs), *M.shape[-2:])
        deviations = _deviations(operations, M, runs)
        going = [i for i, run in enumerate(runs) if not run.ended]
        leaving = [
            i for i in going if _must_switch(settings, operations, machine, runs[i], evaluations[i])
        ]
        going = [i for i in going if i not in leaving]
        for i in going:
            check_square("M", matrices[i], dtype=None)
            row = _row(t, evaluations[i], matrices[i], deviations[i])
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
        del evaluations, next_matrix, current  # their arrays, before the next round needs room
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


def _deviations(operations: Operations, M: Any, runs: Sequence[Run]) -> NDArray[np.float64]:
    """Circulant deviation of every run, computed where M is, in one piece for each operation."""
    xp, stack = operations.device.xp, M if M.ndim == 3 else M[None]
    found = np.empty(len(runs))
    formulas = [formula_of(run.data.operation) for run in runs]
    for formula in set(formulas):
        members = [i for i, each in enumerate(formulas) if each == formula]
        alike = stack if len(members) == len(runs) else stack[xp.asarray(members)]
        blocks = cross_blocks(xp, alike, runs[0].data.modulus, formula)
        found[members] = operations.device.to_numpy(circulant_deviations(blocks))
    return found


def _row(t: int, evaluation: Evaluation, M: NDArray[Any], deviation: float) -> Row:
    """Row t of a history, but for `seconds`."""
    return {
        "iteration": float(t),
        **score_columns(evaluation.train, evaluation.test),
        "feature_trace": float(M.trace(dtype=np.float64)),
        "circulant_deviation": float(deviation),
        "residual": evaluation.residual,
        "cg_iterations": float(evaluation.cg_iterations),
        "solver_fallback": float(evaluation.fallback),
    }
