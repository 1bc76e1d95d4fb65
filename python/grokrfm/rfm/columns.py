"""Solutions for some of the columns of a round: for classes, and for pairs whose outputs are asked.

A function of the feature matrix and the columns, without a state of its own: rounds can be divided
by columns, and the AGOPs of their classes add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..operations import Device
from ..training import ClassSums, Scores
from .sampling import Draw

NOTHING = Draw(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class SolvedColumns:
    """What the solutions for some classes and some pairs tell.

    Attributes
    ----------
    train_sums, test_sums : ClassSums
        Of the outputs for the classes; `train`, `test` are the losses from them.
    agop : callable
        Returns the AGOP summed over the classes with their weights, (d, d).
    outputs : ndarray, shape (k, c)
        Of the pairs, for every class of the task.
    solutions : array, shape (k, n)
        For the pairs: a start for the next feature matrix; on the device.
    residuals, limits : ndarray, shape (m + k,)
        Relative residuals, of the classes first, and what they should not exceed: the tolerance,
        or what rounding errors leave.
    cg_iterations : int
        Most steps of a column.
    """

    train_sums: ClassSums
    test_sums: ClassSums
    agop: Callable[[], Any]
    outputs: NDArray[Any]
    solutions: Any
    residuals: NDArray[np.float64]
    limits: NDArray[np.float64]
    cg_iterations: int

    @property
    def train(self) -> Scores:
        return self.train_sums.losses

    @property
    def test(self) -> Scores:
        return self.test_sums.losses


class ColumnsOfMetric(Protocol):
    """Solves for columns with a feature matrix; what they share has been computed."""

    def solve(self, draw: Draw, pairs: NDArray[np.int64], start: Any = None) -> SolvedColumns:
        """Solve for the classes of the draw and for pairs, (k, 2).

        `start`: solutions for the pairs with another feature matrix, (k, n); zeros unless given.
        """
        ...


class Columns(Protocol):
    """Solves for columns."""

    def at(self, M: Any) -> ColumnsOfMetric: ...


def sums_by_label(device: Device, solutions: Any, labels: Any, n_classes: int) -> NDArray[Any]:
    """All outputs of pairs, (k, c), from their solutions, (k, n): f_c(x*) = Σ β over class c.

    Summed on the device of the solutions and labels, (n,); the outputs come on the host.
    """
    sums = device.xp.zeros((len(solutions), n_classes), dtype=solutions.dtype)
    for total, row in zip(sums, solutions, strict=True):
        total[...] = device.xp.bincount(labels, weights=row, minlength=n_classes)
    return device.to_numpy(sums)


def outputs_of_pairs(
    columns: ColumnsOfMetric,
    pairs: NDArray[np.int64],
    block: int,
    progress: Callable[[int, int], object] | None,
) -> NDArray[Any]:
    """All outputs, (k, c), by one solve a pair, a block of pairs at a time."""
    outputs = []
    for first in range(0, len(pairs), block):
        solved = columns.solve(NOTHING, pairs[first : first + block])
        outputs.append(solved.outputs)
        if progress is not None:
            progress(min(first + block, len(pairs)), len(pairs))
    return np.concatenate(outputs)
