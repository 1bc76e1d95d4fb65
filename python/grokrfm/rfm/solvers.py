"""Choice of the solver by name, kernel, data and memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..operations import Kernel, Operations, quadratic_form
from ..tasks import PairData
from .cholesky import CholeskyMachine
from .columns import Columns
from .conjugate_gradients import ConjugateGradientMachine
from .evaluation import DenseEvaluator, Evaluator, Machine
from .grid import GridEvaluator
from .grid_columns import GridColumns
from .parts import Workers
from .sampled import SampledMachine
from .sampling import Sampling
from .settings import Settings
from .streamed import StreamedMachine
from .streamed_columns import StreamedColumns
from .switching import PreciseMachine

SOLVERS = ("auto", "cg", "cholesky")
# Below this many training pairs a Cholesky solve takes a few milliseconds and is exact.
AUTO_CG_PAIRS = 1000
# Of the evaluation pairs of sampled rounds, for the quadratic family and for others, whose values
# have a large part that all classes share: of 256 pairs 2 at most get another largest output.
PAIR_TOLERANCE, PAIR_TOLERANCE_OF_OTHERS = 1e-3, 1e-5

_logger = logging.getLogger("grokrfm")


def grid_obstacle(kernel: Kernel, data: PairData) -> str | None:
    """Why the run cannot go over the grid of pairs in closed form, or None."""
    if quadratic_form(kernel) is None:
        return f"the {kernel.name} kernel is not of the quadratic family"
    return pairs_obstacle(data)


def pairs_obstacle(data: PairData) -> str | None:
    """Why the training and evaluation pairs are no set of places on the grid, or None."""
    if data.n_tasks > 1:
        return "inputs with a task bit are not pairs"
    given = np.zeros(data.modulus**2, dtype=bool)
    for pairs in (data.train, data.test):
        given[pairs @ [data.modulus, 1]] = True
    if np.count_nonzero(given) < len(data.train) + len(data.test):
        return "a pair is given more than once among training and evaluation pairs"
    return None


def choose_solver(settings: Settings, data: PairData, operations: Operations) -> str:
    """Return "cg" or "cholesky".

    "auto" takes conjugate gradients where they apply and the kernel matrix would not fit into
    memory, and for the quadratic family from `AUTO_CG_PAIRS` training pairs on; it logs its choice.
    Runs that solve for a few columns take them whatever the size.

    Raises
    ------
    ValueError
        If "cg" is to be taken and does not apply.
    """
    kernel, solver = settings.kernel, "cg" if settings.few_columns else settings.solver
    obstacle = pairs_obstacle(data)
    if settings.fact and obstacle is None and quadratic_form(kernel) is None:
        obstacle = "feature_update='fact' takes all dual coefficients off the quadratic family"
    if solver == "cg" and obstacle:
        raise ValueError(f"solver: 'cg' does not apply, {obstacle}")
    if solver != "auto":
        return solver
    large = quadratic_form(kernel) is not None and len(data.train) >= AUTO_CG_PAIRS
    fits = cholesky_fits(data, settings.dtype.itemsize, operations)
    choice = "cg" if obstacle is None and (large or not fits) else "cholesky"
    _logger.info(
        "solver: auto chose %s for %d training pairs%s",
        choice,
        len(data.train),
        f" ({obstacle})" if obstacle else "",
    )
    return choice


def cholesky_fits(data: PairData, itemsize: int, operations: Operations) -> bool:
    """Whether the kernel matrix of a run, and what goes with it, fits into memory."""
    available = operations.device.available_bytes()
    return available is None or CholeskyMachine.required_bytes(data, itemsize) <= available


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
    fact: bool = False,
    sampling: Sampling | None = None,
    switched: bool = False,
    workers: Workers | None = None,
) -> Machine:
    """Return the machine for a chosen solver.

    Several runs go with "cg", batched operations and the quadratic family.

    Or for what is left of a run that has `switched` from cg. Rounds of a few columns go to the
    `workers` of a run.

    With compiled operations the quadratic family is evaluated on the grid whatever the solver; the
    array operations keep to sums over training points, as the reference.
    """
    if sampling and sampling.few_columns:
        [data] = runs
        of_run = partial(
            make_columns,
            kernel=kernel,
            data=data,
            dtype=dtype,
            ridge=ridge,
            centred=centred,
            tolerance=tolerance,
            pair_tolerance=PAIR_TOLERANCE if quadratic_form(kernel) else PAIR_TOLERANCE_OF_OTHERS,
        )
        columns = workers.columns(of_run, operations) if workers else of_run(operations)
        drawn = sampling.pairs(len(data.test))
        return SampledMachine(operations, columns, data, drawn, dtype)
    form = quadratic_form(kernel)
    if form is not None and switched:
        [data] = runs
        return PreciseMachine(operations, kernel, form, data, dtype, ridge, centred, fact)
    if form is not None and solver == "cg":
        grid = GridEvaluator(operations, form, runs, dtype, ridge, centred, fact)
        return ConjugateGradientMachine(operations, grid, dtype, tolerance)
    [data] = runs
    if solver == "cg":
        return StreamedMachine(operations, kernel, data, dtype, ridge, centred, tolerance)
    evaluator: Evaluator
    if form is not None and operations.compiled and grid_obstacle(kernel, data) is None:
        evaluator = GridEvaluator(operations, form, runs, dtype, ridge, centred, fact)
    else:
        evaluator = DenseEvaluator(operations, kernel, data, dtype, ridge, centred, fact)
    return CholeskyMachine(operations, kernel, data, dtype, ridge, evaluator)


def make_columns(
    operations: Operations,
    kernel: Kernel,
    data: PairData,
    *,
    dtype: Any,
    ridge: float,
    centred: bool,
    tolerance: float,
    pair_tolerance: float,
) -> Columns:
    """Return what solves for single classes and pairs, by conjugate gradients.

    Raises
    ------
    ValueError
        If they do not apply.
    """
    if obstacle := pairs_obstacle(data):
        raise ValueError(f"solver: 'cg' does not apply, {obstacle}")
    form = quadratic_form(kernel)
    if form is None:
        return StreamedColumns(
            operations,
            kernel,
            data,
            dtype=dtype,
            ridge=ridge,
            centred=centred,
            tolerance=tolerance,
            pair_tolerance=pair_tolerance,
        )
    grid = GridEvaluator(operations, form, [data], dtype, ridge, centred)
    return GridColumns(operations, kernel, grid, tolerance, pair_tolerance)
