"""What a run takes in memory, before it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..operations import Operations, memory, quadratic_form
from ..tasks import PairData
from .cholesky import CholeskyMachine
from .conjugate_gradients import ConjugateGradientMachine
from .sampled import SampledMachine
from .settings import Settings
from .streamed import StreamedMachine

KEPT_BYTES = 4 * 10**9  # most that the feature matrices of all rounds may take unless asked for


def require_memory(
    settings: Settings,
    solver: str,
    runs: Sequence[PairData],
    operations: Operations,
    checkpoints: bool = False,
) -> int:
    """Return the bytes of runs side by side with a chosen solver.

    Feature matrices are kept one by one and at the end as one array. A checkpoint, if one is held
    at a time, has another copy of them, and the last solutions.

    Raises
    ------
    MemoryError
        If they are not available.
    ValueError
        If all feature matrices are to be kept and take more than `KEPT_BYTES` a run.
    """
    itemsize, held = settings.dtype.itemsize, settings.matrices_held
    need, solutions = _of_machine(settings, solver, runs, operations)
    one_run = held * runs[0].dimension ** 2 * itemsize
    kept = 2 * len(runs) * one_run  # on the host
    if checkpoints:
        kept += kept // 2 + solutions
    purpose = f"a run with solver '{solver}' on {len(runs[0].train)} training pairs"
    advice = "use fewer training pairs or dtype='float32'"
    if solver != "cg":
        advice += ", or solver='cg' where it applies"
    if kept > need:
        advice += ", or keep_features='last'"
    on_host = 0
    if operations.device.xp is np:
        need += kept
    else:
        if not settings.few_columns:  # the dual coefficients
            kept += runs[0].n_classes * sum(len(run.train) for run in runs) * itemsize
        on_host = memory.require(kept, memory.available_bytes(), purpose, advice)
    need = on_host + memory.require(need, operations.device.available_bytes(), purpose, advice)
    if settings.keep_every == 1 and one_run > KEPT_BYTES:
        raise ValueError(
            f"keep_features: expected 'last' or a number of rounds above 1, since all {held} "
            f"feature matrices take {one_run / 1e9:.1f} GB, more than {KEPT_BYTES / 1e9:.0f} GB; "
            f"got {settings.parameters['keep_features']!r}"
        )
    return need


def _of_machine(
    settings: Settings, solver: str, runs: Sequence[PairData], operations: Operations
) -> tuple[int, int]:
    """Bytes of a round, and of what a checkpoint has of the machine."""
    itemsize, kernel, sampling = settings.dtype.itemsize, settings.kernel, settings.sampling
    on_the_grid = quadratic_form(kernel) is not None
    if sampling and sampling.few_columns:
        [data] = runs
        drawn = min(sampling.eval_pairs or 0, len(data.test))
        need = SampledMachine.required_bytes(
            data, itemsize, operations, sampling.agop_classes, drawn, on_the_grid
        )
        return need, drawn * len(data.train) * itemsize
    if solver == "cg" and on_the_grid:
        need = ConjugateGradientMachine.required_bytes(runs, itemsize, operations)
        return need, ConjugateGradientMachine.state_bytes(runs, itemsize)
    if solver == "cg":
        need = sum(StreamedMachine.required_bytes(data, itemsize, operations) for data in runs)
        return need, sum(StreamedMachine.state_bytes(data, itemsize) for data in runs)
    return sum(CholeskyMachine.required_bytes(data, itemsize) for data in runs), 0
