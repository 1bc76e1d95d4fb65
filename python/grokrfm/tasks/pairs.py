"""Pairs as inputs: their encoding, and the labelled pairs of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INTEGERS = ("train", "train_labels", "test", "test_labels")


@dataclass(frozen=True)
class PairData:
    """Pairs and labels of a run, on the host.

    `train`, `test`: (n, 2) and (m, 2) int64 residues, with a third column that numbers the task
    where there are several; `train_labels`, `test_labels`: int64. `operation`: of the task, one of
    `OPERATIONS`, where it is known. `classes`: what the labels stand for, where not themselves.
    """

    train: NDArray[np.int64]
    train_labels: NDArray[np.int64]
    test: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    modulus: int
    n_classes: int
    n_tasks: int = 1
    operation: str | None = None
    classes: NDArray[Any] | None = None

    @classmethod
    def of_size(
        cls, n_train: int, n_test: int, modulus: int, n_classes: int, n_tasks: int = 1
    ) -> PairData:
        """Placeholder for so many pairs that takes no memory, to ask what a run would take."""
        train, test = (
            np.broadcast_to(np.int64(0), (min(count, 1 << 40), 2 if n_tasks == 1 else 3))
            for count in (n_train, n_test)
        )
        return cls(train, train[:, 0], test, test[:, 0], modulus, n_classes, n_tasks)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: with the smallest integers that hold the pairs and labels."""
        small = np.min_scalar_type(max(self.modulus, self.n_classes, self.n_tasks))
        return {**vars(self), **{name: getattr(self, name).astype(small) for name in _INTEGERS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        vars(self).update({name: state[name].astype(np.int64) for name in _INTEGERS})

    @property
    def dimension(self) -> int:
        """Of the inputs: 2p, and a bit for each task after the first."""
        return input_dimension(self.modulus, self.n_tasks)

    @property
    def class_labels(self) -> NDArray[Any]:
        """The label of each class, (c,)."""
        return np.arange(self.n_classes) if self.classes is None else self.classes

    def targets(self, dtype: Any) -> NDArray[Any]:
        """One-hot labels of the training pairs, (n, c)."""
        return np.eye(self.n_classes, dtype=dtype)[self.train_labels]


def input_dimension(modulus: int, n_tasks: int) -> int:
    """2p, and a bit for each task after the first."""
    return 2 * modulus + n_tasks - 1


def pair_indices(pairs: NDArray[np.int64], modulus: int) -> NDArray[np.int32]:
    """Active indices of the inputs: (n, 2) for e_a ⊕ e_b, (n, 3) with the bit of a task t.

    Task 0 has no bit, index −1.
    """
    offsets = np.array([0, modulus, 2 * modulus - 1])[: pairs.shape[1]]
    indices: NDArray[np.int32] = (pairs + offsets).astype(np.int32)
    if pairs.shape[1] == 3:
        indices[pairs[:, 2] == 0, 2] = -1
    return indices
