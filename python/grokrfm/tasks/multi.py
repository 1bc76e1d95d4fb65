"""Several operations at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .formulas import IntArray
from .modular import ModularTask
from .split import Task


class MultiTask(Task):
    """Several operations with the same residues and shared outputs, told apart by a task bit.

    A split draws pairs of residues: a pair is a training pair of every operation, or a test pair of
    every operation, on which it is defined.

    Parameters
    ----------
    operations : sequence of str
        Two or more of `grokrfm.tasks.OPERATIONS`.
    modulus : int
        p ≥ 2.

    Attributes
    ----------
    tasks : tuple of ModularTask
    n_tasks, modulus, n_classes : int
        For `RFMClassifier`.
    pairs : ndarray of int64, shape (N, 3)
        (a, b, t): a pair on which operation t is defined.
    labels : ndarray of int64, shape (N,)

    Raises
    ------
    TypeError, ValueError
        For fewer than two operations, and as `ModularTask`.
    """

    def __init__(self, operations: Sequence[str], modulus: int) -> None:
        if isinstance(operations, str) or not isinstance(operations, Iterable):
            raise TypeError(f"operations: expected a sequence of names, got {operations!r}")
        operations = tuple(operations)
        if len(operations) < 2:
            raise ValueError(f"operations: expected two or more, got {len(operations)}")
        self.tasks = tuple(ModularTask(operation, modulus) for operation in operations)
        self.n_tasks = len(self.tasks)
        self.modulus = self.n_classes = self.tasks[0].modulus
        self.pairs = np.concatenate(
            [np.insert(task.pairs, 2, t, axis=1) for t, task in enumerate(self.tasks)]
        )
        self.labels = np.concatenate([task.labels for task in self.tasks])
        self._row_of = np.full((self.modulus**2, self.n_tasks), -1, dtype=np.int64)
        self._row_of[self.pairs[:, :2] @ [self.modulus, 1], self.pairs[:, 2]] = np.arange(
            len(self.pairs)
        )
        self._row_of = self._row_of[(self._row_of >= 0).any(axis=1)]

    @property
    def _n_draws(self) -> int:
        return len(self._row_of)

    def _rows(self, drawn: IntArray) -> IntArray:
        rows = self._row_of[drawn].ravel()
        return rows[rows >= 0]

    def __repr__(self) -> str:
        return f"MultiTask({[task.operation for task in self.tasks]}, modulus={self.modulus})"
