"""Splits: which pairs of a task are trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checks import check_fraction, check_integer
from .formulas import IntArray


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test pairs of a task.

    Attributes
    ----------
    X_train, X_test : ndarray of int64, shape (n, 2) and (m, 2)
        Pairs (a, b).
    y_train, y_test : ndarray of int64, shape (n,) and (m,)
        Class labels. Label noise touches `y_train` alone.
    noisy : ndarray of bool, shape (n,)
        Which training labels were replaced by label noise.
    operation : str, optional
        Of the task, one of `grokrfm.tasks.OPERATIONS`; None for a table, a function or several
        operations.
    modulus : int, optional
        p, of the task.
    """

    X_train: IntArray
    y_train: IntArray
    X_test: IntArray
    y_test: IntArray
    noisy: NDArray[np.bool_]
    operation: str | None = None
    modulus: int | None = None

    def __repr__(self) -> str:
        said = [] if self.operation is None else [repr(self.operation)]
        said += [] if self.modulus is None else [f"modulus={self.modulus}"]
        counts = {"train": len(self.X_train), "test": len(self.X_test), "noisy": self.noisy.sum()}
        said += [f"n_{name}={count}" for name, count in counts.items() if name != "noisy" or count]
        return f"Split({', '.join(said)})"


class Task:
    """Pairs with labels, and their splits.

    `pairs` (N, 2) or, of several tasks, (N, 3); `labels` (N,); `n_classes`.
    """

    n_tasks = 1

    pairs: IntArray
    labels: IntArray
    modulus: int
    n_classes: int
    _formula: str | None = None

    @property
    def _n_draws(self) -> int:
        """How many units a split draws from."""
        return len(self.pairs)

    def _rows(self, drawn: IntArray) -> IntArray:
        """Rows of `pairs` that belong to the units drawn."""
        return drawn

    def split(
        self,
        train_fraction: float = 0.5,
        seed: int = 0,
        *,
        train_count: int | None = None,
        label_noise: float = 0.0,
    ) -> Split:
        """Draw training pairs at random; the others are test pairs.

        Parameters
        ----------
        train_fraction : float in (0, 1)
            n = ⌊train_fraction · N⌋ training pairs of the N defined ones; with several tasks N
            counts pairs of residues.
        seed : int
            The same seed gives the same split.
        train_count : int, optional
            n itself, 1 ≤ n ≤ N, instead of the fraction; n = N leaves no test pairs.
        label_noise : float in [0, 1)
            Fraction of the training labels replaced by another label, uniformly at random.

        Raises
        ------
        TypeError, ValueError
            For values outside these ranges, or a fraction that leaves no training pair.
        """
        total = self._n_draws
        if train_count is None:
            count = count_of_fraction(train_fraction, total)
        else:
            count = check_integer("train_count", train_count, minimum=1, maximum=total)
        noise = check_fraction("label_noise", label_noise, zero=True)
        rng = np.random.default_rng(check_integer("seed", seed, minimum=0))
        order = rng.permutation(total)
        train, test = self._rows(order[:count]), self._rows(order[count:])
        y_train = self.labels[train].copy()
        noisy = np.zeros(len(train), dtype=bool)
        noisy[rng.choice(len(train), size=int(noise * len(train) + 1e-9), replace=False)] = True
        shift = rng.integers(1, self.n_classes, size=int(noisy.sum()))
        y_train[noisy] = (y_train[noisy] + shift) % self.n_classes
        return self._split(train, test, y_train, noisy)

    def _split(
        self, train: IntArray, test: IntArray, y_train: IntArray, noisy: NDArray[np.bool_]
    ) -> Split:
        """Return the split into these rows of `pairs`."""
        return Split(
            self.pairs[train],
            y_train,
            self.pairs[test],
            self.labels[test],
            noisy,
            self._formula,
            self.modulus,
        )


def count_of_fraction(train_fraction: float, total: int) -> int:
    """⌊train_fraction · total⌋, one at least; ValueError if there is none."""
    fraction = check_fraction("train_fraction", train_fraction)
    count = int(fraction * total + 1e-9)  # .29 · 100 is 28.999… in binary
    if count == 0:
        raise ValueError(
            f"train_fraction: expected at least one training pair of {total}, got {fraction}"
        )
    return count
