"""Many runs: together where the backend takes several at once, else one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from numpy.typing import ArrayLike, NDArray

from ..operations import Operations, make_operations, quadratic_form
from ..tasks import Split
from .classifier import RFMClassifier
from .rounds import run_rounds
from .run import Callback, Run
from .settings import Settings
from .solvers import choose_solver

Given = TypeVar("Given")


def fit_many(
    models: Sequence[RFMClassifier],
    splits: Sequence[Split],
    callbacks: Sequence[Iterable[Callback]] | None = None,
    feature_matrices: Sequence[ArrayLike | None] | None = None,
    checkpoints: Sequence[Mapping[str, NDArray[Any]] | None] | None = None,
) -> list[RFMClassifier]:
    """Fit each model to its split, evaluated on the split's test pairs.

    With the cuda backend and the cg solver, models of the same parameters that draw no classes go
    through their rounds together, as many at a time as fill the GPU: the mode for curves over
    training fraction and seed. Everything else runs one after the other. The results are those of
    ``model.fit(split)`` up to rounding; `seconds` in the history of runs that went together is
    their share of the common time.

    Parameters
    ----------
    models : sequence of RFMClassifier
    splits : sequence of Split
        One a model; training fraction and seed may differ.
    callbacks, feature_matrices, checkpoints : sequence, optional
        One entry a model, each as in `RFMClassifier.fit`: the callbacks of its run, M_0 or None,
        a checkpoint or None. Of runs that go together one may be stopped by its callbacks; an
        exception ends them all, with completed rounds kept.

    Returns
    -------
    list of RFMClassifier
        The models, fitted.

    Raises
    ------
    TypeError, ValueError
        For other models or splits, another number of entries than models, and as
        `RFMClassifier.fit`.
    """
    models = list(models)
    for model in models:
        if not isinstance(model, RFMClassifier):
            raise TypeError(f"models: expected RFMClassifier, got {type(model).__name__}")
    splits = _one_each("splits", splits, len(models))
    for split in splits:
        if not isinstance(split, Split):
            raise TypeError(f"splits: expected Split, got {type(split).__name__}")
    each_callbacks = _one_each("callbacks", callbacks, len(models), ())
    starts = _one_each("feature_matrices", feature_matrices, len(models), None)
    resumed = _one_each("checkpoints", checkpoints, len(models), None)
    settings = [model.check_parameters() for model in models]
    runs = [
        model.prepare(given, split, callbacks=called, feature_matrix=start, checkpoint=stored)
        for model, given, split, called, start, stored in zip(
            models, settings, splits, each_callbacks, starts, resumed, strict=True
        )
    ]
    groups: dict[Any, list[int]] = {}
    for i, (given, run) in enumerate(zip(settings, runs, strict=True)):
        # Runs go together from the same round on, with as many earlier solutions.
        kept = run.machine_state["gram"].shape if "gram" in run.machine_state else None
        key = (repr(given.parameters), given.kernel, run.data.n_classes, len(run.rows), kept)
        groups.setdefault(key, []).append(i)
    for group in groups.values():
        given = settings[group[0]]
        operations = make_operations(given.backend)
        if given.few_columns:
            operations = operations.for_few_columns()
        size = _runs_together(given, runs[group[0]], operations)
        for first in range(0, len(group), size):
            chunk = group[first : first + size]
            _fit_together([models[i] for i in chunk], [runs[i] for i in chunk], given, operations)
    for run in runs:
        run.warn(stacklevel=3)
    return models


def _runs_together(settings: Settings, run: Run, operations: Operations) -> int:
    """How many runs go together: one, or what one block of classes takes."""
    if not operations.batched or "switched" in run.machine_state:
        return 1
    p, classes, itemsize = run.data.modulus, run.data.n_classes, settings.dtype.itemsize
    return max(1, operations.block_bytes // operations.column_bytes(p, classes, 0, itemsize))


def _fit_together(
    models: Sequence[RFMClassifier],
    runs: Sequence[Run],
    settings: Settings,
    operations: Operations,
) -> None:
    """Fit models of the same parameters, in step if all take conjugate gradients."""
    solvers = [choose_solver(settings, run.data, operations) for run in runs]
    together = len(runs) > 1 and set(solvers) == {"cg"} and not settings.sampling
    together = together and quadratic_form(settings.kernel) is not None
    for step in [range(len(runs))] if together else [[i] for i in range(len(runs))]:
        try:
            run_rounds(settings, operations, solvers[step[0]], [runs[i] for i in step])
        finally:
            for i in step:
                models[i].adopt(settings, operations, solvers[i], runs[i])


def _one_each(
    name: str, given: Sequence[Given] | None, count: int, default: Given | None = None
) -> list[Any]:
    """Return the entries as a list, or as many defaults; ValueError for another number."""
    entries = [default] * count if given is None else list(given)
    if len(entries) != count:
        raise ValueError(f"{name}: expected one a model, {count}, got {len(entries)}")
    return entries
