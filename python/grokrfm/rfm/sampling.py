"""What a sampled run draws: classes for every update, evaluation pairs once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Draw:
    """Classes, (m,), and their weights in the sum that estimates the AGOP of all, (m,)."""

    classes: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """The draws of a run.

    Attributes
    ----------
    agop_classes : int
        m, classes drawn for each update.
    eval_pairs : int or None
        Evaluation pairs that are drawn, once; None: every round solves for all classes and
        evaluates all pairs.
    seed : int
        Of both.
    """

    agop_classes: int
    eval_pairs: int | None
    seed: int

    @property
    def few_columns(self) -> bool:
        """Whether rounds solve for drawn classes and pairs alone."""
        return self.eval_pairs is not None

    def draw(self, iteration: int, sizes: NDArray[np.int64]) -> Draw | None:
        """The classes of a round, ascending: of its iteration and the seed alone.

        Classes with half as many training pairs again as the mean of all, (c,), or more, as that
        of zero for products, are always taken, if they are half of m at most: what a draw with or
        without one of them gives differs too much. None if all classes are.
        """
        c, m = len(sizes), self.agop_classes
        if m >= c:
            return None
        large = np.flatnonzero(sizes > 1.5 * sizes.mean())
        if 2 * len(large) > m:
            large = large[:0]
        others = np.setdiff1d(np.arange(c), large)
        drawn = m - len(large)
        chosen = self._generator(0, iteration).choice(others, drawn, replace=False)
        classes = np.sort(np.concatenate([large, chosen]))
        return Draw(classes, np.where(np.isin(classes, large), 1.0, len(others) / drawn))

    def pairs(self, count: int) -> NDArray[np.int64]:
        """Which of so many evaluation pairs are evaluated, ascending; all if there are no more."""
        drawn = min(self.eval_pairs or 0, count)
        return np.sort(self._generator(1).choice(count, drawn, replace=False))

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
