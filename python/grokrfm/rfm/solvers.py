"""Choice of the solver by name, kernel, data and memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import check_one_of
from ..operations import Kernel, Operations, memory, quadratic_form
from ..tasks import PairData
from .cholesky import CholeskyMachine
from .conjugate_gradients import ConjugateGradientMachine
from .evaluation import DenseEvaluator, Evaluator, Machine
from .grid import GridEvaluator
from .switching import PreciseMachine

SOLVERS = ("auto", "cg", "cholesky")
# Below this many training pairs a Cholesky solve takes a few milliseconds and is exact.
AUTO_CG_PAIRS = 1000

_logger = logging.getLogger("grokrfm")


def grid_obstacle(kernel: Kernel, data: PairData) -> str | None:
    """Why the run cannot go over the grid of pairs, or None."""
    if quadratic_form(kernel) is None:
        return f"the {kernel.name} kernel is not of the quadratic family"
    if data.n_tasks > 1:
        return "inputs with a task bit are not pairs"
    pairs = np.concatenate([data.train, data.test]) @ [data.modulus, 1]
    if len(np.unique(pairs)) < len(pairs):
        return "a pair is given more than once among training and evaluation pairs"
    return None


def choose_solver(
    solver: str, kernel: Kernel, data: PairData, itemsize: int, operations: Operations
) -> str:
    """Return "cg" or "cholesky".

    "auto" takes conjugate gradients where they apply and there are at least `AUTO_CG_PAIRS`
    training pairs or the kernel matrix would not fit into memory, and logs its choice.

    Raises
    ------
    ValueError
        If the name is unknown or "cg" does not apply.
    """
    check_one_of("solver", solver, SOLVERS)
    obstacle = grid_obstacle(kernel, data)
    if solver == "cg" and obstacle:
        raise ValueError(f"solver: 'cg' does not apply, {obstacle}")
    if solver != "auto":
        return solver
    available = operations.device.available_bytes()
    fits = available is None or CholeskyMachine.required_bytes(data, itemsize) <= available
    large = len(data.train) >= AUTO_CG_PAIRS
    choice = "cg" if obstacle is None and (large or not fits) else "cholesky"
    _logger.info(
        "solver: auto chose %s for %d training pairs%s",
        choice,
        len(data.train),
        f" ({obstacle})" if obstacle else "",
    )
    return choice


def require_memory(
    solver: str,
    runs: Sequence[PairData],
    itemsize: int,
    matrices: int,
    operations: Operations,
    checkpoints: bool = False,
) -> int:
    """Return the bytes of runs side by side that keep that many feature matrices.

    Raises MemoryError if they are not available. The matrices are kept one by one and at the end
    as one array. A checkpoint, if one is held at a time, has another copy of them, and the last
    solutions.
    """
    if solver == "cg":
        need = ConjugateGradientMachine.required_bytes(runs, itemsize, operations)
    else:
        need = sum(CholeskyMachine.required_bytes(data, itemsize) for data in runs)
    kept = 2 * len(runs) * matrices * runs[0].dimension ** 2 * itemsize  # on the host
    if checkpoints:
        kept += kept // 2
        if solver == "cg":
            kept += ConjugateGradientMachine.state_bytes(runs, itemsize)
    purpose = f"a run with solver '{solver}' on {len(runs[0].train)} training pairs"
    advice = "use fewer training pairs or dtype='float32'" + (
        "" if solver == "cg" else ", or solver='cg' where it applies"
    )
    on_host = 0
    if operations.device.xp is np:
        need += kept
    else:
        on_host = memory.require(kept, memory.available_bytes(), purpose, advice)
    return on_host + memory.require(need, operations.device.available_bytes(), purpose, advice)


def make_machine(
    solver: str,
    operations: Operations,
    kernel: Kernel,
    runs: Sequence[PairData],
    *,
    dtype: Any,
    ridge: float,
    centred: bool,
    tolerance: float,
    switched: bool = False,
) -> Machine:
    """Return the machine for a chosen solver; several runs go with "cg" and batched operations.

    Or for what is left of a run that has `switched` from cg.

    With compiled operations the quadratic family is evaluated on the grid whatever the solver; the
    array operations keep to sums over training points, as the reference.
    """
    form = quadratic_form(kernel)
    if form is not None and switched:
        [data] = runs
        return PreciseMachine(operations, kernel, form, data, dtype, ridge, centred)
    if form is not None and solver == "cg":
        grid = GridEvaluator(operations, form, runs, dtype, ridge, centred)
        return ConjugateGradientMachine(operations, grid, dtype, tolerance)
    [data] = runs
    evaluator: Evaluator
    if form is not None and operations.compiled and grid_obstacle(kernel, data) is None:
        evaluator = GridEvaluator(operations, form, runs, dtype, ridge, centred)
    else:
        evaluator = DenseEvaluator(operations, kernel, data, dtype, ridge, centred)
    return CholeskyMachine(operations, kernel, data, dtype, ridge, evaluator)
