"""What a sampled run draws: classes for every update, evaluation pairs once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    def classes(self, iteration: int, n_classes: int) -> NDArray[np.int64]:
        """The classes of a round, ascending, (m,): of its iteration alone, whatever came before."""
        chosen = self._generator(0, iteration).choice(n_classes, self.agop_classes, replace=False)
        return np.sort(chosen)

    def pairs(self, count: int) -> NDArray[np.int64]:
        """Which of so many evaluation pairs are evaluated, ascending; all if there are no more."""
        drawn = count if self.eval_pairs is None else min(self.eval_pairs, count)
        return np.sort(self._generator(1).choice(count, drawn, replace=False))

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
