"""Many runs: together where the backend takes several at once, else one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array_operations import ArrayOperations
from .backends import make_operations
from .grid_machine import Grid, GridMachine
from .kernels import Kernel, quadratic_form
from .machines import Data
from .rfm import RFMClassifier, round_record
from .solvers import choose_solver, require_memory
from .tasks import Split


def fit_many(models: Sequence[RFMClassifier], splits: Sequence[Split]) -> list[RFMClassifier]:
    """Fit each model to its split, evaluated on the split's test pairs.

    With the cuda backend and the cg solver, models of the same parameters go through their rounds
    together, as many at a time as fill the GPU: the mode for curves over training fraction and
    seed. Everything else runs one after the other. The results are those of
    ``model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))`` up to rounding;
    `seconds` in the history of runs that went together is their share of the common time.

    Parameters
    ----------
    models : sequence of RFMClassifier
    splits : sequence of Split
        One a model; training fraction and seed may differ.

    Returns
    -------
    list of RFMClassifier
        The models, fitted.

    Raises
    ------
    ValueError
        If there are not as many splits as models.
    """
    models, splits = list(models), list(splits)
    if len(models) != len(splits):
        raise ValueError(f"splits: expected one a model, {len(models)}, got {len(splits)}")
    groups: dict[str, list[int]] = {}
    for position, model in enumerate(models):
        groups.setdefault(repr(model.get_params()), []).append(position)
    for positions in groups.values():
        model = models[positions[0]]
        model.check_parameters()
        operations = make_operations(model.backend)
        for chunk in _chunks(model, positions, splits, operations):
            _fit_together([models[i] for i in chunk], [splits[i] for i in chunk], operations)
    return models


def _chunks(
    model: RFMClassifier,
    positions: Sequence[int],
    splits: Sequence[Split],
    operations: ArrayOperations,
) -> Iterator[Sequence[int]]:
    """Yield the positions that go together: one at a time, or what one block of classes takes."""
    p, n_classes = int(model.modulus), model.check_parameters()[1]
    grids = 13 * n_classes * p**2 * np.dtype(model.dtype).itemsize
    size = max(1, operations.block_bytes // grids) if operations.batched else 1
    for first in range(0, len(positions), size):
        yield positions[first : first + size]


def _fit_together(
    models: Sequence[RFMClassifier], splits: Sequence[Split], operations: ArrayOperations
) -> None:
    prepared = [
        model.prepare(split.X_train, split.y_train, (split.X_test, split.y_test))
        for model, split in zip(models, splits, strict=True)
    ]
    kernel, form = prepared[0][0], quadratic_form(prepared[0][0])
    runs = [data for _, data in prepared]
    model = models[0]
    itemsize = np.dtype(model.dtype).itemsize
    together = len(models) > 1 and all(
        choose_solver(model.solver, kernel, data, itemsize, operations) == "cg" for data in runs
    )
    if together and form is not None:
        _fit_in_step(models, runs, kernel, form, operations)
        return
    for model, split in zip(models, splits, strict=True):
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))


def _fit_in_step(
    models: Sequence[RFMClassifier],
    runs: Sequence[Data],
    kernel: Kernel,
    form: tuple[float, float, float],
    operations: ArrayOperations,
) -> None:
    """All runs round by round, with one leading axis for them throughout."""
    model, count = models[0], len(models)
    dtype = np.dtype(model.dtype)
    require_memory("cg", runs, dtype.itemsize, model.iterations + 1, operations)
    grid = Grid(operations, form, runs, dtype, float(model.ridge), model.centering == "per_class")
    machine = GridMachine(operations, grid, runs, dtype, float(model.tol))
    p = runs[0].modulus
    M = operations.asarray(np.tile(np.eye(2 * p), (count, 1, 1)), dtype)
    rows: list[list[dict[str, float]]] = [[] for _ in models]
    matrices: list[list[NDArray[Any]]] = [[] for _ in models]
    began = time.perf_counter()
    for t in range(model.iterations + 1):
        evaluations = machine.fit_runs(M)
        on_host = operations.to_numpy(M)
        for run, evaluation in enumerate(evaluations):
            steps = machine.cg_iterations_of(run)
            rows[run].append(round_record(t, evaluation, on_host[run], p, steps, machine.fallback))
            matrices[run].append(on_host[run])
        share = (time.perf_counter() - began) / count
        for of_run in rows:
            of_run[t]["seconds"] = share
        began = time.perf_counter()
        if t < model.iterations:
            M = operations.matrix_power(evaluations[0].agop(), model.agop_power)
    for run, (fitted, data) in enumerate(zip(models, runs, strict=True)):
        dual = machine.dual_coefficients_of(run)
        fitted.adopt(kernel, operations, data, "cg", rows[run], matrices[run], dual)
