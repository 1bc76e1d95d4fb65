"""Runs that start from a reflection, or from a control, and what of its orbit they get right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis import features
from ..checks import check_integer, check_one_of
from ..rfm import Callback, RFMClassifier
from ..tasks import Split
from .descriptions import RFMRun
from .task_runs import Result

Matrix = NDArray[np.float64]


def _random_projection(R: Matrix, seed: int) -> Matrix:
    """2 Q Qᵀ for a random p-dimensional subspace of R^{2p}: the spectrum of I ± R."""
    d = len(R)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d // 2)))[0]
    projection: Matrix = 2 * Q @ Q.T
    return projection


# name -> M_0 from the matrix of the reflection and the seed of the run
STARTS: dict[str, Callable[[Matrix, int], Matrix]] = {
    "I+R": lambda R, seed: np.eye(len(R)) + R,
    "I-R": lambda R, seed: np.eye(len(R)) - R,
    "random projection": _random_projection,
}


@dataclass(frozen=True, kw_only=True)
class OrbitRun(RFMRun):
    """A run of x + y from an M_0 that knows a reflection; fields as in `RFMRun` and two more.

    Its result has four scalars besides: orbit_recall, the share of the test pairs in the orbit of
    the training set under s rᵏ that the final predictor gets right, orbit_precision, the share of
    the pairs it gets right that are in there (NaN where there are none), and other_recall and
    other_precision for s rᵏ⁺¹, a reflection that it was not given. To M_0 = I ± R two training
    pairs may be equals or opposites, and the kernel matrix singular: give it a small ridge.

    Attributes
    ----------
    k : int
        Of the reflection, see `features.reflection_matrix`.
    start : {"I+R", "I-R", "random projection"}
        M_0; the last one has the spectrum of the others and no reflection in it.
    """

    k: int = 0
    start: str = "I+R"

    def check(self) -> None:
        super().check()
        check_integer("k", self.k)
        check_one_of("start", self.start, STARTS)
        if self.operation != "x+y":
            raise ValueError(f"operation: expected x+y, got {self.operation!r}")

    def _prepared(
        self,
    ) -> tuple[RFMClassifier, Split, list[Callback], NDArray[Any] | None]:
        model, split, callbacks, _ = super()._prepared()
        R = features.reflection_matrix(self.modulus, self.k)
        return model, split, callbacks, STARTS[self.start](R, self.seed)

    def _result(self, model: RFMClassifier) -> Result:
        split = self.split()
        right = model.predict(split.X_test) == split.y_test
        found = {}
        for name, k in (("orbit", self.k), ("other", self.k + 1)):
            within = features.orbit(split.X_test, split.X_train, self.modulus, k)
            found[f"{name}_recall"] = _share(right[within])
            found[f"{name}_precision"] = _share(within[right])
        return {**super()._result(model), **found}


def _share(of: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.array(of.mean() if of.size else np.nan)
